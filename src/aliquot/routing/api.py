"""The door to the router."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from aliquot.platform.db import Transaction
from aliquot.routing import examples, fitting, followup, forms, gates, lists, parts, relations, replies, strangers, training
from aliquot.routing.contracts import Intent, PriorCall, Route, RouteQuery
from aliquot.routing.extraction import Extracted, Reading, extract, is_dated, undated
from aliquot.routing.lists import QUANTIFIERS
from aliquot.routing.model import Model, Scored
from aliquot.routing.reader import Reader, World
from aliquot.routing.text import CHARS_MAX, normalise
from aliquot.routing.vocabulary import Mention, begins_like, stands_in_place
from aliquot.tools.contracts import Tool

ACTION_THRESHOLD_MIN = 0.85
"""A tool that acts needs at least this, whatever the threshold for reading is."""
REPLY_PROBABILITY = 0.92
"""Of a reply that gives exactly what was asked for: the person was told what it would lead to."""
EARLIER_MAX = 4
SEVERAL_ACTIONS = "several actions"
_DEFAULT_SIMILARITY = 0.3


class RoutingApi:
    """Which tool answers a question, with which arguments, and how sure. Executes nothing and invents nothing.

    Fitted from what the tools declare (about a second of one core), by `fit` or when it is first asked; the tools' vocabulary is read
    through the caller's transaction and kept for five seconds, for questions that are clear by it. A later version learns from the
    site's traffic behind the same method.
    """

    def __init__(self, tools: Sequence[Tool], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._tools, self._monotonic = {tool.name: tool for tool in tools}, monotonic

    def fit(self) -> None:
        """Be ready for the first question. For processes that answer questions; the short commands never ask one."""
        _ = self._reader

    @cached_property
    def _fit(self) -> fitting.Fit:
        return fitting.fitted(tuple(self._tools.values()))

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self._tools, self._model, self._monotonic)

    @property
    def _model(self) -> Model:
        return self._fit.model

    @property
    def version(self) -> str:
        """Of the declarations it was fitted on."""
        return self._fit.version

    @property
    def threshold(self) -> float:
        """Below it a tool that reads is not proposed: read off the held-out declared examples (see `model._threshold`)."""
        return self._model.threshold

    def intent(self, text: str) -> Intent:
        """What a message asks for, whoever answers it; `undecided` when that is not sure enough. Pure, well below a millisecond."""
        return self._fit.intents.classify(text)

    async def route(self, tx: Transaction, query: RouteQuery) -> Route:
        """The best proposal for `query.text`; `tool` is None when none is meant.

        `missing` names what has to be asked back, with known values in `explanation["candidates"]`. Never raises for the question.
        """
        kept = self._reader.kept(query.tools)
        if kept is not None and (route := self._routed(query, kept)).accepted and not _leaves(route):
            return route
        return self._routed(query, await self._reader.world(tx, query.tools))  # what is not clear may have been added a moment ago

    def _routed(self, query: RouteQuery, world: World) -> Route:
        if not world.permitted:
            return self._nothing("no tools")
        pending: Route | None = None
        for text in query.earlier[-EARLIER_MAX:]:
            asked = self._one(text, query.prior, world, pending, query.now)
            pending = asked if asked.asks else None
        return self._one(query.text, query.prior, world, pending, query.now)

    async def suggestions(self, tx: Transaction, tools: Sequence[str], most: int = 4) -> tuple[str, ...]:
        """A question for each of the first tools, as it could be asked here: with names that exist."""
        world = self._reader.kept(tools) or await self._reader.world(tx, tools)
        known = [self._tools[name] for name in self._tools if name in world.permitted]
        return examples.suggested(known, world.vocabulary.values, world.relations, most)

    def _one(self, text: str, prior: Sequence[PriorCall], world: World, pending: Route | None, now: datetime | None) -> Route:
        if not normalise(text) or len(text) > 2 * CHARS_MAX:
            return self._nothing("empty or too long")
        reading = self._reader.read(text, world.vocabulary, now)
        if pending is not None:
            if replies.withdraws(reading.text):
                return replace(self._nothing("taken back"), withdrawn=True)
            if (route := self._reply(reading, pending, prior, world)) is not None:
                return route
        whole = self._whole(reading, prior, world)
        return self._several(text, whole, prior, world, now) or whole

    def _whole(self, reading: Reading, prior: Sequence[PriorCall], world: World) -> Route:
        return self._apart(reading, prior, world) or self._follow_up(reading, prior, world) or self._fresh(reading, prior, world)

    def _apart(self, reading: Reading, prior: Sequence[PriorCall], world: World) -> Route | None:
        """The calls for what is known of a list, with what has to be said of the rest; None when it is no such question to read."""
        if (apart := lists.apart(reading, world.vocabulary)) is None:
            return None
        bare = self._reader.read(apart.text, world.vocabulary, reading.now)
        route = self._follow_up(bare, prior, world) or self._fresh(bare, prior, world)
        if any(not one.accepted or self._acts(one) or not apart.slots & one.arguments.keys() for one in (route, *route.also)):
            return None
        each = [replace(one, asked="" if apart.compares else one.asked) for one in route.also]
        kind = self._reader.kind(min(apart.slots))
        told = {"strangers": apart.unknown, "kind": kind, "compares": apart.compares}
        asked, left = "" if apart.compares else route.asked, (*route.unanswered, *apart.left)
        return replace(route, asked=asked, also=tuple(each), unanswered=left, explanation=route.explanation | told)

    def _fresh(self, reading: Reading, prior: Sequence[PriorCall], world: World) -> Route:
        reading = self._reader.carried(reading, prior)
        question = self._reader.masked(reading)
        scored = self._model.score(question)
        if (bare := undated(reading)) is not None:
            plain = self._reader.masked(bare)
            without = self._model.score(plain)
            if (meant := self._tools.get(without.ranking[0][0])) is not None and is_dated(meant):
                question, scored = plain, without  # the period is told to the tool; it says nothing about which one is meant
        name = scored.ranking[0][0]
        if name == training.NONE:
            return self._nothing("out of scope", scored, world)
        tool = self._tools[name]
        reading = self._in_place(reading, tool, world)
        found = extract(tool, reading, world.vocabulary, self._defaults(tool, question, reading))
        if prior and any(mention.carried for mention in reading.mentions):
            followup.keep_place(found, prior[-1], tool)
        relations.complete(found, reading, world.relations.get(name, ()))
        shut = gates.general(reading, question, tool, self._model.spelling, unnamed=bool(found.missing))
        shut += gates.dropped(reading, tool, found.arguments)
        last = self._tools.get(prior[-1].tool) if prior else None
        if last is not None and last.effect != "read" and followup.is_cued(reading.text):
            shut.append(gates.Gate(gates.UNLIKELY, "continues a request to act, which is never repeated by a hint"))
        if tool.effect != "read":
            shut += gates.for_action(tool, reading, question, self._model.spelling)
        said = " ".join(value.lower() for value in found.arguments.values() if isinstance(value, str))
        sure = self._model.score(question, said).probability if said else scored.probability
        probability = min([sure * found.certainty, *(gate.limit for gate in shut)])
        explanation = {"masked": question, "doubts": [*found.doubts, *(gate.why for gate in shut)]}
        route = replace(
            self._route(tool, found, probability, reading, world, explanation, scored), asked=forms.essence(self._reader.masked(reading))
        )
        return lists.spread(route, reading) if tool.effect == "read" else route

    def _follow_up(self, reading: Reading, prior: Sequence[PriorCall], world: World) -> Route | None:
        """The newest earlier call with what this question changes of it."""
        last = prior[-1] if prior else None
        tool = self._tools.get(last.tool) if last is not None and last.tool in world.permitted else None
        if last is None or tool is None:
            return None
        reading = self._in_place(reading, tool, world)
        follow = followup.resolve(reading, last, tool, world.vocabulary)
        if follow is None:
            return None
        shut = gates.general(reading, self._reader.masked(reading), tool, self._model.spelling)
        probability = min([followup.PROBABILITY * follow.certainty, *(gate.limit for gate in shut)])
        found = Extracted(follow.arguments, list(follow.missing), follow.candidates)
        route = self._route(tool, found, probability, reading, world, {"follows": last.tool, "doubts": [gate.why for gate in shut]})
        return lists.spread(route, reading)

    def _in_place(self, reading: Reading, tool: Tool, world: World) -> Reading:
        settled = {relation.argument for relation in world.relations.get(tool.name, ()) if relation.settles}
        return strangers.in_place(reading, tool, settled, world.vocabulary.values)

    def _reply(self, reading: Reading, pending: Route, prior: Sequence[PriorCall], world: World) -> Route | None:
        """What `pending` asked for, completed by this message; None when it is about something else."""
        tool = self._tools[pending.tool or ""]
        related = world.relations.get(tool.name, ())
        reading = self._in_place(reading, tool, world)
        found = extract(tool, reading, world.vocabulary, {})
        relations.complete(found, reading, related)
        given = replies.filled(pending, found, reading)
        if not replies.only_fills(reading) and self._whole(reading, prior, world).accepted:
            return None  # a question of its own
        if given is None:
            if not reading.codes or not replies.only_fills(reading):
                return None
            known = pending.explanation.get("candidates", {}).get(pending.missing[0], [])
            return replace(pending, explanation=pending.explanation | self._unknown(reading, tool, pending.missing[0], known, world))
        done = Extracted(pending.arguments | given, [slot for slot in pending.missing if slot not in given])
        done.candidates = {slot: pending.explanation.get("candidates", {}).get(slot, []) for slot in done.missing}
        relations.complete(done, reading, related)
        sure = gates.NEVER if forms.looks_injected(reading.text) else REPLY_PROBABILITY
        if any(mention.fuzzy for mention in reading.mentions) and tool.effect != "read":
            sure = min(sure, 0.5)  # a misspelt value is not good enough to act on
        return replace(self._route(tool, done, sure, reading, world, {"completes": list(given)}), asked=pending.asked)

    def _several(
        self, text: str, whole: Route, prior: Sequence[PriorCall], world: World, now: datetime | None
    ) -> Route | None:  # fmt: skip
        """The parts of a message with several wishes, as far as each can be followed on its own. If more than the last act, all of
        them have to be clear: they become the steps of a plan."""
        if (plan := self._plan(text, prior, world, now)) is not None:
            return plan
        said = parts.cut(text)
        routes: list[Route] = []
        for part in said:
            name = next((value for value in routes[-1].arguments.values() if isinstance(value, str)), None) if routes else None
            plain = part if name is None or name in QUANTIFIERS else parts.with_names(part, name)
            routes.append(self._whole(self._reader.read(plain, world.vocabulary, now), () if routes else prior, world))
        sure = [route for route in routes if route.accepted or route.asks]
        if any(self._acts(route) for route in sure[:-1]):
            return None if whole.accepted or len(sure) < 2 else replace(self._nothing(SEVERAL_ACTIONS), unanswered=tuple(said))
        distinct = len({(route.tool, repr(route.arguments)) for route in sure}) == len(said)
        if sure and not any(map(self._acts, sure)) and all(route.accepted or route.explanation.get("unknown") for route in sure):
            sure.sort(key=lambda route: not route.accepted)  # what is not here does not keep the rest from being answered
        if sure and sure[0].accepted and distinct:
            same = whole.accepted and {route.tool for route in sure} == {whole.tool}
            return None if same else _joined(sure)
        return self._partly(whole, said, routes)

    def _plan(self, text: str, prior: Sequence[PriorCall], world: World, now: datetime | None) -> Route | None:
        """The steps of a message of which more than the last act; None when it is no such message.

        One that is not clear makes all of it unclear: half a plan is not what was asked for.
        """
        said = parts.steps(text)
        if len(said) < 2 or forms.looks_injected(normalise(text)):
            return None
        routes: list[Route] = []
        named: str | None = None
        for part in said:
            plain = part if named is None else parts.with_names_before_reason(part, named)
            reading = self._reader.read(plain, world.vocabulary, now)
            routes.append(self._whole(reading, () if routes else prior, world))
            named = self._reader.thing(reading) or named
        if not any(self._acts(route) for route in routes[:-1] if route.accepted or route.asks):
            return None
        if sum(self._acts(route) for route in routes if route.accepted or route.asks) < 2:
            return None
        if all(route.accepted for route in routes):
            return _joined(routes)
        unclear = tuple(part for part, route in zip(said, routes, strict=True) if not route.accepted)
        asks = next((route for route in routes if route.asks), None)
        missing = {} if asks is None else {"missing": [asks.tool, *asks.missing]}
        nothing = self._nothing(SEVERAL_ACTIONS)
        return replace(nothing, unanswered=unclear, explanation=nothing.explanation | missing)

    def _partly(self, whole: Route, said: Sequence[str], routes: Sequence[Route]) -> Route | None:
        """What can be answered of a message whose other wishes cannot: those are named, not dropped."""
        gated = gates.MORE_THAN_ONE in _doubts(whole)
        if not any(parts.is_wish(part) for part in said[1:]) or forms.looks_injected(" ".join(said).lower()):
            return None
        if not (whole.accepted or gated or routes[0].accepted):
            return None
        read = [route for route in routes if route.accepted and not self._acts(route)]
        left = [
            part for n, (part, route) in enumerate(zip(said, routes, strict=True)) if not route.accepted and (n == 0 or parts.is_wish(part))
        ]
        if not read or not left:
            return None
        return replace(_joined(read), unanswered=tuple(left))

    def _acts(self, route: Route) -> bool:
        return route.tool is not None and self._tools[route.tool].effect != "read"

    def _route(
        self, tool: Tool, found: Extracted, probability: float, reading: Reading, world: World, explanation: dict[str, Any],
        scored: Scored | None = None,
    ) -> Route:  # fmt: skip
        candidates = {slot: list(values) for slot, values in found.candidates.items()}
        about: dict[str, Any] = {"unknown": [], "near": []}
        if found.missing and reading.codes:
            first = _said(reading, reading.codes[0])
            candidates = {slot: relations.nearest_first(first, values) for slot, values in candidates.items()}
            about = self._unknown(reading, tool, found.missing[0], candidates.get(found.missing[0], []), world)
        noun = {"noun": self._reader.kind(found.missing[0])} if found.missing else {}
        empty = {slot: given for slot, given in found.narrowed.items() if slot in found.missing and not candidates.get(slot)}
        return Route(
            tool=tool.name,
            arguments=found.arguments,
            probability=round(max(0.0, min(1.0, probability)), 4),
            threshold=self.threshold if tool.effect == "read" or found.missing else max(self.threshold, ACTION_THRESHOLD_MIN),
            missing=tuple(found.missing),
            alternatives=_alternatives(scored, world, tool.name),
            model_version=self.version,
            explanation=explanation | {"candidates": candidates, "empty": empty} | about | noun,
            permitted=tool.name in world.permitted,
        )

    def _unknown(self, reading: Reading, tool: Tool, slot: str, known: Sequence[str], world: World) -> dict[str, Any]:
        """What can be said of the codes nobody knows, where `slot` is asked for: what they were meant for, and what comes near."""
        first, values = reading.codes[0], world.vocabulary.values
        said = _said(reading, first)
        elsewhere = first.slot in values and first.slot not in tool.parameters["properties"] and not begins_like(said, values.get(slot, ()))
        meant = first.slot if first.listed or elsewhere else slot
        for relation in world.relations.get(tool.name, ()):
            if relation.settles and relation.argument == slot and relation.given not in tool.parameters["properties"]:
                meant = relation.given if stands_in_place(reading.text, first) else meant  # `stop the run on FOO-99`
        kind = self._reader.kind(meant)
        return {"unknown": [_said(reading, code) for code in reading.codes], "near": relations.near(said, known), "kind": kind}

    def _nothing(self, why: str, scored: Scored | None = None, world: World | None = None) -> Route:
        return Route(
            tool=None,
            arguments={},
            probability=0.0,
            threshold=self.threshold,
            alternatives=_alternatives(scored, world, None),
            model_version=self.version,
            explanation={"doubts": [why]},
        )

    def _defaults(self, tool: Tool, question: str, reading: Reading) -> dict[str, Any]:
        """Arguments the nearest declared example of `tool` gives to a question that names nothing (`which instruments are free?` → all)."""
        known = self._fit.constants[tool.name]
        if tool.effect != "read" or not known or reading.mentions or followup.pronoun(reading.text):
            return {}
        vector = self._model.vector(question)
        similar = np.array([float(features @ vector) for _, features in known])
        best = int(similar.argmax())
        return known[best][0] if similar[best] >= _DEFAULT_SIMILARITY else {}


def _doubts(route: Route) -> Sequence[str]:
    doubts: Sequence[str] = route.explanation.get("doubts", ())
    return doubts


def _said(reading: Reading, code: Mention) -> str:
    return reading.text[code.start : code.end].upper()


def _leaves(route: Route) -> bool:
    """Something of the message is not answered, or said to be unknown: that is judged by what there is now."""
    return any(one.unanswered or one.explanation.get("strangers") for one in (route, *route.also))


def _joined(routes: Sequence[Route]) -> Route:
    """The first with all that follows from the others."""
    further = [one for route in routes[1:] for one in (replace(route, also=()), *route.also)]
    return replace(routes[0], also=(*routes[0].also, *further))


def _alternatives(scored: Scored | None, world: World | None, but: str | None) -> tuple[tuple[str, float], ...]:
    """The other tools by score, for an answer that says what else may have been meant; shares, not probabilities."""
    if scored is None or world is None:
        return ()
    weights = [(name, float(np.exp(2 * score))) for name, score in scored.ranking]
    total = sum(weight for _, weight in weights)
    return tuple((name, round(weight / total, 4)) for name, weight in weights if name in world.permitted and name != but)[:3]
