"""`anchors.json`: what others said about the log at other times: cosigned checkpoints, and time stamps (RFC 3161) of checkpoints.

Every checkpoint in it must be one of this log and agree with the bundle's tree, whether its cosigner is known or not: two
checkpoints signed by one key that do not agree are themselves the proof of a fork.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from aliquot_verify.cosign import cosigned_at
from aliquot_verify.faults import Fault, Finding, Unusable
from aliquot_verify.keys import Chain
from aliquot_verify.merkle import HASH, root
from aliquot_verify.note import COSIGNER, Head, Key, NoteError, parse_key
from aliquot_verify.strict import items, strict_base64, strict_json
from aliquot_verify.times import Times, against
from aliquot_verify.timestamp import StampError, roots, stamped_at

_NAME = "anchors.json"
_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What was established about the bundle, to compare anchors with."""

    chain: Chain
    head: Head
    leaves: bytes
    times: Times
    first: int


@dataclass(frozen=True, slots=True)
class Seen:
    """That somebody saw a log of `size` events at Unix time `at`."""

    size: int
    at: float


@dataclass
class Outside:
    """What the anchors in a bundle are worth."""

    witnessed: dict[str, Seen] = field(default_factory=dict)
    held: int = 0
    """Time stamps in the bundle."""
    checked: int | None = None
    """How many of them were checked against the pinned authority; None when none is pinned."""
    stamped_at: float | None = None
    findings: list[Finding] = field(default_factory=list)
    notices: list[Finding] = field(default_factory=list)


def read_witnesses(vkeys: Sequence[str]) -> list[Key]:
    """Raises Unusable."""
    try:
        return [parse_key(vkey, COSIGNER) for vkey in vkeys]
    except NoteError as error:
        raise Unusable(Fault.BAD_KEY, f"--witness: {error}") from error


def continues(case: Case, kept: Head, who: str, file: str) -> Finding | None:
    """What is wrong when the bundle's log is not a continuation of the tree head `kept`."""
    head = case.head
    if kept.origin != head.origin:
        return Finding(fault=Fault.FORKED, text=f"{who} belongs to another log", file=file)
    if kept.size > head.size:
        text = f"the log was truncated: {who} covers {kept.size} events, the bundle {head.size}"
        return Finding(fault=Fault.TRUNCATED, text=text, seq=head.size, file="checkpoint")
    if root(case.leaves[: kept.size * HASH]) != kept.root:
        text = f"the log was forked: its first {kept.size} events are not those of {who}"
        return Finding(fault=Fault.FORKED, text=text, file="checkpoint")
    return None


def judge_anchors(raw: bytes | None, case: Case, witnesses: Sequence[Key], tsa: Path | None) -> Outside:
    """Raises Unusable when the file or the authority's certificates cannot be read."""
    cosigned, stamps = _parse(raw)
    outside = Outside(held=len(stamps))
    for number, note in enumerate(cosigned):
        outside.findings += _cosigned(case, note, number, witnesses, outside)
    for key in witnesses:
        if key.name not in outside.witnessed:
            text = f"the witness {key.name} has not cosigned this log"
            outside.findings.append(Finding(fault=Fault.UNWITNESSED, text=text, file=_NAME))
    _stamps(case, stamps, tsa, outside)
    for name, seen in outside.witnessed.items():
        outside.notices += against(case.times, case.first, seen.size, seen.at, f"the witness {name}")
    return outside


def _cosigned(case: Case, note: str, number: int, witnesses: Sequence[Key], outside: Outside) -> Iterator[Finding]:
    where = f"cosigned checkpoint {number + 1}"
    try:
        kept = case.chain.open(note.encode())
    except NoteError as error:
        yield Finding(fault=Fault.BAD_SIGNATURE, text=f"{where} is not one of this log: {error}", file=_NAME)
        return
    if finding := continues(case, kept, where, _NAME):
        yield finding
        return
    for key in witnesses:
        try:
            at = cosigned_at(note.encode(), key)
        except NoteError as error:
            yield Finding(fault=Fault.BAD_SIGNATURE, text=f"{where}: {error}", file=_NAME)
            continue
        if at is not None and (key.name not in outside.witnessed or kept.size >= outside.witnessed[key.name].size):
            outside.witnessed[key.name] = Seen(kept.size, float(at))


def _stamps(case: Case, stamps: list[tuple[str, bytes]], tsa: Path | None, outside: Outside) -> None:
    authority = None if tsa is None else roots(tsa)
    outside.checked = None if authority is None else 0
    for number, (note, token) in enumerate(stamps):
        where = f"time stamp {number + 1}"
        try:
            kept = case.chain.open(note.encode())
            if finding := continues(case, kept, where, _NAME):
                outside.findings.append(finding)
                continue
            # Whoever signed it, a token of this checkpoint holds its hash: a token of another one is found without any certificate.
            if sha256(note.encode()).digest() not in token:
                raise StampError("it is not one of its checkpoint")
            if authority is None:
                continue
            at = stamped_at(token, note.encode(), authority)
        except (NoteError, StampError) as error:
            outside.findings.append(Finding(fault=Fault.BAD_TIMESTAMP, text=f"{where} does not hold: {error}", file=_NAME))
            continue
        outside.checked = (outside.checked or 0) + 1
        outside.stamped_at = max(at, outside.stamped_at or at)
        outside.notices += against(case.times, case.first, kept.size, at, "the time stamp")


def _parse(raw: bytes | None) -> tuple[list[str], list[tuple[str, bytes]]]:
    if raw is None:
        return [], []
    try:
        value = strict_json(raw)
        if value["v"] is True or value["v"] != 1:
            raise Unusable(Fault.UNSUPPORTED, "anchors.json has a version that this verifier does not know", _NAME)
        cosigned = [_text(note) for note in items(value["cosigned"])]
        stamps = [(_text(item["note"]), strict_base64(_text(item["token"]))) for item in items(value["timestamps"])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unusable(Fault.DAMAGED, "anchors.json is malformed", _NAME) from error
    if len(cosigned) + len(stamps) > _MAX:
        raise Unusable(Fault.DAMAGED, "anchors.json holds too many anchors", _NAME)
    return cosigned, stamps


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
