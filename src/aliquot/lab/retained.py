"""Instrument runs under retention (`records.retention`)."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, true

from aliquot.lab import store
from aliquot.lab.tables import instrument_run
from aliquot.ledger.contracts import RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Erased, Vault
from aliquot.records.retention.contracts import ArchivedPart, Hold, Kept

_r = instrument_run.c


class RetainedRuns:
    """See `records.retention.contracts.RetainedKind`."""

    kind = "instrument_run"

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def kept(self, tx: Transaction, subject: uuid.UUID, before: Mapping[str, datetime | None]) -> Sequence[Kept]:
        start, own = before[self.kind], _r.operator_id == subject
        wanted = own if start is None else and_(own, or_(_r.ended_at.is_(None), _r.ended_at > start))
        row = await tx.row(select(func.count().label("n"), func.max(_r.ended_at).label("newest")).where(wanted))
        return [] if row is None else [Kept(kind=self.kind, count=row.n, newest=row.newest)]

    async def held(self, tx: Transaction, subject: uuid.UUID, holds: Sequence[Hold]) -> int:
        kinds = [_made_in(hold) for hold in holds if hold.kind == self.kind]
        if not kinds:
            return 0
        return int(await tx.scalar(select(func.count()).select_from(instrument_run).where(_r.operator_id == subject, or_(*kinds))))

    async def due(self, tx: Transaction, limit: int) -> Sequence[uuid.UUID]:
        """Runs that were signed stay: the database says which."""
        over = func.aliquot_instrument_run_over(_r.id)
        rows = await tx.rows(select(_r.id).where(over).order_by(_r.id).limit(limit).with_for_update(skip_locked=True))
        return [row.id for row in rows]

    async def contents(self, tx: Transaction, ids: Sequence[uuid.UUID]) -> Sequence[ArchivedPart]:
        """All that is recorded of the runs; the operator by id."""
        rows = [row for run_id in ids if (row := await store.run_by_id(tx, run_id)) is not None]
        return [
            ArchivedPart(
                record=RecordRef(type=self.kind, id=row.code, version=row.version), subject=row.operator_id, content=self._content(row)
            )
            for row in rows
        ]

    def _content(self, row: store.RunRow) -> dict[str, Any]:
        content = {name: value for name, value in asdict(row).items() if not isinstance(value, bytes | memoryview)}
        if row.stop_reason is not None:
            try:
                content["stop_reason"] = self._vault.open(bytes(row.stop_reason), aad=f"instrument_run.stop_reason:{row.id}").decode()
            except Erased:
                content["stop_reason"] = None
        return content

    async def purge(self, tx: Transaction, ids: Sequence[uuid.UUID]) -> Sequence[RecordRef]:
        rows = await tx.rows(delete(instrument_run).where(_r.id.in_(ids)).returning(_r.code))
        return [RecordRef(type=self.kind, id=row.code) for row in rows]


def _made_in(hold: Hold) -> ColumnElement[bool]:
    since = _r.started_at >= hold.since if hold.since is not None else true()
    return and_(since, _r.started_at < hold.until) if hold.until is not None else since
