"""Replies to what was asked back: `PCR-STD-35`, `the second one`, a reason in somebody's words, `never mind`."""

import re
from collections.abc import Sequence
from typing import Any

from aliquot.routing import forms, lexicon
from aliquot.routing.contracts import Route
from aliquot.routing.extraction import Extracted, Reading, plain_reason
from aliquot.routing.text import words_of

REASON_NAMES = frozenset({"reason", "justification", "comment", "note", "why"})
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_ORDINAL = {word: n for n, word in enumerate(_ORDINALS.split())}
_CHOICE = re.compile(
    rf"(?:the |number |no\.? ?|nr\.? ?|#|option )*(?P<n>\d{{1,2}}|{'|'.join(_ORDINAL)}|last)(?:\.|\)| one)?(?:,? please)?[.!]?"
)
_WITHDRAWN = re.compile(
    r"(?:please |ok(?:ay)?,? |no,? |oh,? )*"
    r"(?:no(?:pe)?(?: thanks?| thank you)?|never ?mind|forget (?:it|that|about it)|cancel(?: it| that)?|abort|leave it|not now|nothing"
    r"|don't(?: do (?:it|that)| bother)?|do not(?: do (?:it|that))?|stop(?: it| that)?|none(?: of (?:them|these))?)"
    r"(?:,? (?:thanks?|thank you|please|don't|do not|sorry))*[.!]*"
)
_YES = re.compile(r"(?:yes|yep|yeah|sure|ok|okay|correct|right|exactly|that one|that's it|of course)(?:,? please)?[.!]*")
_FILLING = frozenset(
    [
        "one",
        "ones",
        "mean",
        "meant",
        "take",
        "use",
        "using",
        "choose",
        "pick",
        "want",
        "need",
        "make",
        "sure",
        "it's",
        "that's",
        "on",
        "for",
        "sorry",
        "think",
        "say",
        "said",
    ]
)
_QUESTION = re.compile(
    r"(?:who|what|when|where|which|why|how|is|are|was|were|do|does|did|can|could|may|should|will|would|has|have|show|list)\b"
)
_REASON_WORDS_MAX = 40


def withdraws(text: str) -> bool:
    """Takes the request back."""
    return _WITHDRAWN.fullmatch(text) is not None


def choice(text: str, candidates: Sequence[str]) -> str | None:
    """The candidate chosen by its place in the list."""
    match = _CHOICE.fullmatch(text)
    if match is None or not candidates:
        return None
    word = match.group("n")
    at = len(candidates) - 1 if word == "last" else _ORDINAL.get(word, int(word) - 1 if word.isdigit() else -1)
    return candidates[at] if 0 <= at < len(candidates) else None


def _chosen(text: str, pending: Route, slot: str) -> str | None:
    return choice(text, pending.explanation.get("candidates", {}).get(slot, ())) or _affirmed(text, pending, slot)


def _affirmed(text: str, pending: Route, slot: str) -> str | None:
    """`yes` to `did you mean PCR-02?`"""
    offered = pending.explanation.get("near") or pending.explanation.get("candidates", {}).get(slot, ())
    return offered[0] if len(offered) == 1 and _YES.fullmatch(text) else None


def only_fills(reading: Reading) -> bool:
    """Says nothing beyond the values it names: `with PCR-STD-35 please`."""
    rest = [word for word in _unclaimed(reading) if word not in lexicon.FUNCTION_WORDS and word not in _FILLING]
    return all(lexicon.class_of(word) in {"runs", "machine", "protocol"} for word in rest)


def _unclaimed(reading: Reading) -> list[str]:
    text = reading.text
    for mention in (*reading.mentions, *reading.codes):
        text = text[: mention.start] + " " * (mention.end - mention.start) + text[mention.end :]
    return words_of(text)


def reason(reading: Reading) -> str | None:
    """The message as a reason: in the person's own spelling; None when it asks something, or reads like no reason at all."""
    text = reading.text
    if "?" in text or _QUESTION.match(text) or forms.looks_injected(text) or not 1 <= len(reading.words) <= _REASON_WORDS_MAX:
        return None
    if (reading.mentions or reading.codes) and only_fills(reading):
        return None
    said = plain_reason(" ".join(reading.raw.split()))
    return said if sum(character.isalpha() for character in said) >= 3 else None


def filled(pending: Route, found: Extracted, reading: Reading) -> dict[str, Any] | None:
    """What the reply gives for what `pending` misses, by name; None when it gives nothing of it."""
    given: dict[str, Any] = {}
    for slot in pending.missing:
        first = slot == pending.missing[0]  # the one that was asked for
        chosen = _chosen(reading.text, pending, slot) if first else None
        if chosen is not None:
            given[slot] = chosen
        elif slot in REASON_NAMES:
            if not given and (said := reason(reading)) is not None and (len(pending.missing) == 1 or not reading.mentions):
                given[slot] = said
        elif slot in found.arguments:
            given[slot] = found.arguments[slot]
    if not given:
        return None
    if only_fills(reading):
        given = {**{k: v for k, v in found.arguments.items() if k not in pending.arguments and k not in REASON_NAMES}, **given}
    return given
