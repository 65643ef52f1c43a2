"""The door to the ledger."""

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime

from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.ledger import store
from aliquot.ledger.contracts import AuditEvent
from aliquot.ledger.events import event_body
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Vault


class LedgerApi:
    """Appends audit events in the caller's transaction, and reads the log that the sequencer makes of them."""

    def __init__(self, vault: Vault, clock: Clock, *, wake: Callable[[], None] | None = None) -> None:
        """`wake` is called after each commit that appended, e.g. `Sequencer.wake` when it runs in this process."""
        self._vault = vault
        self._clock = clock
        self._wake = wake

    async def append(self, tx: Transaction, event: AuditEvent) -> uuid.UUID:
        """Record `event` in the transaction of its change; its id.

        Raises EventMalformed, EventTooLarge and Erased. Let them (and any database error) pass: no audit, no change.
        """
        return (await self.append_many(tx, [event]))[0]

    async def append_many(self, tx: Transaction, events: Sequence[AuditEvent]) -> list[uuid.UUID]:
        """Record several events with one statement; their ids in the same order."""
        if not events:
            return []
        at = self._clock.now()
        rows = [self._row(event, new_id(), at) for event in events]
        await store.insert_events(tx, rows)
        if self._wake is not None:
            tx.after_commit(self._wake)
        return [row.id for row in rows]

    def _row(self, event: AuditEvent, event_id: uuid.UUID, at: datetime) -> store.EventRow:
        return store.EventRow(
            id=event_id,
            at=at,
            actor=event.actor,
            action=event.action,
            record_type=event.record.type,
            record_id=event.record.id,
            body=event_body(event, event_id=event_id, at=at, vault=self._vault),
        )
