"""The archive that is written before records are deleted, when their schedule says so.

It is a document signed with the log's key (`ledger.documents`): which records, the SHA-256 of each of their parts, every event of the log
about them with its proof of inclusion, and the checkpoint the proofs lead to. The parts lie beside it, each sealed under the key of the
person whose words it holds: erasing a person makes their parts unreadable here too, and the rest stays verifiable. The whole is one blob
under the site's key.
"""

import asyncio
import base64
import io
import json
import secrets
import uuid
import zipfile
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import structlog
from psycopg import IsolationLevel

from aliquot.kernel.clock import Clock, rfc3339
from aliquot.kernel.ids import new_id
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, EventFilter, InclusionProof, LoggedEvent, RecordRef
from aliquot.platform.blobs import Blobs
from aliquot.platform.db import Database, Transaction
from aliquot.platform.vault import SITE, Erased, Vault
from aliquot.records.retention import store
from aliquot.records.retention.contracts import ArchivedPart, RetainedKind
from aliquot.records.retention.errors import ArchiveDamaged
from aliquot_verify.archive import ArchiveJudged, judge_archive

log = structlog.get_logger(__name__)

_BYTES_MAX = 1 << 31
EVENTS_AT_ONCE = 1_000


class Archives:
    """Writes archives, verifies them as anybody would, and gives them out."""

    def __init__(self, *, ledger: LedgerApi, vault: Vault, clock: Clock, db: Database, blobs: Blobs) -> None:
        self._ledger, self._vault, self._clock, self._db, self._blobs = ledger, vault, clock, db, blobs

    async def begin(self, kind: str) -> uuid.UUID:
        """Announce an archive in a transaction of its own, so that what a crash leaves of it is found by `sweep`."""
        archive_id = new_id()
        async with self._db.begin() as tx:
            await store.add_archive(tx, {"id": archive_id, "kind": kind, "state": "writing", "made_at": self._clock.now()})
        return archive_id

    async def write(self, tx: Transaction, archive_id: uuid.UUID, kind: RetainedKind, ids: Sequence[uuid.UUID], schedule: Any) -> str:
        """Write the archive of these records (whose rows `tx` has locked), read it back and verify it; its document's SHA-256.

        Raises ArchiveDamaged, StorageUnavailable and what the ledger says: then nothing may be deleted.
        """
        async with self._db.begin() as waiting:
            await self._ledger.settle(waiting)
        async with self._db.connection(IsolationLevel.REPEATABLE_READ) as conn, conn.begin() as snapshot:
            parts = await kind.contents(snapshot, ids)
            held, listed = self._sealed(archive_id, parts)
            document = {
                "kind": kind.kind, "made_at": rfc3339(self._clock.now()), "archive": str(archive_id), "records": listed,
                "schedule": {"keep_days": schedule.keep_days, "version": schedule.version},
                **await self._proven(snapshot, list(dict.fromkeys((part.record.type, part.record.id) for part in parts))),
            }  # fmt: skip
            signed = await self._ledger.sign(snapshot, "archive", document)
            vkey = await self._ledger.vkey(snapshot)
        whole = json.dumps({"document": signed.file.decode(), "parts": held}).encode()
        await self._blobs.put(archive_id, SITE, [whole])
        await self._verified(archive_id, vkey, len(listed))
        values = {"state": "written", "records": len(ids), "bytes": len(whole), "sha256": signed.sha256}
        record = RecordRef(type="archive", id=str(archive_id))
        event = AuditEvent(
            action="archive.written", actor="system", record=record, reason=kind.kind, versions={"archive": signed.sha256}
        )  # fmt: skip
        if not await store.finish_archive(tx, archive_id, values | {"event_id": await self._ledger.append(tx, event)}):
            raise ArchiveDamaged  # another process swept it away before this one held the lock of retention
        return signed.sha256

    async def sweep(self) -> None:
        """Delete what a crash left of archives that were never finished; the records they were of are still there."""
        async with self._db.begin() as tx:
            left = await store.unfinished_archives(tx)
        for archive_id in left:
            await self._blobs.delete(archive_id)
            async with self._db.begin() as tx:
                await store.drop_archive(tx, archive_id)

    async def bundle(self, archive_id: uuid.UUID) -> bytes:
        """The zip for `aliquot-verify document`; parts of people who were erased since are left out. Raises ArchiveDamaged."""
        whole = json.loads(await self._blobs.read(archive_id, _BYTES_MAX))
        parts = {name: self._opened(archive_id, name, sealed) for name, sealed in whole["parts"].items()}
        return await asyncio.to_thread(_zipped, whole["document"].encode(), parts)

    async def _verified(self, archive_id: uuid.UUID, vkey: str, parts: int) -> None:
        """Read the archive back from where it lies and judge it with the offline verifier."""
        data = await self.bundle(archive_id)
        judged = await asyncio.to_thread(_judged, data, vkey)
        if judged.document.findings or judged.held + judged.missing != parts:
            log.error("archive_not_verified", archive=str(archive_id), faults=[f.fault.name for f in judged.document.findings])
            raise ArchiveDamaged

    def _sealed(self, archive_id: uuid.UUID, parts: Sequence[ArchivedPart]) -> tuple[dict[str, str], list[dict[str, Any]]]:
        """The parts by file name, sealed; and what the document says of each. A nonce keeps short contents from being guessed."""
        held, listed = {}, []
        for number, part in enumerate(parts, 1):
            name = f"records/{number:06}.json"
            body = {"type": part.record.type, "id": part.record.id, "nonce": secrets.token_hex(16), "content": part.content}
            data = json.dumps(body, default=_plain, ensure_ascii=False, sort_keys=True).encode()
            try:
                held[name] = base64.b64encode(self._vault.seal(part.subject, data, aad=_aad(archive_id, name))).decode()
            except Erased:
                continue  # erased before it could be archived
            listed.append({"type": part.record.type, "id": part.record.id, "file": name, "sha256": sha256(data).hexdigest()})
        return held, listed

    def _opened(self, archive_id: uuid.UUID, name: str, sealed: str) -> bytes | None:
        try:
            return self._vault.open(base64.b64decode(sealed), aad=_aad(archive_id, name))
        except Erased:
            return None

    async def _proven(self, tx: Transaction, records: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """The events about these records with their proofs, all under one checkpoint (`tx` is a snapshot).

        Raises NotYetInLog when one of them has no place in the log: an archive that leaves it out would say that there is none.
        """
        checkpoint = await self._ledger.checkpoint(tx)
        proofs = []
        for record_type, record_id in records:
            wanted, after, more = EventFilter(record_type=record_type, record_id=record_id), None, True
            while more:
                events, after = await self._ledger.list(tx, wanted, limit=EVENTS_AT_ONCE, after=after)
                proofs += [_proof(event, await self._ledger.proof(tx, event.id)) for event in events]
                more = after is not None
        head = {"checkpoint": checkpoint.note, "root_hash": checkpoint.root_hash, "size": checkpoint.size}
        return {"log": head | {"origin": checkpoint.note.partition("\n")[0]}, "proofs": proofs}


def _proof(event: LoggedEvent, proof: InclusionProof) -> dict[str, Any]:
    path = [base64.b64encode(part).decode() for part in proof.path]
    leaf = base64.b64encode(proof.leaf_hash).decode()
    return {"event_id": str(event.id), "seq": proof.seq, "leaf_hash": leaf, "path": path, "body": event.body.decode()}


def _zipped(document: bytes, parts: dict[str, bytes | None]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in {"archive.json": document, **parts}.items():
            if data is not None:
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _judged(data: bytes, vkey: str) -> ArchiveJudged:
    return judge_archive(io.BytesIO(data), vkey)  # in memory: the parts are in clear here


def _plain(value: object) -> str:
    """Ids, times and amounts as texts."""
    return rfc3339(value) if hasattr(value, "tzinfo") and value.tzinfo is not None else str(value)  # type: ignore[arg-type]


def _aad(archive_id: uuid.UUID, name: str) -> str:
    return f"retention_archive:{archive_id}:{name}"
