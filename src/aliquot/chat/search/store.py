"""SQL of the search index."""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Row, Text, cast, delete, exists, literal, or_, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY

from aliquot.chat.search.contracts import Filter, Place
from aliquot.chat.search.index import SearchIndex
from aliquot.chat.search.tables import message_index, title_index
from aliquot.chat.sharing.store import standing
from aliquot.chat.sharing.tables import conversation_share, conversation_share_person
from aliquot.chat.tables import conversation, message
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Vault

LISTED_KINDS = ("chat", "session")
"""Kinds of conversations that people see in lists and find; `api` and `tool` are hidden."""
_PUT_MESSAGE = (
    "INSERT INTO message_index (message_id, conversation_id, owner_id, subject, tokens) "  # noqa: S608 - a constant
    f"SELECT $1, id, owner_id, $3, $4::bigint[] FROM conversation WHERE id = $2 AND kind IN {LISTED_KINDS} ON CONFLICT DO NOTHING"
)
_PUT_TITLE = (
    "INSERT INTO title_index (conversation_id, subject, tokens) VALUES ($1, $2, $3::bigint[]) "
    "ON CONFLICT (conversation_id) DO UPDATE SET subject = excluded.subject, tokens = excluded.tokens"
)


class IndexStore:
    """Writes index entries in the transaction of what they point at, and finds candidates."""

    def __init__(self, vault: Vault) -> None:
        self.index = SearchIndex(vault)

    async def put_message(self, tx: Transaction, message_id: uuid.UUID, conversation_id: uuid.UUID, subject: uuid.UUID, text: str) -> None:
        """Index a message, where its conversation is one that people find, under the key it is sealed with. Repeating it does nothing."""
        await tx.send_text(_PUT_MESSAGE, [message_id, conversation_id, subject, _literal(self.index.of_text(subject, text))])

    async def put_title(self, tx: Transaction, conversation_id: uuid.UUID, owner_id: uuid.UUID, title: str | None) -> None:
        """Index a title instead of the one before; None takes it out."""
        if title is None:
            await tx.execute(delete(title_index).where(title_index.c.conversation_id == conversation_id))
            return
        await tx.send_text(_PUT_TITLE, [conversation_id, owner_id, _literal(self.index.of_text(owner_id, title))])


def _array(tokens: Iterable[int]) -> ColumnElement[Any]:
    """Tokens as one parameter: several hundred numbers adapted one by one would cost more than hashing them."""
    return cast(cast(_literal(tokens), Text), ARRAY(BigInteger))


def _literal(tokens: Iterable[int]) -> str:
    return "{" + ",".join(map(str, tokens)) + "}"


class FindStore:
    """Reads lists and candidates. What a person may see is decided here: their own, and what is shared with them."""

    async def recent(self, tx: Transaction, owner_id: uuid.UUID, wanted: Filter, limit: int, after: Place | None) -> Sequence[Row[Any]]:
        """The owner's conversations: pinned ones first, then the most recently used."""
        c = conversation.c
        order = (c.pinned_at.is_not(None), c.updated_at, c.id)
        statement = select(conversation).where(c.owner_id == owner_id, *_shown(wanted))
        if after is not None:
            statement = statement.where(tuple_(*order) < tuple_(literal(after.pinned), literal(after.updated_at), literal(after.id)))
        return await tx.rows(statement.order_by(*(column.desc() for column in order)).limit(limit))

    async def shared(self, tx: Transaction, person_id: uuid.UUID, at: datetime, limit: int) -> list[uuid.UUID]:
        """Conversations of others that stand open to the person as a whole, the newest shares first."""
        share, person = conversation_share.c, conversation_share_person.c
        statement = select(share.conversation_id).join(conversation_share_person, person.share_id == share.id)
        following = (person.person_id == person_id, share.message_id.is_(None), standing(at))
        rows = await tx.rows(statement.where(*following).order_by(share.id.desc()).limit(limit))
        return [row.conversation_id for row in rows]

    async def subjects(self, tx: Transaction, person_id: uuid.UUID, shared: Sequence[uuid.UUID]) -> set[uuid.UUID]:
        """Whose keys the tokens of what the person may read are made with."""
        i = message_index.c
        rows = list(await tx.rows(select(i.subject).where(i.owner_id == person_id, i.subject != i.owner_id).distinct()))
        if shared:
            rows += await tx.rows(select(i.subject).where(i.conversation_id.in_(shared)).distinct())
            rows += await tx.rows(select(title_index.c.subject).where(title_index.c.conversation_id.in_(shared)).distinct())
        return {person_id, *(row.subject for row in rows)}

    async def messages(
        self, tx: Transaction, person_id: uuid.UUID, shared: Sequence[uuid.UUID], tokens: Sequence[list[int]], wanted: Filter, limit: int
    ) -> Sequence[Row[Any]]:
        """The newest messages that have all tokens of one of the lists."""
        i, c, m = message_index.c, conversation.c, message.c
        # Found by their tokens before anything else: a planner that walked back in time instead would read everybody's messages.
        hits = (
            select(i.message_id, i.conversation_id)
            .where(_any_of(i.tokens, tokens))
            .cte("hits")
            .prefix_with("MATERIALIZED", dialect="postgresql")
        )
        statement = (
            select(m.id, m.conversation_id, m.role, m.created_at, m.body)
            .join(hits, hits.c.message_id == m.id)
            .join(conversation, c.id == hits.c.conversation_id)
            .where(_readable(person_id, shared), *_shown(wanted))
        )
        return await tx.rows(statement.order_by(m.id.desc()).limit(limit))

    async def titled(
        self, tx: Transaction, person_id: uuid.UUID, shared: Sequence[uuid.UUID], tokens: Sequence[list[int]], wanted: Filter, limit: int
    ) -> Sequence[Row[Any]]:
        """The most recently used conversations whose title has all tokens of one of the lists."""
        t, c = title_index.c, conversation.c
        hits = select(t.conversation_id).where(_any_of(t.tokens, tokens)).cte("hits").prefix_with("MATERIALIZED", dialect="postgresql")
        statement = select(conversation).join(hits, hits.c.conversation_id == c.id).where(_readable(person_id, shared), *_shown(wanted))
        return await tx.rows(statement.order_by(c.updated_at.desc(), c.id.desc()).limit(limit))

    async def conversations(self, tx: Transaction, ids: Iterable[uuid.UUID]) -> Sequence[Row[Any]]:
        return await tx.rows(select(conversation).where(conversation.c.id.in_(list(ids))))

    async def unindexed(self, tx: Transaction, after: uuid.UUID, limit: int) -> Sequence[Row[Any]]:
        """Messages after `after` that have no entry yet, oldest first."""
        i, c, m = message_index.c, conversation.c, message.c
        statement = select(m.id, m.conversation_id, m.body, c.owner_id).join(conversation, c.id == m.conversation_id)
        missing = ~exists().where(i.message_id == m.id)
        return await tx.rows(statement.where(m.id > after, c.kind.in_(LISTED_KINDS), missing).order_by(m.id).limit(limit))

    async def untitled(self, tx: Transaction, after: uuid.UUID, limit: int) -> Sequence[Row[Any]]:
        """Conversations after `after` whose title has no entry yet, oldest first."""
        t, c = title_index.c, conversation.c
        missing = ~exists().where(t.conversation_id == c.id)
        statement = select(conversation).where(c.id > after, c.title.is_not(None), c.kind.in_(LISTED_KINDS), missing)
        return await tx.rows(statement.order_by(c.id).limit(limit))


def _shown(wanted: Filter) -> list[ColumnElement[bool]]:
    c = conversation.c
    conditions: list[ColumnElement[bool]] = [c.kind.in_(LISTED_KINDS), c.deleted_at.is_(None)]
    if wanted.archived is not None:
        conditions.append(c.archived_at.is_not(None) if wanted.archived else c.archived_at.is_(None))
    if wanted.folder_id is not None:
        conditions.append(c.folder_id == wanted.folder_id)
    if wanted.unfiled:
        conditions.append(c.folder_id.is_(None))
    return conditions


def _readable(person_id: uuid.UUID, shared: Sequence[uuid.UUID]) -> ColumnElement[bool]:
    own = conversation.c.owner_id == person_id
    return or_(own, conversation.c.id.in_(shared)) if shared else own


def _any_of(column: Any, tokens: Sequence[list[int]]) -> ColumnElement[bool]:
    return or_(*(column.contains(_array(some)) for some in tokens))
