"""What others see of attachments."""

import uuid
from dataclasses import dataclass
from typing import Literal

from aliquot.documents.contracts import Kind, Reading
from aliquot.kernel.clock import Timestamp

State = Literal["clean", "not_scanned", "quarantined", "infected", "deleted"]
"""`quarantined`: the scanner could not be asked yet; nobody gets the file before it was. `not_scanned`: this site has no scanner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file as listed. Names and types are VoiceAssist's (`file_name`, `file_type`, …)."""

    id: uuid.UUID
    file_name: str
    file_type: str
    """`pdf`, `image`, `text`, `markdown`, `csv`, `xlsx`, `docx`."""
    file_size: int
    """Bytes."""
    mime_type: str
    sha256: str
    file_url: str
    state: State
    phase: Literal["waiting_for_scan", "done"]
    reading: Reading
    """How much of its text a model can be given."""
    pages: int | None
    width: int | None
    height: int | None
    uploaded_by: uuid.UUID
    uploaded_at: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A way to download one file without a token, for a short time, for one person."""

    url: str
    expires_at: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a file besides its bytes; sealed in its row."""

    name: str
    kind: Kind
    sha256: str
    reading: Reading
    pages: int | None = None
    width: int | None = None
    height: int | None = None
    shown_type: str | None = None
    """Media type of the image made for models; None when the extracted content is text."""
    shown_width: int = 0
    shown_height: int = 0
