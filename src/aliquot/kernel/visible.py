"""Text that is what it looks like: names that stand under signatures, addresses that people are known by, reasons that reviewers read.

What cannot be seen, or makes other text read differently, is found here; two scripts in one word are how one name is made to look like
another (Unicode TR 39, mixed-script confusables). A word wholly of another script is not found: it may be somebody's name.
"""

import re
import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Drawn as nothing though no category says so: joiners, fillers of Hangul and Khmer, variation selectors, the empty Braille cell.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U0001d173-\U0001d17a\U000e0100-\U000e01ef]"
)
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u206a-\u206f]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ALIKE = frozenset(
    {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "COPTIC", "CHEROKEE", "LISU", "MATHEMATICAL", "FULLWIDTH", "SMALL", "MODIFIER"}
)
_MARKS_MAX = 3


def seen_line(text: str) -> bool:
    """Whether one line of text (the name of a thing, a unit: scripts may be mixed, as in `μL`) holds nothing that cannot be seen."""
    return not any(unicodedata.category(char) in _HIDDEN for char in text) and not _INVISIBLE.search(text)


def plain_line(text: str) -> bool:
    """Whether one line of text (a name, an address) is what it looks like."""
    if not seen_line(text):
        return False
    marks, scripts = 0, set[str]()
    for char in unicodedata.normalize("NFD", text):
        kind = unicodedata.category(char)
        marks = marks + 1 if kind in ("Mn", "Me") else 0
        if marks > _MARKS_MAX:
            return False
        if kind[0] == "L":
            scripts.add(unicodedata.name(char, "").partition(" ")[0])
        elif kind[0] != "M":
            scripts.clear()
        if len(scripts & _ALIKE) > 1:
            return False
    return True


def plain_text(text: str) -> bool:
    """Whether text of several lines (a reason, a comment) holds nothing that commands a display or turns the direction of its neighbours.

    What single writing systems need (joiners) is left alone.
    """
    return not (_TURNING.search(text) or _CONTROL.search(text.replace("\r\n", "\n")))
