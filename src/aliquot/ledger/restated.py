"""Compares rows with what the log says of them: finds what was edited, made or deleted behind the log's back.

A page of rows and its events are read in one snapshot, and an event commits with its change, so an honest row never differs.
It holds for the record types whose domains implement `RestatedRecords`, and for the contents their events commit to; `docs/tamper.md`
lists them.
"""

import json
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from psycopg import IsolationLevel

from aliquot.kernel.clock import Clock
from aliquot.ledger import anchor_store, queries
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, CheckResult, Claim, Difference, RecordRef, Restated, RestatedRecords
from aliquot.ledger.merkle import Tree, leaf_hash
from aliquot.platform.db import Database, Transaction
from aliquot.platform.vault import Erased, Vault

log = structlog.get_logger(__name__)

CHECKED = "log.checked"
_PAGE = 500
_DIFFERENCES_MAX = 1_000
_ALERTS_MAX = 100
_NIGHT_SECONDS = 20 * 3_600


class Rechecker:
    """`aliquot log check`, and every night."""

    def __init__(self, db: Database, ledger: LedgerApi, vault: Vault, clock: Clock, sources: Sequence[RestatedRecords]) -> None:
        self._db, self._ledger, self._vault, self._clock, self._sources = db, ledger, vault, clock, sources
        self._erased = 0

    async def nightly(self) -> None:
        """Once a night, in one of the processes: an event says how it went, and one more per altered record."""
        async with self._db.begin() as tx:
            last = await anchor_store.last_event(tx, CHECKED)
            due = last is None or (self._clock.now() - last).total_seconds() > _NIGHT_SECONDS
            if not due or not await anchor_store.one_at_a_time(tx, "check"):
                return
        await self.check_and_record(via="system")

    async def check_and_record(self, *, via: str) -> CheckResult:
        result = await self.check()
        found = result.differences
        if found:
            log.error("records_altered", count=len(found))
        events = [_event("log.record_altered", d.record_type, d.record_id, f"{d.kind}:{d.what}"[:200], via) for d in found[:_ALERTS_MAX]]
        events.append(_event(CHECKED, "audit_log", "log", f"differences:{len(found)}", via, failed=bool(found)))
        async with self._db.begin() as tx:
            await self._ledger.append_many(tx, events)
        return result

    async def check(self) -> CheckResult:
        """Compare everything; at most 1,000 differences are told."""
        self._erased = 0
        compared: dict[str, int] = {}
        differences = [d async for d in self._events()]
        for source in self._sources:
            async for count, found in self._rows(source):
                compared[source.record_type] = compared.get(source.record_type, 0) + count
                differences += found
            differences += [d async for d in self._deleted(source)]
        return CheckResult(compared=compared, erased=self._erased, differences=tuple(differences[:_DIFFERENCES_MAX]))

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Transaction]:
        async with self._db.connection(IsolationLevel.REPEATABLE_READ) as conn, conn.begin() as tx:
            yield tx

    async def _rows(self, source: RestatedRecords) -> AsyncIterator[tuple[int, list[Difference]]]:
        after: str | None = None
        while True:
            async with self._snapshot() as tx:
                ids = await source.ids(tx, after, _PAGE)
                if not ids:
                    return
                rows = await source.restate(tx, ids)
                events = await queries.bodies_of(tx, source.record_type, ids)
            yield len(rows), [d for row in rows for d in self._compare(source.record_type, row, events.get(row.id, []))]
            after = ids[-1]

    def _compare(self, kind: str, row: Restated, bodies: Sequence[bytes]) -> Iterator[Difference]:
        events = [json.loads(body) for body in bodies]
        for name in row.damaged:
            yield Difference(kind="damaged", record_type=kind, record_id=row.id, what=name)
        for claim in row.claims:
            about = [event for event in events if event["action"] in claim.actions and _speaks_of(event, claim)]
            if not about:
                if claim.required:
                    yield Difference(kind="unrecorded", record_type=kind, record_id=row.id, what="row")
                continue
            newest = max(reversed(about), key=_version) if claim.by_version else about[-1]
            wrong = self._wrong(newest, claim)
            if wrong is not None:
                yield Difference(kind="altered", record_type=kind, record_id=row.id, what=claim.what or wrong)

    def _wrong(self, event: dict[str, Any], claim: Claim) -> str | None:
        """Which content or field of the row is not what the event says."""
        if claim.content is not None:
            name, data = claim.content
            entry = next(c for c in event["content"] if c["name"] == name)
            try:
                code, _ = self._vault.commit(uuid.UUID(entry["key_id"]), data)
            except Erased:
                self._erased += 1
                return None
            if code != entry["hmac"]:
                return name
        if claim.token is not None and claim.token[0] + claim.token[1] not in event.get("reason", "").split(","):
            return claim.token[0].rstrip(":")
        return next((name for name, value in claim.fields.items() if not _is(_member(event, name), value)), None)

    async def _deleted(self, source: RestatedRecords) -> AsyncIterator[Difference]:
        after = None
        while True:
            async with self._snapshot() as tx:
                made = await queries.records_made(tx, source.record_type, source.made_by, after, _PAGE)
                if not made:
                    return
                ids = [record for _, _, record in made]
                gone = sorted(set(ids) - await source.existing(tx, ids))
                explained = await queries.records_ended(tx, source.record_type, gone) if gone else set()
            for record in gone:
                if record not in explained:
                    yield Difference(kind="deleted", record_type=source.record_type, record_id=record, what="row")
            after = made[-1][:2]

    async def _events(self) -> AsyncIterator[Difference]:
        """The events themselves: their bytes against the log, their searchable columns against their bytes, all against the signed root."""
        tree, start = Tree(), 0
        async with self._snapshot() as tx:
            signed = await self._ledger.status(tx)
        while start < signed.size:
            async with self._snapshot() as tx:
                rows = await queries.log_page(tx, start, min(start + _PAGE, signed.size))
            for seq in sorted(set(range(start, min(start + _PAGE, signed.size))) - {row.seq for row in rows}):
                yield Difference(kind="event_altered", record_type="audit_event", record_id=str(seq), what="missing")
            for row in rows:
                tree.append(bytes(row.leaf_hash))
                if (what := _event_fault(row)) is not None:
                    yield Difference(kind="event_altered", record_type="audit_event", record_id=str(row.id or row.seq), what=what)
            start += _PAGE
        if tree.size != signed.size or tree.root() != signed.root_hash:
            yield Difference(kind="event_altered", record_type="audit_log", record_id="log", what="root")


def _event_fault(row: Any) -> str | None:
    if row.body is None:
        return "missing"
    body = bytes(row.body)
    if leaf_hash(body) != bytes(row.leaf_hash):
        return "body"
    event = json.loads(body)
    stored = (str(row.id), row.actor, row.action, row.record_type, row.record_id)
    said = (event["id"], event["actor"], event["action"], event["record"]["type"], event["record"]["id"])
    return None if stored == said else "columns"


def _speaks_of(event: dict[str, Any], claim: Claim) -> bool:
    if claim.content is not None:
        return any(entry["name"] == claim.content[0] for entry in event["content"])
    if claim.token is not None:
        return any(word.startswith(claim.token[0]) for word in event.get("reason", "").split(","))
    return all(_member(event, name) is not None for name in claim.fields if name.startswith("versions."))


def _version(event: dict[str, Any]) -> int:
    version: int = event["record"]["version"]
    return version


def _is(found: object, wanted: str | tuple[str, ...]) -> bool:
    return found in wanted if isinstance(wanted, tuple) else found == wanted


def _member(event: dict[str, Any], name: str) -> object:
    value: Any = event
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _event(action: str, kind: str, record_id: str, reason: str, via: str, *, failed: bool = True) -> AuditEvent:
    record = RecordRef(type=kind, id=record_id)
    return AuditEvent(action=action, actor="system", via=via, record=record, reason=reason, outcome="failed" if failed else "ok")
