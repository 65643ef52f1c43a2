"""Reading a question: the site's own words in it, slips mended, values replaced by placeholders."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from aliquot.platform.db import Transaction
from aliquot.routing import followup, forms, strangers, training
from aliquot.routing.contracts import PriorCall
from aliquot.routing.extraction import Reading, code_pattern
from aliquot.routing.lists import QUANTIFIERS, beside_known
from aliquot.routing.model import Model
from aliquot.routing.text import normalise, words_of
from aliquot.routing.vocabulary import Mention, Vocabulary, begins_like, masked, unknown_codes
from aliquot.tools.contracts import Relating, Relation, Tool

VOCABULARY_SECONDS = 5.0
_SLOT_VALUES_MAX = 5_000
_KEPT_MAX = 50
_LISTED = re.compile(r"\b(?:both |either )?(z[a-z]+)(?: ?(?:,|and|or|&|\+|/)+ ?(?:the |our )?\1\b)+")
"""Several values of a kind read like one: `are PCR-02 and SEQ-01 free`."""


@dataclass(frozen=True, slots=True)
class World:
    """What there is here, for one set of tools."""

    permitted: frozenset[str]
    vocabulary: Vocabulary
    relations: Mapping[str, tuple[Relation, ...]]
    until: float


class Reader:
    """Immutable but for the words of the site, kept for VOCABULARY_SECONDS."""

    def __init__(self, tools: Mapping[str, Tool], model: Model, monotonic: Callable[[], float]) -> None:
        self._tools, self._model, self._monotonic = tools, model, monotonic
        self._alias = training.aliases(list(tools.values()))
        self._acting = training.acting_verbs(tools.values())
        self._shared = training.shared_slots(list(tools.values()))
        self._patterns = _patterns(tools.values())
        self._heads = _heads(tools.values())
        self._enums = frozenset(
            slot for tool in tools.values() for slot, schema in tool.parameters.get("properties", {}).items() if "enum" in schema
        )
        self._worlds: dict[frozenset[str], World] = {}

    def kept(self, names: Sequence[str]) -> World | None:
        """What `world` read for the same tools a moment ago."""
        known = self._worlds.get(self._permitted(names))
        return known if known is not None and self._monotonic() < known.until else None

    async def world(self, tx: Transaction, names: Sequence[str]) -> World:
        """The values a person with the tools `names` may know, read now. For an argument of other tools they are those of its namesakes
        (`protocol` of start_run: what get_protocols knows as `query`)."""
        permitted = self._permitted(names)
        values: dict[str, dict[str, None]] = {}
        relations: dict[str, tuple[Relation, ...]] = {}
        for tool in (self._tools[name] for name in self._tools if name in permitted):
            for slot, words in (await tool.vocabulary(tx)).items():
                values.setdefault(slot, {}).update(dict.fromkeys(words[:_SLOT_VALUES_MAX]))
            if isinstance(tool, Relating):
                relations[tool.name] = await tool.relations(tx)
        for slot, common in self._alias.items():
            mates = [name for name, other in self._alias.items() if other == common and name in values]
            if slot not in values and mates:
                values[slot] = values[mates[0]]
        if len(self._worlds) > _KEPT_MAX:
            self._worlds.clear()
        world = World(permitted, Vocabulary.of(values), relations, self._monotonic() + VOCABULARY_SECONDS)
        self._worlds[permitted] = world
        return world

    def _permitted(self, names: Sequence[str]) -> frozenset[str]:
        return frozenset(name for name in names if name in self._tools)

    def read(self, raw: str, vocabulary: Vocabulary, now: datetime | None = None) -> Reading:
        """`raw` with what it mentions."""
        text = self._corrected(normalise(raw), vocabulary)
        # An enum's words are read in their place; as mentions they would hide `failed` from the model.
        mentions = [m for m in vocabulary.mentions(text, self._model.words) if m.slot not in self._enums]
        mentions, codes = strangers.numbered(text, mentions, vocabulary)
        for slot, pattern in self._patterns:
            for match in pattern.finditer(text):
                free = not any(match.start() < m.end and m.start < match.end() for m in (*mentions, *codes) if m.slot != slot)
                if free and not any(
                    begins_like(match.group(), values) for other, values in vocabulary.values.items() if other != slot
                ):  # `PCR-99` has a sample's shape
                    mentions.append(self._shaped(slot, match, vocabulary))
        unique = {(mention.slot, mention.start): mention for mention in reversed(mentions)}
        kept = sorted(unique.values(), key=lambda mention: (mention.start, mention.slot))
        codes += strangers.written_large(raw, text, self._acting, [*kept, *codes])
        codes += [replace(c, slot=_slot_like(text[c.start : c.end], vocabulary)) for c in unknown_codes(text, [*kept, *codes])]
        codes = beside_known(sorted(codes, key=lambda code: code.start), [m for m in kept if not m.guessed], text)
        return Reading(raw, text, tuple(kept), tuple(codes), now)

    def _shaped(self, slot: str, match: re.Match[str], vocabulary: Vocabulary) -> Mention:
        said = match.group().upper()
        known = said in vocabulary.values.get(slot, ()) or begins_like(said, (*vocabulary.values.get(slot, ()), *self._heads.get(slot, ())))
        return Mention(slot, (said,), match.start(), match.end(), guessed=not known)

    def carried(self, reading: Reading, prior: Sequence[PriorCall]) -> Reading:
        """`is it running?` after a question about PCR-02: the pronoun is a mention of that value."""
        place = followup.pronoun(reading.text)
        if place is None or not prior or reading.codes or len(reading.words) > followup.WORDS_MAX + 3:
            return reading
        for slot, value in prior[-1].arguments.items():
            if slot in self._shared and isinstance(value, str) and value.lower() not in QUANTIFIERS and not reading.of(slot):
                mention = Mention(slot, (value,), *place.span(), carried=True)
                return replace(reading, mentions=(*reading.mentions, mention))
        return reading

    def kind(self, slot: str) -> str:
        """What the values of an argument are, for a sentence: those of `query` are protocols."""
        return self._alias.get(slot, slot)

    def thing(self, reading: Reading) -> str | None:
        """What a part of a message is about, for `it` in the next one: the last value of an argument that several tools have."""
        named = (m.values[0] for m in reversed(reading.mentions) if m.slot in self._shared and len(m.values) == 1)
        return next((value for value in named if value.lower() not in QUANTIFIERS), None)

    def masked(self, reading: Reading) -> str:
        """The question with a placeholder for every value and for the reason given."""
        aliased = [Mention(self._alias.get(m.slot, m.slot), m.values, m.start, m.end) for m in (*reading.mentions, *reading.codes)]
        text = masked(reading.text, aliased)
        first = words_of(forms.without_politeness(text))[:1]
        acts = bool(first) and self._model.spelling.correct(first[0]) in self._acting
        return forms.reason_masked(text if acts else _LISTED.sub(r"\1", text), acts=acts)

    def _corrected(self, text: str, vocabulary: Vocabulary) -> str:
        """`text` with slips in ordinary words mended (`faild`); words of known values are left to the vocabulary."""
        correct = self._model.spelling.correct
        return re.sub(r"(?<![\w-])[a-z]{4,30}(?![\w-])", lambda m: m.group() if m.group() in vocabulary.words else correct(m.group()), text)


def _slot_like(code: str, vocabulary: Vocabulary) -> str:
    """The argument whose known values begin like this unknown code: `R-77` sounds like a run."""
    return next((slot for slot in sorted(vocabulary.values) if begins_like(code, vocabulary.values[slot])), "code")


def _patterns(tools: Collection[Tool]) -> list[tuple[str, re.Pattern[str]]]:
    """Arguments whose schema describes a code closely enough to find it in a text, also in lists."""
    found: dict[str, re.Pattern[str]] = {}
    for tool in tools:
        for slot, schema in tool.parameters.get("properties", {}).items():
            pattern = code_pattern(schema.get("items", {}) if schema.get("type") == "array" else schema)
            if pattern is not None:
                found[slot] = pattern
    return list(found.items())


def _heads(tools: Collection[Tool]) -> dict[str, frozenset[str]]:
    """The codes the examples give to each argument: what begins like one of them is taken for such a value unseen."""
    found: dict[str, set[str]] = {}
    for tool in tools:
        for example in tool.examples:
            for slot, value in example.arguments.items():
                found.setdefault(slot, set()).update(v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str))
    return {slot: frozenset(values) for slot, values in found.items()}
