"""Plans approved as a whole: what one approval of several steps binds, and whether a step that comes up is still what was approved.

Only asking and deciding is shortened. Every step gets an approval of its own in its turn, covered by that of the whole, and is then
executed like any other: asked of the policy again, counted, once.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json, content_hash
from aliquot.kernel.clock import Clock, rfc3339
from aliquot.kernel.problems import NotFound
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Damaged, Erased, Vault
from aliquot.policy import approvals, store
from aliquot.policy.contracts import OWN_DECISION, PLAN, Approval, Decision, PlannedCall, Preview, Query, Reason, ToolFacts
from aliquot.policy.errors import ApprovalExpired, IllegalTransition
from aliquot.policy.rules import OBLIGATIONS
from aliquot.policy.service import Approvals

_EFFECTS = ("read", "write", "external", "instrument")
_OWN = "This step is decided by itself when its turn comes."


def whole_query(principal: Principal, calls: Sequence[PlannedCall], *, run_id: uuid.UUID, tainted: bool, intent: str | None) -> Query:
    """The whole as a request: its arguments are the steps, each with everything its own approval would bind as far as it is known."""
    tool = ToolFacts(
        name=PLAN, effect=max((call.tool.effect for call in calls), key=_EFFECTS.index),
        permissions=tuple(sorted({name for call in calls for name in call.tool.permissions})),
        schema_sha256=content_hash([call.tool.schema_sha256 for call in calls]),
    )  # fmt: skip
    steps = [_bound(n, call) for n, call in enumerate(calls, 1)]
    return Query(principal=principal, tool=tool, arguments={"steps": steps}, run_id=run_id, tainted=tainted, intent=intent)


def whole_decision(calls: Sequence[PlannedCall]) -> Decision:
    """The strictest of all: whatever any covered step demands is demanded of the whole."""
    covered = [call.decision for call in calls if not call.own_decision]
    demanded = {name for decision in covered for name in decision.obligations}
    reasons = dict.fromkeys(reason for call in calls for reason in call.decision.reasons)
    own = [Reason(policy_id=OWN_DECISION, text=f"Step {n}: {_OWN}") for n, call in enumerate(calls, 1) if call.own_decision]
    riskiest = max((call.decision for call in calls), key=lambda decision: decision.risk)
    return Decision(
        decision="confirm", reasons=(*reasons, *own), risk=riskiest.risk, band=riskiest.band,
        obligations=tuple(name for name in OBLIGATIONS if name in demanded or name == "confirm"),
        policy_version=riskiest.policy_version, input_sha256=content_hash([call.decision.input_sha256 for call in calls]),
    )  # fmt: skip


def whole_preview(calls: Sequence[PlannedCall]) -> Preview:
    """All that is known of what would happen, step by step."""
    changes: list[dict[str, Any]] = []
    warnings: list[str] = []
    versions: dict[str, int] = {}
    sentences = []
    for n, call in enumerate(calls, 1):
        warnings += [f"Step {n}: {warning}" for warning in call.warnings]
        if call.preview is None:
            sentences.append(f"{n}. {call.tool.name} (known exactly only after step {', '.join(str(at + 1) for at in call.after)})")
            continue
        sentences.append(f"{n}. {call.preview.summary}")
        changes += [{"step": n, **change} for change in call.preview.changes]
        versions |= {name: version for name, version in call.preview.resource_versions.items() if name not in versions}
    summary = f"A plan of {len(calls)} steps, one after the other: {' '.join(sentences)}"
    return Preview(summary=summary, changes=tuple(changes), warnings=tuple(warnings), resource_versions=versions)


def changed_since(whole: approvals.Request, n: int, step: approvals.Request) -> list[str]:
    """What differs between step `n` (from 0) as the whole binds it and `step` as it is asked for now, as codes."""
    bound: Mapping[str, Any] = whole.arguments["steps"][n]
    if bound["own_decision"]:
        return [OWN_DECISION]
    touched = {record for earlier in whole.arguments["steps"][:n] for record in earlier["touches"]}
    differs = {
        "requester": step.requester != whole.requester,
        "tool": step.tool != bound["tool"],
        "tool_schema": step.tool_schema_sha256 != bound["tool_schema_sha256"],
        "arguments": content_hash(step.arguments) != content_hash(bound["arguments"]),
        OWN_DECISION: OWN_DECISION in step.decision.obligations,
        "unnamed": not set(step.unnamed or ()) <= set(bound.get("unnamed", ())),
        "policy": not set(step.decision.obligations) - {OWN_DECISION} <= set(whole.decision.obligations),
        "origin": step.tainted and not whole.tainted,
    }
    codes = [name for name, different in differs.items() if different]
    return codes + (_version_changes if bound["preview"] is None else _preview_changes)(bound, step.preview, touched)


def _version_changes(bound: Mapping[str, Any], now: Preview, touched: set[str]) -> list[str]:
    """Of a step that could not be previewed: the very records it was known to rest on (a name may mean another one by now), at the
    versions of then, but for what the plan changed itself."""
    return [
        "resources"
        for name, version in bound["resource_versions"].items()
        if name not in now.resource_versions or (name not in touched and now.resource_versions[name] != version)
    ][:1]


def _preview_changes(bound: Mapping[str, Any], now: Preview, touched: set[str]) -> list[str]:
    """The preview again, but for what earlier steps of the plan changed themselves."""
    before = bound["preview"]
    versions = {name: version for name, version in now.resource_versions.items() if name not in touched}
    known = {name: version for name, version in bound["resource_versions"].items() if name not in touched}
    same = len(now.warnings) == len(before["warnings"]) and _rows(now.changes, touched) == _rows(before["changes"], touched)
    return [name for name, different in (("resources", versions != known), ("preview", not same)) if different]


def _rows(changes: Sequence[Mapping[str, Any]], touched: set[str]) -> list[dict[str, Any]]:
    """What is changed to what; from what, too, unless an earlier step had its hand in it."""
    return [{k: v for k, v in change.items() if k != "before" or change.get("record") not in touched} for change in changes]


def _bound(n: int, call: PlannedCall) -> dict[str, Any]:
    shown = call.preview
    return {
        "step": n, "tool": call.tool.name, "tool_schema_sha256": call.tool.schema_sha256, "arguments": call.arguments,
        "after": [at + 1 for at in call.after], "touches": sorted(call.touches), "own_decision": call.own_decision,
        "obligations": list(call.decision.obligations), "policy_version": call.decision.policy_version,
        "unnamed": list(call.unnamed or ()),
        "resource_versions": dict(call.versions if shown is None else shown.resource_versions),
        "preview_sha256": None if shown is None else approvals.preview_sha256(shown),
        "preview": None if shown is None else {
            "summary": shown.summary, "changes": list(shown.changes), "warnings": list(shown.warnings)
        },
    }  # fmt: skip


class Wholes:
    """Spends the approval of a whole, step by step."""

    def __init__(self, approvals_: Approvals, vault: Vault, clock: Clock) -> None:
        self._approvals, self._vault, self._clock = approvals_, vault, clock

    async def begin(self, tx: Transaction, principal: Principal, whole_id: uuid.UUID) -> None:
        """From approved to executing; nothing more when it was begun before. Raises NotFound, ApprovalExpired, IllegalTransition."""
        row, now = await store.approval(tx, whole_id, lock=True), self._clock.now()
        if row is None or row.requester_id != principal.id or row.tool != PLAN:
            raise NotFound
        if row.state == "executing":
            return
        if row.state == "approved" and row.state_at(now) == "expired":
            raise await self._approvals.expired(tx, row, principal)
        if row.state == "expired":
            raise ApprovalExpired
        if row.state != "approved" or not await store.record_execution(tx, row.id, now):
            raise IllegalTransition(f"The request is {row.state}, not approved.")
        moved = await store.move(tx, row.id, source="approved", target="executing", values={"executing_at": now})
        await self._approvals.audit(tx, moved or row, "approval.executing", principal, outcome="pending")

    async def cover(self, tx: Transaction, approval_id: uuid.UUID, whole_id: uuid.UUID, n: int) -> tuple[Approval, list[str]]:
        """Approve the pending request of step `n` (from 0) by the decision about the whole; once, and only if nothing changed.

        Otherwise the request stays pending, for a person, and what changed is returned with it.
        """
        row, whole = await store.approval(tx, approval_id, lock=True), await store.approval(tx, whole_id, lock=True)
        if row is None or whole is None or row.requester_id != whole.requester_id:
            raise NotFound
        now = self._clock.now()
        codes = self._codes(row, whole, n)
        if not codes and not await store.record_execution(tx, uuid.uuid5(whole.id, str(n)), now):
            codes = ["executed_before"]
        if codes:
            await self._approvals.audit(tx, row, "approval.not_covered", None, outcome="denied", reason=" ".join(codes))
            return approvals.as_approval(self._vault, row, now), codes
        return await self._approve(tx, row, whole, n), []

    def _codes(self, row: store.ApprovalRow, whole: store.ApprovalRow, n: int) -> list[str]:
        try:
            asked, ruling = approvals.open_request(self._vault, whole), approvals.open_ruling(self._vault, whole)
            approved = whole.tool == PLAN and whole.state == "executing" and ruling is not None and ruling.choice == "approve"
            if not approved or row.state != "pending" or not 0 <= n < len(asked.arguments["steps"]):
                return ["decision"]
            return changed_since(asked, n, approvals.open_request(self._vault, row))
        except (Damaged, Erased, ValueError, KeyError, TypeError):
            return ["damaged"]

    async def _approve(self, tx: Transaction, row: store.ApprovalRow, whole: store.ApprovalRow, n: int) -> Approval:
        """The decision about the whole, as the decision about this step, in the name of who made it."""
        request, given = approvals.open_request(self._vault, row), approvals.open_ruling(self._vault, whole)
        if given is None or whole.decided_by is None:
            raise IllegalTransition
        now = self._clock.now()
        ruling = approvals.Ruling(
            binding=request.binding(), choice="approve", decided_at=rfc3339(now), decided_by=given.decided_by,
            meaning=given.meaning, next_run=None, printed_name=given.printed_name,
            reason=f"Step {n + 1} of the plan that was approved as a whole (approval {whole.id}).",
        )  # fmt: skip
        values = {"decided_by": whole.decided_by, "decided_at": now, "verdict": approvals.seal_ruling(self._vault, row.id, ruling)}
        moved = await store.move(tx, row.id, source="pending", target="approved", values=values, unexpired_at=now)
        if moved is None:
            raise IllegalTransition
        await self._approvals.audit(
            tx, moved, "approval.approved", None, reason=f"whole {whole.id} {n + 1}", subject=whole.decided_by,
            content={"ruling": canonical_json(asdict(ruling))},
        )  # fmt: skip
        return approvals.as_approval(self._vault, moved, now)
