"""PDF, by pypdf."""

import logging
from typing import IO

import pypdf
from pypdf.errors import PyPdfError

from aliquot.documents.contracts import Bounds
from aliquot.documents.readers.output import Output
from aliquot.documents.readers.refusal import Refused

logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it quotes what it stumbles over


def read_pdf(file: IO[bytes], out: Output, bounds: Bounds) -> None:
    """The text page by page. A page that cannot be read is said so; a file without pages is broken."""
    file.seek(0)
    reader = pypdf.PdfReader(file, strict=False)
    if reader.is_encrypted and not reader.decrypt(""):  # the empty password is what every viewer tries
        raise Refused("encrypted_file")
    count = len(reader.pages)
    if count == 0:
        raise Refused("broken_file")
    out.facts["pages"] = count
    for number in range(min(count, bounds.pages)):
        try:
            text = reader.pages[number].extract_text()
        except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            text = "(this page could not be read)"
        if text.strip():
            out.add(f"[Page {number + 1}]\n{text.strip()}\n\n")
    out.cut = out.cut or count > bounds.pages
