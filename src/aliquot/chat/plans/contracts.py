"""A plan as people see it."""

import uuid
from dataclasses import dataclass
from typing import Any, Literal

from aliquot.kernel.clock import Timestamp
from aliquot.policy.contracts import Approval, Preview, Reason, Verdict

PlanState = Literal["waiting", "running", "paused", "failed", "stopped", "done"]
"""`waiting` for a decision; `paused`: nobody knows how a step ended, or a request ran out: resume or stop; `failed`: a step was not
done: resume or stop; `stopped` and `done` are final."""
StepState = Literal["waiting", "current", "ok", "failed", "denied", "unknown", "skipped"]
Mode = Literal["whole", "steps"]
"""`whole`: one decision about all steps, asked for or given; `steps`: one for each step, in its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDecision:
    """What the policy said of the step when the plan was made; it is asked again in the step's turn."""

    decision: Verdict
    risk: int
    obligations: tuple[str, ...]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One call of a plan."""

    n: int
    """From 1."""
    tool: str
    arguments: dict[str, Any]
    state: StepState
    after: tuple[int, ...]
    """The earlier steps it depends on."""
    preview: Preview | None
    deferred: str | None
    """Why there is no preview yet."""
    decision: StepDecision
    own_decision: bool
    """It is decided by itself in its turn, also in a plan that is approved as a whole."""
    approval_id: uuid.UUID | None
    attempt: int
    outcome: str | None
    """How it ended, in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Several steps, in their order."""

    id: uuid.UUID
    state: PlanState
    mode: Mode
    reason: str | None
    """Why it is in this state, as a code: `step_failed`, `step_unknown`, `rejected`, `approval_expired`, `stale`, `interrupted`, …"""
    stopping: bool
    """Somebody stopped it: the step under way comes to its end, no other begins."""
    requester_id: uuid.UUID
    conversation_id: uuid.UUID
    run_id: uuid.UUID
    """The newest run that is about it."""
    created_at: Timestamp
    ended_at: Timestamp | None
    steps: tuple[PlanStep, ...]
    whole_offered: bool
    """Whether the request that waits is about the whole, so that it can be decided at once or step by step."""
    approval: Approval | None
    """The request that waits for a decision."""
    may_stop: bool
    may_resume: bool
