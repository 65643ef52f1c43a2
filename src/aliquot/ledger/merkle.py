"""The Merkle tree of the log: RFC 6962 §2.1 hashing, C2SP tiles, proofs. Pure: no I/O.

`aliquot_verify` holds its own, smaller copy of the hashing on purpose: a verifier that shares code with what it verifies
would share its mistakes, and a third party must be able to read it without reading Aliquot.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

WIDTH = 256
"""Hashes per full tile; a tile is a subtree of height 8 (C2SP tlog-tiles)."""
EMPTY_ROOT = hashlib.sha256(b"").digest()


class Node(NamedTuple):
    """The hash of the `256**level` leaves from `n * 256**level` on."""

    level: int
    n: int
    hash: bytes


class Tile(NamedTuple):
    """The address of a tile: `width` < 256 is a partial one."""

    level: int
    n: int
    width: int = WIDTH


class Range(NamedTuple):
    """Leaves `start` to `end` (exclusive): a subtree as RFC 6962 splits them."""

    start: int
    end: int


def leaf_hash(entry: bytes) -> bytes:
    """RFC 6962: SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The root over 2**k hashes, k >= 0."""
    level = list(hashes)
    while len(level) > 1:
        pairs = iter(level)
        level = [node_hash(left, right) for left, right in zip(pairs, pairs, strict=True)]
    return level[0]


class Tree:
    """The right edge of the tree: per level the hashes of its unfinished tile. Enough to append and to compute the root."""

    def __init__(self, size: int = 0, edges: Sequence[Sequence[bytes]] = ()) -> None:
        """`edges[level]` are the `(size >> 8 * level) % 256` hashes of that level's unfinished tile."""
        self.size = size
        self._edges = [list(edge) for edge in edges]
        expected = [(size >> 8 * level) % WIDTH for level in range(len(self._edges))]
        if [len(edge) for edge in self._edges] != expected or size >> 8 * len(self._edges):
            raise ValueError("the edges do not belong to a tree of this size")

    def append(self, leaf: bytes) -> list[Node]:
        """Add a leaf hash. The nodes of levels >= 1 that it completed, lowest first."""
        self.size += 1
        completed: list[Node] = []
        level, carried = 0, leaf
        while True:
            if level == len(self._edges):
                self._edges.append([])
            edge = self._edges[level]
            edge.append(carried)
            if len(edge) < WIDTH:
                return completed
            carried = perfect_root(edge)
            edge.clear()
            level += 1
            completed.append(Node(level, (self.size >> 8 * level) - 1, carried))

    def root(self) -> bytes:
        """The Merkle tree hash of all leaves."""
        peaks: list[bytes] = []
        for edge in reversed(self._edges):
            at = 0
            for bit in range(7, -1, -1):
                if len(edge) & 1 << bit:
                    peaks.append(perfect_root(edge[at : at + (1 << bit)]))
                    at += 1 << bit
        return _fold(peaks)

    def copy(self) -> "Tree":
        return Tree(self.size, self._edges)


def _fold(peaks: Sequence[bytes]) -> bytes:
    """The hash over perfect subtrees of falling size, left to right."""
    if not peaks:
        return EMPTY_ROOT
    result = peaks[-1]
    for peak in reversed(peaks[:-1]):
        result = node_hash(peak, result)
    return result


def tile_path(tile: Tile, *, entries: bool = False) -> str:
    """The C2SP path, e.g. `tile/0/x001/234.p/17` or `tile/entries/000`."""
    digits = f"{tile.n:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    parts = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    path = "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])
    partial = "" if tile.width == WIDTH else f".p/{tile.width}"
    return f"tile/{'entries' if entries else tile.level}/{path}{partial}"


_TILE_PATH = re.compile(r"tile/(0|[1-9][0-9]?|entries)/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


def parse_tile_path(path: str) -> tuple[Tile, bool] | None:
    """The tile a C2SP path names and whether it is an entry bundle; None when it is not such a path."""
    match = _TILE_PATH.fullmatch(path)
    if match is None:
        return None
    entries = match[1] == "entries"
    width = WIDTH if match[3] is None else int(match[3])
    tile = Tile(0 if entries else int(match[1]), int(match[2].replace("x", "").replace("/", "")), width)
    # One resource has one path: leading zero groups and `.p/256` are refused by writing the path anew.
    return (tile, entries) if tile_path(tile, entries=entries) == path else None


def tiles_between(old_size: int, new_size: int, level: int) -> Iterator[Tile]:
    """The tiles of `level` that a tree of `new_size` has and one of `old_size` had not, full ones first."""
    old, new = old_size >> 8 * level, new_size >> 8 * level
    yield from (Tile(level, n) for n in range(old // WIDTH, new // WIDTH))
    if new % WIDTH and new != old:
        yield Tile(level, new // WIDTH, new % WIDTH)


def levels(size: int) -> int:
    """How many tile levels a tree of `size` leaves has."""
    return -(-size.bit_length() // 8)


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees whose hashes are RFC 6962's audit path of leaf `index`, from the leaf to the root."""
    if not 0 <= index < size:
        raise ValueError("no such leaf in this tree")
    ranges: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        split = start + _split(end - start)
        if index < split:
            ranges.append(Range(split, end))
            end = split
        else:
            ranges.append(Range(start, split))
            start = split
    return ranges[::-1]


def consistency_ranges(old_size: int, new_size: int) -> list[Range]:
    """The subtrees whose hashes are RFC 6962's consistency proof from `old_size` to `new_size`."""
    if not 0 < old_size <= new_size:
        raise ValueError("not an earlier tree")
    ranges: list[Range] = []
    start, end, complete = 0, new_size, True
    while old_size != end:
        split = start + _split(end - start)
        if old_size <= split:
            ranges.append(Range(split, end))
            end = split
        else:
            ranges.append(Range(start, split))
            start, complete = split, False
    if not complete:
        ranges.append(Range(start, end))
    return ranges[::-1]


def needed_tiles(ranges: Iterable[Range], size: int) -> list[Tile]:
    """The tiles (at their width in a tree of `size`) from which `range_hash` computes these ranges."""
    found = {(level, first // WIDTH) for covered in ranges for level, first, _ in _segments(covered)}
    return [Tile(level, n, min(WIDTH, (size >> 8 * level) - n * WIDTH)) for level, n in sorted(found)]


def range_hash(covered: Range, tiles: Mapping[tuple[int, int], Sequence[bytes]]) -> bytes:
    """The hash of a subtree, from the hashes of the tiles `(level, n)`."""
    peaks = []
    for level, first, count in _segments(covered):
        at = first % WIDTH
        peaks.append(perfect_root(tiles[level, first // WIDTH][at : at + count]))
    return _fold(peaks)


def _segments(covered: Range) -> Iterator[tuple[int, int, int]]:
    """Split a range into perfect subtrees: (level, first node, number of nodes) inside one tile each."""
    at = covered.start
    while at < covered.end:
        height = (covered.end - at).bit_length() - 1
        if at:
            height = min(height, (at & -at).bit_length() - 1)
        level = height // 8
        yield level, at >> 8 * level, 1 << height - 8 * level
        at += 1 << height


def _split(count: int) -> int:
    """The largest power of two smaller than `count`."""
    return 1 << (count - 1).bit_length() - 1


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """A C2SP entry bundle: each entry after its length as two big-endian bytes."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
