"""Words: normalising, tokens with their places, light stemming, edit distance. Pure and bounded."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

CHARS_MAX = 2_000
"""What is read of a question; a longer one is never routed anyway."""

_TOKEN = re.compile(r"[^\W\d_]+(?:'[a-z]{1,2})?|\d+(?:[.,]\d+)*", re.UNICODE)
_PIECE = re.compile(r"[^\W\d_]+|\d+", re.UNICODE)
_DASHES = str.maketrans(
    {"‐": "-", "‑": "-", "–": "-", "—": "-", "−": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"'}
)


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    start: int
    end: int


@lru_cache(maxsize=4_096)  # fitting asks for the same few values thousands of times
def normalise(text: str) -> str:
    """Lower case, compatibility forms, one kind of dash and quote, single spaces; at most CHARS_MAX characters."""
    folded = unicodedata.normalize("NFKC", text[:CHARS_MAX]).translate(_DASHES).lower()
    return re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in folded)).strip()


def tokens(text: str) -> list[Token]:
    return [Token(m.group(), m.start(), m.end()) for m in _TOKEN.finditer(text)]


def words_of(text: str) -> list[str]:
    return _TOKEN.findall(text)


def pieces(text: str) -> list[Token]:
    """Runs of letters and runs of digits (leading zeros dropped): `PCR-02`, `pcr 2` and `PCR02` have the same pieces."""
    return [Token(m.group().lstrip("0") or "0" if m.group()[0].isdigit() else m.group(), m.start(), m.end()) for m in _PIECE.finditer(text)]


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """A crude English stem: enough to make `runs`, `running` and `run` one."""
    if len(word) <= 3 or not word.isascii():
        return word
    for suffix, least in (("ings", 4), ("ing", 4), ("ies", 3), ("ed", 4), ("es", 4), ("s", 3)):
        if word.endswith(suffix) and len(word) - len(suffix) >= least - 1 and not word.endswith("ss"):
            base = word[: -len(suffix)]
            if suffix == "ies":
                return base + "y"
            return base[:-1] if len(base) > 3 and base[-1] == base[-2] and base[-1] not in "ls" else base
    return word


def distance(a: str, b: str, most: int) -> int:
    """Edits (with swaps of neighbours) from `a` to `b`; `most + 1` when there are more than `most`."""
    if abs(len(a) - len(b)) > most:
        return most + 1
    before, previous = [0] * (len(b) + 1), list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        before, previous = previous, row
    return previous[-1]


def _letters(word: str) -> int:
    """The set of a word's letters (some share a place): an edit adds at most one and takes away at most one."""
    found = 0
    for letter in word:
        found |= 1 << (ord(letter) & 63)
    return found


class Spelling:
    """Corrects words to a known vocabulary: one edit from five letters, two from nine; first letters agree or are swapped."""

    def __init__(self, known: frozenset[str]) -> None:
        self.known = known
        self._by_length: dict[int, list[tuple[str, int]]] = {}
        for word in sorted(known):
            if len(word) >= 4:
                self._by_length.setdefault(len(word), []).append((word, _letters(word)))
        self._memory: dict[str, str] = {}

    def correct(self, word: str) -> str:
        """The known word meant, or `word` itself when none or several come near."""
        if len(word) < 4 or len(word) > 30 or word in self.known or not word.isalpha():
            return word
        if word not in self._memory:
            if len(self._memory) > 10_000:
                self._memory.clear()
            self._memory[word] = self._nearest(word)
        return self._memory[word]

    def _nearest(self, word: str) -> str:
        most, letters = 2 if len(word) >= 9 else 1, _letters(word)
        found: list[tuple[int, str]] = []
        for length in range(len(word) - most, len(word) + most + 1):
            for known, others in self._by_length.get(length, ()):
                if (known[0] != word[0] and known[:2] != word[1::-1]) or (letters ^ others).bit_count() > 2 * most:
                    continue
                if len(known) < 5 and len(word) < 5:  # four letters on both sides: too many real words are one edit apart
                    continue
                if (edits := distance(word, known, most)) <= most:
                    found.append((edits, known))
        if not found:
            return word
        least = min(found)[0]
        nearest = {stem(known) for edits, known in found if edits == least}
        return min(known for edits, known in found if edits == least) if len(nearest) == 1 else word
