"""Documents signed with the log's key (compliance and qualification reports). `aliquot-verify document` checks them offline.

The file is the RFC 8785 JSON of `{document, kind, origin, sha256, signature, v, vkey}`. `sha256` is that of the RFC 8785 bytes of
`document`; `signature` is over a text whose first line is no log's origin, so that it can never pass as a checkpoint.
"""

import base64
from hashlib import sha256
from typing import Any

from aliquot.kernel.canonical import canonical_json
from aliquot.ledger.contracts import SignedDocument
from aliquot.ledger.note import LogKey


def signed_document(key: LogKey, kind: str, document: dict[str, Any]) -> SignedDocument:
    """`document` as a signed file. Raises ValueError for what is no JSON."""
    digest = sha256(canonical_json(document))
    text = f"aliquot document v1\n{kind}\n{key.origin}\n{base64.b64encode(digest.digest()).decode()}\n"
    signature = key.signature_line(text).split(" ")[2].strip()
    whole = {
        "v": 1, "kind": kind, "origin": key.origin, "vkey": key.vkey, "sha256": digest.hexdigest(), "document": document,
        "signature": signature,
    }  # fmt: skip
    return SignedDocument(file=canonical_json(whole), sha256=digest.hexdigest())
