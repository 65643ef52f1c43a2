"""Words of a text, folded so that case, accents and compatibility forms do not matter. Pure; any language.

Scripts written without spaces give one word per character: what was typed together is then a phrase.
"""

import re
import unicodedata
from functools import lru_cache

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_MARKS = (  # combining marks, which `\w` leaves out: within a word they belong to it
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0903\u093a-\u094f\u0981-\u0983"
    "\u09bc-\u09cd\u0a01-\u0a03\u0a3c-\u0a4d\u0a81-\u0a83\u0abc-\u0acd\u0b82\u0bbe-\u0bcd\u0c00-\u0c04\u0c3e-\u0c4d\u0d3e-\u0d4d"
)
_WORD = re.compile(rf"[^\W_{_UNSPACED}](?:[^\W_{_UNSPACED}]|[{_MARKS}]){{0,199}}|[{_UNSPACED}]")
# Letters that Unicode does not take apart, and how people type them.
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h", "ŋ": "n"})
_ALONE = re.compile(f"[{_UNSPACED}]")


def compose(text: str) -> str:
    """The text with accents composed (NFC), with plain spaces for line ends and tabs: offsets of words count in it."""
    return _normal(text).translate(_SPACES)


def _normal(text: str) -> str:
    """NFC, in pieces: marks piled on one letter are sorted in quadratic time, and a message can be nothing else. A letter and its mark
    on both sides of a cut stay apart, which folding makes up for."""
    if text.isascii():
        return text
    return "".join(unicodedata.normalize("NFC", text[at : at + _PIECE_CHARS]) for at in range(0, len(text), _PIECE_CHARS))


_PIECE_CHARS = 256
_SPACES = {ord(c): " " for c in "\n\r\t\v\f\u2028\u2029\x85"}


@lru_cache(maxsize=16_384)
def _fold(word: str) -> str:
    plain = unicodedata.normalize("NFKD", word).casefold().translate(_LETTERS)
    return "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))


def fold(word: str) -> str:
    """`word` without case and accents; of compatibility forms the plain one. May be empty."""
    return word.lower() if word.isascii() else _fold(word)


def unspaced(word: str) -> bool:
    """True for a word that is one character of a script written without spaces."""
    return _ALONE.match(word) is not None


def words(text: str) -> list[str]:
    """The folded words of a composed text in order. One that folds to nothing is empty, so that `places` goes with them."""
    if text.isascii():
        return _WORD.findall(text.lower())
    return [fold(word) for word in _WORD.findall(text)]


def places(text: str) -> list[tuple[int, int]]:
    """Where the words of a composed text stand: first character, and the one after the last."""
    return [m.span() for m in _WORD.finditer(text)]


def vocabulary(text: str, most: int) -> set[str]:
    """The different folded words of any text, at most `most` of them (the first ones)."""
    found: dict[str, None] = dict.fromkeys(_WORD.findall(_normal(text)))
    if len(found) > most:
        found = dict.fromkeys(list(found)[:most])
    return {folded for word in found if (folded := fold(word))}
