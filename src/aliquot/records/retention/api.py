"""The door to retention: schedules, holds, and the deletion of what is due."""

import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import Clock, rfc3339
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import InvalidInput, NotFound, Problem
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.blobs import Blobs
from aliquot.platform.db import Database, Transaction
from aliquot.platform.vault import SITE, Vault
from aliquot.records import proving
from aliquot.records.erasure.contracts import Obstacle
from aliquot.records.retention import store
from aliquot.records.retention.archive import Archives
from aliquot.records.retention.contracts import Archive, Hold, Kept, NewHold, RetainedKind, Schedule
from aliquot.records.retention.errors import AlreadyReleased, FixedSchedule, Held, OneTarget, ReasonNeeded
from aliquot.records.signatures.contracts import Secrets

REASON_CHARS = 2_000
_HOLDS_MAX = 10_000
_BATCH = 50
_ARCHIVED_AT_ONCE = 10
_SINCE = {
    "conversation": "its last message, once its owner deleted it",
    "instrument_run": "the end of the run",
    "approval": "the request",
    "signature": "the signature",
    "audit_event": "the event",
}
_FIXED = ("signature", "audit_event")


class RetentionApi:
    """Keeps schedules and holds; tells erasures what stands against them; deletes what is due."""

    def __init__(self, *, identity: IdentityApi, ledger: LedgerApi, vault: Vault, clock: Clock, db: Database, blobs: Blobs) -> None:
        self._identity, self._ledger, self._vault, self._clock, self._db = identity, ledger, vault, clock, db
        self._kinds: list[RetainedKind] = []
        self._archives = Archives(ledger=ledger, vault=vault, clock=clock, db=db, blobs=blobs)

    def register(self, kind: RetainedKind) -> None:
        """Put a domain's records under their schedule."""
        self._kinds.append(kind)

    # Schedules

    async def schedules(self, tx: Transaction) -> list[Schedule]:
        return [_schedule(row) for row in await store.schedules(tx)]

    async def set_schedule(
        self, tx: Transaction, principal: Principal, kind: str, keep_days: int | None, *, archive: bool | None, reason: str | None,
        secrets: Secrets,
    ) -> Schedule | Problem:  # fmt: skip
        """Change how long a kind is kept, and whether an archive is written before it goes; a shorter time, or no archive any more,
        takes a reason and a secret. Commit in either case.

        Raises NotFound, FixedSchedule, ReasonNeeded, and as `proving.refusal`.
        """
        row = await store.schedule(tx, kind)
        if row is None:
            raise NotFound
        if kind in _FIXED:
            raise FixedSchedule
        archived = row.archive if archive is None else archive
        if _shorter(keep_days, row.keep_days) or (row.archive and not archived):
            if reason is None or not reason.strip():
                raise ReasonNeeded
            refused = await proving.refusal(self._identity, tx, principal, secrets)
            if refused is not None:
                return refused
        await store.set_schedule(tx, kind, keep_days, archived, at=self._clock.now(), by=principal.id)
        record = RecordRef(type="retention_schedule", id=kind, version=row.version + 1)
        said = f"{days_said(row.keep_days)} -> {days_said(keep_days)}"
        if archived != row.archive:
            said += ", with an archive" if archived else ", without an archive"
        content = {"keep_days": days_said(keep_days).encode(), "archive": archive_said(archived)}
        await self._audit(tx, principal, "retention.changed", record, said, reason, content)
        changed = await store.schedule(tx, kind)
        return _schedule(changed)

    # Holds

    async def hold(self, tx: Transaction, principal: Principal, wanted: NewHold) -> Hold:
        """Raises OneTarget, NotFound for an unknown person or kind, InvalidInput."""
        targets = (wanted.person, wanted.conversation_id, wanted.kind)
        if sum(target is not None for target in targets) != 1 or (wanted.kind is None and (wanted.since or wanted.until)):
            raise OneTarget
        if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
            raise InvalidInput("since: must be before `until`.")
        if wanted.kind is not None and await store.schedule(tx, wanted.kind) is None:
            raise NotFound("There is no such kind of record.")
        person_id = None if wanted.person is None else (await self._identity.person(tx, wanted.person)).id
        hold_id = new_id()
        values = {
            "id": hold_id, "person_id": person_id, "conversation_id": wanted.conversation_id, "kind": wanted.kind, "since": wanted.since,
            "until": wanted.until, "made_by": principal.id, "made_at": self._clock.now(),
            "reason": self._vault.seal(SITE, wanted.reason.encode(), aad=_aad(hold_id, "reason")),
        }  # fmt: skip
        await store.lock_holds(tx)
        await store.add_hold(tx, values)
        made = await self.get_hold(tx, hold_id)
        record = RecordRef(type="legal_hold", id=str(hold_id))
        await self._audit(tx, principal, "hold.made", record, None, wanted.reason, {"target": hold_target(made)})
        return made

    async def release(
        self, tx: Transaction, principal: Principal, hold_id: uuid.UUID, *, reason: str, secrets: Secrets
    ) -> Hold | Problem:  # fmt: skip
        """Let a hold go. Commit in either case. Raises NotFound, AlreadyReleased, and as `proving.refusal`."""
        row = await store.hold(tx, hold_id, lock=True)
        if row is None:
            raise NotFound
        if row.released_at is not None:
            raise AlreadyReleased
        refused = await proving.refusal(self._identity, tx, principal, secrets)
        if refused is not None:
            return refused
        sealed = self._vault.seal(SITE, reason.encode(), aad=_aad(hold_id, "release_reason"))
        await store.release(tx, hold_id, {"released_by": principal.id, "released_at": self._clock.now(), "release_reason": sealed})
        await self._audit(tx, principal, "hold.released", RecordRef(type="legal_hold", id=str(hold_id)), None, reason)
        return await self.get_hold(tx, hold_id)

    async def get_hold(self, tx: Transaction, hold_id: uuid.UUID) -> Hold:
        """Raises NotFound."""
        row = await store.hold(tx, hold_id)
        if row is None:
            raise NotFound
        return self._hold(row)

    async def holds(self, tx: Transaction, *, limit: int, after: uuid.UUID | None) -> tuple[list[Hold], uuid.UUID | None]:
        """Newest first, released ones too, and the cursor of the next page."""
        rows = await store.holds(tx, standing=False, limit=limit + 1, after=after)
        return [self._hold(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None

    async def standing(self, tx: Transaction, *, limit: int) -> list[Hold]:
        """Holds that were not released, newest first."""
        return [self._hold(row) for row in await store.holds(tx, standing=True, limit=limit, after=None)]

    async def require_unheld(self, tx: Transaction, person_id: uuid.UUID, conversation_ids: Sequence[uuid.UUID], made_at: datetime) -> None:
        """Raises Held for a piece of these conversations that somebody wants to delete by itself. The database refuses it too."""
        if await store.held(tx, person_id, conversation_ids, made_at):
            raise Held

    # What it is for

    async def obstacles(self, tx: Transaction, subject: uuid.UUID) -> Sequence[Obstacle]:
        """What stands against an erasure: see `records.erasure.contracts.Obstacles`. Until the transaction ends no hold is made."""
        await store.lock_holds(tx)
        now, rows = self._clock.now(), await store.schedules(tx)
        days = {row.kind: row.keep_days for row in rows}
        before = {kind: None if kept is None else now - timedelta(days=kept) for kind, kept in days.items()}
        found = [kept for kind in self._kinds for kept in await kind.kept(tx, subject, before)]
        found.append(Kept(kind="signature", count=await store.signed_under(tx, subject), newest=None))
        duties = [
            Obstacle(because="retention", kind=kept.kind, count=kept.count, until=_until(kept.newest, days[kept.kind]))
            for kept in found if kept.count
        ]  # fmt: skip
        return [*duties, *await self._holding(tx, subject)]

    async def apply(self) -> dict[str, int]:
        """Delete what is due, batch by batch, each with its events; how many records of each kind. For a loop: what a crash leaves is
        done by the next round."""
        counts: Counter[str] = Counter()
        async with self._db.begin() as tx:
            if not await store.one_at_a_time(tx):
                return {}
            await self._archives.sweep()
        for kind in self._kinds:
            while gone := await self._purge(kind):
                counts.update(ref.type for ref in gone)
        if counts:
            async with self._db.begin() as tx:
                record, said = RecordRef(type="retention_schedule", id="all"), canonical_json(dict(counts)).decode()
                await self._ledger.append(
                    tx, AuditEvent(action="retention.applied", actor="system", record=record, versions={"purged": said})
                )
        return dict(counts)

    async def _purge(self, kind: RetainedKind) -> Sequence[RecordRef]:
        """Delete one batch, after its archive was written and verified where the schedule says so; what is gone."""
        archive_id: uuid.UUID | None = None
        async with self._db.begin() as tx:
            schedule = await store.schedule(tx, kind.kind)
            archived = schedule is not None and schedule.archive
            if archived and await kind.due(tx, 1):
                archive_id = await self._archives.begin(kind.kind)
        async with self._db.begin() as tx:
            if not await store.one_at_a_time(tx):
                return []
            schedule = await store.schedule(tx, kind.kind)
            if schedule is None or (schedule.archive and archive_id is None):
                return []
            ids = await kind.due(tx, _ARCHIVED_AT_ONCE if schedule.archive else _BATCH)
            if not ids:
                return []
            sha256 = await self._archives.write(tx, archive_id, kind, ids, schedule) if archive_id and schedule.archive else None
            gone = await kind.purge(tx, ids)
            await self._ledger.append_many(tx, [_purged(ref, sha256) for ref in gone])
        return gone

    # Archives

    async def archives(self, tx: Transaction, *, limit: int, after: uuid.UUID | None) -> tuple[list[Archive], uuid.UUID | None]:
        """Newest first, and the cursor of the next page."""
        rows = await store.archives(tx, limit=limit + 1, after=after)
        return [_archive(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None

    async def open_archive(
        self, tx: Transaction, principal: Principal, archive_id: uuid.UUID, *, reason: str, secrets: Secrets
    ) -> Problem | None:
        """The right to take an archive out, recorded. Commit in either case; then `archive_bundle`. Raises NotFound, and as
        `proving.refusal`."""
        if await store.archive(tx, archive_id) is None:
            raise NotFound
        refused = await proving.refusal(self._identity, tx, principal, secrets)
        if refused is None:
            await self._audit(tx, principal, "archive.read", RecordRef(type="archive", id=str(archive_id)), None, reason)
        return refused

    async def archive_bundle(self, archive_id: uuid.UUID) -> bytes:
        """The zip for `aliquot-verify document`. Raises BlobMissing, StorageUnavailable."""
        return await self._archives.bundle(archive_id)

    async def _holding(self, tx: Transaction, subject: uuid.UUID) -> list[Obstacle]:
        rows = await store.holds(tx, standing=True, limit=_HOLDS_MAX, after=None)
        holds = [self._hold(row) for row in rows]
        own = sum(hold.person_id == subject for hold in holds)
        found = [Obstacle(because="hold", kind="person", count=own, until=None)] if own else []
        others = [hold for hold in holds if hold.person_id is None]
        for kind in self._kinds if others else ():
            count = await kind.held(tx, subject, others)
            if count:
                found.append(Obstacle(because="hold", kind=kind.kind, count=count, until=None))
        return found

    def _hold(self, row: Any) -> Hold:
        def opened(sealed: bytes | None, name: str) -> str | None:
            return None if sealed is None else self._vault.open(bytes(sealed), aad=_aad(row.id, name)).decode()

        return Hold(
            id=row.id, person_id=row.person_id, conversation_id=row.conversation_id, kind=row.kind, since=row.since, until=row.until,
            reason=opened(row.reason, "reason") or "", made_by=row.made_by, made_at=row.made_at, released_by=row.released_by,
            released_at=row.released_at, release_reason=opened(row.release_reason, "release_reason"),
        )  # fmt: skip

    async def _audit(
        self, tx: Transaction, principal: Principal, action: str, record: RecordRef, said: str | None, reason: str | None,
        more: dict[str, bytes] | None = None,
    ) -> None:  # fmt: skip
        content = ({} if reason is None else {"reason": reason.encode()}) | (more or {})
        event = AuditEvent(
            action=action, actor=str(principal.id), via=principal.via, ip=principal.ip, record=record, reason=said, content=content,
            subject=SITE,
        )  # fmt: skip
        await self._ledger.append(tx, event)


def hold_target(row: Any) -> bytes:
    """What a hold keeps, as its event commits to it."""
    times = [None if at is None else rfc3339(at) for at in (row.since, row.until)]
    ids = [None if one is None else str(one) for one in (row.person_id, row.conversation_id)]
    return canonical_json([*ids, row.kind, *times])


def _purged(record: RecordRef, archive: str | None) -> AuditEvent:
    versions = {} if archive is None else {"archive": archive}
    return AuditEvent(action=f"{record.type}.purged", actor="system", record=record, reason="retention is over", versions=versions)


def _archive(row: Any) -> Archive:
    return Archive(
        id=row.id, kind=row.kind, records=row.records, bytes=row.bytes, sha256=row.sha256, made_at=row.made_at, event_id=row.event_id
    )


def _schedule(row: Any) -> Schedule:
    return Schedule(
        kind=row.kind, keep_days=row.keep_days, since=_SINCE.get(row.kind, "its creation"), fixed=row.kind in _FIXED, version=row.version,
        changed_at=row.changed_at, changed_by=row.changed_by, archive=row.archive,
    )  # fmt: skip


def _shorter(wanted: int | None, now: int | None) -> bool:
    return wanted is not None and (now is None or wanted < now)


def archive_said(archive: bool) -> bytes:
    return b"archive" if archive else b"no archive"


def days_said(days: int | None) -> str:
    return "for ever" if days is None else f"{days} days"


def _until(newest: datetime | None, days: int | None) -> datetime | None:
    return None if newest is None or days is None else newest + timedelta(days=days)


def _aad(hold_id: uuid.UUID, name: str) -> str:
    return f"legal_hold.{name}:{hold_id}"
