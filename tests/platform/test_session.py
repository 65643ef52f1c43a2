"""What administrators, proxies and large answers do to a connection of ours (`platform.session`)."""

import asyncio
import os
import signal
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from aliquot.platform import pool as pool_module
from aliquot.platform import session as session_module
from aliquot.platform.db import Database, DatabaseUnavailable, libpq_url
from aliquot.platform.session import Session
from aliquot.platform.sql import render
from tests.conftest import PATIENCE, Urls

_PLUS = sa.text("SELECT CAST(:n AS int) + 1")


async def test_statements_to_forget_are_forgotten_though_a_transaction_fails(urls: Urls, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server skips what follows a failure: without a second request each failure would leave it one more prepared statement."""
    monkeypatch.setattr(session_module, "_KEPT_MAX", 5)
    monkeypatch.setattr(session_module, "_PREPARED_AFTER", 1)
    one = Database(urls.app, pool_size=1)

    async def failing(n: int) -> None:
        async with one.begin() as tx:
            for _ in range(2):
                await tx.scalar(sa.text(f"SELECT {n} + CAST(:more AS int)"), {"more": n})
            await tx.send(sa.text("SELECT 1/0"))
            for _ in range(2):
                await tx.send(sa.text(f"SELECT {n} - CAST(:less AS int)"), {"less": n})
            await tx.scalar(sa.text("SELECT 1"))

    for n in range(20):
        with pytest.raises(psycopg.errors.DivisionByZero):
            await failing(n)
    for _ in range(3):
        assert (await one.alone(_PLUS, {"n": 1})).scalar() == 2
    assert (await one.alone(sa.text("SELECT count(*) FROM pg_prepared_statements"))).scalar_one() <= 5
    await one.close()


async def test_a_prepared_statement_that_somebody_dropped_is_prepared_again(urls: Urls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_PREPARED_AFTER", 0)
    one = Database(urls.app, pool_size=1)
    assert (await one.alone(_PLUS, {"n": 1})).scalar() == 2
    await one.alone(sa.text("DEALLOCATE ALL"))
    for statement in (_PLUS, sa.text("DEALLOCATE ALL")):  # each was prepared
        with pytest.raises(DatabaseUnavailable):
            await one.alone(statement, {"n": 1} if statement is _PLUS else None)
    assert (await one.alone(_PLUS, {"n": 1})).scalar() == 2
    await one.close()


@pytest.mark.parametrize("waits", [True, False])
async def test_a_limit_of_an_administrator_on_transactions_is_no_error_of_ours(urls: Urls, waits: bool) -> None:
    one, other = Database(urls.app, pool_size=1, application_name="limited"), Database(urls.app, pool_size=1)
    there = sa.text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'limited'")

    async def slow() -> None:
        async with one.begin() as tx:
            await tx.scalar(sa.text("SELECT set_config('transaction_timeout', '50', true)"))
            if waits:
                await tx.scalar(sa.text("SELECT pg_sleep(60)"))
            while (await other.alone(there)).scalar():  # until the server has ended it: only asking tells
                pass

    with pytest.raises(DatabaseUnavailable):
        await slow()
    assert (await one.alone(_PLUS, {"n": 1})).scalar() == 2
    await one.close()
    await other.close()


async def test_an_idle_connection_that_stays_silent_is_replaced(urls: Urls, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer and no end either: as of a machine that lost its power, or of a process that was stopped."""
    monkeypatch.setattr(session_module, "_ALIVE_SECONDS", 0.05)
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0)
    one = Database(urls.app, pool_size=1)
    backend = int((await one.alone(sa.text("SELECT pg_backend_pid()"))).scalar_one())
    os.kill(backend, signal.SIGSTOP)
    try:
        async with asyncio.timeout(PATIENCE):
            assert (await one.alone(sa.text("SELECT pg_backend_pid()"))).scalar() != backend
    finally:
        os.kill(backend, signal.SIGCONT)
        await one.close()


async def test_an_idle_connection_keeps_nothing_of_a_large_answer(urls: Urls) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    session = await Session.open(libpq_url(urls.app), "large")
    before = resident()
    found = await session.alone(*render(sa.text("SELECT repeat('x', 1000000) FROM generate_series(1, 100)")))
    assert sum(len(row[0]) for row in found.rows) == 100_000_000
    del found
    grown = resident() - before
    await session.close()
    assert grown < 60_000_000
