"""What somebody looks for: words, phrases in quotes, and a last word that may be unfinished. Pure."""

import re
import threading
from dataclasses import dataclass
from functools import lru_cache

import snowballstemmer

from aliquot.chat.search.index import PREFIX_MAX, PREFIX_MIN, beginning, whole
from aliquot.chat.search.words import compose, unspaced, words

_LANGUAGES = ("english", "german", "french", "spanish", "italian", "portuguese", "dutch")
_STEMMED_CHARS = range(3, 41)
_QUOTES = str.maketrans("“”„«»‟＂", '"""""""')
_CHUNK = re.compile(r'"([^"]*)"?|([^\s"]+)')
_stemmers = [snowballstemmer.stemmer(language) for language in _LANGUAGES]
_stemming = threading.Lock()  # a stemmer keeps the word it works on


@dataclass(frozen=True, slots=True)
class Term:
    """Words that stand next to each other. `exact`: as quoted, otherwise other forms of a word count too. `open_end`: the last
    word may be the beginning of a longer one."""

    words: tuple[str, ...]
    exact: bool
    open_end: bool

    def parts(self) -> set[bytes]:
        """What a text that has this term has in the index; the text may have it and yet not have the term."""
        parts = {whole(word) for word in self.words if self.exact}
        if self.exact:
            return parts
        for n, word in enumerate(self.words):
            if len(word) >= PREFIX_MIN:
                parts.add(beginning(word, reach(word)))
            elif not self.may_go_on(n):
                parts.add(whole(word))
        return parts

    def may_go_on(self, n: int) -> bool:
        """True when the n-th word may be the beginning of a longer one: it has enough letters to be in the index as one, or it
        follows another word and the opened text can decide."""
        word = self.words[n]
        return self.open_end and n == len(self.words) - 1 and (len(word) >= PREFIX_MIN or (n > 0 and not unspaced(word)))


@dataclass(frozen=True, slots=True)
class Query:
    """Terms that must all be there."""

    terms: tuple[Term, ...]

    def parts(self) -> set[bytes]:
        return {part for term in self.terms for part in term.parts()}

    @property
    def words(self) -> int:
        return sum(len(term.words) for term in self.terms)


def parse(text: str) -> Query:
    """Never fails: what is no word is left out, a quote that is not closed ends with the text."""
    text = compose(text).translate(_QUOTES)
    unfinished = bool(text) and not text[-1].isspace() and text[-1] != '"'
    terms = []
    for chunk in _CHUNK.finditer(text):
        found = tuple(word for word in words(chunk.group()) if word)
        if found:
            quoted = chunk.group().startswith('"')
            terms.append(Term(found, quoted, unfinished and not quoted and chunk.end() == len(text)))
    return Query(tuple(dict.fromkeys(terms)))


@lru_cache(maxsize=4_096)
def stems(word: str) -> frozenset[tuple[int, str]]:
    """The stems of a folded word, each with its language."""
    if len(word) not in _STEMMED_CHARS or not word.isalpha():
        return frozenset()
    with _stemming:
        return frozenset((n, stemmer.stemWord(word)) for n, stemmer in enumerate(_stemmers))


@lru_cache(maxsize=4_096)
def reach(word: str) -> int:
    """How many first letters all other forms of `word` are looked up by."""
    shared = min((_shared(word, stem) for _, stem in stems(word)), default=len(word))
    # A stem that goes too far would make too much a candidate; other forms seldom differ by more than an ending of five letters.
    return min(PREFIX_MAX, len(word), max(PREFIX_MIN, shared, len(word) - 5))


def _shared(word: str, stem: str) -> int:
    length = next((n for n, (a, b) in enumerate(zip(word, stem, strict=False)) if a != b), min(len(word), len(stem)))
    return length - 1 if stem.endswith("i") else length  # `studi` stands for `study` as well


def same_word(sought: str, found: str) -> bool:
    """True when both are forms of one word in one of the languages."""
    return found[: reach(sought)] == sought[: reach(sought)] and not stems(sought).isdisjoint(stems(found))
