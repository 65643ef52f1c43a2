"""Statements run by psycopg give what SQLAlchemy's own engine gives: the judge of `platform.sql`."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from aliquot.platform import session as session_module
from aliquot.platform.arrays import Bigints, Blobs, Bools, Ints, Texts, Times, Uuids
from aliquot.platform.db import Database, DatabaseUnavailable, sqlalchemy_url
from aliquot.platform.sql import row_of
from tests.conftest import PATIENCE, Urls

_metadata = sa.MetaData()
_thing = sa.Table(
    "thing", _metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("n", sa.Integer),
    sa.Column("money", sa.Numeric(18, 9)),
    sa.Column("at", sa.DateTime(timezone=True)),
    sa.Column("body", sa.LargeBinary),
    sa.Column("document", JSONB),
    sa.Column("codes", ARRAY(sa.Text)),
    sa.Column("text", sa.Text),
)  # fmt: skip
_ROWS: list[dict[str, Any]] = [
    {
        "id": uuid.UUID(int=n), "n": n, "money": Decimal("1.000000001") * n, "at": datetime(2026, 11, 21, 9, n, tzinfo=UTC),
        "body": bytes([0, n, 255]), "document": {"n": n, "deep": [None, "ü", {"a": 1.5}]}, "codes": ["PCR-02", "100%", "it's"],
        "text": "50 % %(n)s %s",
    }
    for n in range(3)
]  # fmt: skip

STATEMENTS = [
    sa.select(_thing).order_by(_thing.c.n),
    sa.select(_thing.c.id, sa.literal(1).label("one")).where(_thing.c.n.in_([1, 2])).order_by(_thing.c.n),
    sa.select(_thing.c.n).where(_thing.c.id.in_([uuid.UUID(int=2)])),
    sa.select(_thing.c.n).where(_thing.c.n.in_([])),
    sa.select(sa.func.count(), sa.func.max(_thing.c.money)).where(_thing.c.document["n"].astext == "1"),
    sa.select(_thing.c.n).where(_thing.c.text.like("50 % %")).order_by(_thing.c.n.desc()).limit(2),
    sa.text("SELECT n, n % 2 AS odd FROM thing WHERE n >= :least ORDER BY n").bindparams(least=1),
    sa.update(_thing).where(_thing.c.n == 1).values(n=_thing.c.n + 10, document={"changed": True}).returning(_thing.c.n, _thing.c.document),
    insert(_thing).values(id=uuid.UUID(int=0), n=9).on_conflict_do_update(index_elements=["id"], set_={"n": 9}).returning(_thing),
    sa.delete(_thing).where(_thing.c.n > 5).returning(_thing.c.id),
]


@pytest.fixture
async def engine(urls: Urls) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(sqlalchemy_url(urls.owner))
    yield engine
    await engine.dispose()


async def test_every_kind_of_statement_gives_what_the_engine_gives(urls: Urls, engine: AsyncEngine) -> None:
    own = Database(urls.owner)
    async with engine.begin() as conn:
        await conn.run_sync(_metadata.create_all)
    async with own.begin() as tx:
        for row in _ROWS:
            await tx.send(sa.insert(_thing), row)
    for statement in STATEMENTS:
        async with engine.connect() as conn:
            theirs = await conn.execute(statement)
            expected, count = [dict(row._mapping) for row in theirs.all()], theirs.rowcount
            await conn.rollback()
        async with own.connection() as session, session.begin() as tx, tx.savepoint():
            ours = await tx.execute(statement)
            rows = [dict(row._mapping) for row in ours.all()]
            await tx.send(sa.delete(_thing))
            for row in _ROWS:
                await tx.send(sa.insert(_thing), row)
        assert rows == expected, str(statement)
        assert count in (-1, ours.rowcount), str(statement)  # the engine counts only what changes
    await own.close()


async def test_a_statement_that_is_kept_gives_the_same_every_time(database: Database) -> None:
    """From the third time on it is not looked up again: its parameters, defaults and what is derived from it must stay its own."""
    kept = sa.text("SELECT CAST(:n AS int) AS n, CAST(:m AS int) AS m").bindparams(m=7)
    built = sa.select(sa.bindparam("n", type_=sa.Integer).label("n"), sa.literal(7).label("m"))
    derived = {}
    async with database.begin() as tx:
        for n in range(5):
            for statement in (kept, built):
                assert tuple((await tx.rows(statement, {"n": n}))[0]) == (n, 7)
            assert tuple((await tx.rows(kept, {"n": n, "m": n}))[0]) == (n, n)  # the default is not replaced for good
            derived[n] = built.where(sa.literal(n) == 3)
        assert [len(await tx.rows(derived[n], {"n": 0})) for n in derived] == [0, 0, 0, 1, 0]
    for statement in (kept, built):
        with pytest.raises(Exception, match="n"):  # never NULL instead
            async with database.begin() as tx:
                await tx.rows(statement, {})


async def test_large_statements_and_answers_pass(database: Database) -> None:
    """More than a socket's buffers hold, both ways at once."""
    large = "x" * 8_000_000
    async with database.begin() as tx:
        for _ in range(3):
            await tx.send(sa.text("SELECT CAST(:large AS text)"), {"large": large})
        assert await tx.scalar(sa.text("SELECT CAST(:large AS text)"), {"large": large}) == large


@pytest.mark.parametrize("size", [300_000, 4_000_000])
async def test_a_commit_larger_than_the_sockets_buffer_is_answered(database: Database, size: int) -> None:
    """The statement and its COMMIT leave together and the socket takes a part: the server waits for the rest of it, and we for its answer.

    500 streams stood still: the writer of run events commits their first events in one statement.
    """
    async with asyncio.timeout(PATIENCE):
        found = await database.alone(sa.text("SELECT length(CAST(:large AS text))"), {"large": "x" * size})
    assert found.scalar() == size


async def test_a_cancelled_caller_stops_its_statement(urls: Urls, database: Database) -> None:
    one = Database(urls.app, pool_size=1, application_name="cancelled")
    active = sa.text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cancelled' AND state = 'active'")

    async def long() -> None:
        async with one.begin() as tx:
            await tx.execute(sa.text("SELECT pg_sleep(60)"))

    async def running() -> int:
        async with database.begin() as tx:
            return int(await tx.scalar(active))

    task = asyncio.create_task(long())
    async with asyncio.timeout(PATIENCE):
        while await running() == 0:  # noqa: ASYNC110 - another session's state: only asking tells
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while await running():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await one.close()


async def test_a_connection_closed_by_the_server_is_replaced(urls: Urls, database: Database) -> None:
    """While it lies in the pool, and in the middle of a transaction."""
    one = Database(urls.app, pool_size=1, application_name="closed")
    kill = sa.text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'closed'")
    async with one.begin() as tx:
        await tx.scalar(sa.text("SELECT 1"))

    async def in_the_middle() -> None:
        async with one.begin() as tx:
            await tx.scalar(sa.text("SELECT 1"))
            async with database.begin() as other:
                await other.scalar(kill)
            await tx.scalar(sa.text("SELECT 2"))

    with pytest.raises(DatabaseUnavailable):
        await in_the_middle()
    async with one.begin() as tx:
        assert await tx.scalar(sa.text("SELECT 42")) == 42
    await one.close()


async def test_busy_connections_that_the_server_closes_never_wait_for_ever(urls: Urls, database: Database) -> None:
    """A socket that breaks in the middle of an exchange: libuv stops watching it without a word."""
    busy = Database(urls.app, pool_size=10, application_name="busy")
    kill = sa.text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'busy'")
    ending = False

    async def work() -> int:
        failed = 0
        while not ending:
            try:
                async with busy.begin() as tx:
                    await tx.send(sa.text("SELECT 1"))
                    await tx.scalar(sa.text("SELECT 2"))
                    await tx.scalar(sa.text("SELECT 3"))
            except DatabaseUnavailable:
                failed += 1
        return failed

    tasks = [asyncio.create_task(work()) for _ in range(10)]
    for _ in range(5):
        async with database.begin() as tx:
            await tx.scalar(kill)
    ending = True
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*tasks)
    await busy.close()


async def test_what_was_only_sent_fails_the_transaction(database: Database) -> None:
    """A statement nobody waited for must never fail in silence."""

    async def broken(wait: bool) -> None:
        async with database.begin() as tx:
            await tx.send(sa.text("SELECT 1/0"))
            if wait:
                await tx.scalar(sa.text("SELECT 1"))

    for wait in (True, False):
        with pytest.raises(psycopg.errors.DivisionByZero):
            await broken(wait)
    async with database.begin() as tx:
        assert await tx.scalar(sa.text("SELECT 1")) == 1


async def test_a_statement_alone_gives_its_outcome_committed(urls: Urls) -> None:
    own = Database(urls.owner, pool_size=1)
    await own.alone(sa.text("CREATE TABLE alone (n int PRIMARY KEY)"))
    for n in range(4):  # the driver prepares a statement that is run again and again
        made = await own.alone(sa.text("INSERT INTO alone SELECT * FROM generate_series(:n * 10, :n * 10 + 2) RETURNING n"), {"n": n})
        assert [row.n for row in made.all()] == [n * 10, n * 10 + 1, n * 10 + 2]
    with pytest.raises(psycopg.errors.UniqueViolation):
        await own.alone(sa.text("INSERT INTO alone VALUES (40), (1)"))
    assert (await own.alone(sa.text("UPDATE alone SET n = -n WHERE n > 30"))).rowcount == 2
    kept = (await Database(urls.owner).alone(sa.text("SELECT count(*) FROM alone WHERE n <> 40"))).scalar()
    assert kept == 12  # seen by another connection
    await own.close()


async def test_a_failed_part_leaves_the_rest(database: Database) -> None:
    async with database.begin() as tx:
        assert await tx.scalar(sa.text("SELECT set_config('aliquot.test', 'kept', true)")) == "kept"
        with pytest.raises(psycopg.errors.DivisionByZero):
            async with tx.savepoint() as part:
                await part.scalar(sa.text("SELECT 1/0"))
        assert await tx.scalar(sa.text("SELECT current_setting('aliquot.test')")) == "kept"


async def test_more_callers_than_connections_wait_their_turn_and_not_for_ever(urls: Urls) -> None:
    one = Database(urls.app, pool_size=1, wait_seconds=0.05)
    async with one.begin():
        with pytest.raises(DatabaseUnavailable):
            async with one.begin():
                raise AssertionError("there is one connection only")
    async with one.begin() as tx:
        assert await tx.scalar(sa.text("SELECT 1")) == 1
    await one.close()


async def test_a_caller_cancelled_in_the_middle_of_a_statement_leaves_a_clean_pool(urls: Urls) -> None:
    one = Database(urls.app, pool_size=1)

    async def long() -> None:
        async with one.begin() as tx:
            await tx.execute(sa.text("SELECT pg_sleep(60)"))

    async with one.begin() as tx:
        await tx.scalar(sa.text("SELECT 1"))
    task = asyncio.create_task(long())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with one.begin() as tx:
        assert await tx.scalar(sa.text("SELECT 42")) == 42
    await one.close()


async def test_a_caller_who_goes_on_after_a_failure_commits_nothing(urls: Urls) -> None:
    own = Database(urls.owner, pool_size=1)
    await own.alone(sa.text("CREATE TABLE gone_on (n int)"))

    async def going_on() -> None:
        async with own.begin() as tx:
            await tx.send(sa.text("INSERT INTO gone_on VALUES (1)"))
            with pytest.raises(psycopg.errors.DivisionByZero):
                await tx.scalar(sa.text("SELECT 1/0"))
            await tx.send(sa.text("INSERT INTO gone_on VALUES (2)"))

    with pytest.raises((psycopg.Error, DatabaseUnavailable)):
        await going_on()
    assert (await own.alone(sa.text("SELECT count(*) FROM gone_on"))).scalar() == 0
    await own.close()


async def test_what_fails_only_at_the_commit_is_not_taken_for_done(urls: Urls) -> None:
    """A constraint that is looked at last: the statement itself was answered well."""
    own = Database(urls.owner, pool_size=1)
    await own.alone(sa.text("CREATE TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)"))
    twice = sa.text("INSERT INTO late VALUES (1), (1)")

    async def committed() -> None:
        async with own.begin() as tx:
            assert (await tx.execute(twice)).rowcount == 2

    for attempt in (committed, lambda: own.alone(twice)):
        with pytest.raises(psycopg.errors.UniqueViolation):
            await attempt()
        assert (await own.alone(sa.text("SELECT count(*) FROM late"))).scalar() == 0
    await own.close()


async def test_the_connection_forgets_statements_it_has_not_run_for_long(urls: Urls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_KEPT_MAX", 5)
    monkeypatch.setattr(session_module, "_PREPARED_AFTER", 1)
    one = Database(urls.app, pool_size=1)
    for n in [0, 1, 2, 0, 3, 4, 5, 6, 7, 0] * 3:
        for _ in range(3):
            async with one.begin() as tx:
                assert await tx.scalar(sa.text(f"SELECT {n} + CAST(:more AS int)"), {"more": n}) == 2 * n
    prepared = (await one.alone(sa.text("SELECT count(*) FROM pg_prepared_statements"))).scalar()
    assert prepared <= 5
    await one.close()


async def test_a_statement_first_prepared_in_a_failed_transaction_works_in_the_next(urls: Urls, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server skips what follows a failure up to the next synchronisation, so it never prepared it."""
    monkeypatch.setattr(session_module, "_PREPARED_AFTER", 0)
    one = Database(urls.app, pool_size=1)

    async def failing() -> None:
        async with one.begin() as tx:
            await tx.send(sa.text("SELECT 1/0"))
            await tx.scalar(sa.text("SELECT CAST(:n AS int) + 1"), {"n": 1})

    with pytest.raises(psycopg.errors.DivisionByZero):
        await failing()
    for _ in range(3):
        assert (await one.alone(sa.text("SELECT CAST(:n AS int) + 1"), {"n": 1})).scalar() == 2
    await one.close()


async def test_a_table_that_changed_under_a_prepared_statement_is_read_again(urls: Urls, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an upgrade with a server of the version before still running: one refusal at most, never one for ever."""
    monkeypatch.setattr(session_module, "_PREPARED_AFTER", 0)
    own = Database(urls.owner, pool_size=1)
    await own.alone(sa.text("CREATE TABLE changing (n int)"))
    await own.alone(sa.text("INSERT INTO changing VALUES (1)"))
    every = sa.text("SELECT * FROM changing")
    assert (await own.alone(every)).one()._mapping == {"n": 1}
    await own.alone(sa.text("ALTER TABLE changing ADD COLUMN m int DEFAULT 2"))
    with pytest.raises(DatabaseUnavailable):  # for a short time: whoever asks again is answered
        await own.alone(every)
    assert (await own.alone(every)).one()._mapping == {"n": 1, "m": 2}
    await own.close()


async def test_a_row_nobody_waits_for_is_the_row_that_is_made(urls: Urls) -> None:
    own = Database(urls.owner, pool_size=1)
    columns = (sa.Column("id", sa.Uuid), sa.Column("a", sa.Text), sa.Column("b", sa.Integer, server_default="7"), sa.Column("c", sa.Text))
    table = sa.Table("guessed", sa.MetaData(), *columns)
    await own.alone(sa.text("CREATE TABLE guessed (id uuid, a text, b int DEFAULT 7, c text)"))
    values = {"id": uuid.UUID(int=1), "a": "x", "b": 8}
    async with own.begin() as tx:
        await tx.send(sa.insert(table), values)
        assert (await tx.rows(sa.select(table)))[0]._mapping == row_of(table, values)._mapping
    with pytest.raises(KeyError):
        row_of(table, {"id": uuid.UUID(int=1)})  # what the database fills in is not known here
    await own.close()


@pytest.mark.parametrize("count", [0, 1, 300])
async def test_whole_columns_as_one_parameter(database: Database, count: int) -> None:
    ids = [uuid.UUID(int=n) if n % 5 else None for n in range(count)]
    numbers, texts = [n * 7_000_000 - 2**30 for n in range(count)], [f"ü'{n}" * (n % 3) if n % 7 else None for n in range(count)]
    blobs, flags = [bytes([n % 256]) * n for n in range(count)], [n % 3 == 0 for n in range(count)]
    large = [n * 2**53 - 2**60 for n in range(count)]
    times = [datetime(1999, 12, 31, 23, 59, n % 60, 999_999, tzinfo=UTC) + timedelta(days=n) for n in range(count)]
    statement = sa.text(
        "SELECT u.i, u.n, u.t, u.b, u.f, u.l, u.at FROM unnest(CAST(:ids AS uuid[]), CAST(:numbers AS int[]), CAST(:texts AS text[]), "
        "CAST(:blobs AS bytea[]), CAST(:flags AS boolean[]), CAST(:large AS bigint[]), CAST(:times AS timestamptz[])) "
        "WITH ORDINALITY AS u(i, n, t, b, f, l, at, o) ORDER BY u.o"
    )
    columns = {
        "ids": Uuids(ids), "numbers": Ints(numbers), "texts": Texts(texts), "blobs": Blobs(blobs), "flags": Bools(flags),
        "large": Bigints(large), "times": Times(times),
    }  # fmt: skip
    async with database.begin() as tx:
        rows = [tuple(row) for row in await tx.rows(statement, columns)]
    assert rows == list(zip(ids, numbers, texts, blobs, flags, large, times, strict=True))
