"""A bounded pool of psycopg connections in pipeline mode: what needs no answer travels together with what does.

`psycopg_pool` is not used because it waits for its whole timeout when the database is away; here a connection that cannot be
made is said at once.
"""

import asyncio
import select
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline, IsolationLevel, pq
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from psycopg.waiting import Ready, Wait, wait_async

from aliquot.platform.sql import Params, Result

IDLE_SECONDS = 3.0
"""A connection idle for longer is tried before it is used; one that just worked is not: the ping would cost as much as a read."""

_Given = TypeVar("_Given")
_PREPARED_MAX = 500
_HELD_MAX = 50
_CONNECT_SECONDS = 5
_LOOK_SECONDS = 0.5
_READY = {select.POLLIN: Ready.R, select.POLLOUT: Ready.W, select.POLLIN | select.POLLOUT: Ready.RW}


class PoolExhausted(Exception):
    """All connections were in use for as long as a caller waits."""


# `_fetch_pipeline`, `_pipeline`, `_communicate_gen` and `_fetch_gen` are psycopg's own: its version is pinned below the next minor, and
# tests/platform/test_sql.py shows what is relied on.


class Cursor(AsyncCursor[TupleRow]):
    """A cursor that can wait for the outcome of a statement that gives no rows."""

    async def result(self) -> Result:
        """Wait for the answer to what was executed last. Raises psycopg.Error, also of statements sent before it."""
        await self._fetch_pipeline()
        found = self.pgresult
        if found is None or not found.nfields:
            return Result((), (), self.rowcount)
        names = tuple(name.decode() for n in range(found.nfields) if (name := found.fname(n)) is not None)
        return Result(names, await self.fetchall(), self.rowcount)


class _Pipeline(AsyncPipeline):
    """psycopg's pipeline, but a statement leaves together with the next one that is waited for.

    psycopg gives every statement a system call of its own at once. Each wakes a PostgreSQL process that then takes this one's core:
    on two cores that cost more than the statements.
    """

    holding = False

    def _communicate_gen(self) -> PQGen[None]:
        if not self.holding or len(self.command_queue) >= _HELD_MAX:
            yield from super()._communicate_gen()

    def _fetch_gen(self, *, flush: bool) -> PQGen[None]:
        if flush:
            self.issue()  # what follows sends it, with its request for results
        yield from super()._fetch_gen(flush=flush)

    def issue(self) -> None:
        """Hand what is held to libpq's buffer, which now also knows that a transaction is open."""
        while self.command_queue:
            self.command_queue.popleft()()


class _Connection(AsyncConnection[TupleRow]):
    """psycopg's connection, but its socket stays with the event loop between waits.

    psycopg adds the socket to the loop, sets a timer and takes both away again at every wait: a third of a short transaction.
    """

    _poll: "select.poll | None" = None
    _waiter: "asyncio.Future[bool] | None" = None
    _watched = -1  # the socket the loop watches

    async def wait(self, gen: PQGen[_Given], interval: float = 0.1, timeout: float | None = None) -> _Given:  # noqa: ASYNC109 - psycopg's
        if timeout is not None:
            self._unwatch()
            return await super().wait(gen, interval, timeout)
        try:
            state = next(gen)
            while True:
                state = gen.send(await self._ready(state))
        except StopIteration as done:
            given: _Given = done.value
            return given
        except OSError as error:
            raise psycopg.OperationalError("connection socket closed") from error
        except asyncio.CancelledError:
            self._unwatch()
            await self._stop_query(gen)
            raise
        finally:
            if self.pgconn.status != pq.ConnStatus.OK:
                self._unwatch()

    async def _ready(self, wanted: Wait) -> Ready:
        if wanted & Wait.W:
            ready = self._polled()
            while not ready:  # neither takes nor gives a byte: rare, a large statement at a busy server
                await asyncio.sleep(0.001)
                ready = self._polled()
            return ready
        while not self._polled() & Ready.R:
            if self.pgconn.flush():  # the socket was full: the server waits for the rest of what we wait for the answer to
                await asyncio.sleep(0.001)
            elif await self._told():
                break
        return Ready.R

    async def _told(self) -> bool:
        """Wait until the loop says that the socket can be read; False after a while in which it said nothing.

        libuv stops watching a socket that has an error and need not say so: only asking tells (`_polled`).
        """
        loop = asyncio.get_running_loop()
        if self._watched < 0:
            self._watched = self.pgconn.socket
            loop.add_reader(self._watched, self._readable)
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(_LOOK_SECONDS, self._look)
        try:
            await waiter
        finally:
            self._waiter = None
            timer.cancel()
        return bool(waiter.result())

    def _look(self) -> None:
        self._unwatch()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(False)

    def _polled(self) -> Ready:
        """What the socket is ready for at this moment."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.pgconn.socket, select.POLLIN | select.POLLOUT)
        events = self._poll.poll(0)
        return _READY.get(events[0][1], Ready.RW) if events else Ready.NONE  # else it is broken: libpq says how

    def _readable(self) -> None:
        if self._waiter is None:
            self._unwatch()  # nobody reads now, and the loop would call again and again
        elif not self._waiter.done():
            self._waiter.set_result(True)

    def _unwatch(self) -> None:
        if self._watched >= 0:
            asyncio.get_running_loop().remove_reader(self._watched)
            self._watched = -1

    async def _stop_query(self, gen: PQGen[Any]) -> None:
        """The waiting task was cancelled: the server need not go on, and what it was about to answer is taken off the socket."""
        if self.pgconn.transaction_status != pq.TransactionStatus.ACTIVE:
            return
        try:
            await self._try_cancel(timeout=_CONNECT_SECONDS)
            await wait_async(gen, self.pgconn.socket, interval=0.1, timeout=_CONNECT_SECONDS)
        except psycopg.errors.QueryCanceled:
            pass
        except Exception:  # noqa: BLE001 - the cancellation goes on; the connection is in an unknown state
            self.pgconn.finish()
        except BaseException:
            self.pgconn.finish()
            raise

    async def close(self) -> None:
        self._unwatch()
        await super().close()


class Session:
    """One connection, always in pipeline mode, with the one cursor everything on it goes through."""

    def __init__(self, conn: AsyncConnection[TupleRow], pipeline: _Pipeline) -> None:
        self.conn, self._pipeline = conn, pipeline
        self.cursor = Cursor(conn)
        self.used = time.monotonic()

    @classmethod
    async def open(cls, conninfo: str, application_name: str, isolation: IsolationLevel | None = None) -> "Session":
        conn = await _Connection.connect(conninfo, application_name=application_name, connect_timeout=_CONNECT_SECONDS)
        conn.prepared_max = _PREPARED_MAX
        if isolation is not None:
            await conn.set_isolation_level(isolation)
        pipeline = conn._pipeline = _Pipeline(conn)
        await pipeline.__aenter__()  # for the life of the connection
        return cls(conn, pipeline)

    async def send(self, sql: str, params: Params | Sequence[Any] | None = None) -> None:
        """Run a statement; it leaves with the next `result` or commit."""
        self._pipeline.holding = True
        try:
            await self.cursor.execute(sql, params)
        finally:
            self._pipeline.holding = False

    async def commit(self) -> None:
        """Commit, and wait for it. Raises what any statement that was only sent did wrong."""
        self._pipeline.issue()
        await self.conn.commit()  # house: called by platform.db only

    async def roll_back(self) -> None:
        self._pipeline.issue()
        await self.conn.rollback()

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        self._pipeline.issue()
        async with self.conn.transaction():
            yield

    async def alive(self) -> bool:
        """Whether the connection still answers."""
        try:
            await self.send("SELECT 1")
            await self.cursor.result()
            await self.roll_back()
        except psycopg.Error:
            return False
        return True

    async def close(self) -> None:
        with suppress(psycopg.Error, OSError):
            await self.conn.close()

    @property
    def reusable(self) -> bool:
        return not self.conn.closed and self.conn.info.transaction_status == pq.TransactionStatus.IDLE


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
        if session.conn.closed:
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
