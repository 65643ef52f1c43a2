"""SQL of the message tree. Contents stay closed here."""

import uuid
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Boolean, DateTime, Integer, Row, String, Uuid, bindparam, select, text, update

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


# Only the siblings of the page's messages are numbered: the cost is that of the page, not of the conversation.
_NODES = text(
    "WITH page AS MATERIALIZED (SELECT id, parent_id, role, created_at, run_id, author_id, incomplete FROM message "
    "WHERE conversation_id = :conversation AND (created_at, id) > (:at, :id) ORDER BY created_at, id LIMIT :page), "
    "place AS (SELECT id, row_number() OVER (PARTITION BY parent_id ORDER BY created_at, id) AS sibling_index, "
    "count(*) OVER (PARTITION BY parent_id) AS sibling_count FROM message WHERE conversation_id = :conversation "
    "AND (parent_id IN (SELECT parent_id FROM page) OR (parent_id IS NULL AND EXISTS (SELECT FROM page WHERE parent_id IS NULL)))) "
    "SELECT page.*, sibling_index, sibling_count FROM page JOIN place USING (id) ORDER BY page.created_at, page.id"
).columns(
    id=Uuid, parent_id=Uuid, role=String, created_at=DateTime(timezone=True), run_id=Uuid, author_id=Uuid, incomplete=Boolean,
    sibling_index=Integer, sibling_count=Integer,
)  # fmt: skip
_BEFORE_ALL = (datetime(1, 1, 1, tzinfo=UTC), uuid.UUID(int=0))


class TreeStore:
    """Rows of messages as nodes."""

    async def nodes(
        self, tx: Transaction, conversation_id: uuid.UUID, limit: int, after: tuple[datetime, uuid.UUID] | None
    ) -> Sequence[Row[Any]]:
        """A page of light nodes, oldest first."""
        at, last = after or _BEFORE_ALL
        return await tx.rows(_NODES, {"conversation": conversation_id, "at": at, "id": last, "page": limit})

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
