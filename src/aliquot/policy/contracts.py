"""What other domains see of policy: what is asked, what is decided, and approvals."""

import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Timestamp

Effect = Literal["read", "write", "external", "instrument"]
Verdict = Literal["allow", "deny", "confirm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFacts:
    """What the policy may know about a tool."""

    name: str
    effect: Effect
    permissions: tuple[str, ...]
    """Permissions of identity the person needs besides the policy's consent."""
    schema_sha256: str
    """Hash of the canonical JSON of the tool's argument schema."""
    gmp_critical: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """May `principal` call `tool` with `arguments`?"""

    principal: Principal
    tool: ToolFacts
    arguments: dict[str, Any]
    """Validated against the tool's schema."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Typed facts the tool's domain adds for the policy (`foreign_run: true`, `instrument_state: "idle"`, …): str, int or bool."""
    tainted: bool = False
    """Untrusted text (documents, tool results from outside) is in the context that led to this call."""
    run_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    policy_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer, never without a reason (`default-deny` when nothing permits)."""

    decision: Verdict
    reasons: tuple[Reason, ...]
    risk: int
    """0 to 100; shown to people, never overrides the decision."""
    obligations: tuple[str, ...]
    """Of `confirm`, `sign`, `two_person`, `reason_required`, `training_valid`."""
    policy_version: str
    """SHA-256 of the active bundle."""
    input_sha256: str
    took_us: int = 0


ApprovalState = Literal["pending", "approved", "executing", "done", "failed", "unknown", "rejected", "withdrawn", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would happen, computed without side effects: a sentence, details, and the versions of the records it rests on."""

    summary: str
    changes: tuple[dict[str, Any], ...] = ()
    """`{record, field, before, after}` rows."""
    warnings: tuple[str, ...] = ()
    resource_versions: dict[str, int] = field(default_factory=dict)
    """`instrument:PCR-02` → version; part of what the approval binds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A stored request to act. It binds tool, schema, arguments, resource versions, policy version and preview by hash."""

    id: uuid.UUID
    state: ApprovalState
    requester_id: uuid.UUID
    requester_name: str
    run_id: uuid.UUID | None
    """The run that asked."""
    next_run_id: uuid.UUID | None
    """The run that continues after the decision; allocated by the decision."""
    call_id: str
    tool: str
    arguments: dict[str, Any]
    preview: Preview
    decision: Decision
    binding_sha256: str
    created_at: Timestamp
    expires_at: Timestamp
    decided_by: uuid.UUID | None = None
    decided_at: Timestamp | None = None
    reason: str | None = None
    may_decide: bool = False
    """Whether the person who asks may decide it now."""
