"""What others see of documents."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["pdf", "png", "jpeg", "gif", "webp", "text", "markdown", "csv", "xlsx", "docx"]
Reading = Literal["read", "partial", "no_text", "unreadable"]
"""How far the text came: all of it, cut off, none in the file, or it could not be read in time."""

_OOXML = "application/vnd.openxmlformats-officedocument."
MEDIA_TYPES: dict[Kind, str] = {
    "pdf": "application/pdf", "png": "image/png", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
    "text": "text/plain", "markdown": "text/markdown", "csv": "text/csv",
    "xlsx": f"{_OOXML}spreadsheetml.sheet", "docx": f"{_OOXML}wordprocessingml.document",
}  # fmt: skip
"""The allow-list."""

IMAGES: frozenset[str] = frozenset({"png", "jpeg", "gif", "webp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits on one file; their names are those of `platform.settings.Limits`."""

    seconds: float = 4.0
    """After this the text read so far is kept (`partial`)."""
    memory_bytes: int = 600_000_000
    text_chars: int = 400_000
    entries: int = 2_000
    """Files inside an XLSX or DOCX."""
    unpacked_bytes: int = 100_000_000
    pages: int = 2_000
    pixels: int = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An image as it is shown to a model: scaled down, without metadata."""

    media_type: str
    data: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What was found in a file."""

    kind: Kind
    reading: Reading
    text: str = ""
    pages: int | None = None
    """Pages of a PDF, sheets of a workbook."""
    width: int | None = None
    height: int | None = None
    image: Shown | None = None

    def facts(self) -> dict[str, Any]:
        """What is told of the file besides its text."""
        facts = {"reading": self.reading, "pages": self.pages, "width": self.width, "height": self.height}
        return {name: value for name, value in facts.items() if value is not None}
