"""Training records as the log knows them: whose, what, from when to when, and whether revoked."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from aliquot.ledger.contracts import Claim, Restated
from aliquot.platform.db import Transaction
from aliquot.platform.rows import RowsById
from aliquot.platform.vault import Damaged, Erased, Vault
from aliquot.records.training.api import stated
from aliquot.records.training.tables import training_record, training_revocation

_t, _r = training_record.c, training_revocation.c


class RestatedTraining(RowsById):
    """See `ledger.contracts.RestatedRecords`."""

    record_type = "training"
    made_by: tuple[str, ...] = ("training.recorded",)
    table = training_record

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        joined = select(training_record, _r.revoked_at).select_from(
            training_record.outerjoin(training_revocation, _r.training_id == _t.id)
        )  # fmt: skip
        rows = await tx.rows(joined.where(_t.id.in_([uuid.UUID(i) for i in ids])))
        return [self._restated(row) for row in rows]

    def _restated(self, row: Any) -> Restated:
        said = stated(row.person_id, row.key, row.completed_on, row.valid_until)
        newest = "training.recorded" if row.revoked_at is None else "training.revoked"
        claims = [
            Claim(actions=("training.recorded",), fields={"reason": said}, required=True, what="training"),
            Claim(actions=("training.recorded", "training.revoked"), fields={"action": newest}, what="state"),
        ]
        damaged = []
        try:
            opened = self._vault.open(bytes(row.details), aad=f"training_record.details:{row.id}")
            claims.append(Claim(actions=("training.recorded",), content=("details", opened)))
        except Damaged:
            damaged.append("details")
        except Erased:
            pass
        return Restated(id=str(row.id), claims=tuple(claims), damaged=tuple(damaged))
