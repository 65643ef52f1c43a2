"""Opens a bundle without trusting it: names, sizes and counts are bounded before anything is read, nothing is unpacked to disk.

The archive is read by rules of our own, the same as in `verifier-js`: nothing before its files or behind its end, no comment, each
file's two headers alike, no two files over the same bytes. What ZIP readers are known to take differently is refused.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from aliquot_verify.faults import Fault, Unusable

_FILES_MAX = 2_000_000
_CHUNK = 1 << 18  # bounds what a chunk of empty lines can cost
_LIMITS = {
    "checkpoint": 100_000,
    "keys.json": 4_000_000,
    "anchors.json": 20_000_000,
    "manifest.json": 300_000_000,
    "report.pdf": 100_000_000,
    "signatures.jsonl": 1 << 40,
    "events.jsonl": 1 << 44,
}
_TILE = re.compile(r"tile/[0-9]{1,2}/(x[0-9]{3}/){0,5}[0-9]{3}(\.p/[0-9]{1,3})?")
_TILE_BYTES_MAX = 8_192
_FLAGS = 0x0808
"""Sizes that follow the data, and names in UTF-8: all that a writer may say. Bits 1 and 2 tell how hard it packed."""
_END, _END64, _AT64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_ENTRY, _LOCAL = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_UNKNOWN = 0xFFFFFFFF
_READ_ERRORS = (struct.error, zlib.error, EOFError, OSError, ValueError, OverflowError)


@dataclass(slots=True)
class _File:
    name: str
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    flags: int


class Bundle:
    """The files of a bundle by name. Every reading method raises Unusable when the archive is damaged."""

    def __init__(self, path: Path) -> None:
        try:
            self._file: IO[bytes] = path.open("rb")
        except OSError as error:
            raise Unusable(Fault.DAMAGED, f"the archive cannot be opened ({type(error).__name__})") from error
        try:
            self._length = self._file.seek(0, 2)
            self._files = self._index()
        except _READ_ERRORS as error:
            self._file.close()
            raise Unusable(Fault.DAMAGED, "this is not a zip archive as bundles are") from error
        except Unusable:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._files)

    def read(self, name: str) -> bytes:
        """A whole file; its size was bounded when the archive was opened."""
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """The contents piece by piece, never more than the archive declared."""
        if name not in self._files:
            raise Unusable(Fault.DAMAGED, f"{name} is missing from the bundle", name)
        file = self._files[name]
        left, crc = file.size, 0
        try:
            for piece in self._unpacked(file):
                left -= len(piece)
                if left < 0:
                    raise Unusable(Fault.DAMAGED, f"{name} is longer than the archive declares", name)
                crc = zlib.crc32(piece, crc)
                yield piece
        except _READ_ERRORS as error:
            raise Unusable(Fault.DAMAGED, f"{name} cannot be read from the archive ({type(error).__name__})", name) from error
        if left:
            raise Unusable(Fault.DAMAGED, f"{name} is shorter than the archive declares", name)
        if crc != file.crc:
            raise Unusable(Fault.DAMAGED, f"{name} cannot be read from the archive (checksum)", name)

    def _unpacked(self, file: _File) -> Iterator[bytes]:
        at, left = self._data_of(file), file.packed
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        while left:
            packed = self._at(at, min(left, _CHUNK))
            at, left = at + len(packed), left - len(packed)
            if file.method == _STORED:
                yield packed
                continue
            while packed:
                if piece := inflate.decompress(packed, _CHUNK):
                    yield piece
                packed = inflate.unconsumed_tail
                if inflate.eof and (inflate.unused_data or left):
                    raise ValueError("something follows the packed data")
        if file.method == _DEFLATED:
            while not inflate.eof and (piece := inflate.decompress(b"", _CHUNK)):
                yield piece
            if not inflate.eof:
                raise ValueError("the packed data is cut")

    def _data_of(self, file: _File) -> int:
        """Where a file's data begins. Raises ValueError when its own header says otherwise than the directory."""
        name: int
        extra: int
        mark, _, flags, method, _, _, _, _, _, name, extra = _LOCAL.unpack(self._at(file.offset, _LOCAL.size))
        wanted = (b"PK\x03\x04", file.flags, file.method, file.name.encode())
        if (mark, flags, method, self._at(file.offset + _LOCAL.size, name)) != wanted:
            raise ValueError("another header")
        return file.offset + _LOCAL.size + name + extra

    def _index(self) -> dict[str, _File]:
        start, end, count = self._directory()
        if count > _FILES_MAX:
            raise Unusable(Fault.DAMAGED, "the archive holds too many files")
        found: dict[str, _File] = {}
        at = start
        while at < end:
            file, at = self._entry(at)
            self._check(file, found)
            found[file.name] = file
        if at != end or len(found) != count:
            raise ValueError("the directory is broken")
        self._check_places(list(found.values()), start)
        return found

    def _check_places(self, files: list[_File], start: int) -> None:
        """Every file lies behind the one before, the first one at the beginning and all before the directory."""
        before = 0
        for file in sorted(files, key=lambda file: file.offset):
            if file.offset < before or (before == 0 and file.offset):
                raise ValueError("files overlap")
            before = self._data_of(file) + file.packed
        if before > start:
            raise ValueError("files overlap")

    def _directory(self) -> tuple[int, int, int]:
        """Where the list of files begins and ends, and how many it holds."""
        at = self._length - _END.size
        mark, disk, first, here, count, size, start, comment = _END.unpack(self._at(at, _END.size))
        if mark != b"PK\x05\x06" or comment:
            raise ValueError("no end, or something behind it")
        if at >= _AT64.size and self._at(at - _AT64.size, 4) == b"PK\x06\x07":
            _, disk, at, disks = _AT64.unpack(self._at(at - _AT64.size, _AT64.size))
            mark, length, _, _, disk, first, here, count, size, start = _END64.unpack(self._at(at, _END64.size))
            whole = (length, at + _END64.size + _AT64.size + _END.size, disks)
            if mark != b"PK\x06\x06" or whole != (_END64.size - 12, self._length, 1):
                raise ValueError("no end")
        if (disk, first, here, start + size) != (0, 0, count, at):
            raise ValueError("the directory is broken")
        return start, at, count

    def _entry(self, at: int) -> tuple[_File, int]:
        """The file whose entry stands at `at`, and where the next one does."""
        mark, _, _, flags, method, _, _, crc, packed, size, length, extra, comment, disk, _, _, offset = _ENTRY.unpack(
            self._at(at, _ENTRY.size)
        )
        if mark != b"PK\x01\x02" or comment or disk:
            raise ValueError("the directory is broken")
        at += _ENTRY.size
        file = _File(self._at(at, length).decode("utf-8"), method, crc, packed, size, offset, flags)
        self._widen(file, self._at(at + length, extra))
        return file, at + length + extra

    def _widen(self, file: _File, extra: bytes) -> None:
        """Sizes and places beyond 4 GiB stand in a field of their own (zip64)."""
        while extra:
            kind, size = struct.unpack_from("<2H", extra)
            data, extra = extra[4 : 4 + size], extra[4 + size :]
            if len(data) != size:
                raise ValueError("a field is cut")
            for name in ("size", "packed", "offset") if kind == 1 else ():
                if getattr(file, name) == _UNKNOWN:
                    setattr(file, name, *struct.unpack_from("<Q", data))
                    data = data[8:]

    def _check(self, file: _File, found: dict[str, _File]) -> None:
        shown = repr(file.name[:80])
        limit = _LIMITS.get(file.name, _TILE_BYTES_MAX if _TILE.fullmatch(file.name) else None)
        if limit is None:
            raise Unusable(Fault.DAMAGED, f"the archive holds a file that does not belong to a bundle: {shown}")
        if file.name in found:
            raise Unusable(Fault.DAMAGED, f"the archive holds {shown} twice", file.name)
        if file.size > limit:
            raise Unusable(Fault.DAMAGED, f"{shown} is larger than it can be", file.name)
        if file.flags & ~(_FLAGS | 6) or file.method not in {_STORED, _DEFLATED}:
            raise Unusable(Fault.DAMAGED, f"{shown} is encrypted or compressed in an unknown way", file.name)

    def _at(self, place: int, length: int) -> bytes:
        """Raises EOFError, ValueError."""
        self._file.seek(place)
        data = self._file.read(length)
        if len(data) != length:
            raise EOFError
        return data
