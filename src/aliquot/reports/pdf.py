"""The compliance report as a tagged PDF, with its JSON as an attachment. Blocking."""

from collections.abc import Mapping
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

from aliquot.ledger.contracts import SignedDocument
from aliquot.platform.pdf import Unprintable, typeset

_TEMPLATE = Path(__file__).with_name("compliance.typ")
_NO_GLYPH = "Some characters are in no font of this server and appear as boxes; the attached JSON holds them."


def pdf(document: Mapping[str, Any], signed: SignedDocument) -> bytes:
    """Everything of the document but the paths of the proofs, which are in the attachment."""
    families = [{"name": name, "sections": list(found)} for name, found in groupby(document["sections"], key=lambda s: s["family"])]
    data = {
        "report": document, "families": families, "sha256": signed.sha256, "file_sha256": sha256(signed.file).hexdigest(),
        "json": signed.file.decode(), "warning": "",
    }  # fmt: skip
    try:
        return typeset(_TEMPLATE, data)
    except Unprintable:
        return typeset(_TEMPLATE, data | {"warning": _NO_GLYPH}, standard=None)
