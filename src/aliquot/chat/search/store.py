"""SQL of the search index."""

import uuid
from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, cast, delete
from sqlalchemy.dialects.postgresql import ARRAY, insert

from aliquot.chat.search.index import SearchIndex
from aliquot.chat.search.tables import message_index, title_index
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Vault

LISTED_KINDS = ("chat", "session")
"""Kinds of conversations that people see in lists and find; `api` and `tool` are hidden."""


class IndexStore:
    """Writes index entries in the transaction of what they point at, and finds candidates."""

    def __init__(self, vault: Vault) -> None:
        self.index = SearchIndex(vault)

    async def put_message(
        self, tx: Transaction, message_id: uuid.UUID, conversation: tuple[uuid.UUID, uuid.UUID], subject: uuid.UUID, text: str
    ) -> None:
        """Index a message of a conversation (its id, its owner) under the key the message is sealed with. Repeating it does nothing."""
        statement = insert(message_index).values(
            message_id=message_id, conversation_id=conversation[0], owner_id=conversation[1], subject=subject,
            tokens=_array(self.index.of_text(subject, text)),
        )  # fmt: skip
        await tx.execute(statement.on_conflict_do_nothing())

    async def put_title(self, tx: Transaction, conversation_id: uuid.UUID, owner_id: uuid.UUID, title: str | None) -> None:
        """Index a title instead of the one before; None takes it out."""
        if title is None:
            await tx.execute(delete(title_index).where(title_index.c.conversation_id == conversation_id))
            return
        values = {"subject": owner_id, "tokens": _array(self.index.of_text(owner_id, title))}
        statement = insert(title_index).values(conversation_id=conversation_id, **values)
        await tx.execute(statement.on_conflict_do_update(index_elements=[title_index.c.conversation_id], set_=values))


def _array(tokens: Iterable[int]) -> ColumnElement[Any]:
    """Tokens as one parameter: several hundred numbers adapted one by one would cost more than hashing them."""
    return cast(cast("{" + ",".join(map(str, tokens)) + "}", Text), ARRAY(BigInteger))
