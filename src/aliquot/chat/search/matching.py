"""Looking into opened texts: where the terms of a query stand, how well they fit, and which piece to show. Pure."""

import math
from bisect import bisect_left
from dataclasses import dataclass

from aliquot.chat.search.query import Query, Term, same_word
from aliquot.chat.search.words import compose, places, words

SNIPPET_CHARS = 200
_EXACT, _FORM, _BEGINNING = 1.0, 0.8, 0.6
_HIGHLIGHTS_MAX = 20
_HITS_MAX = 500
_TYPICAL_WORDS = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Characters `start` (from 0) to `end` (exclusive) of a snippet, counted in Unicode code points."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A piece of plain text around what was found. Never markup: what is to be emphasised is in `highlights`."""

    text: str
    highlights: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class _Hit:
    term: int
    start: int
    end: int
    fit: float


class Matcher:
    """One search. Remembers how well each word that it met fits, so that a common word is compared once."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._fits: dict[tuple[str, bool, bool], dict[str, float]] = {}

    def match(self, text: str) -> tuple[float, Snippet] | None:
        """The score (about 0.1 to 5 per term) and the snippet of a text in which every term stands; None for another text."""
        composed = compose(text)
        found = words(composed)
        different = set(found)
        hits: list[tuple[int, int, float]] = []  # number of the term, of its first word in the text, fit
        score = 0.0
        for n, term in enumerate(self._query.terms):
            here = self._occurrences(term, found, different)
            if not here:
                return None
            # Best fit counts; repetitions count ever less, and less in a long text (as in BM25).
            score += max(fit for _, fit in here) + math.log1p(len(here)) / (1 + len(found) / _TYPICAL_WORDS)
            hits += [(n, at, fit) for at, fit in here[:_HITS_MAX]]
        where = places(composed)
        spans = [_Hit(n, where[at][0], where[at + len(self._query.terms[n].words) - 1][1], fit) for n, at, fit in hits]
        return score, _snippet(composed, sorted(spans, key=lambda hit: hit.start))

    def _occurrences(self, term: Term, found: list[str], different: set[str]) -> list[tuple[int, float]]:
        """Where the term begins, as numbers of words, and how well it fits there."""
        fitting = [self._fitting(term, n, different) for n in range(len(term.words))]
        first, further = fitting[0], fitting[1:]
        if not all(fitting):
            return []
        begins = [(at, first[word]) for at, word in enumerate(found) if word in first]
        for n, fits in enumerate(further, 1):
            begins = [(at, min(fit, fits[found[at + n]])) for at, fit in begins if at + n < len(found) and found[at + n] in fits]
        return begins

    def _fitting(self, term: Term, number: int, different: set[str]) -> dict[str, float]:
        """Those of the text's words that fit one word of the term."""
        word, open_end = term.words[number], term.may_go_on(number)
        known = self._fits.setdefault((word, term.exact, open_end), {})
        for other in different - known.keys():
            known[other] = _fit(word, other, term.exact, open_end)
        return {other: fit for other in different if (fit := known[other])}


def _fit(sought: str, found: str, exact: bool, open_end: bool) -> float:
    if sought == found:
        return _EXACT
    if exact or not found:
        return 0.0
    if same_word(sought, found):
        return _FORM
    return _BEGINNING if open_end and found.startswith(sought) else 0.0


def _snippet(text: str, hits: list[_Hit]) -> Snippet:
    """The piece of SNIPPET_CHARS with the most different terms, then the best fits; cut between words."""
    starts = [hit.start for hit in hits]
    best = max(range(len(hits)), key=lambda n: (*_worth(hits[n : bisect_left(starts, starts[n] + SNIPPET_CHARS - 40)]), -n))
    start, end = _piece(text, hits[best])
    before, after = "… " if start > 0 else "", " …" if end < len(text) else ""
    inside = [hit for hit in hits if hit.start >= start and hit.end <= end][:_HIGHLIGHTS_MAX]
    shift = len(before) - start
    return Snippet(
        text=before + text[start:end] + after,
        highlights=tuple(Span(start=s + shift, end=e + shift) for s, e in _merged([(hit.start, hit.end) for hit in inside])),
    )


def _worth(window: list[_Hit]) -> tuple[int, float]:
    return len({hit.term for hit in window}), sum(hit.fit for hit in window[:_HIGHLIGHTS_MAX])


def _piece(text: str, hit: _Hit) -> tuple[int, int]:
    """Where to cut: some words before the hit, SNIPPET_CHARS in all, or what a long hit takes."""
    start = max(0, hit.start - 40)
    if start > 0:
        start = min(hit.start, 1 + (found if (found := text.find(" ", start, hit.start)) >= 0 else hit.start - 1))
    end = max(hit.end, min(len(text), start + SNIPPET_CHARS))
    if end < len(text):
        end = max(hit.end, text.rfind(" ", hit.end, end))
    return start, end


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
