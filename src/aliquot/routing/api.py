"""The door to the router."""

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import structlog

from aliquot.platform.db import Transaction
from aliquot.routing import followup, gates, training
from aliquot.routing.contracts import PriorCall, Route, RouteQuery
from aliquot.routing.extraction import Reading, code_pattern, extract
from aliquot.routing.model import Model, Scored
from aliquot.routing.text import CHARS_MAX, normalise, words_of
from aliquot.routing.vocabulary import Mention, Vocabulary, masked, unknown_codes
from aliquot.tools.contracts import Tool

log = structlog.get_logger(__name__)

ACTION_THRESHOLD_MIN = 0.85
"""A tool that acts needs at least this, whatever the threshold for reading is."""
VOCABULARY_SECONDS = 5.0
_DEFAULT_SIMILARITY = 0.3
_SLOT_VALUES_MAX = 5_000


@dataclass(frozen=True, slots=True)
class _Words:
    vocabulary: Vocabulary
    until: float


class RoutingApi:
    """Which tool answers a question, with which arguments, and how sure. Executes nothing and invents nothing.

    Fitted at construction from what the tools declare (about a second of one core); the tools' vocabulary is read through the
    caller's transaction and kept for five seconds. A later version learns from the site's traffic behind the same method.
    """

    def __init__(self, tools: Sequence[Tool], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._monotonic = monotonic
        self._alias = training.aliases(tools)
        self._shared = training.shared_slots(tools)
        rows = tuple(training.rows(tools))
        self._model = _fitted(rows, frozenset(tool.name for tool in tools if tool.effect != "read"))
        self._patterns = _patterns(tools)
        self._enums = frozenset(
            slot for tool in tools for slot, schema in tool.parameters.get("properties", {}).items() if "enum" in schema
        )
        self._constants = {tool.name: self._constant_examples(tool) for tool in tools}
        self._words: dict[str, _Words] = {}
        content = "\n".join(f"{row.label}\t{row.text}" for row in rows)
        self.version = "declared-" + hashlib.sha256(content.encode()).hexdigest()[:12]

    @property
    def threshold(self) -> float:
        """Below it a tool that reads is not proposed: read off the held-out declared examples (see `model._threshold`)."""
        return self._model.threshold

    async def route(self, tx: Transaction, query: RouteQuery) -> Route:
        """The best proposal for `query.text` among `query.tools`; `tool` is None when none is meant.

        `missing` names what has to be asked back, with known values in `explanation["candidates"]`. Never raises for the question.
        """
        allowed = [self._tools[name] for name in query.tools if name in self._tools]
        text = normalise(query.text)
        if not text or not allowed or len(query.text) > 2 * CHARS_MAX:
            return self._nothing("empty or too long" if allowed else "no tools")
        vocabulary = await self._vocabulary(tx, allowed)
        reading = self._read(query.text, self._corrected(text, vocabulary), vocabulary)
        if (route := self._follow_up(reading, query, allowed, vocabulary)) is not None:
            return route
        return self._fresh(reading, query, vocabulary)

    def _fresh(self, reading: Reading, query: RouteQuery, vocabulary: Vocabulary) -> Route:
        reading = self._carried(reading, query.prior)
        question = self._masked(reading)
        scored = self._model.score(question)
        name = scored.ranking[0][0]
        if name == training.NONE or name not in query.tools:
            return self._nothing("out of scope" if name == training.NONE else "not among the tools", scored, query.tools)
        tool = self._tools[name]
        found = extract(tool, reading, vocabulary, self._defaults(tool, question, reading))
        shut = gates.general(reading, question, tool, self._model.spelling)
        if (
            query.prior
            and followup.is_cued(reading.text)
            and query.prior[-1].tool in self._tools
            and self._tools[query.prior[-1].tool].effect != "read"
        ):
            shut.append(gates.Gate(gates.UNLIKELY, "continues a request to act, which is never repeated by a hint"))
        if tool.effect != "read":
            shut += gates.for_action(tool, reading, question, self._model.spelling)
        said = " ".join(value.lower() for value in found.arguments.values() if isinstance(value, str))
        strange = self._model.unknown_share([word for word in words_of(question) if word not in said]) if tool.effect == "read" else 0.0
        probability = scored.probability * found.certainty * (1 - 0.5 * strange)
        probability = min([probability, *(gate.limit for gate in shut)])
        explanation = {"masked": question, "doubts": [*found.doubts, *(gate.why for gate in shut)], "candidates": found.candidates}
        return self._route(tool, found.arguments, probability, found.missing, scored, query.tools, explanation)

    def _follow_up(self, reading: Reading, query: RouteQuery, allowed: Sequence[Tool], vocabulary: Vocabulary) -> Route | None:
        """The newest earlier call with what this question changes of it."""
        prior = query.prior[-1] if query.prior else None
        tool = next((tool for tool in allowed if prior is not None and tool.name == prior.tool), None)
        if prior is None or tool is None:
            return None
        found = followup.resolve(reading, prior, tool, vocabulary)
        if found is None:
            return None
        shut = gates.general(reading, self._masked(reading), tool, self._model.spelling)
        probability = min([followup.PROBABILITY * found.certainty, *(gate.limit for gate in shut)])
        explanation = {"follows": prior.tool, "doubts": [gate.why for gate in shut], "candidates": found.candidates}
        return self._route(tool, found.arguments, probability, list(found.missing), None, query.tools, explanation)

    def _carried(self, reading: Reading, prior: Sequence[PriorCall]) -> Reading:
        """`is it running?` after a question about PCR-02: the pronoun is a mention of that value."""
        place = followup.pronoun(reading.text)
        if place is None or not prior or reading.codes or len(reading.words) > followup.WORDS_MAX + 3:
            return reading
        for slot, value in prior[-1].arguments.items():
            if slot in self._shared and isinstance(value, str) and value.lower() not in _QUANTIFIERS and not reading.of(slot):
                carried = Mention(slot, (value,), *place.span(), carried=True)
                return replace(reading, mentions=(*reading.mentions, carried))
        return reading

    def _route(
        self, tool: Tool, arguments: dict[str, Any], probability: float, missing: Sequence[str], scored: Scored | None,
        allowed: Sequence[str], explanation: dict[str, Any],
    ) -> Route:  # fmt: skip
        reads = tool.effect == "read"
        return Route(
            tool=tool.name,
            arguments=arguments,
            probability=round(max(0.0, min(1.0, probability)), 4),
            threshold=self.threshold if reads or missing else max(self.threshold, ACTION_THRESHOLD_MIN),
            missing=tuple(missing),
            alternatives=_alternatives(scored, allowed, tool.name),
            model_version=self.version,
            explanation=explanation,
        )

    def _nothing(self, why: str, scored: Scored | None = None, allowed: Sequence[str] = ()) -> Route:
        return Route(
            tool=None,
            arguments={},
            probability=0.0,
            threshold=self.threshold,
            alternatives=_alternatives(scored, allowed, None),
            model_version=self.version,
            explanation={"doubts": [why]},
        )

    # Reading

    async def _vocabulary(self, tx: Transaction, allowed: Sequence[Tool]) -> Vocabulary:
        key = ",".join(sorted(tool.name for tool in allowed))
        known = self._words.get(key)
        if known is not None and self._monotonic() < known.until:
            return known.vocabulary
        values: dict[str, dict[str, None]] = {}
        for tool in allowed:
            for slot, words in (await tool.vocabulary(tx)).items():
                kept = values.setdefault(slot, {})
                kept.update(dict.fromkeys(words[:_SLOT_VALUES_MAX]))
        vocabulary = Vocabulary.of(values)
        if len(self._words) > 50:
            self._words.clear()
        self._words[key] = _Words(vocabulary, self._monotonic() + VOCABULARY_SECONDS)
        return vocabulary

    def _corrected(self, text: str, vocabulary: Vocabulary) -> str:
        """`text` with slips in ordinary words mended (`faild`); words of known values are left to the vocabulary."""
        correct = self._model.spelling.correct
        return re.sub(r"(?<![\w-])[a-z]{4,30}(?![\w-])", lambda m: m.group() if m.group() in vocabulary.words else correct(m.group()), text)

    def _read(self, raw: str, text: str, vocabulary: Vocabulary) -> Reading:
        # An enum's words are read in their place; as mentions they would hide `failed` from the model.
        mentions = [m for m in vocabulary.mentions(text, self._model.words) if m.slot not in self._enums]
        for slot, pattern in self._patterns:
            for match in pattern.finditer(text):
                free = not any(match.start() < m.end and m.start < match.end() for m in mentions if m.slot != slot)
                if free and not any(
                    _begins_like(match.group(), values) for other, values in vocabulary.values.items() if other != slot
                ):  # `PCR-99` has a sample's shape
                    mentions.append(Mention(slot, (match.group().upper(),), match.start(), match.end()))
        unique = {(mention.slot, mention.start): mention for mention in reversed(mentions)}
        kept = sorted(unique.values(), key=lambda mention: (mention.start, mention.slot))
        codes = [replace(code, slot=self._slot_like(text[code.start : code.end], vocabulary)) for code in unknown_codes(text, kept)]
        return Reading(raw, text, tuple(kept), tuple(codes))

    def _masked(self, reading: Reading) -> str:
        aliased = [Mention(self._alias.get(m.slot, m.slot), m.values, m.start, m.end) for m in (*reading.mentions, *reading.codes)]
        return masked(reading.text, aliased)

    def _slot_like(self, code: str, vocabulary: Vocabulary) -> str:
        """The argument whose known values begin like this unknown code: `R-77` sounds like a run."""
        return next((slot for slot in sorted(vocabulary.values) if _begins_like(code, vocabulary.values[slot])), "code")

    def _constant_examples(self, tool: Tool) -> list[tuple[dict[str, Any], Any]]:
        """Every example with those of its arguments that its text does not spell out, and its features."""
        result = []
        for example in tool.examples:
            constants = {
                slot: value
                for slot, value in example.arguments.items()
                if isinstance(value, str) and (normalise(value) not in normalise(example.text) or value.lower() in _QUANTIFIERS)
            }
            text = training.mask_example(example.text, example.arguments, self._alias, self._shared)
            result.append((constants, self._model.vector(text)))
        return result

    def _defaults(self, tool: Tool, question: str, reading: Reading) -> dict[str, Any]:
        """Arguments the nearest declared example of `tool` gives to a question that names nothing (`which instruments are free?` → all)."""
        examples = self._constants[tool.name]
        if tool.effect != "read" or not examples or reading.mentions or followup.pronoun(reading.text):
            return {}
        vector = self._model.vector(question)
        similar = np.array([float(features @ vector) for _, features in examples])
        best = int(similar.argmax())
        return examples[best][0] if similar[best] >= _DEFAULT_SIMILARITY else {}


@lru_cache(maxsize=4)
def _fitted(rows: tuple[training.Row, ...], acting: frozenset[str]) -> Model:
    """Fitting is pure, so routers of the same tools in one process share the result (tests build many)."""
    return Model(rows, lambda label, text: gates.closed(text, acts=label in acting))


_QUANTIFIERS = frozenset({"all", "any", "every", "none"})


def _begins_like(code: str, values: Sequence[str]) -> bool:
    head = re.match(r"[a-z]+", code.lower())
    return head is not None and any(re.match(rf"{head.group()}(?![a-z])", v.lower()) and any(c.isdigit() for c in v) for v in values)


def _patterns(tools: Sequence[Tool]) -> list[tuple[str, Any]]:
    """Arguments whose schema describes a code closely enough to find it in a text, also in lists."""
    found: dict[str, Any] = {}
    for tool in tools:
        for slot, schema in tool.parameters.get("properties", {}).items():
            pattern = code_pattern(schema.get("items", {}) if schema.get("type") == "array" else schema)
            if pattern is not None:
                found[slot] = pattern
    return list(found.items())


def _alternatives(scored: Scored | None, allowed: Sequence[str], but: str | None) -> tuple[tuple[str, float], ...]:
    """The other tools by score, for an answer that says what else may have been meant; shares, not probabilities."""
    if scored is None:
        return ()
    weights = [(name, float(np.exp(2 * score))) for name, score in scored.ranking]
    total = sum(weight for _, weight in weights)
    return tuple((name, round(weight / total, 4)) for name, weight in weights if name in allowed and name != but)[:3]
