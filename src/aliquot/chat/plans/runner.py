"""Plans inside a run: made of the calls a step asked for, and carried out one step after the other.

Crash rule: which steps are done is known from the tool calls themselves. Whoever takes the run over proposes the step again under
the same key and gets what was stored; what was in flight is `unknown` and pauses the plan.
"""

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

from aliquot.chat.calls import Refresh, parsed_arguments, preview_document
from aliquot.chat.contracts import ApprovalRequired, CallOutcome, NoticeGiven, ToolCallArgs, ToolCallEnd, ToolCallStart
from aliquot.chat.naming import naming
from aliquot.chat.plans import rendering
from aliquot.chat.plans.drafting import Drafted, Wish, draft
from aliquot.chat.plans.errors import PlanTooLong
from aliquot.chat.plans.service import Plans
from aliquot.chat.plans.store import Step as PlanStep
from aliquot.chat.run_store import Step
from aliquot.chat.turn import Turn
from aliquot.guard.api import still
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import rfc3339
from aliquot.kernel.problems import Problem
from aliquot.platform.db import Database, DatabaseUnavailable
from aliquot.policy.contracts import Approval
from aliquot.policy.errors import RecordedRefusal
from aliquot.tools.api import ToolsApi
from aliquot.tools.contracts import CallReport, ReadyCall, ToolContext
from aliquot.tools.errors import UnknownTool

_NOT_TRIED = "Not done: every step of a plan has to be possible, and another one is not."


class PlanRunner:
    """Makes plans and drives them. Each of its transactions is short; no step begins without looking whether the plan was stopped."""

    def __init__(self, db: Database, tools: ToolsApi, plans: Plans, refresh: Refresh, steps_max: int) -> None:
        self._db, self._tools, self._plans, self._refresh, self._steps_max = db, tools, plans, refresh, steps_max

    def begins_at(self, step: Step) -> int | None:
        """Where a plan begins among the calls of a step: at the first one that acts, if another one that acts follows."""
        acting = [n for n, use in enumerate(step.tool_uses) if self._acts(use["name"])]
        return acting[0] if len(acting) > 1 else None

    def _acts(self, tool: str) -> bool:
        try:
            return self._tools.facts(tool).effect != "read"
        except UnknownTool:
            return False

    async def make(self, turn: Turn, step: Step, start: int) -> Approval | None:
        """A plan of the calls of `step` from `start` on; the approval to wait for, if it needs one. Fills their results."""
        uses = step.tool_uses[start:]
        async with self._db.begin() as tx:
            row = await self._plans.store.made_by(tx, turn.run_id, step.n)  # also after a take-over: a plan is made once
        approval: Approval | None = None
        if row is None:
            await self._show_wishes(turn, step, uses)
            drafted = await self._drafted(turn, step, uses)
            if drafted.refusals:
                self._refuse(turn, step, uses, drafted)
                return None
            try:
                async with self._db.begin() as tx:
                    row, approval = await self._plans.create(tx, turn.run, step.n, turn.principal, drafted.calls, tainted=turn.tainted)
            except DatabaseUnavailable:
                raise
            except Problem as problem:
                self._refuse(turn, step, uses, Drafted(calls=(), refusals={0: problem}))
                return None
            turn.emitter.emit(NoticeGiven(code="plan", text=f"A plan of {len(uses)} steps: {row.id}"))
        approval = await self._wait_or_go_on(turn, row.id, approval)
        await self._note(turn, step, uses, row.id, approval)
        return approval

    async def driven_by(self, run_id: uuid.UUID) -> uuid.UUID | None:
        """The plan a continued run goes on with, if any."""
        async with self._db.begin() as tx:
            row = await self._plans.store.driven_by(tx, run_id)
        return None if row is None else row.id

    async def go_on(self, turn: Turn, plan_id: uuid.UUID) -> tuple[Step, Approval | None]:
        """A run that continues a plan: what it did of it as a step of the run, and the approval it waits for next."""
        step = Step(n=0, source="plan", state="done")
        approval = await self._wait_or_go_on(turn, plan_id, None)
        async with self._db.begin() as tx:
            row, steps = await self._plans.store.get(tx, plan_id), await self._plans.store.steps(tx, plan_id)
        for one in steps:
            if one.run_id == turn.run_id and one.outcome is not None:
                use = {
                    "call_id": _call_id(plan_id, one),
                    "name": one.call.tool.name,
                    "arguments": canonical_json(one.call.arguments).decode(),
                }
                step.tool_uses.append(use)
                step.results.append(
                    self._kept(turn, use | {"outcome": one.state, "text": one.outcome.summary, "rendered": one.outcome.rendered})
                )
        turn.close_with(_closing(row, steps, turn.run_id, approval))
        return step, approval

    async def _wait_or_go_on(self, turn: Turn, plan_id: uuid.UUID, approval: Approval | None) -> Approval | None:
        waiting = approval or await self._waits_for(turn, plan_id)
        if waiting is None:
            return await self._advance(turn, plan_id)
        await self._show_approval(turn, plan_id, waiting)
        return waiting

    async def _waits_for(self, turn: Turn, plan_id: uuid.UUID) -> Approval | None:
        """The request the plan waits for on behalf of this very run: after a take-over."""
        async with self._db.begin() as tx:
            row = await self._plans.store.get(tx, plan_id)
            if row is None or row.state != "waiting" or row.current_run_id != turn.run_id:
                return None
            return await self._plans.approval(tx, turn.principal, row.approval_id)

    async def _advance(self, turn: Turn, plan_id: uuid.UUID) -> Approval | None:
        """Step after step, until the plan is over or waits for a person."""
        if not await self._begun(turn, plan_id):
            return None
        while True:
            async with self._db.begin() as tx:
                row, step = await self._plans.next(tx, turn.run_id, plan_id)
            if step is None:
                return None
            report = await self._carry_out(turn, row, step)
            if report.outcome == "waiting" and report.approval is not None:
                await self._show_approval(turn, plan_id, report.approval)
                return report.approval
            async with self._db.begin() as tx:
                await self._plans.ended(tx, turn.run_id, plan_id, step, report)
            self._show_end(turn, report)
            turn.emitter.check()

    async def _begun(self, turn: Turn, plan_id: uuid.UUID) -> bool:
        """Spend the approval of the whole, where there is one; False when it cannot be (any more)."""
        turn.principal = await self._refresh(turn.principal)
        refusal: Problem | None = None
        async with self._db.begin() as tx:
            try:
                begun = await self._plans.begin(tx, turn.principal, turn.run_id, plan_id, turn.approval)
            except RecordedRefusal as problem:  # kept: it left its trace
                refusal, begun = problem, False
        if refusal is not None:
            async with self._db.begin() as tx:
                await self._plans.not_begun(tx, turn.run_id, plan_id)
        return begun

    async def _carry_out(self, turn: Turn, row: Any, step: PlanStep) -> CallReport:
        """Propose the step, and execute it when that is decided."""
        turn.principal = await self._refresh(turn.principal)
        call_id = _call_id(row.id, step)
        if step.run_id not in (None, turn.run_id):  # begun by a run that ended in the middle of it
            await self._tools.recover(step.run_id)
        turn.emitter.emit(ToolCallStart(call_id=call_id, name=step.call.tool.name))
        turn.emitter.emit(ToolCallArgs(call_id=call_id, arguments=step.call.arguments))
        await turn.emitter.settle()
        context = ToolContext(
            principal=turn.principal, run_id=turn.run_id, call_id=call_id, idempotency_key=f"plan:{row.id}:{step.n}:{step.attempt}",
            intent=turn.run.intent, naming=None if step.call.unnamed is None else partial(still, step.call.unnamed),
        )  # fmt: skip

        async def join(tx: Any, found: CallReport | ReadyCall) -> CallReport | ReadyCall:
            pending = isinstance(found, CallReport) and found.approval is not None and found.approval.state == "pending"
            return await self._plans.asked(tx, row, step, found) if pending and isinstance(found, CallReport) else found

        only = self._tools.dashboards.tools(turn.run.dashboard)
        proposed = await self._tools.propose(
            context, step.call.tool.name, step.call.arguments, only=only, tainted=row.tainted or turn.tainted, join=join
        )
        if isinstance(proposed, ReadyCall):
            return await self._tools.execute(proposed)
        if proposed.outcome == "waiting" and proposed.approval is not None and proposed.approval.state != "pending":
            return await self._tools.execute_approved(proposed.approval, turn.principal)
        return proposed

    # --- making

    async def _show_wishes(self, turn: Turn, step: Step, uses: Sequence[dict[str, str]]) -> None:
        for use in uses:
            if step.source != "model":
                turn.emitter.emit(ToolCallStart(call_id=use["call_id"], name=use["name"]))
            turn.emitter.emit(ToolCallArgs(call_id=use["call_id"], arguments=parsed_arguments(use["arguments"])))
        await turn.emitter.settle()

    async def _drafted(self, turn: Turn, step: Step, uses: Sequence[dict[str, str]]) -> Drafted:
        if len(uses) > self._steps_max:
            return Drafted(calls=(), refusals={0: PlanTooLong(f"A plan has at most {self._steps_max} steps; this would be {len(uses)}.")})
        turn.principal = await self._refresh(turn.principal)
        wishes = [
            Wish(
                tool=use["name"], arguments=use["arguments"],
                context=ToolContext(
                    principal=turn.principal, run_id=turn.run_id, call_id=use["call_id"], intent=turn.run.intent,
                    idempotency_key=f"draft:{turn.run_id}:{step.n}:{n}", naming=naming(turn, step),
                ),
            )
            for n, use in enumerate(uses)
        ]  # fmt: skip
        only = self._tools.dashboards.tools(turn.run.dashboard)
        async with self._db.begin() as tx:
            return await draft(tx, self._tools, wishes, only=only, tainted=turn.tainted)

    def _refuse(self, turn: Turn, step: Step, uses: Sequence[dict[str, str]], drafted: Drafted) -> None:
        """No plan, so none of it is done; each call says why."""
        for n, use in enumerate(uses):
            problem = drafted.refusals.get(n)
            denied = problem is None or problem.code == "denied"
            text = _NOT_TRIED if problem is None else problem.detail
            shown = f"Step {n + 1} ({use['name'].replace('_', ' ')}): {text}" if problem is not None else ""
            step.results.append(
                use | {
                    "outcome": "denied" if denied else "failed", "text": text, "error_code": None if problem is None else problem.code,
                    "rendered": shown,
                }
            )  # fmt: skip
            outcome: CallOutcome = "denied" if denied else "failed"
            turn.tool_calls.append({"call_id": use["call_id"], "name": use["name"], "outcome": outcome, "summary": text})
            turn.emitter.emit(ToolCallEnd(call_id=use["call_id"], outcome=outcome, summary=text, duration_ms=0))
        step.results[-1]["rendered"] = "\n\n".join(part for part in (step.results[-1]["rendered"], "Nothing was done.") if part)

    async def _note(self, turn: Turn, step: Step, uses: Sequence[dict[str, str]], plan_id: uuid.UUID, approval: Approval | None) -> None:
        """What became of the calls, for the history; the last one carries the plan for the person."""
        async with self._db.begin() as tx:
            row, steps = await self._plans.store.get(tx, plan_id), await self._plans.store.steps(tx, plan_id)
        for use, one in zip(uses, steps, strict=True):
            done = one.outcome.summary if one.outcome is not None else f"Step {one.n + 1} of plan {plan_id}: not done yet."
            outcome = one.state if one.state in ("ok", "failed", "denied", "unknown") else "denied"
            step.results.append(self._kept(turn, use | {"outcome": outcome, "text": done, "rendered": ""}))
        step.results[-1]["rendered"] = _closing(row, steps, turn.run_id, approval)

    def _kept(self, turn: Turn, result: dict[str, Any]) -> dict[str, Any]:
        """A result as the step keeps it: text from outside taints what follows, as in `calls`."""
        outside = self._tools.from_outside(str(result["name"]))
        turn.tainted = turn.tainted or outside
        return result | ({"from_outside": True} if outside else {})

    # --- showing

    async def _show_approval(self, turn: Turn, plan_id: uuid.UUID, approval: Approval) -> None:
        async with self._db.begin() as tx:
            document = await self._plans.document(tx, plan_id)
        turn.emitter.emit(
            ApprovalRequired(
                approval_id=str(approval.id), call_id=approval.call_id, preview=preview_document(approval) | {"plan": document},
                expires_at=rfc3339(approval.expires_at),
            )
        )  # fmt: skip

    def _show_end(self, turn: Turn, report: CallReport) -> None:
        turn.tool_calls.append({"call_id": report.call_id, "name": report.tool, "outcome": report.outcome, "summary": report.summary})
        if report.outcome != "waiting":
            turn.emitter.emit(
                ToolCallEnd(call_id=report.call_id, outcome=report.outcome, summary=report.summary, duration_ms=report.duration_ms)
            )


def _call_id(plan_id: uuid.UUID, step: PlanStep) -> str:
    return f"plan_{plan_id.hex}_{step.n + 1}_{step.attempt}"


def _closing(row: Any, steps: Sequence[PlanStep], run_id: uuid.UUID, approval: Approval | None) -> str:
    """What this run did of the plan, how the plan stands, and what is asked for next."""
    results = [one.outcome.rendered for one in steps if one.run_id == run_id and one.outcome is not None and one.outcome.rendered]
    last = rendering.asking(row, approval) if approval is not None else rendering.state_sentence(row)
    return "\n\n".join([*results, rendering.table(row, steps), last])
