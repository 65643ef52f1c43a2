"""What the tests of the ledger share."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from aliquot.kernel.clock import SystemClock
from aliquot.ledger import store
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.ledger.files import LogFiles
from aliquot.ledger.note import LogKey, load_log_key, parse_checkpoint
from aliquot.ledger.sequencer import Sequencer
from aliquot.platform.db import Database
from aliquot.platform.vault import Vault
from tests.conftest import Urls


def an_event(number: int = 1, **changes: object) -> AuditEvent:
    given = {"action": "run.started", "actor": "anonymous", "record": RecordRef(type="run", id=f"r-{number}")}
    return AuditEvent(**(given | changes))


async def append(database: Database, ledger: LedgerApi, count: int, *, first: int = 0) -> None:
    async with database.begin() as tx:
        await ledger.append_many(tx, [an_event(first + i) for i in range(count)])


def tree_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1 over leaf hashes, as written there."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + tree_root(leaves[:k]) + tree_root(leaves[k:])).digest()


async def logged(database: Database) -> list[bytes]:
    """The bodies in log order; the stored hashes, seqs and root are checked on the way."""
    async with database.begin() as tx:
        state = await store.state(tx)
        rows = await store.entries(tx, 0, state.size)
        assert [r[0] for r in await tx.rows(text("SELECT seq FROM audit_log ORDER BY seq"))] == list(range(state.size))
        assert await tx.scalar(text("SELECT count(*) FROM audit_event")) == state.size
    assert tree_root([leaf for leaf, _ in rows]) == state.root_hash
    return [body for _, body in rows]


async def check_files(database: Database, folder: Path, key: LogKey) -> int:
    """The published files hold exactly the log, under the signed checkpoint; its size."""
    bodies = await logged(database)
    head = parse_checkpoint(key.open((folder / "checkpoint").read_text()))
    assert head.size == len(bodies)
    entries: list[bytes] = []
    leaves = b""
    for n in range(-(-head.size // 256)):
        width = min(256, head.size - 256 * n)
        suffix = f"{n:03d}" + ("" if width == 256 else f".p/{width}")
        leaves += (folder / "tile/0" / suffix).read_bytes()
        bundle = (folder / "tile/entries" / suffix).read_bytes()
        while bundle:
            length = int.from_bytes(bundle[:2], "big")
            entries.append(bundle[2 : 2 + length])
            bundle = bundle[2 + length :]
    assert entries == bodies
    assert tree_root([leaves[i : i + 32] for i in range(0, len(leaves), 32)]) == head.root_hash
    if head.size >= 256:
        upper = (folder / f"tile/1/000.p/{head.size // 256}").read_bytes()
        assert upper[:32] == tree_root([leaves[i : i + 32] for i in range(0, 8192, 32)])
    return head.size


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 20) -> None:
    """Wait for `condition`, looking every 10 ms; fails after `seconds`."""
    for _ in range(int(seconds * 100)):
        if await condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"did not happen within {seconds} s")


def untriggered(conn: "psycopg.Connection[Any]") -> None:
    """What a superuser must do to edit in silence: `session_replication_role` alone does not switch the guards off."""
    for table in ("audit_event", "audit_log", "audit_node", "audit_state", "audit_key", "audit_cosignature", "audit_timestamp"):
        conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")


@pytest.fixture
def ledger(vault: Vault) -> LedgerApi:
    return LedgerApi(vault, SystemClock())


@pytest.fixture
def log_key(tmp_path: Path) -> LogKey:
    return load_log_key(tmp_path / "keys")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tlog"


@pytest.fixture
async def sequencer_database(urls: Urls) -> AsyncIterator[Database]:
    db = Database(urls.sequencer, pool_size=4)
    yield db
    await db.close()


@pytest.fixture
def sequencer(sequencer_database: Database, folder: Path, log_key: LogKey) -> Sequencer:
    return Sequencer(sequencer_database, LogFiles(folder), log_key, SystemClock())
