"""All SQL of the model layer.

Lock order, the same everywhere: the call, the person's hour, the run, the day. A refused reservation is rolled back whole.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from aliquot.models.tables import model_call, model_cap_notice, model_default, model_meter
from aliquot.platform.db import Transaction

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# One statement: the person's lock, then the row. A reservation may be lost with the machine (its call is lost too), so its
# commit does not wait for the disk; settlements do.
_INSERT_CALL = text("""
    WITH settings AS MATERIALIZED (
      SELECT set_config('synchronous_commit', 'off', true),
             CASE WHEN CAST(:lock AS bigint) IS NULL THEN NULL
                  ELSE CAST(pg_advisory_xact_lock(CAST(:lock AS bigint)) AS text) END AS locked)
    INSERT INTO model_call (id, call_key, person_id, run_id, model, provider, state, reserved_tokens, reserved_cost, currency,
                            started_at, expires_at)
    SELECT :id, :call_key, :person_id, :run_id, :model, :provider, 'reserved', :tokens, :cost, :currency, :now, :expires FROM settings
    ON CONFLICT (call_key) DO NOTHING RETURNING id
""")

_ADD_HOUR = text("""
    WITH before AS (SELECT coalesce(sum(spent + reserved), 0) AS used, min(slot) AS oldest FROM model_meter
                    WHERE scope = 'hour' AND key = :key AND slot > :since),
         added AS (INSERT INTO model_meter (scope, key, slot, spent, reserved) VALUES ('hour', :key, :slot, 0, :tokens)
                   ON CONFLICT (scope, key, slot) DO UPDATE SET reserved = model_meter.reserved + excluded.reserved)
    SELECT used, oldest FROM before
""")

_ADD_MONEY = text("""
    INSERT INTO model_meter AS m (scope, key, slot, spent, reserved) SELECT :scope, :key, :slot, 0, :cost WHERE :cost <= :cap
    ON CONFLICT (scope, key, slot) DO UPDATE SET reserved = m.reserved + excluded.reserved
      WHERE m.spent + m.reserved + excluded.reserved <= :cap
    RETURNING spent + reserved
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """What is written when a call is reserved."""

    id: uuid.UUID
    call_key: str | None
    person_id: uuid.UUID | None
    run_id: uuid.UUID | None
    model: str
    provider: str
    tokens: int
    cost: Decimal
    currency: str
    now: datetime
    expires: datetime


async def insert_call(tx: Transaction, row: CallRow) -> bool:
    """Insert the reserved call and take the person's lock. False when the call key exists already."""
    lock = None if row.person_id is None else person_lock(row.person_id)
    values = {name: getattr(row, name) for name in CallRow.__slots__}
    return (await tx.execute(_INSERT_CALL, values | {"lock": lock})).first() is not None


async def call_by_key(tx: Transaction, call_key: str) -> Row[Any] | None:
    """The call of this key, locked."""
    return await tx.row(select(model_call).where(model_call.c.call_key == call_key).with_for_update())


async def renew_call(tx: Transaction, call_id: uuid.UUID, row: CallRow) -> None:
    """An interrupted call of the same key goes on under the reservation of `row`."""
    values = {"state": "reserved", "outcome": None, "finished_at": None, "model": row.model, "provider": row.provider}
    amounts = {"reserved_tokens": row.tokens, "reserved_cost": row.cost, "started_at": row.now, "expires_at": row.expires}
    await tx.execute(update(model_call).where(model_call.c.id == call_id).values(**values, **amounts))


async def reserve_tokens(tx: Transaction, person_id: uuid.UUID, now: datetime, tokens: int) -> tuple[int, datetime | None]:
    """Add to the person's sliding hour; (tokens in it before, its oldest minute). The caller holds the person's lock."""
    params = {"key": str(person_id), "since": minute_slot(now) - timedelta(hours=1), "slot": minute_slot(now), "tokens": tokens}
    row = (await tx.execute(_ADD_HOUR, params)).one()
    return int(row.used), row.oldest


async def reserve_money(tx: Transaction, scope: str, key: str, slot: datetime, *, cost: Decimal, cap: Decimal) -> bool:
    """Add to a running total unless it would pass `cap`: one atomic statement. False when refused."""
    params = {"scope": scope, "key": key, "slot": slot, "cost": cost, "cap": cap}
    return (await tx.execute(_ADD_MONEY, params)).first() is not None


async def release_call(tx: Transaction, row: Row[Any]) -> None:
    """Give the reserved amounts of one locked call back."""
    if row.person_id is not None:
        await _release(tx, "hour", str(row.person_id), minute_slot(row.started_at), row.reserved_tokens)
    if row.reserved_cost and row.run_id is not None:
        await _release(tx, "run", str(row.run_id), EPOCH, row.reserved_cost)
    if row.reserved_cost:
        await _release(tx, "day", "", day_slot(row.started_at), row.reserved_cost)


async def _release(tx: Transaction, scope: str, key: str, slot: datetime, amount: Decimal | int) -> None:
    c = model_meter.c
    statement = update(model_meter).where(c.scope == scope, c.key == key, c.slot == slot)
    await tx.execute(statement.values(reserved=func.greatest(c.reserved - amount, 0)))


async def reserve_run(tx: Transaction, run_id: uuid.UUID, cost: Decimal, cap: Decimal) -> bool:
    return await reserve_money(tx, "run", str(run_id), EPOCH, cost=cost, cap=cap)


async def reserve_day(tx: Transaction, now: datetime, cost: Decimal, cap: Decimal) -> bool:
    return await reserve_money(tx, "day", "", day_slot(now), cost=cost, cap=cap)


async def take_expired(tx: Transaction, now: datetime, limit: int) -> Sequence[Row[Any]]:
    """Mark reservations of dead processes; the rows as they were, with their amounts still in the totals."""
    due = (
        select(model_call.c.id)
        .where(model_call.c.state == "reserved", model_call.c.expires_at < now)
        .order_by(model_call.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = (
        update(model_call)
        .where(model_call.c.id.in_(due.scalar_subquery()))
        .values(state="expired", outcome="lost", finished_at=now)
        .returning(model_call)
    )
    return await tx.rows(statement)


async def forget_old_meters(tx: Transaction, now: datetime) -> None:
    """Minutes that left every sliding hour, and days and runs nobody can spend on any more."""
    await tx.execute(delete(model_meter).where(model_meter.c.scope == "hour", model_meter.c.slot < now - timedelta(hours=3)))
    await tx.execute(delete(model_meter).where(model_meter.c.scope == "day", model_meter.c.slot < now - timedelta(days=400)))


async def note_crossing(tx: Transaction, day: date, percent: int, now: datetime) -> bool:
    """True the first time this crossing is noted on this day."""
    statement = insert(model_cap_notice).values(day=day, percent=percent, at=now).on_conflict_do_nothing()
    return (await tx.execute(statement.returning(model_cap_notice.c.percent))).first() is not None


async def day_totals(tx: Transaction, now: datetime) -> tuple[Decimal, Decimal]:
    """(spent, reserved) money of the day of `now`."""
    where = (model_meter.c.scope == "day", model_meter.c.key == "", model_meter.c.slot == day_slot(now))
    row = await tx.row(select(model_meter.c.spent, model_meter.c.reserved).where(*where))
    return (row.spent, row.reserved) if row is not None else (Decimal(0), Decimal(0))


async def hour_tokens(tx: Transaction, person_id: uuid.UUID, now: datetime) -> int:
    """Tokens of the person's sliding hour, reservations included."""
    where = (model_meter.c.scope == "hour", model_meter.c.key == str(person_id), model_meter.c.slot > minute_slot(now) - timedelta(hours=1))
    return int(await tx.scalar(select(func.coalesce(func.sum(model_meter.c.spent + model_meter.c.reserved), 0)).where(*where)))


async def usage_by_model(tx: Transaction, since: datetime, until: datetime, person_id: uuid.UUID | None) -> Sequence[Row[Any]]:
    """Totals per model of the calls started in [since, until)."""
    c = model_call.c
    where = [c.started_at >= since, c.started_at < until, c.state == "settled"]
    if person_id is not None:
        where.append(c.person_id == person_id)
    statement = select(
        c.model,
        func.count().label("calls"),
        func.count().filter(c.outcome != "ok").label("failed"),
        func.sum(c.input_tokens).label("input_tokens"),
        func.sum(c.output_tokens).label("output_tokens"),
        func.sum(c.cost).label("cost"),
        func.min(c.currency).label("currency"),
    )
    return await tx.rows(statement.where(*where).group_by(c.model).order_by(c.model))


_BREAKDOWN = text("""
    WITH calls AS (SELECT to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, model, CAST(person_id AS text) AS person, currency,
                          outcome, estimated, input_tokens, output_tokens, cost
                   FROM model_call WHERE started_at >= :since AND started_at < :until AND state = 'settled')
    SELECT CASE WHEN GROUPING(day) = 0 THEN 'day' WHEN GROUPING(model) = 0 THEN 'model' ELSE 'person' END AS part,
           coalesce(day, model, person, '') AS of, currency, count(*) AS calls, count(*) FILTER (WHERE outcome <> 'ok') AS failed,
           count(*) FILTER (WHERE estimated) AS estimated, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
           sum(cost) AS cost
    FROM calls GROUP BY GROUPING SETS ((day, currency), (model, currency), (person, currency))
    ORDER BY part, CASE WHEN GROUPING(day) = 0 THEN day END, sum(cost) DESC, sum(input_tokens + output_tokens) DESC, of
""")

_HOURS = text("""
    SELECT key, sum(spent + reserved) AS tokens, min(slot) AS oldest FROM model_meter WHERE scope = 'hour' AND slot > :since
    GROUP BY key HAVING sum(spent + reserved) > 0 ORDER BY tokens DESC, key LIMIT :limit
""")


async def usage_breakdown(tx: Transaction, since: datetime, until: datetime) -> Sequence[Row[Any]]:
    """Totals of the calls started in [since, until) per day, per model and per person, each by currency."""
    return await tx.rows(_BREAKDOWN, {"since": since, "until": until})


async def fullest_hours(tx: Transaction, now: datetime, limit: int) -> Sequence[Row[Any]]:
    """The people with the most tokens in their sliding hour."""
    return await tx.rows(_HOURS, {"since": minute_slot(now) - timedelta(hours=1), "limit": limit})


async def default_name(tx: Transaction) -> str | None:
    value: str | None = await tx.scalar(select(model_default.c.name).where(model_default.c.id == 1))
    return value


async def set_default(tx: Transaction, name: str, person_id: uuid.UUID, now: datetime) -> None:
    values = {"name": name, "switched_by": person_id, "switched_at": now}
    statement = insert(model_default).values(id=1, **values)
    await tx.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


def day_slot(at: datetime) -> datetime:
    """Midnight UTC of the day of `at`."""
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def person_lock(person_id: uuid.UUID) -> int:
    """The key of the advisory lock that orders reservations of one person's hour."""
    return int.from_bytes(person_id.bytes[8:], "big", signed=True)


def minute_slot(at: datetime) -> datetime:
    """The beginning of the minute of `at`."""
    return at.replace(second=0, microsecond=0)
