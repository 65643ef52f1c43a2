"""What the tests of the ledger share."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from aliquot.kernel.clock import SystemClock
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.ledger.files import LogFiles
from aliquot.ledger.note import LogKey, load_log_key
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


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 20) -> None:
    """Wait for `condition`, looking every 10 ms; fails after `seconds`."""
    for _ in range(int(seconds * 100)):
        if await condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"did not happen within {seconds} s")


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
    db = Database(urls.sequencer, pool_size=2, max_overflow=2)
    yield db
    await db.close()


@pytest.fixture
def sequencer(sequencer_database: Database, folder: Path, log_key: LogKey) -> Sequencer:
    return Sequencer(sequencer_database, LogFiles(folder), log_key, SystemClock())
