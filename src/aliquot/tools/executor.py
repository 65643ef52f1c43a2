"""Executing one call: deadline, retries for read-only tools, circuit breaker, bounds on the result, and the crash rule.

The call is committed as `executing` before its effect; its result, the tool's own change and the audit event are one
transaction. Whoever finds it no longer `executing` at that point (another process took the run over) rolls the change back.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.problems import Problem
from aliquot.platform.db import Database, DatabaseUnavailable, Transaction
from aliquot.platform.settings import Limits
from aliquot.tools import reports, store
from aliquot.tools.breaker import Breakers
from aliquot.tools.contracts import Acting, CallReport, ToolResult
from aliquot.tools.errors import CallCancelled, CallInFlight, ResultInvalid, ResultTooLarge, ToolFailed, ToolTimeout, ToolUnavailable, where
from aliquot.tools.registry import Registered
from aliquot.tools.service import Call, Calls, read_only

log = structlog.get_logger(__name__)

PAUSES_SECONDS = (1.0, 2.0, 4.0)
_OUTSIDE = ("external", "instrument")  # their effect is not undone by rolling a transaction back

Sleep = Callable[[float], Awaitable[None]]
Closing = Callable[[Transaction, CallReport], Awaitable[None]]
"""What else must happen in the transaction that stores the end of a call: closing its approval."""


@dataclass(slots=True)
class _Progress:
    started: float
    attempts: int = 0

    @property
    def ms(self) -> int:
        return round((time.monotonic() - self.started) * 1_000)


class Executor:
    """Executes calls that are stored as `executing`. Uses its own short transactions."""

    def __init__(self, db: Database, calls: Calls, breakers: Breakers, limits: Limits, sleep: Sleep) -> None:
        self._db = db
        self._calls = calls
        self._breakers = breakers
        self._limits = limits
        self._sleep = sleep

    async def run(self, call: Call, known: Registered, close: Closing) -> CallReport:
        """Execute `call` to its end and return the report that was stored."""
        progress = _Progress(started=time.monotonic())
        try:
            if not self._breakers.admit(known.facts.name):
                return await self._store(call, reports.failed(call, ToolUnavailable(), attempts=0), close)
            return await self._attempts(call, known, close, progress)
        except asyncio.CancelledError:
            # Only a read-only call is ever cancelled from outside (see `ToolsApi.execute`): it has no effect to wait for.
            return await self._store(
                call, reports.failed(call, CallCancelled(), duration_ms=progress.ms, attempts=progress.attempts), close
            )
        except _GaveUp as gave_up:
            return await self._store(call, self._end(call, gave_up.problem, progress), close)

    async def _attempts(self, call: Call, known: Registered, close: Closing, progress: _Progress) -> CallReport:
        deadline = asyncio.get_running_loop().time() + self._limits.tool_seconds
        for pause in (*PAUSES_SECONDS, None):
            progress.attempts += 1
            try:
                report = await self._attempt(call, known, close, progress, deadline)
            except CallInFlight:
                raise
            except Problem as problem:
                found = problem
            except Exception as error:  # noqa: BLE001 - whatever a tool raises ends the call, not the run
                log.warning("tool_broke", tool=call.tool, error=type(error).__name__, trace=where(error))
                found = ToolFailed()
            else:
                self._breakers.succeeded(known.facts.name)
                return report
            out_of_time = pause is None or asyncio.get_running_loop().time() + pause >= deadline
            if call.effect != "read" or not _is_failure(found) or isinstance(found, ToolTimeout) or out_of_time:
                break
            await self._sleep(pause or 0)
        (self._breakers.failed if _is_failure(found) else self._breakers.succeeded)(known.facts.name)
        raise _GaveUp(found)

    async def _attempt(self, call: Call, known: Registered, close: Closing, progress: _Progress, deadline: float) -> CallReport:
        """One try in one transaction: the tool's change, the result, the audit event and the approval's end, or none of them."""
        acted = await _in_time(known.tool.act(call.context, _copy(call.arguments)), deadline) if isinstance(known.tool, Acting) else None
        async with self._db.begin() as tx:
            result = self._bounded(acted or await _in_time(self._effect(tx, call, known), deadline), call)
            rendered = self._rendered(known, result)
            report = reports.succeeded(call, known, result, rendered, duration_ms=progress.ms, attempts=progress.attempts)
            if not await self._calls.finish(tx, call, report, before=("executing",)):
                raise CallInFlight("This call was taken over by another process; what was done here is undone.")
            await close(tx, report)
            return report

    async def _effect(self, tx: Transaction, call: Call, known: Registered) -> ToolResult:
        arguments = _copy(call.arguments)
        if known.facts.effect != "read":
            return await known.tool.execute(tx, call.context, arguments)
        async with read_only(tx) as inner:
            return await known.tool.execute(inner, call.context, arguments)

    def _end(self, call: Call, problem: Problem, progress: _Progress) -> CallReport:
        ambiguous = isinstance(problem, DatabaseUnavailable | ToolTimeout | ToolFailed)
        if call.effect in _OUTSIDE and ambiguous:
            return reports.unknown(call, duration_ms=progress.ms)
        return reports.failed(call, problem, duration_ms=progress.ms, attempts=progress.attempts)

    async def _store(self, call: Call, report: CallReport, close: Closing) -> CallReport:
        async with self._db.begin() as tx:
            if await self._calls.finish(tx, call, report, before=("executing",)):
                await close(tx, report)
                return report
            # The commit of the effect was reported lost but had succeeded, or another process closed the call.
            row = await store.by_id(tx, call.id)
            if row is None or not row.finished:
                raise CallInFlight
            return self._calls.replay(row)

    def _bounded(self, result: ToolResult, call: Call) -> ToolResult:
        """`result` if it can be recorded. What already happened outside is not undone because its description is too long."""
        limit = self._limits.tool_result_chars
        try:
            size = len(canonical_json(result.data).decode())
            problem: Problem | None = ResultTooLarge(f"{ResultTooLarge.sentence} ({size} of {limit} characters)") if size > limit else None
        except (ValueError, AttributeError):
            problem = ResultInvalid()
        if problem is None:
            return result
        if call.effect not in _OUTSIDE:
            raise problem
        data: dict[str, Any] = {"truncated": True, "reason": problem.sentence}
        return ToolResult(data=data, source=result.source, trust=result.trust, patient_data=result.patient_data)

    def _rendered(self, known: Registered, result: ToolResult) -> str:
        """The tool's own rendering. A mistake in it does not undo the call: the plain values are shown instead."""
        try:
            text = known.tool.render(result)
        except Exception as error:  # noqa: BLE001 - any mistake of a renderer
            log.warning("tool_render_broke", tool=known.facts.name, error=type(error).__name__)
            text = f"{known.facts.name} is done.\n\n```json\n{canonical_json(result.data).decode()}\n```"
        limit = 2 * self._limits.tool_result_chars
        return text if len(text) <= limit else text[:limit] + "\n\n(The rest is not shown: the result is too long.)"


async def _in_time(work: Awaitable[ToolResult], deadline: float) -> ToolResult:
    try:
        async with asyncio.timeout_at(deadline):
            return await work
    except TimeoutError as error:
        raise ToolTimeout from error


class _GaveUp(Exception):
    """No further attempt; `problem` is the last failure."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem


def _is_failure(problem: Problem) -> bool:
    """True for what may be better in a moment; an expected refusal of the tool says the same the next time."""
    return problem.retryable or isinstance(problem, ToolFailed | ToolTimeout)


def _copy(value: Any) -> Any:
    """A tool may change the arguments it gets; what is recorded stays what was decided on."""
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_copy(part) for part in value]
    return value
