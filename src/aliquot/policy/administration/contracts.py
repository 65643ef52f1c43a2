"""What is seen of policy bundles."""

import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

from aliquot.kernel.clock import Timestamp
from aliquot.policy.contracts import Band, Reason, Verdict

BundleState = Literal["draft", "replayed", "signed", "active", "superseded", "withdrawn"]
OPEN: tuple[BundleState, ...] = ("draft", "replayed", "signed")
"""States from which a bundle can still become active."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endorsement:
    """One administrator's signature for the activation of a bundle."""

    person_id: uuid.UUID
    signature_id: uuid.UUID
    at: Timestamp
    valid: bool
    """False once the signer revoked it, or another bundle was activated since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySummary:
    """The last replay, in numbers."""

    at: Timestamp
    decisions: int
    """How many logged decisions were asked again."""
    unreadable: int
    """Decisions whose input was erased or never kept; they say nothing."""
    flipped: int
    flips: dict[str, int]
    """How many of each kind: `allow→deny`, `confirm→confirm` (other obligations), …"""
    complete: bool
    """False when the time allowed for a replay was over before all were asked."""
    took_ms: int
    current: bool = True
    """Whether the bundle in force is still the one it was compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleInfo:
    """A bundle as listed. The one a site starts with has no `id`."""

    id: uuid.UUID | None
    version: str
    """SHA-256 of all its texts, as in decisions and audit events."""
    name: str
    state: BundleState
    created_by: uuid.UUID | None
    created_at: Timestamp | None
    replay: ReplaySummary | None = None
    signatures: tuple[Endorsement, ...] = ()
    signatures_needed: int = 2
    """1 when there is a single administrator: it takes effect at `effective_at` then."""
    effective_at: Timestamp | None = None
    withdrawn_because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleTexts:
    """A bundle's texts, for reading."""

    schema: str
    authz: str
    obligations: str
    risk: str
    rules: dict[str, Any] = field(default_factory=dict)
    golden: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One answer of a bundle."""

    decision: Verdict
    obligations: tuple[str, ...]
    risk: int
    band: Band | None
    """None for what was logged: bands are not."""
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A logged decision that this bundle would make otherwise."""

    decision_id: uuid.UUID
    at: Timestamp
    user_id: uuid.UUID
    tool: str
    before: Answered
    after: Answered
    also_now: bool
    """Whether the bundle in force would make it otherwise too: then it is not this bundle that changes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What would be different. Limits (counters) are not replayed: what they counted then is not known now."""

    bundle: BundleInfo
    summary: ReplaySummary
    flips: tuple[Flip, ...]
    """Newest first, at most 200."""
