"""PDF by typst from a template of ours and data: nothing of the data is ever parsed as markup."""

import json
from pathlib import Path
from typing import Any

import typst

ACCESSIBLE = "ua-1"
"""PDF/UA-1 (ISO 14289-1): tagged, with title and language; refuses characters that no font here can show."""


class Unprintable(ValueError):
    """The data holds characters that no font here can show."""


def typeset(template: Path, data: dict[str, Any], *, standard: Any = ACCESSIBLE) -> bytes:
    """The PDF; it is tagged also without a standard. Blocking. Raises Unprintable with a standard."""
    try:
        made = typst.compile(
            str(template), format="pdf", pdf_standards=standard or [], ignore_system_fonts=True, sys_inputs={"data": json.dumps(data)}
        )
    except typst.TypstError as error:
        said = f"{error.message}{error.diagnostic}"
        if standard and ("glyph" in said or "could not be displayed with font" in said):
            raise Unprintable from error
        raise
    if not isinstance(made, bytes):
        raise TypeError("typst gave no PDF")
    return made
