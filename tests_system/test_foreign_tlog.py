"""Our log judged by other people's implementations: golang.org/x/mod/sumdb (Debian), and tlog-scales (PyPI)."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from aliquot.ledger.contracts import AuditEvent, RecordRef
from tests.site import Site
from tests_system.conftest import apt_installed

HERE = Path(__file__).parent
Client = Callable[[Path, str, Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def go_client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """`foreign_tlog.go`, built against Debian's package of golang.org/x/mod."""
    go = apt_installed("go", "golang-go", "golang-golang-x-mod-dev")
    program = tmp_path_factory.mktemp("go") / "foreign_tlog"
    environment = os.environ | {
        "GO111MODULE": "off",
        "GOPATH": "/usr/share/gocode",
        "GOFLAGS": "",
        "GOCACHE": str(program.parent / "cache"),
    }
    command = [go, "build", "-o", str(program), str(HERE / "foreign_tlog.go")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode and "cannot find package" in done.stderr:
        pytest.skip(f"golang.org/x/mod is not installed: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    return lambda *given: _run([str(program), *map(str, given)])


@pytest.fixture(scope="module")
def scales_client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """`foreign_tlog.py` in an environment of its own: nothing of it becomes a dependency of ours."""
    folder = tmp_path_factory.mktemp("scales")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=300)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "tlog-scales==0.0.3"]
    done = subprocess.run(install, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        pytest.skip(f"tlog-scales cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
    return lambda *given: _run([str(python), str(HERE / "foreign_tlog.py"), *map(str, given)])


@pytest.mark.parametrize("client", ["go_client", "scales_client"])
async def test_a_foreign_client_reads_our_log(client: str, request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> None:
    judge: Client = request.getfixturevalue(client)
    folder, vkey = site.services.settings.data_dir / "tlog", site.services.log_keys.current().vkey
    await grown(site, 300)
    earlier = tmp_path / "earlier"
    shutil.copy(folder / "checkpoint", earlier)
    await grown(site, 700)
    taken = tmp_path / "log"
    shutil.copytree(folder, taken)
    size = int((taken / "checkpoint").read_text().splitlines()[1])

    judged = judge(taken, vkey, earlier)
    assert judged.returncode == 0, judged.stderr
    assert json.loads(judged.stdout) == {"size": size, "included": size, "consistent_from": int(earlier.read_text().splitlines()[1])}
    assert size > 1000

    # A client that nods at everything would prove nothing.
    tile = taken / "tile/0/001"
    good = tile.read_bytes()
    tile.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    assert judge(taken, vkey, earlier).returncode != 0
    tile.write_bytes(good)
    entries = taken / "tile/entries/002"
    entries.write_bytes(entries.read_bytes()[:-2] + b"!}")
    assert judge(taken, vkey, earlier).returncode != 0


async def grown(site: Site, count: int) -> None:
    """`count` more events, signed for and written to the folder."""
    record = RecordRef(type="test", id=str(uuid.uuid4()))
    async with site.services.db.begin() as tx:
        before = (await site.services.ledger.status(tx)).size
        await site.services.ledger.append_many(tx, [AuditEvent(action="test.done", actor="system", record=record)] * count)
    checkpoint = site.services.settings.data_dir / "tlog" / "checkpoint"
    async with asyncio.timeout(30):
        while not checkpoint.exists() or int(checkpoint.read_text().splitlines()[1]) < before + count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # polling the sequencer's files


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(list(command), capture_output=True, text=True, timeout=120, check=False)
