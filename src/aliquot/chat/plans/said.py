"""What the log says of a plan: with every event, how the plan and its steps stand after it, as two hashes; and once, what was planned.

Pure. `restated` compares the rows with it, so whoever changes a plan's row changes it through `Plans.change`.
"""

from collections.abc import Sequence
from typing import Any

from aliquot.kernel.canonical import canonical_json, content_hash, sha256_hex
from aliquot.kernel.clock import rfc3339
from aliquot.policy.contracts import PlannedCall

ACTIONS = (
    "plan.made", "plan.decided", "plan.step_begun", "plan.step_covered", "plan.asks", "plan.step_ended", "plan.step_by_step",
    "plan.stop_requested", "plan.resumed", "plan.done", "plan.stopped", "plan.failed", "plan.paused",
)  # fmt: skip
_IDS = ("id", "conversation_id", "person_id", "run_id", "current_run_id", "whole_id", "approval_id", "stop_by")
_PLAIN = ("version", "run_step", "state", "mode", "reason", "tainted")


def said(row: Any, steps: Sequence[Any]) -> dict[str, str]:
    """`versions` of an event about the plan `row` with the stored `steps`.

    There are only ids, states and times in it, and of the outcomes the hash of what is sealed: it gives nothing away, and can still be
    compared when the person was erased.
    """
    times = {name: None if at is None else rfc3339(at) for name, at in (("created_at", row.created_at), ("ended_at", row.ended_at))}
    plan = {name: _text(getattr(row, name)) for name in _IDS} | {name: getattr(row, name) for name in _PLAIN} | times
    return {"plan": content_hash(plan), "steps": content_hash([_step(step) for step in steps])}


def _step(row: Any) -> dict[str, Any]:
    outcome = None if row.outcome is None else sha256_hex(bytes(row.outcome))
    ids = {"approval": _text(row.approval_id), "run": _text(row.run_id)}
    return {"n": row.n, "tool": row.tool, "state": row.state, "attempt": row.attempt, "outcome": outcome, **ids}


def bound(calls: Sequence[PlannedCall]) -> bytes:
    """What was planned, as `plan.made` commits to it under the requester's key."""
    return canonical_json([{"tool": call.tool.name, "arguments": call.arguments, "after": list(call.after)} for call in calls])


def _text(value: object) -> str | None:
    return None if value is None else str(value)
