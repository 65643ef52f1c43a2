"""Instrument runs as the log knows them: samples, parameters, results, how they ended and why they were stopped."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from aliquot.kernel.canonical import canonical_json
from aliquot.lab.tables import instrument_run
from aliquot.ledger.contracts import Claim, Restated
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Damaged, Erased, Vault

_START = ("instrument_run.started", "instrument_run.imported")
_RESULTS = ("instrument_run.finished", "instrument_run.failed", "instrument_run.imported")
_ENDS = ("instrument_run.finished", "instrument_run.failed", "instrument_run.stopped")
_END = {"done": "instrument_run.finished", "failed": "instrument_run.failed", "stopped": "instrument_run.stopped"}

_r = instrument_run.c


class RestatedRuns:
    """See `ledger.contracts.RestatedRecords`. Times and progress are not committed to by events, so not covered."""

    record_type = "instrument_run"
    made_by: tuple[str, ...] = _START

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def ids(self, tx: Transaction, after: str | None, limit: int) -> list[str]:
        query = select(_r.code).order_by(_r.code).limit(limit)
        return [row.code for row in await tx.rows(query if after is None else query.where(_r.code > after))]

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        return [self._restated(row) for row in await tx.rows(select(instrument_run).where(_r.code.in_(ids)))]

    async def existing(self, tx: Transaction, ids: Sequence[str]) -> set[str]:
        return {row.code for row in await tx.rows(select(_r.code).where(_r.code.in_(ids)))}

    def _restated(self, row: Any) -> Restated:
        claims = [
            Claim(actions=_START, required=True),
            Claim(actions=_START, content=("samples", canonical_json(list(row.samples)))),
            Claim(actions=("instrument_run.started",), content=("parameters", canonical_json(row.parameters))),
            # A run that was never ended has no event of an end, and its row no results.
            Claim(actions=_RESULTS, content=("results", canonical_json(row.results))),
            Claim(actions=_ENDS, fields={"action": _END.get(row.state, "none")}, what="state"),
        ]
        damaged = []
        if row.stop_reason is not None:
            try:
                reason = self._vault.open(bytes(row.stop_reason), aad=f"instrument_run.stop_reason:{row.id}")
                claims.append(Claim(actions=("instrument_run.stopped",), content=("reason", reason)))
            except Damaged:
                damaged.append("stop_reason")
            except Erased:
                pass
        return Restated(id=row.code, claims=tuple(claims), damaged=tuple(damaged))
