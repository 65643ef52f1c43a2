"""The door to the ledger."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.ledger import anchor_store, queries, store
from aliquot.ledger.anchors import Anchors
from aliquot.ledger.contracts import (
    AuditEvent,
    Checkpoint,
    EventFilter,
    Export,
    InclusionProof,
    LedgerStatus,
    LoggedEvent,
    RecordRef,
    SignatureLines,
    SignedDocument,
)
from aliquot.ledger.cosignature import WitnessKey
from aliquot.ledger.documents import signed_document
from aliquot.ledger.errors import ExportBusy, NoCheckpoint, NoLogKey, NoSuchEvent, NotYetInLog, RotationUnderWay
from aliquot.ledger.events import event_body
from aliquot.ledger.evidence import Evidence
from aliquot.ledger.export import Order, write_bundle
from aliquot.ledger.keys import KeySource, LogKeys, rotation_statement, statement_hash
from aliquot.ledger.merkle import encode_bundle, inclusion_ranges, parse_tile_path
from aliquot.ledger.note import LogKey, NoteError
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Vault

HEARTBEAT = "log.heartbeat"
_EXPORTS_AT_ONCE = 2
_SETTLE_SECONDS = 3.0
_LOOK_SECONDS = 0.05


class LedgerApi:
    """Appends audit events in the caller's transaction, and reads the log that the sequencer makes of them."""

    def __init__(
        self,
        vault: Vault,
        clock: Clock,
        *,
        wake: Callable[[], None] | None = None,
        key: KeySource | None = None,
        witnesses: Sequence[WitnessKey] = (),
    ) -> None:
        """`wake` is called after each commit that appended, e.g. `Sequencer.wake` when it runs in this process.
        `key` signs exports; a process without it does everything else."""
        self.anchors = Anchors(clock, key, witnesses)
        self.evidence = Evidence()
        self.signature_lines: SignatureLines | None = None
        """Bound by bootstrap: what an export says of electronic signatures."""
        self._vault = vault
        self._clock = clock
        self._wake = wake
        self._key = key
        self._exports = asyncio.Semaphore(_EXPORTS_AT_ONCE)

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

    async def list(
        self, tx: Transaction, wanted: EventFilter, *, limit: int = 50, after: uuid.UUID | None = None
    ) -> tuple[list[LoggedEvent], uuid.UUID | None]:
        """Events, newest first, and the cursor of the next page. Raises NoSuchEvent for an unknown cursor."""
        found = await queries.list_events(tx, wanted, limit + 1, after)
        if found is None:
            raise NoSuchEvent
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    async def found(self, tx: Transaction, actions: Sequence[str], start: int, end: int, *, limit: int) -> Sequence[LoggedEvent]:
        """Events with these actions among entries `start` to `end` (exclusive) of the log, in its order; at most `limit`."""
        return await queries.bodies_in(tx, actions, start, end, limit)

    async def checkpoint(self, tx: Transaction) -> Checkpoint:
        """The newest signed checkpoint. Raises NoCheckpoint before the first one."""
        state, note = await _signed(tx)
        return Checkpoint(size=state.size, root_hash=state.root_hash.hex(), note=note)

    async def is_final(self, tx: Transaction, event_id: uuid.UUID) -> bool:
        """True when a signed checkpoint covers the event: then it can no longer be altered unnoticed."""
        found = await queries.find(tx, event_id)
        return found is not None and found[0] is not None

    async def proof(self, tx: Transaction, event_id: uuid.UUID) -> InclusionProof:
        """That the event is in the newest checkpoint. Raises NoSuchEvent, NotYetInLog."""
        found = await queries.find(tx, event_id)
        if found is None:
            raise NoSuchEvent
        seq, leaf = found
        if seq is None or leaf is None:
            raise NotYetInLog
        state, note = await _signed(tx)
        path = await store.hashes_of(tx, inclusion_ranges(seq, state.size), state.size)
        return InclusionProof(
            event_id=event_id, seq=seq, size=state.size, leaf_hash=leaf, path=tuple(path), root_hash=state.root_hash, note=note
        )

    async def tile(self, tx: Transaction, path: str) -> bytes | None:
        """The tile or entry bundle at a C2SP path (`tile/…`); None when the signed log has no such file."""
        parsed = parse_tile_path(path)
        if parsed is None:
            return None
        tile, entries = parsed
        state, _ = await _signed(tx)
        if (state.size >> 8 * tile.level) < tile.n * 256 + tile.width:
            return None
        if entries:
            start = tile.n * 256
            return encode_bundle(body for _, body in await store.entries(tx, start, start + tile.width))
        return b"".join(await store.tile(tx, tile))

    async def status(self, tx: Transaction) -> LedgerStatus:
        """How long the log is and how long events have been waiting for it."""
        state = await store.state(tx)
        waiting, since = await store.backlog(tx)
        age = 0.0 if since is None else max(0.0, (self._clock.now() - since).total_seconds())
        return LedgerStatus(size=state.size, waiting=waiting, waiting_seconds=age, signed_at=state.signed_at, root_hash=state.root_hash)

    async def export(self, tx: Transaction, *, since: datetime | None = None, until: datetime | None = None) -> Export:
        """The log, or its shortest unbroken part that holds every event of the period, as a bundle for `aliquot-verify`.

        What was committed before the call is in it, if the sequencer places it within 3 seconds. Raises NoLogKey, NoCheckpoint,
        ExportBusy. The caller closes the file.
        """
        if self._key is None:
            raise NoLogKey
        if self._exports.locked():
            raise ExportBusy(retry_after=60)
        async with self._exports:
            await self.settle(tx)
            state, note = await _signed(tx)
            first, count = await queries.span(tx, since, until, state.size)
            order = Order(state=state, note=note, first=first, count=count, since=since, until=until, made_at=self._clock.now())
            extras = {"keys.json": await self.anchors.keys_document(tx), "anchors.json": await self.anchors.document(tx, state.size)}
            return await write_bundle(tx, order, self._signer(note), extras, self.signature_lines)

    async def vkey(self, tx: Transaction) -> str:
        """The verifier key of the newest checkpoint. Raises NoLogKey, NoCheckpoint."""
        _, note = await _signed(tx)
        return self._signer(note).vkey

    async def sign(self, tx: Transaction, kind: str, document: dict[str, Any]) -> SignedDocument:
        """A document of this site, signed by the key of the newest checkpoint. Raises NoLogKey, NoCheckpoint."""
        _, note = await _signed(tx)
        return signed_document(self._signer(note), kind, document)

    def _signer(self, note: str) -> LogKey:
        """The key that signed the newest checkpoint: for a moment of a rotation the staged one."""
        if self._key is None:
            raise NoLogKey
        staged = self._key.staged()
        return staged if staged is not None and _signed_by(staged, note) else self._key.current()

    async def rotate_key(self, tx: Transaction, keys: LogKeys, *, via: str = "cli") -> uuid.UUID:
        """Record that the log gets a new key; it signs from the checkpoint on that covers the event. Raises RotationUnderWay."""
        if not await anchor_store.one_at_a_time(tx, "rotate") or await anchor_store.rotation_waits(tx):
            raise RotationUnderWay
        old, new, at = keys.current(), keys.stage(), self._clock.now()
        statement = rotation_statement(old, new, at)
        versions = {"old_key": old.vkey, "new_key": new.vkey, "statement": statement_hash(statement)}
        record = RecordRef(type="audit_log", id="log")
        event = await self.append(tx, AuditEvent(action="log_key.rotated", actor="system", via=via, record=record, versions=versions))
        await anchor_store.insert_rotation(tx, event_id=event, old=old.vkey, new=new.vkey, statement=statement, at=at)
        return event

    async def beat(self, tx: Transaction, every_seconds: int) -> bool:
        """Record a heartbeat when nothing was recorded for that long, and at the very first: then silence shows."""
        if not await anchor_store.one_at_a_time(tx, "heartbeat"):
            return False
        first = await anchor_store.last_event(tx, HEARTBEAT) is None
        last = await anchor_store.last_event(tx)
        if not first and last is not None and (self._clock.now() - last).total_seconds() < every_seconds:
            return False
        record = RecordRef(type="audit_log", id="log")
        await self.append(tx, AuditEvent(action=HEARTBEAT, actor="system", record=record, reason=f"every:{every_seconds}s"))
        return True

    async def settle(self, tx: Transaction) -> None:
        """Wait, for at most 3 seconds, until what is committed now is in the log. Not in a transaction that sees a snapshot."""
        if self._wake is not None:
            self._wake()
        now, _ = await store.snapshot(tx, (await store.state(tx)).tx_offset)
        for _ in range(int(_SETTLE_SECONDS / _LOOK_SECONDS)):
            if not await queries.any_unseen(tx, (await store.state(tx)).seen, now.xmax):
                return
            await asyncio.sleep(_LOOK_SECONDS)


def _signed_by(key: LogKey, note: str) -> bool:
    try:
        key.open(note)
    except NoteError:
        return False
    return True


async def _signed(tx: Transaction) -> tuple[store.State, str]:
    state = await store.state(tx)
    if state.note is None:
        raise NoCheckpoint(retry_after=1)
    return state, state.note
