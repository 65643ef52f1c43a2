"""Who may see and do what in a conversation, and so in its runs: the only place that decides it.

The owner may do everything. People it is shared with may read, or read and write, while the share stands and they hold every
permission that was used in the conversation; who opened it in an emergency may read for a while. Everybody else learns nothing, not
even that it exists.

Rights are checked without a trace by `conversation`, `by_id` and `run`; an opening is recorded, unless it is the owner's.
"""

import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any, Literal, Protocol

from aliquot.chat.contracts import Conversation
from aliquot.chat.errors import ConversationReadOnly, NotTheOwner, SharedPermissionMissing, UnknownConversation, UnknownRun
from aliquot.chat.run_store import RunStore
from aliquot.chat.sharing.store import ShareStore
from aliquot.chat.store import ChatStore
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput, Problem
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Database, Transaction
from aliquot.records.access.contracts import Way
from aliquot.tools.api import ToolsApi

Need = Literal["read", "write", "own"]
Door = Literal["conversation", "messages", "tree", "files", "run", "events", "socket", "search", "export"]
"""By which way somebody opened a conversation: the reason of `conversation.opened`."""


class Saw(Protocol):
    """Told which messages somebody was given; bound by bootstrap (`records.access`)."""

    def __call__(self, tx: Transaction, principal: Principal, way: Way, message_ids: Collection[uuid.UUID]) -> Awaitable[None]: ...


class Granted(Protocol):
    """Knows who opened a conversation in an emergency; bound by bootstrap (`records.access`)."""

    def __call__(self, tx: Transaction, principal: Principal, conversation_id: uuid.UUID) -> Awaitable[bool]: ...


async def unrecorded(tx: Transaction, principal: Principal, way: Way, message_ids: Collection[uuid.UUID]) -> None:
    """Before bootstrap has bound the recorder nobody reads anything."""


async def _never(tx: Transaction, principal: Principal, conversation_id: uuid.UUID) -> bool:
    return False


CLIENT_ID_CHARS = 255


class Access:
    """Finds conversations and runs for a person, with the right that is needed."""

    def __init__(
        self, *, chats: ChatStore, runs: RunStore, shares: ShareStore, tools: ToolsApi, db: Database, ledger: LedgerApi, clock: Clock
    ) -> None:
        self._chats, self._runs, self._shares, self._tools, self._clock = chats, runs, shares, tools, clock
        self._db, self._ledger = db, ledger
        self.saw: Saw = unrecorded
        self.granted: Granted = _never
        self.on_withdrawal: list[Callable[[uuid.UUID, uuid.UUID | None], None]] = []
        """Told of conversations in which people just lost their part: who shows them live looks those people up again first."""

    async def conversation(self, tx: Transaction, principal: Principal, reference: str, need: Need, *, lock: bool = False) -> Any:
        """The row called `reference`: my client id first, else the UUID of one I own or that is shared with me.

        Raises UnknownConversation; ConversationReadOnly, NotTheOwner or SharedPermissionMissing for people it is shared with.
        """
        row = await self._named(tx, principal, reference, lock=lock)
        await self._require(tx, principal, row, need)
        return row

    async def by_id(
        self, tx: Transaction, principal: Principal, conversation_id: uuid.UUID | None, need: Need, *, lock: bool = False
    ) -> Any:
        """The same by UUID alone: what a person calls their own conversations plays no part."""
        row = await self._chats.by_id(tx, conversation_id, lock=lock)
        if row is None:
            raise UnknownConversation
        await self._require(tx, principal, row, need)
        return row

    async def opening(self, tx: Transaction, principal: Principal, reference: str, door: Door) -> Any:
        """As `conversation` for reading, recorded as `conversation.opened`, refused openings too."""
        row = await self._named(tx, principal, reference, lock=False)
        await self._open(tx, principal, row, door)
        return row

    async def opening_by_id(self, tx: Transaction, principal: Principal, conversation_id: uuid.UUID, door: Door) -> Any:
        """The same by UUID alone."""
        row = await self._chats.by_id(tx, conversation_id)
        if row is None:
            raise UnknownConversation
        await self._open(tx, principal, row, door)
        return row

    async def opening_run(self, tx: Transaction, principal: Principal, run_id: uuid.UUID, door: Door) -> Any:
        """A run, as `run`; recorded as `opening` is."""
        row, found = await self._run(tx, run_id)
        try:
            await self._open(tx, principal, found, door)
        except UnknownConversation:
            raise UnknownRun from None
        return row

    async def opened(self, tx: Transaction, principal: Principal, conversation_id: uuid.UUID, door: Door) -> None:
        """Record that a person was given something of somebody else's conversation."""
        await self._record(tx, principal, conversation_id, door, None)

    async def seen(self, tx: Transaction, principal: Principal, found: Conversation, owner_id: uuid.UUID) -> Conversation:
        """`found` as this person sees it: where its owner keeps it and what they call it is the owner's alone."""
        if owner_id == principal.id:
            return found
        may_write = await self._shares.right(tx, found.id, principal.id, self._clock.now())
        return replace(
            found, client_id=None, folder_id=None, pinned=False, archived=False, owner_id=owner_id, access="write" if may_write else "read"
        )

    async def owners(self, tx: Transaction, run_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
        """Runs → owners of their conversations; runs of deleted conversations are left out."""
        return await self._runs.owners(tx, run_ids)

    async def run(self, tx: Transaction, principal: Principal, run_id: uuid.UUID) -> tuple[Any, Any]:
        """A run and its conversation, for whoever may read the conversation. Raises UnknownRun, SharedPermissionMissing."""
        row, found = await self._run(tx, run_id)
        try:
            await self._require(tx, principal, found, "read")
        except UnknownConversation:
            raise UnknownRun from None
        return row, found

    async def _named(self, tx: Transaction, principal: Principal, reference: str, *, lock: bool) -> Any:
        """My client id first, else the UUID, whoever owns it."""
        check_reference(reference)
        known = parse_id(reference)
        row = await self._chats.find_own(tx, principal.id, reference, known, lock=lock)
        if row is None and known is not None:
            row = await self._chats.by_id(tx, known, lock=lock)
        if row is None:
            raise UnknownConversation
        return row

    async def _run(self, tx: Transaction, run_id: uuid.UUID) -> tuple[Any, Any]:
        row = await self._runs.get(tx, run_id)
        found = await self._chats.by_id(tx, row.conversation_id) if row is not None else None
        if row is None or found is None:
            raise UnknownRun
        return row, found

    async def _open(self, tx: Transaction, principal: Principal, row: Any, door: Door) -> None:
        if row.owner_id == principal.id:
            return
        try:
            await self._require(tx, principal, row, "read")
        except Problem as problem:
            async with self._db.begin() as lasting:  # `tx` is rolled back when the refusal leaves it
                await self._record(lasting, principal, row.id, door, problem)
            raise
        await self._record(tx, principal, row.id, door, None)

    async def _record(self, tx: Transaction, principal: Principal, conversation_id: uuid.UUID, door: Door, refused: Problem | None) -> None:
        await self._ledger.append(
            tx,
            AuditEvent(
                action="conversation.opened", actor=str(principal.id), via=principal.via, ip=principal.ip,
                record=RecordRef(type="conversation", id=str(conversation_id)), outcome="ok" if refused is None else "denied",
                reason=door if refused is None else f"{door},{refused.code}",
            ),
        )  # fmt: skip

    async def _require(self, tx: Transaction, principal: Principal, row: Any, need: Need) -> None:
        if row.owner_id == principal.id:
            return
        may_write = await self._shares.right(tx, row.id, principal.id, self._clock.now())
        if may_write is None and need == "read" and await self.granted(tx, principal, row.id):
            return
        if may_write is None:
            raise UnknownConversation
        await self.require_permissions(tx, principal, row.id)
        if need == "own":
            raise NotTheOwner
        if need == "write" and not may_write:
            raise ConversationReadOnly

    def withdrawn(self, tx: Transaction, conversation_id: uuid.UUID, *, but: uuid.UUID | None = None) -> None:
        """People lose their part of the conversation with this transaction, all `but` one. Other processes notice at their next look."""
        for tell in self.on_withdrawal:
            tx.after_commit(partial(tell, conversation_id, but))

    async def require_permissions(self, tx: Transaction, principal: Principal, conversation_id: uuid.UUID) -> None:
        """Raise SharedPermissionMissing unless the person holds every permission of every tool called in the conversation."""
        if not await self.permissions_used(tx, conversation_id) <= principal.permissions:
            raise SharedPermissionMissing

    async def permissions_used(self, tx: Transaction, conversation_id: uuid.UUID) -> frozenset[str]:
        """Every permission of every tool called in the conversation, or in the one its messages were copied from."""
        return await self._chats.carried(tx, conversation_id) | await self._tools.permissions_used(tx, self._runs.ids_of(conversation_id))


def check_reference(reference: str) -> None:
    if not reference or len(reference) > CLIENT_ID_CHARS or not reference.isprintable():
        raise InvalidInput(f"a conversation id has 1 to {CLIENT_ID_CHARS} printable characters")
