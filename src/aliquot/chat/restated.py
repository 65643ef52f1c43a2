"""Messages as the log knows them: what a person asked (`run.started`) and what was answered (`run.ended` and its like)."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from aliquot.chat.tables import message, run
from aliquot.ledger.contracts import Claim, Restated
from aliquot.platform.db import Transaction
from aliquot.platform.rows import RowsById
from aliquot.platform.vault import Damaged, Erased, Vault

_STARTED = ("run.started", "run.queued")
_ENDED = ("run.ended", "run.failed", "run.cancelled", "run.waiting_approval")
_m, _r = message.c, run.c


class RestatedRuns(RowsById):
    """See `ledger.contracts.RestatedRecords`. Covered are the texts of runs' questions and answers; not titles, citations, run events."""

    record_type = "run"
    made_by: tuple[str, ...] = _STARTED
    table = run

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        runs = await tx.rows(select(_r.id, _r.user_message_id, _r.message_id, _r.kind).where(_r.id.in_([uuid.UUID(i) for i in ids])))
        wanted = {key for row in runs for key in (row.user_message_id, row.message_id) if key is not None}
        found = await tx.rows(select(_m.id, _m.body).where(_m.id.in_(wanted)))
        bodies = {row.id: bytes(row.body) for row in found}
        return [self._restated(row, bodies) for row in runs]

    def _restated(self, row: Any, bodies: dict[uuid.UUID, bytes]) -> Restated:
        claims, damaged = [Claim(actions=_STARTED, required=True)], []
        for name, key, actions in (("message", row.user_message_id, _STARTED), ("answer", row.message_id, _ENDED)):
            if key not in bodies:
                continue
            try:
                opened = self._vault.open(bodies[key], aad=f"message.body:{key}")
                claims.append(Claim(actions=actions, content=(name, opened)))
            except Damaged:
                damaged.append(name)
            except Erased:
                continue
        return Restated(id=str(row.id), claims=tuple(claims), damaged=tuple(damaged))
