"""The Merkle core against an independent implementation (pymerkle, test oracle only) and the C2SP texts."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree, verify_consistency, verify_inclusion
from pymerkle.proof import MerkleProof

from aliquot.ledger import merkle
from aliquot.ledger.merkle import Node, Range, Tile, Tree


def entries(count: int) -> list[bytes]:
    return [b"entry %d" % i for i in range(count)]


def oracle(count: int) -> InmemoryTree:
    tree = InmemoryTree(algorithm="sha256")
    for entry in entries(count):
        tree.append_entry(entry)
    return tree


def mth(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, as written there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def grow(count: int) -> tuple[Tree, list[bytes], list[Node]]:
    tree, leaves, nodes = Tree(), [], []
    for entry in entries(count):
        leaves.append(merkle.leaf_hash(entry))
        nodes += tree.append(leaves[-1])
    return tree, leaves, nodes


def tiles_of(leaves: list[bytes], nodes: list[Node], wanted: list[Tile]) -> dict[tuple[int, int], list[bytes]]:
    by_level = {0: leaves}
    for node in nodes:
        row = by_level.setdefault(node.level, [])
        assert node.n == len(row)
        row.append(node.hash)
    return {(t.level, t.n): by_level[t.level][t.n * 256 : t.n * 256 + t.width] for t in wanted}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 700])
def test_roots_agree_with_the_rfc_and_the_oracle(count: int) -> None:
    tree, _, _ = grow(count)
    assert tree.root() == mth(entries(count))
    if count:
        assert tree.root() == oracle(count).get_root()


def test_a_tree_over_three_levels_of_tiles() -> None:
    tree, leaves, nodes = grow(65_536 + 300)
    assert [n for n in nodes if n.level == 2] == [Node(2, 0, merkle.perfect_root(leaves[:65_536]))]
    whole = Range(0, tree.size)
    tiles = merkle.needed_tiles([whole], tree.size)
    assert tiles == [Tile(0, 257, 44), Tile(1, 1, 1), Tile(2, 0, 1)]
    assert merkle.range_hash(whole, tiles_of(leaves, nodes, tiles)) == tree.root() == mth(entries(tree.size))


@given(st.integers(1, 600), st.data())
@settings(max_examples=30, deadline=None)
def test_inclusion_proofs_convince_the_oracle(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    _, leaves, nodes = grow(size)
    ranges = merkle.inclusion_ranges(index, size)
    tiles = tiles_of(leaves, nodes, merkle.needed_tiles(ranges, size))
    path = [merkle.range_hash(r, tiles) for r in ranges]
    result = leaves[index]
    position, last = index, size - 1
    for sibling in path:  # RFC 9162 §2.1.3.2
        if position & 1 or position == last:
            result = merkle.node_hash(sibling, result)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            result = merkle.node_hash(result, sibling)
        position, last = position >> 1, last >> 1
    assert last == 0
    other = oracle(size)
    assert result == other.get_root()
    proof = other.prove_inclusion(index + 1)
    assert sorted(path) == sorted(proof.path[1:])
    verify_inclusion(leaves[index], result, proof)


@given(st.integers(1, 600), st.data())
@settings(max_examples=30, deadline=None)
@pytest.mark.rule("ALCOA consistent")
def test_consistency_proofs_are_those_of_the_rfc(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    tree, leaves, nodes = grow(new)
    ranges = merkle.consistency_ranges(old, new)
    tiles = tiles_of(leaves, nodes, merkle.needed_tiles(ranges, new))
    path = [merkle.range_hash(r, tiles) for r in ranges]
    assert path == subproof(old, entries(new), True)
    assert consistent(old, new, grow(old)[0].root(), tree.root(), path)
    if path:
        assert not consistent(old, new, grow(old)[0].root(), tree.root(), [*path[:-1], bytes(32)])
    proof = oracle(new).prove_consistency(old, new)
    assert isinstance(proof, MerkleProof)
    verify_consistency(grow(old)[0].root(), tree.root(), proof)


def subproof(m: int, leaves: list[bytes], complete: bool) -> list[bytes]:
    """RFC 6962 §2.1.2, as written there."""
    if m == len(leaves):
        return [] if complete else [mth(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*subproof(m, leaves[:k], complete), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def consistent(old: int, new: int, old_root: bytes, new_root: bytes, path: list[bytes]) -> bool:
    """RFC 9162 §2.1.4.2, as written there."""
    if old == new:
        return not path and old_root == new_root
    if old & (old - 1) == 0:
        path = [old_root, *path]
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            first, second = merkle.node_hash(sibling, first), merkle.node_hash(sibling, second)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            second = merkle.node_hash(second, sibling)
        position, last = position >> 1, last >> 1
    return first == old_root and second == new_root and last == 0


@given(st.integers(0, 600), st.integers(0, 600))
@settings(max_examples=40, deadline=None)
def test_a_tree_goes_on_from_its_edges(before: int, after: int) -> None:
    _, leaves, nodes = grow(before)
    by_level = {0: leaves, 1: [n.hash for n in nodes if n.level == 1]}
    edges = [by_level[level][(before >> 8 * level) // 256 * 256 :] for level in range(merkle.levels(before))]
    tree = Tree(before, edges)
    for i in range(after):
        tree.append(merkle.leaf_hash(b"entry %d" % (before + i)))
    assert tree.root() == grow(before + after)[0].root()


def test_edges_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="edges"):
        Tree(3, [[bytes(32)] * 2])
    with pytest.raises(ValueError, match="edges"):
        Tree(256, [[]])


def test_paths_of_the_specification() -> None:
    assert merkle.tile_path(Tile(0, 1234067, 8), entries=True) == "tile/entries/x001/x234/067.p/8"
    assert merkle.tile_path(Tile(2, 5)) == "tile/2/005"
    # C2SP tlog-tiles: "a tree of size 70,000 will be represented by 273 full level 0 tiles, one partial level 0 tile of width
    # 112, one full level 1 tile, one partial level 1 tile of width 17, and one partial level 2 tile of width 1"
    found = [list(merkle.tiles_between(0, 70_000, level)) for level in range(merkle.levels(70_000))]
    assert len(found[0]) == 274
    assert found[0][-1] == Tile(0, 273, 112)
    assert found[1] == [Tile(1, 0), Tile(1, 1, 17)]
    assert found[2] == [Tile(2, 0, 1)]


@given(st.integers(0, 20), st.integers(0, 10**9), st.integers(1, 256), st.booleans())
def test_paths_are_read_back(level: int, n: int, width: int, entries: bool) -> None:
    tile = Tile(0 if entries else level, n, width)
    assert merkle.parse_tile_path(merkle.tile_path(tile, entries=entries)) == (tile, entries)


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/1",
        "tile/00/001",
        "tile/0/x000/001",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/0/001.p/01",
        "tile/0/../../key",
        "tile/64",
        "",
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    assert merkle.parse_tile_path(path) is None


@given(st.integers(0, 70_000), st.integers(0, 70_000), st.integers(0, 2))
def test_growing_in_two_steps_writes_every_tile(a: int, b: int, level: int) -> None:
    a, b = sorted((a, b))
    in_steps = {t for step in ((0, a), (a, b)) for t in merkle.tiles_between(*step, level)}
    assert set(merkle.tiles_between(0, b, level)) <= in_steps
