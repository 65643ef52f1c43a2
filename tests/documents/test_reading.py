"""What is read from files, and which files are refused, by the process that opens them."""

import asyncio
import io
import os
import re
import zipfile

import pytest

from aliquot.documents.api import DocumentsApi
from aliquot.documents.contracts import Bounds, Contents
from aliquot.documents.errors import FileRefused
from aliquot.documents.names import kind_of_name
from tests.documents import files


def read(name: str, content: bytes, **bounds: float) -> Contents:
    async def ask() -> Contents:
        descriptor = os.memfd_create("test")
        try:
            os.write(descriptor, content)
            return await DocumentsApi(Bounds(**bounds)).read(descriptor, kind_of_name(name))  # type: ignore[arg-type]
        finally:
            os.close(descriptor)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("name", "content", "kind", "said"),
    [
        ("a.pdf", files.pdf("Lysis buffer, 12 µL", "Second page"), "pdf", "[Page 2]\nSecond page"),
        ("a.xlsx", files.xlsx(("Sample", "Ct"), ("S-1", 21.5)), "xlsx", "S-1\t21.5"),
        ("a.docx", files.word("Dilute 1:10.", "Ümlaut"), "docx", "Dilute 1:10.\nÜmlaut"),
        ("a.csv", b"name;value\nCt;21\n", "csv", "Ct;21"),
        ("a.md", "# Größe\n".encode(), "markdown", "# Größe"),
        ("a.TXT", "\ufeffeins".encode("utf-16"), "text", "eins"),
        ("a.txt", "Grüße".encode("cp1252"), "text", "Grüße"),
    ],
)
def test_the_text_of_every_kind_is_read(name: str, content: bytes, kind: str, said: str) -> None:
    found = read(name, content)
    assert (found.kind, found.reading) == (kind, "read")
    assert said in found.text


def test_an_image_is_scaled_and_loses_its_metadata() -> None:
    original = io.BytesIO()
    picture = files.Image.new("RGB", (3_000, 1_500), 128)
    exif = files.Image.Exif()
    exif[0x010E] = "patient 4711"
    picture.save(original, "JPEG", exif=exif)
    found = read("a.jpg", original.getvalue())
    assert (found.kind, found.reading, found.width, found.height) == ("jpeg", "no_text", 3_000, 1_500)
    assert found.image is not None
    assert (found.image.width, found.image.height, found.image.media_type) == (1_568, 784, "image/jpeg")
    assert b"patient 4711" not in found.image.data
    for kind in ("GIF", "WEBP", "PNG"):
        shown = read(f"a.{kind.lower()}", files.image(kind)).image
        assert shown is not None
        assert shown.media_type == "image/png"


ENCRYPTED_ENTRY = bytearray(files.package({"xl/workbook.xml": b"<workbook/>"}))
_at = ENCRYPTED_ENTRY.rfind(b"PK\x01\x02")
ENCRYPTED_ENTRY[_at + 8] |= 1
BOMB = files.package({"xl/sharedStrings.xml": b"A" * 30_000_000})
PDF = files.pdf("x")
ZIP = files.package({"a": b"b"})


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.pdf", files.encrypted_pdf(), "encrypted_file"),
        ("a.pdf", b"%PDF-1.7\nnothing of a PDF follows", "broken_file"),
        ("a.pdf", PDF[: len(PDF) // 4], "broken_file"),
        ("a.pdf", PDF + ZIP, "ambiguous_file"),
        ("a.gif", files.image("GIF") + ZIP, "ambiguous_file"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + PDF, "ambiguous_file"),
        ("a.xlsx", b"PK\x03\x04 broken", "broken_file"),
        ("a.xlsx", bytes(ENCRYPTED_ENTRY), "encrypted_file"),
        ("a.xlsx", BOMB, "unpacks_too_large"),
        ("a.xlsx", files.package({f"xl/{n}": b"" for n in range(2_100)}), "unpacks_too_large"),
        ("a.xlsx", files.package({"../evil.xml": b"<a/>"}), "unsafe_document"),
        ("a.xlsx", files.package({"xl/workbook.xml": b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'}), "unsafe_document"),
        ("a.xlsx", files.package({"xl/vbaProject.bin": b"x"}), "unsafe_document"),
        ("a.docx", files.xlsx(("a",)), "type_mismatch"),
        ("a.zip.docx", b"PK\x03\x04" + b"x" * 40, "broken_file"),
        ("a.png", files.image("JPEG"), "type_mismatch"),
        ("a.exe", b"plain words", "type_mismatch"),
        ("noextension", b"plain words", "type_mismatch"),
        ("a.png", files.image()[:60], "broken_file"),
        ("a.png", files.huge_png(), "image_too_large"),
        ("a.txt", b"MZ\x90\x00\x03" + bytes(100), "type_not_allowed"),
        ("a.txt", b"#!/bin/sh\nrm -rf /", "type_not_allowed"),
        ("a.txt", b"a\0b", "type_not_allowed"),
        ("a.txt", bytes(range(1, 32)) * 10, "type_not_allowed"),
        ("a.md", b"{\\rtf1 x}", "type_not_allowed"),
    ],
)
def test_a_file_that_is_not_to_be_kept_is_refused_with_its_reason(name: str, content: bytes, code: str) -> None:
    with pytest.raises(FileRefused) as refused:
        read(name, content)
    assert refused.value.code == code


def test_an_archive_is_not_a_document() -> None:
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(FileRefused) as refused:
        read("a.docx", plain.getvalue())
    assert refused.value.code == "type_not_allowed"


def test_what_takes_too_long_is_kept_as_far_as_it_came() -> None:
    """A table of a hundred thousand rows with a second's time, and a text with more characters than are wanted."""
    slow = read("a.xlsx", files.xlsx(*[(n, "text", n * 2) for n in range(30_000)]), seconds=0.8)
    assert slow.reading in ("partial", "unreadable")
    long = read("a.txt", b"word " * 1_000, text_chars=100)
    assert (long.reading, len(long.text)) == ("partial", 99)


def test_a_process_that_dies_or_wants_too_much_memory_is_a_refusal() -> None:
    with pytest.raises(FileRefused) as refused:
        read("a.png", files.image("PNG", (6_000, 6_000)), memory_bytes=90_000_000)
    assert refused.value.code in ("too_hard_to_read", "broken_file")


def test_a_sheet_that_does_not_tell_its_size_is_read_from_its_first_row() -> None:
    """Fails when a long sheet without a declared size is parsed whole first: it breaks off at its end, where nobody has to come."""
    whole = io.BytesIO(files.xlsx(*[(f"S-{n}", n) for n in range(2_000)]))
    cut = io.BytesIO()
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(cut, "w", zipfile.ZIP_DEFLATED) as target:
        for part in source.infolist():
            content = source.read(part)
            if part.filename == "xl/worksheets/sheet1.xml":
                content = re.sub(rb"<dimension[^>]*/>", b"", content)[:-200]
            target.writestr(part, content)
    found = read("a.xlsx", cut.getvalue(), text_chars=1_000)
    assert (found.reading, "S-50\t50" in found.text) == ("partial", True)
