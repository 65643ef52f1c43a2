"""Messages that ask for more than one thing: where they may be cut, and what `it` in a later part stands for."""

import re

from aliquot.routing import forms, lexicon
from aliquot.routing.followup import pronoun
from aliquot.routing.text import words_of

PARTS_MAX = 3
_QUESTION_WORDS = "who what when where which why how is are was were do does did can could may should has have will would"
_ASKING = frozenset(_QUESTION_WORDS.split())
_WISHES = frozenset({"start", "stop", "show", "remove", "change", "make", "send", "buy", "plan", "pause", "service", "explain", "compute"})
_CUT = re.compile(
    r"\s*(?:[?.;!]\s+(?:and |then |also )*|,\s+(?:and |then |also )+"
    r"|,?\s+(?:and then|and also|and|then|plus)\s+(?:then |also |please )*)"
)
_CUT_KEPT = re.compile(
    r"(\s*(?:[?.;!]\s+(?:and |then |also |afterwards |after that,? |finally )*"
    r"|,?\s+(?:and then|and also|and afterwards|and|then|afterwards|plus)\s+(?:then |also |please )*"
    r"|,\s+(?:and |then |also |afterwards )*))"
)
_REASON = re.compile(r"\b(?:because|due to|since|reason)\b|[:,]", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:^|\s+)(?:\d{1,2}[.)]|(?:first|second|third|finally|step \w+)[:,]?)\s+(?=[a-zA-Z])")


def cut(text: str) -> list[str]:
    """The parts of `text`, each of at least two words; empty when it is one wish."""
    parts = [part.strip(" ,;") for part in _CUT.split(text.strip(" ?.!"))]
    long_enough = all(len(part.split()) >= 2 for part in parts)
    return parts if 2 <= len(parts) <= PARTS_MAX and long_enough else []


def steps(text: str) -> list[str]:
    """The wishes of `text` in their order, whole: what is no wish of its own (`…, S-0002`) stays with the one before it."""
    pieces = _CUT_KEPT.split(_NUMBERED.sub("; ", text.strip(" ?.!")).strip(" ;"))
    found = [pieces[0]]
    for joint, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        if is_wish(piece):
            found.append(piece)
        else:
            found[-1] += joint + piece
    return [part.strip(" ,;.") for part in found if part.strip(" ,;.")]


def is_wish(part: str) -> bool:
    """Begins like a question or a request, not like more of the one before."""
    words = words_of(forms.without_politeness(part.lower()))
    return bool(words) and (words[0] in _ASKING or lexicon.class_of(words[0]) in _WISHES)


def with_names(part: str, name: str) -> str:
    """`part` with its first pronoun replaced by what the part before named."""
    place = pronoun(part)
    if place is None:
        return re.sub(r"\bthere\b", f"on {name}", part, count=1)
    possessive = place.group() == "its"
    return f"{part[: place.start()]}{name}{' ' if possessive else ''}{part[place.end() :]}"


def with_names_before_reason(part: str, name: str) -> str:
    """The same, but for a reason given in it: `abort D-0001 because it leaks` says nothing about `name`."""
    mark = _REASON.search(part)
    return with_names(part, name) if mark is None else with_names(part[: mark.start()], name) + part[mark.start() :]
