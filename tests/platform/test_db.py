"""Transactions: committed at the edge, effects after the commit, a database that goes away and comes back."""

import psycopg
import pytest
import sqlalchemy as sa

from aliquot.platform import pool as module
from aliquot.platform.db import Database, DatabaseUnavailable, DiskFull
from tests.conftest import Urls


async def test_a_fresh_database_is_migrated(database: Database) -> None:
    async with database.begin() as tx:
        assert await tx.scalar(sa.text("select version_num from alembic_version"))


async def test_effects_happen_after_the_commit_and_never_after_a_roll_back(database: Database) -> None:
    happened: list[str] = []
    async with database.begin() as tx:
        tx.after_commit(lambda: happened.append("committed"))
        assert happened == []
    assert happened == ["committed"]

    async def fail() -> None:
        async with database.begin() as tx:
            tx.after_commit(lambda: happened.append("rolled back"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert happened == ["committed"]


async def answer(database: Database) -> int:
    async with database.begin() as tx:
        return int(await tx.scalar(sa.text("select 42")))


def cut_all_connections(urls: Urls) -> None:
    with psycopg.connect(urls.superuser, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_an_idle_connection_that_was_cut_is_replaced_unnoticed(
    database: Database, urls: Urls, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await answer(database) == 42
    cut_all_connections(urls)
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
    assert await answer(database) == 42


async def test_a_connection_cut_a_moment_ago_is_a_clear_refusal_and_the_next_try_works(database: Database, urls: Urls) -> None:
    assert await answer(database) == 42
    cut_all_connections(urls)
    with pytest.raises(DatabaseUnavailable):
        await answer(database)
    assert await answer(database) == 42


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    nowhere = Database("postgresql://nobody@/nothing?host=/nonexistent")
    with pytest.raises(DatabaseUnavailable):
        await answer(nowhere)
    await nowhere.close()


async def test_a_full_disk_is_said_to_be_one(database: Database) -> None:
    async def store() -> None:
        async with database.begin() as tx:
            await tx.execute(sa.text("DO $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$"))

    with pytest.raises(DiskFull):
        await store()
    assert await answer(database) == 42
