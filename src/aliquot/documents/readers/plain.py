"""Text, Markdown and CSV."""

import codecs
import csv
import io
from typing import IO

from aliquot.documents.contracts import Bounds
from aliquot.documents.readers.output import Output

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_PIECE = 65_536


def read_text(file: IO[bytes], out: Output, bounds: Bounds) -> None:
    """The text in its own encoding: UTF-8, UTF-16 with a mark, else Windows-1252, in which every byte means something."""
    with _opened(file) as text:
        while piece := text.read(_PIECE):
            out.add(piece.replace("\0", ""))


def read_csv(file: IO[bytes], out: Output, bounds: Bounds) -> None:
    """Rows as they stand; a table that Python's reader does not understand is given as text."""
    csv.field_size_limit(1_000_000)
    try:
        with _opened(file) as text:
            sample = text.read(_PIECE)
            out.facts["columns"] = max((len(row) for row in csv.reader(io.StringIO(sample[: sample.rfind("\n") + 1]))), default=0)
    except csv.Error:
        pass
    read_text(file, out, bounds)


def _opened(file: IO[bytes]) -> io.TextIOWrapper:
    """The file as text; closing it leaves `file` open."""
    file.seek(0)
    with open(file.fileno(), "rb", closefd=False) as raw:
        encoding = _encoding(raw)
    file.seek(0)
    return io.TextIOWrapper(open(file.fileno(), "rb", closefd=False), encoding=encoding, errors="replace", newline=None)


def _encoding(file: IO[bytes]) -> str:
    head = file.read(4)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.seek(0)
    try:
        while piece := file.read(1 << 20):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"
