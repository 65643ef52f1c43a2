"""What goes with what: `the run on HPLC-03` is its active one, PCR-STD-35 runs on one instrument only. And what comes near a name."""

import re
from collections.abc import Iterable, Sequence

from aliquot.routing.extraction import CANDIDATES_MAX, Extracted, Reading
from aliquot.routing.text import distance
from aliquot.tools.contracts import Relation


def complete(found: Extracted, reading: Reading, relations: Iterable[Relation]) -> None:
    """Fill, or narrow the candidates of, what is missing, by what was named. Nothing is settled beside a code nobody knows."""
    relations = tuple(relations)
    for relation in relations:
        slot = relation.argument
        if relation.settles:
            _make_exact(found, relation, relations)
        if slot in found.arguments or (slot in found.missing and found.narrowed.get(slot)):
            continue
        given = _given(relation.given, found, reading)
        if given is None or given not in relation.values:
            if given is None and relation.settles and slot in found.missing:  # only what goes with anything at all
                known = {option for options in relation.values.values() for option in options}
                found.candidates[slot] = [value for value in found.candidates.get(slot, ()) if value in known] or sorted(known)
            continue
        options = relation.values[given]
        if relation.settles and len(options) == 1 and not reading.codes:
            found.arguments[slot] = options[0]
            found.missing = [missing for missing in found.missing if missing != slot]
        elif slot in found.missing:
            found.candidates[slot] = list(options)[:CANDIDATES_MAX]
            found.narrowed[slot] = given

    first = [r.given for r in relations if r.settles and r.given in found.missing]  # asked for first: the rest may follow from it
    found.missing.sort(key=lambda slot: slot not in first)


def _make_exact(found: Extracted, relation: Relation, relations: Iterable[Relation]) -> None:
    """`the thermocycler` beside PCR-STD-35 is PCR-02, when that is the only one and it is a thermocycler."""
    said, given = found.arguments.get(relation.argument), found.arguments.get(relation.given)
    options = relation.values.get(given, ()) if isinstance(given, str) else ()
    if len(options) != 1 or not isinstance(said, str) or said == options[0]:
        return
    if any(
        back.given == relation.argument and back.argument == relation.given and given in back.values.get(said, ()) for back in relations
    ):
        codes = any(character.isdigit() for character in said)
        found.arguments[relation.argument] = said if codes else options[0]


def _given(slot: str, found: Extracted, reading: Reading) -> str | None:
    """The one value named for `slot`, be it an argument of the tool or not."""
    if isinstance(value := found.arguments.get(slot), str):
        return value
    values = {value for mention in reading.of(slot) for value in mention.values}
    return next(iter(values)) if len(values) == 1 else None


def nearest_first(code: str, known: Sequence[str]) -> list[str]:
    """`known` with those most like `code` first: the same letters before the number, then few changes."""
    head = re.match(r"[a-z]*", code.lower())
    begin = head.group() if head else ""

    def unlike(value: str) -> tuple[bool, int]:
        same = bool(begin) and re.match(rf"{begin}(?![a-z])", value.lower()) is not None
        return not same, distance(code.lower(), value.lower(), 4)

    return sorted(known, key=unlike)


def near(code: str, known: Sequence[str]) -> list[str]:
    """Those of `known` that may have been meant by `code`; at most three."""
    return [value for value in nearest_first(code, known) if distance(code.lower(), value.lower(), 2) <= 2][:3]
