"""Verifies a bundle: keys, signatures, manifest, tree, events, anchor. Everything found is reported, not only the first fault."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from aliquot_verify.align import Change, changes
from aliquot_verify.anchors import Case, Outside, continues, judge_anchors, read_witnesses
from aliquot_verify.bundle import Bundle
from aliquot_verify.faults import Fault, Finding, Unusable
from aliquot_verify.keys import Chain, check_places, read_chain
from aliquot_verify.manifest import Manifest, read_manifest
from aliquot_verify.merkle import HASH, leaf, tile_sizes
from aliquot_verify.note import Head, Key, NoteError, SignatureError, parse_checkpoint, parse_key
from aliquot_verify.signatures import Signatures
from aliquot_verify.times import Times, oddities, seconds
from aliquot_verify.tree import Judged, judge

_EVENT_BYTES_MAX = 32_768
_SURPLUS_LINES_MAX = 100_000
_NAMED_MAX = 100
_ID = re.compile(rb'"id": ?"([0-9a-f]{8}-[0-9a-f-]{27})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the verifying person knows from elsewhere. All of it is optional; without any, only the bundle's own consistency is judged."""

    vkey: str | None = None
    """The log's verifier key, or an older one: rotations must lead from it to the key in use."""
    anchor: Path | None = None
    """A checkpoint of this log kept from another time."""
    witnesses: Sequence[str] = ()
    """Verifier keys of witnesses, each of which must have cosigned this log."""
    tsa: Path | None = None
    """The root certificates (PEM) of the time-stamping authority."""
    heartbeat: float | None = None
    """Seconds between heartbeats, instead of what the log says of itself."""


NOTHING_KNOWN = Known()


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
    signatures: int = 0
    revocations: int = 0
    findings: list[Finding] = field(default_factory=list)
    notices: list[Finding] = field(default_factory=list)
    """What a person should explain, but what an honest log may have: silences, a clock that was set."""
    unnamed: int = 0
    """Findings beyond the first 100 events, counted but not named."""
    strict: bool = False
    """Notices count as findings."""
    outside: Outside = field(default_factory=Outside)

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        return min((finding.fault for finding in [*self.findings, *(self.notices if self.strict else [])]), default=0)


def verify(path: Path, known: Known = NOTHING_KNOWN, *, strict: bool = False) -> Report:
    """Verify the bundle at `path`."""
    report = Report(pinned=known.vkey is not None, strict=strict)
    try:
        pinned = None if known.vkey is None else _pinned(known.vkey)
        witnesses = read_witnesses(known.witnesses)
        with Bundle(path) as bundle:
            _verify(bundle, known, pinned, witnesses, report)
    except Unusable as error:
        report.findings.append(error.finding)
    return report


def _verify(bundle: Bundle, known: Known, pinned: Key | None, witnesses: list[Key], report: Report) -> None:
    digests: dict[str, str] = {}
    chain, findings = read_chain(_read(bundle, "keys.json", digests), pinned)
    key = chain.current
    manifest, wrong = read_manifest(bundle.read("manifest.json"), key)
    report.findings += [*findings, *wrong]
    head = _checkpoint(_read(bundle, "checkpoint", digests), chain, report)
    report.origin, report.vkey, report.size = head.origin, key.vkey, head.size
    if (manifest.origin, manifest.size) != (head.origin, head.size):
        report.findings.append(_finding(Fault.MANIFEST, "the manifest describes another log than the checkpoint", "manifest.json"))
    report.first, report.count = manifest.first, manifest.count
    levels, times, signatures = _tiles(bundle, head.size, digests), Times(), Signatures()
    lines = _hash_events(bundle, manifest, digests, times, signatures)
    judged = judge(levels, head.root, manifest.first, lines)
    report.findings += judged.findings
    _compare_events(bundle, judged, manifest, lines, report)
    report.findings += check_places(chain, judged.leaves)
    _others(bundle, digests, signatures, report)
    case = Case(chain=chain, head=head, leaves=judged.leaves, times=times, first=manifest.first)
    if known.anchor is not None:
        _compare_anchor(known.anchor, case, report)
    raw = _read(bundle, "anchors.json", digests) if "anchors.json" in bundle.names else None
    report.outside = judge_anchors(raw, case, witnesses, known.tsa)
    report.findings += report.outside.findings
    _compare_manifest(bundle, manifest, digests, report)
    _judge_times(case, manifest, known, report)


def _judge_times(case: Case, manifest: Manifest, known: Known, report: Report) -> None:
    retired = {rotation.seq for rotation in case.chain.rotations}
    for line in case.times.rotations:
        if (seq := case.first + line) not in retired:
            text = f"the log's key was rotated at event {seq}, but this bundle is signed by a key from before"
            report.findings.append(Finding(fault=Fault.BAD_KEY, text=text, seq=seq, file="keys.json"))
    until = seconds(manifest.made_at) if manifest.count and manifest.first + manifest.count == case.head.size else None
    odd = [*oddities(case.times, case.first, known.heartbeat, until), *report.outside.notices]
    report.notices = odd[:_NAMED_MAX]
    report.unnamed += len(odd) - len(report.notices)


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


def _checkpoint(raw: bytes, chain: Chain, report: Report) -> Head:
    try:
        head = chain.open(raw)
        if head.size and chain.rotations and head.size <= chain.rotations[-1].seq:
            raise SignatureError("it is older than the rotation to the newest key")
    except SignatureError as error:
        report.findings.append(_finding(Fault.BAD_SIGNATURE, f"the checkpoint was altered: {error}", "checkpoint"))
        try:
            head = parse_checkpoint(raw.decode().rpartition("\n\n")[0] + "\n")
        except NoteError as damage:
            raise Unusable(Fault.DAMAGED, f"checkpoint: {damage}", "checkpoint") from damage
    except NoteError as error:
        raise Unusable(Fault.DAMAGED, f"checkpoint: {error}", "checkpoint") from error
    if head.origin != chain.current.name:
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


def _hash_events(bundle: Bundle, manifest: Manifest, digests: dict[str, str], times: Times, signatures: Signatures) -> bytes:
    whole = sha256()
    hashes = bytearray()
    for lines in _lines(bundle, whole.update):
        hashes += b"".join([leaf(line) for line in lines])
        times.add(lines)
        signatures.add(lines)
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
            if claimed := _ID.search(lines[number - start]):
                found[number] = claimed[1].decode()
        start += len(lines)
    return found


def _others(bundle: Bundle, digests: dict[str, str], signatures: Signatures, report: Report) -> None:
    whole = sha256()
    report.findings += signatures.judge(bundle.chunks("signatures.jsonl"), whole.update, report.first)
    digests["signatures.jsonl"] = whole.hexdigest()
    report.signatures, report.revocations = signatures.held, signatures.revoked
    whole = sha256()
    for chunk in bundle.chunks("report.pdf"):
        whole.update(chunk)
    digests["report.pdf"] = whole.hexdigest()


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


def _compare_anchor(anchor: Path, case: Case, report: Report) -> None:
    """The anchor is an older (or newer) checkpoint of the same log: the bundle must continue it."""
    try:
        raw = anchor.read_bytes() if anchor.stat().st_size <= 100_000 else b""
        kept = case.chain.open(raw)
    except (OSError, NoteError) as error:
        report.findings.append(_finding(Fault.BAD_SIGNATURE, f"the anchor is not a checkpoint of this log: {error}", str(anchor)))
        return
    report.anchored = kept.size
    if finding := continues(case, kept, "the anchor", str(anchor)):
        report.findings.append(finding)


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
        "witnesses": {name: {"size": seen.size, "at": seen.at} for name, seen in report.outside.witnessed.items()},
        "timestamps": {"held": report.outside.held, "checked": report.outside.checked, "newest": report.outside.stamped_at},
        "findings": [_as_json(finding) for finding in report.findings],
        "notices": [_as_json(finding) for finding in report.notices],
        "signatures": report.signatures,
        "revocations": report.revocations,
        "unnamed": report.unnamed,
    }


def _as_json(f: Finding) -> dict[str, Any]:
    return {"fault": f.fault.name.lower(), "seq": f.seq, "id": f.id, "file": f.file, "text": f.text}
