"""What runs beside HTTP: the sequencer, the worker of jobs, loops."""

import asyncio
from collections.abc import Sequence

import structlog

from aliquot.bootstrap.services import Services
from aliquot.ledger.jobs import register_log_chores
from aliquot.platform.jobs import Jobs

log = structlog.get_logger(__name__)

_CANCELS = 5
_CANCEL_SECONDS = 2.0


def register_loops(services: Services) -> None:
    loops, db = services.loops, services.db

    async def advance_lab() -> None:
        async with db.begin() as tx:
            await services.lab.advance(tx)

    async def expire_approvals() -> None:
        async with db.begin() as tx:
            await services.policy.bundles.activate_due(tx)
        async with db.begin() as tx:
            await services.policy.expire_due(tx)
            await services.policy.resolve_in_flight(tx)

    async def clean_identity() -> None:
        async with db.begin() as tx:
            await services.identity.clean(tx)

    async def sweep_reservations() -> None:
        await services.models.sweep()

    async def apply_schedules() -> None:
        await services.retention.apply()

    services.chat.register_loops(loops)
    services.live.register_loops(loops)
    services.admin.register_loops(loops)
    register_log_chores(loops, db, services.ledger, settings=services.settings, clock=services.clock, rechecker=services.rechecker)
    if services.mcp.declared:
        loops.register("mcp.look", services.settings.limits.mcp_look_seconds, services.mcp.look)
    loops.register("lab.advance", 1.0, advance_lab)
    loops.register("policy.expire", 15.0, expire_approvals)
    loops.register("identity.clean", 600.0, clean_identity)
    loops.register("models.sweep", 60.0, sweep_reservations)
    loops.register("records.alerts", 10.0, services.alerts.look)
    loops.register("records.erase", 10.0, services.erasure.resume)
    loops.register("records.retention", 3_600.0, apply_schedules)


class Background:
    """Everything a serving process runs beside HTTP: sequencer, worker, loops, the writer of run events."""

    def __init__(self, services: Services, *, alone: bool, worker: bool = True) -> None:
        """`alone`: this process holds the data folder, so every lease of the database belongs to a dead process."""
        self._services, self._alone, self._worker = services, alone, worker
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        services = self._services
        services.routing.fit()
        services.chat.start_background()
        if self._alone:
            await services.chat.own_all_runs()
        self._tasks.append(asyncio.create_task(services.sequencer.run(), name="sequencer"))
        if self._worker:
            self._tasks.append(asyncio.create_task(_work(services.jobs), name="worker"))
        if services.link is not None:
            self._tasks.append(asyncio.create_task(services.link.work(), name="link"))
        services.loops.start()
        self._tasks.append(asyncio.create_task(services.models.warm(), name="warm models"))

    async def stop(self) -> None:
        services = self._services
        await services.chat.stop()
        await services.tools.drain(services.settings.shutdown_seconds)
        await services.loops.stop()
        await _end(self._tasks)
        await services.mcp.close()
        await services.models.close()
        await services.db.close()
        await services.sequencer_db.close()


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel, and cancel again what does not end: with the database away, the worker waits in its own shutdown."""
    pending = set(tasks)
    for _ in range(_CANCELS):
        if not pending:
            return
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_SECONDS)
    if pending:
        log.warning("tasks_abandoned", tasks=sorted(task.get_name() for task in pending))


async def _work(jobs: Jobs) -> None:
    """The worker, again after a lost database."""
    while True:
        try:
            await jobs.work()
        except Exception as error:  # noqa: BLE001 - jobs stay in the database and are done later
            log.warning("worker_interrupted", error=type(error).__name__)
        await asyncio.sleep(1)
