"""What the laboratory keeps about a person, for the person's own export (`records.erasure`). The operator's name is sealed."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import select

from aliquot.identity.contracts import Principal
from aliquot.lab.tables import instrument_run
from aliquot.platform.db import Database, Transaction

_r = instrument_run.c


class LabPersonal:
    """See `records.erasure.contracts.PersonalData`."""

    name = "lab"

    def __init__(self, db: Database) -> None:
        self._db = db

    async def forget(self, tx: Transaction, subject: uuid.UUID) -> int:
        """Nothing is in clear."""
        return 0

    async def mine(self, principal: Principal) -> AsyncIterator[tuple[str, Any]]:
        """Instrument runs I started."""
        wanted = select(_r.id, _r.code, _r.state, _r.started_at, _r.ended_at, _r.samples, _r.parameters, _r.results)
        async with self._db.begin() as tx:
            rows = await tx.rows(wanted.where(_r.operator_id == principal.id).order_by(_r.started_at))
        yield "instrument_runs.json", [dict(row._mapping) for row in rows]
