"""Whole columns as one parameter, in PostgreSQL's binary form of arrays.

psycopg looks up how to write each element of a list: for the rows of the hot inserts that costs more than sealing them.
"""

import struct
import uuid
from collections.abc import Sequence

import psycopg
from psycopg import postgres, pq
from psycopg.adapt import Dumper

_TYPES = postgres.types
_SIZE_16 = struct.pack("!i", 16)


class Array:
    """One array, encoded. Use a subclass."""

    __slots__ = ("data",)
    element: int
    """The type of an element (OID)."""

    def __init__(self, count: int, elements: Sequence[bytes]) -> None:
        """`elements`: sizes (four bytes) and values as PostgreSQL sends them."""
        head = struct.pack("!iiIii", 1, 0, self.element, count, 1) if count else struct.pack("!iiI", 0, 0, self.element)
        self.data = b"".join([head, *elements])


class Uuids(Array):
    element = _TYPES["uuid"].oid

    def __init__(self, values: Sequence[uuid.UUID]) -> None:
        super().__init__(len(values), [_SIZE_16 + value.bytes for value in values])


class Ints(Array):
    """Of 32 bits."""

    element = _TYPES["int4"].oid

    def __init__(self, values: Sequence[int]) -> None:
        super().__init__(len(values), [struct.pack("!ii", 4, value) for value in values])


class Texts(Array):
    element = _TYPES["text"].oid

    def __init__(self, values: Sequence[str]) -> None:
        super().__init__(len(values), _sized([value.encode() for value in values]))


class Blobs(Array):
    element = _TYPES["bytea"].oid

    def __init__(self, values: Sequence[bytes]) -> None:
        super().__init__(len(values), _sized(values))


def _sized(values: Sequence[bytes]) -> list[bytes]:
    parts: list[bytes] = []
    for value in values:
        parts += (struct.pack("!i", len(value)), value)
    return parts


class _ArrayDumper(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: Array) -> bytes:
        return obj.data


for _array in (Uuids, Ints, Texts, Blobs):
    _dumper = type(f"{_array.__name__}Dumper", (_ArrayDumper,), {"oid": _TYPES.get(_array.element).array_oid})  # type: ignore[union-attr]  # built-in types
    psycopg.adapters.register_dumper(_array, _dumper)
