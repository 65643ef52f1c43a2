"""`aliquot-verify document FILE [--vkey K]`: a compliance or qualification report, signed by the log's key. Needs no network, no database.

The file is the RFC 8785 JSON of `{document, kind, origin, sha256, signature, v, vkey}`; see `aliquot.ledger.documents`. Where the document
names events with inclusion proofs, each is led to the root of the checkpoint that the document quotes.
"""

import argparse
import base64
import binascii
import json
import zipfile
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from aliquot_verify.archive import ArchiveJudged, judge_archive
from aliquot_verify.faults import Fault, Finding, Unusable
from aliquot_verify.merkle import node
from aliquot_verify.note import Head, Key, NoteError, check, open_note, parse_checkpoint, parse_key

_BYTES_MAX = 100_000_000
_MEMBERS = {"v", "kind", "origin", "vkey", "sha256", "document", "signature"}


@dataclass(slots=True)
class Judged:
    """What was found out about a document."""

    kind: str = ""
    origin: str = ""
    vkey: str = ""
    sha256: str = ""
    pinned: bool = False
    proofs: int = 0
    findings: list[Finding] = field(default_factory=list)


def main(given: list[str]) -> int:
    """Verify one document; the exit code is 0 only if everything holds."""
    parser = argparse.ArgumentParser(prog="aliquot-verify document", description="Verify a signed report of an Aliquot server.")
    parser.add_argument("file", type=Path, help="the signed JSON (the attachment of a compliance report's PDF), or the zip of an archive")
    parser.add_argument("--vkey", help="the log's verifier key, known from elsewhere: <name>+<id>+<base64>")
    options = parser.parse_args(given)
    if not options.file.is_file():
        parser.error(f"there is no file {options.file}")
    if zipfile.is_zipfile(options.file):
        with options.file.open("rb") as file:
            archive = judge_archive(file, options.vkey)
        judged = archive.document
        _tell_archive(archive)
    else:
        judged = judge(options.file.read_bytes() if options.file.stat().st_size <= _BYTES_MAX else b"", options.vkey)
    for finding in judged.findings:
        print(f"{finding.fault.name.lower().replace('_', ' ')}: {finding.text}")
    if judged.origin:
        print(f"{judged.kind} of log {judged.origin}, SHA-256 {judged.sha256}")
    if judged.proofs:
        print(f"{judged.proofs} events lie under its checkpoint")
    if judged.vkey:
        print(f"key {judged.vkey}" if judged.pinned else f"key not pinned: compare with a copy from elsewhere: {judged.vkey}")
    code = min((finding.fault.value for finding in judged.findings), default=0)
    print("VERIFIED" if not code else f"NOT VERIFIED (exit code {code})")
    return code


def _tell_archive(archive: ArchiveJudged) -> None:
    if archive.records:
        print("records: " + ", ".join(f"{count} {kind}" for kind, count in sorted(archive.records.items())))
    if archive.missing:
        print(f"{archive.missing} of {archive.held + archive.missing} parts are not here: erased since, or left out")


def parsed(raw: bytes) -> dict[str, Any]:
    """What a document without faults says."""
    found: dict[str, Any] = json.loads(raw)["document"]
    return found


def judge(raw: bytes, vkey: str | None) -> Judged:
    """Everything that is wrong with the file; `vkey` is the pinned key, None to take the document's own word."""
    judged = Judged()
    try:
        whole = _parse(raw)
        key = _key(whole["vkey"], vkey)
        judged.kind, judged.origin, judged.sha256 = whole["kind"], whole["origin"], whole["sha256"]
        judged.vkey, judged.pinned = key.vkey, vkey is not None
        _check_signature(whole, key)
        judged.proofs = _check_proofs(whole["document"], key)
    except Unusable as unusable:
        judged.findings.append(unusable.finding)
    return judged


_NOT_ONE = "this is not a signed document in canonical JSON"


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        whole = json.loads(raw)
        if not isinstance(whole, dict) or _canonical(whole) != raw.rstrip(b"\n"):
            raise ValueError
    except (ValueError, RecursionError) as error:
        what = "this is a PDF: take out the file attached to it, which is what is signed" if raw.startswith(b"%PDF-") else _NOT_ONE
        raise Unusable(Fault.DAMAGED, what) from error
    if whole.get("v") != 1:
        raise Unusable(Fault.UNSUPPORTED, f"this document has version {whole.get('v')!r:.20}; this verifier knows version 1")
    texts = all(isinstance(whole.get(name), str) and len(whole[name]) < 1_000 for name in _MEMBERS - {"v", "document"})
    if set(whole) != _MEMBERS or not texts or not isinstance(whole["document"], dict) or "\n" in whole["kind"] + whole["origin"]:
        raise Unusable(Fault.DAMAGED, "the document lacks what it must hold")
    return whole


def _key(named: str, pinned: str | None) -> Key:
    try:
        key = parse_key(pinned or named)
    except NoteError as error:
        raise Unusable(Fault.BAD_KEY, str(error)) from error
    if key.vkey != named:
        raise Unusable(Fault.BAD_KEY, "the document was not signed with the pinned key")
    return key


def _check_signature(whole: dict[str, Any], key: Key) -> None:
    digest = sha256(_canonical(whole["document"]))
    text = f"aliquot document v1\n{whole['kind']}\n{whole['origin']}\n{base64.b64encode(digest.digest()).decode()}\n"
    try:
        signature = base64.b64decode(whole["signature"], validate=True)
        if signature[:4] != key.id or whole["origin"] != key.name:
            raise NoteError("not signed by this key")
        check(key, signature[4:], text.encode())
    except (NoteError, binascii.Error) as error:
        raise Unusable(Fault.BAD_SIGNATURE, f"the document was altered: {error}") from error
    if whole["sha256"] != digest.hexdigest():
        raise Unusable(Fault.BAD_SIGNATURE, "the document names another SHA-256 than its own")


def _check_proofs(document: dict[str, Any], key: Key) -> int:
    """How many events were led to the checkpoint."""
    try:
        log, proofs = document.get("log"), document.get("proofs", [])
        if log is None:
            return 0
        head = parse_checkpoint(open_note(str(log["checkpoint"]).encode(), key))
        if (head.size, head.root.hex()) != (log["size"], log["root_hash"]):
            raise Unusable(Fault.TREE, "the document names another root or size than its checkpoint")
        for proof in proofs:
            _check_proof(proof, head)
    except NoteError as error:
        raise Unusable(Fault.BAD_SIGNATURE, f"its checkpoint: {error}") from error
    except (KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise Unusable(Fault.DAMAGED, "the document's proofs lack what they must hold") from error
    return len(proofs)


def _check_proof(proof: dict[str, Any], head: Head) -> None:
    """RFC 9162 §2.1.3.2."""
    at, last = proof["seq"], head.size - 1
    if type(at) is not int or not 0 <= at <= last:
        raise Unusable(Fault.TREE, f"event {proof['event_id']!s:.40} has no place under the checkpoint")
    root = base64.b64decode(proof["leaf_hash"], validate=True)
    for part in proof["path"]:
        if not last:
            raise Unusable(Fault.TREE, f"the proof of event {proof['event_id']!s:.40} is longer than it can be")
        sibling = base64.b64decode(part, validate=True)
        if at & 1 or at == last:
            root = node(sibling, root)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            root = node(root, sibling)
        at, last = at >> 1, last >> 1
    if root != head.root or last != 0:
        raise Unusable(Fault.TREE, f"the proof of event {proof['event_id']!s:.40} does not lead to the checkpoint")


def _canonical(value: dict[str, Any]) -> bytes:
    """RFC 8785 for what a document holds: ASCII names, texts, whole numbers, truth values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
