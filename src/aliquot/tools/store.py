"""All SQL of tool calls."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, and_, delete, extract, func, select, update
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from aliquot.platform.db import Transaction
from aliquot.tools.tables import tool_call

_FINISHED = ("ok", "failed", "denied", "unknown")


class CallRow(NamedTuple):
    """One row of `tool_call`."""

    id: uuid.UUID
    call_id: str
    run_id: uuid.UUID | None
    person_id: uuid.UUID
    tool: str | None
    effect: str | None
    state: str
    arguments: bytes
    report: bytes | None
    policy_version: str | None
    schema_sha256: str | None
    approval_id: uuid.UUID | None
    idempotency_key: str
    attempts: int
    error_code: str | None

    @property
    def finished(self) -> bool:
        return self.state in _FINISHED


_COLUMNS = [tool_call.c[name] for name in CallRow._fields]


async def claim(tx: Transaction, values: dict[str, Any]) -> bool:
    """Insert a proposed call; False when its idempotency key is taken (after waiting for whoever is taking it)."""
    statement = insert(tool_call).values(state="proposed", attempts=0, **values).on_conflict_do_nothing(index_elements=["idempotency_key"])
    return await tx.scalar(statement.returning(tool_call.c.id)) is not None


async def by_key(tx: Transaction, key: str) -> CallRow | None:
    return _call(await tx.row(select(*_COLUMNS).where(tool_call.c.idempotency_key == key).with_for_update()))


async def by_id(tx: Transaction, call: uuid.UUID) -> CallRow | None:
    return _call(await tx.row(select(*_COLUMNS).where(tool_call.c.id == call)))


async def by_approval(tx: Transaction, approval: uuid.UUID) -> CallRow | None:
    return _call(await tx.row(select(*_COLUMNS).where(tool_call.c.approval_id == approval).with_for_update()))


async def executing(tx: Transaction, run: uuid.UUID) -> list[CallRow]:
    """Calls in flight on behalf of `run`, locked."""
    statement = select(*_COLUMNS).where(tool_call.c.executing_run_id == run, tool_call.c.state == "executing").order_by(tool_call.c.id)
    return [CallRow(*tuple(row)) for row in await tx.rows(statement.with_for_update())]


async def of_run(tx: Transaction, run: uuid.UUID) -> Sequence[CallRow]:
    """All calls a run asked for, oldest first."""
    return [CallRow(*tuple(row)) for row in await tx.rows(select(*_COLUMNS).where(tool_call.c.run_id == run).order_by(tool_call.c.id))]


async def names_called(tx: Transaction, runs: Select[Any]) -> list[str]:
    """Names of the tools called in these runs, except where the policy denied the call."""
    called = (tool_call.c.run_id.in_(runs), tool_call.c.tool.is_not(None), tool_call.c.state != "denied")
    return [row.tool for row in await tx.rows(select(tool_call.c.tool).distinct().where(*called))]


async def purge(tx: Transaction, run_ids: Collection[uuid.UUID]) -> None:
    await tx.execute(delete(tool_call).where(tool_call.c.run_id.in_(run_ids)))


async def usage(tx: Transaction, since: datetime, until: datetime, limit: int) -> Sequence[Row[Any]]:
    """Counts and durations of the calls made in [since, until), per tool, the most used first."""
    c = tool_call.c
    took = extract("epoch", c.finished_at - c.started_at) * 1000
    executed = and_(c.started_at.is_not(None), c.finished_at.is_not(None))
    counts = [func.count().filter(c.state == state).label(state) for state in _FINISHED]
    times = [func.percentile_cont(p).within_group(took).filter(executed).label(name) for p, name in ((0.5, "p50_ms"), (0.95, "p95_ms"))]
    calls = func.count().label("calls")
    chosen = select(c.tool, calls, *counts, *times).where(c.created_at >= since, c.created_at < until)
    return await tx.rows(chosen.group_by(c.tool).order_by(calls.desc(), c.tool).limit(limit))


async def patterns(tx: Transaction, runs: Select[Any], limit: int) -> Sequence[Row[Any]]:
    """Which tools were called together in a run, in how many of these runs, and `total`: in how many any was."""
    c = tool_call.c
    names = func.array_agg(aggregate_order_by(c.tool.distinct(), c.tool)).label("tools")
    of_run = select(names).where(c.run_id.in_(runs), c.tool.is_not(None)).group_by(c.run_id).subquery()
    count = func.count().label("runs")
    chosen = select(of_run.c.tools, count, func.sum(func.count()).over().label("total"))
    return await tx.rows(chosen.group_by(of_run.c.tools).order_by(count.desc(), of_run.c.tools).limit(limit))


async def allow(tx: Transaction, call: uuid.UUID, *, policy_version: str) -> None:
    await tx.execute(update(tool_call).where(tool_call.c.id == call).values(policy_version=policy_version))


async def wait(tx: Transaction, call: uuid.UUID, *, approval: uuid.UUID, policy_version: str) -> None:
    values = {"state": "waiting", "approval_id": approval, "policy_version": policy_version}
    await tx.execute(update(tool_call).where(tool_call.c.id == call).values(values))


async def start(tx: Transaction, call: uuid.UUID, *, before: str, run: uuid.UUID | None, policy_version: str | None, at: datetime) -> bool:
    """`before → executing`; False when somebody else was faster."""
    values = {"state": "executing", "executing_run_id": run, "policy_version": policy_version, "started_at": at}
    return await _change(tx, call, (before,), values)


async def release(tx: Transaction, call: uuid.UUID) -> bool:
    """`executing → proposed`, for a read-only call whose process died."""
    return await _change(tx, call, ("executing",), {"state": "proposed", "executing_run_id": None, "started_at": None})


async def finish(tx: Transaction, call: uuid.UUID, *, before: Sequence[str], values: dict[str, Any]) -> bool:
    """`before → ok, failed, denied or unknown`; False when the call is no longer in one of those states."""
    return await _change(tx, call, before, values)


async def _change(tx: Transaction, call: uuid.UUID, before: Sequence[str], values: dict[str, Any]) -> bool:
    statement = update(tool_call).where(tool_call.c.id == call, tool_call.c.state.in_(before)).values(values)
    return (await tx.execute(statement)).rowcount == 1


def _call(row: Row[Any] | None) -> CallRow | None:
    return None if row is None else CallRow(*tuple(row))
