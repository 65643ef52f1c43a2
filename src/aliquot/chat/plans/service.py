"""The life of a plan: made, waiting, running, paused or failed, stopped, done. Every change is audited in its transaction.

Locks are taken in one order everywhere: approvals, then the plan.
"""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from aliquot.chat.plans.contracts import PlanState
from aliquot.chat.plans.errors import StepFixed
from aliquot.chat.plans.said import bound, said
from aliquot.chat.plans.store import PlanStore, Step, StepOutcome
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, Outcome, RecordRef
from aliquot.platform.db import Transaction
from aliquot.policy.api import PolicyApi
from aliquot.policy.contracts import OWN_DECISION, Approval, ApprovalState, ExecutionOutcome, PlannedCall
from aliquot.tools.contracts import CallReport

_OVER = ("done", "stopped")
_OUTCOMES: dict[PlanState, Outcome] = {"done": "ok", "failed": "failed", "paused": "unknown", "stopped": "denied"}
_WHOLE_ENDS: dict[PlanState, ExecutionOutcome] = {"done": "ok", "paused": "unknown"}
_STEP_ENDS: dict[str, tuple[PlanState, str]] = {
    "failed": ("failed", "step_failed"), "denied": ("failed", "step_denied"), "unknown": ("paused", "step_unknown"),
}  # fmt: skip
_DECLINED: dict[str | None, tuple[PlanState, str]] = {
    "approval_rejected": ("stopped", "rejected"), "approval_withdrawn": ("stopped", "withdrawn"),
    "approval_expired": ("paused", "approval_expired"), "approval_stale": ("failed", "stale"),
}  # fmt: skip


class Plans:
    """What happens to plans because of runs and approvals. What people ask for is `desk`'s."""

    def __init__(self, store: PlanStore, policy: PolicyApi, ledger: LedgerApi, clock: Clock) -> None:
        self.store, self._policy, self._ledger, self._clock = store, policy, ledger, clock

    async def create(
        self, tx: Transaction, run: Any, run_step: int, person: Principal, calls: Sequence[tuple[PlannedCall, str | None]], *, tainted: bool
    ) -> tuple[Any, Approval | None]:
        """The plan, and the request for its whole; without one it begins at once, each step asking for itself.

        Raises TooManyPending, InvalidInput.
        """
        plan_id, planned = new_id(), [call for call, _ in calls]
        asking = [call for call in planned if call.decision.decision == "confirm" and not call.own_decision]
        whole = None
        if len(asking) > 1:
            whole = await self._policy.request_whole(
                tx, person, planned, run_id=run.id, call_id=f"plan_{plan_id.hex}", tainted=tainted, intent=run.intent
            )
        row = await self.store.insert(
            tx,
            {
                "id": plan_id, "conversation_id": run.conversation_id, "person_id": person.id, "run_id": run.id, "run_step": run_step,
                "current_run_id": run.id, "state": "running" if whole is None else "waiting", "mode": "steps" if whole is None else "whole",
                "whole_id": None if whole is None else whole.id, "approval_id": None if whole is None else whole.id, "tainted": tainted,
                "created_at": self._clock.now(),
            },
            calls,
        )  # fmt: skip
        await self._audit(tx, row, "plan.made", person, outcome="pending", content={"steps": bound(planned)})
        return row, whole

    # --- driven by a run

    async def begin(
        self, tx: Transaction, person: Principal, run_id: uuid.UUID, plan_id: uuid.UUID, decided: Approval | None
    ) -> bool:  # fmt: skip
        """A run goes on with the plan: the approval of the whole, if that was given, is spent on it. False when it does not go on.

        Raises as `begin_whole`.
        """
        row = await self.store.get(tx, plan_id)
        if row is None or row.state != "running" or row.current_run_id != run_id:
            return False
        if decided is not None and decided.id == row.whole_id and decided.state == "rejected":
            await self._end_locked(tx, run_id, plan_id, "stopped", "rejected")
            return False
        if row.mode == "whole":
            await self._policy.begin_whole(tx, person, row.whole_id)
        return True

    async def not_begun(self, tx: Transaction, run_id: uuid.UUID, plan_id: uuid.UUID) -> None:
        """The approval of the whole could not be used any more: it ran out before its plan began."""
        await self._end_locked(tx, run_id, plan_id, "paused", "approval_expired")

    async def _end_locked(self, tx: Transaction, run_id: uuid.UUID, plan_id: uuid.UUID, state: PlanState, reason: str) -> None:
        row = await self.store.get(tx, plan_id, lock=True)
        if row is not None and row.state == "running" and row.current_run_id == run_id:
            await self.finish(tx, row, state, reason)

    async def next(self, tx: Transaction, run_id: uuid.UUID, plan_id: uuid.UUID) -> tuple[Any, Step | None]:
        """The step whose turn it is, noted as begun by this run; None when the plan is over, stopped, or driven by another run."""
        row = await self.store.get(tx, plan_id, lock=True)
        if row is None or row.current_run_id != run_id or row.state in ("paused", "failed", *_OVER):
            return row, None
        if row.stop_by is not None:
            return await self.finish(tx, row, "stopped", "stopped"), None
        steps = await self.store.steps(tx, plan_id)
        step = next((step for step in steps if step.state != "ok"), None)
        if step is None:
            return await self.finish(tx, row, "done", None), None
        if step.state == "waiting":
            await self.store.change_step(tx, plan_id, step.n, {"state": "current", "run_id": run_id})
            row = await self.change(tx, plan_id, {}, "plan.step_begun", reason=f"step {step.n + 1}")
        return row, step

    async def asked(self, tx: Transaction, row: Any, step: Step, report: CallReport) -> CallReport:
        """The step needs a decision: the one about the whole, where that covers it, or its own, for which the plan then waits."""
        approval, codes = cast("Approval", report.approval), list[str]()
        if row.mode == "whole":
            approval, codes = await self._policy.cover(tx, approval.id, row.whole_id, step.n)
            if codes and codes != [OWN_DECISION] and await self._policy.state(tx, row.whole_id) == "executing":
                await self._policy.finish_execution(tx, row.whole_id, "failed")
        await self.store.get(tx, row.id, lock=True)
        await self.store.change_step(tx, row.id, step.n, {"approval_id": approval.id})
        about = f"step {step.n + 1}"
        if approval.state == "pending":
            stays = codes == [OWN_DECISION]  # only this step asks by itself: the decision about the whole stands for the others
            reason = OWN_DECISION if stays else "stale" if codes else None
            values = {"state": "waiting", "approval_id": approval.id, "mode": row.mode if stays else "steps", "reason": reason}
            await self.change(tx, row.id, values, "plan.asks", outcome="pending", reason=" ".join([about, *codes]))
        else:
            await self.change(tx, row.id, {}, "plan.step_covered", reason=about)
        return replace(report, approval=approval)

    async def ended(self, tx: Transaction, run_id: uuid.UUID, plan_id: uuid.UUID, step: Step, report: CallReport) -> Any:
        """A step came to its end; what is not `ok` ends or pauses the plan."""
        row = await self.store.get(tx, plan_id, lock=True)
        if row is None or row.current_run_id != run_id:
            return row
        outcome = StepOutcome(summary=report.summary, rendered=report.rendered or "")
        values = {"state": report.outcome, "outcome": self.store.seal_outcome(row.person_id, plan_id, step.n, outcome)}
        await self.store.change_step(tx, plan_id, step.n, values)
        ended = cast("Outcome", report.outcome)
        changed = await self.change(tx, plan_id, {}, "plan.step_ended", outcome=ended, reason=f"step {step.n + 1}")
        if report.outcome == "ok":
            return changed
        state, reason = _DECLINED.get(report.error_code) or _STEP_ENDS[report.outcome]
        return await self.finish(tx, changed, state, reason)

    async def finish(self, tx: Transaction, row: Any, state: PlanState, reason: str | None, person: Principal | None = None) -> Any:
        """`done` or `stopped` for good; `failed` or `paused` until a person resumes or stops it. Needs the lock."""
        if row.mode == "whole" and await self._policy.state(tx, row.whole_id) == "executing":
            await self._policy.finish_execution(tx, row.whole_id, _WHOLE_ENDS.get(state, "failed"))
        if state != "paused":
            await self.store.change_steps(tx, row.id, ("waiting",), {"state": "skipped"})
        over = state in _OVER
        values = {"state": state, "reason": reason, "mode": "steps" if not over else row.mode, "approval_id": None}
        values |= {"ended_at": self._clock.now()} if over else {}
        return await self.change(tx, row.id, values, f"plan.{state}", person, outcome=_OUTCOMES[state], reason=reason)

    async def approval(self, tx: Transaction, person: Principal, approval_id: uuid.UUID) -> Approval:
        """The request a plan waits for. Raises NotFound."""
        return await self._policy.get(tx, person, approval_id)

    async def document(self, tx: Transaction, plan_id: uuid.UUID) -> dict[str, Any]:
        """The plan as the preview of its approval shows it."""
        row, steps = await self.store.get(tx, plan_id), await self.store.steps(tx, plan_id)
        shown = [
            {
                "n": step.n + 1, "tool": step.call.tool.name, "arguments": step.call.arguments, "state": step.state,
                "after": [at + 1 for at in step.call.after], "summary": None if step.call.preview is None else step.call.preview.summary,
                "deferred": step.body.deferred, "obligations": list(step.call.decision.obligations), "own_decision": step.call.own_decision,
            }
            for step in steps
        ]  # fmt: skip
        return {"id": str(plan_id), "state": row.state, "mode": row.mode, "steps": shown} if row is not None else {}

    # --- told by the chat

    async def decided(self, tx: Transaction, approval: Approval, run_id: uuid.UUID) -> None:
        """The decision it waits for was made: `run_id` goes on with it."""
        where = {"approval_id": approval.id, "state": "waiting"}
        values = {"state": "running", "approval_id": None, "current_run_id": run_id, "reason": None}
        changed = await self.store.swap(tx, where, values)
        if changed is not None:
            await self._audit(tx, changed, "plan.decided", None, reason=approval.state)

    async def undecided(self, tx: Transaction, run_id: uuid.UUID, approval: ApprovalState) -> None:
        """The request it waits for ended without a decision (withdrawn, expired)."""
        found = await self.store.driven_by(tx, run_id)
        row = None if found is None else await self.store.get(tx, found.id, lock=True)
        if row is None or row.state != "waiting" or row.current_run_id != run_id:
            return
        state, reason = _DECLINED.get(f"approval_{approval}", ("paused", "interrupted"))
        if state == "paused":
            await self.store.change_steps(tx, row.id, ("current",), {"state": "denied"})
        await self.finish(tx, row, state, reason)

    async def run_ended(self, tx: Transaction, run_id: uuid.UUID) -> None:
        """The run that drove it failed or was cancelled."""
        row = await self.store.driven_by(tx, run_id)
        if row is not None and row.state == "running":
            stopped = row.stop_by is not None
            await self._end_locked(tx, run_id, row.id, "stopped" if stopped else "paused", "stopped" if stopped else "interrupted")

    async def other_approval(self, tx: Transaction, run_id: uuid.UUID) -> None:
        """An edited request would take the place of the one a plan waits for. Raises StepFixed."""
        row = await self.store.driven_by(tx, run_id)
        if row is not None and row.state == "waiting":
            raise StepFixed

    async def change(
        self, tx: Transaction, plan_id: uuid.UUID, values: dict[str, Any], action: str, person: Principal | None = None, *,
        outcome: Outcome = "ok", reason: str | None = None,
    ) -> Any:  # fmt: skip
        """Change the plan, whose steps were changed before, with the event that says how it stands then; the row. Needs the lock."""
        changed = await self.store.change(tx, plan_id, values)
        await self._audit(tx, changed, action, person, outcome=outcome, reason=reason)
        return changed

    async def _audit(
        self, tx: Transaction, row: Any, action: str, person: Principal | None, *, outcome: Outcome = "ok", reason: str | None = None,
        content: dict[str, bytes] | None = None,
    ) -> None:  # fmt: skip
        steps = (await self.store.rows_of_steps(tx, [row.id])).get(row.id, [])
        actor, via, ip = ("system", "system", None) if person is None else (str(person.id), person.via, person.ip)
        await self._ledger.append(
            tx,
            AuditEvent(
                action=action, actor=actor, via=via, ip=ip, on_behalf_of=str(row.person_id) if actor != str(row.person_id) else None,
                record=RecordRef(type="plan", id=str(row.id), version=row.version), run_id=row.current_run_id, outcome=outcome,
                reason=reason, content=content or {}, subject=row.person_id if content else None, versions=said(row, steps),
            ),
        )  # fmt: skip
