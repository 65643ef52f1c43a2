"""The sequencer on the real database: every committed event exactly once, in a tree whose files and rows agree."""

import asyncio
import base64
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from aliquot.kernel.clock import SystemClock
from aliquot.ledger import store
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.errors import LogRefused
from aliquot.ledger.files import LogFiles
from aliquot.ledger.note import LogKey, load_log_key, parse_checkpoint
from aliquot.ledger.sequencer import Sequencer
from aliquot.platform.db import Database
from aliquot.platform.vault import Vault
from tests.conftest import Urls
from tests.ledger.conftest import an_event, append, check_files, logged, until, untriggered


async def test_events_enter_the_log_once(
    database: Database, ledger: LedgerApi, sequencer: Sequencer, folder: Path, log_key: LogKey
) -> None:
    for count in (1, 5, 250, 700):
        await append(database, ledger, count)
        await sequencer.run_once()
    await sequencer.run_once()
    assert await check_files(database, folder, log_key) == 956
    assert not (folder / "tile/0/000.p").exists()  # partial tiles go when the full one is there


async def test_a_transaction_that_commits_late_is_not_missed(
    database: Database, ledger: LedgerApi, sequencer: Sequencer, folder: Path, log_key: LogKey
) -> None:
    """Its id and transaction number are lower than those already in the log."""
    async with database.begin() as late:
        await ledger.append(late, an_event(1))
        await append(database, ledger, 1, first=2)
        await sequencer.run_once()
        async with database.begin() as later:
            await ledger.append(later, an_event(3))
            await append(database, ledger, 1, first=4)
            await sequencer.run_once()
            assert [b'"r-2"' in (await logged_now(database))[0], len(await logged_now(database))] == [True, 2]
        await sequencer.run_once()
    await sequencer.run_once()
    order = [body.split(b'"id":"r-')[1][:1] for body in await logged(database)]
    assert order == [b"2", b"4", b"3", b"1"]
    assert await check_files(database, folder, log_key) == 4


async def logged_now(database: Database) -> list[bytes]:
    async with database.begin() as tx:
        return [body for _, body in await store.entries(tx, 0, 1_000)]


@pytest.mark.rule("ALCOA consistent", "ALCOA complete")
async def test_rolled_back_events_leave_no_gap(database: Database, ledger: LedgerApi, sequencer: Sequencer) -> None:
    for number in range(6):
        with suppress(KeyError):
            async with database.begin() as tx:
                await ledger.append(tx, an_event(number))
                if number % 2:
                    raise KeyError
        await sequencer.run_once()
    assert len(await logged(database)) == 3


async def test_small_batches_take_whole_transactions(
    database: Database, ledger: LedgerApi, sequencer_database: Database, folder: Path, log_key: LogKey
) -> None:
    """More events than a batch, while an old transaction is open and closes in between."""
    sequencer = Sequencer(sequencer_database, LogFiles(folder), log_key, SystemClock(), batch=3)
    async with database.begin() as late:
        await ledger.append_many(late, [an_event(100 + i) for i in range(7)])
        for number in range(8):
            await append(database, ledger, 2, first=10 * number)
        await sequencer.run_once()
        assert len(await logged_now(database)) == 16
    for number in range(8, 12):
        await append(database, ledger, 2, first=10 * number)
    await sequencer.run_once()
    assert len(set(await logged(database))) == 31


@pytest.mark.rule("ALCOA complete")
async def test_concurrent_writers_lose_and_repeat_nothing(
    database: Database, ledger: LedgerApi, sequencer: Sequencer, sequencer_database: Database, folder: Path, log_key: LogKey
) -> None:
    """Eight writers, some transactions long, some rolled back; two sequencers compete all the while."""
    rival = Sequencer(sequencer_database, LogFiles(folder), log_key, SystemClock(), interval_seconds=0, poll_seconds=0.01, batch=20)
    running = [asyncio.create_task(rival.run()), asyncio.create_task(repeat(sequencer))]
    committed = sum(await asyncio.gather(*(writer(database, ledger, n) for n in range(8))))
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)

    async def taken_in() -> bool:
        await sequencer.run_once()  # does nothing until the server has let go of the rival's lock
        async with database.begin() as tx:
            return (await store.state(tx)).size == committed

    await until(taken_in)
    assert len(set(await logged(database))) == committed == await check_files(database, folder, log_key)
    assert rival.refused is None


async def repeat(sequencer: Sequencer) -> None:
    while True:
        await sequencer.run_once()
        await asyncio.sleep(0.005)


async def writer(database: Database, ledger: LedgerApi, number: int) -> int:
    committed = 0
    for step in range(25):
        with suppress(KeyError):
            async with database.begin() as tx:
                for i in range(1 + (number + step) % 4):
                    await ledger.append(tx, an_event(1_000 * number + 10 * step + i))
                    await asyncio.sleep(0)
                if (number + step) % 5 == 0:
                    raise KeyError
            committed += 1 + (number + step) % 4
    return committed


async def test_running_it_signs_soon_after_a_commit(database: Database, vault: Vault, sequencer: Sequencer, log_key: LogKey) -> None:
    ledger = LedgerApi(vault, SystemClock(), wake=sequencer.wake)
    task = asyncio.create_task(sequencer.run())
    for size in (1, 2, 3):
        await append(database, ledger, 1)
        await until(lambda size=size: covers(database, log_key, size))  # type: ignore[misc]  # bound per round
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await signed_size(database, log_key) == 3


async def covers(database: Database, key: LogKey, size: int) -> bool:
    return await signed_size(database, key) >= size


async def test_a_lost_connection_is_a_new_election(
    database: Database, vault: Vault, sequencer: Sequencer, urls: Urls, log_key: LogKey
) -> None:
    ledger = LedgerApi(vault, SystemClock(), wake=sequencer.wake)
    task = asyncio.create_task(sequencer.run())
    await append(database, ledger, 1)
    await until(lambda: covers(database, log_key, 1))
    with psycopg.connect(urls.superuser) as conn:
        ended = conn.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE usename = 'aliquot_sequencer' AND datname = current_database()"
        ).fetchone()
    assert ended == (1,)
    await append(database, ledger, 1)
    await until(lambda: covers(database, log_key, 2))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def signed_size(database: Database, key: LogKey) -> int:
    async with database.begin() as tx:
        note = (await store.state(tx)).note
    return 0 if note is None else parse_checkpoint(key.open(note)).size


async def test_only_one_is_elected(database: Database, ledger: LedgerApi, sequencer: Sequencer, urls: Urls) -> None:
    await append(database, ledger, 1)
    holder = psycopg.connect(urls.sequencer)
    holder.execute("SELECT pg_advisory_lock(%s)", [0x616C_7365_7131])
    await sequencer.run_once()
    assert await logged_now(database) == []
    holder.close()

    async def worked() -> bool:
        await sequencer.run_once()
        return bool(await logged_now(database))

    await until(worked)


async def test_lost_files_are_written_anew(
    database: Database, ledger: LedgerApi, sequencer: Sequencer, folder: Path, log_key: LogKey
) -> None:
    await append(database, ledger, 3_000)
    await sequencer.run_once()
    folder.rename(folder.with_name("gone"))  # noqa: ASYNC240 - one rename
    await sequencer.run_once()
    assert await check_files(database, folder, log_key) == 3_000


async def refusal(sequencer: Sequencer) -> str:
    with pytest.raises(LogRefused) as caught:
        await sequencer.run_once()
    return str(caught.value)


async def test_a_rolled_back_database_is_not_signed_again(
    database: Database, ledger: LedgerApi, sequencer: Sequencer, folder: Path, log_key: LogKey
) -> None:
    await append(database, ledger, 2)
    await sequencer.run_once()
    (folder / "checkpoint").write_text(log_key.sign(f"{log_key.origin}\n9\n{base64.b64encode(bytes(32)).decode()}\n"))
    await append(database, ledger, 1)
    assert "rolled back" in await refusal(sequencer)
    assert len(await logged_now(database)) == 2


async def test_another_history_is_not_signed(
    database: Database, ledger: LedgerApi, sequencer: Sequencer, folder: Path, log_key: LogKey
) -> None:
    await append(database, ledger, 5)
    await sequencer.run_once()
    (folder / "checkpoint").write_text(log_key.sign(f"{log_key.origin}\n3\n{base64.b64encode(bytes(32)).decode()}\n"))
    assert "differ from what was signed" in await refusal(sequencer)


async def test_another_key_is_not_used(
    database: Database, ledger: LedgerApi, sequencer: Sequencer, sequencer_database: Database, folder: Path, tmp_path: Path
) -> None:
    await append(database, ledger, 1)
    await sequencer.run_once()
    other = Sequencer(sequencer_database, LogFiles(folder), load_log_key(tmp_path / "other"), SystemClock())
    assert "not signed by the log's key" in await refusal(other)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET leaf_hash = sha256('x') WHERE seq = 4",
        "DELETE FROM audit_log WHERE seq = 4",
        "UPDATE audit_state SET root_hash = sha256('x')",
        "UPDATE audit_state SET size = 4, note = NULL",
    ],
)
@pytest.mark.rule("11.10(e)")
async def test_rows_altered_by_a_superuser_are_noticed(
    database: Database, ledger: LedgerApi, sequencer: Sequencer, urls: Urls, statement: str
) -> None:
    await append(database, ledger, 5)
    await sequencer.run_once()
    with psycopg.connect(urls.superuser) as conn:
        untriggered(conn)
        conn.execute(statement)
    assert "altered" in await refusal(sequencer) or "rolled back" in await refusal(sequencer)


async def test_a_restored_database_counts_on(
    database: Database, ledger: LedgerApi, sequencer: Sequencer, urls: Urls, folder: Path, log_key: LogKey
) -> None:
    """After a logical restore the old rows carry transaction numbers of another cluster: here, far above this one's."""
    await append(database, ledger, 3)
    await sequencer.run_once()
    await append(database, ledger, 2)  # waiting when the back-up was made
    with psycopg.connect(urls.superuser) as conn:
        untriggered(conn)
        conn.execute("UPDATE audit_event SET tx = tx + 1000000")
        conn.execute("UPDATE audit_state SET cluster = 1, seen_xmax = seen_xmax + 1000000")
    assert "aliquot db upgrade" in await refusal(sequencer)
    with psycopg.connect(urls.owner) as conn:
        assert conn.execute("SELECT aliquot_ledger_rebase()").fetchone() == (True,)
        assert conn.execute("SELECT aliquot_ledger_rebase()").fetchone() == (False,)
    await append(database, ledger, 4)
    await sequencer.run_once()
    assert await check_files(database, folder, log_key) == 9


async def test_a_full_disk_delays_the_files_only(
    database: Database, ledger: LedgerApi, sequencer_database: Database, folder: Path, log_key: LogKey
) -> None:
    class FullDisk(LogFiles):
        full = True

        def _write(self, path: Path, content: bytes) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            super()._write(path, content)

    files = FullDisk(folder)
    sequencer = Sequencer(sequencer_database, files, log_key, SystemClock())
    await append(database, ledger, 3)
    await sequencer.run_once()
    assert await signed_size(database, log_key) == 3
    assert sequencer.files_error == "OSError: No space left on device"
    files.full = False
    await sequencer.run_once()
    assert await check_files(database, folder, log_key) == 3
    assert sequencer.files_error is None
