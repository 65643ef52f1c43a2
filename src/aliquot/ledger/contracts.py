"""What other domains see of the ledger."""

import uuid
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Literal, Protocol

from aliquot.platform.db import Transaction

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
    root_hash: bytes = b""


SIGNATURE_ACTIONS = ("signature.created", "signature.revoked")
"""Actions of events about an electronic signature; their `versions.statement` is the SHA-256 of a line of `signatures.jsonl`."""


class SignatureLines(Protocol):
    """Gives the exporter the signed statements that events speak of. Comes from `records`, which stands above the ledger."""

    def __call__(self, tx: Transaction, event_ids: Sequence[uuid.UUID]) -> Awaitable[list[bytes]]: ...


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the newest event about a record, among `actions`, must say if the row at hand is what was recorded.

    With `content`, the newest event that commits to content of that name; with `token`, the newest whose reason holds a comma-separated
    word that begins with its first part; with a field of `versions`, the newest that says it.
    """

    actions: tuple[str, ...]
    content: tuple[str, bytes] | None = None
    token: tuple[str, str] | None = None
    """(`may_sign:`, `yes`)"""
    fields: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    """Members of the event by name (`reason`, `action`, `outcome`, `tool`, `versions.policy`) and what they must be; of several, one."""
    by_version: bool = False
    """The newest event is the one about the record's highest version: for records that two servers may change within the difference
    of their clocks, each change under a lock and with the next version."""
    what: str | None = None
    """What a difference is called; else the name of the content or member."""
    required: bool = False
    """A row without any such event was made behind the log's back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restated:
    """What a row says today, as claims about its events. `damaged` names content that does not open any more."""

    id: str
    claims: tuple[Claim, ...]
    damaged: tuple[str, ...] = ()


class RestatedRecords(Protocol):
    """Implemented by a domain whose events commit to what its rows hold: then a row edited behind the log's back is found."""

    record_type: str
    made_by: tuple[str, ...]
    """Actions by which such a record comes to be: afterwards there is a row, unless an event says that it was deleted."""

    async def ids(self, tx: Transaction, after: str | None, limit: int) -> list[str]:
        """Ids in a stable order, the ones after `after`."""
        ...

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]: ...

    async def existing(self, tx: Transaction, ids: Sequence[str]) -> set[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row and the log contradict each other. `kind`: `altered`, `unrecorded`, `deleted`, `damaged`; of the log, `event_altered`."""

    kind: Literal["altered", "unrecorded", "deleted", "damaged", "event_altered"]
    record_type: str
    record_id: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """How many records of each type were compared, and what was found."""

    compared: dict[str, int]
    erased: int
    """Contents whose subject's key was destroyed: they can be compared by nobody."""
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionCount:
    """How many events with this action a period holds, and when the newest happened."""

    action: str
    count: int
    newest_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedEvent:
    """An event that a signed checkpoint covers."""

    id: uuid.UUID
    at: datetime
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Nothing was recorded between these times."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSetBack:
    """Event `seq` says it happened at `at`, one before it at `latest`."""

    seq: int
    at: datetime
    latest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddities:
    """What the times of a period's events show. The tuples hold only some: the longest silences, the first events of a clock set back."""

    silences: int
    silent_seconds: float
    longest: tuple[Silence, ...]
    set_back: int
    first_set_back: tuple[ClockSetBack, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedDocument:
    """A document of this log with its signature: the bytes of the file, and the SHA-256 of what was signed."""

    file: bytes
    sha256: str
