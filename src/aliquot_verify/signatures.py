"""Judges the electronic signatures: each line of `signatures.jsonl` is a statement whose SHA-256 an event of the log holds.

Statement and event must say the same of record, signer and meaning; each statement stands once, and none that an event speaks of is
missing. What was signed is not in a bundle: `sha256` of a statement is that of the record's canonical content.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from aliquot_verify.faults import Fault, Finding, Unusable
from aliquot_verify.strict import canonical_bytes, shown_id, strict_object

_NAME = "signatures.jsonl"
_CREATED, _REVOKED = b'{"action":"signature.created"', b'{"action":"signature.revoked"'
_LINE_BYTES_MAX = 32_768
_NAMED_MAX = 100


@dataclass(frozen=True)
class _Event:
    line: int
    said: dict[str, Any]


class Signatures:
    """Collects the events that speak of statements, then judges the statements."""

    def __init__(self) -> None:
        self.held = 0
        """Signatures in the bundle that hold; revoked ones too."""
        self.revoked = 0
        self._events: dict[str, _Event] = {}
        self._lines = 0
        self._seen: set[str] = set()
        self._agreed: dict[str, dict[str, Any]] = {}

    def add(self, lines: list[bytes]) -> None:
        """Look at some lines of events.jsonl, in order."""
        for number, line in enumerate(lines, self._lines):
            if line.startswith((_CREATED, _REVOKED)) and (said := strict_object(line)) is not None:
                versions = said.get("versions")
                statement = versions.get("statement") if isinstance(versions, dict) else None
                if isinstance(statement, str):
                    self._events.setdefault(statement, _Event(number, said))
        self._lines += len(lines)

    def judge(self, chunks: Iterable[bytes], digest: Callable[[bytes], None], first: int) -> list[Finding]:
        """Judge the file in `chunks`; `first` is the log's number of the first event. At most 100 faults are named."""
        found: list[Finding] = []
        for number, line in enumerate(_split(chunks, digest)):
            if (finding := self._judged(line, number, first)) is not None:
                found.append(finding)
        for statement, event in self._events.items():
            if statement not in self._seen:
                found.append(_finding("the signature of this event is missing", first + event.line, shown_id(event.said.get("id"))))
        return found[:_NAMED_MAX]

    def _judged(self, line: bytes, number: int, first: int) -> Finding | None:
        statement, said = sha256(line).hexdigest(), strict_object(line)
        event = self._events.get(statement)
        if event is None or said is None:
            return _finding(f"line {number + 1} is a signature that the log does not know", None, None)
        seq, event_id = first + event.line, shown_id(event.said.get("id"))
        if statement in self._seen:
            return _finding(f"the signature of this event stands twice (line {number + 1})", seq, event_id)
        self._seen.add(statement)
        if not _agrees(said, event.said):
            return _finding(f"the signature in line {number + 1} and its event contradict each other", seq, event_id)
        self._agreed[statement] = said
        if said["type"] == "revocation":
            self.revoked += 1
            return self._judged_revocation(said, seq, event_id)
        self.held += 1
        return None

    def _judged_revocation(self, said: dict[str, Any], seq: int, event_id: str | None) -> Finding | None:
        """A part of the log may hold a revocation without its signature; with it, they must fit."""
        statement = said["statement"]
        if statement not in self._events:
            return None
        signature = self._agreed.get(statement)
        fits = signature is not None and signature["id"] == said["signature"] and signature["signer"]["id"] == said["signer"]["id"]
        return None if fits else _finding("this revocation is not by the signer, or stands before its signature", seq, event_id)


def _agrees(said: dict[str, Any], event: dict[str, Any]) -> bool:
    try:
        about = {name: said["record"][name] for name in ("type", "id", "version")}
        signed = said["type"] == "signature"
        own = ("meaning", "sha256") if signed else ("signature", "statement")
        return (
            said["type"] in ("signature", "revocation")
            and event["action"] == ("signature.created" if signed else "signature.revoked")
            and canonical_bytes(about) == canonical_bytes(event["record"])
            and all(isinstance(text, str) for text in (said["id"], said["signer"]["id"], *(said[name] for name in own)))
            and said["signer"]["id"] == event["actor"]
            and (not signed or said["meaning"] == event["reason"])
        )
    except (KeyError, TypeError):
        return False


def _split(chunks: Iterable[bytes], digest: Callable[[bytes], None]) -> Iterable[bytes]:
    rest = b""
    for chunk in chunks:
        digest(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LINE_BYTES_MAX or any(len(line) > _LINE_BYTES_MAX for line in lines):
            raise Unusable(Fault.DAMAGED, "signatures.jsonl: a line is longer than a signature can be", _NAME)
        yield from lines
    if rest:
        yield rest


def _finding(text: str, seq: int | None, event_id: str | None) -> Finding:
    return Finding(fault=Fault.SIGNATURE, text=text, seq=seq, id=event_id, file=_NAME)
