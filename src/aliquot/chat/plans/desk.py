"""What people ask of plans: look, decide, go step by step, stop, resume."""

import uuid
from collections.abc import Awaitable, Callable, Collection
from typing import Any, cast

import structlog

from aliquot.chat.plans.contracts import Plan, PlanState, PlanStep, StepDecision, StepState
from aliquot.chat.plans.errors import (
    NotResumable,
    NotTheRequester,
    OutcomeNeeded,
    PlanEnded,
    PlanMovedOn,
    UnknownPlan,
    WholeNotOffered,
)
from aliquot.chat.plans.service import Plans
from aliquot.chat.plans.store import Step, StepOutcome
from aliquot.identity.contracts import Principal
from aliquot.kernel.problems import NotFound
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Damaged, Erased
from aliquot.policy.api import PolicyApi
from aliquot.policy.contracts import Approval, ApprovalState, Choice, Signature
from aliquot.policy.errors import AlreadyDecided, SessionRequired

log = structlog.get_logger(__name__)

_OVER = ("done", "stopped")
_RESUMABLE = ("paused", "failed")
_INBOX_MAX = 200

GoOn = Callable[[Transaction, uuid.UUID, Principal, str], Awaitable[uuid.UUID]]
"""Queues the run that goes on after a run, with its job; its id."""
EndWait = Callable[[Transaction, uuid.UUID, ApprovalState], Awaitable[None]]
"""Tells a run that waits for an approval that it does not wait any more."""


class PlanDesk:
    """Each method is one person's request, in the caller's transaction; use `kept_refusals`. Other people's plans are UnknownPlan."""

    def __init__(self, plans: Plans, policy: PolicyApi, *, go_on: GoOn, end_wait: EndWait) -> None:
        self._plans, self._store, self._policy = plans, plans.store, policy
        self._go_on, self._end_wait = go_on, end_wait

    async def view(self, tx: Transaction, person: Principal, plan_id: uuid.UUID) -> Plan:
        """A plan I asked for, or one whose decision is asked of me. Raises UnknownPlan."""
        row, steps = await self._seen(tx, person, plan_id)
        return await self._shown(tx, person, row, steps)

    async def page(
        self, tx: Transaction, person: Principal, *, state: PlanState | None, limit: int, after: uuid.UUID | None
    ) -> tuple[list[Plan], uuid.UUID | None]:
        """My plans, and those that wait for my decision; newest first."""
        inbox, _ = await self._policy.list(tx, person, state="pending", role="inbox", limit=_INBOX_MAX)
        rows = await self._store.page(tx, person.id, [approval.id for approval in inbox], state, limit + 1, after)
        found = []
        for row in rows[:limit]:
            try:
                found.append(await self._shown(tx, person, row, await self._store.steps(tx, row.id)))
            except (Damaged, Erased) as problem:  # one bad row must not hide the others; asking for it by id says what is wrong
                log.error("plan_unreadable", plan=str(row.id), code=problem.code)
        return found, rows[limit - 1].id if len(rows) > limit else None

    async def decide(
        self, tx: Transaction, person: Principal, plan_id: uuid.UUID, approval_id: uuid.UUID, choice: Choice, *, reason: str | None,
        signature: Signature | None,
    ) -> Approval:  # fmt: skip
        """Decide the request the plan waits for: of the whole, or of one step. Raises PlanMovedOn, and what the policy raises."""
        row, _ = await self._seen(tx, person, plan_id)
        if row.approval_id != approval_id:
            raise PlanMovedOn
        return await self._policy.decide_approval(tx, person, approval_id, choice, reason=reason, signature=signature)

    async def step_by_step(self, tx: Transaction, person: Principal, plan_id: uuid.UUID) -> uuid.UUID:
        """The requester wants a decision for each step; the run that asks for the first one.

        Raises NotTheRequester, SessionRequired, WholeNotOffered, PlanMovedOn.
        """
        row, _ = await self._mine(tx, person, plan_id)
        if row.state != "waiting" or row.approval_id is None or row.approval_id != row.whole_id:
            raise WholeNotOffered
        await self._retract(tx, person, row.whole_id, "step_by_step")
        locked = await self._store.get(tx, plan_id, lock=True)
        if locked is None or locked.state != "waiting" or locked.approval_id != row.whole_id:
            raise PlanMovedOn
        await self._end_wait(tx, locked.current_run_id, "approved")
        run_id = await self._go_on(tx, locked.current_run_id, person, "plan step by step")
        values = {"state": "running", "mode": "steps", "approval_id": None, "current_run_id": run_id}
        await self._plans.change(tx, plan_id, values, "plan.step_by_step", person)
        return run_id

    async def stop(self, tx: Transaction, person: Principal, plan_id: uuid.UUID) -> None:
        """No further step begins; one that is under way comes to its end. Raises PlanEnded, PlanMovedOn."""
        row, _ = await self._seen(tx, person, plan_id)
        if row.state in _OVER:
            raise PlanEnded
        if row.state == "waiting":
            await self._retract(tx, person, row.approval_id, "plan_stopped")
        locked = await self._store.get(tx, plan_id, lock=True)
        if locked is None or locked.state in _OVER:
            raise PlanEnded
        if locked.state == "waiting" and (row.state != "waiting" or locked.approval_id != row.approval_id):
            raise PlanMovedOn
        if locked.state == "running":
            await self._plans.change(tx, plan_id, {"stop_by": person.id}, "plan.stop_requested", person)
            return
        if locked.state == "waiting":
            await self._store.change_steps(tx, plan_id, ("current",), {"state": "skipped"})
        changed = await self._store.change(tx, plan_id, {"stop_by": person.id})
        await self._plans.finish(tx, changed, "stopped", "stopped", person)
        await self._end_wait(tx, locked.current_run_id, "withdrawn")

    async def resume(self, tx: Transaction, person: Principal, plan_id: uuid.UUID, took_effect: bool | None) -> uuid.UUID:
        """Go on with the step that was not done, by a new decision; the run that asks for it.

        Of a step whose outcome is unknown a person says whether it took effect: then the next one follows, else it is asked for again.
        Raises NotTheRequester, SessionRequired, NotResumable, OutcomeNeeded.
        """
        await self._mine(tx, person, plan_id)
        locked = await self._store.get(tx, plan_id, lock=True)
        if locked is None or locked.state not in _RESUMABLE:
            raise NotResumable
        step = next((step for step in await self._store.steps(tx, plan_id) if step.state not in ("ok", "skipped", "waiting")), None)
        said = "" if step is None else await self._settled(tx, locked, step, person, took_effect)
        await self._store.change_steps(tx, plan_id, ("skipped",), {"state": "waiting"})
        run_id = await self._go_on(tx, locked.current_run_id, person, "plan resumed")
        values = {"state": "running", "mode": "steps", "reason": None, "approval_id": None, "stop_by": None, "current_run_id": run_id}
        await self._plans.change(tx, plan_id, values, "plan.resumed", person, reason=said or None)
        return run_id

    async def purge(self, tx: Transaction, conversation_ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
        """Delete the plans of conversations whose retention is over; which ones."""
        return await self._store.purge(tx, conversation_ids)

    async def _settled(self, tx: Transaction, row: Any, step: Step, person: Principal, took_effect: bool | None) -> str:
        """The step the plan stopped at, made ready: another attempt is another call, so nothing is repeated by mistake."""
        if step.state == "current":  # interrupted: the same call again, which answers with what became of it
            return f"step {step.n + 1}"
        if step.state != "unknown":
            await self._store.change_step(tx, row.id, step.n, {"state": "waiting", "attempt": step.attempt + 1, "approval_id": None})
            return f"step {step.n + 1} again"
        if took_effect is None:
            raise OutcomeNeeded
        if not took_effect:
            await self._store.change_step(tx, row.id, step.n, {"state": "waiting", "attempt": step.attempt + 1, "approval_id": None})
            return f"step {step.n + 1} had no effect"
        outcome = StepOutcome(summary=f"{person.name or 'A person'} looked and says that it took effect.")
        sealed = self._store.seal_outcome(row.person_id, row.id, step.n, outcome)
        await self._store.change_step(tx, row.id, step.n, {"state": "ok", "outcome": sealed})
        return f"step {step.n + 1} took effect"

    async def _retract(self, tx: Transaction, person: Principal, approval_id: uuid.UUID, why: str) -> None:
        try:
            await self._policy.retract(tx, person, approval_id, why)
        except AlreadyDecided as error:
            raise PlanMovedOn from error

    async def _mine(self, tx: Transaction, person: Principal, plan_id: uuid.UUID) -> tuple[Any, list[Step]]:
        row, steps = await self._seen(tx, person, plan_id)
        if row.person_id != person.id:
            raise NotTheRequester
        if person.via != "session" or person.session_id is None:
            raise SessionRequired
        return row, steps

    async def _seen(self, tx: Transaction, person: Principal, plan_id: uuid.UUID) -> tuple[Any, list[Step]]:
        """Mine, or with a request among its own that I may see. Raises UnknownPlan."""
        row = await self._store.get(tx, plan_id)
        if row is None:
            raise UnknownPlan
        steps = await self._store.steps(tx, plan_id)
        if row.person_id == person.id:
            return row, steps
        for approval_id in {row.whole_id, row.approval_id, *(step.approval_id for step in steps)} - {None}:
            try:
                await self._policy.get(tx, person, approval_id)
            except NotFound:
                continue
            return row, steps
        raise UnknownPlan

    async def _shown(self, tx: Transaction, person: Principal, row: Any, steps: list[Step]) -> Plan:
        approval = None
        if row.approval_id is not None:
            try:
                approval = await self._policy.get(tx, person, row.approval_id)
            except NotFound:  # this one is not theirs to see, another one of the plan is
                approval = None
        mine = row.person_id == person.id
        return Plan(
            id=row.id, state=row.state, mode=row.mode, reason=row.reason, stopping=row.stop_by is not None and row.state == "running",
            requester_id=row.person_id, conversation_id=row.conversation_id, run_id=row.current_run_id, created_at=row.created_at,
            ended_at=row.ended_at, steps=tuple(_step(step) for step in steps),
            whole_offered=row.approval_id is not None and row.approval_id == row.whole_id, approval=approval,
            may_stop=row.state not in _OVER, may_resume=mine and row.state in _RESUMABLE,
        )  # fmt: skip


def _step(step: Step) -> PlanStep:
    call, decision = step.call, step.call.decision
    said = StepDecision(decision=decision.decision, risk=decision.risk, obligations=decision.obligations, reasons=decision.reasons)
    return PlanStep(
        n=step.n + 1, tool=call.tool.name, arguments=call.arguments, state=cast("StepState", step.state),
        after=tuple(at + 1 for at in call.after), preview=call.preview, deferred=step.body.deferred, decision=said,
        own_decision=call.own_decision, approval_id=step.approval_id, attempt=step.attempt,
        outcome=None if step.outcome is None else step.outcome.summary,
    )  # fmt: skip
