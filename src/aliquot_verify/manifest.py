"""`manifest.json`: the SHA-256 of every other file, signed by the log's key."""

import base64
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from aliquot_verify.faults import Fault, Finding, Unusable
from aliquot_verify.note import Key, NoteError, check
from aliquot_verify.strict import canonical_bytes, strict_base64, strict_json

_NAME = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Which events the bundle holds (`first` seq and `count`, of a log of `size`), and what its files hash to."""

    origin: str
    size: int
    first: int
    count: int
    files: dict[str, str]
    made_at: str = ""


def read_manifest(raw: bytes, key: Key) -> tuple[Manifest, list[Finding]]:
    """The manifest and what is wrong with its signature. Raises Unusable when it is malformed."""
    value = _parse(raw)
    try:
        if value["v"] is True or value["v"] != 1:
            raise Unusable(Fault.UNSUPPORTED, f"this bundle has version {value['v']!r:.20}; this verifier knows version 1", _NAME)
        files, events = value["files"], value["events"]
        manifest = Manifest(
            origin=_text(value["origin"]),
            size=_count(value["size"]),
            first=_count(events["first"]),
            count=_count(events["count"]),
            made_at=_text(value["made_at"]),
            files={_text(name): _text(digest) for name, digest in files.items()},
        )
        signature = strict_base64(_text(value.pop("signature")))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unusable(Fault.DAMAGED, "manifest.json lacks what it must hold", _NAME) from error
    if manifest.first + manifest.count > manifest.size:
        raise Unusable(Fault.DAMAGED, "manifest.json names events that its log cannot hold", _NAME)
    try:
        if signature[:4] != key.id:
            raise NoteError("not signed by this key")
        check(key, signature[4:], signed_text(manifest.origin, value))
    except NoteError as error:
        return manifest, [Finding(fault=Fault.BAD_SIGNATURE, text=f"the manifest was altered: {error}", file=_NAME)]
    return manifest, []


def signed_text(origin: str, body: dict[str, Any]) -> bytes:
    """What is signed. Its first line is no log's origin and its second no number, so it can never pass as a checkpoint."""
    digest = base64.b64encode(sha256(canonical_bytes(body)).digest()).decode()
    return f"aliquot manifest v1\n{origin}\n{digest}\n".encode()


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        value = strict_json(raw)
        if not isinstance(value, dict):
            raise ValueError
    except ValueError as error:
        raise Unusable(Fault.DAMAGED, "manifest.json is not a manifest in canonical JSON", _NAME) from error
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 50:
        raise TypeError
    return value
