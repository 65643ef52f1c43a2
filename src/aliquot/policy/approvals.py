"""What an approval binds, how it is sealed, and who may decide it. Pure: no database."""

import json
import secrets
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json, content_hash
from aliquot.kernel.clock import rfc3339
from aliquot.kernel.problems import NotFound, Problem
from aliquot.platform.vault import Damaged, Erased, Vault
from aliquot.policy.contracts import PLAN, Approval, Choice, Decision, Origin, Preview, Query, Reason, Signed
from aliquot.policy.errors import MayNotSign, OwnRequest, SessionRequired
from aliquot.policy.store import ApprovalRow

_OTHER_PERSON = frozenset({"sign", "two_person"})
DECIDE = "approvals.decide"
SIGN = "records.sign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The sealed part of an approval: all that was asked. The columns of the row are copies."""

    approval_id: str
    arguments: dict[str, Any]
    call_id: str
    created_at: str
    decision: Decision
    expires_at: str
    nonce: str
    """256 random bits: the binding hash in clear gives nothing away about the arguments."""
    preview: Preview
    requester: str
    requester_name: str
    run: str | None
    tainted: bool
    tool: str
    tool_schema_sha256: str
    intent: str | None = None
    unnamed: tuple[str, ...] | None = None

    @property
    def origin(self) -> Origin:
        return Origin(tainted=self.tainted, intent=self.intent, unnamed=self.unnamed)

    @property
    def calls(self) -> int:
        """How many calls it is about: the limits on what people are asked count each step of a plan."""
        return len(self.arguments["steps"]) if self.tool == PLAN else 1

    def binding(self) -> str:
        """H(JCS{…}) over everything an approval must not be separated from (DESIGN §4.5)."""
        return content_hash(self.bound())

    def bound(self) -> dict[str, Any]:
        """What `binding` hashes, and what a signature under the decision signs."""
        bound: dict[str, Any] = {} if self.intent is None else {"intent": self.intent}
        if self.unnamed is not None:
            bound["unnamed"] = list(self.unnamed)
        return bound | {
            "approval": self.approval_id, "arguments": self.arguments, "call": self.call_id, "created": self.created_at,
            "expires": self.expires_at, "nonce": self.nonce, "obligations": list(self.decision.obligations),
            "policy_version": self.decision.policy_version, "preview_sha256": preview_sha256(self.preview),
            "requester": self.requester, "resource_versions": dict(self.preview.resource_versions), "run": self.run,
            "tainted": self.tainted, "tool": self.tool, "tool_schema_sha256": self.tool_schema_sha256,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The sealed part of a decision about an approval."""

    binding: str
    choice: Choice
    decided_at: str
    decided_by: str
    meaning: str | None
    next_run: str | None
    """None for a step of a plan that was approved as a whole: the run that executes the plan goes on by itself."""
    printed_name: str | None
    reason: str | None


def preview_sha256(preview: Preview) -> str:
    """Hash of all that was shown. Raises ValueError when it has no canonical form."""
    return content_hash(asdict(preview))


def material_sha256(preview: Preview) -> str:
    """Hash of what must still hold at the execution: the changes, the versions they rest on, and how many warnings there are.

    The sentences are bound as shown, but may speak of the moment (when a run would end, how far it is), so they are not compared.
    """
    return content_hash(
        {"changes": list(preview.changes), "resource_versions": dict(preview.resource_versions), "warnings": len(preview.warnings)}
    )


def needs_other_person(decision: Decision) -> bool:
    """True when the requester may not decide."""
    return not _OTHER_PERSON.isdisjoint(decision.obligations)


def new_request(
    approval_id: uuid.UUID, query: Query, decision: Decision, *, call_id: str, preview: Preview, at: datetime, ends: datetime
) -> Request:
    return Request(
        approval_id=str(approval_id), arguments=query.arguments, call_id=call_id, created_at=rfc3339(at), decision=decision,
        expires_at=rfc3339(ends), nonce=secrets.token_hex(32), preview=preview, requester=str(query.principal.id),
        requester_name=query.principal.name, run=_text(query.run_id), tainted=query.tainted, tool=query.tool.name,
        tool_schema_sha256=query.tool.schema_sha256, intent=query.intent, unnamed=query.unnamed,
    )  # fmt: skip


def seal_request(vault: Vault, request: Request) -> bytes:
    """Under the requester's key, openable in its own row only. Raises ValueError when it has no canonical form."""
    return vault.seal(uuid.UUID(request.requester), canonical_json(asdict(request)), aad=f"policy_approval.request:{request.approval_id}")


def seal_ruling(vault: Vault, approval_id: uuid.UUID, ruling: Ruling) -> bytes:
    """Under the decider's key, openable in its own row only."""
    return vault.seal(uuid.UUID(ruling.decided_by), canonical_json(asdict(ruling)), aad=f"policy_approval.verdict:{approval_id}")


def open_request(vault: Vault, row: ApprovalRow) -> Request:
    """What was asked. Raises Erased, and Damaged when a column of the row differs from it or the seal does not hold."""
    value = json.loads(vault.open(bytes(row.request), aad=f"policy_approval.request:{row.id}"))
    decision, preview, unnamed = value.pop("decision"), value.pop("preview"), value.pop("unnamed", None)
    reasons = tuple(Reason(**reason) for reason in decision.pop("reasons"))
    request = Request(
        decision=Decision(**decision | {"reasons": reasons, "obligations": tuple(decision["obligations"])}),
        preview=Preview(**preview | {"changes": tuple(preview["changes"]), "warnings": tuple(preview["warnings"])}),
        unnamed=None if unnamed is None else tuple(unnamed),
        **value,
    )
    stored = (
        str(row.id), row.call_id, rfc3339(row.created_at), rfc3339(row.expires_at), str(row.requester_id), _text(row.run_id), row.tool,
        row.other_person, row.binding_sha256, row.calls,
    )  # fmt: skip
    sealed = (
        request.approval_id, request.call_id, request.created_at, request.expires_at, request.requester, request.run, request.tool,
        needs_other_person(request.decision), request.binding(), request.calls,
    )  # fmt: skip
    if stored != sealed:
        raise Damaged
    return request


def open_ruling(vault: Vault, row: ApprovalRow) -> Ruling | None:
    """Who decided what and why; None before the decision. Raises Erased or Damaged as `open_request` does."""
    if row.verdict is None:
        return None
    ruling = Ruling(**json.loads(vault.open(bytes(row.verdict), aad=f"policy_approval.verdict:{row.id}")))
    at = None if row.decided_at is None else rfc3339(row.decided_at)
    if (ruling.binding, ruling.decided_by, ruling.decided_at, ruling.next_run) != (
        row.binding_sha256, _text(row.decided_by), at, _text(row.next_run_id),
    ):  # fmt: skip
        raise Damaged
    return ruling


def ruling_on(
    request: Request, principal: Principal, choice: Choice, *, next_run: uuid.UUID, at: datetime, reason: str | None,
    signed: tuple[str, Signed] | None,
) -> Ruling:  # fmt: skip
    meaning, printed = (None, None) if signed is None else (signed[0], signed[1].printed_name)
    return Ruling(
        binding=request.binding(), choice=choice, decided_at=rfc3339(at), decided_by=str(principal.id), meaning=meaning,
        next_run=str(next_run), printed_name=printed, reason=reason,
    )  # fmt: skip


def may_see(principal: Principal, row: ApprovalRow) -> bool:
    return principal.id == row.requester_id or (row.other_person and principal.may(DECIDE))


def refusal_to_decide(principal: Principal, row: ApprovalRow, request: Request, choice: Choice) -> Problem | None:
    """Why `principal` may not make this choice, whatever the state; None when they may."""
    if not may_see(principal, row):
        return NotFound()
    if principal.via != "session" or principal.session_id is None:
        return SessionRequired()
    if row.other_person and principal.id == row.requester_id:
        return OwnRequest()
    if choice == "approve" and "sign" in request.decision.obligations and not principal.may(SIGN):
        return MayNotSign()
    return None


def as_approval(vault: Vault, row: ApprovalRow, now: datetime, viewer: Principal | None = None) -> Approval:
    """The approval as shown to `viewer`. Raises Erased (the requester's key is gone) or Damaged."""
    request = open_request(vault, row)
    try:
        ruling = open_ruling(vault, row)
    except Erased:  # of the decider: the request itself is still readable
        ruling = None
    state = row.state_at(now)
    return Approval(
        id=row.id, state=state, requester_id=row.requester_id, requester_name=request.requester_name, run_id=row.run_id,
        next_run_id=row.next_run_id, call_id=row.call_id, tool=row.tool, arguments=request.arguments, preview=request.preview,
        decision=request.decision, binding_sha256=row.binding_sha256, created_at=row.created_at, expires_at=row.expires_at,
        decided_by=row.decided_by, decided_at=row.decided_at, reason=None if ruling is None else ruling.reason,
        may_decide=state == "pending" and viewer is not None and refusal_to_decide(viewer, row, request, "approve") is None,
        superseded_by=row.superseded_by,
    )  # fmt: skip


def _text(value: uuid.UUID | None) -> str | None:
    return None if value is None else str(value)
