"""Attachments of people and messages: who may see, bind, download and delete them."""

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Protocol

from aliquot.chat.access import Access
from aliquot.chat.attachments.contracts import Attachment, Link
from aliquot.chat.attachments.errors import (
    FileGone,
    FileInfected,
    FileNotScanned,
    FileWaiting,
    NotTheAuthor,
    NotTheUploader,
    TooManyAttachments,
    UnknownAttachment,
    UnknownMessage,
)
from aliquot.chat.attachments.jobs import AttachmentJobs
from aliquot.chat.attachments.links import Links
from aliquot.chat.attachments.store import AttachmentStore
from aliquot.chat.errors import UnknownConversation
from aliquot.documents.contracts import IMAGES, MEDIA_TYPES
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.kernel.problems import Forbidden
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.blobs import Blobs
from aliquot.platform.db import Transaction
from aliquot.platform.settings import Limits
from aliquot.platform.vault import Erased

RequireUnsigned = Callable[[Transaction, uuid.UUID, uuid.UUID], Awaitable[None]]
"""Raises MessageSigned for (conversation, message) when the message is in a branch that somebody signed."""


class RequireUnheld(Protocol):
    """Raises a Problem when a legal hold stands on the owner, one of the conversations, or conversations of that time."""

    def __call__(
        self, tx: Transaction, person_id: uuid.UUID, conversation_ids: Sequence[uuid.UUID], made_at: datetime
    ) -> Awaitable[None]: ...


async def _nothing_held(tx: Transaction, person_id: uuid.UUID, conversation_ids: Sequence[uuid.UUID], made_at: datetime) -> None:
    """Without retention there are no holds."""


class Attachments:
    """A file is its uploader's; whoever may read a conversation where it is bound may see and download it."""

    def __init__(
        self,
        *,
        store: AttachmentStore,
        blobs: Blobs,
        access: Access,
        require_unsigned: RequireUnsigned,
        jobs: AttachmentJobs,
        links: Links,
        ledger: LedgerApi,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._store, self._blobs, self._access, self._jobs, self._links = store, blobs, access, jobs, links
        self._ledger, self._most, self._clock = ledger, limits.attachments_per_message, clock
        self._require_unsigned = require_unsigned
        self.require_unheld: RequireUnheld = _nothing_held
        """Bound by bootstrap to `records.retention`."""

    async def get(self, tx: Transaction, principal: Principal, attachment_id: uuid.UUID | None) -> Attachment:
        """One file. Raises UnknownAttachment, FileGone, FileInfected."""
        return self._view(await self._visible(tx, principal, attachment_id))

    async def of_message(self, tx: Transaction, principal: Principal, message_id: uuid.UUID | None) -> list[Attachment]:
        """The files of a message, in their order. Raises UnknownMessage."""
        row = await self._store.message(tx, message_id)
        if row is None:
            raise UnknownMessage
        try:
            await self._access.opening_by_id(tx, principal, row.conversation_id, "files")
        except UnknownConversation:
            raise UnknownMessage from None
        return [self._view(found) for found in await self._store.of_message(tx, row.id)]

    async def delete(self, tx: Transaction, principal: Principal, attachment_id: uuid.UUID | None) -> None:
        """Delete one's own file everywhere. Repeating it does nothing. Raises UnknownAttachment, NotTheUploader, MessageSigned, Held."""
        row = await self._store.get(tx, attachment_id, lock=True)
        if row is None:
            raise UnknownAttachment
        if row.owner_id != principal.id:
            await self._visible(tx, principal, attachment_id)
            raise NotTheUploader
        if row.deleted_at is None:
            bound = await self._store.messages_of(tx, row.id)
            for one in bound:
                await self._require_unsigned(tx, one.conversation_id, one.id)
            if bound:
                await self.require_unheld(tx, row.owner_id, [one.conversation_id for one in bound], row.created_at)
            await self._jobs.forget(tx, [row.id])
            await self._audit(tx, principal, row, "attachment.deleted")

    async def forget_messages(self, tx: Transaction, message_ids: Sequence[uuid.UUID]) -> None:
        """For whoever deletes messages for good: files that no other message names are deleted with them."""
        await self._jobs.forget(tx, await self._store.unbind(tx, message_ids))

    # --- binding

    async def bind_new(self, tx: Transaction, principal: Principal, message_id: uuid.UUID, attachment_ids: Sequence[uuid.UUID]) -> None:
        """Bind one's own files to a message of the same transaction. Raises TooManyAttachments, UnknownAttachment, FileGone."""
        if len(attachment_ids) > self._most or len(set(attachment_ids)) != len(attachment_ids):
            raise TooManyAttachments(f"A message can have {self._most} files, each of them once.")
        rows = await self._store.many(tx, attachment_ids)
        for attachment_id in attachment_ids:
            row = rows.get(attachment_id)
            if row is None or row.owner_id != principal.id:
                raise UnknownAttachment(f"There is no file {attachment_id} of yours.")
            _require_kept(row)
        await self._store.bind(tx, message_id, attachment_ids)

    async def require_room(self, tx: Transaction, principal: Principal, message_id: uuid.UUID, *, lock: bool = False) -> Any:
        """The message, to which this person may attach one more file.

        Raises UnknownMessage, NotTheAuthor, MessageSigned, TooManyAttachments.
        """
        row = await self._own_message(tx, principal, message_id, lock=lock)
        await self._require_unsigned(tx, row.conversation_id, row.id)
        if len(await self._store.of_message(tx, row.id)) >= self._most:
            raise TooManyAttachments(f"A message can have {self._most} files.")
        return row

    async def bind_later(self, tx: Transaction, principal: Principal, message_id: uuid.UUID, attachment_id: uuid.UUID) -> None:
        """Bind a file just uploaded to a message that is there already."""
        row = await self.require_room(tx, principal, message_id, lock=True)
        await self._store.bind(tx, row.id, [attachment_id], first=self._most)
        await self._store.add_to_meta(tx, row, attachment_id)

    # --- downloading

    async def download(self, tx: Transaction, principal: Principal, attachment_id: uuid.UUID | None) -> Attachment:
        """Allow and audit a download. Raises what `get` raises, and FileWaiting while the file is in quarantine."""
        row = await self._visible(tx, principal, attachment_id)
        if row.state == "quarantined":
            raise FileWaiting
        await self._audit(tx, principal, row, "attachment.downloaded")
        return self._view(row)

    async def of_messages(self, tx: Transaction, message_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[Attachment]]:
        """The files of messages whose reader was admitted by a share, per message; not those of people who were erased."""
        found: dict[uuid.UUID, list[Attachment]] = {}
        for message_id, rows in (await self._store.of_messages(tx, message_ids)).items():
            for row in rows:
                with suppress(Erased):
                    found.setdefault(message_id, []).append(self._view(row))
        return found

    async def shared(
        self, tx: Transaction, attachment_id: uuid.UUID | None, shown: Collection[uuid.UUID], *, public: bool
    ) -> tuple[Attachment, uuid.UUID]:
        """A file for whoever a share admitted, and which of the messages `shown` names it. The caller records the download.

        Raises UnknownAttachment, FileGone, FileInfected, FileWaiting; FileNotScanned where everybody may come (`public`).
        """
        row = await self._store.get(tx, attachment_id)
        named_by = [] if row is None else [m.id for m in await self._store.messages_of(tx, row.id) if m.id in shown]
        if row is None or not named_by:
            raise UnknownAttachment
        _require_kept(row)
        if row.state == "quarantined":
            raise FileWaiting
        if public and row.state != "clean":
            raise FileNotScanned
        return self._view(row), named_by[0]

    def content(self, attachment: Attachment) -> AsyncGenerator[bytes, None]:
        """The bytes of a file whose download was allowed."""
        return self._blobs.get(attachment.id)

    async def link(self, tx: Transaction, principal: Principal, attachment_id: uuid.UUID | None) -> Link:
        """A short-lived link for this person. Raises what `download` raises."""
        row = await self._visible(tx, principal, attachment_id)
        if row.state == "quarantined":
            raise FileWaiting
        return self._links.sign(row.id, principal.id, self._clock.now())

    def check_link(self, attachment_id: uuid.UUID, person_id: uuid.UUID, until: int, signature: str) -> None:
        """Raises LinkInvalid, LinkExpired. Whether the person may still download is checked by `download`."""
        self._links.check(attachment_id, person_id, until, signature, self._clock.now())

    # --- parts

    async def _visible(self, tx: Transaction, principal: Principal, attachment_id: uuid.UUID | None) -> Any:
        row = await self._store.get(tx, attachment_id)
        if row is None or not (row.owner_id == principal.id or await self._readable(tx, principal, row.id)):
            raise UnknownAttachment
        _require_kept(row)
        return row

    async def _readable(self, tx: Transaction, principal: Principal, attachment_id: uuid.UUID) -> bool:
        for conversation_id in await self._store.conversations_of(tx, attachment_id):
            try:
                await self._access.by_id(tx, principal, conversation_id, "read")
            except (UnknownConversation, Forbidden):
                continue
            return True
        return False

    async def _own_message(self, tx: Transaction, principal: Principal, message_id: uuid.UUID | None, *, lock: bool) -> Any:
        row = await self._store.message(tx, message_id, lock=lock)
        if row is None:
            raise UnknownMessage
        try:
            await self._access.by_id(tx, principal, row.conversation_id, "write")
        except UnknownConversation:
            raise UnknownMessage from None
        if row.author_id != principal.id:
            raise NotTheAuthor
        return row

    def _view(self, row: Any) -> Attachment:
        facts = self._store.facts(row)
        return Attachment(
            id=row.id, file_name=facts.name, file_type="image" if facts.kind in IMAGES else facts.kind, file_size=row.size,
            mime_type=MEDIA_TYPES[facts.kind], sha256=facts.sha256, file_url=f"/api/attachments/{row.id}/download", state=row.state,
            phase="waiting_for_scan" if row.state == "quarantined" else "done", reading=facts.reading, pages=facts.pages,
            width=facts.width, height=facts.height, uploaded_by=row.owner_id, uploaded_at=row.created_at,
        )  # fmt: skip

    async def _audit(self, tx: Transaction, principal: Principal, row: Any, action: str) -> None:
        record = RecordRef(type="attachment", id=str(row.id))
        event = AuditEvent(action=action, actor=str(principal.id), via=principal.via, ip=principal.ip, record=record)
        await self._ledger.append(tx, event)


def _require_kept(row: Any) -> None:
    if row.state == "infected":
        raise FileInfected
    if row.deleted_at is not None:
        raise FileGone
