"""Names what was done to a list of events, given the leaf hashes of the log and those of the list at hand."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from aliquot_verify.faults import Fault
from aliquot_verify.merkle import HASH


class Change(NamedTuple):
    """`position` in the log (None: it is in no log) and `line` in the list (None: it is not there), both from 0."""

    fault: Fault
    position: int | None
    line: int | None


def changes(expected: bytes, actual: bytes) -> list[Change]:
    """What turns `expected` into `actual` (strings of 32-byte hashes): a shortest account, in log order. Empty when equal."""
    if expected == actual:
        return []
    head = _common_prefix(expected, actual)
    tail = _common_suffix(expected[head * HASH :], actual[head * HASH :])
    there = _split(expected)[head : len(expected) // HASH - tail]
    here = _split(actual)[head : len(actual) // HASH - tail]
    places = {value: position for position, value in enumerate(there)}
    found = [_claim(places, value) for value in here]
    matched = {position for position in found if position is not None}
    if len(matched) == len(here) == len(there):  # nothing but the order changed: name every event that is not in its place
        kept = {line for line, position in enumerate(found) if line == position}
    else:
        kept = _longest_rising(found)
    result = [Change(Fault.MOVED, position, line) for line, position in enumerate(found) if position is not None and line not in kept]
    for positions, lines in _gaps(found, kept, matched, len(there)):
        paired = min(len(positions), len(lines))
        result += [Change(Fault.EDITED, p, i) for p, i in zip(positions, lines, strict=False)]
        result += [Change(Fault.REMOVED, p, None) for p in positions[paired:]]
        result += [Change(Fault.ADDED, None, i) for i in lines[paired:]]
    shifted = [Change(c.fault, _shift(c.position, head), _shift(c.line, head)) for c in result]
    return sorted(shifted, key=lambda c: (c.position if c.position is not None else c.line or 0, c.fault))


def _claim(places: dict[bytes, int], value: bytes) -> int | None:
    """Each event of the log is found once; a copy of it is an addition."""
    return places.pop(value, None)


def _gaps(found: list[int | None], kept: set[int], matched: set[int], end: int) -> Iterator[tuple[list[int], list[int]]]:
    """Between two events that kept their order: the positions nobody has, and the lines that belong to no position."""
    last_position, lines = -1, list[int]()
    for line in range(len(found) + 1):
        position = end if line == len(found) else found[line] if line in kept else None
        if position is not None:
            yield [p for p in range(last_position + 1, position) if p not in matched], lines
            last_position, lines = position, []
        elif found[line] is None:
            lines.append(line)


def _longest_rising(found: list[int | None]) -> set[int]:
    """The lines of a longest subsequence whose positions rise: what stayed in order."""
    ends: list[int] = []
    lines: list[int] = []
    before: dict[int, int | None] = {}
    for line, position in enumerate(found):
        if position is None:
            continue
        at = bisect_left(ends, position)
        before[line] = lines[at - 1] if at else None
        ends[at : at + 1] = [position]
        lines[at : at + 1] = [line]
    kept: set[int] = set()
    current = lines[-1] if lines else None
    while current is not None:
        kept.add(current)
        current = before[current]
    return kept


def _common_prefix(a: bytes, b: bytes) -> int:
    """How many leading hashes agree."""
    low, high = 0, min(len(a), len(b)) // HASH
    while low < high:  # halving on slices compares in C
        middle = (low + high + 1) // 2
        if a[low * HASH : middle * HASH] == b[low * HASH : middle * HASH]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_suffix(a: bytes, b: bytes) -> int:
    low, high = 0, min(len(a), len(b)) // HASH
    while low < high:
        middle = (low + high + 1) // 2
        if a[len(a) - middle * HASH : len(a) - low * HASH] == b[len(b) - middle * HASH : len(b) - low * HASH]:
            low = middle
        else:
            high = middle - 1
    return low


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH] for at in range(0, len(hashes), HASH)]


def _shift(index: int | None, by: int) -> int | None:
    return None if index is None else index + by
