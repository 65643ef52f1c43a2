"""A plan as text: the table people read before they decide, and after each change."""

from collections.abc import Sequence
from typing import Any

from aliquot.chat.plans.store import Step
from aliquot.policy.contracts import PLAN, Approval

_STATES = {
    "waiting": "waits", "current": "under way", "ok": "done", "failed": "failed", "denied": "not done", "unknown": "outcome unknown",
    "skipped": "skipped",
}  # fmt: skip
_NEEDS = {"sign": "a signature by somebody else", "two_person": "a second person", "confirm": "your confirmation"}
_SENTENCES = {
    "step_failed": "A step failed; the steps after it were not begun. The plan can be resumed from the failed step, or stopped.",
    "step_denied": "A step was not allowed; the steps after it were not begun.",
    "step_unknown": "It is not known whether a step took effect, so the plan is paused. Look, then resume it and say so, or stop it.",
    "stale": "Something changed since this was approved, so the step was not done. The plan can be resumed, by a new decision, or stopped.",
    "rejected": "The request was rejected, so the plan was stopped; nothing more was done.",
    "approval_expired": "The request ran out undecided, so the plan is paused. It can be resumed or stopped.",
    "withdrawn": "The request was withdrawn, so the plan was stopped.",
    "stopped": "The plan was stopped; the steps after the last one were not begun.",
    "interrupted": "The run was interrupted, so the plan is paused. It can be resumed or stopped.",
}
_GOING = {
    "done": "The plan is done.",
    "running": "The plan goes on in another run.",
    "waiting": "The plan waits for a decision.",
}


def table(plan: Any, steps: Sequence[Step]) -> str:
    """Markdown."""
    lines = [f"**Plan** of {len(steps)} steps (`{plan.id}`)", "", "| step | what | after | needs | state |", "|---|---|---|---|---|"]
    for step in steps:
        after = ", ".join(str(at + 1) for at in step.call.after) or "–"
        lines.append(f"| {step.n + 1} | {_cell(_what(step))} | {after} | {needs(step)} | {_state(plan, step)} |")
    warnings = [f"- Step {step.n + 1}: {warning}" for step in steps for warning in step.call.warnings]
    return "\n".join([*lines, *(["", "Warnings:", "", *warnings] if warnings and plan.state == "waiting" else [])])


def _state(plan: Any, step: Step) -> str:
    return "asks now" if step.state == "current" and plan.state == "waiting" else _STATES[step.state]


def needs(step: Step) -> str:
    """What has to happen before the step, in words."""
    obligations = step.call.decision.obligations
    if step.call.decision.decision != "confirm":
        return "nothing"
    found = next((words for name, words in _NEEDS.items() if name in obligations), _NEEDS["confirm"])
    return f"{found}, by itself" if step.call.own_decision else found


def asking(plan: Any, approval: Approval) -> str:
    """How a plan that waits goes on."""
    if approval.tool == PLAN:
        own = "You may also decide step by step: choose so in the terminal, or `POST /api/plans/{id}/decision` with `step_by_step`."
        return "Approving approves the steps as they are shown here, all together; each is checked again before it is done. " + own.replace(
            "{id}", str(plan.id)
        )
    if plan.reason == "stale":
        return "Something changed since the plan was approved, so this step and those after it are asked for one by one."
    return "Only this step is decided now; the next one asks in its turn."


def state_sentence(plan: Any) -> str:
    if plan.state in _GOING:
        return _GOING[plan.state]
    return _SENTENCES.get(plan.reason or "", "The plan was stopped.")


def _what(step: Step) -> str:
    if step.outcome is not None and step.state not in {"waiting", "current"}:
        return step.outcome.summary
    if step.call.preview is not None:
        return step.call.preview.summary
    pairs = ", ".join(f"{name}: {value}" for name, value in step.call.arguments.items())
    if step.state == "current":
        return f"{step.call.tool.name} ({pairs})"  # its own preview follows; what stood in its way is gone
    earlier = ", ".join(str(at + 1) for at in step.call.after)
    why = f" When the plan was made: {step.body.deferred}" if step.body.deferred else ""
    return f"{step.call.tool.name} ({pairs}); what exactly it changes is known after step {earlier}.{why}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
