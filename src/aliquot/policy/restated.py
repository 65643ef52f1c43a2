"""Decisions and approvals as the log knows them."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import select

from aliquot.kernel.canonical import canonical_json
from aliquot.ledger.contracts import Claim, Restated
from aliquot.platform.db import Transaction
from aliquot.platform.rows import RowsById
from aliquot.platform.vault import Damaged, Erased, Vault
from aliquot.policy import approvals, store
from aliquot.policy.tables import policy_activation, policy_approval, policy_bundle, policy_decision

_REQUESTED = ("approval.requested",)
_RULED = ("approval.approved", "approval.rejected")
_EXECUTED = {"done": "ok", "failed": "failed", "unknown": "unknown"}


class RestatedDecisions(RowsById):
    """Denials and confirmations; what was allowed is recorded with the tool call itself."""

    record_type = "policy_decision"
    made_by: tuple[str, ...] = ("tool_call.denied", "tool_call.held")
    table = policy_decision

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        rows = await tx.rows(select(policy_decision).where(policy_decision.c.id.in_([uuid.UUID(i) for i in ids])))
        return [Restated(id=str(row.id), claims=_decision_claims(row)) for row in rows]


def _decision_claims(row: Any) -> tuple[Claim, ...]:
    action = {"deny": "tool_call.denied", "confirm": "tool_call.held"}.get(row.decision, "none")
    reasons = " ".join(reason["policy_id"] for reason in row.reasons)[:1000]
    fields = {"action": action, "actor": str(row.user_id), "tool": row.tool, "versions.policy": row.policy_version, "reason": reasons}
    return (Claim(actions=RestatedDecisions.made_by, fields=fields, what="decision"),)


class RestatedApprovals(RowsById):
    """What was asked (arguments, binding), who decided what and why, and how far it came."""

    record_type = "approval"
    made_by: tuple[str, ...] = _REQUESTED
    table = policy_approval

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        found = [await store.approval(tx, uuid.UUID(i)) for i in ids]
        return [self._restated(row) for row in found if row is not None]

    def _restated(self, row: store.ApprovalRow) -> Restated:
        claims = [
            Claim(actions=_REQUESTED, required=True, fields={"tool": row.tool}),
            Claim(actions=_REQUESTED, content=("binding", row.binding_sha256.encode())),
            *_state_claims(row),
        ]
        damaged = []
        try:
            request = approvals.open_request(self._vault, row)
            claims.append(Claim(actions=_REQUESTED, content=("arguments", canonical_json(request.arguments))))
        except Erased:
            pass
        except (Damaged, ValueError, KeyError, TypeError):
            damaged.append("request")
        try:
            ruling = approvals.open_ruling(self._vault, row)
            if ruling is not None:
                claims.append(Claim(actions=_RULED, required=True, content=("ruling", canonical_json(asdict(ruling)))))
        except Erased:
            pass
        except (Damaged, ValueError, KeyError, TypeError):
            damaged.append("verdict")
        return Restated(id=str(row.id), claims=tuple(claims), damaged=tuple(damaged))


def _state_claims(row: store.ApprovalRow) -> list[Claim]:
    """A decided, executed, withdrawn or expired approval has the event that made it so; an open one has none."""
    if row.state in {"approved", "rejected", "withdrawn", "expired", "executing"}:
        return [Claim(actions=(f"approval.{row.state}",), required=True)]
    if row.state in {"done", "unknown"}:
        return [Claim(actions=("approval.executed",), required=True, fields={"outcome": _EXECUTED[row.state]})]
    if row.state == "pending":
        return [Claim(actions=(*_RULED, "approval.withdrawn", "approval.expired"), fields={"action": "none"})]
    return []


class RestatedBundles(RowsById):
    """The texts of bundles."""

    record_type = "policy_bundle"
    made_by: tuple[str, ...] = ("policy.bundle_added",)
    table = policy_bundle

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        rows = await tx.rows(select(policy_bundle).where(policy_bundle.c.id.in_([uuid.UUID(i) for i in ids])))
        return [self._restated(row) for row in rows]

    def _restated(self, row: Any) -> Restated:
        try:
            texts = json.loads(self._vault.open(bytes(row.texts), aad=f"policy_bundle.texts:{row.id}"))
        except (Damaged, Erased, ValueError):
            return Restated(id=str(row.id), claims=(Claim(actions=self.made_by, required=True),), damaged=("texts",))
        del texts["name"]
        whole = Claim(actions=self.made_by, required=True, content=("texts", canonical_json(texts)))
        return Restated(id=str(row.id), claims=(whole, Claim(actions=self.made_by, fields={"versions.policy": row.version})))


class RestatedActivations:
    """Which bundle was put in force when: one more or one less than the log knows is found."""

    record_type = "policy_activation"
    made_by: tuple[str, ...] = ("policy.activated", "policy.rolled_back")

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def ids(self, tx: Transaction, after: str | None, limit: int) -> list[str]:
        serial = policy_activation.c.serial
        rows = await tx.rows(select(serial).where(serial > int(after or 0)).order_by(serial).limit(limit))
        return [str(row.serial) for row in rows]

    async def existing(self, tx: Transaction, ids: Sequence[str]) -> set[str]:
        serial = policy_activation.c.serial
        return {str(row.serial) for row in await tx.rows(select(serial).where(serial.in_([int(i) for i in ids])))}

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        rows = await tx.rows(select(policy_activation).where(policy_activation.c.serial.in_([int(i) for i in ids])))
        return [self._restated(row) for row in rows]

    def _restated(self, row: Any) -> Restated:
        try:
            record = self._vault.open(bytes(row.record), aad=f"policy_activation.record:{row.serial}")
        except (Damaged, Erased):
            return Restated(id=str(row.serial), claims=(Claim(actions=self.made_by, required=True),), damaged=("record",))
        return Restated(id=str(row.serial), claims=(Claim(actions=self.made_by, required=True, content=("activation", record)),))
