"""The door to the compliance report."""

import asyncio
import base64
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import IsolationLevel

import aliquot
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock, rfc3339
from aliquot.ledger.contracts import AuditEvent, Checkpoint, RecordRef
from aliquot.ledger.errors import NotYetInLog
from aliquot.platform.db import Database, Transaction
from aliquot.platform.vault import SITE
from aliquot.reports.contracts import NO_EVIDENCE, Clause, Fact, Format, Made, Period
from aliquot.reports.errors import BadReportPeriod, ReportBusy
from aliquot.reports.log_facts import LogFacts
from aliquot.reports.pdf import pdf
from aliquot.reports.rules import clauses, matrix
from aliquot.reports.site_facts import Doors, SiteFacts, from_counts

KIND = "compliance report"
_DAYS = 90
_AT_ONCE = 1
_STATEMENT = (
    "Aliquot supports the rules named here. Whether a laboratory complies with them is the laboratory's to say: it depends on procedures, "
    "training and validation that no software holds. A section without evidence says so. Each count is of events in the audit log, and "
    "for each kind of event the newest one that the checkpoint covers is named with its proof of inclusion."
)
_MATRIX_NOTE = "Outcomes of tests are those of the run before this version was released, not of this site."


class ReportsApi:
    """Puts the report together from one consistent view of the database, signs it with the log's key, records that it was made."""

    def __init__(self, db: Database, doors: Doors, clock: Clock) -> None:
        self._db, self._doors, self._clock = db, doors, clock
        self._ledger, self._settings = doors.ledger, doors.settings
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def period(self, since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
        """The period asked for; without an end until now, without a beginning the 90 days before the end. Raises BadReportPeriod."""
        now = self._clock.now() + timedelta(milliseconds=1)
        try:
            until = min((until or now).astimezone(UTC), now)
            since = (since or until - timedelta(days=_DAYS)).astimezone(UTC)
        except OverflowError:  # before the year 1 or after 9999
            raise BadReportPeriod from None
        if not timedelta(0) < until - since <= timedelta(days=self._settings.limits.compliance_report_days):
            raise BadReportPeriod
        return since, until

    async def compliance(self, principal: Principal, since: datetime, until: datetime, form: Format) -> Made:
        """The report on [since, until). Its event is committed before it is given out. Raises ReportBusy, NoCheckpoint, NoLogKey."""
        if self._slots.locked():
            raise ReportBusy(retry_after=30)
        async with self._slots:
            async with self._db.begin() as tx:
                await self._ledger.settle(tx)
            async with self._db.connection(IsolationLevel.REPEATABLE_READ) as conn, conn.begin() as tx:
                document = await self._document(tx, principal, since, until)
                signed = await self._ledger.sign(tx, KIND, document)
                await self._ledger.append(tx, _event(principal, signed.file, signed.sha256, form))
            name = f"compliance-{document['period']['from'][:10]}-{document['period']['to'][:10]}"
            if form == "json":
                return Made(data=signed.file, media_type="application/json", name=f"{name}.json", sha256=signed.sha256, document=document)
            data = await asyncio.to_thread(pdf, document, signed)
            return Made(data=data, media_type="application/pdf", name=f"{name}.pdf", sha256=signed.sha256, document=document)

    async def _document(self, tx: Transaction, principal: Principal, since: datetime, until: datetime) -> dict[str, Any]:
        checkpoint = await self._ledger.checkpoint(tx)
        tally = await self._ledger.evidence.tally(tx, since, until)
        period = Period(since=since, until=until, counts={found.action: found.count for found in tally})
        attention = from_counts(period.counts)
        facts = await LogFacts(self._ledger, self._clock, self._settings, attention).gather(tx, period, checkpoint)
        facts |= await SiteFacts(self._doors, attention).gather(tx, period)
        examples = await self._examples(tx, period)
        return {
            "title": "Compliance report",
            "statement": _STATEMENT,
            "software": {"name": "Aliquot", "version": aliquot.__version__},
            "log": _log(checkpoint, await self._ledger.vkey(tx)),
            "period": {"from": rfc3339(since), "to": rfc3339(until)},
            "time_zone": self._settings.time_zone,
            "generated_at": rfc3339(self._clock.now()),
            "generated_by": {"id": str(principal.id), "name": principal.name},
            "events": sum(period.counts.values()),
            "attention": [asdict(found) for found in sorted(attention, key=lambda a: (a.severity != "fault", a.code))],
            "matrix": _matrix(),
            "sections": [_section(clause, period, facts, examples) for clause in clauses()],
            "proofs": await self._proofs(tx, facts, examples),
        }

    async def _examples(self, tx: Transaction, period: Period) -> dict[str, dict[str, Any]]:
        """Of each action the sections name: the newest event of the period under the checkpoint."""
        found = {}
        for action in sorted({action for clause in clauses() for action in clause.events if action in period.counts}):
            event = await self._ledger.evidence.example(tx, action, period.since, period.until)
            if event is not None:
                found[action] = {"id": str(event.id), "at": rfc3339(event.at), "seq": event.seq}
        return found

    async def _proofs(
        self, tx: Transaction, facts: Mapping[str, Fact], examples: Mapping[str, dict[str, Any]]
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Inclusion proofs (RFC 6962) under the checkpoint of the report; what is not covered yet is left out."""
        ids = {event["id"] for event in examples.values()} | {event for fact in facts.values() for event in fact.events}
        proofs = []
        for event_id in sorted(ids):
            try:
                proof = await self._ledger.proof(tx, uuid.UUID(event_id))
            except NotYetInLog:
                continue
            path = [base64.b64encode(part).decode() for part in proof.path]
            leaf = base64.b64encode(proof.leaf_hash).decode()
            proofs.append({"event_id": event_id, "seq": proof.seq, "leaf_hash": leaf, "path": path})
        return sorted(proofs, key=lambda proof: int(proof["seq"]))


def _section(clause: Clause, period: Period, facts: Mapping[str, Fact], examples: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    events = [{"action": a, "count": period.counts.get(a, 0), "newest": examples.get(a)} for a in clause.events]
    told = [_fact(name, facts[name]) for name in clause.facts]
    evidence = any(event["count"] for event in events) or any(fact["of"] == "period" and fact["found"] for fact in told)
    tests = matrix().rules.get(clause.id, {})
    return {
        "clause": clause.id, "family": clause.family, "title": clause.title, "asks": clause.asks, "supports": list(clause.supports),
        "evidence": "evidence" if evidence else NO_EVIDENCE, "events": events, "facts": told,
        "tests": [{"test": test, "outcome": outcome} for test, outcome in sorted(tests.items())],
        "remains": list(clause.remains), "unsupported": list(clause.unsupported),
    }  # fmt: skip


def _fact(name: str, fact: Fact) -> dict[str, Any]:
    return {
        "name": name, "label": fact.label, "value": fact.value, "details": list(fact.details), "of": fact.of, "found": fact.found,
        "events": list(fact.events),
    }  # fmt: skip


def _matrix() -> dict[str, Any]:
    found = matrix()
    outcomes = [outcome for tests in found.rules.values() for outcome in tests.values()]
    counts = {name.replace(" ", "_"): outcomes.count(name) for name in ("passed", "failed", "not run")}
    return {"version": found.version, "commit": found.commit, "date": found.date, "note": _MATRIX_NOTE, **counts}


def _log(checkpoint: Checkpoint, vkey: str) -> dict[str, Any]:
    origin = checkpoint.note.partition("\n")[0]
    return {
        "origin": origin, "size": checkpoint.size, "root_hash": checkpoint.root_hash, "checkpoint": checkpoint.note, "vkey": vkey,
    }  # fmt: skip


def _event(principal: Principal, content: bytes, sha256: str, form: Format) -> AuditEvent:
    return AuditEvent(
        action="compliance.reported", actor=str(principal.id), via=principal.via, ip=principal.ip, reason=form, subject=SITE,
        record=RecordRef(type="compliance_report", id=sha256), content={"report": content}, versions={"report": sha256},
    )  # fmt: skip
