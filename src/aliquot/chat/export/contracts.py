"""What an export is made of. Pure data."""

from dataclasses import dataclass, field
from typing import Any, Literal

from aliquot.kernel.clock import Timestamp

Format = Literal["pdf", "markdown", "json"]
MEDIA_TYPES: dict[Format, str] = {"pdf": "application/pdf", "markdown": "text/markdown; charset=utf-8", "json": "application/json"}
SUFFIXES: dict[Format, str] = {"pdf": "pdf", "markdown": "md", "json": "json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the reader wants to see. JSON always holds everything."""

    format: Format
    include_citations: bool = True
    include_timestamps: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One message as printed."""

    author: str
    at: Timestamp
    text: str
    incomplete: bool = False
    citations: tuple[dict[str, Any], ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The shown branch of a conversation, ready to be printed."""

    title: str
    conversation_id: str
    exported_by: str
    exported_at: Timestamp
    time_zone: str
    """IANA name; every time in the document is in it."""
    hidden: int = 0
    """Messages of other branches, which are not printed."""
    entries: tuple[Entry, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A finished file."""

    name: str
    media_type: str
    data: bytes
