"""Tool calls as records: claimed once per idempotency key, finished together with their audit event, replayed as stored."""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from sqlalchemy import text

from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.telemetry import Metrics
from aliquot.platform.vault import Vault
from aliquot.policy.contracts import Approval, Decision
from aliquot.tools import store
from aliquot.tools.contracts import CallOutcome, CallReport, ToolContext, ToolResult
from aliquot.tools.errors import CallMismatch
from aliquot.tools.registry import Registered

_KEY_CHARS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call on its way."""

    id: uuid.UUID
    context: ToolContext
    tool: str | None
    """None when no tool has the name that was asked for: that name is then text somebody wrote."""
    effect: str | None
    schema_sha256: str | None
    arguments: dict[str, Any] | None
    """None when they did not parse."""
    given: bytes
    """What is sealed and committed to: canonical JSON of the arguments, or the text that did not parse."""
    policy_version: str | None = None
    decision: Decision | None = None


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """The sealed report of a finished call."""

    summary: str
    error_text: str | None
    rendered: str | None
    result: ToolResult | None
    decision: Decision | None
    duration_ms: int
    parsed: bool


@asynccontextmanager
async def read_only(tx: Transaction) -> AsyncIterator[Transaction]:
    """A part of `tx` in which PostgreSQL refuses every write (a savepoint set to READ ONLY).

    Facts, previews and read-only tools run here: that they change nothing does not rest on their authors. An error rolls back
    this part only. After-commit effects registered inside are dropped.
    """
    async with tx.savepoint() as inner:
        await inner.send(text("SET TRANSACTION READ ONLY"))
        yield inner


def new_call(context: ToolContext, known: Registered | None, arguments: dict[str, Any] | None, given: bytes) -> Call:
    facts = None if known is None else known.facts
    return Call(
        id=new_id(),
        context=context,
        tool=None if facts is None else facts.name,
        effect=None if facts is None else facts.effect,
        schema_sha256=None if facts is None else facts.schema_sha256,
        arguments=arguments,
        given=given,
    )


class Calls:
    """Stores calls. Every method works in the caller's transaction."""

    def __init__(self, ledger: LedgerApi, vault: Vault, clock: Clock, metrics: Metrics | None) -> None:
        self._ledger = ledger
        self._vault = vault
        self._clock = clock
        self._metrics = metrics

    async def claim(self, tx: Transaction, call: Call) -> store.CallRow | None:
        """Take the idempotency key for `call`. Returns the earlier call when the key is taken, locked.

        Raises CallMismatch when that earlier call is not this very call (same person, tool and arguments).
        """
        context = call.context
        if max(len(context.call_id), len(context.idempotency_key)) > _KEY_CHARS_MAX:
            raise ValueError(f"call ids and idempotency keys have at most {_KEY_CHARS_MAX} characters")
        self._vault.ensure_subject(context.principal.id)
        values = {
            "id": call.id,
            "call_id": context.call_id,
            "run_id": context.run_id,
            "person_id": context.principal.id,
            "tool": call.tool,
            "effect": call.effect,
            "arguments": self._vault.seal(context.principal.id, call.given, aad=f"tool_call.arguments:{call.id}"),
            "schema_sha256": call.schema_sha256,
            "idempotency_key": context.idempotency_key,
            "created_at": self._clock.now(),
        }
        if await store.claim(tx, values):
            return None
        row = await store.by_key(tx, context.idempotency_key)
        if row is None or row.person_id != context.principal.id or row.tool != call.tool or self._given(row) != call.given:
            raise CallMismatch
        return row

    def restored(self, row: store.CallRow, principal: Principal | None, run_id: uuid.UUID | None) -> Call:
        """The stored call, to be executed or closed; its arguments come from the row and from nowhere else.

        Without a principal the system acts, on behalf of the person whose call it is.
        """
        given = self._given(row)
        person = principal or Principal(
            id=row.person_id, email="", name="", roles=frozenset(), permissions=frozenset(), via="system"
        )  # fmt: skip
        return Call(
            id=row.id,
            context=ToolContext(principal=person, run_id=run_id, call_id=row.call_id, idempotency_key=row.idempotency_key),
            tool=row.tool,
            effect=row.effect,
            schema_sha256=row.schema_sha256,
            arguments=msgspec.json.decode(given, type=dict[str, Any]),
            given=given,
            policy_version=row.policy_version,
        )

    async def finish(self, tx: Transaction, call: Call, report: CallReport, *, before: Sequence[str]) -> bool:
        """Store how `call` ended, with its audit event. False, with nothing written, when it is no longer in `before`."""
        stored = _Stored(
            summary=report.summary,
            error_text=report.error_text,
            rendered=report.rendered,
            result=report.result,
            decision=report.decision,
            duration_ms=report.duration_ms,
            parsed=report.arguments is not None,
        )
        values = {
            "state": report.outcome,
            "report": self._vault.seal(call.context.principal.id, msgspec.json.encode(stored), aad=f"tool_call.report:{call.id}"),
            "policy_version": call.policy_version,
            "error_code": report.error_code,
            "attempts": report.attempts,
            "finished_at": self._clock.now(),
        }
        if not await store.finish(tx, call.id, before=before, values=values):
            return False
        await self._ledger.append(tx, _event(call, report))
        if self._metrics is not None:
            tx.after_commit(self._metrics.tool_calls.labels(tool=call.tool or "", outcome=report.outcome).inc)
        return True

    def replay(self, row: store.CallRow, approval: Approval | None = None) -> CallReport:
        """The report of a finished call, or of a waiting one with its approval, as it was given the first time."""
        given = self._given(row)
        if row.report is None:
            return waiting_report(row.call_id, row.tool or "", msgspec.json.decode(given), cast("Approval", approval))
        stored = msgspec.json.decode(self._vault.open(bytes(row.report), aad=f"tool_call.report:{row.id}"), type=_Stored)
        return CallReport(
            call_id=row.call_id,
            tool=row.tool or "",
            arguments=msgspec.json.decode(given) if stored.parsed else None,
            outcome=cast("CallOutcome", row.state),
            summary=stored.summary,
            result=stored.result,
            rendered=stored.rendered,
            error_code=row.error_code,
            error_text=stored.error_text,
            decision=stored.decision,
            duration_ms=stored.duration_ms,
            attempts=row.attempts,
        )

    def _given(self, row: store.CallRow) -> bytes:
        return self._vault.open(bytes(row.arguments), aad=f"tool_call.arguments:{row.id}")


def waiting_report(call_id: str, tool: str, arguments: dict[str, Any], approval: Approval) -> CallReport:
    return CallReport(
        call_id=call_id,
        tool=tool,
        arguments=arguments,
        outcome="waiting",
        summary=approval.preview.summary,
        error_text=f"A person has to confirm this first (approval {approval.id}).",
        decision=approval.decision,
        approval=approval,
    )


def _event(call: Call, report: CallReport) -> AuditEvent:
    principal = call.context.principal
    system = principal.via == "system"
    content = {"arguments": call.given}
    if report.result is not None:
        content["result"] = canonical_json(report.result.data)
    versions = {"policy": call.policy_version, "tool_schema": call.schema_sha256}
    return AuditEvent(
        action="tool_call.finished",
        actor="system" if system else str(principal.id),
        on_behalf_of=str(principal.id) if system else None,
        via=principal.via,
        ip=principal.ip,
        record=RecordRef(type="tool_call", id=str(call.id)),
        outcome=cast("CallOutcome", report.outcome),
        run_id=call.context.run_id,
        tool=call.tool,
        reason=report.error_code,
        content=content,
        subject=principal.id,
        versions={name: version for name, version in versions.items() if version is not None},
    )
