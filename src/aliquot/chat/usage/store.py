"""SQL of the use of the chat. Every question is bounded by the time a run was created (`ix_run_created_at`)."""

from datetime import datetime
from typing import Any

from sqlalchemy import Select, extract, func, literal, select

from aliquot.chat.tables import run, run_step
from aliquot.chat.usage.contracts import RunCount, SlowRun
from aliquot.platform.db import Transaction, time_column

_r = run.c
_AT = time_column("at").type


class RunUsage:
    """Counts and durations of runs."""

    def questions(self, since: datetime, until: datetime) -> Select[Any]:
        """The ids of the runs of questions asked in [since, until), as a query for another domain's statement."""
        return select(_r.id).where(_r.kind == "chat", _r.created_at >= since, _r.created_at < until)

    async def counts(self, tx: Transaction, since: datetime, until: datetime) -> tuple[RunCount, ...]:
        """Runs created in [since, until) by kind, state and dashboard."""
        shared = (_r.kind, _r.state, _r.dashboard)
        chosen = select(*shared, func.count().label("runs")).where(_r.created_at >= since, _r.created_at < until)
        rows = await tx.rows(chosen.group_by(*shared).order_by(*shared))
        return tuple(RunCount(kind=r.kind, state=r.state, dashboard=r.dashboard, runs=r.runs) for r in rows)

    async def slowest(self, tx: Transaction, since: datetime, until: datetime, now: datetime, limit: int) -> tuple[SlowRun, ...]:
        """The runs created in [since, until) that took longest; one that still goes on counts until `now`."""
        took = func.coalesce(_r.finished_at, literal(now, _AT)) - _r.created_at
        steps = select(func.count()).where(run_step.c.run_id == _r.id).scalar_subquery().label("steps")
        ms = (extract("epoch", took) * 1000).label("ms")
        chosen = select(_r.id, _r.kind, _r.state, _r.model, _r.created_at, _r.error_code, ms, steps)
        rows = await tx.rows(chosen.where(_r.created_at >= since, _r.created_at < until).order_by(took.desc(), _r.id).limit(limit))
        return tuple(
            SlowRun(
                run_id=r.id, kind=r.kind, state=r.state, model=r.model, started_at=r.created_at, duration_ms=round(r.ms), steps=r.steps,
                error_code=r.error_code,
            )
            for r in rows
        )  # fmt: skip
