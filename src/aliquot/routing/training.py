"""Training rows: the tools' declared examples with their values masked, our variations of them, and what is out of scope.

Deterministic: the same tools give the same rows.
"""

import random
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aliquot.routing import forms, gates, lexicon, out_of_scope
from aliquot.routing.text import normalise, words_of
from aliquot.routing.vocabulary import Mention, masked, unknown_codes
from aliquot.tools.contracts import Tool

NONE = "none"
VARIATIONS = 1
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Row:
    """A masked question, its class (a tool's name or NONE), and the number it shares with its variations."""

    text: str
    label: str
    group: int
    weight: float = 1.0


def aliases(tools: Sequence[Tool]) -> dict[str, str]:
    """Argument names that hold the same kind of value, by the values the examples share (`query` and `protocol`): name → one for all."""
    kinds: list[set[str]] = []
    holders: dict[str, set[str]] = {}
    for example in (example for tool in tools for example in tool.examples):
        for slot, item in _items(example.arguments):
            if _is_code(item):
                holders.setdefault(item, set()).add(slot)
    for slots in holders.values():
        joined = slots.union(*(kind for kind in kinds if kind & slots))
        kinds = [kind for kind in kinds if not kind & slots] + [joined]
    return {slot: min(kind) for kind in kinds for slot in kind}


def shared_slots(tools: Sequence[Tool]) -> frozenset[str]:
    """Arguments several tools have: their plain words (`centrifuge`) are names of things, not free text."""
    names = [name for tool in tools for name in tool.parameters.get("properties", {})]
    return frozenset(name for name in names if names.count(name) > 1)


class Masking:
    """How an example's values become placeholders: those of its arguments, and codes that other examples tell the kind of."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self.alias, self._shared = aliases(tools), shared_slots(tools)
        self._acting = acting_verbs(tools)
        self._kinds: dict[str, str] = {}
        for example in (example for tool in tools for example in tool.examples):
            for slot, item in _items(example.arguments):
                if _is_code(item):
                    self._kinds.setdefault(item, self.alias.get(slot, slot))

    def example(self, text: str, arguments: dict[str, Any]) -> str:
        """The example with placeholders for what it names and for the reason it gives."""
        plain = normalise(text)
        named = {item: self.alias.get(slot, slot) for slot, item in _items(arguments) if self._names(slot, item)}
        mentions: list[Mention] = []
        for item, slot in (self._kinds | named).items():
            mentions += [Mention(slot, (item,), m.start(), m.end()) for m in _alone(item).finditer(plain)]
        mentions = _longest(mentions)
        return self.reason(masked(plain, mentions + unknown_codes(plain, mentions)))

    def reason(self, text: str) -> str:
        """`text` with the reason it gives replaced."""
        first = words_of(forms.without_politeness(text))[:1]
        return forms.reason_masked(text, acts=bool(first) and first[0] in self._acting)

    def _names(self, slot: str, item: str) -> bool:
        return len(item) > 1 and (_is_code(item) or (slot in self._shared and item not in lexicon.FUNCTION_WORDS))


def acting_verbs(tools: Iterable[Tool]) -> frozenset[str]:
    """Verbs a request to act begins with."""
    return frozenset(verb for tool in tools if tool.effect != "read" for verb in gates.verbs_of(tool)) - {"do"}


def _items(arguments: dict[str, Any]) -> list[tuple[str, str]]:
    """Every text among the arguments with its name; lists one by one."""
    pairs = [(slot, item) for slot, value in arguments.items() for item in (value if isinstance(value, list) else [value])]
    return [(slot, item) for slot, item in pairs if isinstance(item, str)]


def _is_code(item: str) -> bool:
    """A reason in somebody's words is no value to be looked up: it stays text."""
    return " " not in item and any(c.isdigit() or c.isupper() for c in item)


def _longest(mentions: Iterable[Mention]) -> list[Mention]:
    kept: list[Mention] = []
    for mention in sorted(mentions, key=lambda m: m.start - m.end):
        if not any(mention.start < other.end and other.start < mention.end for other in kept):
            kept.append(mention)
    return kept


@lru_cache(maxsize=1_024)
def _alone(item: str) -> re.Pattern[str]:
    """`item` as a word of its own."""
    return re.compile(rf"(?<![\w-]){re.escape(normalise(item))}(?![\w-])")


def rows(tools: Sequence[Tool]) -> list[Row]:
    result: list[Row] = []
    group = 0
    mask = Masking(tools)
    alias = mask.alias
    for tool in tools:
        texts = [mask.example(example.text, example.arguments) for example in tool.examples]
        for text in dict.fromkeys(texts):
            result += [Row(variation, tool.name, group) for variation in variations(text)]
            if tool.effect != "read":
                result += [Row(negative, NONE, group) for negative in _negatives(text)]
            group += 1
        for text in _described(tool):
            result.append(Row(text, tool.name, group, 0.5))
            group += 1
    known = {row.text.rstrip("?") for row in result}
    instead = _most_named(result)
    slots = {alias.get(slot, slot) for tool in tools for slot in tool.parameters.get("properties", {})}
    for question in out_of_scope.questions():
        text = re.sub(r"\{(\w+)\}", lambda m: f"z{m.group(1)}" if m.group(1) in slots else instead, question)
        text = mask.reason(text)
        if text in known:
            continue
        result += [Row(variation, NONE, group) for variation in variations(text, 0)]
        group += 1
    return result


def _most_named(rows: Sequence[Row]) -> str:
    """The placeholder the examples name most often: what is out of scope for instruments is so for what is here instead of them."""
    counts = Counter(word for row in rows for word in words_of(row.text) if word.startswith("z"))
    return max(counts, key=lambda word: (counts[word], word), default="zcode")


def _described(tool: Tool) -> list[str]:
    """What a tool says of itself: its name as words and its sentences; all there is for a tool without examples."""
    sentences = [normalise(sentence) for sentence in re.split(r"(?<=[.;:])\s", tool.description)][:4]
    return [tool.name.replace("_", " "), *(masked(s, unknown_codes(s, ())) for s in sentences if len(s) > 10)]


def _negatives(text: str) -> list[str]:
    """What looks like the wish for an action and is none."""
    wish = forms.without_politeness(text)
    return [
        f"how do i {wish}",
        f"what happens if i {wish}",
        f"do not {wish}",
        f"should i {wish}",
        f"who may {wish}",
        f"{wish} if it is free",
    ][:4]


@lru_cache(maxsize=4_096)
def variations(text: str, count: int = VARIATIONS) -> Sequence[str]:
    """`text` and up to `count` ways of writing it differently: other words for the same, left-out articles, a slip of the keyboard."""
    chance = random.Random(zlib.crc32(text.encode()))  # noqa: S311 - variety, not secrecy
    result = [text]
    for n in range(count):
        other = _reworded(text.rstrip("?.!"), chance)
        words = other.split()
        if n % 3 == 1:
            words = [word for word in words if word not in {"the", "a", "an", "of"}] or words
        if n % 4 == 3:
            words = _slip(words, chance)
        result.append(" ".join(words))
    return list(dict.fromkeys(result))


_EXCHANGEABLE = [(phrase, re.compile(rf"(?<!\w){re.escape(phrase)}(?!\w)"), group) for group in lexicon.EXCHANGEABLE for phrase in group]


def _reworded(text: str, chance: random.Random) -> str:
    """`text` with one word or phrase exchanged for another of its group."""
    places = [
        (match.span(), group) for phrase, alone, group in _EXCHANGEABLE if phrase in text and (match := alone.search(text)) is not None
    ]
    if not places:
        return text
    (start, end), group = chance.choice(sorted(places))
    return text[:start] + chance.choice(group) + text[end:]


def _slip(words: list[str], chance: random.Random) -> list[str]:
    long = [n for n, word in enumerate(words) if len(word) >= 5 and word.isalpha() and not word.startswith("z")]
    if not long:
        return words
    n = chance.choice(long)
    word, at = words[n], chance.randrange(1, len(words[n]) - 1)
    slips = (
        word[:at] + word[at + 1 :],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + chance.choice(_LETTERS) + word[at + 1 :],
    )
    return [*words[:n], chance.choice(slips), *words[n + 1 :]]
