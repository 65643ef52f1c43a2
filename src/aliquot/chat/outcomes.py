"""How a direct tool call is answered over HTTP."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aliquot.chat.contracts import Answer
from aliquot.chat.run_store import Step
from aliquot.kernel.clock import rfc3339
from aliquot.kernel.problems import Problem

_STATUS = {
    "arguments_invalid": 422, "unknown_tool": 404, "denied": 403, "training_expired": 403, "tool_timeout": 504, "tool_unavailable": 503,
    "tool_withdrawn": 503, "external_refused": 502, "patient_data_stays": 403,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """Status, document and media type."""

    status: int
    document: dict[str, Any]
    media_type: str = "application/json"


def tool_outcome(answer: Answer, steps: Sequence[Step]) -> ToolOutcome:
    """200 with the result, 202 with the approval it waits for, or a problem that says why not."""
    run_id = str(answer.run.id)
    if answer.approval is not None:
        approval = {
            "id": str(answer.approval.id),
            "state": answer.approval.state,
            "summary": answer.approval.preview.summary,
            "obligations": list(answer.approval.decision.obligations),
            "expires_at": rfc3339(answer.approval.expires_at),
        }
        return ToolOutcome(status=202, document={"approval": approval, "run_id": run_id})
    if answer.error is not None:
        return _problem(502, str(answer.error["code"]), str(answer.error["detail"]), run_id)
    result = steps[0].results[0] if steps and steps[0].results else None
    if result is None:
        return _problem(500, Problem.code, Problem.sentence, run_id)
    if result["outcome"] == "ok":
        return ToolOutcome(status=200, document={"run_id": run_id, "result": json.loads(result["text"]), "rendered": result["rendered"]})
    code = str(result.get("error_code") or "tool_failed")
    if result["outcome"] == "denied" and code != "training_expired":
        code = "denied"
    members = {"reasons": result["reasons"]} if result.get("reasons") else {}
    return _problem(_STATUS.get(code, 409), code, str(result["text"]), run_id, **members)


def _problem(status: int, code: str, detail: str, run_id: str, **members: Any) -> ToolOutcome:
    document = {"type": f"urn:aliquot:problem:{code}", "title": detail, "status": status, "detail": detail, "code": code, "run_id": run_id}
    return ToolOutcome(status=status, document=document | members, media_type="application/problem+json")
