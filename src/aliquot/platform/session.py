"""One connection to PostgreSQL in libpq's pipeline mode: what needs no answer travels together with what does.

psycopg connects, encodes parameters, decodes rows and names errors; between them stand libpq's own calls (`psycopg.pq`). psycopg's own
cursors give every statement a system call and synchronise after every BEGIN: on two cores each of these wakes a PostgreSQL process that
takes this one's core (ADR 10).
"""

import asyncio
import select
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Any, NamedTuple

import psycopg
from psycopg import AsyncConnection, IsolationLevel, pq
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

from aliquot.platform.sql import Plan

_CONNECT_SECONDS = 5
_ALIVE_SECONDS = 3.0
_LOOK_SECONDS = 0.5
_STOPPED_SECONDS = 1.0
_PREPARED_AFTER = 5
_KEPT_MAX = 200
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR
_OUTDATED = (psycopg.errors.FeatureNotSupported, psycopg.errors.InvalidSqlStatementName)
"""The tables changed under a prepared statement; whoever stands between us and the server lost it."""
_OK = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)


class Outcome(NamedTuple):
    """What a statement gave: names of its columns, rows, and how many rows it gave or changed (-1: says nothing of it)."""

    names: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    rowcount: int


class _Kept:
    """A statement this connection has run with parameters of these types."""

    __slots__ = ("name", "names", "uses")

    def __init__(self) -> None:
        self.uses = 0
        self.name: bytes | None = None
        """Under which the server has it prepared."""
        self.names: tuple[str, ...] | None = None


class _Prepare(NamedTuple):
    """The server was asked to prepare a statement."""

    kept: _Kept


class _Drop(NamedTuple):
    """The server was asked to forget a statement it has prepared."""

    kept: _Kept


class _Sent(Enum):
    """What else an answer is awaited to."""

    COMMAND = 0
    COMMIT = 1
    SYNC = 2


class Session:
    """A connection, always in pipeline mode. One task uses it at a time. A transaction is begun with its first statement."""

    def __init__(self, conn: AsyncConnection[TupleRow], isolation: IsolationLevel | None) -> None:
        self._conn, self._pg = conn, conn.pgconn
        self._begin = b"BEGIN" if isolation is None else f"BEGIN ISOLATION LEVEL {isolation.name.replace('_', ' ')}".encode()
        self._values = Transformer(conn)
        self._kept: OrderedDict[tuple[bytes, Any], _Kept] = OrderedDict()
        self._named = 0
        self._undropped: list[_Kept] = []  # what the server was not asked to forget after all: an earlier statement failed
        self._awaited: deque[_Kept | _Prepare | _Drop | _Sent] = deque()
        self._last: tuple[PGresult, _Kept] | None = None
        self._open = False
        self._parts = 0
        self._poll = select.poll()
        self._poll.register(self._pg.socket, select.POLLIN | select.POLLOUT)
        self._waiter: asyncio.Future[bool] | None = None
        self._watched = -1  # the socket the loop watches
        self._timer: asyncio.TimerHandle | None = None
        self.used = time.monotonic()

    @classmethod
    async def open(cls, conninfo: str, application_name: str, isolation: IsolationLevel | None = None) -> "Session":
        conn = await AsyncConnection.connect(conninfo, application_name=application_name, connect_timeout=_CONNECT_SECONDS)
        conn.pgconn.enter_pipeline_mode()
        return cls(conn, isolation)

    @property
    def closed(self) -> bool:
        return self._pg.status != pq.ConnStatus.OK

    @property
    def reusable(self) -> bool:
        return not self.closed and not self._open and not self._awaited

    # --- statements

    def send(self, plan: Plan, values: Sequence[Any]) -> None:
        """Run a statement; it leaves with the next `outcome` or `commit`."""
        if not self._open:
            self._open = True
            self._command(self._begin)
        self._ask(plan, values)

    async def outcome(self) -> Outcome:
        """Wait for the answer to the statement sent last. Raises psycopg.Error, also of what was sent before it."""
        if self._awaited:
            self._pg.send_flush_request()
            await self._answers()
        return self._outcome()

    async def alone(self, plan: Plan, values: Sequence[Any]) -> Outcome:
        """The outcome of a statement that is a transaction of its own, in one round trip."""
        self._ask(plan, values)
        self._sync()
        await self._answers()
        return self._outcome()

    async def commit(self) -> None:
        """Commit, and wait for it. Raises what any statement that was only sent did wrong."""
        if self._open:
            self._command(b"COMMIT", _Sent.COMMIT)
            self._sync()
            try:
                await self._answers()
            finally:
                self._last = None
                self._open = self._pg.transaction_status != pq.TransactionStatus.IDLE

    async def roll_back(self) -> None:
        """Undo the transaction. Raises psycopg.OperationalError when the connection is lost."""
        if self._open:
            self._sync()  # after an error the server waits for this
            self._command(b"ROLLBACK")
            self._sync()
            await self._answers(raising=False)
            self._open, self._last = False, None

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part that fails alone."""
        if not self._open:
            self._open = True
            self._command(self._begin)
        self._parts += 1
        name = f"part_{self._parts}".encode()
        self._command(b"SAVEPOINT " + name)
        try:
            yield
            self._command(b"RELEASE " + name)
            self._pg.send_flush_request()
            await self._answers()
        except BaseException:
            if not self.closed:
                self._sync()
                self._command(b"ROLLBACK TO " + name)
                self._command(b"RELEASE " + name)
                self._sync()
                await self._answers(raising=False)
            raise
        finally:
            self._parts -= 1

    async def alive(self) -> bool:
        """Whether the connection still answers; one that stays silent (its machine is gone) is closed."""
        try:
            self._sync()
            async with asyncio.timeout(_ALIVE_SECONDS):
                await self._answers()
        except (psycopg.Error, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        self._unwatch()
        with suppress(psycopg.Error, OSError):
            await self._conn.close()

    # --- what is sent

    def _command(self, command: bytes, awaited: _Sent | _Drop = _Sent.COMMAND) -> None:
        self._pg.send_query_params(command, None)
        self._awaited.append(awaited)

    def _sync(self) -> None:
        self._pg.pipeline_sync()
        self._awaited.append(_Sent.SYNC)

    def _ask(self, plan: Plan, values: Sequence[Any]) -> None:
        self._last = None
        tx = self._values
        data = tx.dump_sequence(values, plan.formats)
        key = (plan.query, tx.types)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept()
            if len(self._kept) > _KEPT_MAX:
                self._drop_oldest()
        else:
            self._kept.move_to_end(key)
        kept.uses += 1
        if kept.name is None and kept.uses > _PREPARED_AFTER:
            self._named += 1
            name = f"aliquot_{self._named}".encode()
            self._pg.send_prepare(name, plan.query, tx.types)
            self._awaited.append(_Prepare(kept))
            kept.name = name
        if kept.name is None:
            self._pg.send_query_params(plan.query, data, tx.types, tx.formats)
        else:
            self._pg.send_query_prepared(kept.name, data, tx.formats)
        self._awaited.append(kept)

    def _drop_oldest(self) -> None:
        _, oldest = self._kept.popitem(last=False)
        unwanted, self._undropped = [*self._undropped, oldest], []
        for kept in unwanted:
            if kept.name is not None:
                self._command(b"DEALLOCATE " + kept.name, _Drop(kept))

    # --- what comes back

    async def _answers(self, *, raising: bool = True) -> None:
        """Take all answers that are awaited. Raises the first error among them; when it cannot go on, the connection is closed."""
        try:
            self._pg.flush()
            failed = await self._taken()
        except asyncio.CancelledError:
            await self._stop()
            raise
        except BaseException:
            self._finish()
            raise
        if failed is not None and (raising or self.closed):
            raise failed

    async def _taken(self) -> psycopg.Error | None:
        failed: psycopg.Error | None = None
        while self._awaited:
            while self._pg.is_busy():
                await self._readable()
                self._pg.consume_input()
            error = self._take()
            failed = failed or error
        return failed

    def _take(self) -> psycopg.Error | None:
        """One answer; what it says went wrong."""
        result = self._pg.get_result()
        if result is None or self._pg.status != pq.ConnStatus.OK:
            raise psycopg.OperationalError("the connection is lost")
        asked = self._awaited.popleft()
        if asked is _Sent.SYNC:
            if result.status != pq.ExecStatus.PIPELINE_SYNC:  # the server says good-bye, or could not commit what stood alone
                raise error_from_result(result)
            return None
        self._pg.get_result()  # None: the end of the answer
        if result.status not in _OK:
            return self._error(result, asked)
        if asked is _Sent.COMMIT and result.command_status != b"COMMIT":
            return psycopg.errors.InFailedSqlTransaction("the transaction was rolled back instead of committed")
        if isinstance(asked, _Kept):
            self._last = (result, asked)
        return None

    def _error(self, result: PGresult, asked: "_Kept | _Prepare | _Drop | _Sent") -> psycopg.Error:
        if result.status == pq.ExecStatus.PIPELINE_ABORTED:
            error: psycopg.Error = psycopg.errors.PipelineAborted("an earlier statement of the transaction failed")
        elif result.status == pq.ExecStatus.FATAL_ERROR:
            error = error_from_result(result)
        else:  # COPY
            raise psycopg.NotSupportedError("only statements that give rows or change them")
        if isinstance(asked, _Prepare):
            asked.kept.name = None
        elif isinstance(asked, _Drop):
            self._undropped.append(asked.kept)
        elif isinstance(asked, _Kept) and asked.name is not None and isinstance(error, _OUTDATED):
            asked.name = asked.names = None
            error = psycopg.OperationalError("a prepared statement is out of date")  # asked again it works: no error of the program
        return error

    def _outcome(self) -> Outcome:
        if self._last is None:
            raise psycopg.InterfaceError("no statement was sent")
        (result, kept), self._last = self._last, None
        rows: Sequence[tuple[Any, ...]] = ()
        names = kept.names
        if names is None or len(names) != result.nfields:
            names = tuple([(result.fname(n) or b"").decode() for n in range(result.nfields)])
        if kept.name is not None:
            kept.names = names
        if names:
            self._values.set_pgresult(result)
            rows = self._values.load_rows(0, result.ntuples, tuple)
            self._values.set_pgresult(None)  # nothing of a large answer stays with an idle connection
        count = result.command_tuples
        return Outcome(names, rows, -1 if count is None else count)

    # --- waiting

    # psycopg adds the socket to the loop, sets a timer and takes both away again at every wait: a third of a short transaction. Here the
    # socket stays with the loop while waits follow each other.

    async def _readable(self) -> None:
        while not self._poll_now():
            if self._pg.flush():  # the socket was full: the server waits for the rest of what we wait for the answer to
                await asyncio.sleep(0.001)
            elif await self._told():
                return

    def _poll_now(self) -> bool:
        events = self._poll.poll(0)
        return bool(events and events[0][1] & _READABLE)  # broken counts: libpq says how

    async def _told(self) -> bool:
        """Wait until the loop says that the socket can be read; False after a while in which it said nothing.

        libuv stops watching a socket that has an error and need not say so: only asking tells (`_poll_now`).
        """
        loop = asyncio.get_running_loop()
        if self._watched < 0:
            self._watched = self._pg.socket
            loop.add_reader(self._watched, self._heard)
        if self._timer is None:
            self._timer = loop.call_later(_LOOK_SECONDS, self._look)
        waiter = self._waiter = loop.create_future()
        try:
            return bool(await waiter)
        finally:
            self._waiter = None

    def _heard(self) -> None:
        if self._waiter is None:
            self._unwatch()  # nobody reads now, and the loop would call again and again
        elif not self._waiter.done():
            self._waiter.set_result(True)

    def _look(self) -> None:
        self._timer = None
        if self._waiter is not None and not self._waiter.done():
            self._unwatch()
            self._waiter.set_result(False)

    def _unwatch(self) -> None:
        if self._watched >= 0:
            asyncio.get_running_loop().remove_reader(self._watched)
            self._watched = -1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _stop(self) -> None:
        """The waiting task was cancelled: the server need not go on. What it was about to answer must not be read by the next user; it is
        waited for a moment, so that the server has stopped, and let go of its locks, before the caller goes on."""
        self._unwatch()
        try:
            await self._conn.cancel_safe(timeout=_CONNECT_SECONDS)
            async with asyncio.timeout(_STOPPED_SECONDS):
                await self._taken()
        except (psycopg.Error, TimeoutError):
            pass
        finally:
            self._finish()

    def _finish(self) -> None:
        self._unwatch()
        self._pg.finish()
