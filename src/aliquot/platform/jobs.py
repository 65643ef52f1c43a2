"""Durable background work on procrastinate: jobs carry ids only, are idempotent, and are deferred in the caller's transaction.

Nothing is rescued by itself: `rescue` puts the jobs of dead workers back, and runs in a loop of every worker.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

import procrastinate
import structlog
from sqlalchemy import text

from aliquot.platform.db import Transaction, libpq_url

log = structlog.get_logger(__name__)

_HEARTBEAT_SECONDS = 3.0
_STALLED_SECONDS = 12.0
_CONNECT_SECONDS = 3.0
_DEFER = text(
    "SELECT procrastinate_defer_jobs_v1(ARRAY[ROW("
    ":queue, :name, 0, CAST(:lock AS text), CAST(:queueing_lock AS text), CAST(:args AS jsonb), CAST(:at AS timestamptz)"
    ")::procrastinate_job_to_defer_v1])"
)

Handler = Callable[..., Awaitable[None]]


class Jobs:
    """Registers handlers, defers jobs, runs the worker."""

    def __init__(self, url: str) -> None:
        connector = procrastinate.PsycopgConnector(
            conninfo=libpq_url(url),
            min_size=1,
            max_size=4,
            timeout=_CONNECT_SECONDS,  # a database that is away must not hold up the end of the process
            reconnect_timeout=_CONNECT_SECONDS,
            kwargs={"application_name": "aliquot jobs", "connect_timeout": int(_CONNECT_SECONDS)},
        )
        self._app = procrastinate.App(connector=connector)
        self._names: set[str] = set()

    def register(self, name: str, handler: Handler, *, attempts: int = 5) -> None:
        """`handler(**ids)` runs jobs called `name`; a failure is tried again with growing pauses, `attempts` times in all."""
        retry = procrastinate.RetryStrategy(max_attempts=attempts, exponential_wait=2)
        self._app.task(name=name, retry=retry)(handler)
        self._names.add(name)

    async def defer(
        self, tx: Transaction, name: str, args: Mapping[str, str | int], *, lock: str | None = None, at: datetime | None = None
    ) -> None:
        """Defer a job in `tx`: it exists exactly when the transaction commits. `args` are ids, never contents."""
        if name not in self._names:
            raise LookupError(f"no handler is registered for the job {name}")
        await tx.execute(
            _DEFER, {"queue": "default", "name": name, "lock": lock, "queueing_lock": None, "args": json.dumps(dict(args)), "at": at}
        )

    async def work(self, *, concurrency: int = 10) -> None:
        """Run jobs until cancelled; a running job is given a moment to finish."""
        async with self._app.open_async():
            rescue = asyncio.create_task(self._rescue_forever())
            try:
                await self._app.run_worker_async(
                    concurrency=concurrency, install_signal_handlers=False, delete_jobs="successful", shutdown_graceful_timeout=3,
                    fetch_job_polling_interval=2.0, update_heartbeat_interval=_HEARTBEAT_SECONDS, stalled_worker_timeout=_STALLED_SECONDS,
                )  # fmt: skip
            finally:
                rescue.cancel()

    async def _rescue_forever(self) -> None:
        while True:
            try:
                for job in await self._app.job_manager.get_stalled_jobs(seconds_since_heartbeat=_STALLED_SECONDS):
                    log.warning("job_rescued", job=job.task_name)
                    await self._app.job_manager.retry_job(job)
            except Exception as error:  # noqa: BLE001 - the database may be away; the next round tries again
                log.warning("job_rescue_failed", error=type(error).__name__)
            await asyncio.sleep(_STALLED_SECONDS / 2)
