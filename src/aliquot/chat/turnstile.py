"""Starts of runs take turns."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aliquot.platform.db import Database, Transaction

_AT_ONCE = 4
"""Enough that one computes while others wait for the database."""
_WAIT_SECONDS = 1.0


class Turnstile:
    """Opens the transactions of starts, a few at a time: of many questions asked at once the first are answered while the last still wait,
    instead of all of them late. Nobody waits for long: starts that hang on one conversation must not hold up all others."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Transaction]:
        """As `Database.begin`, in one's turn."""
        mine = await self._turn()
        try:
            async with self._db.begin() as tx:
                yield tx
        finally:
            if mine:
                self._turns.release()

    async def _turn(self) -> bool:
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                return await self._turns.acquire()
        except TimeoutError:
            return False
