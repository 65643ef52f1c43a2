"""Mentions: where a question names a known value (`pcr 2` for PCR-02), something of a code's shape, a number, a quotation."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from aliquot.routing.lexicon import CLASSES, FUNCTION_WORDS
from aliquot.routing.text import Token, distance, pieces

_CODE_SHAPE = re.compile(
    r"(?<![\w-])(?=[\w-]*[a-z])(?=[\w-]*\d)[a-z]{1,12}(?:-[a-z0-9]{1,12})*-?\d{1,8}[a-z]?(?:-[a-z0-9]{1,12})*(?![\w-])"
)
_QUOTED = re.compile(r'"([^"]{1,500})"|(?<!\w)\'([^\']{2,500})\'(?!\w)')
_PIECES_MAX = 10
_ORDINARY = frozenset().union(*CLASSES.values()) | FUNCTION_WORDS


@dataclass(frozen=True, slots=True)
class Mention:
    """`values` are what `slot` may be meant (several when the words fit several); empty for a code nobody knows."""

    slot: str
    values: tuple[str, ...]
    start: int
    end: int
    fuzzy: bool = False
    carried: bool = False
    """A pronoun that stands for a value of an earlier question."""
    guessed: bool = False
    """Only of such a value's shape: not known, and beginning like no example's (`FOO-99` where samples are `S-0001`)."""
    listed: bool = False
    """Of a code nobody knows: it stands beside a known value of `slot`."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Known values per argument name, by their pieces."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    index: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """Joined pieces → (slot, value)."""
    words: frozenset[str] = frozenset()
    """Every run of letters in them."""

    @classmethod
    def of(cls, values: Mapping[str, Iterable[str]]) -> "Vocabulary":
        kept = {slot: tuple(dict.fromkeys(known)) for slot, known in values.items()}
        index: dict[str, list[tuple[str, str]]] = {}
        for slot, known in kept.items():
            for value in known:
                if (key := key_of(value)) and key not in FUNCTION_WORDS:  # `all` is a value, but not a mention
                    index.setdefault(key, []).append((slot, value))
        words = frozenset(piece.text for known in kept.values() for value in known for piece in pieces(value.lower()))
        return cls(values=kept, index={key: tuple(entries) for key, entries in index.items()}, words=words)

    def mentions(self, text: str, ordinary: frozenset[str] = frozenset()) -> list[Mention]:
        """Known values in `text` (normalised), longest first, not overlapping, in their order. `ordinary` words are not misspelt names."""
        found: list[Mention] = []
        parts = pieces(text)
        for size in range(min(_PIECES_MAX, len(parts)), 0, -1):
            for at in range(len(parts) - size + 1):
                window = parts[at : at + size]
                if _free(window, found) and _together(text, window):
                    found.extend(self._known(window, size))
        found.extend(self._misspelt(text, found, ordinary))
        return sorted(found, key=lambda mention: (mention.start, mention.slot))

    def _known(self, window: list[Token], size: int) -> list[Mention]:
        key = "".join(piece.text for piece in window)
        entries = self.index.get(key) or (self.index.get(key[:-1]) if key.endswith("s") and len(key) > 4 else None)
        if entries is None or (size == 1 and len(key) < 2):
            return []
        return _by_slot(entries, window[0].start, window[-1].end, fuzzy=False)

    def _misspelt(self, text: str, found: list[Mention], ordinary: frozenset[str]) -> list[Mention]:
        """One wrong letter in a name of five or more, or in the letters of a code; digits are never guessed."""
        parts = [piece for piece in pieces(text) if _free([piece], found)]
        result: list[Mention] = []
        for n, part in enumerate(parts):
            follower = parts[n + 1] if n + 1 < len(parts) and parts[n + 1].start - part.end <= 1 else None
            code = follower is not None and follower.text.isdigit() and not part.text.isdigit()
            word = part.text + follower.text if code and follower is not None else part.text
            if word in _ORDINARY or word in ordinary or word.isdigit() or len(word) < (5 if not code else 4):
                continue
            near = {key: entries for key, entries in self.index.items() if abs(len(key) - len(word)) <= 1 and _near(word, key)}
            if len({entry[1] for entries in near.values() for entry in entries}) == 1:
                end = follower.end if code and follower is not None else part.end
                result.extend(_by_slot(next(iter(near.values())), part.start, end, fuzzy=True))
        return result


def _near(word: str, key: str) -> bool:
    digits = re.sub(r"\D", "", word)
    return digits == re.sub(r"\D", "", key) and len(key) >= 4 and distance(word, key, 1) == 1


def _by_slot(entries: Iterable[tuple[str, str]], start: int, end: int, *, fuzzy: bool) -> list[Mention]:
    slots: dict[str, list[str]] = {}
    for slot, value in entries:
        slots.setdefault(slot, []).append(value)
    return [Mention(slot, tuple(values), start, end, fuzzy) for slot, values in slots.items()]


def _free(window: list[Token], found: list[Mention]) -> bool:
    return not any(window[0].start < mention.end and mention.start < window[-1].end for mention in found)


def _together(text: str, window: list[Token]) -> bool:
    """Nothing but one separator between the pieces, and the window is not cut out of a longer code."""
    between = all(re.fullmatch(r"[\s\-_./]{0,2}", text[a.end : b.start]) for a, b in pairwise(window))
    before, after = text[: window[0].start], text[window[-1].end :]
    return between and not re.search(r"\w$|[a-z0-9]-$", before) and not re.match(r"\w|-[a-z0-9]", after)


def key_of(value: str) -> str:
    return "".join(piece.text for piece in pieces(value.lower()))


def begins_like(code: str, values: Iterable[str]) -> bool:
    """The letters before the number are those of one of the codes among `values`."""
    head = re.match(r"[a-z]+", code.lower())
    return head is not None and any(re.match(rf"{head.group()}(?![a-z])", v.lower()) and any(c.isdigit() for c in v) for v in values)


_INTRODUCED = re.compile(r"\b(?:for|with|using|start|run|begin|protocol|method) (?:the |a )?(?:protocol |method )?$")
_PLACE = re.compile(r"\b(?:on|at|in|for|to|into) (?:the |our )?(?:instrument |machine |device )?$")


def stands_in_place(text: str, mention: Mention) -> bool:
    """`mention` stands where a run takes place: `on FOO-99`."""
    return _PLACE.search(text[: mention.start]) is not None


def is_meant_for(text: str, code: Mention, values: Iterable[str]) -> bool:
    """An unknown code where what is done is said (`free for FOO-99`), or of the very form of one of `values`; nothing else says that
    it was meant beside what is known: HPLC-01 is more likely an instrument than a protocol like HPLC-GRAD-10."""
    form = re.sub(r"\d+", "#", text[code.start : code.end])
    introduced = _INTRODUCED.search(text[: code.start]) is not None
    return (introduced or any(re.sub(r"\d+", "#", value.lower()) == form for value in values)) if not code.listed else True


def could_be(code: Mention, text: str, slot: str, known: Mapping[str, Sequence[str]]) -> bool:
    """Whether an unknown code may be a value of `slot`: it is listed with one, it begins like one, or nothing else could be meant."""
    if code.listed:
        return code.slot == slot
    head = re.match(r"[a-z]+", text[code.start : code.end])
    like = {name for name, values in known.items() if head is not None and any(v.lower().startswith(head.group()) for v in values)}
    return slot in like or not like


def codes_of(values: Iterable[str]) -> tuple[str, ...]:
    """Those of `values` that are printed codes."""
    return tuple(value for value in values if " " not in value and any(character.isdigit() for character in value))


def unknown_codes(text: str, found: Iterable[Mention]) -> list[Mention]:
    """Things of a code's shape that nothing known accounts for."""
    taken = list(found)
    return [
        Mention("code", (), match.start(), match.end())
        for match in _CODE_SHAPE.finditer(text)
        if not any(match.start() < mention.end and mention.start < match.end() for mention in taken)
    ]


JOINED = re.compile(r"[\s,]*(?:,|and|or|&|\+|/|as well as)[\s,]*(?:also |the |our |on |of |for )*")


def are_listed(mentions: Sequence[Mention], text: str) -> bool:
    """`PCR-02 and the centrifuge`: several things, each named once."""
    return len(mentions) > 1 and all(JOINED.fullmatch(text[a.end : b.start]) for a, b in pairwise(mentions))


def quotations(text: str) -> list[str]:
    return [match.group(1) or match.group(2) for match in _QUOTED.finditer(text)]


def masked(text: str, found: Iterable[Mention]) -> str:
    """`text` with every mention replaced by `zslot` (one slot per place, the first by name)."""
    result, at = [], 0
    for mention in sorted(found, key=lambda mention: (mention.start, mention.slot)):
        if mention.start < at:
            continue
        result += [text[at : mention.start], f" z{mention.slot.replace('_', '')} "]
        at = mention.end
    return re.sub(r"\s+", " ", "".join(result) + text[at:]).strip()
