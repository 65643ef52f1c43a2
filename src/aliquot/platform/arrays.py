"""Whole columns as one parameter, in PostgreSQL's binary form of arrays.

psycopg looks up how to write each element of a list: for the rows of the hot inserts that costs more than sealing them.
"""

import struct
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import postgres, pq
from psycopg.adapt import Dumper

_TYPES = postgres.types
_size, _int, _bigint = struct.Struct("!i").pack, struct.Struct("!ii").pack, struct.Struct("!iq").pack
_NULL = _size(-1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Array(ABC):
    """One array, encoded. Use a subclass."""

    __slots__ = ("data",)
    element: int
    """The type of an element (OID)."""

    def __init__(self, values: Sequence[Any]) -> None:
        """`values` may have None where NULL is meant."""
        head = struct.pack("!iiIii", 1, None in values, self.element, len(values), 1) if values else struct.pack("!iiI", 0, 0, self.element)
        self.data = b"".join([head, *[_NULL if value is None else self.encoded(value) for value in values]])

    @staticmethod
    @abstractmethod
    def encoded(value: Any) -> bytes:
        """The size (four bytes) and an element as PostgreSQL sends it."""


class Uuids(Array):
    element = _TYPES["uuid"].oid

    @staticmethod
    def encoded(value: uuid.UUID) -> bytes:
        return b"\0\0\0\x10" + value.bytes


class Ints(Array):
    """Of 32 bits."""

    element = _TYPES["int4"].oid

    @staticmethod
    def encoded(value: int) -> bytes:
        return _int(4, value)


class Bigints(Array):
    """Of 64 bits."""

    element = _TYPES["int8"].oid

    @staticmethod
    def encoded(value: int) -> bytes:
        return _bigint(8, value)


class Bools(Array):
    element = _TYPES["bool"].oid

    @staticmethod
    def encoded(value: bool) -> bytes:
        return b"\0\0\0\x01\x01" if value else b"\0\0\0\x01\0"


class Times(Array):
    """Points in time: `timestamptz`."""

    element = _TYPES["timestamptz"].oid

    @staticmethod
    def encoded(value: datetime) -> bytes:
        return Bigints.encoded((value - _EPOCH) // _MICROSECOND)


class Blobs(Array):
    element = _TYPES["bytea"].oid

    @staticmethod
    def encoded(value: bytes) -> bytes:
        return _size(len(value)) + value


class Texts(Array):
    """Also for numbers that must stay exact: `CAST(CAST(:x AS text[]) AS numeric[])`."""

    element = _TYPES["text"].oid

    @staticmethod
    def encoded(value: str) -> bytes:
        return Blobs.encoded(value.encode())


class _ArrayDumper(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: Array) -> bytes:
        return obj.data


for _array in (Uuids, Ints, Bigints, Bools, Times, Texts, Blobs):
    _dumper = type(f"{_array.__name__}Dumper", (_ArrayDumper,), {"oid": _TYPES.get(_array.element).array_oid})  # type: ignore[union-attr]  # built-in types
    psycopg.adapters.register_dumper(_array, _dumper)
