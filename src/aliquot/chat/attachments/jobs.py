"""Work on attachments that happens later: scanning what waits, deleting blobs, sweeping what was abandoned."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta

import structlog

from aliquot.chat.attachments.store import AttachmentStore
from aliquot.kernel.clock import Clock
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.blobs import BlobMissing, Blobs, StorageUnavailable
from aliquot.platform.db import Database, Transaction
from aliquot.platform.jobs import Jobs
from aliquot.platform.loops import Loops
from aliquot.platform.scan import Scanner, ScannerDown, TooLargeToScan, Verdict
from aliquot.platform.settings import Limits
from aliquot.platform.vault import Erased

log = structlog.get_logger(__name__)

SCAN, DELETE = "chat.scan_attachment", "chat.delete_attachment_blobs"
_LONGEST_PAUSE_SECONDS = 60
_STORING = timedelta(minutes=10)
_REMEMBERED = timedelta(days=30)


class AttachmentJobs:
    """Jobs carry ids only and may run any number of times. What fails because something is away is deferred again, without end."""

    def __init__(
        self,
        *,
        db: Database,
        store: AttachmentStore,
        blobs: Blobs,
        scanner: Scanner | None,
        jobs: Jobs,
        ledger: LedgerApi,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._db, self._store, self._blobs, self._scanner, self._jobs, self._ledger = db, store, blobs, scanner, jobs, ledger
        self._unbound, self._clock = timedelta(seconds=limits.attachment_unbound_seconds), clock
        jobs.register(SCAN, self.scan)
        jobs.register(DELETE, self.delete_blobs)

    def register_loops(self, loops: Loops) -> None:
        loops.register("chat.sweep_attachments", 300.0, self.sweep)
        loops.register("chat.look_at_storage", 30.0, self._blobs.look)

    async def scan_later(self, tx: Transaction, attachment_id: uuid.UUID, tries: int = 0) -> None:
        await self._again(tx, SCAN, attachment_id, tries)

    async def forget(self, tx: Transaction, attachment_ids: Sequence[uuid.UUID], state: str = "deleted") -> None:
        """Delete the rows' contents now, the blobs by a job of the same transaction."""
        for attachment_id in await self._store.forget(tx, attachment_ids, self._clock.now(), state):
            await self._jobs.defer(tx, DELETE, {"attachment_id": str(attachment_id), "tries": 0})

    async def scan(self, *, attachment_id: str, tries: int) -> None:
        """Job: scan a file in quarantine. Found clean it is released, infected it is deleted; both are audited."""
        key = uuid.UUID(attachment_id)
        async with self._db.begin() as tx:
            row = await self._store.get(tx, key)
        if row is None or row.state != "quarantined":
            return
        try:
            verdict = await self._verdict(key, row.size)
        except (ScannerDown, TooLargeToScan, StorageUnavailable) as problem:
            log.info("scan_put_off", code=problem.code)
            async with self._db.begin() as tx:
                await self._again(tx, SCAN, key, tries + 1)
            return
        except (Erased, BlobMissing):
            verdict = None
        async with self._db.begin() as tx:
            await self._judge(tx, key, row.owner_id, verdict)

    async def _verdict(self, attachment_id: uuid.UUID, size: int) -> Verdict | None:
        """None when this site has no scanner any more: the file then counts as not scanned."""
        if self._scanner is None:
            return None
        data = await self._blobs.read(attachment_id, size)
        return await self._scanner.scan(_one(data))

    async def _judge(self, tx: Transaction, key: uuid.UUID, owner_id: uuid.UUID, verdict: Verdict | None) -> None:
        infected = verdict is not None and verdict.signature is not None
        state = "infected" if infected else "not_scanned" if verdict is None else "clean"
        if not await self._store.set_state(tx, key, "quarantined", state):
            return
        if infected:
            await self.forget(tx, [key], "infected")
        await self._audit(tx, key, owner_id, "attachment.scanned", state)

    async def delete_blobs(self, *, attachment_id: str, tries: int) -> None:
        """Job: delete the blobs of a deleted file; tried until they are gone."""
        key = uuid.UUID(attachment_id)
        async with self._db.begin() as tx:
            row = await self._store.raw(tx, key)
        if row is None or row.deleted_at is None:
            return
        try:
            await self._blobs.delete(key)
            if row.extract_id is not None:
                await self._blobs.delete(row.extract_id)
        except StorageUnavailable:
            async with self._db.begin() as tx:
                await self._again(tx, DELETE, key, tries + 1)
            return
        async with self._db.begin() as tx:
            await self._store.blobs_gone(tx, key, self._clock.now())

    async def sweep(self) -> None:
        """Loop: delete what was never bound to a message in time, and what a dead process left."""
        now = self._clock.now()
        async with self._db.begin() as tx:
            for attachment_id in await self._store.abandoned(tx, now, self._unbound, _STORING):
                row = await self._store.raw(tx, attachment_id)
                await self.forget(tx, [attachment_id])
                if row is not None:
                    await self._audit(tx, attachment_id, row.owner_id, "attachment.deleted", "never attached")
            await self._store.purge(tx, now - _REMEMBERED)
        await self._blobs.sweep()

    async def _again(self, tx: Transaction, name: str, attachment_id: uuid.UUID, tries: int) -> None:
        pause = timedelta(seconds=min(_LONGEST_PAUSE_SECONDS, 2 ** min(tries, 6)))
        await self._jobs.defer(tx, name, {"attachment_id": str(attachment_id), "tries": tries}, at=self._clock.now() + pause)

    async def _audit(self, tx: Transaction, key: uuid.UUID, owner_id: uuid.UUID, action: str, reason: str) -> None:
        record = RecordRef(type="attachment", id=str(key))
        await self._ledger.append(tx, AuditEvent(action=action, actor="system", on_behalf_of=str(owner_id), record=record, reason=reason))


def _one(data: bytes) -> Iterator[bytes]:
    yield data
