"""RFC 6962 §2.1 hashing, as much of it as a verifier needs. A second implementation on purpose: see `aliquot.ledger.merkle`."""

from hashlib import sha256

HASH = 32
WIDTH = 256
TILE_BYTES = HASH * WIDTH


def leaf(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def root(hashes: bytes) -> bytes:
    """The Merkle tree hash over leaf (or node) hashes, given as one string of 32-byte hashes."""
    if not hashes:
        return sha256(b"").digest()
    while len(hashes) > HASH:
        paired = [sha256(b"\x01" + hashes[at : at + 2 * HASH]).digest() for at in range(0, len(hashes) - HASH, 2 * HASH)]
        # An odd node at the end goes up unchanged: the same tree as RFC 6962's split at the largest power of two.
        hashes = b"".join(paired) + hashes[len(paired) * 2 * HASH :]
    return hashes


def tile_roots(hashes: bytes) -> bytes:
    """The hashes of the level above: one per full tile."""
    full = len(hashes) // TILE_BYTES * TILE_BYTES
    return b"".join(root(hashes[at : at + TILE_BYTES]) for at in range(0, full, TILE_BYTES))


def tile_sizes(size: int) -> dict[str, int]:
    """C2SP path -> bytes of every tile of a tree of `size` leaves, level by level, left to right."""
    found = {}
    level = 0
    while count := size >> 8 * level:
        for n in range(-(-count // WIDTH)):
            width = min(WIDTH, count - n * WIDTH)
            found[tile_path(level, n, width)] = width * HASH
        level += 1
    return found


def tile_path(level: int, n: int, width: int) -> str:
    digits = f"{n:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    name = "/".join([*("x" + group for group in groups[:-1]), groups[-1]])
    return f"tile/{level}/{name}" + ("" if width == WIDTH else f".p/{width}")
