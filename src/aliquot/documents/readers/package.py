"""XLSX and DOCX: what the package may be, then its text."""

import zipfile
from typing import IO

from aliquot.documents.contracts import Bounds
from aliquot.documents.readers.output import Output
from aliquot.documents.readers.refusal import Refused

_RATIO = 200
_RATIO_FROM_BYTES = 1_000_000
_CELL_CHARS = 5_000
_EMPTY_ROWS = 10_000


def check(file: IO[bytes], bounds: Bounds) -> None:
    """Count, sizes, ratio, names, encryption and declarations of the parts, before any of them is read. Raises Refused.

    Sizes are the declared ones: `zipfile` reads no more than those, and refuses parts that overlap.
    """
    file.seek(0)
    with zipfile.ZipFile(file) as package:
        parts = package.infolist()
        if len(parts) > bounds.entries or sum(part.file_size for part in parts) > bounds.unpacked_bytes:
            raise Refused("unpacks_too_large")
        if len({part.filename for part in parts}) != len(parts):
            raise Refused("broken_file")
        for part in parts:
            _check_part(package, part)


def _check_part(package: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    if part.flag_bits & 1:
        raise Refused("encrypted_file")
    if part.filename.startswith(("/", "\\")) or ".." in part.filename.replace("\\", "/").split("/"):
        raise Refused("unsafe_document")
    if part.file_size > _RATIO_FROM_BYTES and part.file_size > _RATIO * max(1, part.compress_size):
        raise Refused("unpacks_too_large")
    name = part.filename.lower()
    if name.endswith("vbaproject.bin"):
        raise Refused("unsafe_document", "Documents with macros are not accepted.")
    if name.endswith((".xml", ".rels", ".vml")):
        with package.open(part) as content:
            head = content.read(4_096).replace(b"\0", b"")  # also UTF-16
        if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
            raise Refused("unsafe_document")


def read_xlsx(file: IO[bytes], out: Output, bounds: Bounds) -> None:
    """Stored values, sheet by sheet, tab-separated. Formulas are not computed; their last stored result is what is read."""
    import openpyxl  # noqa: PLC0415 - only the reader that is needed
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet  # noqa: PLC0415

    # A sheet's declared size is a claim that nothing here needs; one that declares none would be parsed whole before its first row.
    ReadOnlyWorksheet._get_size = lambda _: None
    check(file, bounds)
    file.seek(0)
    book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
    out.facts["pages"] = len(book.sheetnames)
    for sheet in book.worksheets:
        out.add(f"[Sheet {sheet.title}]\n")
        empty = 0
        for row in sheet.iter_rows(values_only=True):
            cells = ["" if value is None else str(value)[:_CELL_CHARS] for value in row]
            if line := "\t".join(cells).rstrip():
                out.add(line + "\n")
                empty = 0
            elif (empty := empty + 1) > _EMPTY_ROWS:  # a sheet that declares a million empty rows
                break
        out.add("\n")


def read_docx(file: IO[bytes], out: Output, bounds: Bounds) -> None:
    """Paragraphs and tables in their order."""
    import docx  # noqa: PLC0415
    from docx.table import Table  # noqa: PLC0415

    check(file, bounds)
    file.seek(0)
    document = docx.Document(file)
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            for row in block.rows:
                out.add("\t".join(cell.text.replace("\n", " ") for cell in row.cells) + "\n")
        elif block.text:
            out.add(block.text + "\n")
