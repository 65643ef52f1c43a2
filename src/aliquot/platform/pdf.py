"""PDF by typst from a template of ours and data: nothing of the data is ever parsed as markup."""

import json
from pathlib import Path
from typing import Any

import typst

ACCESSIBLE = "ua-1"
"""PDF/UA-1 (ISO 14289-1): tagged, with title and language; refuses characters that no font here can show."""


class Unprintable(ValueError):
    """The standard refuses this document, e.g. because of a character that no font here can show."""


def typeset(template: Path, data: dict[str, Any], *, standard: Any = ACCESSIBLE, system_fonts: bool = False) -> bytes:
    """The PDF; it is tagged also without a standard. Blocking. Raises Unprintable with a standard.

    `system_fonts`: also the machine's own, for texts in any script; without them the file is the same on every machine.
    """
    try:
        made = typst.compile(
            str(template), format="pdf", pdf_standards=standard or [], ignore_system_fonts=not system_fonts,
            sys_inputs={"data": json.dumps(data)},
        )  # fmt: skip
    except typst.TypstError as error:
        if standard:
            raise Unprintable from error
        raise
    if not isinstance(made, bytes):
        raise TypeError("typst gave no PDF")
    return made
