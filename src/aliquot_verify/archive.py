"""An archive of deleted records: a zip of a signed document and the parts of the records it names. Needs no network, no database.

`archive.json` is a document as `document.py` judges it. It lists every part with its SHA-256, and every event of the log about the records
with its bytes and its proof of inclusion. A part may be missing: somebody was erased after the archive was written.
"""

import base64
import binascii
import zipfile
import zlib
from dataclasses import dataclass, field
from hashlib import sha256
from typing import IO, Any

from aliquot_verify.faults import Fault, Finding
from aliquot_verify.merkle import leaf

NAME = "archive.json"
_BYTES_MAX = 1 << 32
_FILES_MAX = 2_000_000
_BROKEN = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError)


@dataclass(slots=True)
class ArchiveJudged:
    """What was found out about an archive."""

    document: Any
    """`document.Judged`"""
    held: int = 0
    missing: int = 0
    records: dict[str, int] = field(default_factory=dict)
    """How many parts of each type the document names."""


def judge_archive(file: IO[bytes], vkey: str | None) -> ArchiveJudged:
    """Everything that is wrong with the archive; `vkey` is the pinned key."""
    from aliquot_verify.document import Judged, judge, parsed  # noqa: PLC0415 - document.py opens archives by this module

    try:
        with zipfile.ZipFile(file) as archive:
            found = archive.infolist()
            names = [info.filename for info in found]
            if len(names) != len(set(names)) or len(names) > _FILES_MAX or sum(info.file_size for info in found) > _BYTES_MAX:
                raise ValueError
            raw = archive.read(NAME)
            judged = ArchiveJudged(document=judge(raw, vkey))
            if not judged.document.findings:
                _compare(archive, parsed(raw), set(names) - {NAME}, judged)
    except (KeyError, TypeError, AttributeError, *_BROKEN):
        broken = Finding(fault=Fault.DAMAGED, text="this is not an archive: the zip is broken or lacks what it must hold")
        return ArchiveJudged(document=Judged(findings=[broken]))
    return judged


def _compare(archive: zipfile.ZipFile, document: dict[str, Any], names: set[str], judged: ArchiveJudged) -> None:
    findings: list[Finding] = judged.document.findings
    if judged.document.kind != "archive":
        findings.append(Finding(fault=Fault.DAMAGED, text="the document is no archive", file=NAME))
        return
    for part in document["records"]:
        name = part["file"]
        judged.records[part["type"]] = judged.records.get(part["type"], 0) + 1
        if name not in names:
            judged.missing += 1
            continue
        names.discard(name)
        judged.held += 1
        if sha256(archive.read(name)).hexdigest() != part["sha256"]:
            text = f"{part['type']} {part['id']} was edited"
            findings.append(Finding(fault=Fault.EDITED, text=text, id=part["id"], file=name))
    findings += [
        Finding(fault=Fault.ADDED, text=f"{name[:100]!r} belongs to no record of the archive", file=name) for name in sorted(names)
    ]
    for proof in document["proofs"]:
        if not _is_leaf(proof):
            text = f"event {proof['event_id']} is not the one its proof is of"
            findings.append(Finding(fault=Fault.EDITED, text=text, seq=proof["seq"], id=proof["event_id"], file=NAME))


def _is_leaf(proof: dict[str, Any]) -> bool:
    try:
        return leaf(proof["body"].encode()) == base64.b64decode(proof["leaf_hash"], validate=True)
    except binascii.Error:
        return False
