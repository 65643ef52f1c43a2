"""Background loops of a server process: small idempotent chores at a steady pace that survive their own failures."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)


class Loops:
    """Runs registered chores until stopped. Every process runs them, so a chore must tolerate doing nothing."""

    def __init__(self) -> None:
        self._chores: list[tuple[str, float, Callable[[], Awaitable[None]]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def register(self, name: str, seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
        """Call `chore` every `seconds`, first at start."""
        self._chores.append((name, seconds, chore))

    def start(self) -> None:
        self._tasks = [asyncio.create_task(_forever(*chore), name=chore[0]) for chore in self._chores]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _forever(name: str, seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
    failing = False
    while True:
        try:
            await chore()
            failing = False
        except Exception as error:  # noqa: BLE001 - a chore must not end because the database was away once
            if not failing:
                log.warning("chore_failed", chore=name, error=type(error).__name__)
            failing = True
        await asyncio.sleep(seconds)
