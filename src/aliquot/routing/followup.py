"""Questions that lean on the one before: `and the other one?`, `what about SEQ-01?`, `and failed ones?`, `is it running?`"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aliquot.routing import lexicon
from aliquot.routing.contracts import PriorCall
from aliquot.routing.extraction import CANDIDATES_MAX, EARLIER, Extracted, Reading, codes_first, extract
from aliquot.routing.vocabulary import Vocabulary, are_listed, key_of
from aliquot.tools.contracts import Tool

PROBABILITY = 0.92
"""Of a plain follow-up. Too rare in the declared examples to be fitted; measured in `evals/routing.py`."""
WORDS_MAX = 9

_CUE = re.compile(
    r"^(?:(?:ok(?:ay)?|so|and|also|but|or|now|then|yes|no|please|thanks)\b[\s,]*)*"
    r"(?:(?:what|how) (?:about|of|is it with)|(?:the )?same (?:for|with|on|question for)|what's with|and|or|also|now|only|just)\b"
    r"[\s,:]*"
)
_OTHER = re.compile(r"\b(?:the |that )?(?:other|others|remaining|second|next) [a-z]+\b|\bthe (?:other|others)\b")
_PRONOUN = re.compile(
    r"\b(?:it|its|it's|that one|this one|that (?:instrument|machine|device)|this (?:instrument|machine|device)|on there|that thing)\b"
)


_BEFORE = re.compile(
    r"\b(?:the )?(?:one|run|job) before(?: (?:that|this|it))?(?: one)?\b|\bthe (?:previous|preceding|prior) (?:one|run|job)\b"
    r"|\bbefore (?:that|this|it)\b"
)


@dataclass(slots=True)
class FollowUp:
    """The call before with what this question replaces."""

    tool: str
    arguments: dict[str, Any]
    missing: tuple[str, ...] = ()
    candidates: dict[str, list[str]] = field(default_factory=dict)
    certainty: float = 1.0


def pronoun(text: str) -> re.Match[str] | None:
    """The first word that stands for a thing named before."""
    return _PRONOUN.search(text)


def is_cued(text: str) -> bool:
    """Begins like a question that continues the one before."""
    return _CUE.match(text) is not None


def resolve(reading: Reading, prior: PriorCall, tool: Tool, vocabulary: Vocabulary) -> FollowUp | None:
    """The follow-up of `prior`, or None when this is a question of its own. Never for a tool that acts."""
    words = reading.words
    if tool.effect != "read" or len(words) > WORDS_MAX:
        return None
    if (place := _BEFORE.search(reading.text)) is not None:
        return _the_one_before(reading, prior, tool) if not _left(reading, reading.text.replace(place.group(), " ")) else None
    cue = _CUE.match(reading.text)
    other = _OTHER.search(reading.text)
    bare = not _left(reading, reading.text)
    if cue is None and not other and not (bare and reading.mentions and reading.text.endswith("?")):
        return None
    rest = reading.text[cue.end() :] if cue else reading.text
    if other:
        return _the_other(reading, prior, vocabulary) if not _left(reading, _OTHER.sub(" ", rest)) else None
    found = extract(tool, reading, vocabulary, {})
    changed = {slot: value for slot, value in found.arguments.items() if prior.arguments.get(slot) != value}
    several = [slot for slot in found.missing if are_listed(reading.of(slot), reading.text)]
    asked = [slot for slot in found.missing if (slot in found.candidates and slot not in prior.arguments) or reading.codes] + several
    if _left(reading, rest, found) or not (changed or asked or found.arguments):
        return None
    arguments = prior.arguments | found.arguments
    open_ = [slot for slot in found.missing if slot not in arguments or _ambiguous(found, slot, vocabulary) or reading.codes]
    missing = tuple(dict.fromkeys([*open_, *several]))
    return FollowUp(prior.tool, arguments, missing, {slot: found.candidates[slot] for slot in missing}, found.certainty)


def keep_place(found: Extracted, prior: PriorCall, tool: Tool) -> None:
    """`who started it?` after `and the one before?`: what `it` stands for is counted from the same thing."""
    if EARLIER in prior.arguments and EARLIER in tool.parameters["properties"]:
        found.arguments.setdefault(EARLIER, prior.arguments[EARLIER])
    elif prior.arguments.get(EARLIER):
        found.doubt("`it` is not what was named", 0.0)


def _the_one_before(reading: Reading, prior: PriorCall, tool: Tool) -> FollowUp | None:
    """One step further back, for a tool that counts so."""
    if EARLIER not in tool.parameters["properties"] or reading.mentions or reading.codes:
        return None
    return FollowUp(prior.tool, prior.arguments | {EARLIER: int(prior.arguments.get(EARLIER, 0)) + 1})


def _ambiguous(found: Extracted, slot: str, vocabulary: Vocabulary) -> bool:
    return 1 < len(found.candidates.get(slot, ())) < len(codes_first(vocabulary.values.get(slot, ())))


def _left(reading: Reading, rest: str, found: Extracted | None = None) -> list[str]:
    """Words that ask for something beyond the values: then it is no plain follow-up."""
    offset = len(reading.text) - len(rest) if reading.text.endswith(rest) else None
    left = []
    for match in re.finditer(r"[^\W\d_]+(?:'[a-z]+)?", rest):
        word = match.group()
        if offset is not None and reading.taken(match.start() + offset, match.end() + offset):
            continue
        if word in lexicon.FUNCTION_WORDS or word in lexicon.NUMBERS or word in {"last", "latest", "recent", "most", "top", "runs", "run"}:
            continue
        if found is not None and (_is_value(word, found.arguments) or _in_period(found, match, offset)):
            continue
        left.append(word)
    return left


def _in_period(found: Extracted, match: re.Match[str], offset: int | None) -> bool:
    return found.period is not None and offset is not None and found.period[0] <= match.start() + offset < found.period[1]


def _is_value(word: str, arguments: Mapping[str, Any]) -> bool:
    for value in arguments.values():
        if isinstance(value, str) and (word in value.lower() or word in " ".join(lexicon.STATE_WORDS.get(value, ()))):
            return True
    return False


def _the_other(reading: Reading, prior: PriorCall, vocabulary: Vocabulary) -> FollowUp | None:
    """The one remaining thing of the same kind (same letters before the number); asks back when there are several."""
    for slot, value in prior.arguments.items():
        known = [v for v in vocabulary.values.get(slot, ()) if any(c.isdigit() for c in v)]
        if not isinstance(value, str) or not known:
            continue
        kind = re.match(r"[a-z]*", value.lower())
        same = [v for v in known if kind and kind.group() and re.match(r"[a-z]*", v.lower()).group() == kind.group()]  # type: ignore[union-attr]  # the pattern always matches
        rest = [v for v in same if key_of(v) != key_of(value)] or [v for v in known if key_of(v) != key_of(value)]
        if len(rest) == 1:
            return FollowUp(prior.tool, prior.arguments | {slot: rest[0]})
        if rest:
            return FollowUp(prior.tool, dict(prior.arguments), (slot,), {slot: rest[:CANDIDATES_MAX]})
    return None
