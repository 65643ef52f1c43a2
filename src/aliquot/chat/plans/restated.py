"""Plans as the log knows them: one set to another state, a step skipped or done again behind its back is found."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from aliquot.chat.plans.said import ACTIONS, bound, said
from aliquot.chat.plans.store import PlanStore
from aliquot.chat.plans.tables import plan
from aliquot.ledger.contracts import Claim, Restated
from aliquot.platform.db import Transaction
from aliquot.platform.rows import RowsById
from aliquot.platform.vault import Damaged, Erased, Vault

_MADE = ("plan.made",)


class RestatedPlans(RowsById):
    """See `ledger.contracts.RestatedRecords`. A plan and its steps are one record."""

    record_type = "plan"
    made_by: tuple[str, ...] = _MADE
    table = plan

    def __init__(self, vault: Vault) -> None:
        self._store = PlanStore(vault)

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        rows = await tx.rows(select(plan).where(plan.c.id.in_([uuid.UUID(i) for i in ids])))
        steps = await self._store.rows_of_steps(tx, [row.id for row in rows])
        return [self._restated(row, steps.get(row.id, [])) for row in rows]

    def _restated(self, row: Any, steps: Sequence[Any]) -> Restated:
        stands = said(row, steps)
        claims = [
            Claim(actions=_MADE, required=True),
            Claim(actions=ACTIONS, fields={"versions.plan": stands["plan"]}, by_version=True, what="state"),
            Claim(actions=ACTIONS, fields={"versions.steps": stands["steps"]}, by_version=True, what="steps"),
        ]
        damaged = []
        try:
            planned = bound([self._store.opened(step).call for step in steps])
            claims.append(Claim(actions=_MADE, content=("steps", planned), what="arguments"))
        except Damaged:
            damaged.append("arguments")
        except Erased:
            pass
        return Restated(id=str(row.id), claims=tuple(claims), damaged=tuple(damaged))
