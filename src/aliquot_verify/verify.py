"""Verifies a bundle: keys, signatures, manifest, tree, events, anchor. Everything found is reported, not only the first fault."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from aliquot_verify.align import Change, changes
from aliquot_verify.bundle import Bundle
from aliquot_verify.faults import Fault, Finding, Unusable
from aliquot_verify.manifest import Manifest, read_manifest
from aliquot_verify.merkle import HASH, leaf, root, tile_sizes
from aliquot_verify.note import Head, Key, NoteError, SignatureError, open_note, parse_checkpoint, parse_key
from aliquot_verify.tree import Judged, judge

_EVENT_BYTES_MAX = 32_768
_SURPLUS_LINES_MAX = 100_000
_NAMED_MAX = 100


@dataclass
class Report:
    """What was verified and what was found. `ok` only if everything holds."""

    pinned: bool
    origin: str = ""
    vkey: str = ""
    size: int = 0
    first: int = 0
    count: int = 0
    anchored: int | None = None
    findings: list[Finding] = field(default_factory=list)
    unnamed: int = 0
    """Findings beyond the first 100 events, counted but not named."""

    @property
    def ok(self) -> bool:
        return not self.findings

    @property
    def exit_code(self) -> int:
        return min((finding.fault for finding in self.findings), default=0)


def verify(path: Path, *, vkey: str | None = None, anchor: Path | None = None) -> Report:
    """Verify the bundle at `path`. `vkey` pins the log's key; `anchor` is a checkpoint of this log kept from another time."""
    report = Report(pinned=vkey is not None)
    try:
        pinned = None if vkey is None else _pinned(vkey)
        with Bundle(path) as bundle:
            _verify(bundle, pinned, anchor, report)
    except Unusable as error:
        report.findings.append(error.finding)
    return report


def _verify(bundle: Bundle, pinned: Key | None, anchor: Path | None, report: Report) -> None:
    digests: dict[str, str] = {}
    key = _key(_read(bundle, "keys.json", digests), pinned, report)
    manifest, findings = read_manifest(bundle.read("manifest.json"), key)
    report.findings += findings
    head = _checkpoint(_read(bundle, "checkpoint", digests), key, report)
    report.origin, report.vkey, report.size = head.origin, key.vkey, head.size
    if (manifest.origin, manifest.size) != (head.origin, head.size):
        report.findings.append(_finding(Fault.MANIFEST, "the manifest describes another log than the checkpoint", "manifest.json"))
    report.first, report.count = manifest.first, manifest.count
    levels = _tiles(bundle, head.size, digests)
    lines = _hash_events(bundle, manifest, digests)
    judged = judge(levels, head.root, manifest.first, lines)
    report.findings += judged.findings
    _compare_events(bundle, judged, manifest, lines, report)
    _others(bundle, digests, report)
    _compare_manifest(bundle, manifest, digests, report)
    if anchor is not None:
        _compare_anchor(anchor, key, judged, head, report)


def _finding(fault: Fault, text: str, file: str | None = None) -> Finding:
    return Finding(fault=fault, text=text, file=file)


def _pinned(vkey: str) -> Key:
    try:
        return parse_key(vkey)
    except NoteError as error:
        raise Unusable(Fault.BAD_KEY, f"--vkey: {error}") from error


def _read(bundle: Bundle, name: str, digests: dict[str, str]) -> bytes:
    data = bundle.read(name)
    digests[name] = sha256(data).hexdigest()
    return data


def _key(raw: bytes, pinned: Key | None, report: Report) -> Key:
    """The key of this bundle; another one than the pinned is a fault, but the rest is judged by it all the same."""
    try:
        (vkey,) = json.loads(raw)["vkeys"]
        key = parse_key(vkey)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unusable(Fault.DAMAGED, "keys.json does not hold the log's key", "keys.json") from error
    except NoteError as error:
        raise Unusable(Fault.BAD_KEY, f"keys.json: {error}", "keys.json") from error
    if pinned is not None and pinned != key:
        report.findings.append(_finding(Fault.BAD_KEY, f"this bundle is signed by {key.vkey}, not by the pinned key", "keys.json"))
    return key


def _checkpoint(raw: bytes, key: Key, report: Report) -> Head:
    try:
        text = open_note(raw, key)
    except SignatureError as error:
        report.findings.append(_finding(Fault.BAD_SIGNATURE, f"the checkpoint was altered: {error}", "checkpoint"))
        text = raw.decode().rpartition("\n\n")[0] + "\n"
    except NoteError as error:
        raise Unusable(Fault.DAMAGED, f"checkpoint: {error}", "checkpoint") from error
    try:
        head = parse_checkpoint(text)
    except NoteError as error:
        raise Unusable(Fault.DAMAGED, f"checkpoint: {error}", "checkpoint") from error
    if head.origin != key.name:
        report.findings.append(_finding(Fault.BAD_KEY, "the checkpoint belongs to another log than the key", "checkpoint"))
    return head


def _tiles(bundle: Bundle, size: int, digests: dict[str, str]) -> list[bytes]:
    """The hashes of every tile level, lowest first."""
    if size > 256 * len(bundle.names):
        raise Unusable(Fault.DAMAGED, f"the checkpoint speaks of {size} events, the bundle lacks most of their tiles", "checkpoint")
    levels: list[bytearray] = []
    wanted = tile_sizes(size)
    for name, length in wanted.items():
        data = _read(bundle, name, digests)
        if len(data) != length:
            raise Unusable(Fault.DAMAGED, f"{name} has {len(data)} bytes instead of {length}", name)
        level = int(name.split("/")[1])
        levels += [bytearray() for _ in range(level + 1 - len(levels))]
        levels[level] += data
    foreign = sorted(n for n in bundle.names if n.startswith("tile/") and n not in wanted)
    if foreign:
        raise Unusable(Fault.DAMAGED, f"{foreign[0]} does not belong to a log of {size} events", foreign[0])
    return [bytes(level) for level in levels]


def _lines(bundle: Bundle, digest: Callable[[bytes], None]) -> Iterator[list[bytes]]:
    """The lines of events.jsonl, without their newlines, in lists; each chunk is given to `digest`."""
    rest, number = b"", 0
    for chunk in bundle.chunks("events.jsonl"):
        digest(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _EVENT_BYTES_MAX or any(len(line) > _EVENT_BYTES_MAX for line in lines):
            raise Unusable(Fault.DAMAGED, f"events.jsonl: a line after line {number} is longer than an event can be", "events.jsonl")
        number += len(lines)
        yield lines
    if rest:
        yield [rest]


def _hash_events(bundle: Bundle, manifest: Manifest, digests: dict[str, str]) -> bytes:
    whole = sha256()
    hashes = bytearray()
    for lines in _lines(bundle, whole.update):
        hashes += b"".join([leaf(line) for line in lines])
        if len(hashes) > (manifest.count + _SURPLUS_LINES_MAX) * HASH:
            raise Unusable(Fault.ADDED, f"events.jsonl holds far more than the {manifest.count} events it should", "events.jsonl")
    digests["events.jsonl"] = whole.hexdigest()
    return bytes(hashes)


def _compare_events(bundle: Bundle, judged: Judged, manifest: Manifest, lines: bytes, report: Report) -> None:
    expected = judged.leaves[manifest.first * HASH : (manifest.first + manifest.count) * HASH]
    found = changes(expected, lines)
    report.unnamed = max(0, len(found) - _NAMED_MAX)
    named = found[:_NAMED_MAX]
    wanted = {n for c in named for n in (c.line, *_neighbours(c)) if n is not None and n >= 0}
    ids = _ids(bundle, wanted)
    report.findings += [_named(change, manifest.first, ids) for change in named]


def _neighbours(change: Change) -> tuple[int, ...]:
    """Of a removed event only its place is known: the event before it says where that was."""
    return (change.position - 1,) if change.fault is Fault.REMOVED and change.position is not None else ()


def _named(change: Change, first: int, ids: dict[int, str]) -> Finding:
    seq = first + (change.position if change.position is not None else change.line or 0)
    event_id = ids.get(change.line) if change.line is not None else None
    at = f"line {change.line + 1}" if change.line is not None else ""
    known = f" ({event_id})" if event_id else ""
    texts = {
        Fault.EDITED: f"event {seq}{known} was edited ({at})",
        Fault.REMOVED: f"event {seq} was removed",
        Fault.ADDED: f"an event{known} that is not in the log was added as {at}",
        Fault.MOVED: f"event {seq}{known} was moved to {at}",
    }
    text = texts[change.fault]
    if change.fault is Fault.REMOVED and change.position is not None and (before := ids.get(change.position - 1)):
        text += f" (about after {before})"
    return Finding(fault=change.fault, text=text, seq=seq, id=event_id, file="events.jsonl")


def _ids(bundle: Bundle, wanted: set[int]) -> dict[int, str]:
    """What the lines with these numbers (from 0) say their event's id is."""
    found: dict[int, str] = {}
    start = 0
    for lines in _lines(bundle, lambda _: None) if wanted else ():
        for number in wanted & set(range(start, start + len(lines))):
            try:
                claimed = json.loads(lines[number - start])["id"]
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
            found[number] = "".join(c for c in str(claimed)[:64] if c.isprintable())
        start += len(lines)
    return found


def _others(bundle: Bundle, digests: dict[str, str], report: Report) -> None:
    for name in ("signatures.jsonl", "report.pdf"):
        whole = sha256()
        for chunk in bundle.chunks(name):
            whole.update(chunk)
        digests[name] = whole.hexdigest()
    if bundle.size("signatures.jsonl"):
        report.findings.append(_finding(Fault.UNSUPPORTED, "this verifier cannot judge the electronic signatures", "signatures.jsonl"))


def _compare_manifest(bundle: Bundle, manifest: Manifest, digests: dict[str, str], report: Report) -> None:
    names = bundle.names - {"manifest.json"}
    wrong = sorted(name for name in names | set(manifest.files) if manifest.files.get(name) != digests.get(name))
    for name in islice(wrong, _NAMED_MAX):
        shown = "".join(c if c.isprintable() else "?" for c in name[:100])
        if name not in names:
            text = f"{shown} is in the manifest, but not in the bundle"
        elif name not in manifest.files:
            text = f"{shown} is not in the manifest"
        else:
            text = f"{shown} is not the file that the manifest names"
        report.findings.append(_finding(Fault.MANIFEST, text, shown))


def _compare_anchor(anchor: Path, key: Key, judged: Judged, head: Head, report: Report) -> None:
    """The anchor is an older (or newer) checkpoint of the same log: the bundle must continue it."""
    try:
        raw = anchor.read_bytes() if anchor.stat().st_size <= 100_000 else b""
        kept = parse_checkpoint(open_note(raw, key))
    except (OSError, NoteError) as error:
        report.findings.append(_finding(Fault.BAD_SIGNATURE, f"the anchor is not a checkpoint of this log: {error}", str(anchor)))
        return
    report.anchored = kept.size
    if kept.origin != head.origin:
        report.findings.append(_finding(Fault.FORKED, "the anchor belongs to another log", str(anchor)))
    elif kept.size > head.size:
        text = f"the log was truncated: the anchor covers {kept.size} events, the bundle {head.size}"
        report.findings.append(Finding(fault=Fault.TRUNCATED, text=text, seq=head.size, file="checkpoint"))
    elif root(judged.leaves[: kept.size * HASH]) != kept.root:
        text = f"the log was forked: its first {kept.size} events are not those of the anchor"
        report.findings.append(_finding(Fault.FORKED, text, "checkpoint"))


def as_json(report: Report) -> dict[str, Any]:
    """The report for machines."""
    return {
        "ok": report.ok,
        "exit_code": report.exit_code,
        "key_pinned": report.pinned,
        "origin": report.origin,
        "vkey": report.vkey,
        "size": report.size,
        "events": {"first": report.first, "count": report.count},
        "anchored_at": report.anchored,
        "findings": [{"fault": f.fault.name.lower(), "seq": f.seq, "id": f.id, "file": f.file, "text": f.text} for f in report.findings],
        "unnamed": report.unnamed,
    }
