"""kill -9 of the sequencer at every step it takes: what is published is true at that moment, and the log goes on from there."""

import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from aliquot.kernel.clock import SystemClock
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.files import LogFiles
from aliquot.ledger.note import LogKey, TreeHead, load_log_key, parse_checkpoint
from aliquot.ledger.sequencer import Sequencer
from aliquot.platform.db import Database
from aliquot.platform.vault import Vault
from tests.conftest import PATIENCE, Urls
from tests.ledger.conftest import append, check_files, logged, tree_root, until

_CHILD = Path(__file__).with_name("sequencer_child.py")
_PER_ROUND = 100  # so that the rounds cross full tiles, first partial tiles and tiles that stay partial


@pytest.fixture
def child(urls: Urls, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, str(_CHILD), urls.sequencer, str(tmp_path / "tlog"), str(tmp_path / "keys")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def killed(child: "subprocess.Popen[str]", step: int) -> bool:
    """Let a sequencer run and die at `step`; False when it took fewer steps."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(f"{step}\n")
    child.stdin.flush()
    status = int(child.stdout.readline())
    assert status in {-9, 0}
    return status == -9


def published(folder: Path, key: LogKey) -> TreeHead | None:
    """The checkpoint on disk right after the crash; everything it covers is there and hashes to it."""
    try:
        head = parse_checkpoint(key.open((folder / "checkpoint").read_text()))
    except FileNotFoundError:
        return None
    leaves = []
    for n in range(-(-head.size // 256)):
        width = min(256, head.size - 256 * n)
        name = f"{n:03d}" + ("" if width == 256 else f".p/{width}")
        full = folder / f"tile/0/{n:03d}"
        path = full if full.exists() else folder / "tile/0" / name  # a partial tile may go once the full one is there
        hashes = path.read_bytes()
        leaves += [hashes[i : i + 32] for i in range(0, 32 * width, 32)]
        assert len(hashes) in {32 * width, 8_192}
    assert tree_root(leaves) == head.root_hash
    return head


async def test_killed_at_every_step(urls: Urls, database: Database, vault: Vault, tmp_path: Path, child: "subprocess.Popen[str]") -> None:
    ledger, key, folder = LedgerApi(vault, SystemClock()), load_log_key(tmp_path / "keys"), tmp_path / "tlog"
    own = Database(urls.sequencer, pool_size=1)
    heads: list[TreeHead] = []
    step = steps_in_a_row_survived = 0
    while steps_in_a_row_survived < 3:  # rounds differ in length: a single short one does not end the loop
        step += 1
        await append(database, ledger, _PER_ROUND, first=step * _PER_ROUND)
        steps_in_a_row_survived = 0 if killed(child, step) else steps_in_a_row_survived + 1
        if (head := published(folder, key)) is not None:
            heads.append(head)
        await until(lambda: caught_up(own, ledger, folder, key))
    assert step > 20  # every primitive was met: sign, write, rename, sync, remove
    bodies = await logged(database)
    assert len(set(bodies)) == step * _PER_ROUND == await check_files(database, folder, key)
    leaves = [sha256(b"\x00" + body).digest() for body in bodies]
    assert all(tree_root(leaves[: head.size]) == head.root_hash for head in heads)  # no published checkpoint was ever contradicted
    await own.close()


async def caught_up(own: Database, ledger: LedgerApi, folder: Path, key: LogKey) -> bool:
    """A new sequencer takes over; it is not elected as long as PostgreSQL has not noticed the death of the old one."""
    await Sequencer(own, LogFiles(folder), key, SystemClock()).run_once()
    async with own.begin() as tx:
        status = await ledger.status(tx)
    head = published(folder, key)
    return status.waiting == 0 and head is not None and head.size == status.size
