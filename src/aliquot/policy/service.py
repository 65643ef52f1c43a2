"""The life of an approval: pending → approved → executing → done | failed | unknown, or rejected, withdrawn, expired.

Every step is a compare-and-swap on the row with its audit event in the same transaction.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Protocol

import structlog

from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import InvalidInput, NotFound, Problem, RateLimited
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, Outcome, RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.limits import Limiter
from aliquot.platform.settings import Limits
from aliquot.platform.vault import Damaged, Erased, Vault
from aliquot.policy import approvals, store
from aliquot.policy.contracts import (
    Approval,
    ApprovalState,
    Choice,
    ContinueRun,
    Decision,
    EndWait,
    ExecutionOutcome,
    Expired,
    ListRole,
    Origin,
    Preview,
    Query,
    Signature,
    Signed,
    VerifySignature,
)
from aliquot.policy.errors import (
    AlreadyDecided,
    ApprovalDamaged,
    ApprovalExpired,
    ApprovalStale,
    IllegalTransition,
    ReasonRequired,
    RecordedRefusal,
    SessionRequired,
    SignatureRefused,
    SignatureRequired,
    TooManyDecisions,
    TooManyPending,
    reason_of,
)
from aliquot.policy.stale import changes, told
from aliquot.policy.store import ApprovalRow

log = structlog.get_logger(__name__)

_BATCH = 200
Spend = Callable[[], Awaitable[bool]]
_ENDS: dict[ExecutionOutcome, ApprovalState] = {"ok": "done", "failed": "failed", "unknown": "unknown"}
_OUTCOMES: dict[ExecutionOutcome, Outcome] = {"ok": "ok", "failed": "failed", "unknown": "unknown"}


class LeaveSignature(Protocol):
    """Stores the signature under a decision, bound to what the approval binds, in the decision's transaction."""

    def __call__(
        self, tx: Transaction, row: ApprovalRow, request: approvals.Request, meaning: str, signed: Signed, reason: str | None
    ) -> Awaitable[None]: ...


class Approvals:
    """Stores, decides and spends approvals."""

    def __init__(
        self, ledger: LedgerApi, vault: Vault, clock: Clock, *, limits: Limits, limiter: Limiter, verify_signature: VerifySignature,
        leave_signature: LeaveSignature | None = None,
    ) -> None:  # fmt: skip
        self._leave_signature = leave_signature
        self._ledger = ledger
        self._vault = vault
        self._clock = clock
        self._limits = limits
        self._limiter = limiter
        self._verify_signature = verify_signature
        self.end_wait: EndWait = _nobody_waits

    async def request(self, tx: Transaction, query: Query, decision: Decision, call_id: str, preview: Preview) -> Approval:
        approval_id, now = new_id(), self._clock.now()
        await store.lock_requester(tx, query.principal.id)
        ends = now + timedelta(seconds=self._limits.approval_seconds)
        shown = preview.warned(query.unnamed)
        request = approvals.new_request(approval_id, query, decision, call_id=call_id, preview=shown, at=now, ends=ends)
        if await store.pending_of(tx, query.principal.id, now) + request.calls > self._limits.approvals_pending:
            raise TooManyPending
        values = {
            "id": approval_id, "version": 1, "state": "pending", "requester_id": query.principal.id, "run_id": query.run_id,
            "call_id": call_id, "tool": query.tool.name, "other_person": approvals.needs_other_person(decision),
            "created_at": now, "expires_at": ends, "calls": request.calls,
        }  # fmt: skip
        try:
            values |= {"binding_sha256": request.binding(), "request": approvals.seal_request(self._vault, request)}
            row = await store.insert_approval(tx, values)
            approval = approvals.as_approval(self._vault, row, now, query.principal)
        except ValueError as error:
            raise InvalidInput("The arguments or the preview cannot be written as canonical JSON.") from error
        await self.audit(
            tx, row, "approval.requested", query.principal, outcome="pending", reason=" ".join(decision.obligations),
            content={"arguments": canonical_json(request.arguments), "binding": row.binding_sha256.encode()}, subject=query.principal.id,
            versions={"policy": decision.policy_version, "tool_schema": query.tool.schema_sha256},
        )  # fmt: skip
        return approval

    async def decide(
        self, tx: Transaction, principal: Principal, approval_id: uuid.UUID, choice: Choice, *, reason: str | None,
        signature: Signature | None, continue_run: ContinueRun,
    ) -> Approval:  # fmt: skip
        row = await self._seen(tx, principal, approval_id)
        request = await self._opened(tx, row, principal)
        refusal = approvals.refusal_to_decide(principal, row, request, choice)
        if refusal is not None:
            raise await self._refused(tx, row, principal, refusal)
        await self._require_pending(tx, row, principal)
        if "reason_required" in request.decision.obligations and not (reason or "").strip():
            raise ReasonRequired
        signed = await self._signed(tx, row, principal, signature, required=choice == "approve" and "sign" in request.decision.obligations)
        if signed is not None and signed[1].person is not None:  # checking a password takes its time: what may they do by now?
            refusal = approvals.refusal_to_decide(signed[1].person, row, request, choice)
            if refusal is not None:
                raise await self._refused(tx, row, principal, refusal)
        await self._require_pending(tx, row, principal)
        next_run, now = new_id(), self._clock.now()
        ruling = approvals.ruling_on(request, principal, choice, next_run=next_run, at=now, reason=reason, signed=signed)
        try:
            sealed = approvals.seal_ruling(self._vault, row.id, ruling)
        except ValueError as error:
            raise InvalidInput("The reason holds characters that cannot be stored.") from error
        values = {"decided_by": principal.id, "decided_at": now, "next_run_id": next_run, "verdict": sealed}
        target: ApprovalState = "approved" if choice == "approve" else "rejected"
        moved = await self._ruled(tx, row, principal, target, values)
        await self.audit(
            tx, moved, f"approval.{target}", principal, reason=ruling.meaning, content={"ruling": canonical_json(asdict(ruling))},
            subject=principal.id,
        )  # fmt: skip
        if signed is not None and self._leave_signature is not None:
            await self._leave_signature(tx, moved, request, signed[0], signed[1], reason)
        await continue_run(tx, next_run)
        return approvals.as_approval(self._vault, moved, now, principal)

    async def _ruled(
        self, tx: Transaction, row: ApprovalRow, principal: Principal, target: ApprovalState, values: Mapping[str, Any]
    ) -> ApprovalRow:
        """The row as decided; an approval counts against what one person may approve in a minute, and only if it was the one that won."""
        try:
            async with tx.savepoint() as inner:
                moved = await store.move(inner, row.id, source="pending", target=target, values=values, unexpired_at=values["decided_at"])
                if moved is not None and target == "approved":
                    await self._limiter.hit(inner, f"approvals:{principal.id}", self._limits.approvals_per_minute, 60, row.calls)
        except RateLimited as limited:
            raise await self._refused(tx, row, principal, TooManyDecisions(retry_after=limited.retry_after)) from limited
        if moved is None:
            raise await self._refused(tx, row, principal, AlreadyDecided())
        return moved

    async def editable(self, tx: Transaction, principal: Principal, approval_id: uuid.UUID) -> tuple[Approval, Origin]:
        row = await self._seen(tx, principal, approval_id)
        if row.requester_id != principal.id:
            raise NotFound
        if principal.via != "session" or principal.session_id is None:
            raise await self._refused(tx, row, principal, SessionRequired())
        request = await self._opened(tx, row, principal)
        await self._require_pending(tx, row, principal)
        return approvals.as_approval(self._vault, row, self._clock.now(), principal), request.origin

    async def give_way(self, tx: Transaction, principal: Principal, approval_id: uuid.UUID, why: str = "superseded") -> None:
        """End a pending request: another one follows in the same transaction, or its plan goes another way. Raises AlreadyDecided."""
        values = {"ended_at": self._clock.now(), "failure": why}
        moved = await store.move(tx, approval_id, source="pending", target="withdrawn", values=values)
        if moved is None:
            raise AlreadyDecided
        await self.audit(tx, moved, "approval.withdrawn", principal, reason=why)

    async def superseded(self, tx: Transaction, principal: Principal, approval_id: uuid.UUID, successor: uuid.UUID) -> None:
        """Note which request took its place."""
        moved = await store.move(tx, approval_id, source="withdrawn", target="withdrawn", values={"superseded_by": successor})
        if moved is not None:
            await self.audit(tx, moved, "approval.superseded", principal, reason=str(successor))

    async def counts(self, tx: Transaction, principal: Principal) -> tuple[int, int]:
        """(mine, inbox) of what is pending."""
        return await store.count_pending(tx, person_id=principal.id, decides=principal.may(approvals.DECIDE), now=self._clock.now())

    async def withdraw(self, tx: Transaction, principal: Principal, approval_id: uuid.UUID) -> Approval:
        row = await self._seen(tx, principal, approval_id)
        if row.requester_id != principal.id:
            raise NotFound
        await self._opened(tx, row, principal)
        await self._require_pending(tx, row, principal)
        moved = await store.move(tx, row.id, source="pending", target="withdrawn", values={"ended_at": self._clock.now()})
        if moved is None:
            raise await self._refused(tx, row, principal, AlreadyDecided())
        await self.audit(tx, moved, "approval.withdrawn", principal)
        if row.run_id is not None:
            await self.end_wait(tx, row.run_id, "withdrawn")
        return approvals.as_approval(self._vault, moved, self._clock.now(), principal)

    async def begin_execution(
        self, tx: Transaction, row: ApprovalRow, query: Query, preview: Preview, current: Decision, spend: Spend
    ) -> Approval:
        """`row` is locked; `current` is the policy's answer of now; `spend` counts the call against the policy's limits."""
        now = self._clock.now()
        if row.state == "approved" and row.state_at(now) == "expired":
            raise await self.expired(tx, row, query.principal)
        if row.state != "approved":
            raise await self._refused(tx, row, query.principal, IllegalTransition(f"The request is {row.state}, not approved."))
        changed = changes(self._vault, row, query, preview.warned(query.unnamed), current)
        if not changed and not await spend():
            changed = ["limit"]
        if not changed and not await store.record_execution(tx, row.id, now):
            changed = ["executed_before"]
        if changed:
            raise await self._stale(tx, row, query.principal, changed, preview, current)
        moved = await store.move(tx, row.id, source="approved", target="executing", values={"executing_at": now})
        if moved is None:
            raise await self._refused(tx, row, query.principal, IllegalTransition())
        versions = {"policy": current.policy_version, "tool_schema": query.tool.schema_sha256}
        await self.audit(tx, moved, "approval.executing", query.principal, outcome="pending", versions=versions)
        return approvals.as_approval(self._vault, moved, now)

    async def finish_execution(
        self, tx: Transaction, approval_id: uuid.UUID, outcome: ExecutionOutcome, *, tolerant: bool = False
    ) -> Approval:
        row = await store.approval(tx, approval_id, lock=True)
        if row is None:
            raise NotFound
        if row.state == "executing":
            row = await self._end(tx, row, outcome)
        elif not tolerant:
            raise await self._refused(tx, row, None, IllegalTransition(f"The request is {row.state}, not executing."))
        return approvals.as_approval(self._vault, row, self._clock.now())

    async def expire_due(self, tx: Transaction) -> list[Expired]:
        rows = await store.due(tx, now=self._clock.now(), limit=_BATCH)
        for row in rows:
            await self.expired(tx, row, None)
        return [Expired(approval_id=row.id, run_id=row.run_id) for row in rows]

    async def resolve_in_flight(self, tx: Transaction, *, older_than_seconds: float) -> list[uuid.UUID]:
        before = self._clock.now() - timedelta(seconds=older_than_seconds)
        rows = await store.in_flight_since(tx, before=before, limit=_BATCH)
        for row in rows:
            await self._end(tx, row, "unknown")
        return [row.id for row in rows]

    async def get(self, tx: Transaction, principal: Principal, approval_id: uuid.UUID) -> Approval:
        row = await self._seen(tx, principal, approval_id)
        await self._opened(tx, row, principal)
        return approvals.as_approval(self._vault, row, self._clock.now(), principal)

    async def page(
        self,
        tx: Transaction,
        principal: Principal,
        *,
        state: ApprovalState | None,
        role: ListRole | None,
        limit: int,
        after: uuid.UUID | None,
    ) -> tuple[list[Approval], uuid.UUID | None]:
        now, decides = self._clock.now(), principal.may(approvals.DECIDE)
        rows = await store.approvals(
            tx, person_id=principal.id, decides=decides, role=role, state=state, now=now, limit=limit + 1, after=after
        )
        found = []
        for row in rows[:limit]:
            try:
                found.append(approvals.as_approval(self._vault, row, now, principal))
            except (Damaged, Erased) as problem:  # one bad row must not hide the others; asking for it by id says what is wrong
                log.error("approval_unreadable", approval=str(row.id), code=problem.code)
        return found, rows[limit - 1].id if len(rows) > limit else None

    async def by_next_run(self, tx: Transaction, run_id: uuid.UUID) -> Approval | None:
        row = await store.approval_by_next_run(tx, run_id)
        return None if row is None else approvals.as_approval(self._vault, row, self._clock.now())

    def origin(self, row: ApprovalRow) -> Origin:
        """How the request came about; tainted when that cannot be read."""
        try:
            return approvals.open_request(self._vault, row).origin
        except (Damaged, Erased, ValueError, KeyError, TypeError):
            return Origin(tainted=True, intent=None, unnamed=None)

    async def _seen(self, tx: Transaction, principal: Principal, approval_id: uuid.UUID) -> ApprovalRow:
        row = await store.approval(tx, approval_id)
        if row is None or not approvals.may_see(principal, row):
            raise NotFound
        return row

    async def _opened(self, tx: Transaction, row: ApprovalRow, principal: Principal) -> approvals.Request:
        try:
            return approvals.open_request(self._vault, row)
        except (Damaged, ValueError, KeyError, TypeError) as error:
            raise await self._refused(tx, row, principal, ApprovalDamaged()) from error

    async def _require_pending(self, tx: Transaction, row: ApprovalRow, principal: Principal) -> None:
        if row.state == "pending" and row.state_at(self._clock.now()) == "expired":
            raise await self.expired(tx, row, principal)
        if row.state == "expired":
            raise await self._refused(tx, row, principal, ApprovalExpired())
        if row.state != "pending":
            raise await self._refused(tx, row, principal, AlreadyDecided())

    async def _signed(
        self, tx: Transaction, row: ApprovalRow, principal: Principal, signature: Signature | None, *, required: bool
    ) -> tuple[str, Signed] | None:
        if signature is None:
            if required:
                raise SignatureRequired
            return None
        if not (signature.password or signature.otp or signature.sso):
            raise SignatureRequired
        if required and signature.meaning == "rejection":
            raise SignatureRequired("An approval cannot be signed with the meaning rejection.")
        try:
            return signature.meaning, await self._verify_signature(tx, principal, signature)
        except InvalidInput:
            raise
        except Problem as problem:
            refusal = SignatureRefused(problem.detail, retry_after=problem.retry_after, cause=problem.code)
            raise await self._refused(tx, row, principal, refusal) from problem

    async def _end(self, tx: Transaction, row: ApprovalRow, outcome: ExecutionOutcome) -> ApprovalRow:
        moved = await store.move(tx, row.id, source="executing", target=_ENDS[outcome], values={"ended_at": self._clock.now()})
        if moved is None:
            raise IllegalTransition
        await self.audit(tx, moved, "approval.executed", None, outcome=_OUTCOMES[outcome])
        return moved

    async def expired(self, tx: Transaction, row: ApprovalRow, principal: Principal | None) -> ApprovalExpired:
        moved = await store.move(tx, row.id, source=row.state, target="expired", values={"ended_at": self._clock.now()})
        if moved is not None:
            await self.audit(tx, moved, "approval.expired", principal, outcome="denied", reason=row.state)
            if row.run_id is not None:
                await self.end_wait(tx, row.run_id, "expired")
        return ApprovalExpired()

    async def _stale(
        self, tx: Transaction, row: ApprovalRow, principal: Principal, changed: list[str], preview: Preview, current: Decision
    ) -> ApprovalStale:  # fmt: skip
        values: Mapping[str, Any] = {"ended_at": self._clock.now(), "failure": " ".join(changed)}
        moved = await store.move(tx, row.id, source="approved", target="failed", values=values)
        await self.audit(tx, moved or row, "approval.stale", principal, outcome="denied", reason=" ".join(changed))
        approved = {} if changed == ["damaged"] else approvals.open_request(self._vault, row).preview.resource_versions
        return ApprovalStale(told(changed, approved=approved, preview=preview, current=current), changed=changed)

    async def _refused(self, tx: Transaction, row: ApprovalRow, principal: Principal | None, refusal: Problem) -> Problem:
        """The refusal, with its audit event in `tx`."""
        if isinstance(refusal, RecordedRefusal):
            await self.audit(tx, row, "approval.refused", principal, outcome="denied", reason=reason_of(refusal))
        return refusal

    async def audit(
        self, tx: Transaction, row: ApprovalRow, action: str, principal: Principal | None, *, outcome: Outcome = "ok",
        reason: str | None = None, content: dict[str, bytes] | None = None, subject: uuid.UUID | None = None,
        versions: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        actor, via, ip = ("system", "system", None) if principal is None else (str(principal.id), principal.via, principal.ip)
        event = AuditEvent(
            action=action, actor=actor, record=RecordRef(type="approval", id=str(row.id), version=row.version), outcome=outcome, via=via,
            ip=ip, on_behalf_of=str(row.requester_id) if actor != str(row.requester_id) else None, run_id=row.run_id, tool=row.tool,
            reason=reason, content=content or {}, subject=subject, versions=versions or {},
        )  # fmt: skip
        await self._ledger.append(tx, event)


async def _nobody_waits(tx: Transaction, run_id: uuid.UUID, state: ApprovalState) -> None:
    """Without chat no run waits."""
