"""Which values of a call's arguments were not named: they stand nowhere in what was said and read before. Pure.

A language model may fill an argument with something that looks right (`S-0001`, because a description says so). What is looked for is
what identifies or counts: every number, and every text that is a code, a name or an address; of longer texts (a reason, a letter) the
codes, numbers and addresses in them. Not judged: choices from a tool's closed list and its defaults, yes and no, and moments, which are
worked out from words (`tomorrow at three`). Values are compared whole, never by their beginning: `S-0001` is not named by `S-00012`.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cached_property, lru_cache
from itertools import islice, pairwise
from typing import Any

_NAME_WORDS_MAX = 3
"""A text of so many words is a name; a longer one is prose."""
_SPELLED_CHARS_MAX = 200
_FOUND_MAX = 50
"""So many unnamed values are looked for: more say nothing more."""
_SAID_CHARS_MAX = 500_000
_LOOKS_MAX, _RANGES_MAX = 2000, 1000
"""Bounds on the time that texts made to be slow can cost; what is not found within them counts as not named."""

_BELOW_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
_SMALL = _BELOW_TWENTY.split()
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_IN_WORDS: dict[Decimal, str] = {
    **{Decimal(n): word for n, word in enumerate(_SMALL)},
    **{Decimal(20 + 10 * n): ten for n, ten in enumerate(_TENS)},
    **{Decimal(20 + 10 * n + unit): f"{ten}[- ]?{_SMALL[unit]}" for n, ten in enumerate(_TENS) for unit in range(1, 10)},
    Decimal(1): "(?:one|once)", Decimal(2): "(?:two|twice)", Decimal(100): "hundred", Decimal(1000): "thousand",
}  # fmt: skip
_LITTLE_WORDS = "a an and as at by due for from has in is it of on or the to too was with"
_GRAMMAR = frozenset(_LITTLE_WORDS.split())

_ATOM = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)*")
"""Letters, or a number with its point: `1.5` is not `15` written in another way."""
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:[t ]\d\d:\d\d.*)?|\d\d:\d\d(?::\d\d.*)?")
_MOMENTS = frozenset({"date", "date-time", "time"})
_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*)(?:\.\d+)?")
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"), "-")
_ADDRESS = re.compile(r"@|://")
_WRAPPING = ".,;:!?()[]{}<>\"'“”‘’`*"

_SEPARATOR, _SEPARATOR_CHARS = r"[ \t\-_./:@#+\\]", 3
_BEFORE = r"(?<![^\W_])(?<![^\W_][-_.@])"
_AFTER = r"(?![-_.@]?[^\W_])"
_GROUPING = ",'"
"""Between two digits it makes one number of them: `5 mL` is not named by `0,5 mL`."""
_COUNT = re.compile(r"\d(?<!\w.)(?<!\w[-_].)(?:\d*(?:[.,']\d+)+|\d{0,2}(?: \d{3})+(?!\d)|\d*)(?![^\W\d_]*\d)", re.DOTALL)
"""A number on its own, maybe with a unit: not the 35 of `PCR-STD-35`. The first digit comes first because that is quick to find."""
_RANGE = re.compile(
    rf"(\d{{1,18}}) ?(to|through|thru|until|till|\.{{2,3}}|-) ?((?:[^\W\d_]|{_SEPARATOR}|\d+(?=[^\W_])){{0,40}}?)(\d{{1,18}}){_AFTER}"
)
_HEAD_CHARS = 80


def plain(text: str) -> str:
    """As texts are compared: compatible characters, letters of one case, one kind of dash."""
    folded = text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_DASHES)
    return folded.casefold()


class Said:
    """What people said and what was read, to be asked what it names."""

    def __init__(self, texts: Iterable[str]) -> None:
        """`texts` with what matters most first: of too many, the last ones are not looked at."""
        room, self._texts = _SAID_CHARS_MAX, list[str]()
        for text in filter(None, texts):
            self._texts.append(plain(text[:room]))
            room -= len(text)
            if room <= 0:
                break

    def names(self, value: str | float) -> bool:
        """Whether this very value stands there: in another case, with other dashes or spaces, a number written in another way or in
        words, or inside a range (`S-0001 to S-0004`)."""
        if not isinstance(value, str):
            return self._counts(_decimal(value))
        sought = plain(value).strip()
        if not sought or any(_stands(sought, text) for text in self._texts):
            return True
        if len(sought) > _SPELLED_CHARS_MAX:
            return False
        if _NUMBER.fullmatch(sought) and self._counts(Decimal(sought)):
            return True
        atoms = tuple(_ATOM.findall(sought))
        return any(_spelled(atoms, text) for text in self._texts if atoms) or self._spans(atoms)

    def _counts(self, number: Decimal) -> bool:
        """The sign does not matter: `at 20 below zero`."""
        number = abs(number)
        if number in self._numbers:
            return True
        word = _IN_WORDS.get(number)
        if word is not None and any(re.search(rf"(?<!\w){word}(?!\w)", text) for text in self._texts):
            return True
        return number.is_finite() and number == number.to_integral_value() and self._spans((str(int(number)),))

    @cached_property
    def _numbers(self) -> frozenset[Decimal]:
        return frozenset(number for text in self._texts for match in _COUNT.finditer(text) for number in _read(match.group()))

    @cached_property
    def _ranges(self) -> list[tuple[str, str, bool, tuple[str, ...], str]]:
        """Of each range that was said: what is before it, its first number, whether a word joins it, what is repeated, its last number."""
        found = [
            (text[max(match.start() - _HEAD_CHARS, 0) : match.start()], match[1], match[2] != "-", tuple(_ATOM.findall(match[3])), match[4])
            for text in self._texts
            for match in _RANGE.finditer(text)
        ]
        return found[:_RANGES_MAX]

    def _spans(self, atoms: tuple[str, ...]) -> bool:
        """Whether a range that was said holds this place: after a word, or between bare numbers, its end may leave out the beginning."""
        if not atoms or not atoms[-1].isdecimal() or len(atoms[-1]) > 18:
            return False
        head, digits = atoms[:-1], atoms[-1]
        return any(
            _within(digits, first, last) and again in ((head, ()) if word else (head,)) and _headed(head).search(before) is not None
            for before, first, word, again, last in self._ranges
        )


def unnamed(arguments: Mapping[str, Any], parameters: Mapping[str, Any], said: Said) -> tuple[str, ...]:
    """The values of `arguments` that `said` does not name, as they are to be shown, each once, in their order; at most 50.

    `parameters` is the schema of the arguments. Never raises for arguments that have a JSON form.
    """
    return tuple(dict.fromkeys(islice(_all_missing(arguments, parameters, said), _FOUND_MAX)))


def still(before: tuple[str, ...], arguments: Mapping[str, Any], parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of the unnamed values `before` that are also in these arguments, which a person wrote: what she changed she named."""
    there = set(_all_missing(arguments, parameters, Said(())))
    return tuple(value for value in before if value in there)


def without(text: str, arguments: Any) -> str:
    """`text`, an answer to a call, without what it was asked for with: an echo names nothing."""
    text = plain(text)
    for value in _leaves(arguments, None):
        for part in _parts(value) if isinstance(value, str) else ():
            text = _blanked(text, plain(part).strip())
    numbers = {abs(_decimal(value)) for value in _leaves(arguments, None) if not isinstance(value, str)}
    return _COUNT.sub(lambda match: match.group() if numbers.isdisjoint(_read(match.group())) else " ", text)


def _blanked(text: str, sought: str) -> str:
    atoms = tuple(_ATOM.findall(sought)) if len(sought) <= _SPELLED_CHARS_MAX else ()
    if not sought or not all(part in text for part in atoms or (sought,)):
        return text
    return _code(atoms).sub(" ", text) if atoms else text.replace(sought, " ")


def _all_missing(arguments: Mapping[str, Any], parameters: Mapping[str, Any], said: Said) -> Iterator[str]:
    return (missing for value in dict.fromkeys(_leaves(arguments, parameters)) for missing in _missing(value, said))


def _missing(value: str | float, said: Said) -> Iterator[str]:
    if not isinstance(value, str):
        yield from () if said.names(value) else (str(value),)
    elif len(words := value.split()) > _NAME_WORDS_MAX:
        yield from (part for part in _parts(value) if not said.names(part))
    elif not said.names(value) and not (len(words) > 1 and all(_bare(w).casefold() in _GRAMMAR or said.names(_bare(w)) for w in words)):
        yield value


def _parts(value: str) -> Iterator[str]:
    """What identifies in a text: all of a name; the codes, numbers and addresses of prose."""
    words = value.split()
    if len(words) <= _NAME_WORDS_MAX:
        yield value
    yield from (word for word in map(_bare, words) if _identifies(word))


def _bare(word: str) -> str:
    return word.strip(_WRAPPING)


def _identifies(word: str) -> bool:
    found = any(character.isdecimal() for character in word) or _ADDRESS.search(word) is not None
    return found and not _MOMENT.fullmatch(plain(word))


def _leaves(value: Any, schema: Any) -> Iterator[str | float]:
    """What is to be judged of a value; by a schema also the names of members that it does not know."""
    schemas = _alternatives(schema)
    if isinstance(value, Mapping):
        for name, member in value.items():
            known = [sub for one in schemas if (sub := _member(one, str(name))) is not None]
            if schemas and not known:
                yield str(name)
            yield from _leaves(member, {"anyOf": known} if schemas else None)
    elif isinstance(value, list | tuple):
        items = [one["items"] for one in schemas if isinstance(one.get("items"), Mapping)]
        for item in value:
            yield from _leaves(item, {"anyOf": items} if schemas else None)
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and not _given_by(value, schemas):
        yield value


def _given_by(value: str | float, schemas: list[Mapping[str, Any]]) -> bool:
    """The schema itself gives it, as a default or one of a closed list; or it is a moment."""
    if any(value in (one.get("enum") or ()) or value in (one.get("default"), one.get("const")) for one in schemas):
        return True
    dated = any(one.get("format") in _MOMENTS for one in schemas)
    return isinstance(value, str) and (dated or _MOMENT.fullmatch(plain(value).strip()) is not None)


def _alternatives(schema: Any) -> list[Mapping[str, Any]]:
    """The schema with the ones it is put together from; without references, which are not followed."""
    if not isinstance(schema, Mapping):
        return []
    below = [one for kind in ("anyOf", "oneOf", "allOf") for one in schema.get(kind) or ()]
    return [schema, *(found for one in below for found in _alternatives(one))]


def _member(schema: Mapping[str, Any], name: str) -> Any:
    """The schema of a member; None when it is not declared."""
    if name in (schema.get("properties") or {}):
        return schema["properties"][name]
    return next(iter((schema.get("patternProperties") or {}).values()), None)  # arguments fit their schema


def _stands(sought: str, text: str) -> bool:
    """Whether `sought` stands in `text` as it is, and not as part of something longer."""
    at, number = text.find(sought), sought[0].isdecimal()
    for _ in range(_LOOKS_MAX):
        if at < 0:
            return False
        end = at + len(sought)
        before, after = text[max(at - 2, 0) : at][::-1], text[end : end + 2]
        if not _joined(before, sought[0], number=number) and not _joined(after, sought[-1], number=number):
            return True
        at = text.find(sought, at + 1)
    return False


def _joined(beside: str, edge: str, *, number: bool) -> bool:
    """Whether what is beside an end, read away from it, makes it part of something longer."""
    if number and edge.isdecimal() and beside[:1] in tuple(_GROUPING) and beside[1:].isdecimal():
        return True
    return edge.isalnum() and (beside[:1].isalnum() or (beside[:1] in tuple("-_.@") and beside[1:].isalnum()))


def _spelled(atoms: tuple[str, ...], text: str) -> bool:
    """Whether the letters and digits of a code stand in `text` in their order, with other dashes or spaces. Looks around the longest."""
    if not all(atom in text for atom in atoms):
        return False
    rare, pattern = max(atoms, key=len), _code(atoms)
    reach = sum(len(atom) + _SEPARATOR_CHARS for atom in atoms)
    at = text.find(rare)
    for _ in range(_LOOKS_MAX):
        if at < 0:
            return False
        if _around(pattern, text, at, reach):
            return True
        at = text.find(rare, at + 1)
    return False


def _around(pattern: re.Pattern[str], text: str, at: int, reach: int) -> bool:
    """A match near `at`; what lies just outside is seen, so that nothing longer is taken for it."""
    end = min(at + 2 * reach, len(text))
    found = pattern.search(text, max(at - reach, 0), end)
    return found is not None and (found.end() <= end - 2 or end == len(text))


def _within(digits: str, first: str, last: str) -> bool:
    padded = "0" in (digits[0], first[0])
    return int(first) <= int(digits) <= int(last) and (not padded or len(digits) == len(first) == len(last))


def _decimal(value: float) -> Decimal:
    return Decimal(value) if isinstance(value, int) else Decimal(str(value))


def _read(said: str) -> set[Decimal]:
    """What number may be meant: `1,000` is a thousand or one, `0,5` a half, `1,2,5` three numbers."""
    groups, marks = re.split(r"[.,' ]", said), [mark for mark in said if not mark.isdecimal()]
    readings = set()
    if all(len(group) == 3 for group in groups[1:]):
        readings.add("".join(groups))
    if len(marks) == 1 and marks[0] in ".,":
        readings.add(".".join(groups))
    if len(marks) > 1 and marks[-1] != marks[0] and all(len(group) == 3 for group in groups[1:-1]):
        readings.add("".join(groups[:-1]) + "." + groups[-1])
    if marks and (set(marks) == {" "} or (set(marks) == {","} and not readings)):
        readings.update(groups)
    return {Decimal(reading) for reading in readings}


@lru_cache(maxsize=512)
def _code(atoms: tuple[str, ...]) -> re.Pattern[str]:
    number = atoms[0][0].isdecimal()
    before = _BEFORE + (rf"(?<!\d[{_GROUPING}])" if number else "")
    after = _AFTER + (rf"(?![{_GROUPING}]\d)" if number and atoms[-1][-1].isdecimal() else "")
    return re.compile(before + _spaced(atoms) + after)


@lru_cache(maxsize=256)
def _headed(head: tuple[str, ...]) -> re.Pattern[str]:
    """What ends with `head`, before a number."""
    ending = f"{_spaced(head)}{_SEPARATOR}{{0,{_SEPARATOR_CHARS}}}" if head else ""
    return re.compile(_BEFORE + ending + r"\Z")


def _spaced(atoms: tuple[str, ...]) -> str:
    """The atoms with other dashes or spaces, or none, between them; two numbers never run together."""
    joints = [f"{_SEPARATOR}{{{int(a[-1].isdecimal() and b[0].isdecimal())},{_SEPARATOR_CHARS}}}" for a, b in pairwise(atoms)]
    return "".join(re.escape(atom) + joint for atom, joint in zip(atoms, [*joints, ""], strict=True))
