"""Schedules and holds as the log knows them: one shortened or lifted behind its back is found, best before what it kept is gone."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from aliquot.ledger.contracts import Claim, Restated
from aliquot.platform.db import Transaction
from aliquot.platform.rows import RowsById
from aliquot.records.retention.api import archive_said, days_said, hold_target
from aliquot.records.retention.tables import legal_hold, retention_archive, retention_schedule

_x = retention_archive.c
_SHIPPED = {"conversation": 0, "instrument_run": 3_653, "approval": 3_653, "signature": None, "audit_event": None}
"""How long things are kept as long as nobody has said otherwise (migration 0016); of such a time there is no event."""


class RestatedSchedules:
    """See `ledger.contracts.RestatedRecords`."""

    record_type = "retention_schedule"
    made_by: tuple[str, ...] = ()

    async def ids(self, tx: Transaction, after: str | None, limit: int) -> list[str]:
        kind = retention_schedule.c.kind
        return [row.kind for row in await tx.rows(select(kind).where(kind > (after or "")).order_by(kind).limit(limit))]

    async def existing(self, tx: Transaction, ids: Sequence[str]) -> set[str]:
        return set(ids)

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        rows = await tx.rows(select(retention_schedule).where(retention_schedule.c.kind.in_(ids)))
        return [_schedule(row) for row in rows]


class RestatedHolds(RowsById):
    """See `ledger.contracts.RestatedRecords`."""

    record_type = "legal_hold"
    made_by: tuple[str, ...] = ("hold.made",)
    table = legal_hold

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        rows = await tx.rows(select(legal_hold).where(legal_hold.c.id.in_([uuid.UUID(i) for i in ids])))
        return [_hold(row) for row in rows]


class RestatedArchives:
    """See `ledger.contracts.RestatedRecords`."""

    record_type = "archive"
    made_by: tuple[str, ...] = ("archive.written",)

    async def ids(self, tx: Transaction, after: str | None, limit: int) -> list[str]:
        query = select(_x.id).where(_x.state == "written").order_by(_x.id).limit(limit)
        return [str(row.id) for row in await tx.rows(query if after is None else query.where(_x.id > uuid.UUID(after)))]

    async def existing(self, tx: Transaction, ids: Sequence[str]) -> set[str]:
        query = select(_x.id).where(_x.state == "written", _x.id.in_([uuid.UUID(i) for i in ids]))
        return {str(row.id) for row in await tx.rows(query)}

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        rows = await tx.rows(select(_x.id, _x.kind, _x.sha256).where(_x.id.in_([uuid.UUID(i) for i in ids])))
        said = [{"reason": row.kind, "versions.archive": row.sha256} for row in rows]
        return [
            Restated(id=str(row.id), claims=(Claim(actions=self.made_by, fields=fields, what="archive", required=True),))
            for row, fields in zip(rows, said, strict=True)
        ]


def _schedule(row: Any) -> Restated:
    if row.version == 1:
        unsaid = Claim(actions=("retention.changed",), fields={"action": "none"}, what="keep_days")
        other = row.archive or (row.kind in _SHIPPED and row.keep_days != _SHIPPED[row.kind])
        return Restated(id=row.kind, claims=(unsaid,), damaged=("keep_days",) if other else ())
    said = Claim(actions=("retention.changed",), required=True)
    days = Claim(actions=("retention.changed",), content=("keep_days", days_said(row.keep_days).encode()))
    archive = Claim(actions=("retention.changed",), content=("archive", archive_said(row.archive)))
    return Restated(id=row.kind, claims=(said, days, archive))


def _hold(row: Any) -> Restated:
    made = Claim(actions=("hold.made",), required=True)
    target = Claim(actions=("hold.made",), content=("target", hold_target(row)))
    released = ("hold.released",)
    if row.released_at is None:
        state = Claim(actions=released, fields={"action": "none"}, what="released")
    else:
        state = Claim(actions=released, required=True, what="released")
    return Restated(id=str(row.id), claims=(made, target, state))
