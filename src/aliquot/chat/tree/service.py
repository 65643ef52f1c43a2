"""Branches of a conversation: read, shown, and the place of a new message among them."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from aliquot.chat.access import Access
from aliquot.chat.contracts import Conversation, Message, Regenerate, StartRun
from aliquot.chat.errors import (
    AnswerInProgress,
    NothingToAnswer,
    NotYourMessage,
    UnknownConversation,
    UnknownMessage,
    UnknownParent,
)
from aliquot.chat.store import ChatStore
from aliquot.chat.tree.contracts import Node
from aliquot.chat.tree.store import TreeStore
from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.kernel.problems import InvalidInput
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Transaction

_BRANCH_MAX = 100_000


class Tree:
    """The tree of messages of one conversation after the other."""

    def __init__(self, chats: ChatStore, store: TreeStore, access: Access, identity: IdentityApi, ledger: LedgerApi) -> None:
        self._chats, self._store, self._access, self._identity, self._ledger = chats, store, access, identity, ledger

    async def nodes(
        self, tx: Transaction, principal: Principal, reference: str, limit: int, after: tuple[datetime, uuid.UUID] | None
    ) -> tuple[uuid.UUID | None, list[Node]]:
        """The head and a page of nodes, in the order of writing. Raises UnknownConversation."""
        row = await self._access.opening(tx, principal, reference, "tree")
        rows = await self._store.nodes(tx, row.id, limit, after)
        return row.head_id, [Node(**found._asdict()) for found in rows]

    async def show(self, tx: Transaction, principal: Principal, reference: str, message_id: uuid.UUID) -> Conversation:
        """Show the branch through this message: its newest descendant without children becomes the head.

        Raises UnknownConversation, UnknownMessage, ConversationReadOnly.
        """
        row = await self._access.conversation(tx, principal, reference, "write", lock=True)
        leaf = await self._store.newest_leaf(tx, row.id, message_id)
        if leaf is None:
            raise UnknownMessage
        if leaf != row.head_id:
            await self._store.set_head(tx, row.id, leaf)
            await self._ledger.append(
                tx,
                AuditEvent(
                    action="conversation.branch_shown", actor=str(principal.id), via=principal.via, ip=principal.ip, subject=principal.id,
                    record=RecordRef(type="conversation", id=str(row.id)), reason=str(leaf),
                ),
            )  # fmt: skip
        return await self._access.seen(tx, principal, replace(self._chats.open_conversation(row), head_id=leaf), row.owner_id)

    async def branch(
        self, tx: Transaction, principal: Principal, reference: str, end: uuid.UUID | None, limit: int, before: uuid.UUID | None
    ) -> list[Message]:
        """The messages from `end` (None: the head) towards the root, newest first; the following page begins above `before`."""
        row = await self._access.opening(tx, principal, reference, "messages")
        start = before or end or row.head_id
        path = (await self._store.path(tx, row.id, start, limit + (1 if before else 0)))[::-1]
        if start is not None and not path:
            raise UnknownMessage
        shown = path[1:] if before else path
        await self._access.saw(tx, principal, "read", shown)
        return await self.with_siblings(tx, await self.opened(tx, shown))

    async def path(self, tx: Transaction, conversation_id: uuid.UUID, end: uuid.UUID | None) -> list[uuid.UUID]:
        """The ids of the branch that ends with `end`, oldest first."""
        return await self._store.path(tx, conversation_id, end, _BRANCH_MAX)

    async def opened(self, tx: Transaction, message_ids: Sequence[uuid.UUID]) -> list[Message]:
        """These messages, in this order."""
        rows = {row.id: row for row in await self._store.bodies(tx, message_ids)} if message_ids else {}
        return [self._chats.open_message(rows[message_id]) for message_id in message_ids if message_id in rows]

    async def with_siblings(self, tx: Transaction, messages: list[Message]) -> list[Message]:
        """These messages of one conversation with their places among their siblings and the names of their authors."""
        if not messages:
            return []
        places = await self._store.siblings(tx, messages[0].conversation_id, [m.id for m in messages], {m.parent_id for m in messages})
        names = await self._identity.names(tx, {m.author_id for m in messages if m.author_id is not None})
        return [
            replace(
                m, sibling_index=places[m.id][0], sibling_count=places[m.id][1], author=names.get(m.author_id) if m.author_id else None
            )
            for m in messages
        ]  # fmt: skip

    # --- where a new message goes

    async def parent(self, tx: Transaction, conversation: Conversation, request: StartRun) -> uuid.UUID | None:
        """The parent of a new message: what was asked for, else the head. Raises UnknownParent, UnknownMessage, InvalidInput."""
        if request.parent_id is not None and request.edit_of is not None:
            raise InvalidInput("parent_id and edit_of say two different places: give one of them")
        if request.edit_of is not None:
            edited = await self._store.light(tx, request.edit_of)
            if edited is None or edited.conversation_id != conversation.id or edited.role != "user":
                raise UnknownMessage("The edited message is not a question in this conversation.")
            found: uuid.UUID | None = edited.parent_id
            return found
        if request.parent_id is not None:
            parent = await self._store.light(tx, request.parent_id)
            if parent is None or parent.conversation_id != conversation.id:
                raise UnknownParent
            return request.parent_id
        return conversation.head_id

    async def ask_again(self, tx: Transaction, request: Regenerate) -> tuple[Any, uuid.UUID]:
        """The conversation (locked) and the question to be answered again; the question becomes the head.

        Only its author may: the answer's tools run under the person whose words they follow. Raises UnknownMessage, NothingToAnswer,
        NotYourMessage, AnswerInProgress, ConversationReadOnly.
        """
        named = await self._store.light(tx, request.message_id)
        if named is None:
            raise UnknownMessage
        try:
            row = await self._access.by_id(tx, request.principal, named.conversation_id, "write", lock=True)
        except UnknownConversation:
            raise UnknownMessage from None
        question = await self._store.question(tx, request.message_id)
        if question is None or row.kind not in ("chat", "session"):
            raise NothingToAnswer
        if question.author_id != request.principal.id:
            raise NotYourMessage
        if await self._store.being_answered(tx, row.id, question.id):
            raise AnswerInProgress
        await self._store.set_head(tx, row.id, question.id)
        return row, question.id
