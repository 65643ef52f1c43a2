"""The end of a wait: a run that stopped at an approval says so only while the approval can still be decided.

Decided either way, the run is done and another one goes on; withdrawn, it was cancelled; run out, it failed.
"""

import uuid

from aliquot.chat.contracts import RunState
from aliquot.chat.run_store import RunStore
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, Outcome, RecordRef
from aliquot.platform.db import Transaction
from aliquot.policy.contracts import ApprovalState

_ACTIONS: dict[RunState, tuple[str, Outcome]] = {
    "done": ("run.ended", "ok"),
    "cancelled": ("run.cancelled", "failed"),
    "failed": ("run.failed", "failed"),
}


class Waits:
    """Ends the wait of a run in the transaction that ends its approval."""

    def __init__(self, runs: RunStore, ledger: LedgerApi) -> None:
        self._runs, self._ledger = runs, ledger

    async def other(self, tx: Transaction, run_id: uuid.UUID, approval_id: uuid.UUID) -> None:
        """The run waits for another approval now: its arguments were edited."""
        await self._runs.wait_for(tx, run_id, approval_id)

    async def end(self, tx: Transaction, run_id: uuid.UUID, approval: ApprovalState) -> None:
        """Give the run its final state, unless it does not wait (any more, or yet: see `executor`)."""
        if approval == "pending":
            return
        state: RunState = {"withdrawn": "cancelled", "expired": "failed"}.get(approval, "done")  # type: ignore[assignment]  # literals
        reason = f"approval_{approval}"
        row = await self._runs.end_wait(tx, run_id, state, reason if state == "failed" else None)
        if row is None:
            return
        action, outcome = _ACTIONS[state]
        await self._ledger.append(
            tx,
            AuditEvent(
                action=action, actor="system", on_behalf_of=str(row.person_id), via=row.via, outcome=outcome, reason=reason,
                record=RecordRef(type="run", id=str(run_id)), run_id=run_id,
            ),
        )  # fmt: skip
