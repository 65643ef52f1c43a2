"""A bounded pool of connections.

`psycopg_pool` is not used because it waits for its whole timeout when the database is away; here a connection that cannot be
made is said at once.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg

from aliquot.platform.session import Session

IDLE_SECONDS = 3.0
"""A connection idle for longer is tried before it is used; one that just worked is not: the ping would cost as much as a read."""


class PoolExhausted(Exception):
    """All connections were in use for as long as a caller waits."""


class Pool:
    """At most `size` connections; the most recently used one is given first. Belongs to the event loop that uses it."""

    def __init__(self, conninfo: str, application_name: str, size: int, wait_seconds: float) -> None:
        self._conninfo, self._name, self._wait = conninfo, application_name, wait_seconds
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Session] = []
        self._closed = False

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A connection for one transaction; rolled back when the block raises. Raises PoolExhausted, psycopg.OperationalError."""
        await self._slot()
        try:
            session = await self._take()
            try:
                yield session
            except asyncio.CancelledError:
                await session.close()  # in the middle of a statement: what is under way must not be read by the next user
                raise
            except BaseException:
                await self._roll_back(session)
                raise
            await self._give_back(session)
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Close the idle connections; those in use are closed when they come back."""
        self._closed = True
        await self._drop_idle()

    async def _slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(self._wait):
                await self._slots.acquire()
        except TimeoutError as error:
            raise PoolExhausted from error

    async def _take(self) -> Session:
        while self._idle:
            session = self._idle.pop()
            if time.monotonic() - session.used < IDLE_SECONDS or await session.alive():
                return session
            await session.close()
            await self._drop_idle()  # the database went away in between: the others are as dead
        return await Session.open(self._conninfo, self._name)

    async def _roll_back(self, session: Session) -> None:
        with suppress(psycopg.Error):
            await session.roll_back()
        if session.closed:
            await self._drop_idle()
        await self._give_back(session)

    async def _give_back(self, session: Session) -> None:
        if self._closed or not session.reusable:
            await session.close()
            return
        session.used = time.monotonic()
        self._idle.append(session)

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for session in idle:
            await session.close()
