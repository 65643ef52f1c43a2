"""What other domains see of the ledger."""

import uuid
from dataclasses import dataclass, field
from typing import Literal

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
