"""Rules above the model: what must never be taken for a wish, however alike it sounds. A gate only lowers the probability."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from aliquot.routing import forms, lexicon
from aliquot.routing.extraction import Reading
from aliquot.routing.text import Spelling, words_of
from aliquot.tools.contracts import Tool

LONG_WORDS, LONG_CHARS = 60, 400
NEVER = 0.02
UNLIKELY = 0.2
MORE_THAN_ONE = "asks for more than one thing"

_JOINED = re.compile(r"\b(?:and|then|afterwards|,|;)\s+(?:then |also |please )*(?P<verb>[a-z]+)\b")
_PASSIVE = re.compile(r"^z\w+ (?:to be )?(?P<verb>[a-z]+?)(?:p?ped|ted|led|ed|d)\b")
_LEAVES_OUT = re.compile(
    r"\b(?:except|excluding|exclude|other than|apart from|aside from|but not|without|more than|less than)\b"
    r"|\b(?:long|short|old|new|great|few)er than\b"
    r"|\b(?:not|nor) (?:run |started |done )?(?:on|by|with|using|from) (?:the )?z"
)
"""`Show all runs except those on PCR-02` would be answered with exactly those."""
_PARTICLES = frozenset({"off", "up", "go", "ahead", "and"})


@dataclass(frozen=True, slots=True)
class Gate:
    """`limit` caps the probability; `why` is for the explanation."""

    limit: float
    why: str


def general(reading: Reading, masked: str, tool: Tool, spelling: Spelling, *, unnamed: bool = False) -> list[Gate]:
    """What holds for every tool; `unnamed` says that something it needs was not named."""
    gates: list[Gate] = []
    words = reading.words
    if forms.looks_injected(reading.text):
        gates.append(Gate(NEVER, "reads like an instruction to the assistant itself"))
    if len(reading.raw) > LONG_CHARS or len(words) > LONG_WORDS:
        gates.append(Gate(NEVER if len(reading.raw) > 2 * LONG_CHARS else UNLIKELY, "too long for one question"))
    if (share := forms.foreign_share(words_of(masked))) >= 0.5:
        gates.append(Gate(UNLIKELY, f"another language ({share:.0%})"))
    if any(ord(character) > 0x24F and character.isalpha() and character not in "µμα-ω" for character in reading.text):
        gates.append(Gate(UNLIKELY, "another script"))
    gates += _about_nothing(reading, masked, reads=tool.effect == "read", unnamed=unnamed)
    if forms.asks_for_an_amount(masked):
        gates.append(Gate(UNLIKELY, "asks how much of something is left, other than time"))
    if forms.wants_notice(reading.text):
        gates.append(Gate(UNLIKELY, "wants to be told later, not now"))
    if re.match(r"(?:please |now )*(?:do not|don't|dont|never|stop) (?:show|list|tell|give|display)", reading.text):
        gates.append(Gate(NEVER, "asked not to"))
    if tool.effect == "read" and _LEAVES_OUT.search(masked):
        gates.append(Gate(NEVER, "leaves something out or compares amounts, by which nothing here can be asked"))
    if tool.effect == "read" and (verb := _other_verb(masked, spelling)) is not None:
        gates.append(Gate(UNLIKELY, f"asks to {verb}, not to be told"))
    verbs = {match.group("verb") for match in _JOINED.finditer(masked)}
    acts = {name for name in map(lexicon.class_of, verbs) if name in {"start", "stop", "remove", "change", "pause", "send", "make", "plan"}}
    if acts and (tool.effect == "read" or len(acts | {lexicon.class_of(_first(masked))} - {None}) > 1):
        gates.append(Gate(UNLIKELY, MORE_THAN_ONE))
    return gates


def dropped(reading: Reading, tool: Tool, used: Collection[str]) -> list[Gate]:
    """A list that something was named for by which it cannot be asked: all of it would look like the answer."""
    if tool.effect != "read" or tool.parameters.get("required"):
        return []
    used_places = [(m.start, m.end) for m in reading.mentions if m.slot in used]
    left = [
        m
        for m in reading.mentions
        if any(c.isdigit() or c == "-" for value in m.values for c in value)
        and not any(m.start < end and start < m.end for start, end in used_places)
    ]
    return [Gate(UNLIKELY, f"names {reading.text[m.start : m.end]}, by which this cannot be asked") for m in left[:1]]


def _about_nothing(reading: Reading, masked: str, *, reads: bool, unnamed: bool) -> list[Gate]:
    """Questions about no thing that is here, and things about which nothing is asked."""
    coded = [any(c.isdigit() for c in value) for mention in reading.mentions for value in mention.values]
    named = bool(reading.mentions or reading.codes)
    bare = not any(word.isalpha() and not word.startswith("z") for word in words_of(masked))
    found = []
    if forms.asks_what_it_is(masked) and coded and not all(coded):
        found.append(Gate(UNLIKELY, "asks what such a thing is, not about the one here"))
    if reads and unnamed and not named and not forms.names_a_kind(reading.words):
        found.append(Gate(UNLIKELY, "names nothing this could be about"))
    if bare and (not coded or not all(coded) or " z" in masked):
        found.append(Gate(UNLIKELY, "nothing but names"))
    return found


def for_action(tool: Tool, reading: Reading, masked: str, spelling: Spelling) -> list[Gate]:
    """A tool that acts is proposed only for a plain request that names its verb: `Start …`, `please stop …`, `can you abort …?`"""
    gates: list[Gate] = []
    request = forms.without_politeness(re.sub(r"^(?:on|at|with) (?:the )?z\w+ ?,? ", "", forms.without_politeness(masked)))
    if forms.asks_how(reading.text):
        gates.append(Gate(NEVER, "asks about an action instead of for it"))
    if forms.is_negated(_before_reason(masked)):
        gates.append(Gate(NEVER, "says not to"))
    if forms.has_condition(_before_reason(masked)):
        gates.append(Gate(NEVER, "has a condition"))
    verbs = verbs_of(tool)
    passive = _PASSIVE.match(request)
    verb = spelling.correct(_first(request))
    if verb not in verbs and not (passive and any(known.startswith(passive.group("verb")) for known in verbs)):
        gates.append(Gate(NEVER, "does not begin with a verb of this action"))
    if any(mention.carried for mention in reading.mentions):
        gates.append(Gate(NEVER, "leans on an earlier question; an action has to name what it acts on"))
    if any(mention.fuzzy for mention in reading.mentions):
        gates.append(Gate(0.5, "a misspelt value is not good enough to act on"))
    return gates


_COMMAND = re.compile(
    r"(?P<verb>[a-y][a-z]+) (?:the|a|an|my|our|your|this|that|these|all|every|me|us|out|off|in|z\w+)\b(?! (?:is|are|has|have|was|were)\b)"
)
_WISHES = frozenset({"need", "want", "about", "regarding", "concerning"})
_TELLING = frozenset({"show", "status", "history", "protocol", "machine", "fail", "runs", "sample", "steps", "explain"})


def _other_verb(masked: str, spelling: Spelling | None) -> str | None:
    """The verb of a request for something other than to be told: `sign the last run`, `log me out`, `calibrate zinstrument`."""
    match = _COMMAND.match(forms.essence(masked))
    if match is None:
        return None
    verb = match.group("verb") if spelling is None else spelling.correct(match.group("verb"))
    told = verb in lexicon.FUNCTION_WORDS | _WISHES or lexicon.class_of(verb) in _TELLING
    return None if told and not re.match(r"(?:log|print|report) (?:me|us|out|off|in)\b", masked) else verb


def closed(masked: str, *, acts: bool) -> bool:
    """What the gates say of a masked question alone: they are part of the router, so its threshold is judged with them."""
    if forms.looks_injected(masked) or forms.foreign_share(words_of(masked)) >= 0.5:
        return True
    if not acts:
        return _other_verb(masked, None) is not None
    wish = _before_reason(masked)
    several = any(wish.count(word) > 1 for word in words_of(wish) if word.startswith("z"))
    named = any(word.startswith("z") for word in words_of(masked))
    return not named or several or forms.asks_how(masked) or forms.is_negated(wish) or forms.has_condition(wish)


def _before_reason(masked: str) -> str:
    """The request without the reason given for it, which may say anything."""
    return re.split(r"\b(?:because|due to|since|reason)\b|:", masked, maxsplit=1)[0]


def verbs_of(tool: Tool) -> frozenset[str]:
    """The verbs its examples begin with, their synonyms, and the one in its name."""
    found = {tool.name.split("_", maxsplit=1)[0]}
    for example in tool.examples:
        words = words_of(forms.without_politeness(example.text.lower()))
        if words and words[0] not in lexicon.FUNCTION_WORDS | {"do"}:
            found.add(words[0])
    classes = {lexicon.class_of(verb) for verb in found} & {"start", "stop", "remove", "change", "make", "send", "pause", "plan", "service"}
    return frozenset(found).union(*(lexicon.CLASSES[name] for name in classes if name is not None)) | {"do"} - _PARTICLES


def _first(text: str) -> str:
    words = words_of(text)
    return words[0] if words else ""
