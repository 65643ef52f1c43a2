"""An upload from its first byte to its row: received, opened in the reading process and scanned at the same time, stored sealed.

Everything is done when the answer is given, except the scan when the scanner is down. A row in state `storing` stands for the file
while its bytes are being stored: it counts against the quota, nobody sees it, and what a dead process leaves of it is swept.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import structlog

from aliquot.chat.attachments.contracts import Attachment, Facts
from aliquot.chat.attachments.errors import FileInfected, QuotaExceeded, TooManyUploads
from aliquot.chat.attachments.jobs import AttachmentJobs
from aliquot.chat.attachments.receiving import Received, receive, steady
from aliquot.chat.attachments.service import Attachments
from aliquot.chat.attachments.store import AttachmentStore
from aliquot.documents.api import DocumentsApi, clean_name, kind_of_name
from aliquot.documents.contracts import Contents
from aliquot.documents.errors import EmptyFile
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.blobs import Blobs
from aliquot.platform.db import Database, Transaction
from aliquot.platform.idempotency import Idempotency
from aliquot.platform.limits import Limiter
from aliquot.platform.scan import Scanner, ScannerDown
from aliquot.platform.settings import Limits

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What a request brings."""

    principal: Principal
    body: AsyncIterator[bytes]
    content_type: str
    sha256: str | None
    idempotency_key: str | None
    message_id: uuid.UUID | None = None
    """The message to attach to; None uploads before the message."""


class Uploads:
    """Takes uploads. `uploads_at_once` are worked on at a time in a process, a quarter of them of one person; what arrived or is
    arriving waits for that in memory: four times as many, half of `uploads_at_once` of one person."""

    def __init__(
        self,
        *,
        db: Database,
        store: AttachmentStore,
        blobs: Blobs,
        documents: DocumentsApi,
        scanner: Scanner | None,
        files: Attachments,
        jobs: AttachmentJobs,
        ledger: LedgerApi,
        limiter: Limiter,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._db, self._store, self._blobs, self._documents, self._scanner = db, store, blobs, documents, scanner
        self._files, self._jobs, self._ledger, self._limiter = files, jobs, ledger, limiter
        self._limits, self._clock = limits, clock
        self._idempotency = Idempotency(clock)
        self._arriving: Counter[uuid.UUID] = Counter()
        self._working = asyncio.Semaphore(limits.uploads_at_once)
        self._working_for: WeakValueDictionary[uuid.UUID, asyncio.Semaphore] = WeakValueDictionary()  # of those who wait or work

    async def take(self, upload: Upload) -> Attachment:
        """Receive, check and keep a file. Raises the refusals of `errors`, `documents.errors`, `platform.scan` and `platform.blobs`."""
        principal = upload.principal
        async with self._db.begin() as tx:
            await self._limiter.hit(tx, f"upload:{principal.id}", self._limits.uploads_per_minute, 60)
            if upload.message_id is not None:
                await self._files.require_room(tx, principal, upload.message_id)
        body = steady(upload.body, idle=self._limits.upload_idle_seconds, rate=self._limits.upload_bytes_per_second)
        with self._arrival(principal.id):
            received = await receive(
                body, upload.content_type, most=self._limits.attachment_bytes, seconds=self._limits.upload_seconds,
                expected=upload.sha256,
            )  # fmt: skip
            try:
                async with self._work(principal.id):
                    return await self._keep(upload, received)
            finally:
                received.close()

    async def _keep(self, upload: Upload, received: Received) -> Attachment:
        if received.size == 0:
            raise EmptyFile
        name = clean_name(received.name)
        contents, state = await self._examine(upload.principal, received, name)
        facts = _facts(name, received, contents)
        row = await self._reserve(upload.principal, received, facts, state, contents)
        stored = False
        try:
            await self._blobs.put(row["id"], upload.principal.id, received.pieces())
            if row["extract_id"] is not None:
                extract = contents.image.data if contents.image is not None else contents.text.encode()
                await self._blobs.put(row["extract_id"], upload.principal.id, [extract])
            async with self._db.begin() as tx:
                made = await self._commit(tx, upload, row["id"], facts, state, received)
            stored = made.id == row["id"]
            return made
        finally:
            if not stored:
                await asyncio.shield(self._give_up(row["id"]))

    async def _examine(self, principal: Principal, received: Received, name: str) -> tuple[Contents, str]:
        """Read and scan at the same time. An infected file is refused and audited; one that could not be scanned is quarantined."""
        reading = asyncio.create_task(self._documents.read(received.file.fileno(), kind_of_name(name)))
        try:
            state = await self._scan(principal, received)
            return await reading, state
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _scan(self, principal: Principal, received: Received) -> str:
        if self._scanner is None:
            return "not_scanned"
        try:
            verdict = await self._scanner.scan(received.pieces())
        except ScannerDown:
            return "quarantined"
        if verdict.signature is None:
            return "clean"
        log.warning("upload_infected")
        async with self._db.begin() as tx:
            await self._audit(tx, principal, new_id(), "attachment.refused", {"sha256": received.sha256.encode()}, reason="infected")
        raise FileInfected

    async def _reserve(self, principal: Principal, received: Received, facts: Facts, state: str, contents: Contents) -> dict[str, Any]:
        """The row while its bytes are being stored; the quota is checked under a lock."""
        extracted = contents.image is not None or bool(contents.text)
        values = {
            "id": new_id(), "owner_id": principal.id, "state": "storing", "size": received.size, "created_at": self._clock.now(),
            "extract_id": new_id() if extracted else None,
        }  # fmt: skip
        async with self._db.begin() as tx:
            await self._store.lock(tx, principal.id)
            if await self._store.stored_bytes(tx, principal.id) + received.size > self._limits.attachment_quota_bytes:
                raise QuotaExceeded(f"Your files may take {self._limits.attachment_quota_bytes:,} bytes in all. Delete some first.")
            await self._store.insert(tx, values, facts)
        return values

    async def _commit(
        self, tx: Transaction, upload: Upload, attachment_id: uuid.UUID, facts: Facts, state: str, received: Received
    ) -> Attachment:
        """Make the file visible, bound, audited; or give the one a repeated Idempotency-Key made before."""
        principal = upload.principal
        said = f"{facts.sha256} {facts.name} {upload.message_id}".encode()
        claim = await self._idempotency.claim(tx, key=upload.idempotency_key, owner=principal.id, route="POST /api/attachments", body=said)
        if claim.resource_id is not None:
            return await self._files.get(tx, principal, uuid.UUID(claim.resource_id))
        await self._store.set_state(tx, attachment_id, "storing", state)
        if upload.message_id is not None:
            await self._files.bind_later(tx, principal, upload.message_id, attachment_id)
        await claim.fulfil(attachment_id)
        content = {"file": facts.sha256.encode(), "name": facts.name.encode()}
        await self._audit(tx, principal, attachment_id, "attachment.uploaded", content, reason=state)
        if state == "quarantined":
            await self._jobs.scan_later(tx, attachment_id)
        return await self._files.get(tx, principal, attachment_id)

    async def _give_up(self, attachment_id: uuid.UUID) -> None:
        """Take back what was reserved; when even that fails, the sweep does it."""
        try:
            async with self._db.begin() as tx:
                await self._jobs.forget(tx, [attachment_id])
        except Exception as error:  # noqa: BLE001 - what made the upload fail is what the client is told
            log.warning("upload_not_taken_back", error=type(error).__name__)

    async def _audit(
        self, tx: Transaction, principal: Principal, record: uuid.UUID, action: str, content: dict[str, bytes], *, reason: str
    ) -> None:
        await self._ledger.append(
            tx,
            AuditEvent(
                action=action, actor=str(principal.id), via=principal.via, ip=principal.ip, content=content, subject=principal.id,
                record=RecordRef(type="attachment", id=str(record)), reason=reason,
                outcome="denied" if action == "attachment.refused" else "ok",
            ),
        )  # fmt: skip

    @contextmanager
    def _arrival(self, person_id: uuid.UUID) -> Iterator[None]:
        at_once = self._limits.uploads_at_once
        if self._arriving.total() >= 4 * at_once or self._arriving[person_id] >= max(1, at_once // 2):
            raise TooManyUploads(retry_after=2)
        self._arriving[person_id] += 1
        try:
            yield
        finally:
            self._arriving[person_id] -= 1
            self._arriving = +self._arriving

    @asynccontextmanager
    async def _work(self, person_id: uuid.UUID) -> AsyncIterator[None]:
        """A place to work on a file that has arrived."""
        own = self._working_for.setdefault(person_id, asyncio.Semaphore(max(1, self._limits.uploads_at_once // 4)))
        async with own, self._working:
            yield


def _facts(name: str, received: Received, contents: Contents) -> Facts:
    shown = contents.image
    return Facts(
        name=name, kind=contents.kind, sha256=received.sha256, reading=contents.reading, pages=contents.pages, width=contents.width,
        height=contents.height, shown_type=shown.media_type if shown is not None else None,
        shown_width=shown.width if shown is not None else 0, shown_height=shown.height if shown is not None else 0,
    )  # fmt: skip
