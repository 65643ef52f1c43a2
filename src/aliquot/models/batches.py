"""Reservations and settlements of many calls in one statement each: what makes fifty calls at once as cheap as one.

Same rules and lock order as `store`: the calls, the hours, the runs, the day.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from aliquot.models.store import EPOCH, CallRow, day_slot, minute_slot, person_lock
from aliquot.platform.arrays import Array, Bigints, Bools, Ints, Texts, Times, Uuids
from aliquot.platform.db import Database, Transaction

# A reservation may be lost with the machine (its call is lost too), so its commit does not wait for the disk.
_LOCK = text("""
    SELECT set_config('synchronous_commit', 'off', true),
           (SELECT count(pg_advisory_xact_lock(k)) FROM (SELECT k FROM unnest(CAST(:locks AS bigint[])) AS t(k) ORDER BY k) AS s)
""")

_RESERVE = text("""
    WITH calls AS (
      INSERT INTO model_call (id, call_key, person_id, run_id, model, provider, state, reserved_tokens, reserved_cost, currency,
                              started_at, expires_at)
      SELECT t.id, t.call_key, t.person_id, t.run_id, t.model, t.provider, 'reserved', t.tokens, t.cost, t.currency, :now, t.expires
      FROM unnest(CAST(:id AS uuid[]), CAST(:call_key AS text[]), CAST(:person_id AS uuid[]), CAST(:run_id AS uuid[]),
                  CAST(:model AS text[]), CAST(:provider AS text[]), CAST(:tokens AS bigint[]), CAST(CAST(:cost AS text[]) AS numeric[]),
                  CAST(:currency AS text[]), CAST(:expires AS timestamptz[]))
           AS t(id, call_key, person_id, run_id, model, provider, tokens, cost, currency, expires)
      ON CONFLICT (call_key) DO NOTHING RETURNING 1),
    wanted AS (
      SELECT * FROM unnest(CAST(:scopes AS text[]), CAST(:keys AS text[]), CAST(:slots AS timestamptz[]),
                           CAST(CAST(:amounts AS text[]) AS numeric[]),
                           CAST(CAST(:caps AS text[]) AS numeric[])) WITH ORDINALITY AS t(scope, key, slot, amount, cap, n)),
    before AS (
      SELECT m.key, sum(m.spent + m.reserved) AS used FROM model_meter m
      WHERE m.scope = 'hour' AND m.slot > :since AND m.key IN (SELECT key FROM wanted WHERE scope = 'hour') GROUP BY m.key),
    added AS (
      INSERT INTO model_meter AS m (scope, key, slot, spent, reserved)
      SELECT w.scope, w.key, w.slot, 0, w.amount FROM wanted w LEFT JOIN before b ON w.scope = 'hour' AND b.key = w.key
      WHERE w.amount + coalesce(b.used, 0) <= w.cap ORDER BY w.n
      ON CONFLICT (scope, key, slot) DO UPDATE SET reserved = m.reserved + excluded.reserved
        WHERE excluded.scope = 'hour'
           OR m.spent + m.reserved + excluded.reserved <= CASE excluded.scope WHEN 'run' THEN :run_cap ELSE :day_cap END
      RETURNING 1)
    SELECT (SELECT count(*) FROM calls) AS calls, (SELECT count(*) FROM added) AS added
""")

_SETTLE = text("""
    WITH input AS (
      SELECT * FROM unnest(CAST(:id AS uuid[]), CAST(:input_tokens AS bigint[]), CAST(:output_tokens AS bigint[]),
                           CAST(CAST(:cost AS text[]) AS numeric[]), CAST(:estimated AS boolean[]), CAST(:outcome AS text[]),
                           CAST(:duration_ms AS integer[]), CAST(:free_key AS boolean[]))
             AS t(id, used_input, used_output, used_cost, used_estimated, result, ms, free_key)),
    old AS (
      SELECT i.*, c.person_id, c.run_id, c.started_at,
             CASE c.state WHEN 'reserved' THEN c.reserved_tokens ELSE 0 END AS back_tokens,
             CASE c.state WHEN 'reserved' THEN c.reserved_cost ELSE 0 END AS back_cost
      FROM model_call c JOIN input i USING (id) WHERE c.state <> 'settled' ORDER BY c.id FOR UPDATE OF c),
    done AS (
      UPDATE model_call c
      SET state = 'settled', call_key = CASE WHEN o.free_key THEN NULL ELSE c.call_key END, input_tokens = o.used_input,
          output_tokens = o.used_output, cost = o.used_cost, estimated = o.used_estimated, outcome = o.result,
          duration_ms = o.ms, finished_at = :now
      FROM old o WHERE c.id = o.id),
    moves AS (
      SELECT 1 AS rank, 'hour' AS scope, CAST(person_id AS text) AS key, date_trunc('minute', started_at) AS slot,
             sum(used_input + used_output) AS spent, sum(back_tokens) AS back
      FROM old WHERE person_id IS NOT NULL GROUP BY person_id, date_trunc('minute', started_at)
      UNION ALL
      SELECT 2, 'run', CAST(run_id AS text), CAST(:epoch AS timestamptz), sum(used_cost), sum(back_cost)
      FROM old WHERE run_id IS NOT NULL AND used_cost + back_cost > 0 GROUP BY run_id
      UNION ALL
      SELECT 3, 'day', '', date_trunc('day', started_at, 'UTC'), sum(used_cost), sum(back_cost)
      FROM old WHERE used_cost + back_cost > 0 GROUP BY date_trunc('day', started_at, 'UTC')),
    moved AS (
      INSERT INTO model_meter AS m (scope, key, slot, spent, reserved)
      SELECT scope, key, slot, spent, -back FROM moves ORDER BY rank, key, slot
      ON CONFLICT (scope, key, slot) DO UPDATE
        SET spent = m.spent + excluded.spent, reserved = greatest(m.reserved + excluded.reserved, 0)
      RETURNING scope, slot, spent)
    SELECT CAST(slot AT TIME ZONE 'UTC' AS date) AS day, spent FROM moved WHERE scope = 'day' ORDER BY slot
""")

_CALL_COLUMNS: dict[str, Callable[[list[Any]], Array]] = {
    "id": Uuids, "call_key": Texts, "person_id": Uuids, "run_id": Uuids, "model": Texts, "provider": Texts, "tokens": Bigints,
    "cost": lambda costs: Texts(list(map(str, costs))), "currency": Texts, "expires": Times,
}  # fmt: skip
_METER_COLUMNS: dict[str, Callable[[list[Any]], Array]] = {
    "scopes": Texts, "keys": Texts, "slots": Times, "amounts": lambda amounts: Texts(list(map(str, amounts))),
    "caps": lambda caps: Texts(list(map(str, caps))),
}  # fmt: skip
_SETTLED_COLUMNS: dict[str, Callable[[list[Any]], Array]] = {
    "id": Uuids, "input_tokens": Bigints, "output_tokens": Bigints, "cost": lambda costs: Texts(list(map(str, costs))),
    "estimated": Bools, "outcome": Texts, "duration_ms": Ints, "free_key": Bools,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What may be reserved and spent at most."""

    hour_tokens: int
    run_cost: Decimal
    day_cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What one finished call used."""

    id: uuid.UUID
    input_tokens: int
    output_tokens: int
    cost: Decimal
    estimated: bool
    outcome: str
    duration_ms: int
    free_key: bool
    """The call used nothing: its key may be used by another."""


async def reserve_all(tx: Transaction, rows: Sequence[CallRow], caps: Caps) -> bool:
    """Reserve every one of `rows` (all of one moment). False when one of them must not be or its key is known: roll back then."""
    now = rows[0].now
    wanted = _wanted(rows, caps, now)
    calls = {name: array([getattr(row, name) for row in rows]) for name, array in _CALL_COLUMNS.items()}
    meters = {name: array([want[n] for want in wanted]) for n, (name, array) in enumerate(_METER_COLUMNS.items())}
    await tx.send(_LOCK, {"locks": Bigints(sorted({person_lock(r.person_id) for r in rows if r.person_id is not None}))})
    limits = {"run_cap": caps.run_cost, "day_cap": caps.day_cost, "now": now, "since": minute_slot(now) - timedelta(hours=1)}
    row = (await tx.execute(_RESERVE, {**calls, **meters, **limits})).one()
    return bool(row.calls == len(rows) and row.added == len(wanted))


def _wanted(rows: Sequence[CallRow], caps: Caps, now: datetime) -> list[tuple[str, str, datetime, Decimal, Decimal]]:
    """(scope, key, slot, amount, cap) per running total, in lock order."""
    hours: dict[str, Decimal] = defaultdict(Decimal)
    runs: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        if row.person_id is not None:
            hours[str(row.person_id)] += row.tokens
        if row.run_id is not None and row.cost > 0:
            runs[str(row.run_id)] += row.cost
    day = sum((row.cost for row in rows), Decimal(0))
    wanted = [("hour", key, minute_slot(now), hours[key], Decimal(caps.hour_tokens)) for key in sorted(hours)]
    wanted += [("run", key, EPOCH, runs[key], caps.run_cost) for key in sorted(runs)]
    return wanted + ([("day", "", day_slot(now), day, caps.day_cost)] if day > 0 else [])


async def settle_all(db: Database, settled: Sequence[Settled], now: datetime) -> list[tuple[date, Decimal]]:
    """Replace the reservations of calls not settled yet by what was used; the days they began on, where money moved, and what was spent
    on each."""
    columns = {name: array([getattr(item, name) for item in settled]) for name, array in _SETTLED_COLUMNS.items()}
    moved = await db.alone(_SETTLE, {**columns, "now": now, "epoch": EPOCH})
    return [(row.day, row.spent) for row in moved.all()]
