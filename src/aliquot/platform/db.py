"""PostgreSQL for everybody: one engine per process, one transaction per request or job, committed at the edge.

Only this module commits. Domains receive a `Transaction` and pass it on.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from sqlalchemy import Column, CursorResult, DateTime, Executable, MetaData, Row, Uuid, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from aliquot.kernel.problems import Unavailable

log = structlog.get_logger(__name__)

_IDLE_SECONDS = 3.0

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


class Transaction:
    """One open database transaction.

    Effects that may happen only once the change is durable (waking a task, live fan-out) are given to `after_commit`.
    """

    def __init__(self, conn: AsyncConnection) -> None:
        self.conn = conn
        self._after_commit: list[Callable[[], None]] = []

    async def execute(
        self, statement: Executable, params: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run `statement`; with a list of parameter sets it is an `executemany`."""
        return await self.conn.execute(statement, params)

    async def row(self, statement: Executable, params: Mapping[str, Any] | None = None) -> Row[Any] | None:
        """The only row of the result, or None. Raises when there are several."""
        return (await self.conn.execute(statement, params)).one_or_none()

    async def rows(self, statement: Executable, params: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        return (await self.conn.execute(statement, params)).all()

    async def scalar(self, statement: Executable, params: Mapping[str, Any] | None = None) -> Any:
        """First column of the first row, or None."""
        return (await self.conn.execute(statement, params)).scalar()

    def after_commit(self, effect: Callable[[], None]) -> None:
        """Call `effect` once, after the commit; never after a roll-back. It must not raise and must not block."""
        self._after_commit.append(effect)

    def run_effects(self) -> None:
        for effect in self._after_commit:
            try:
                effect()
            except Exception:
                log.exception("after_commit_effect_failed")


class Database:
    """A bounded pool of connections under one login."""

    def __init__(self, url: str, *, pool_size: int = 10, max_overflow: int = 10, application_name: str = "aliquot") -> None:
        self.url = url
        self.engine: AsyncEngine = create_async_engine(
            sqlalchemy_url(url),
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_timeout=10,
            pool_use_lifo=True,
            hide_parameters=True,  # errors are logged with their text; parameters may be contents or hashes of passwords
            connect_args={"application_name": application_name, "connect_timeout": 5},
        )

        event.listen(self.engine.sync_engine.pool, "checkin", _remember)
        event.listen(self.engine.sync_engine.pool, "checkout", _ping_if_idle)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Transaction]:
        """A transaction: committed when the block ends, rolled back when it raises, then its after-commit effects run.

        Raises DatabaseUnavailable when no connection can be had or the connection is lost, DiskFull when its disk is full.
        """
        try:
            async with self.engine.begin() as conn:
                tx = Transaction(conn)
                yield tx
        except DBAPIError as error:
            if error.connection_invalidated or isinstance(error, InterfaceError | OperationalError):
                log.warning("database_unavailable", error=type(error.orig).__name__)
                full = getattr(error.orig, "sqlstate", None) == _DISK_FULL
                raise (DiskFull if full else DatabaseUnavailable) from error
            raise
        except PoolTimeout as error:
            log.warning("database_pool_exhausted")
            raise DatabaseUnavailable(retry_after=1) from error
        tx.run_effects()

    async def close(self) -> None:
        await self.engine.dispose()


def _remember(_: Any, record: ConnectionPoolEntry) -> None:
    record.info["used"] = time.monotonic()


def _ping_if_idle(connection: DBAPIConnection, record: ConnectionPoolEntry, _: Any) -> None:
    """A connection that sat idle is tried before it is used; one that just worked is not: the ping costs a sixth of a short
    transaction. A database that vanished in between is a DatabaseUnavailable, and all connections are made anew."""
    if time.monotonic() - record.info.get("used", 0.0) < _IDLE_SECONDS:
        return
    cursor = connection.cursor()
    try:
        cursor.execute("SELECT 1")
        connection.rollback()
    except Exception as error:
        raise DisconnectionError from error
    finally:
        cursor.close()


def sqlalchemy_url(url: str) -> str:
    """The SQLAlchemy form (psycopg 3 driver) of a libpq URL such as `postgresql://user@host/db` or `postgres://…`."""
    for prefix in ("postgresql+psycopg://", "postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    raise ValueError("a database URL starts with postgresql://")


def libpq_url(url: str) -> str:
    """The libpq form of a database URL, for psycopg and procrastinate."""
    return "postgresql://" + sqlalchemy_url(url).removeprefix("postgresql+psycopg://")
