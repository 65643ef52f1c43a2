"""Arguments out of a question, as a tool's JSON Schema asks for them. Nothing is invented: what is not said is missing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from jsonschema import Draft202012Validator

from aliquot.routing import forms, lexicon, periods
from aliquot.routing.text import Token, tokens
from aliquot.routing.vocabulary import Mention, Vocabulary, are_listed, could_be, is_meant_for, quotations, stands_in_place
from aliquot.tools.contracts import Tool

CANDIDATES_MAX = 12
_SEARCH_NAMES = frozenset({"query", "q", "search", "text", "keyword", "keywords", "topic", "term", "name"})
_REASON_NAMES = frozenset({"reason", "justification", "comment", "note", "why"})
_LIMIT_NAMES = frozenset({"limit", "count", "n", "number", "max", "top", "max_results"})
EARLIER = "earlier"
"""An argument of this name counts back from the thing that is named."""
_PRECEDING = re.compile(r"\b(?:before|preceding|prior to|previous to)(?: run)?\s*$")
_SINCE, _UNTIL = "since", "until"
_CAUSE = re.compile(
    r"(?:\bbecause(?: of)?\b|\bdue to\b|\bsince\b|\breason(?:\s+is)?\s*[:=]?|(?<=[\w)]):(?=\s))\s*(?:that\s+)?(?P<cause>\S.*)$",
    re.IGNORECASE,
)
_APPENDED = re.compile(r"(?:[,;]|\s[-–—])\s+" + forms.NO_REASON + r"(?P<cause>[^,;?]*[^\W\d_]{3}[^?]*)$", re.IGNORECASE)
"""`stop HPLC-03, the pressure is dropping`: what follows a comma."""
_TOPIC = re.compile(
    r"\b(?:about|for|on|named|called|matching|containing|mentioning|with the word|uses?|using|contain(?:s|ing)?|involv\w+)\s+"
    r"(?:an? |the |our )?(?P<topic>.+)$"
)
_SINGLE = re.compile(r"\b(?:last|latest|newest|most recent|previous) (?:\w+ )??(?:run|job|protocol|sample)\b(?! history)")
_RANGE = re.compile(r"\b([a-z]{1,12}-?)(\d{1,8})\s*(?:to|through|thru|until|\.\.|-)\s*([a-z]{1,12}-?)?(\d{1,8})\b")
_ASSIGNED = re.compile(r"(?P<name>[a-z][a-z0-9_]*(?: [a-z][a-z0-9_]*){0,2}?)\s*(?:=|:|\bto\b|\bof\b|\bat\b)?\s*(?P<value>\d+(?:\.\d+)?)\b")
_BEFORE_NUMBER = re.compile(r"(?P<value>\d+(?:\.\d+)?)\s+(?P<name>[a-z][a-z_]{2,})\b")


@dataclass(frozen=True, slots=True)
class Reading:
    """A question, normalised, with what it mentions."""

    raw: str
    text: str
    mentions: tuple[Mention, ...]
    codes: tuple[Mention, ...]
    """Of a code's shape, and known to nobody."""
    now: datetime | None = None
    """The present, in the site's time zone."""

    @property
    def words(self) -> list[str]:
        return [token.text for token in tokens(self.text)]

    def of(self, slot: str) -> list[Mention]:
        return [mention for mention in self.mentions if mention.slot == slot]

    def taken(self, start: int, end: int) -> bool:
        return any(start < m.end and m.start < end for m in (*self.mentions, *self.codes))


@dataclass(slots=True)
class Extracted:
    arguments: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    candidates: dict[str, list[str]] = field(default_factory=dict)
    narrowed: dict[str, str] = field(default_factory=dict)
    """Missing arguments whose candidates are those that go with this named value."""
    certainty: float = 1.0
    """Of the arguments, 0 to 1: what was read with a doubt lowers it."""
    doubts: list[str] = field(default_factory=list)
    period: tuple[int, int] | None = None
    """Where the text says of what time."""

    def doubt(self, why: str, factor: float) -> None:
        self.certainty *= factor
        self.doubts.append(why)


def extract(tool: Tool, reading: Reading, vocabulary: Vocabulary, defaults: Mapping[str, Any]) -> Extracted:
    """What `reading` says for the arguments of `tool`. `defaults` are constants its examples give to questions like this one."""
    found = Extracted()
    properties: dict[str, Any] = tool.parameters.get("properties", {})
    for slot, schema in properties.items():
        _fill(found, slot, schema, reading, vocabulary, properties)
    if is_dated(tool) and reading.now is not None and (period := periods.read(reading.text, reading.now)) is not None:
        found.period = period.place
        for slot, moment in ((_SINCE, period.since), (_UNTIL, period.until)):
            if moment is not None:
                found.arguments[slot] = moment.isoformat()
    required = tool.parameters.get("required", ())
    if reading.codes and any(slot in vocabulary.values for slot in found.arguments):
        plain = (reading.text, reading.codes[0])
        found.missing = [slot for slot in found.missing if slot in required or is_meant_for(*plain, vocabulary.values.get(slot, ()))]
    for slot in required:
        if slot not in found.arguments and slot not in found.missing:
            if slot in defaults and not reading.codes:
                found.arguments[slot] = defaults[slot]
            else:
                found.missing.append(slot)
    for slot in found.missing:
        found.candidates.setdefault(slot, codes_first(vocabulary.values.get(slot, ()))[:CANDIDATES_MAX])
    _unaccounted(found, tool, reading)
    _validate(found, tool)
    return found


def is_dated(tool: Tool) -> bool:
    """Can be told the period a question is about."""
    return {_SINCE, _UNTIL} <= set(tool.parameters.get("properties", {}))


def undated(reading: Reading) -> Reading | None:
    """`reading` without the period it names (blank in its place); None when it names none that is understood."""
    found = periods.read(reading.text, reading.now) if reading.now is not None else None
    if found is None:
        return None
    start, end = found.place
    return replace(reading, text=reading.text[:start] + " " * (end - start) + reading.text[end:])


def _fill(
    found: Extracted, slot: str, schema: Mapping[str, Any], reading: Reading, vocabulary: Vocabulary, properties: Mapping[str, Any]
) -> None:
    kind = schema.get("type")
    if "enum" in schema:
        _fill_enum(found, slot, schema["enum"], reading)
    elif kind == "array":
        if members := listed(slot, reading):
            found.arguments[slot] = members[: schema.get("maxItems", 1_000)]
    elif kind in {"integer", "number"}:
        _fill_number(found, slot, schema, reading)
    elif kind == "object":
        if values := assigned(reading, schema):
            found.arguments[slot] = values
    elif kind == "string":
        _fill_string(found, slot, schema, reading, vocabulary, properties)


def _fill_enum(found: Extracted, slot: str, values: Sequence[Any], reading: Reading) -> None:
    hits: dict[str, int] = {}
    for value in values:
        if not isinstance(value, str):
            continue
        words = {value.replace("_", " ").lower(), *lexicon.STATE_WORDS.get(value, ())}
        for word in words:
            for match in re.finditer(rf"(?<![\w-]){re.escape(word)}(?![\w-])", reading.text):
                if not reading.taken(*match.span()) and not forms.is_auxiliary(reading.text, match):
                    exact = word == value.replace("_", " ").lower()
                    hits[value] = min(hits.get(value, 1_000_000), match.start() * 2 + (not exact))
                    if forms.negates(reading.text, match.start()):
                        found.doubt(f"{slot} is negated", 0.3)
    if not hits:
        return
    # Words that mean the same state (`finished`, `done`): the value that says the word itself is taken.
    places = {place // 2 for place in hits.values()}
    found.arguments[slot] = min(hits, key=lambda value: (hits[value] % 2, hits[value]))
    if len(places) > 1 and len({_meaning(value) for value in hits}) > 1:
        found.doubt(f"several values of {slot}", 0.4)


def _meaning(value: str) -> str:
    for name in ("done", "stopped", "failed"):
        if value == name or value in lexicon.STATE_WORDS[name]:
            return name
    return value


def _fill_string(
    found: Extracted, slot: str, schema: Mapping[str, Any], reading: Reading, vocabulary: Vocabulary, properties: Mapping[str, Any]
) -> None:
    mentions = reading.of(slot)
    if not are_listed(mentions, reading.text):
        mentions = prefer_codes(mentions)
    values = list(dict.fromkeys(value for mention in mentions for value in mention.values))
    if not values and slot in _SEARCH_NAMES:
        values = _searched(reading, properties)
    if not values and slot in _REASON_NAMES:
        values = _caused(reading)
    if values and any(code.listed and code.slot == slot for code in reading.codes):
        found.missing.append(slot)  # one of several is none of them
        found.candidates[slot] = codes_first(vocabulary.values.get(slot, values))[:CANDIDATES_MAX]
    elif len(values) == 1:
        found.arguments[slot] = values[0][: schema.get("maxLength", 10_000)]
        if any(mention.fuzzy for mention in mentions):
            found.doubt(f"{slot} is misspelt", 0.9)
    elif values:
        found.missing.append(slot)
        found.candidates[slot] = codes_first(values)[:CANDIDATES_MAX]
    elif len(found.missing) < len(reading.codes) and _could_be(reading, slot, vocabulary, properties):
        found.missing.append(slot)  # something was named that we do not know: asking back is right, leaving it out is not


def _could_be(reading: Reading, slot: str, vocabulary: Vocabulary, properties: Mapping[str, Any]) -> bool:
    """Whether the unknown code may be meant for `slot`. What can be searched for is, unless it stands where a thing works."""
    code, known = reading.codes[0], vocabulary.values
    if slot in known and not code.listed and any(name in known for name in _SEARCH_NAMES & properties.keys()):
        return (slot in _SEARCH_NAMES) != stands_in_place(reading.text, code)
    return slot in known and could_be(code, reading.text, slot, known)


def prefer_codes(mentions: list[Mention]) -> list[Mention]:
    """`the thermocycler PCR-02` names one thing twice: a code is more exact than a name or a kind."""
    exact = [mention for mention in mentions if any(_has_digit(value) for value in mention.values)]
    return exact or mentions


def codes_first(values: Sequence[str]) -> list[str]:
    """Printed codes alone where there are any: names and kinds of the same things would only repeat them."""
    coded = [value for value in values if " " not in value and (_has_digit(value) or "-" in value)]
    return coded or list(values)


def _has_digit(value: str) -> bool:
    return any(character.isdigit() for character in value)


def code_pattern(schema: Mapping[str, Any]) -> re.Pattern[str] | None:
    """The schema's pattern, to be found inside a text; None when it also fits ordinary words."""
    text = schema.get("pattern")
    if not isinstance(text, str) or not text.startswith("^") or not text.endswith("$"):
        return None
    try:
        whole = re.compile(text, re.IGNORECASE)
    except re.error:
        return None
    if any(whole.fullmatch(word) for word in ("status", "run", "a", "12", "which runs")):
        return None
    return re.compile(rf"(?<![\w-])(?:{text[1:-1]})(?![\w-])", re.IGNORECASE)


def listed(slot: str, reading: Reading) -> list[str]:
    """The members of a list argument, with ranges (`S-0001 to S-0004`) written out."""
    values = [value for mention in reading.of(slot) for value in mention.values]
    ranges = [_written_out(match).upper().split() for match in _RANGE.finditer(reading.text)]
    between = {members[0]: members for members in ranges if len(members) > 1 and members[0] in values}
    return list(dict.fromkeys(member for value in values for member in between.get(value, [value])))


def _written_out(match: re.Match[str]) -> str:
    head, first, other, last = match.groups()
    if (other or head) != head or not 0 <= int(last) - int(first) <= 400:
        return match.group()
    return " ".join(f"{head}{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))


def _fill_number(found: Extracted, slot: str, schema: Mapping[str, Any], reading: Reading) -> None:
    if slot == EARLIER:
        before = any(_PRECEDING.search(reading.text[: mention.start]) for mention in reading.mentions)
        found.arguments.update({slot: 1} if before else {})
        return
    values = _limits(reading) if slot in _LIMIT_NAMES else _measured(slot, reading)
    if not values:
        return
    value: int | float = values[0]
    if schema.get("type") == "integer":
        value = int(value)
    if len(set(values)) > 1:
        found.doubt(f"several numbers for {slot}", 0.5)
    if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.doubt(f"{slot} is out of its range", 0.4)  # taking the nearest allowed value would answer another question
        return
    found.arguments[slot] = value


def _limits(reading: Reading) -> list[int]:
    """`last 5 runs`, `the five most recent`, `top 3`; one for `the last run`."""
    found: list[int] = []
    parts = tokens(reading.text)
    for n, part in enumerate(parts):
        number = int(part.text) if part.text.isdigit() and len(part.text) <= 6 else lexicon.NUMBERS.get(part.text)
        if number is not None and not reading.taken(part.start, part.end) and _counts(parts, n):
            found.append(number)
    if not found and _SINGLE.search(reading.text):
        return [1]
    return found


def _counts(parts: list[Token], n: int) -> bool:
    """The number at `n` counts things, and is no time, size or part of a code."""
    before = {part.text for part in parts[max(0, n - 2) : n]}
    after = parts[n + 1].text if n + 1 < len(parts) else ""
    if re.fullmatch(r"minutes?|hours?|days?|weeks?|months?|years?|min|h|am|pm|percent|degrees?|cycles?", after):
        return False
    if parts[n].text == "one" and after not in {"run", "job"}:
        return False
    follows = bool(
        before & {"last", "latest", "recent", "top", "first", "past", "previous", "newest", "limit", "most", "only", "maximum", "max", "up"}
    )
    return follows or after in {"most", "latest", "newest", "last", "recent"} or lexicon.class_of(after) in {"runs", "sample", "protocol"}


def _measured(slot: str, reading: Reading) -> list[float]:
    """A number beside the argument's name: `temperature 60`, `60 degrees` for `temperature_celsius` by its first word."""
    name = re.escape(slot.split("_", maxsplit=1)[0])
    pattern = rf"\b{name}\w*\s*(?:=|:|to|of|at|is)?\s*(-?\d+(?:\.\d+)?)\b|\b(-?\d+(?:\.\d+)?)\s*{name}\w*\b"
    return [float(a or b) for a, b in re.findall(pattern, reading.text)]


def assigned(reading: Reading, schema: Mapping[str, Any]) -> dict[str, float | int]:
    """`cycles = 30`, `cycles 30`, `30 cycles` as members of an object of numbers."""
    names = [re.compile(pattern) for pattern in schema.get("patternProperties", {})]
    known = set(schema.get("properties", {}))
    text = _blanked(reading)
    result: dict[str, float | int] = {}
    for pattern in (_ASSIGNED, _BEFORE_NUMBER):
        for match in pattern.finditer(text):
            words = [word for word in match.group("name").split() if word not in lexicon.FUNCTION_WORDS and lexicon.class_of(word) is None]
            name, number = "_".join(words), float(match.group("value"))
            fits = name in known or any(allowed.search(name) for allowed in names)
            if words and fits and name not in result and not any(name in other or other in name for other in result):
                result[name] = int(number) if number.is_integer() else number
    return result


def _blanked(reading: Reading) -> str:
    text = reading.text
    for mention in (*reading.mentions, *reading.codes):
        text = text[: mention.start] + "," * (mention.end - mention.start) + text[mention.end :]
    return re.sub(r"[a-z]{1,12}-\d+", lambda match: "," * len(match.group()), text)


def _searched(reading: Reading, properties: Mapping[str, Any]) -> list[str]:
    """The words to search for: quoted, a known value no other argument takes, or the topic after `about`, `for`, …"""
    if quoted := quotations(reading.text):
        return quoted
    others = [m for m in reading.mentions if m.slot not in properties]
    if others:
        return list(dict.fromkeys(value for mention in others for value in mention.values))
    match = _TOPIC.search(_blanked(reading))
    topic = match.group("topic") if match else _modifier(reading)
    words = [word for word in re.findall(r"[^\W_][\w-]*", topic or "") if word not in lexicon.FUNCTION_WORDS]
    words = [word for word in words if lexicon.class_of(word) not in {"protocol", "machine", "show", "status", "runs", "steps"}]
    return [" ".join(words)] if words and len(words) <= 6 else []


def _modifier(reading: Reading) -> str | None:
    """`the RNA extraction protocol`: the words between a little word and the noun."""
    words: list[str] = []
    for part in tokens(_blanked(reading)):
        if lexicon.class_of(part.text) == "protocol":
            return " ".join(words) or None
        plain = part.text not in lexicon.FUNCTION_WORDS and lexicon.class_of(part.text) is None
        words = [*words, part.text] if plain else []
    return None


def _caused(reading: Reading) -> list[str]:
    """A reason in the person's own spelling: what follows `because`, `due to`, `reason:` or a colon, or a quotation."""
    match = _CAUSE.search(reading.raw)
    cause = plain_reason(match.group("cause")) if match else ""
    if not cause and not quotations(reading.raw) and (match := _APPENDED.search(reading.raw)) is not None:
        cause = plain_reason(match.group("cause"))
        cause = "" if len(cause.split()) < 2 and not cause.isalpha() else cause
    return [cause] if cause else quotations(reading.raw)[:1]


def plain_reason(text: str) -> str:
    """A reason without what introduces it and without the sentence's marks."""
    return re.sub(r"^(?:(?:the )?reason(?:\s+is)?\s*[:=]?|because(?: of)?|due to|since)\s+", "", text.strip(" .!\"'"), flags=re.IGNORECASE)


def _unaccounted(found: Extracted, tool: Tool, reading: Reading) -> None:
    """What narrows the question but cannot be told to the tool makes its answer the answer to something else."""
    dated = is_dated(tool)
    times = forms.times(_blanked(reading))
    if dated:
        times = [] if found.period else times or ["unread"] * periods.says_time(_blanked(reading))
    elif any(re.search(r"\b(?:now|at the moment|currently)\b", example.text) for example in tool.examples):
        times = [time for time in times if time not in {"today", "tonight"}]  # a tool about the present
    if times:
        declared = not dated and any(forms.times(example.text.lower()) for example in tool.examples)
        found.doubt(f"no argument for a time ({len(times)})", 0.85 if declared else 0.4)
    if forms.names_a_person(_blanked(reading)) and not any(
        "operator" in slot or "person" in slot for slot in tool.parameters["properties"]
    ):
        found.doubt("no argument for a person", 0.5)
    if reading.codes and not found.missing:
        found.doubt("an unknown code", 0.3)


def _validate(found: Extracted, tool: Tool) -> None:
    """What does not fit the schema is not said to be right: optional values are dropped with a doubt, required ones are missing."""
    required = set(tool.parameters.get("required", ()))
    for error in Draft202012Validator(tool.parameters).iter_errors(found.arguments):
        if not error.absolute_path:
            continue
        slot = str(error.absolute_path[0])
        if slot not in found.arguments:
            continue
        del found.arguments[slot]
        if slot in required and slot not in found.missing:
            found.missing.append(slot)
            found.candidates.setdefault(slot, [])
        else:
            found.doubt(f"{slot} does not fit", 0.4)
