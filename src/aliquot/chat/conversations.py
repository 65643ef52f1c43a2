"""Conversations: found by UUID or the client's own id, made, listed, renamed, deleted. Ownership is enforced in the store."""

import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from aliquot.chat.access import Access, Door, Need, check_reference
from aliquot.chat.contracts import Conversation, ConversationKind, Message
from aliquot.chat.errors import ClientIdTaken, ConversationClosed, RestoreExpired, UnknownConversation
from aliquot.chat.store import ChatStore
from aliquot.chat.titles import is_greeting, title_of
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.settings import Limits

RequireNeverSigned = Callable[[Transaction, uuid.UUID], Awaitable[None]]
"""Raises RecordSigned for a conversation in which somebody signed something."""


class Conversations:
    """A person's conversations."""

    def __init__(
        self, chats: ChatStore, access: Access, ledger: LedgerApi, clock: Clock, limits: Limits, require_never_signed: RequireNeverSigned
    ) -> None:
        self._require_never_signed = require_never_signed
        self._chats, self._access, self._ledger, self._clock = chats, access, ledger, clock
        self._session_idle, self._restorable = timedelta(seconds=limits.session_idle_seconds), timedelta(days=limits.restore_days)

    async def find(self, tx: Transaction, principal: Principal, reference: str, need: Need = "own") -> Any:
        """The row called `reference` by this person: their client id first, else the UUID of one they own or that is shared with them.

        Raises UnknownConversation; for people it is shared with, when that is not enough for `need`, NotTheOwner,
        ConversationReadOnly or SharedPermissionMissing (all 403).
        """
        return await self._access.conversation(tx, principal, reference, need)

    async def by_id(self, tx: Transaction, principal: Principal, conversation_id: uuid.UUID, need: Need) -> Any:
        """The same by UUID alone: for whoever found the conversation by something in it."""
        return await self._access.by_id(tx, principal, conversation_id, need)

    async def opening(self, tx: Transaction, principal: Principal, reference: str, door: Door) -> Any:
        """As `find` for reading; recorded, unless the owner opens it."""
        return await self._access.opening(tx, principal, reference, door)

    async def open_or_create(
        self, tx: Transaction, principal: Principal, reference: str | None, kind: ConversationKind, first_message: str
    ) -> Conversation:
        """The conversation to write in. An unknown client id opens a new conversation under it; an unknown UUID is refused."""
        if reference is not None:
            try:
                row = await self._access.conversation(tx, principal, reference, "write", lock=True)
            except UnknownConversation:
                if parse_id(reference) is not None and kind != "session":
                    raise
            else:
                if not await self._close_if_idle(tx, principal, row):
                    return await self._access.seen(tx, principal, await self._titled(tx, row, first_message), row.owner_id)
                if kind != "session":
                    raise ConversationClosed
        return (await self._create(tx, principal, kind, reference, title_of(first_message) if kind != "tool" else None, by_person=False))[0]

    async def create(
        self, tx: Transaction, principal: Principal, kind: ConversationKind, *, client_id: str | None, title: str | None
    ) -> Conversation:
        """A new conversation of this person, or the one that already has this client id."""
        return (await self._create(tx, principal, kind, client_id, title, by_person=bool(title)))[0]

    async def create_or_find(
        self, tx: Transaction, principal: Principal, *, client_id: str | None, title: str | None
    ) -> tuple[Conversation, bool]:
        """Like `create` for a chat; False when it was there. Raises ClientIdTaken when that one has another title."""
        found, made = await self._create(tx, principal, "chat", client_id, title, by_person=bool(title))
        if not made and title and title != found.title:
            raise ClientIdTaken
        return found, made

    async def _create(
        self, tx: Transaction, principal: Principal, kind: ConversationKind, client_id: str | None, title: str | None, *, by_person: bool
    ) -> tuple[Conversation, bool]:
        """The conversation, and whether it was made now."""
        if client_id is not None:
            check_reference(client_id)
        at = self._clock.now()
        row, made = await self._chats.create_conversation(tx, principal.id, kind, client_id, title or None, at, by_person=by_person)
        if made:
            await self._audit(tx, principal, "conversation.created", row.id)
        return self._chats.open_conversation(row), made

    async def get(self, tx: Transaction, principal: Principal, reference: str) -> Conversation:
        row = await self.opening(tx, principal, reference, "conversation")
        return await self._access.seen(tx, principal, self._chats.open_conversation(row), row.owner_id)

    async def rename(self, tx: Transaction, principal: Principal, reference: str, title: str) -> Conversation:
        title = title.strip()
        if not title or len(title) > 500:
            raise InvalidInput("title: 1 to 500 characters")
        row = await self.find(tx, principal, reference)
        await self._chats.set_title(tx, principal.id, row.id, title, self._clock.now())
        await self._audit(tx, principal, "conversation.renamed", row.id, {"title": title.encode()})
        return self._chats.open_conversation(await self._chats.find(tx, principal.id, row.id))  # type: ignore[arg-type]  # found above

    async def delete(self, tx: Transaction, principal: Principal, reference: str) -> uuid.UUID:
        """Hide the conversation, also from people it is shared with; it can be restored for `restore_days`. Raises RecordSigned."""
        row = await self.find(tx, principal, reference)
        await self._require_never_signed(tx, row.id)
        await self._chats.mark_deleted(tx, row.id, self._clock.now())
        self._access.withdrawn(tx, row.id, but=principal.id)  # who deletes their own still hears how its runs end
        await self._audit(tx, principal, "conversation.deleted", row.id)
        conversation_id: uuid.UUID = row.id
        return conversation_id

    async def restore(self, tx: Transaction, principal: Principal, reference: str) -> Conversation:
        """Take a deletion back, with the shares that still stand. Raises UnknownConversation, RestoreExpired."""
        check_reference(reference)
        row = await self._chats.deleted(tx, principal.id, reference, parse_id(reference))
        if row is None:
            raise UnknownConversation
        if row.deleted_at is None:
            return self._chats.open_conversation(row)
        if self._clock.now() - row.deleted_at > self._restorable:
            raise RestoreExpired
        restored = await self._chats.restore(tx, row)
        await self._audit(tx, principal, "conversation.restored", row.id)
        return self._chats.open_conversation(restored)

    async def session(self, tx: Transaction, principal: Principal, reference: str) -> Conversation:
        """An open session (`/chat`). One that was idle too long is closed and unknown."""
        row = await self.find(tx, principal, reference)
        if row.kind != "session" or await self._close_if_idle(tx, principal, row):
            raise UnknownConversation
        return self._chats.open_conversation(row)

    async def close_session(self, tx: Transaction, principal: Principal, reference: str) -> None:
        """End a session: its id is free for a new one; the old conversation stays under retention."""
        row = await self.find(tx, principal, reference)
        if row.kind != "session":
            raise UnknownConversation
        await self._chats.close(tx, row.id, self._clock.now())
        await self._audit(tx, principal, "conversation.closed", row.id)

    async def messages(
        self, tx: Transaction, principal: Principal, reference: str, limit: int, before: tuple[datetime, uuid.UUID] | None
    ) -> list[Message]:
        """Newest first."""
        row = await self.opening(tx, principal, reference, "messages")
        found = await self._chats.list_messages(tx, row.id, limit, before)
        await self._access.saw(tx, principal, "read", [m.id for m in found])
        return found

    async def exported(self, tx: Transaction, principal: Principal, message_ids: Collection[uuid.UUID]) -> None:
        """Record what a file gives to the person."""
        await self._access.saw(tx, principal, "export", message_ids)

    async def branch(self, tx: Transaction, conversation: Conversation) -> list[Message]:
        """The shown branch, oldest first."""
        return await self._chats.branch(tx, conversation.id, conversation.head_id)

    async def _titled(self, tx: Transaction, row: Any, message: str) -> Conversation:
        """The conversation; one whose title says nothing is named after `message`, unless a person named it."""
        found = self._chats.open_conversation(row)
        title = title_of(message)
        if not title or row.title_by_person or (found.title is not None and not is_greeting(found.title)):
            return found
        await self._chats.suggest_title(tx, row.owner_id, row.id, title)
        return replace(found, title=title)

    async def _close_if_idle(self, tx: Transaction, principal: Principal, row: Any) -> bool:
        if row.kind != "session":
            return False
        used = row.last_message_at or row.created_at
        if row.closed_at is None and self._clock.now() - used <= self._session_idle:
            return False
        if row.closed_at is None:
            await self._chats.close(tx, row.id, self._clock.now())
            await self._audit(tx, principal, "conversation.closed", row.id)
        return True

    async def _audit(
        self, tx: Transaction, principal: Principal, action: str, conversation_id: uuid.UUID, content: dict[str, bytes] | None = None
    ) -> None:
        await self._ledger.append(
            tx,
            AuditEvent(
                action=action, actor=str(principal.id), via=principal.via, ip=principal.ip, content=content or {}, subject=principal.id,
                record=RecordRef(type="conversation", id=str(conversation_id)),
            ),
        )  # fmt: skip
