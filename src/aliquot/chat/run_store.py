"""SQL and sealing of runs: leases, steps, events."""

import asyncio
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Row, Select, case, func, select, text, update

from aliquot.chat.contracts import Run, RunUsage, StoredEvent
from aliquot.chat.tables import conversation, message, run, run_event, run_step
from aliquot.platform.arrays import Blobs, Ints, Texts, Uuids
from aliquot.platform.db import Database, DatabaseUnavailable, Transaction
from aliquot.platform.sql import insert_text, row_of, update_text
from aliquot.platform.vault import Erased, Vault

LEASE = timedelta(seconds=15)
_PAUSES = (0.1, 0.3, 1.0, 2.0)
"""Seconds after which a stream asks the log again."""
_UNFINISHED = ("queued", "running")
_FRESH = {
    "state": "queued", "takeovers": 0, "cancel_requested": False, "input_tokens": 0, "output_tokens": 0, "cost": Decimal(0),
    "currency": "USD",
}  # fmt: skip

# Rows of runs that another process took over are not inserted: the lease is the fence (DESIGN §4, crash rule).
_EVENTS = (
    "INSERT INTO run_event (run_id, seq, kind, payload) "
    "SELECT e.run_id, e.seq, e.kind, e.payload FROM unnest("
    "CAST(:run_ids AS uuid[]), CAST(:seqs AS int[]), CAST(:kinds AS text[]), CAST(:payloads AS bytea[])) AS e(run_id, seq, kind, payload)"
)
# A commit whose answer was lost is repeated.
_INSERT_EVENTS = text(f"{_EVENTS} JOIN run r ON r.id = e.run_id AND r.lease_owner = :owner ON CONFLICT DO NOTHING")
_INSERT_HELD = text(_EVENTS)


_packer = msgspec.msgpack.Encoder()
_unpacker = msgspec.msgpack.Decoder(tuple[str, int, str, bytes])


# Fixed text where building an expression would cost as much as running it: these run at the start and end of every run.
_BEGIN_STEP = text(
    "INSERT INTO run_step (run_id, n, state, attempts) VALUES (:run_id, :n, 'started', :attempts) "
    "ON CONFLICT (run_id, n) DO UPDATE SET attempts = excluded.attempts"
)
_SAVE_STEP = text(
    "INSERT INTO run_step (run_id, n, state, attempts, body) VALUES (:run_id, :n, :state, :attempts, :body) "
    "ON CONFLICT (run_id, n) DO UPDATE SET state = excluded.state, attempts = excluded.attempts, body = excluded.body"
)


class Step(msgspec.Struct, kw_only=True):
    """One turn of the loop: what the model (or the router) said and what its calls gave. Sealed as JSON."""

    n: int
    text: str = ""
    tool_uses: list[dict[str, str]] = msgspec.field(default_factory=list)
    """`{call_id, name, arguments}` as asked for."""
    results: list[dict[str, Any]] = msgspec.field(default_factory=list)
    """`{call_id, name, arguments, outcome, text}` of the calls that ended, in order."""
    native: list[dict[str, Any]] = msgspec.field(default_factory=list)
    native_provider: str | None = None
    source: str = "model"
    model: str | None = None
    confidence: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost: str = "0"
    currency: str = "USD"
    state: str = "started"
    attempts: int = 1


class SealedEvent(msgspec.Struct, frozen=True):
    """An event ready to be inserted and then fanned out."""

    event: StoredEvent
    sealed: bytes


class RunStore:
    """Runs, steps and events: rows in, opened contracts out."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    # --- runs

    async def create(self, tx: Transaction, values: dict[str, Any]) -> Row[Any] | None:
        """Insert a run; None when its id or idempotency key is already there."""
        row = _FRESH | values
        return await tx.row(insert_text("run", tuple(row), "ON CONFLICT DO NOTHING RETURNING *"), row)

    async def add(self, tx: Transaction, values: dict[str, Any]) -> Row[Any]:
        """The same for a run nobody else can have made: its id is new and it has no idempotency key. Nothing has to be waited for."""
        row = _FRESH | values
        await tx.send(insert_text("run", tuple(row)), row)
        return row_of(run, row)

    async def get(self, tx: Transaction, run_id: uuid.UUID) -> Row[Any] | None:
        return await tx.row(select(run).where(run.c.id == run_id))

    async def answered(self, tx: Transaction, run_id: uuid.UUID) -> Row[Any] | None:
        """The run itself, or the nearest one before it that left an answer: a cancelled run may have said nothing."""
        row = await self.get(tx, run_id)
        while row is not None and await tx.scalar(select(message.c.id).where(message.c.id == row.message_id)) is None:
            row = None if row.parent_run_id is None else await self.get(tx, row.parent_run_id)
        return row

    def ids_of(self, conversation_id: uuid.UUID) -> Select[Any]:
        """The ids of a conversation's runs, as a query for another domain's statement."""
        return select(run.c.id).where(run.c.conversation_id == conversation_id)

    async def owners(self, tx: Transaction, run_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
        """Runs → owners of their conversations, where these are not deleted."""
        c = conversation.c
        joined = select(run.c.id, c.owner_id).join(conversation, c.id == run.c.conversation_id)
        return {row.id: row.owner_id for row in await tx.rows(joined.where(run.c.id.in_(list(run_ids)), c.deleted_at.is_(None)))}

    async def going_on(self, tx: Transaction, conversation_id: uuid.UUID) -> list[uuid.UUID]:
        """Runs of a conversation that have not ended."""
        mine = (run.c.conversation_id == conversation_id, run.c.state.in_(_UNFINISHED))
        return [row.id for row in await tx.rows(select(run.c.id).where(*mine))]

    async def over(self, tx: Transaction, run_id: uuid.UUID) -> bool:
        """True when the run has ended: its last event is in the log."""
        return bool(await tx.scalar(select(run.c.finished_at.is_not(None)).where(run.c.id == run_id)))

    async def by_idempotency_key(self, tx: Transaction, key: str) -> Row[Any] | None:
        """The run made under `key`. Requests with the same key wait here for each other's end, so that only the first makes one."""
        await tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
        return await tx.row(select(run).where(run.c.idempotency_key == key))

    async def same_call(self, tx: Transaction, person_id: uuid.UUID, request_sha256: str) -> Row[Any] | None:
        """A person's direct call with this very request that goes on or waits. Those who ask at once wait here for each other's end."""
        await tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"{person_id}:{request_sha256}", 0))))
        same = (run.c.person_id == person_id, run.c.request_sha256 == request_sha256, run.c.kind == "tool")
        going_on = run.c.state.in_((*_UNFINISHED, "waiting_approval"))
        return await tx.row(select(run).where(*same, going_on).order_by(run.c.created_at.desc()).limit(1))

    async def claim(self, tx: Transaction, run_id: uuid.UUID, owner: uuid.UUID, at: datetime) -> Row[Any] | None:
        """Take a queued run for this process; None when somebody else has it or it has ended."""
        return await tx.row(
            update(run)
            .where(run.c.id == run_id, run.c.state == "queued", func.coalesce(run.c.lease_until, at) <= at)
            .values(state="running", lease_owner=owner, lease_until=at + LEASE)
            .returning(run)
        )

    async def take_over(self, tx: Transaction, owner: uuid.UUID, at: datetime, limit: int = 20) -> Sequence[Row[Any]]:
        """Take runs whose lease is dead; several processes never get the same one. One that was only queued has not begun anywhere:
        it counts as no take-over."""
        dead = (
            select(run.c.id).where(run.c.state.in_(_UNFINISHED), run.c.lease_until < at).order_by(run.c.created_at).limit(limit)
        ).with_for_update(skip_locked=True)
        begun = case((run.c.state == "queued", run.c.takeovers), else_=run.c.takeovers + 1)
        return await tx.rows(
            update(run)
            .where(run.c.id.in_(dead.scalar_subquery()))
            .values(state="running", lease_owner=owner, lease_until=at + LEASE, takeovers=begun)
            .returning(run)
        )

    async def renew(self, tx: Transaction, owner: uuid.UUID, run_ids: Sequence[uuid.UUID], at: datetime) -> dict[uuid.UUID, bool]:
        """Renew the leases this process still holds: run → whether its cancellation was asked for."""
        rows = await tx.rows(
            update(run)
            .where(run.c.id.in_(run_ids), run.c.lease_owner == owner, run.c.state == "running")
            .values(lease_until=at + LEASE)
            .returning(run.c.id, run.c.cancel_requested)
        )
        return {row.id: row.cancel_requested for row in rows}

    async def expire_all_leases(self, tx: Transaction, at: datetime) -> None:
        """Every lease is dead. Only true for a server that holds the data folder alone, at its start."""
        await tx.execute(update(run).where(run.c.state.in_(_UNFINISHED)).values(lease_until=at - timedelta(seconds=1)))

    async def request_cancel(self, tx: Transaction, run_id: uuid.UUID) -> None:
        await tx.execute(update(run).where(run.c.id == run_id).values(cancel_requested=True))

    async def finish(self, tx: Transaction, run_id: uuid.UUID, owner: uuid.UUID, values: dict[str, Any]) -> bool:
        """Write the final state; False when the lease was lost."""
        statement = update_text("run", tuple(values), "id = :run_id AND lease_owner = :owner", "RETURNING id")
        return await tx.scalar(statement, {**values, "run_id": run_id, "owner": owner}) is not None

    async def end_wait(self, tx: Transaction, run_id: uuid.UUID, state: str, error_code: str | None) -> Row[Any] | None:
        """The final state of a run that waits for an approval; None when it does not wait.

        Locked before it is looked at: whoever is just writing that the run waits is waited for.
        """
        row = await tx.row(select(run.c.state).where(run.c.id == run_id).with_for_update())
        if row is None or row.state != "waiting_approval":
            return None
        return await tx.row(update(run).where(run.c.id == run_id).values(state=state, error_code=error_code).returning(run))

    async def wait_for(self, tx: Transaction, run_id: uuid.UUID, approval_id: uuid.UUID) -> None:
        """Which approval a waiting run waits for."""
        waits = update(run).where(run.c.id == run_id, run.c.state == "waiting_approval")
        await tx.execute(waits.values(approval_id=approval_id))

    async def asked_with(self, tx: Transaction, conversation_id: uuid.UUID, question_id: uuid.UUID) -> dict[str, Any]:
        """The dashboard a question was asked in and what it was taken to ask for, as values of another run for it."""
        columns = (run.c.dashboard, run.c.intent, run.c.intent_confidence)
        asked = select(*columns).where(run.c.conversation_id == conversation_id, run.c.user_message_id == question_id)
        row = await tx.row(asked.order_by(run.c.created_at).limit(1))
        return {} if row is None else dict(row._mapping)

    # --- steps

    async def begin_step(self, tx: Transaction, run_id: uuid.UUID, n: int, attempts: int = 1) -> None:
        """Record that step `n` is about to ask the model (again, when `attempts` > 1)."""
        await tx.send(_BEGIN_STEP, {"run_id": run_id, "n": n, "attempts": attempts})

    async def save_step(self, tx: Transaction, run_id: uuid.UUID, subject: uuid.UUID, step: Step) -> None:
        """Store what step `step.n` gave so far."""
        sealed = self._vault.seal(subject, msgspec.json.encode(step), aad=f"run_step:{run_id}:{step.n}")
        await tx.send(_SAVE_STEP, {"run_id": run_id, "n": step.n, "state": step.state, "attempts": step.attempts, "body": sealed})

    async def steps(self, tx: Transaction, run_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[Step]]:
        """The steps of these runs, in order. Of a person who was erased only that there were some: nothing is known of them."""
        rows = await tx.rows(select(run_step).where(run_step.c.run_id.in_(run_ids)).order_by(run_step.c.run_id, run_step.c.n))
        steps: dict[uuid.UUID, list[Step]] = {}
        for row in rows:
            steps.setdefault(row.run_id, []).append(self._step(row))
        return steps

    def _step(self, row: Row[Any]) -> Step:
        if row.body is None:
            return Step(n=row.n, state=row.state, attempts=row.attempts)
        try:
            return msgspec.json.decode(self._vault.open(row.body, aad=f"run_step:{row.run_id}:{row.n}"), type=Step)
        except Erased:
            return Step(n=row.n, state=row.state, attempts=row.attempts)

    # --- events

    def seal_event(self, subject: uuid.UUID, event: StoredEvent) -> SealedEvent:
        return SealedEvent(event, self._vault.seal(subject, event.payload, aad=f"run_event:{event.run_id}:{event.seq}"))

    async def insert_events(self, tx: Transaction, events: Sequence[SealedEvent]) -> None:
        """Insert events of a run whose row this transaction holds: it made the run, or wrote to it with its lease (`finish`)."""
        await tx.send(_INSERT_HELD, _columns(events))

    async def insert_events_alone(self, db: Database, owner: uuid.UUID, events: Sequence[SealedEvent]) -> int:
        """Insert events of runs this process holds, in a transaction of its own; the number inserted."""
        return (await db.alone(_INSERT_EVENTS, {**_columns(events), "owner": owner})).rowcount

    async def held(self, tx: Transaction, owner: uuid.UUID, run_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
        """Which of these runs this process still holds."""
        rows = await tx.rows(select(run.c.id).where(run.c.id.in_(run_ids), run.c.lease_owner == owner))
        return {row.id for row in rows}

    async def events(self, tx: Transaction, run_id: uuid.UUID, after: int, limit: int = 500) -> list[StoredEvent]:
        """Events with seq > `after`, in order."""
        statement = select(run_event).where(run_event.c.run_id == run_id, run_event.c.seq > after).order_by(run_event.c.seq).limit(limit)
        return [
            StoredEvent(run_id, row.seq, row.kind, self._vault.open(row.payload, aad=f"run_event:{run_id}:{row.seq}"))
            for row in await tx.rows(statement)
        ]

    async def read_on(self, db: Database, run_id: uuid.UUID, after: int, limit: int) -> tuple[bool, list[StoredEvent]]:
        """Whether the run is over, and its events with seq > `after`. With patience: a broken connection must not end a stream."""
        for pause in (*_PAUSES, None):
            try:
                async with db.begin() as tx:
                    over = await self.over(tx, run_id)  # before the events: the last one is committed together with the end
                    return over, await self.events(tx, run_id, after, limit)
            except DatabaseUnavailable:
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    def pack(self, event: SealedEvent) -> bytes:
        """The event for another process of the site: sealed as it is stored."""
        return _packer.encode((str(event.event.run_id), event.event.seq, event.event.kind, event.sealed))

    def unpack(self, data: bytes) -> StoredEvent:
        """What `pack` made, opened. Raises ValueError for what it did not make, and Damaged or Erased."""
        run_id, seq, kind, sealed = _unpacker.decode(data)
        return StoredEvent(uuid.UUID(run_id), seq, kind, self._vault.open(sealed, aad=f"run_event:{run_id}:{seq}"))

    async def last_seq(self, tx: Transaction, run_id: uuid.UUID) -> int:
        return int(await tx.scalar(select(func.coalesce(func.max(run_event.c.seq), 0)).where(run_event.c.run_id == run_id)))


def _columns(events: Sequence[SealedEvent]) -> dict[str, Any]:
    return {
        "run_ids": Uuids([e.event.run_id for e in events]),
        "seqs": Ints([e.event.seq for e in events]),
        "kinds": Texts([e.event.kind for e in events]),
        "payloads": Blobs([e.sealed for e in events]),
    }


def run_view(row: Row[Any]) -> Run:
    """A row of `run` as its owner sees it."""
    return Run(
        id=row.id, conversation_id=row.conversation_id, kind=row.kind, state=row.state, message_id=row.message_id,
        user_message_id=row.user_message_id, parent_run_id=row.parent_run_id, approval_id=row.approval_id, error_code=row.error_code,
        created_at=row.created_at, finished_at=row.finished_at, model=row.model,
        intent=row.intent, intent_confidence=row.intent_confidence,
        usage=RunUsage(input_tokens=row.input_tokens, output_tokens=row.output_tokens, cost=row.cost, currency=row.currency),
    )  # fmt: skip
