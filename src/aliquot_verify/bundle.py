"""Opens a bundle without trusting it: names, sizes and counts are bounded before anything is read, nothing is unpacked to disk."""

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

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
_READ_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


class Bundle:
    """The files of a bundle by name. Every reading method raises Unusable when the archive is damaged."""

    def __init__(self, path: Path) -> None:
        try:
            if path.stat().st_size > 1 << 50 or not zipfile.is_zipfile(path):
                raise Unusable(Fault.DAMAGED, "this is not a zip archive")
            self._zip = zipfile.ZipFile(path)
        except _READ_ERRORS as error:
            raise Unusable(Fault.DAMAGED, f"the archive cannot be opened ({type(error).__name__})") from error
        self._infos = self._index()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._zip.close()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._infos)

    def size(self, name: str) -> int:
        return self._infos[name].file_size

    def read(self, name: str) -> bytes:
        """A whole file; its size was bounded when the archive was opened."""
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """The contents piece by piece, never more than the archive declared."""
        if name not in self._infos:
            raise Unusable(Fault.DAMAGED, f"{name} is missing from the bundle", name)
        left = self._infos[name].file_size
        try:
            with self._zip.open(self._infos[name]) as file:
                while piece := file.read(_CHUNK):
                    left -= len(piece)
                    if left < 0:
                        raise Unusable(Fault.DAMAGED, f"{name} is longer than the archive declares", name)
                    yield piece
        except _READ_ERRORS as error:
            raise Unusable(Fault.DAMAGED, f"{name} cannot be read from the archive ({type(error).__name__})", name) from error
        if left:
            raise Unusable(Fault.DAMAGED, f"{name} is shorter than the archive declares", name)

    def _index(self) -> dict[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        if len(infos) > _FILES_MAX:
            raise Unusable(Fault.DAMAGED, "the archive holds too many files")
        found: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            name = info.filename
            shown = repr(name[:80])
            limit = _LIMITS.get(name, _TILE_BYTES_MAX if _TILE.fullmatch(name) else None)
            if limit is None or info.orig_filename != name:
                raise Unusable(Fault.DAMAGED, f"the archive holds a file that does not belong to a bundle: {shown}")
            if name in found:
                raise Unusable(Fault.DAMAGED, f"the archive holds {shown} twice", name)
            if info.file_size > limit:
                raise Unusable(Fault.DAMAGED, f"{shown} is larger than it can be", name)
            if info.flag_bits & 1 or info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise Unusable(Fault.DAMAGED, f"{shown} is encrypted or compressed in an unknown way", name)
            found[name] = info
        return found
