"""How a call that did not succeed is told: a sentence for the person, words for the model, a code for programs."""

from aliquot.kernel.problems import Problem
from aliquot.policy.contracts import TRAINING_EXPIRED, Approval, Decision
from aliquot.tools.contracts import CallReport, ToolResult
from aliquot.tools.errors import CallCancelled, ToolDenied, ToolFailed, ToolTimeout, ToolUnavailable
from aliquot.tools.registry import Registered
from aliquot.tools.service import Call

SUMMARY_CHARS_MAX = 300


def denied(call: Call, decision: Decision) -> CallReport:
    why = " ".join(reason.text for reason in decision.reasons)
    return CallReport(
        call_id=call.context.call_id,
        tool=call.tool or "",
        arguments=call.arguments,
        outcome="denied",
        summary=f"{ToolDenied.sentence} {why}",
        error_code="training_expired" if decision.reasons[0].policy_id == TRAINING_EXPIRED else ToolDenied.code,
        error_text=f"Denied by the policy: {why}",
        decision=decision,
    )


def declined(call: Call, approval: Approval) -> CallReport:
    """The end of a call whose approval was not given."""
    why = {"rejected": "was rejected", "withdrawn": "was withdrawn", "expired": "has expired"}[approval.state]
    reason = f" Reason given: {approval.reason}" if approval.reason else ""
    return CallReport(
        call_id=call.context.call_id,
        tool=call.tool or "",
        arguments=call.arguments,
        outcome="denied",
        summary=f"The request {why}, so nothing was done.",
        error_code=f"approval_{approval.state}",
        error_text=f"The request {why}; nothing was done.{reason} Do not ask for the same again.",
        decision=call.decision,
        approval=approval,
    )


def failed(call: Call, problem: Problem, *, duration_ms: int = 0, attempts: int = 1) -> CallReport:
    """`problem` as the end of a call that changed nothing: an expected refusal keeps its own words."""
    return CallReport(
        call_id=call.context.call_id,
        tool=call.tool or "",
        arguments=call.arguments,
        outcome="failed",
        summary=_sentence(call, problem),
        error_code=problem.code,
        error_text=problem.detail,
        decision=call.decision,
        duration_ms=duration_ms,
        attempts=attempts,
    )


def unknown(call: Call, *, duration_ms: int = 0) -> CallReport:
    """The end of a call whose effect may or may not have happened: only a person can find out."""
    sentence = f"It is not known whether {call.tool} took effect. Please check before it is tried again."
    return CallReport(
        call_id=call.context.call_id,
        tool=call.tool or "",
        arguments=call.arguments,
        outcome="unknown",
        summary=sentence,
        error_code="outcome_unknown",
        error_text=sentence,
        decision=call.decision,
        duration_ms=duration_ms,
    )


def succeeded(call: Call, known: Registered, result: ToolResult, rendered: str, *, duration_ms: int, attempts: int) -> CallReport:
    first = next((line.strip() for line in rendered.splitlines() if line.strip()), f"{known.facts.name} is done.")
    return CallReport(
        call_id=call.context.call_id,
        tool=known.facts.name,
        arguments=call.arguments,
        outcome="ok",
        summary=first if len(first) <= SUMMARY_CHARS_MAX else first[:SUMMARY_CHARS_MAX] + "…",
        result=result,
        rendered=rendered,
        decision=call.decision,
        duration_ms=duration_ms,
        attempts=attempts,
    )


def _sentence(call: Call, problem: Problem) -> str:
    broken = isinstance(problem, ToolFailed | ToolTimeout | ToolUnavailable) or problem.retryable
    if not broken or isinstance(problem, CallCancelled) or call.tool is None:
        return problem.detail
    if call.effect == "read":
        return f"Unable to fetch data from {call.tool}, please try again"
    return f"{call.tool} failed and changed nothing. {problem.sentence}"
