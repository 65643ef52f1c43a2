"""What other domains see of the ledger."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Literal

Outcome = Literal["ok", "denied", "failed", "unknown", "pending"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRef:
    """The record an event is about: its kind (`run`, `approval`, `person`, …), id and version (from 1)."""

    type: str
    id: str
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One thing that must be provable (DESIGN §4). Names are in clear, contents never.

    `content` maps a name (`arguments`, `message`, …) to plaintext bytes: the ledger stores only an HMAC-SHA256 of them under
    the subject's key, so that erasing the subject makes the commitment unverifiable but leaves the log intact.
    """

    action: str
    """What happened, as `noun.verb` in the past tense: `run.started`, `approval.decided`, `login.failed`."""
    actor: str
    """Id of the person, `system`, or `anonymous`."""
    record: RecordRef
    outcome: Outcome = "ok"
    on_behalf_of: str | None = None
    via: str = "system"
    """`session`, `api_key`, `mcp`, `cli`, `system`."""
    ip: str | None = None
    run_id: uuid.UUID | None = None
    tool: str | None = None
    reason: str | None = None
    """A short code or sentence from a fixed vocabulary; never text a person or model wrote."""
    content: dict[str, bytes] = field(default_factory=dict)
    subject: uuid.UUID | None = None
    """Whose key commits `content` (see `platform.vault`). Required when `content` is given."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions in force: `policy`, `model`, `tool_schema`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The newest signed tree head: size (events), root hash (hex) and the C2SP signed note as text."""

    size: int
    root_hash: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events to list; None does not restrict. `since` <= time of the event < `until`."""

    actor: str | None = None
    action: str | None = None
    record_type: str | None = None
    record_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """An event as stored. `seq` is its place in the log from 0, None until the sequencer placed it."""

    id: uuid.UUID
    seq: int | None
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """That the event is entry `seq` of the log of `size` entries which `note` signs (RFC 6962 §2.1.1). Hashes are raw bytes."""

    event_id: uuid.UUID
    seq: int
    size: int
    leaf_hash: bytes
    path: tuple[bytes, ...]
    root_hash: bytes
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerStatus:
    """For health: a backlog older than some seconds means that no sequencer runs."""

    size: int
    waiting: int
    waiting_seconds: float
    signed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A finished bundle in an unnamed temporary file, at its beginning; whoever receives it closes it."""

    file: IO[bytes]
    bytes: int
    name: str
    first: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchored:
    """Somebody outside (`by`) has seen a log of `size` events; `at` is when this server was told."""

    by: str
    kind: Literal["witness", "timestamp"]
    size: int
    at: datetime
