"""What kind a file is, by its content. Runs in the reading process only.

Signatures stand at byte 0. What is also something else (a ZIP behind an image, a PDF head inside a GIF) is refused: such a file
is one thing for the check and another for the program that opens it.
"""

import zipfile
from typing import IO

import puremagic

from aliquot.documents.contracts import Kind
from aliquot.documents.readers.refusal import Refused

_HEAD = 8_192
_SIGNATURES: tuple[tuple[bytes, Kind], ...] = (
    (b"%PDF-", "pdf"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
)
_TEXTS: frozenset[Kind | None] = frozenset({"text", "markdown", "csv"})
# Texts by their bytes, programs by what opens them.
_NOT_TEXT = (b"{\\rtf", b"%!PS", b"%!ps", b"MZ", b"\x7fELF", b"#!")
_PE_DOS_TEXT = b"This program cannot be run"


def kind_of(file: IO[bytes], promised: Kind | None) -> Kind:
    """The kind of `file`, which agrees with what its name promises. Raises Refused."""
    file.seek(0)
    head = file.read(_HEAD)
    if not head:
        raise Refused("empty_file")
    found = _by_signature(head)
    if found is None and head.startswith(b"PK\x03\x04"):
        return _agreed(_package(file), promised)
    if found is None:
        found = _text(file, head, promised)
    if zipfile.is_zipfile(file) or (found != "pdf" and b"%PDF-" in head[:1_024] and found not in _TEXTS):
        raise Refused("ambiguous_file")
    return _agreed(found, promised)


def _by_signature(head: bytes) -> Kind | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)


def _agreed(found: Kind, promised: Kind | None) -> Kind:
    if promised is None:
        raise Refused("type_mismatch", f"The content is {found.upper()}; the file's name must end accordingly.")
    if found != promised:
        raise Refused("type_mismatch", f"The name ends like {promised.upper()}, the content is {found.upper()}.")
    return found


def _package(file: IO[bytes]) -> Kind:
    """XLSX or DOCX by the types the package declares; any other archive is not accepted."""
    try:
        with zipfile.ZipFile(file) as package:
            if package.start_dir and min((info.header_offset for info in package.infolist()), default=0) != 0:
                raise Refused("ambiguous_file")
            entry = package.getinfo("[Content_Types].xml")
            if entry.flag_bits & 1:
                raise Refused("encrypted_file")
            with package.open(entry) as part:
                types = part.read(1_000_000)
    except KeyError:
        raise Refused("type_not_allowed", "Archives are not accepted.") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError, EOFError):
        raise Refused("broken_file") from None
    if b"macroEnabled" in types or b"vbaProject" in types:
        raise Refused("unsafe_document", "Documents with macros are not accepted.")
    if b"spreadsheetml.sheet.main+xml" in types:
        return "xlsx"
    if b"wordprocessingml.document.main+xml" in types:
        return "docx"
    raise Refused("type_not_allowed")


def _text(file: IO[bytes], head: bytes, promised: Kind | None) -> Kind:
    """A text of the promised kind; anything else is named as well as it can be and refused."""
    if _looks_like_text(file, head):
        return promised if promised in ("markdown", "csv") else "text"
    raise Refused("type_not_allowed", _named(head))


def _looks_like_text(file: IO[bytes], head: bytes) -> bool:
    if head.startswith(_NOT_TEXT) and not (head.startswith(b"MZ") and _PE_DOS_TEXT not in head and b"\0" not in head):
        return False
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return True
    file.seek(0)
    while piece := file.read(1 << 20):
        if b"\0" in piece:
            return False
    control = sum(byte < 32 and byte not in (9, 10, 12, 13, 27) for byte in head)
    return control * 100 <= len(head)


def _named(head: bytes) -> str | None:
    try:
        found = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return None
    best = max(found, key=lambda match: match.confidence, default=None)
    return f"This looks like a {best.extension} file, which is not accepted." if best is not None and best.extension else None
