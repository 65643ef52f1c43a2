"""What is named and is not here: a number after a name (`HPLC 1`), an unknown code in a place that says what it is meant for."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from aliquot.routing.extraction import Reading
from aliquot.routing.lists import beside_known
from aliquot.routing.vocabulary import Mention, Vocabulary, begins_like, codes_of, stands_in_place
from aliquot.tools.contracts import Tool

_NUMBER = re.compile(
    r" (?:no\.? ?|nr\.? ?|number |# ?)?\d{1,3}(?![\w%°:/-]|[.,]\d)"
    r"(?! (?:min(?:ute)?|hour|day|week|month|year|cycle|degree|run|job|sample|protocol|time|step|instrument|machine)s?\b"
    r"| (?:h|am|pm|percent|most|latest|newest|last|of|ml|ul)\b| (?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))"
)
_HEAD = re.compile(r"(?<![\w-])[a-z]{2,12}(?= )")
_SAMPLE = re.compile(r"\b(?:sample|specimen|tube)s?:? $")
_BOTH = re.compile(r",? (?:and|or|&|\+) (?:the )?|\+|&")
_UPPER = re.compile(
    r"^\W*(?:please |can you |could you )?(?P<verb>[A-Za-z]+) (?:the |a )?(?:protocol |run of )?"
    r"(?P<code>[A-Z][A-Z0-9]+(?:-[A-Z0-9]+)*)(?: run)? on \S",
)


def numbered(text: str, mentions: Sequence[Mention], vocabulary: Vocabulary) -> tuple[list[Mention], list[Mention]]:
    """`mentions`, and the unknown codes that some of them only are the beginning of: `HPLC 1` is not the HPLC that is here.

    Where the name is no code's beginning (`centrifuge 4`), the number may well be right: it is left open which one is meant.
    """
    kept: list[Mention] = []
    codes: list[Mention] = []
    for mention in mentions:
        number = _NUMBER.match(text, mention.end)
        said = text[mention.start : mention.end]
        if number is None or any(character.isdigit() for character in said):
            kept.append(mention)
        elif begins_like(said, vocabulary.values.get(mention.slot, ())):
            codes.append(Mention(mention.slot, (), mention.start, number.end()))
        else:
            kept.append(replace(mention, values=codes_of(vocabulary.values.get(mention.slot, ())) or mention.values, end=number.end()))
    for head in _HEAD.finditer(text):  # `seq 5` where there is SEQ-01
        free = not any(head.start() < m.end and m.start < head.end() for m in (*mentions, *codes))
        number = _NUMBER.match(text, head.end()) if free else None
        slot = next((s for s in sorted(vocabulary.values) if begins_like(head.group(), vocabulary.values[s])), None) if number else None
        if number is not None and slot is not None:
            codes.append(Mention(slot, (), head.start(), number.end()))
    taken = {code.start for code in codes}
    return [mention for mention in kept if mention.start not in taken], list({code.start: code for code in codes}.values())


def written_large(raw: str, text: str, acting: Collection[str], taken: Sequence[Mention]) -> list[Mention]:
    """`Start FOO-BAR on SEQ-01`: in capitals, where the thing to be started stands, so it is a code though it has no number."""
    match = _UPPER.match(raw)
    if match is None or match.group("verb").lower() not in acting:
        return []
    start = text.find(match.group("code").lower())
    code = Mention("code", (), start, start + len(match.group("code")))
    return [] if start < 0 or any(code.start < m.end and m.start < code.end for m in taken) else [code]


def in_place(reading: Reading, tool: Tool, settled: Collection[str], vocabulary: Mapping[str, Sequence[str]]) -> Reading:
    """`reading` without the values that only have the shape of one, where they stand for something else: FOO-99 is no sample for a
    tool that takes none, nor in `start FOO-99 on SEQ-01`, while it is not said what to start. `settled` follows from other values."""
    guessed = [mention for mention in reading.mentions if mention.guessed]
    if not guessed:
        return reading
    named = {mention.slot for mention in reading.mentions if not mention.guessed}
    asked = [slot for slot in tool.parameters.get("required", ()) if slot in vocabulary and slot not in named]
    out = [m for m in guessed if m.slot not in tool.parameters.get("properties", {}) or _stands_for_another(m, reading, asked, settled)]
    kept = tuple(mention for mention in reading.mentions if mention not in out)
    codes = sorted((*reading.codes, *(Mention("code", (), m.start, m.end) for m in out)), key=lambda code: code.start)
    return replace(reading, mentions=kept, codes=tuple(beside_known(codes, kept, reading.text)))


def _stands_for_another(mention: Mention, reading: Reading, asked: Sequence[str], settled: Collection[str]) -> bool:
    before, after = reading.text[: mention.start], reading.text[mention.end :]
    if _SAMPLE.search(before):
        return False
    beside = [other for other in reading.mentions if other is not mention]
    joined = [
        other
        for other in beside
        if _BOTH.fullmatch(reading.text[other.end : mention.start]) or _BOTH.fullmatch(reading.text[mention.end : other.start])
    ]
    if joined:
        return not any(other.guessed for other in joined)
    if re.match(r", ", after) and any(other.guessed and other.start == mention.end + 2 for other in beside):
        return False  # the first of a list
    return any(slot not in settled for slot in asked) or (bool(asked) and stands_in_place(reading.text, mention))
