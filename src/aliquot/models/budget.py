"""Caps on money and tokens: reserved before a call, settled after it, in short transactions of their own.

Exact under concurrency and across processes: money per run and per day is added by conditional statements, tokens of a
person's sliding hour under that person's lock. Calls that come at once share a transaction (`combiner`). The hour slides by
minutes: a minute counts until it is entirely older than an hour. No transaction is open while a provider is called.
"""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

import structlog

from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import Problem
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.models import batches, store
from aliquot.models.batches import Caps, Settled
from aliquot.models.combiner import Combiner
from aliquot.models.config import Price
from aliquot.models.contracts import Notice, Usage
from aliquot.models.errors import BudgetExceeded, TokensExceeded
from aliquot.platform.db import Database, Transaction
from aliquot.platform.settings import Limits

log = structlog.get_logger(__name__)

Outcome = Literal["ok", "failed", "interrupted", "cancelled"]

PERCENTS = (50, 80, 100)
_LEAST_OUTPUT_TOKENS = 16
_EXPIRED_PER_SWEEP = 500
_GRACE_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a call may cost at most."""

    model: str
    provider: str
    price: Price
    person_id: uuid.UUID | None
    run_id: uuid.UUID | None
    call_key: str | None
    input_tokens: int
    max_output_tokens: int
    longest_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A reservation. `max_output_tokens` is what the cap per call leaves of the wish."""

    id: uuid.UUID
    max_output_tokens: int


class Budget:
    """Reserves and settles. One per process; the state is in the database."""

    def __init__(self, db: Database, ledger: LedgerApi, clock: Clock, limits: Limits) -> None:
        self._db = db
        self._ledger = ledger
        self._clock = clock
        self._limits = limits
        self._caps = Caps(hour_tokens=limits.model_tokens_per_hour, run_cost=limits.cost_per_run, day_cost=limits.cost_per_day)
        self._reservations: Combiner[_Wish, Ticket] = Combiner(self._reserve_together, orphaned=self._unused)
        self._settlements: Combiner[Settled, tuple[Notice, ...]] = Combiner(self._settle_together)
        self._returning: set[asyncio.Future[tuple[Notice, ...]]] = set()

    async def reserve(self, estimate: Estimate) -> Ticket:
        """Reserve what the call may use at most. Raises BudgetExceeded or TokensExceeded; nothing is reserved then."""
        output = self._affordable_output(estimate)
        return await self._reservations(_Wish(self._row(estimate, output), output))

    async def _reserve_together(self, wishes: Sequence["_Wish"]) -> list[Ticket | Exception]:
        """All in one transaction if all fit; else one after the other, each on its own."""
        try:
            async with self._db.begin() as tx:
                now = self._clock.now()
                if not await batches.reserve_all(tx, [replace(w.row, now=now) for w in wishes], self._caps):
                    raise _OneByOne
        except _OneByOne:
            return [await self._reserve_alone(w) for w in wishes]
        return [Ticket(id=w.row.id, max_output_tokens=w.output) for w in wishes]

    async def _reserve_alone(self, wish: "_Wish") -> Ticket | Exception:
        try:
            try:
                return await self._reserve(wish.row, wish.output)
            except (BudgetExceeded, TokensExceeded):
                # Reservations of dead processes may stand in the way: return them, then ask once more.
                if not await self.sweep():
                    raise
            return await self._reserve(wish.row, wish.output)
        except Problem as refusal:
            if refusal.members.get("scope") == "day":
                await self._refused()
            return refusal

    def _unused(self, ticket: Ticket) -> None:
        """Whoever asked was cancelled meanwhile: give the reservation back."""
        nothing = Usage(input_tokens=0, output_tokens=0, cost=Decimal(0))
        task = asyncio.ensure_future(self.settle(ticket, nothing, "failed", 0))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    def _affordable_output(self, estimate: Estimate) -> int:
        price, cap = estimate.price, self._limits.cost_per_call
        room = cap - price.cost(estimate.input_tokens, 0)
        output = estimate.max_output_tokens
        per_token = price.cost(estimate.input_tokens, 1) - price.cost(estimate.input_tokens, 0)
        if per_token > 0:
            output = min(output, max(0, int(room / per_token)))
        if room < 0 or output < min(_LEAST_OUTPUT_TOKENS, estimate.max_output_tokens):
            raise BudgetExceeded("This call would cost more than one call may cost.", scope="call")
        return output

    def _row(self, estimate: Estimate, output: int) -> store.CallRow:
        now = self._clock.now()
        seconds = (estimate.longest_seconds or self._limits.model_call_seconds) * 2 + _GRACE_SECONDS
        return store.CallRow(
            id=new_id(),
            call_key=estimate.call_key,
            person_id=estimate.person_id,
            run_id=estimate.run_id,
            model=estimate.model,
            provider=estimate.provider,
            tokens=estimate.input_tokens + output,
            cost=estimate.price.cost(estimate.input_tokens, output),
            currency=estimate.price.currency,
            now=now,
            expires=now + timedelta(seconds=seconds),
        )

    async def _reserve(self, row: store.CallRow, output: int) -> Ticket:
        async with self._db.begin() as tx:
            if not await store.insert_call(tx, row):
                return await self._repeat(tx, row, output)
            await self._add(tx, row)
        return Ticket(id=row.id, max_output_tokens=output)

    async def _repeat(self, tx: Transaction, row: store.CallRow, output: int) -> Ticket:
        """The key is known: a step done again after a crash. It goes on under its first reservation and is counted once."""
        known = await store.call_by_key(tx, row.call_key or "")
        if known is None:
            raise BudgetExceeded("This call is being made already.", scope="call")
        if known.state != "settled":
            if known.state == "reserved":
                await store.release_call(tx, known)
            await store.renew_call(tx, known.id, row)
            await self._add(tx, row)
        return Ticket(id=known.id, max_output_tokens=output)

    async def _add(self, tx: Transaction, row: store.CallRow) -> None:
        limits = self._limits
        if row.person_id is not None:
            used, oldest = await store.reserve_tokens(tx, row.person_id, row.now, row.tokens)
            if used + row.tokens > limits.model_tokens_per_hour:
                wait = 60.0 if oldest is None else (oldest + timedelta(minutes=61) - row.now).total_seconds()
                raise TokensExceeded(retry_after=max(1.0, wait))
        if row.cost <= 0:
            return
        if row.run_id is not None and not await store.reserve_run(tx, row.run_id, row.cost, limits.cost_per_run):
            raise BudgetExceeded("The cost limit of this run is reached.", scope="run")
        if not await store.reserve_day(tx, row.now, row.cost, limits.cost_per_day):
            wait = (store.day_slot(row.now) + timedelta(days=1) - row.now).total_seconds()
            raise BudgetExceeded(
                "Today's cost limit for language models is reached. It starts anew at midnight UTC.", retry_after=wait, scope="day"
            )

    async def _refused(self) -> None:
        """The first refusal of a day is the crossing of 100 %, even when reservations alone fill the rest."""
        async with self._db.begin() as tx:
            await self._crossed(tx, store.day_slot(self._clock.now()).date(), 100)

    async def settle(self, ticket: Ticket, usage: Usage, outcome: Outcome, seconds: float) -> tuple[Notice, ...]:
        """Replace the reservation by what was used. A second settlement of one call changes nothing. Notices of crossed caps."""
        settled = Settled(
            id=ticket.id,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost=usage.cost,
            estimated=usage.estimated,
            outcome=outcome,
            duration_ms=min(round(seconds * 1_000), 2_000_000_000),
            # A call that used nothing gives its key back: the same step may be made at another model.
            free_key=outcome == "failed" and not usage.input_tokens + usage.output_tokens,
        )
        return await self._settlements(settled)

    async def _settle_together(self, settled: Sequence[Settled]) -> list[tuple[Notice, ...] | Exception]:
        together, again = _distinct(settled)
        notices = await self._notices(await batches.settle_all(self._db, together, self._clock.now()))
        if again:
            await self._settle_together(again)
        return [notices, *[()] * (len(settled) - 1)]

    async def _notices(self, spent: Sequence[tuple[date, Decimal]]) -> tuple[Notice, ...]:
        """A crossing that a crash kept from being noted is noted at the next settlement: what was spent stays. A call that began before
        midnight counts for its day, of which nobody is told any more."""
        cap, today = self._limits.cost_per_day, store.day_slot(self._clock.now()).date()
        reached = [(day, p) for day, money in spent for p in PERCENTS if 0 < cap * p <= money * 100]
        if not reached:
            return ()
        async with self._db.begin() as tx:
            crossed = [p for day, p in reached if await self._crossed(tx, day, p) and day == today]
        return tuple(Notice(code=f"cap_{p}", text=f"{p} % of today's cost limit for language models is used.") for p in crossed)

    async def _crossed(self, tx: Transaction, day: date, percent: int) -> bool:
        if not await store.note_crossing(tx, day, percent, self._clock.now()):
            return False
        record = RecordRef(type="model_budget", id=day.isoformat())
        await self._ledger.append(tx, AuditEvent(action="model_budget.crossed", actor="system", record=record, reason=f"{percent}_percent"))
        log.warning("model_budget_crossed", percent=percent)
        return True

    async def close(self) -> None:
        """Wait for reservations on their way back."""
        await asyncio.gather(*self._returning, return_exceptions=True)

    async def sweep(self) -> int:
        """Give back reservations whose process died, and forget old totals; how many were given back."""
        async with self._db.begin() as tx:
            expired = await store.take_expired(tx, self._clock.now(), _EXPIRED_PER_SWEEP)
            for row in expired:
                await store.release_call(tx, row)
            await store.forget_old_meters(tx, self._clock.now())
        return len(expired)


@dataclass(frozen=True, slots=True)
class _Wish:
    """A reservation asked for."""

    row: store.CallRow
    output: int


class _OneByOne(Exception):
    """Not all reservations of a batch fit."""


def _distinct(settled: Sequence[Settled]) -> tuple[list[Settled], list[Settled]]:
    """(the first settlement of every call, the others): one statement may name a call only once."""
    first: dict[uuid.UUID, Settled] = {}
    others = [item for item in settled if first.setdefault(item.id, item) is not item]
    return list(first.values()), others
