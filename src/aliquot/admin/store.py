"""All SQL of the counts of requests."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from aliquot.admin.tables import process_load, request_count
from aliquot.platform.db import Transaction

_c, _p = request_count.c, process_load.c

# Rows in one order, so that processes that count at the same moment do not wait for each other in a circle.
_ADD = text(
    "INSERT INTO request_count AS r (minute, kind, route, count) "
    "SELECT :minute, kind, route, count FROM unnest(CAST(:kinds AS text[]), CAST(:routes AS text[]), CAST(:counts AS bigint[])) "
    "AS u(kind, route, count) ORDER BY kind, route ON CONFLICT (minute, kind, route) DO UPDATE SET count = r.count + excluded.count"
)


async def add_counts(tx: Transaction, minute: datetime, counts: Mapping[tuple[str, str], int]) -> None:
    """Add to the counts of `minute`: (kind, route) → requests."""
    kinds, routes = [kind for kind, _ in counts], [route for _, route in counts]
    await tx.send(_ADD, {"minute": minute, "kinds": kinds, "routes": routes, "counts": list(counts.values())})


async def counts(tx: Transaction, since: datetime) -> Sequence[Row[Any]]:
    """Sums by kind and route from `since` on."""
    chosen = select(_c.kind, _c.route, func.sum(_c["count"]).label("n")).where(_c.minute >= since)
    return await tx.rows(chosen.group_by(_c.kind, _c.route).order_by(_c.kind, _c.route))


async def minutes(tx: Transaction, kind: str, since: datetime) -> dict[datetime, int]:
    """Counts of one kind by minute, from `since` on."""
    rows = await tx.rows(select(_c.minute, func.sum(_c["count"]).label("n")).where(_c.minute >= since, _c.kind == kind).group_by(_c.minute))
    return {row.minute: int(row.n) for row in rows}


async def put_load(tx: Transaction, process: uuid.UUID, at: datetime, load: Mapping[str, int]) -> None:
    values = {"at": at, **load}
    statement = insert(process_load).values(id=process, **values)
    await tx.send(statement.on_conflict_do_update(index_elements=[_p.id], set_=values))


async def load(tx: Transaction, since: datetime) -> Row[Any]:
    """Sums over the processes heard of since `since`."""
    sums = [func.coalesce(func.sum(_p[name]), 0).label(name) for name in ("open_streams", "open_sockets", "active_runs")]
    busy = func.count().filter(_p.open_streams + _p.open_sockets + _p.active_runs > 0).label("processes")
    row = await tx.row(select(busy, *sums).where(_p.at >= since))
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY has one row
    return row


async def clean(tx: Transaction, now: datetime, keep_days: int) -> None:
    """Forget old minutes, and processes that are gone."""
    await tx.send(delete(request_count).where(_c.minute < now - timedelta(days=keep_days)))
    await tx.send(delete(process_load).where(_p.at < now - timedelta(hours=1)))
