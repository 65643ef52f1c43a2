"""One call at one declared model: fit, reserve, wait, stream, retry before the first output, settle.

This is the only place that repeats a call (DESIGN §7): after 1, 2 and 4 s, only on 429, 5xx, timeouts and lost connections,
and only while nothing was shown.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from decimal import Decimal

import structlog

from aliquot.kernel.ids import new_id
from aliquot.models.budget import Budget, Estimate, Outcome, Ticket
from aliquot.models.constrained import ConstrainedDecoder, constrained_call
from aliquot.models.context import Fitted, TokenEstimator, fit
from aliquot.models.contracts import ModelDone, ModelEvent, ModelMessage, ModelRequest, Notice, TextDelta, ToolUseDone, ToolUseStart, Usage
from aliquot.models.errors import ModelProblem, ProviderBusy, ProviderInterrupted, ProviderMisbehaved, RepeatedItself
from aliquot.models.files import placed
from aliquot.models.lanes import Lane, Waiting
from aliquot.models.providers.base import MAX_STREAM_BYTES, Call, Decoder, Delta, ToolNames, Turn
from aliquot.models.repeats import RepeatWatch
from aliquot.platform.db import DatabaseUnavailable

log = structlog.get_logger(__name__)

_SETTLED_AGAIN = (0.2, 1.0, 3.0)
"""Pauses in seconds: what was used is known only here."""
_TOKENS_MAX = 1_000_000_000
"""More than a call of any model uses."""


@dataclass(slots=True)
class Attempt:
    """The state of one call over its attempts."""

    lane: Lane
    call: Call
    names: ToolNames
    estimated_input: int
    started: float
    decoder: Decoder | None = None
    shown: bool = False
    sent: bool = False
    watch: RepeatWatch = field(default_factory=RepeatWatch)


class Engine:
    """Runs calls on lanes. Holds no state of its own besides settlements under way."""

    def __init__(self, budget: Budget, estimator: TokenEstimator, waiting: Waiting, default_seconds: float) -> None:
        self._budget = budget
        self._estimator = estimator
        self._waiting = waiting
        self._default_seconds = default_seconds
        self._settling: set[asyncio.Task[tuple[Notice, ...]]] = set()

    async def run(self, lane: Lane, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """The events of one call. Raises ModelProblem when nothing was shown (fallback may apply), ProviderInterrupted after."""
        call, fitted, names, told = self._prepare(lane, request)
        for notice in told:
            yield notice
        if fitted.dropped:
            log.info("model_context_trimmed", endpoint=lane.name, messages=fitted.dropped, run_id=str(request.run_id))
            yield Notice(code="context_trimmed", text="This conversation is long: its oldest parts were left out of this answer.")
        lane.breaker.enter()
        try:
            ticket = await self._budget.reserve(_estimate(lane, request, fitted))
        except BaseException:
            lane.breaker.left()
            raise
        attempt = Attempt(
            lane, replace(call, max_output_tokens=ticket.max_output_tokens), names, fitted.input_tokens, self._waiting.monotonic()
        )
        outcome: Outcome = "cancelled"
        notices: tuple[Notice, ...] = ()
        try:
            async with aclosing(self._attempts(attempt)) as events:
                async for event in events:
                    yield event
            outcome = "ok"
        except ModelProblem as problem:
            outcome = "failed"
            _tell_breaker(lane, counts=problem.counts)
            raise
        except ProviderInterrupted as problem:
            outcome = "interrupted"
            _tell_breaker(lane, counts=not isinstance(problem, RepeatedItself))
            raise
        finally:
            if outcome in {"ok", "cancelled"}:
                (lane.breaker.succeeded if outcome == "ok" else lane.breaker.left)()
            usage = self._usage(attempt, outcome)
            notices = await self._settle(ticket, usage, outcome, attempt)
        done = self._done(attempt, usage)
        ending: tuple[ModelEvent, ...] = (*(ToolUseDone(use) for use in done.message.tool_uses), *notices, done)
        for event in ending:
            yield event

    def _prepare(self, lane: Lane, request: ModelRequest) -> tuple[Call, Fitted, ToolNames, tuple[Notice, ...]]:
        """The call in the endpoint's terms: tools native or constrained, files placed, history fitted."""
        config = lane.config
        names = ToolNames(t.name for t in request.tools)
        call = Call(
            config=config,
            system=request.system,
            messages=request.messages,
            tools=request.tools if config.tools or config.constrained else (),
            max_output_tokens=min(request.max_output_tokens or config.max_output_tokens, config.max_output_tokens),
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
        )
        call = names.call(call) if config.tools else constrained_call(call)
        call, told = placed(call, self._estimator.factor(config.name))
        fitted = fit(
            system=call.system,
            messages=call.messages,
            tools=call.tools,
            context_tokens=config.context_tokens,
            max_output_tokens=call.max_output_tokens,
            factor=self._estimator.factor(config.name),
        )
        return replace(call, messages=fitted.messages), fitted, names, told

    async def _attempts(self, attempt: Attempt) -> AsyncGenerator[ModelEvent, None]:
        number = 0
        while True:
            try:
                async with aclosing(self._once(attempt)) as events:
                    async for event in events:
                        yield event
                return
            except ModelProblem as problem:
                if attempt.shown:
                    raise self._interrupted(attempt) from problem
                pause = attempt.lane.pause_after(problem, number)
                if pause is None or self._waiting.monotonic() - attempt.started + pause > self._seconds(attempt.lane):
                    raise
                number += 1
            yield Notice(code="retry", text=f"The AI service is busy; trying again in {max(1, round(pause))} s.")
            await self._waiting.sleep(pause)

    async def _once(self, attempt: Attempt) -> AsyncGenerator[ModelEvent, None]:
        """One attempt: bytes in, events out."""
        lane, call = attempt.lane, attempt.call
        async with lane.slot():
            decoder: Decoder = lane.adapter.decoder()
            if call.response_schema is not None:
                decoder = ConstrainedDecoder(decoder, f"call_{new_id().hex}")
            attempt.decoder, attempt.sent, received = decoder, True, 0
            deadline = self._waiting.monotonic() + self._seconds(lane)
            async with aclosing(lane.adapter.stream(call)) as body:
                async for data in body:
                    received += len(data)
                    for delta in decoder.feed(data):
                        if not attempt.shown:
                            attempt.shown = True
                            lane.breaker.answering()
                        if isinstance(delta, TextDelta):
                            yield delta
                            if attempt.watch.loops(delta.text):
                                self._stop_loops(attempt)
                        else:
                            yield self._outward(attempt, delta)
                    if received > MAX_STREAM_BYTES or self._waiting.monotonic() > deadline:
                        log.warning("model_stream_over_bound", endpoint=lane.name, bytes=received)
                        raise ProviderMisbehaved
            for delta in decoder.finish():
                attempt.shown = True
                yield self._outward(attempt, delta)
        self._check_complete(lane, decoder, received)

    def _check_complete(self, lane: Lane, decoder: Decoder, received: int) -> None:
        if decoder.unknown:
            log.info("model_stream_unknown_events", endpoint=lane.name, count=decoder.unknown)
        turn = decoder.turn()
        if turn.complete and (turn.text or turn.tool_uses or turn.thinking_chars or turn.output_tokens is not None):
            return
        log.warning("model_stream_incomplete", endpoint=lane.name, bytes=received)
        if turn.complete or (received and not decoder.events):
            raise ProviderMisbehaved  # an empty answer, or bytes that were no stream at all: it will not do better again
        raise ProviderBusy  # broke off

    def _seconds(self, lane: Lane) -> float:
        return lane.config.timeout_seconds or self._default_seconds

    def _outward(self, attempt: Attempt, delta: Delta) -> Delta:
        return ToolUseStart(delta.call_id, attempt.names.ours(delta.name)) if isinstance(delta, ToolUseStart) else delta

    def _stop_loops(self, attempt: Attempt) -> None:
        log.warning("model_repeats_itself", endpoint=attempt.lane.name)
        raise self._interrupted(attempt, RepeatedItself)

    def _interrupted(self, attempt: Attempt, kind: type[ProviderInterrupted] = ProviderInterrupted) -> ProviderInterrupted:
        turn = _turn_so_far(attempt)
        message = ModelMessage(role="assistant", text=turn.text)
        return kind(message=message, usage=self._usage(attempt, "interrupted"), model=attempt.lane.name)

    def _usage(self, attempt: Attempt, outcome: Outcome) -> Usage:
        """Reported counts, else estimates; nothing when the call never produced anything."""
        config, turn = attempt.lane.config, _turn_so_far(attempt)
        if not attempt.sent or (outcome == "failed" and turn.input_tokens is None):
            return Usage(input_tokens=0, output_tokens=0, cost=Decimal(0), currency=config.price.currency)
        estimated = turn.input_tokens is None or turn.output_tokens is None or outcome != "ok"
        input_tokens = attempt.estimated_input if turn.input_tokens is None else turn.input_tokens
        output_tokens = turn.output_tokens or 0
        if estimated:  # what a broken stream reported was the beginning's count
            written = turn.text + "".join(u.arguments for u in turn.tool_uses)
            output_tokens = max(output_tokens, self._estimator.text(config.name, written) + turn.thinking_chars // 3)
        cost = config.price.cost(input_tokens, output_tokens, turn.cached_tokens)
        return Usage(input_tokens=input_tokens, output_tokens=output_tokens, cost=cost, currency=config.price.currency, estimated=estimated)

    async def _settle(self, ticket: Ticket, usage: Usage, outcome: Outcome, attempt: Attempt) -> tuple[Notice, ...]:
        """Settle even when the caller was cancelled; a database that is away for long leaves the reservation to expire."""
        if not usage.estimated:
            self._estimator.learn(attempt.lane.name, attempt.estimated_input, usage.input_tokens)
        seconds = self._waiting.monotonic() - attempt.started
        task = asyncio.ensure_future(self._settled(ticket, usage, outcome, seconds))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return await asyncio.shield(task)

    async def _settled(self, ticket: Ticket, usage: Usage, outcome: Outcome, seconds: float) -> tuple[Notice, ...]:
        for pause in (*_SETTLED_AGAIN, None):
            try:
                return await self._budget.settle(ticket, usage, outcome, seconds)
            except DatabaseUnavailable:  # the answer may have been lost, not the settlement: a second one changes nothing
                if pause is None:
                    log.exception("model_usage_not_settled", call_id=str(ticket.id))
                else:
                    await self._waiting.sleep(pause)
            except Exception:
                log.exception("model_usage_not_settled", call_id=str(ticket.id))
                break
        return ()

    def _done(self, attempt: Attempt, usage: Usage) -> ModelDone:
        turn = _turn_so_far(attempt)
        uses = tuple(replace(u, name=attempt.names.ours(u.name)) for u in turn.tool_uses)
        provider = attempt.lane.config.provider if turn.native else None
        message = ModelMessage(role="assistant", text=turn.text, tool_uses=uses, native=turn.native, native_provider=provider)
        return ModelDone(message=message, usage=usage, model=attempt.lane.name, stop_reason=turn.stop_reason)

    async def close(self) -> None:
        """Wait for settlements under way."""
        if self._settling:
            await asyncio.gather(*self._settling, return_exceptions=True)


def _turn_so_far(attempt: Attempt) -> Turn:
    """What the provider said. Counts that cannot be are none: in the statement that settles many calls they would spoil the others'."""
    try:
        turn = attempt.decoder.turn() if attempt.decoder is not None else Turn()
    except ModelProblem:
        return Turn()
    inside, outside = _credible(turn.input_tokens), _credible(turn.output_tokens)
    return replace(turn, input_tokens=inside, output_tokens=outside, cached_tokens=_credible(turn.cached_tokens) or 0)


def _credible(count: int | None) -> int | None:
    return count if count is not None and 0 <= count <= _TOKENS_MAX else None


def _tell_breaker(lane: Lane, *, counts: bool) -> None:
    (lane.breaker.failed if counts else lane.breaker.left)()


def _estimate(lane: Lane, request: ModelRequest, fitted: Fitted) -> Estimate:
    return Estimate(
        model=lane.name,
        provider=lane.config.provider,
        price=lane.config.price,
        person_id=request.person_id,
        run_id=request.run_id,
        call_key=request.call_key,
        input_tokens=fitted.input_tokens,
        max_output_tokens=fitted.max_output_tokens,
        longest_seconds=(lane.config.timeout_seconds or 0),
    )
