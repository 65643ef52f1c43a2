"""Emergency accesses as the log knows them: a review that nobody made, or another verdict, is found."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from aliquot.ledger.contracts import Claim, Restated
from aliquot.platform.db import Transaction
from aliquot.platform.rows import RowsById
from aliquot.records.access.tables import break_glass

_REVIEWED = ("break_glass.reviewed",)


class RestatedGlasses(RowsById):
    """See `ledger.contracts.RestatedRecords`. The grant itself is an event about the conversation."""

    record_type = "break_glass"
    made_by: tuple[str, ...] = ()
    table = break_glass

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        rows = await tx.rows(select(break_glass).where(break_glass.c.id.in_([uuid.UUID(i) for i in ids])))
        return [Restated(id=str(row.id), claims=(_claim(row),)) for row in rows]


def _claim(row: Any) -> Claim:
    if row.verdict is None:
        return Claim(actions=_REVIEWED, fields={"action": "none"}, what="verdict")
    return Claim(actions=_REVIEWED, required=True, fields={"reason": row.verdict, "actor": str(row.reviewed_by)}, what="verdict")
