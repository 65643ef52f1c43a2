"""What policy keeps about a person, for the person's own export (`records.erasure`). Everything it keeps is sealed or an id."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from sqlalchemy import or_, select

from aliquot.identity.contracts import Principal
from aliquot.platform.db import Database, Transaction
from aliquot.platform.vault import Damaged, Erased, Vault
from aliquot.policy import approvals, store
from aliquot.policy.tables import policy_approval

_a = policy_approval.c


class PolicyPersonal:
    """See `records.erasure.contracts.PersonalData`."""

    name = "policy"

    def __init__(self, db: Database, vault: Vault) -> None:
        self._db, self._vault = db, vault

    async def forget(self, tx: Transaction, subject: uuid.UUID) -> int:
        """Nothing is in clear."""
        return 0

    async def mine(self, principal: Principal) -> AsyncIterator[tuple[str, Any]]:
        """Approvals I asked for or decided."""
        concerned = or_(_a.requester_id == principal.id, _a.decided_by == principal.id)
        async with self._db.begin() as tx:
            ids = [row.id for row in await tx.rows(select(_a.id).where(concerned).order_by(_a.id))]
            rows = [row for approval_id in ids if (row := await store.approval(tx, approval_id)) is not None]
        yield "approvals.json", [self._shown(row) for row in rows]

    def _shown(self, row: store.ApprovalRow) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": row.id, "tool": row.tool, "state": row.state, "created_at": row.created_at}
        try:
            ruling = approvals.open_ruling(self._vault, row)
            return shown | {
                "request": asdict(approvals.open_request(self._vault, row)), "decision": None if ruling is None else asdict(ruling),
            }  # fmt: skip
        except (Damaged, Erased) as problem:
            return shown | {"problem": problem.code}
