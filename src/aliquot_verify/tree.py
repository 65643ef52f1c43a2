"""Judges the tiles: do they hash to the signed root, and if not, which of them is to blame?"""

from collections.abc import Iterator
from typing import NamedTuple

from aliquot_verify.faults import Fault, Finding
from aliquot_verify.merkle import HASH, TILE_BYTES, WIDTH, root, tile_path, tile_roots


class Judged(NamedTuple):
    """The leaf hashes to compare events with, whether they are those that were signed, and what is wrong with the tiles."""

    leaves: bytes
    signed: bool
    findings: list[Finding]


def judge(levels: list[bytes], signed_root: bytes, first: int, lines: bytes) -> Judged:
    """`levels` are the hashes of each tile level; `lines` the leaf hashes of the events at hand, from seq `first` on."""
    leaves = levels[0] if levels else b""
    above = tile_roots(leaves)
    if _root(leaves, above) == signed_root:
        return Judged(leaves, True, list(_upper(levels, above)))
    repaired = _repair(levels, above, first, lines)
    if repaired != leaves and _root(repaired, tile_roots(repaired)) == signed_root:
        return Judged(repaired, True, [*_altered_hashes(leaves, repaired), *_upper(levels, tile_roots(repaired))])
    return Judged(leaves, False, list(_suspects(levels, above)))


def _root(leaves: bytes, above: bytes) -> bytes:
    tail = leaves[len(above) // HASH * TILE_BYTES :]
    return root(above + root(tail)) if tail else root(above)


def _repair(levels: list[bytes], above: bytes, first: int, lines: bytes) -> bytes:
    """The leaves with each doubtful tile replaced by the hashes of the events themselves, where the events fill it."""
    leaves = bytearray(levels[0] if levels else b"")
    parents = levels[1] if len(levels) > 1 else b""
    for n in range(-(-len(leaves) // TILE_BYTES)):
        node = slice(n * HASH, (n + 1) * HASH)
        if above[node] and above[node] == parents[node]:
            continue
        start, end = n * TILE_BYTES, min((n + 1) * TILE_BYTES, len(leaves))
        replacement = lines[start - first * HASH : end - first * HASH] if start >= first * HASH else b""
        if len(replacement) == end - start and (not above[node] or root(replacement) == parents[node]):
            leaves[start:end] = replacement
    return bytes(leaves)


def _altered_hashes(given: bytes, right: bytes) -> Iterator[Finding]:
    for seq in range(len(given) // HASH):
        if given[seq * HASH : (seq + 1) * HASH] != right[seq * HASH : (seq + 1) * HASH]:
            name = _tile_name(0, seq, len(given) // HASH)
            text = f"the tree's hash of event {seq} was altered in {name}; the event itself is intact"
            yield Finding(fault=Fault.TREE, text=text, seq=seq, file=name)


def _upper(levels: list[bytes], above: bytes) -> Iterator[Finding]:
    """The higher levels repeat what the leaves give."""
    for level in range(1, len(levels)):
        count = len(levels[level]) // HASH
        for n in range(count):
            at = slice(n * HASH, (n + 1) * HASH)
            if levels[level][at] != above[at]:
                name = _tile_name(level, n, count)
                span = WIDTH**level
                text = f"{name} was altered: its hash of events {n * span} to {(n + 1) * span - 1} is not theirs"
                yield Finding(fault=Fault.TREE, text=text, seq=n * span, file=name)
        above = tile_roots(above)


def _suspects(levels: list[bytes], above: bytes) -> Iterator[Finding]:
    """Which leaf tiles contradict the level above; when none does, the whole log is another than the one signed."""
    size = len(levels[0]) // HASH if levels else 0
    parents = levels[1] if len(levels) > 1 else b""
    doubtful = [n for n in range(len(above) // HASH) if above[n * HASH : (n + 1) * HASH] != parents[n * HASH : (n + 1) * HASH]]
    if not doubtful:
        text = "the tree is not the one that was signed: events were altered, removed or added together with their hashes"
        yield Finding(fault=Fault.TREE, text=text, file="checkpoint")
    for n in doubtful:
        name = _tile_name(0, n * WIDTH, size)
        text = f"events {n * WIDTH} to {(n + 1) * WIDTH - 1} cannot be vouched for: {name} was altered"
        yield Finding(fault=Fault.TREE, text=text, seq=n * WIDTH, file=name)


def _tile_name(level: int, index: int, count: int) -> str:
    n = index // WIDTH
    return tile_path(level, n, min(WIDTH, count - n * WIDTH))
