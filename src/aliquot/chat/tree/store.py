"""SQL of the message tree. Contents stay closed here."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, Row, Select, Uuid, bindparam, func, literal, select, text, tuple_, update

from aliquot.chat.tables import conversation, message, run
from aliquot.platform.db import Transaction

_m = message.c

_PATH = text(
    "WITH RECURSIVE up AS ("
    "SELECT id, parent_id, 1 AS n FROM message WHERE id = :end AND conversation_id = :conversation "
    "UNION ALL SELECT m.id, m.parent_id, up.n + 1 FROM message m JOIN up ON m.id = up.parent_id WHERE up.n < :depth) "
    "SELECT id FROM up ORDER BY n DESC"
).columns(id=Uuid)

_NEWEST = text(
    "WITH RECURSIVE down AS ("
    "SELECT id, created_at FROM message WHERE id = :top AND conversation_id = :conversation "
    "UNION ALL SELECT m.id, m.created_at FROM message m JOIN down ON m.parent_id = down.id AND m.conversation_id = :conversation) "
    "SELECT id FROM down WHERE NOT EXISTS (SELECT FROM message c WHERE c.conversation_id = :conversation AND c.parent_id = down.id) "
    "ORDER BY created_at DESC, id DESC LIMIT 1"
).columns(id=Uuid)

_QUESTION = text(
    "WITH RECURSIVE up AS ("
    "SELECT id, parent_id, role, author_id, 1 AS n FROM message WHERE id = :start "
    "UNION ALL SELECT m.id, m.parent_id, m.role, m.author_id, up.n + 1 FROM message m JOIN up ON m.id = up.parent_id "
    "WHERE up.role <> 'user' AND up.n < 1000) "
    "SELECT id, parent_id, author_id FROM up WHERE role = 'user' LIMIT 1"
).columns(id=Uuid, parent_id=Uuid, author_id=Uuid)

_SIBLINGS = text(
    "SELECT id, sibling_index, sibling_count FROM (SELECT id, "
    "row_number() OVER (PARTITION BY parent_id ORDER BY created_at, id) AS sibling_index, "
    "count(*) OVER (PARTITION BY parent_id) AS sibling_count FROM message WHERE conversation_id = :conversation "
    "AND (parent_id = ANY(CAST(:parents AS uuid[])) OR (:roots AND parent_id IS NULL))) s WHERE id = ANY(CAST(:ids AS uuid[]))"
).columns(id=Uuid, sibling_index=Integer, sibling_count=Integer)


def _numbered(conversation_id: uuid.UUID) -> Any:
    """Every message of the conversation with its place among its siblings."""
    index = func.row_number().over(partition_by=_m.parent_id, order_by=(_m.created_at, _m.id))
    count = func.count().over(partition_by=_m.parent_id)
    light = (_m.id, _m.parent_id, _m.role, _m.created_at, _m.run_id, _m.author_id, _m.incomplete)
    return select(*light, index.label("sibling_index"), count.label("sibling_count")).where(_m.conversation_id == conversation_id)


class TreeStore:
    """Rows of messages as nodes."""

    async def nodes(
        self, tx: Transaction, conversation_id: uuid.UUID, limit: int, after: tuple[datetime, uuid.UUID] | None
    ) -> Sequence[Row[Any]]:
        """A page of light nodes, oldest first."""
        tree = _numbered(conversation_id).subquery()
        statement: Select[Any] = select(tree)
        if after is not None:
            statement = statement.where(tuple_(tree.c.created_at, tree.c.id) > tuple_(literal(after[0]), literal(after[1], Uuid)))
        return await tx.rows(statement.order_by(tree.c.created_at, tree.c.id).limit(limit))

    async def siblings(
        self, tx: Transaction, conversation_id: uuid.UUID, message_ids: Collection[uuid.UUID], parents: Collection[uuid.UUID | None]
    ) -> dict[uuid.UUID, tuple[int, int]]:
        """Place and number of siblings of these messages, whose parents are `parents`."""
        known = [parent for parent in parents if parent is not None]
        params = {"conversation": conversation_id, "ids": list(message_ids), "parents": known, "roots": None in parents}
        rows = await tx.rows(_SIBLINGS, params)
        return {row.id: (row.sibling_index, row.sibling_count) for row in rows}

    async def path(self, tx: Transaction, conversation_id: uuid.UUID, end: uuid.UUID | None, depth: int) -> list[uuid.UUID]:
        """The ids from the root (at most `depth` messages back) to `end`."""
        return [row.id for row in await tx.rows(_PATH, {"end": end, "conversation": conversation_id, "depth": depth})]

    async def newest_leaf(self, tx: Transaction, conversation_id: uuid.UUID, message_id: uuid.UUID) -> uuid.UUID | None:
        """The newest message without children at or below this one; None when it is not of this conversation."""
        found: uuid.UUID | None = await tx.scalar(_NEWEST, {"top": message_id, "conversation": conversation_id})
        return found

    async def set_head(self, tx: Transaction, conversation_id: uuid.UUID, message_id: uuid.UUID) -> None:
        await tx.execute(update(conversation).where(conversation.c.id == conversation_id).values(head_id=message_id))

    async def light(self, tx: Transaction, message_id: uuid.UUID) -> Row[Any] | None:
        """`id, conversation_id, parent_id, role, author_id` of a message of any conversation: the caller checks whose it is."""
        return await tx.row(select(_m.id, _m.conversation_id, _m.parent_id, _m.role, _m.author_id).where(_m.id == message_id))

    async def question(self, tx: Transaction, message_id: uuid.UUID) -> Row[Any] | None:
        """The person's message at or nearest above this one."""
        return await tx.row(_QUESTION, {"start": message_id})

    async def being_answered(self, tx: Transaction, conversation_id: uuid.UUID, question_id: uuid.UUID) -> bool:
        """Whether a run that answers this message goes on."""
        r = run.c
        going_on = (r.conversation_id == conversation_id, r.user_message_id == question_id, r.finished_at.is_(None))
        return await tx.scalar(select(r.id).where(*going_on).limit(1)) is not None

    async def bodies(self, tx: Transaction, message_ids: Sequence[uuid.UUID]) -> Sequence[Row[Any]]:
        """Whole rows of these messages, in any order."""
        return await tx.rows(select(message).where(_m.id.in_(bindparam("ids", expanding=True))), {"ids": list(message_ids)})
