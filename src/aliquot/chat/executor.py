"""Executes runs in this process: leases, the end of a run in one transaction, take-over after a crash, cancellation.

Crash rule (DESIGN §4): a run is an asyncio task of the process that accepted it, with a lease; a run whose lease is dead is
taken over. Finished calls are replayed; a model step broken before its first text is repeated once with a notice; broken
after it, the partial text is kept and the run ends as interrupted.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from aliquot.chat.access import Saw, unrecorded
from aliquot.chat.contracts import (
    Done,
    Message,
    RunEvent,
    RunFailed,
    RunStarted,
    RunState,
    TextDelta,
    UsageReported,
)
from aliquot.chat.emitter import RunEmitter, RunEventWriter
from aliquot.chat.errors import Interrupted, LeaseLost
from aliquot.chat.history import labelled
from aliquot.chat.loop import AgentLoop
from aliquot.chat.prompt import PROMPT_VERSION
from aliquot.chat.recovery import Recovery
from aliquot.chat.run_store import RunStore
from aliquot.chat.store import ChatStore
from aliquot.chat.turn import Turn
from aliquot.chat.waiting import Waits
from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.kernel.money import money_text
from aliquot.kernel.problems import Problem
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Database, DatabaseUnavailable, Transaction
from aliquot.platform.telemetry import Metrics
from aliquot.policy.api import PolicyApi
from aliquot.policy.contracts import PLAN, Approval

log = structlog.get_logger(__name__)

_TAKEOVERS_MAX = 3
PlanInterrupted = Callable[[Transaction, uuid.UUID], Awaitable[None]]
"""Tells the plan a run drives that the run failed or was cancelled, in its transaction."""
_RUNS_BEHIND_HISTORY = 8


@dataclass(frozen=True, slots=True)
class Known:
    """What the start of a conversation's first run already holds."""

    principal: Principal
    message: Message


class Executor:
    """The runs of this process."""

    def __init__(
        self,
        *,
        db: Database,
        chats: ChatStore,
        runs: RunStore,
        writer: RunEventWriter,
        loop: AgentLoop,
        recovery: Recovery,
        identity: IdentityApi,
        policy: PolicyApi,
        ledger: LedgerApi,
        clock: Clock,
        metrics: Metrics,
        waits: Waits,
        plan_interrupted: PlanInterrupted,
        owner: uuid.UUID,
    ) -> None:
        self._plan_interrupted = plan_interrupted
        self._waits = waits
        self._db, self._chats, self._runs, self._writer, self._loop = db, chats, runs, writer, loop
        self._recovery, self._identity, self._policy, self._ledger = recovery, identity, policy, ledger
        self._clock, self._metrics, self._owner = clock, metrics, owner
        self._tasks: dict[uuid.UUID, asyncio.Task[None]] = {}
        self._cancelled: set[uuid.UUID] = set()
        self._ending: set[uuid.UUID] = set()  # their end is being committed: too late to cancel
        self.closing = False
        self.saw: Saw = unrecorded

    def spawn(self, run: Any, *, resumed: bool = False, known: Known | None = None) -> None:
        """Execute `run` (a row this process holds the lease of) in the background."""
        if run.id in self._tasks:
            return
        task = asyncio.create_task(self._execute(run, resumed, known), name=f"run {run.id}")
        self._tasks[run.id] = task
        self._metrics.active_runs.set(len(self._tasks))
        task.add_done_callback(lambda _: self._ended(run.id))

    def executes(self, run_id: uuid.UUID) -> bool:
        """Whether the run executes in this process."""
        return run_id in self._tasks

    def cancel(self, run_id: uuid.UUID) -> None:
        """Cancel the run if it executes here; otherwise its process sees the request at its next renewal."""
        task = self._tasks.get(run_id)
        if task is not None and run_id not in self._cancelled and run_id not in self._ending:
            self._cancelled.add(run_id)
            task.cancel()

    async def renew(self) -> None:
        """Renew the leases of this process's runs and see which of them are to be cancelled or were lost."""
        run_ids = list(self._tasks)
        if not run_ids:
            return
        async with self._db.begin() as tx:
            held = await self._runs.renew(tx, self._owner, run_ids, self._clock.now())
        for run_id, cancel in held.items():
            if cancel:
                self.cancel(run_id)
        for run_id in set(run_ids) - set(held):
            task = self._tasks.get(run_id)
            if task is not None and not task.done():
                log.warning("run_lease_lost", run_id=str(run_id))
                task.cancel()

    async def take_over(self) -> None:
        """Go on with runs whose process died."""
        if self.closing:
            return
        async with self._db.begin() as tx:
            rows = await self._runs.take_over(tx, self._owner, self._clock.now())
        for row in rows:
            if row.takeovers:
                log.warning("run_taken_over", run_id=str(row.id), takeovers=row.takeovers)
            self.spawn(row, resumed=row.takeovers > 0)

    async def stop(self, seconds: float) -> None:
        """Let running answers finish for a moment, then let go of the rest: the next start takes them over."""
        self.closing = True
        tasks = list(self._tasks.values())
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=seconds)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def _ended(self, run_id: uuid.UUID) -> None:
        self._tasks.pop(run_id, None)
        self._cancelled.discard(run_id)
        self._ending.discard(run_id)
        self._writer.forget(run_id)
        self._metrics.active_runs.set(len(self._tasks))

    async def _execute(self, run: Any, resumed: bool, known: Known | None) -> None:
        structlog.contextvars.bind_contextvars(run_id=str(run.id))
        try:
            turn = self._opening(run, known) if known is not None else await self._prepare(run)
        except DatabaseUnavailable:
            return  # the lease runs out and the run is taken over
        except Problem as problem:  # the person was disabled, or a key erased, meanwhile
            await self._end_quietly(self._bare(run, await self._last_seq(run.id)), "failed", problem)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the lease runs out and the run is taken over
            log.error("run_not_prepared", error=type(error).__name__)
            return
        try:
            await self._answer(turn, resumed)
        except asyncio.CancelledError:
            if run.id not in self._cancelled:
                raise  # shutdown, or the lease is lost
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            await self._end_quietly(turn, "cancelled", None)
        except LeaseLost:
            log.warning("run_abandoned", reason="lease lost")
        except DatabaseUnavailable:
            log.warning("run_abandoned", reason="database unavailable")
        except Problem as problem:
            await self._end_quietly(turn, "failed", problem)
        except Exception as error:
            log.exception("run_crashed", error=type(error).__name__)
            await self._end_quietly(turn, "failed", Problem())

    async def _answer(self, turn: Turn, resumed: bool) -> None:
        if resumed:
            if turn.run.takeovers > _TAKEOVERS_MAX:
                raise Interrupted
            await self._recovery.restore(turn)
        approval = await self._loop.answer(turn)
        if approval is not None:
            turn.approval = approval
            turn.close_with("\n\n".join(part for part in (turn.closing, _confirmation(approval)) if part))
        await self._end(turn, "waiting_approval" if approval is not None else "done", None)

    def _opening(self, run: Any, known: Known) -> Turn:
        """The first turn of a conversation, started a moment ago in this process: nothing has to be read."""
        emitter = RunEmitter(self._writer, self._runs, self._clock, run.id, run.person_id, 1)
        return Turn(run=run, principal=known.principal, emitter=emitter, owner=self._owner, messages=[known.message])

    async def _prepare(self, run: Any) -> Turn:
        """Everything the loop needs, with the person's rights as they are now."""
        async with self._db.begin() as tx:
            principal = await self._identity.principal(tx, run.person_id, via=run.via, ip=run.ip)
            last_seq = await self._runs.last_seq(tx, run.id)
            branch = await self._chats.branch(tx, run.conversation_id, run.user_message_id)
            await self.saw(tx, principal, "context", [m.id for m in branch])
            branch, tainted = labelled(branch, run.person_id, await self._identity.names(tx, _others(branch, run.person_id)))
            behind = [m.run_id for m in branch if m.run_id is not None and m.role == "assistant"][-_RUNS_BEHIND_HISTORY:]
            steps = await self._runs.steps(tx, [run.id, *behind])
            approval = await self._policy.by_next_run(tx, run.id) if run.kind == "continue" else None
        emitter = RunEmitter(self._writer, self._runs, self._clock, run.id, run.person_id, last_seq)
        if last_seq == 0:
            emitter.emit(started_event(run))
        own = steps.pop(run.id, [])
        turn = Turn(
            run=run, principal=principal, emitter=emitter, owner=self._owner, messages=branch, earlier=steps, steps=own, approval=approval
        )
        turn.tainted = tainted or turn.from_outside or any(m.metadata.get("from_outside") for m in branch)
        return turn

    async def _last_seq(self, run_id: uuid.UUID) -> int:
        async with self._db.begin() as tx:
            return await self._runs.last_seq(tx, run_id)

    def _bare(self, run: Any, last_seq: int) -> Turn:
        """A turn that can only be ended."""
        nobody = Principal(id=run.person_id, email="", name="", roles=frozenset(), permissions=frozenset(), via=run.via)
        emitter = RunEmitter(self._writer, self._runs, self._clock, run.id, run.person_id, last_seq)
        return Turn(run=run, principal=nobody, emitter=emitter, owner=self._owner)

    async def _end_quietly(self, turn: Turn, state: RunState, problem: Problem | None) -> None:
        """End a run that did not go well; what prevents even that leaves it to a take-over."""
        try:
            await self._end(turn, state, problem)
        except (LeaseLost, Problem) as error:
            log.warning("run_abandoned", reason=type(error).__name__)
        except Exception as error:
            log.exception("run_not_ended", error=type(error).__name__)

    async def _end(self, turn: Turn, state: RunState, problem: Problem | None) -> None:
        """Commit the answer, usage, state, last events and the audit event together."""
        await turn.emitter.settle()
        self._ending.add(turn.run.id)
        run, at, text = turn.run, self._clock.now(), turn.text
        incomplete = state in ("failed", "cancelled")
        async with self._db.begin() as tx:
            if text or not incomplete:
                await self._chats.add_message(
                    tx, message_id=run.message_id, conversation_id=run.conversation_id, parent_id=run.user_message_id, role="assistant",
                    subject=run.person_id, text=text, at=at, run_id=run.id, incomplete=incomplete, meta=_meta(turn, problem),
                )  # fmt: skip
            values = {
                "state": state, "finished_at": at, "error_code": problem.code if problem else None, "input_tokens": turn.input_tokens,
                "output_tokens": turn.output_tokens, "cost": turn.cost, "currency": turn.currency,
                "approval_id": turn.approval.id if turn.approval is not None else None,
            }  # fmt: skip
            if not await self._runs.finish(tx, run.id, self._owner, values):  # from here on nobody can take the run over
                raise LeaseLost
            await turn.emitter.commit_with(tx, self._last_events(turn, state, problem))
            for step in turn.steps:
                if step.n == turn.steps[-1].n and not step.tool_uses:
                    await self._runs.save_step(tx, run.id, run.person_id, step)
            await self._ledger.append(tx, self._audit(turn, state, problem))
            if incomplete:
                await self._plan_interrupted(tx, run.id)
            if state == "waiting_approval" and turn.approval is not None:  # it may have been decided or withdrawn meanwhile
                await self._waits.end(tx, run.id, await self._policy.state(tx, turn.approval.id))
        self._metrics.runs.labels(kind=run.kind, state=state).inc()

    def _last_events(self, turn: Turn, state: RunState, problem: Problem | None) -> list[RunEvent]:
        events: list[RunEvent] = [TextDelta(text=turn.closing)] if turn.closing else []
        if any(step.model is not None for step in turn.steps):
            events.append(
                UsageReported(
                    input_tokens=turn.input_tokens, output_tokens=turn.output_tokens, cost=money_text(turn.cost), currency=turn.currency
                )
            )
        if problem is not None:
            events.append(RunFailed(code=problem.code, detail=problem.detail, retryable=problem.retryable))
        else:
            events.append(Done(state=state, message_id=str(turn.run.message_id), confidence=turn.confidence))
        return events

    def _audit(self, turn: Turn, state: RunState, problem: Problem | None) -> AuditEvent:
        run = turn.run
        model = next((step.model for step in reversed(turn.steps) if step.model), None)
        return AuditEvent(
            action=f"run.{'ended' if state == 'done' else state}",
            actor="system",
            on_behalf_of=str(run.person_id),
            via=run.via,
            record=RecordRef(type="run", id=str(run.id)),
            run_id=run.id,
            outcome={"done": "ok", "waiting_approval": "pending"}.get(state, "failed"),  # type: ignore[arg-type]  # literal values
            reason=problem.code if problem is not None else None,
            content={"answer": turn.text.encode()},
            subject=run.person_id,
            versions={"prompt": PROMPT_VERSION} | ({"model": model} if model else {}),
        )


def _others(branch: list[Message], person_id: uuid.UUID) -> set[uuid.UUID]:
    return {m.author_id for m in branch if m.author_id is not None and m.author_id != person_id}


def started_event(run: Any, session_id: str | None = None) -> RunStarted:
    """The first event of a run."""
    return RunStarted(
        conversation_id=str(run.conversation_id),
        message_id=str(run.message_id),
        session_id=session_id,
        user_message_id=str(run.user_message_id) if run.user_message_id and run.kind == "chat" else None,
        parent_run_id=str(run.parent_run_id) if run.parent_run_id else None,
    )


def _confirmation(approval: Approval) -> str:
    needs = approval.decision.obligations
    how = "a signature by somebody else" if "sign" in needs else "a second person" if "two_person" in needs else "your confirmation"
    what = "" if approval.tool == PLAN else f"{approval.preview.summary}\n\n"  # a plan was just shown
    return f"{what}This needs {how} before anything happens (approval `{approval.id}`)."


def _meta(turn: Turn, problem: Problem | None) -> dict[str, Any]:
    usage = {
        "input_tokens": turn.input_tokens,
        "output_tokens": turn.output_tokens,
        "cost": money_text(turn.cost),
        "currency": turn.currency,
    }
    meta: dict[str, Any] = {"confidence": turn.confidence, "usage": usage, "tool_calls": turn.tool_calls}
    if turn.approval is not None:
        meta["approval_id"] = str(turn.approval.id)
    if turn.from_outside:
        meta["from_outside"] = True
    if problem is not None:
        meta["error"] = {"code": problem.code, "detail": problem.detail}
    return meta
