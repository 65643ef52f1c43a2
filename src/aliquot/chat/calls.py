"""The tool calls of one step: proposed in order, shown as they happen, answered to the model, or stopped at an approval."""

import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aliquot.chat.contracts import ApprovalRequired, ToolCallArgs, ToolCallEnd, ToolCallStart
from aliquot.chat.naming import naming
from aliquot.chat.run_store import Step
from aliquot.chat.turn import Turn
from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import rfc3339
from aliquot.kernel.problems import Problem
from aliquot.policy.contracts import Approval
from aliquot.tools.api import ToolsApi
from aliquot.tools.contracts import CallReport, ToolContext

Refresh = Callable[[Principal], Awaitable[Principal]]

_INVALID = frozenset({"arguments_invalid", "unknown_tool"})
_SHOWN_CHARS = 65_536
_SKIPPED = "Not tried: an earlier call of this step waits for a person's confirmation."


class ToolArgumentsInvalid(Problem):
    code, status, sentence = "tool_arguments_invalid", 502, "The assistant could not form a valid request to a tool. Please rephrase."
    retryable = True


class AssistantRepeats(Problem):
    code, status, sentence = "assistant_repeats", 502, "The assistant kept repeating a call that fails and was stopped. Please rephrase."
    retryable = True


class Calls:
    """Executes the calls a step asked for."""

    def __init__(self, tools: ToolsApi, refresh: Refresh) -> None:
        """`refresh` gives a person's rights as they are at this moment: they are read anew for every call."""
        self._tools, self._refresh = tools, refresh

    async def run(self, turn: Turn, step: Step, until: int | None = None) -> Approval | None:
        """Execute `step`'s calls in order (those before `until`), filling `step.results`; the approval to wait for, if one needs it.

        A call whose earlier execution finished is replayed by `tools` from its stored result (idempotency key).
        """
        done = {str(result["call_id"]) for result in step.results}
        for index, use in enumerate(step.tool_uses[:until]):
            if use["call_id"] in done:
                continue
            report = await self._one(turn, step, index, use)
            if report.approval is not None and report.outcome == "waiting":
                self._skip_rest(turn, step, index + 1)
                return report.approval
            step.results.append(self._kept(turn, use, report))
        self._refuse_repeated_nonsense(turn, step)
        return None

    async def approved(self, turn: Turn, step: Step, approval: Approval) -> CallReport:
        """Execute what a person approved: the stored arguments, never new ones."""
        use = {"call_id": approval.call_id, "name": approval.tool, "arguments": canonical_json(approval.arguments).decode()}
        step.tool_uses = [use]
        turn.emitter.emit(ToolCallStart(call_id=approval.call_id, name=approval.tool))
        turn.emitter.emit(ToolCallArgs(call_id=approval.call_id, arguments=approval.arguments))
        turn.principal = await self._refresh(turn.principal)
        report = await self._tools.execute_approved(approval, turn.principal)
        self._show_end(turn, report)
        step.results = [self._kept(turn, use, report)]
        return report

    def refused(self, turn: Turn, step: Step, approval: Approval, sentence: str) -> None:
        """Record that a person said no (or nobody said yes in time)."""
        use = {"call_id": approval.call_id, "name": approval.tool, "arguments": canonical_json(approval.arguments).decode()}
        step.tool_uses = [use]
        step.results = [use | {"outcome": "denied", "text": sentence}]
        turn.emitter.emit(ToolCallStart(call_id=approval.call_id, name=approval.tool))
        turn.emitter.emit(ToolCallEnd(call_id=approval.call_id, outcome="denied", summary=sentence, duration_ms=0))

    async def _one(self, turn: Turn, step: Step, index: int, use: dict[str, str]) -> CallReport:
        if step.source != "model":  # a model's calls were shown while they streamed
            turn.emitter.emit(ToolCallStart(call_id=use["call_id"], name=use["name"]))
        turn.emitter.emit(ToolCallArgs(call_id=use["call_id"], arguments=parsed_arguments(use["arguments"])))
        # The person sees what is being tried before it happens.
        await turn.emitter.settle()
        turn.principal = await self._refresh(turn.principal)
        context = ToolContext(
            principal=turn.principal,
            run_id=turn.run_id,
            call_id=use["call_id"],
            idempotency_key=f"{turn.run_id}:{step.n}:{index}",
            intent=turn.run.intent,
            naming=naming(turn, step),
        )
        only = self._tools.dashboards.tools(turn.run.dashboard)
        report = await self._tools.call(context, use["name"], use["arguments"], only=only, tainted=turn.tainted)
        if report.outcome == "waiting" and report.approval is not None:
            self._show_approval(turn, report.approval, use["call_id"])
        else:
            self._show_end(turn, report)
        return report

    def _kept(self, turn: Turn, use: dict[str, str], report: CallReport) -> dict[str, Any]:
        """What the step keeps of a call. Text from outside, also that of a failure, taints what follows from it."""
        outside = self._tools.from_outside(report.tool) or (report.result is not None and report.result.trust != "site")
        turn.tainted = turn.tainted or outside
        return _result(use, report) | ({"from_outside": True} if outside else {})

    def _show_end(self, turn: Turn, report: CallReport) -> None:
        if report.outcome == "waiting":
            return
        turn.tool_calls.append({"call_id": report.call_id, "name": report.tool, "outcome": report.outcome, "summary": report.summary})
        turn.emitter.emit(
            ToolCallEnd(call_id=report.call_id, outcome=report.outcome, summary=report.summary, duration_ms=report.duration_ms)
        )

    def _show_approval(self, turn: Turn, approval: Approval, call_id: str) -> None:
        turn.tool_calls.append({"call_id": call_id, "name": approval.tool, "outcome": "waiting", "summary": approval.preview.summary})
        turn.emitter.emit(
            ApprovalRequired(
                approval_id=str(approval.id), call_id=call_id, preview=preview_document(approval), expires_at=rfc3339(approval.expires_at)
            )
        )

    def _skip_rest(self, turn: Turn, step: Step, start: int) -> None:
        for use in step.tool_uses[start:]:
            step.results.append(use | {"outcome": "denied", "text": _SKIPPED})
            turn.emitter.emit(ToolCallEnd(call_id=use["call_id"], outcome="denied", summary=_SKIPPED, duration_ms=0))

    def _refuse_repeated_nonsense(self, turn: Turn, step: Step) -> None:
        """A model is told what was wrong with its arguments and may try once more; then the run fails clearly. So does one that
        makes the same failing call a third time."""
        if any(_failures(earlier) & _failures(step) for earlier in turn.steps if earlier.n == step.n - 2):
            raise AssistantRepeats
        wrong = [result for result in step.results if result.get("error_code") in _INVALID]
        before = [s for s in turn.steps if s.n == step.n - 1]
        if wrong and before and any(result.get("error_code") in _INVALID for result in before[0].results):
            raise ToolArgumentsInvalid(f"The assistant could not form a valid request to {wrong[0]['name']}. Please rephrase.")


def _failures(step: Step) -> set[tuple[str, str]]:
    """The calls of a step that failed, as name and arguments."""
    return {(str(r["name"]), str(r["arguments"])) for r in step.results if r["outcome"] == "failed"}


def new_call_id() -> str:
    """An id for a call the router (not a model) asked for."""
    return f"call_{uuid.uuid4().hex[:24]}"


def preview_document(approval: Approval) -> dict[str, Any]:
    """The preview as shown to people and clients."""
    preview = approval.preview
    return {
        "tool": approval.tool,
        "arguments": approval.arguments,
        "summary": preview.summary,
        "changes": list(preview.changes),
        "warnings": list(preview.warnings),
        "risk": approval.decision.risk,
        "obligations": list(approval.decision.obligations),
        "reasons": [{"policy_id": r.policy_id, "text": r.text} for r in approval.decision.reasons],
    }


def _result(use: dict[str, str], report: CallReport) -> dict[str, Any]:
    text = canonical_json(report.result.data).decode() if report.result is not None else report.error_text or report.summary
    result: dict[str, Any] = {
        "outcome": report.outcome,
        "text": text,
        "error_code": report.error_code,
        "rendered": report.rendered or report.summary,
    }
    if report.decision is not None and report.outcome == "denied":
        result["reasons"] = [{"policy_id": reason.policy_id, "text": reason.text} for reason in report.decision.reasons]
    return use | result


def parsed_arguments(arguments: str) -> Any:
    """The arguments as shown: parsed, or the (shortened) text when they are too long or cannot be shown as JSON."""
    if len(arguments) > _SHOWN_CHARS:
        return arguments[:_SHOWN_CHARS] + "…"
    try:
        value = json.loads(arguments or "{}")
        canonical_json(value)  # what it refuses (half a surrogate pair, NaN, thousands of levels) no stream can carry
    except (ValueError, RecursionError):
        return arguments
    return value
