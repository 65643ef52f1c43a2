"""PostgreSQL for everybody: one pool per process and login, one transaction per request or job, committed at the edge.

Only this module commits. Domains receive a `Transaction` and pass it on. Statements are SQLAlchemy Core (`platform.sql`).
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
import structlog
from psycopg import IsolationLevel
from sqlalchemy import Column, DateTime, Executable, MetaData, Row, Uuid

from aliquot.kernel.problems import Unavailable
from aliquot.platform.pool import Pool, PoolExhausted
from aliquot.platform.session import Session
from aliquot.platform.sql import Result, positional, render

log = structlog.get_logger(__name__)

# Names of constraints and indexes are derived, so that migrations and tables agree on every server.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""Every domain's `tables.py` adds its tables here. `info={"app": "append"}` on a table gives the serving login SELECT and
INSERT only; `info={"app": "read"}` SELECT only; without it the serving login has SELECT, INSERT, UPDATE and DELETE."""


def id_column(name: str = "id") -> Column[Any]:
    """The UUIDv7 primary key column, made in Python by `kernel.ids.new_id`."""
    return Column(name, Uuid, primary_key=True)


def time_column(name: str, *, nullable: bool = False, index: bool = False) -> Column[Any]:
    """A point in time: `timestamptz`."""
    return Column(name, DateTime(timezone=True), nullable=nullable, index=index)


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"
    sentence = "The database is not reachable at the moment. Nothing was lost; please try again."


class DiskFull(DatabaseUnavailable):
    code = "disk_full"
    sentence = "The database's disk is full, so nothing can be stored. Nothing was lost; an administrator has to make room."


_DISK_FULL = "53100"  # SQLSTATE
_ENDED_BY_SERVER = (psycopg.errors.TransactionTimeout, psycopg.errors.IdleInTransactionSessionTimeout)
"""An administrator's limits: the connection is lost, though psycopg counts them as errors of the program."""


class Transaction:
    """One open database transaction.

    Effects that may happen only once the change is durable (waking a task, live fan-out) are given to `after_commit`.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._after_commit: list[Callable[[], None]] = []

    async def execute(self, statement: Executable, params: Mapping[str, Any] | None = None) -> Result:
        """Run `statement` and wait for its outcome. Raises psycopg.Error (`psycopg.errors` has a class per SQLSTATE)."""
        await self.send(statement, params)
        return await self.outcome()

    async def outcome(self) -> Result:
        """Wait for the outcome of the statement sent last."""
        return Result(*await self._session.outcome())

    async def send(self, statement: Executable, params: Mapping[str, Any] | None = None) -> None:
        """Run `statement` without waiting: what is wrong with it is raised by a later statement or by the commit.

        For changes whose outcome is of no interest. It travels together with the next statement that is waited for.
        """
        self._session.send(*render(statement, params))

    async def send_text(self, sql: str, params: Sequence[Any]) -> None:
        """`send` for fixed SQL text with `$1`, `$2`, … where building an expression would cost more than running it."""
        self._session.send(positional(sql, len(params)), params)

    async def row(self, statement: Executable, params: Mapping[str, Any] | None = None) -> Row[Any] | None:
        """The only row of the result, or None. Raises when there are several."""
        return (await self.execute(statement, params)).one_or_none()

    async def rows(self, statement: Executable, params: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        return (await self.execute(statement, params)).all()

    async def scalar(self, statement: Executable, params: Mapping[str, Any] | None = None) -> Any:
        """First column of the first row, or None."""
        await self.send(statement, params)
        found = await self._session.outcome()
        return found.rows[0][0] if found.rows else None

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator["Transaction"]:
        """A part of this transaction that can fail alone. After-commit effects registered on it are dropped."""
        async with self._session.savepoint():
            yield Transaction(self._session)

    async def commit(self) -> None:
        """For `Database` and `Connection` only."""
        await self._session.commit()

    def after_commit(self, effect: Callable[[], None]) -> None:
        """Call `effect` once, after the commit; never after a roll-back. It must not raise and must not block."""
        self._after_commit.append(effect)

    def run_effects(self) -> None:
        for effect in self._after_commit:
            try:
                effect()
            except Exception:
                log.exception("after_commit_effect_failed")


class Connection:
    """A connection of one's own, for what a session keeps: advisory locks, an isolation level."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Transaction]:
        """A transaction on this connection."""
        tx = Transaction(self._session)
        try:
            yield tx
        except BaseException:
            if not self._session.closed:
                await self._session.roll_back()
            raise
        await tx.commit()
        tx.run_effects()


class Database:
    """A bounded pool of connections under one login. Usable in one event loop after another, with `close` in between."""

    def __init__(self, url: str, *, pool_size: int = 20, wait_seconds: float = 10.0, application_name: str = "aliquot") -> None:
        self.url = url
        self._conninfo, self._name, self._size, self._wait = libpq_url(url), application_name, pool_size, wait_seconds
        self._pool: Pool | None = None
        self._full_at: float | None = None

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Transaction]:
        """A transaction: committed when the block ends, rolled back when it raises, then its after-commit effects run.

        Raises DatabaseUnavailable when no connection can be had or the connection is lost, DiskFull when its disk is full.
        """
        async with self._lent() as session:
            tx = Transaction(session)
            yield tx
            await tx.commit()
        tx.run_effects()

    async def alone(self, statement: Executable, params: Mapping[str, Any] | None = None) -> Result:
        """The outcome of one statement that is a transaction of its own, in one round trip. Raises as `begin`."""
        async with self._lent() as session:
            return Result(*await session.alone(*render(statement, params)))

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Session]:
        if self._pool is None:
            self._pool = Pool(self._conninfo, self._name, self._size, self._wait)
        with self._as_facts():
            async with self._pool.session() as session:
                yield session

    @asynccontextmanager
    async def connection(self, isolation: IsolationLevel | None = None) -> AsyncIterator[Connection]:
        """A connection outside the pool, closed at the end: closing is what gives its locks back, whatever happened."""
        with self._as_facts():
            session = await Session.open(self._conninfo, self._name, isolation)
            try:
                yield Connection(session)
            finally:
                await session.close()

    @contextmanager
    def _as_facts(self) -> Iterator[None]:
        """What the driver raises when the database is away or full, as the facts people are told."""
        try:
            yield
        except (psycopg.OperationalError, psycopg.InterfaceError, *_ENDED_BY_SERVER) as error:
            log.warning("database_unavailable", error=type(error).__name__)
            if error.sqlstate == _DISK_FULL:
                self._full_at = time.monotonic()
                raise DiskFull from error
            raise DatabaseUnavailable from error
        except PoolExhausted as error:
            log.warning("database_pool_exhausted")
            raise DatabaseUnavailable(retry_after=1) from error

    def refused_writes(self, seconds: float) -> bool:
        """Whether the database's disk was too full for a write within the last `seconds`."""
        return self._full_at is not None and time.monotonic() - self._full_at < seconds

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()


def sqlalchemy_url(url: str) -> str:
    """The SQLAlchemy form (psycopg 3 driver) of a libpq URL such as `postgresql://user@host/db` or `postgres://…`."""
    for prefix in ("postgresql+psycopg://", "postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    raise ValueError("a database URL starts with postgresql://")


def libpq_url(url: str) -> str:
    """The libpq form of a database URL, for psycopg and procrastinate."""
    return "postgresql://" + sqlalchemy_url(url).removeprefix("postgresql+psycopg://")
