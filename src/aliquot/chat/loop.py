"""The agent loop: ask the model (or the router), execute what it asks for, until there is an answer or a person must decide.

It only yields run events and fills the `Turn`; committing the outcome is `executor`'s job.
"""

import json
import uuid
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from aliquot.chat import unaided
from aliquot.chat.attachments.telling import FileReader, received
from aliquot.chat.calls import Calls, Refresh, new_call_id
from aliquot.chat.contracts import NoticeGiven, ToolCallStart
from aliquot.chat.errors import TooManySteps
from aliquot.chat.history import History
from aliquot.chat.plans.runner import PlanRunner
from aliquot.chat.prompt import system_prompt
from aliquot.chat.run_store import RunStore, Step
from aliquot.chat.turn import Turn
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import Clock
from aliquot.models.api import ModelsApi
from aliquot.models.contracts import (
    FILE_NOTICES,
    ModelDone,
    ModelRequest,
    Notice,
    TextDelta,
    ThinkingDelta,
    ToolSpec,
    ToolUseDone,
    ToolUseStart,
)
from aliquot.platform.db import Database, Transaction
from aliquot.platform.settings import Limits
from aliquot.policy.contracts import PLAN, Approval
from aliquot.routing.api import RoutingApi
from aliquot.routing.contracts import PriorCall, Route, RouteQuery
from aliquot.tools.api import ToolsApi

_BROUGHT_MAX = 10
"""Earlier questions of a caller's own history that are read for their meaning."""
_NOT_EXECUTED = frozenset({"rejected", "withdrawn", "expired"})


class AgentLoop:
    """Answers one turn."""

    def __init__(
        self,
        *,
        db: Database,
        store: RunStore,
        models: ModelsApi,
        routing: RoutingApi,
        tools: ToolsApi,
        refresh: Refresh,
        files: FileReader,
        plans: PlanRunner,
        clock: Clock,
        limits: Limits,
        zone: ZoneInfo,
    ) -> None:
        """`zone` is the site's: `today` is a day there."""
        self._files, self._plans = files, plans
        self._db, self._store, self._models, self._routing, self._tools = db, store, models, routing, tools
        self._calls = Calls(tools, refresh)
        self._clock, self._limits, self._zone = clock, limits, zone

    async def answer(self, turn: Turn) -> Approval | None:
        """Fill `turn` with the answer; the approval the run stops at, if any."""
        if turn.run.kind == "continue":
            if (plan := await self._plans.driven_by(turn.run_id)) is not None:
                return await self._go_on(turn, plan)
            finished = await self._after_decision(turn)
            if finished:
                return None
        if self._models.configured and turn.run.kind != "tool":  # a direct call needs no model: its result is the answer
            return await self._with_model(turn)
        return await self._with_router(turn)

    # --- with a language model

    async def _with_model(self, turn: Turn) -> Approval | None:
        turn.files = await self._files.of(turn.messages)
        turn.tainted = turn.tainted or any(turn.files.values())  # what a file says is nobody's wish
        for n in range(self._limits.model_steps_per_run):
            step = self._known_step(turn, n) or await self._ask(turn, n)
            if not step.tool_uses:
                if not turn.said:
                    turn.close_with("The language model gave an empty answer. Please ask again.")
                return None
            if step.state == "done":
                continue
            approval = await self._execute(turn, step)
            step.state = "done"
            await self._save(turn, step)
            if approval is not None:
                turn.close_with(str(step.results[-1].get("rendered", "")) if approval.tool == PLAN else "")
                return approval
            turn.emitter.check()
        raise TooManySteps

    def _known_step(self, turn: Turn, n: int) -> Step | None:
        """A step answered before a take-over is not asked again."""
        return next((step for step in turn.steps if step.n == n and step.state != "started"), None)

    async def _ask(self, turn: Turn, n: int) -> Step:
        attempts = next((step.attempts for step in turn.steps if step.n == n), 1)
        turn.steps = [step for step in turn.steps if step.n != n]
        if n > 0:
            async with self._db.begin() as tx:
                await self._store.begin_step(tx, turn.run_id, n, attempts)
        said = len(turn.said)
        async with aclosing(self._models.stream(self._request(turn, n, attempts))) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    # Text of a later step starts a paragraph of its own.
                    turn.say("\n\n" + event.text if said and len(turn.said) == said else event.text)
                elif isinstance(event, ThinkingDelta):
                    turn.emitter.thinking(event.text)
                elif isinstance(event, ModelDone):
                    return await self._answered(turn, n, attempts, event)
                else:
                    self._show(turn, event)
                    continue
                await turn.emitter.pace()
                turn.emitter.check()
        raise AssertionError("a model stream ends with ModelDone or raises")

    def _show(self, turn: Turn, event: ToolUseStart | ToolUseDone | Notice) -> None:
        if isinstance(event, ToolUseStart):
            turn.emitter.emit(ToolCallStart(call_id=event.call_id, name=event.name))
        elif isinstance(event, Notice) and event.text not in turn.told:
            if event.code in FILE_NOTICES:
                turn.told.add(event.text)
            turn.emitter.emit(NoticeGiven(code=event.code, text=event.text))

    async def _answered(self, turn: Turn, n: int, attempts: int, done: ModelDone) -> Step:
        uses = [{"call_id": use.call_id, "name": use.name, "arguments": use.arguments} for use in done.message.tool_uses]
        step = Step(
            n=n, text=done.message.text, tool_uses=uses, native=list(done.message.native), native_provider=done.message.native_provider,
            model=done.model, input_tokens=done.usage.input_tokens, output_tokens=done.usage.output_tokens, cost=str(done.usage.cost),
            currency=done.usage.currency, state="answered" if uses else "done", attempts=attempts,
        )  # fmt: skip
        turn.steps.append(step)
        if done.stop_reason == "length":
            turn.emitter.emit(NoticeGiven(code="length", text="The answer was cut off at the model's length limit."))
        if uses:  # a final answer is committed with the message itself
            await self._save(turn, step)
        return step

    def _request(self, turn: Turn, n: int, attempts: int) -> ModelRequest:
        history = History(turn.messages, turn.earlier, turn.files)
        messages = [*history.turns(), *history.steps(turn.steps, pinned=True)]
        specs = [
            ToolSpec(name=info.name, description=info.description, parameters=info.parameters)
            for info in self._tools.for_person(turn.principal, self._tools.dashboards.tools(turn.run.dashboard))
        ]
        return ModelRequest(
            system=system_prompt(self._clock.now(), turn.principal.roles), messages=tuple(messages), tools=tuple(specs),
            model=turn.run.model,            person_id=turn.principal.id, run_id=turn.run_id, call_key=f"{turn.run_id}:{n}:{attempts}",
        )  # fmt: skip

    # --- without one

    async def _with_router(self, turn: Turn) -> Approval | None:
        if turn.steps and turn.steps[0].tool_uses:
            return await self._follow(turn, turn.steps[0])
        question = turn.messages[-1].content if turn.messages else ""
        names = tuple(info.name for info in self._tools.for_person(turn.principal, self._tools.dashboards.tools(turn.run.dashboard)))
        async with self._db.begin() as tx:
            route = await self._routing.route(tx, await self._query(tx, turn, question, names))
            suggestions = () if route.accepted else await self._routing.suggestions(tx, names)
        files = (await self._files.of(turn.messages[-1:])).get(turn.messages[-1].id, ()) if turn.messages else ()
        if files:
            turn.emitter.emit(NoticeGiven(code="file_not_read", text="There is no language model here that could read the attached files."))
        mine = {info.name for info in self._tools.for_person(turn.principal)}
        hidden = turn.run.dashboard if route.tool in mine and not route.permitted and (route.asks or route.accepted) else None
        if not route.accepted or hidden is not None:
            turn.close_with(received(files) if files else unaided.reply(question, route, suggestions, hidden_by=hidden))
            return None
        step = Step(n=0, tool_uses=_uses(route), source="router", state="answered", confidence=route.probability)
        turn.steps = [step]
        await self._save(turn, step)
        return await self._follow(turn, step)

    async def _query(self, tx: Transaction, turn: Turn, question: str, names: tuple[str, ...]) -> RouteQuery:
        """`question` with what it may lean on: the calls behind the messages, or, of messages a caller brought along, what they
        would have led to here. Nothing is executed for them."""
        history = History(turn.messages[:-1], turn.earlier)
        now = self._clock.now().astimezone(self._zone)
        query = RouteQuery(text=question, tools=names, prior=history.prior_calls(), earlier=history.asked_since(), now=now)
        if any(message.run_id is not None for message in turn.messages[:-1] if message.role == "assistant"):
            return query
        query = replace(query, earlier=())
        for said in [message.content for message in turn.messages[:-1] if message.role == "user"][-_BROUGHT_MAX:]:
            route = await self._routing.route(tx, replace(query, text=said))
            calls = [PriorCall(tool=str(one.tool), arguments=one.arguments) for one in (route, *route.also) if one.accepted]
            query = replace(query, prior=(*query.prior, *calls), earlier=() if calls else (*query.earlier, said))
        return query

    async def _follow(self, turn: Turn, step: Step) -> Approval | None:
        """Execute the router's (or a direct) calls; the tools' own renderings are the answer."""
        turn.confidence = step.confidence
        approval = await self._execute(turn, step)
        step.state = "done"
        await self._save(turn, step)
        said = [self._said(result) for result in step.results if result.get("rendered")]
        turn.close_with("\n\n".join([*said, *(use["remark"] for use in step.tool_uses if use.get("remark"))]))
        return approval

    def _said(self, result: dict[str, Any]) -> str:
        """A result as the tool shows it; a yes or a no first, where it was asked for one and the result settles it."""
        question, rendered = result.get("question"), str(result["rendered"])
        if not question or result["outcome"] != "ok":
            return rendered
        settled = self._tools.settle(str(result["name"]), json.loads(str(result["text"])), str(question))
        return rendered if settled is None else f"{settled}\n\n{rendered}"

    async def _execute(self, turn: Turn, step: Step) -> Approval | None:
        """The calls of a step, one by one; from the first that acts on as a plan, if several do."""
        start = self._plans.begins_at(step)
        approval = await self._calls.run(turn, step, start)
        if start is None or approval is not None or len(step.results) > start:
            return approval
        return await self._plans.make(turn, step, start)

    async def _go_on(self, turn: Turn, plan_id: uuid.UUID) -> Approval | None:
        """The next steps of a plan, after a decision or because a person resumed it."""
        step, approval = await self._plans.go_on(turn, plan_id)
        turn.steps = [step]
        await self._save(turn, step)
        return approval

    # --- after a person's decision

    async def _after_decision(self, turn: Turn) -> bool:
        """Execute (or not) what was decided; True when the answer is complete."""
        approval = turn.approval
        if approval is None:
            raise AssertionError("a continued run has an approval")
        step = self._known_step(turn, 0)
        if step is None:
            step = Step(n=0, source="approval")
            if approval.state in _NOT_EXECUTED:
                sentence = _refusal(approval)
                self._calls.refused(turn, step, approval, sentence)
                step.results[0]["rendered"] = sentence
            else:  # also after a crash: what was executed is replayed, what was in flight is `unknown`
                await self._calls.approved(turn, step, approval)
            step.state = "done"
            turn.steps = [step]
            await self._save(turn, step)
        asked = any(message.role == "user" for message in turn.messages)  # otherwise it was a direct call
        if not self._models.configured or not asked:
            turn.close_with(str(step.results[0].get("rendered", "")))
            return True
        return False

    async def _save(self, turn: Turn, step: Step) -> None:
        async with self._db.begin() as tx:
            await self._store.save_step(tx, turn.run_id, turn.principal.id, step)


def _uses(route: Route) -> list[dict[str, str]]:
    """The calls a route leads to; the last one carries what has to be said of the rest."""
    followed = [one for one in (route, *route.also) if one.accepted and one.tool is not None]
    uses = [{"call_id": new_call_id(), "name": str(one.tool), "arguments": canonical_json(one.arguments).decode()} for one in followed]
    for one, use in zip(followed, uses, strict=True):
        use.update({"question": one.asked} if one.asked else {})
    if note := unaided.remark(route):
        uses[-1]["remark"] = note
    return uses


def _refusal(approval: Approval) -> str:
    if approval.state == "rejected":
        return f"Rejected, so this was not done: {approval.preview.summary}"
    return f"Not done ({approval.state}): {approval.preview.summary}"
