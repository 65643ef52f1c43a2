"""Export and offline verification, end to end: real database, real sequencer, the verifier as users start it."""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from aliquot.kernel.clock import SystemClock
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.errors import NoCheckpoint, NoLogKey
from aliquot.ledger.note import LogKey
from aliquot.ledger.sequencer import Sequencer
from aliquot.platform.db import Database
from aliquot.platform.vault import Vault
from tests.conftest import PATIENCE, ManualClock, Urls
from tests.faults.tamper.judging import by_javascript, by_python
from tests.ledger.conftest import append, untriggered


def verify(bundle: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """The verifier as a third party runs it: another process that can import nothing of `aliquot`."""
    blocked = "import sys; sys.modules['aliquot'] = None; from aliquot_verify.cli import main; sys.exit(main())"
    command = [sys.executable, "-W", "error", "-c", blocked, str(bundle), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


async def export(database: Database, ledger: LedgerApi, target: Path, **period: Any) -> Path:
    async with database.begin() as tx:
        made = await ledger.export(tx, **period)
    with made.file as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
    return target


def names(bundle: Path) -> Iterable[str]:
    with zipfile.ZipFile(bundle) as archive:
        return archive.namelist()


async def test_an_export_verifies_and_continues_its_anchor(
    database: Database, vault: Vault, clock: ManualClock, sequencer: Sequencer, log_key: LogKey, tmp_path: Path
) -> None:
    ledger = LedgerApi(vault, clock, key=log_key)
    await append(database, ledger, 300)
    await sequencer.run_once()
    async with database.begin() as tx:
        anchor = (await ledger.checkpoint(tx)).note
    (tmp_path / "anchor").write_text(anchor)
    await append(database, ledger, 500, first=300)
    await sequencer.run_once()
    bundle = await export(database, ledger, tmp_path / "b.zip")
    code, report = verify(bundle, "--vkey", log_key.vkey, "--anchor", str(tmp_path / "anchor"))
    assert (code, report["findings"]) == (0, [])
    assert (report["key_pinned"], report["size"], report["anchored_at"]) == (True, 800, 300)
    assert report["events"] == {"first": 0, "count": 800}
    assert set(names(bundle)) == {
        "checkpoint", "keys.json", "anchors.json", "signatures.jsonl", "events.jsonl", "report.pdf", "manifest.json",
        "tile/0/000", "tile/0/001", "tile/0/002", "tile/0/003.p/32", "tile/1/000.p/3",
    }  # fmt: skip
    with zipfile.ZipFile(bundle) as archive:
        assert archive.read("report.pdf").startswith(b"%PDF-")
    code, report = verify(bundle)
    assert (code, report["key_pinned"]) == (0, False)
    case = {"bundle": str(bundle), "vkey": log_key.vkey, "anchor": str(tmp_path / "anchor"), "witnesses": [], "strict": False}
    assert by_javascript([case], tmp_path) == [by_python(bundle, case)]


async def test_a_period_exports_an_unbroken_part(
    database: Database, vault: Vault, clock: ManualClock, sequencer: Sequencer, log_key: LogKey, tmp_path: Path
) -> None:
    ledger = LedgerApi(vault, clock, key=log_key)
    starts = []
    for day in range(3):
        starts.append(clock.now())
        await append(database, ledger, 100, first=100 * day)
        await sequencer.run_once()
        clock.advance(86_400)
    bundle = await export(database, ledger, tmp_path / "b.zip", since=starts[1], until=starts[2])
    code, report = verify(bundle, "--vkey", log_key.vkey)
    assert (code, report["events"], report["size"]) == (0, {"first": 100, "count": 100}, 300)
    empty = await export(database, ledger, tmp_path / "e.zip", since=starts[0] - timedelta(days=9), until=starts[0])
    code, report = verify(empty, "--vkey", log_key.vkey)
    assert (code, report["events"]["count"]) == (0, 0)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit_event SET body = replace(convert_from(body, 'UTF8'), 'anonymous', 'admin')::bytea WHERE id = :id", "edited"),
        ("DELETE FROM audit_event WHERE id = :id", "removed"),
        ("UPDATE audit_log SET event_id = gen_random_uuid() WHERE event_id = :id", "removed"),
    ],
)
async def test_what_a_superuser_does_silently_is_named(
    database: Database,
    ledger: LedgerApi,
    sequencer: Sequencer,
    urls: Urls,
    log_key: LogKey,
    vault: Vault,
    tmp_path: Path,
    statement: str,
    fault: str,
) -> None:
    """The triggers do not hold a superuser; the export shows what he did."""
    await append(database, ledger, 300)
    await sequencer.run_once()
    with psycopg.connect(urls.superuser) as conn:
        ((event_id,),) = conn.execute("SELECT event_id FROM audit_log WHERE seq = 270").fetchall()
        untriggered(conn)
        conn.execute(statement.replace(":id", "%s"), [event_id])
    bundle = await export(database, LedgerApi(vault, SystemClock(), key=log_key), tmp_path / "b.zip")
    code, report = verify(bundle, "--vkey", log_key.vkey)
    named = [(f["fault"], f["seq"]) for f in report["findings"]]
    assert (code, named) == ({"edited": 20, "removed": 21}[fault], [(fault, 270)])


async def test_without_a_key_or_a_checkpoint_nothing_is_exported(
    database: Database, vault: Vault, clock: ManualClock, log_key: LogKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aliquot.ledger.api._SETTLE_SECONDS", 0.1)  # no sequencer runs here: do not wait for it
    with pytest.raises(NoLogKey):
        await export(database, LedgerApi(vault, clock), tmp_path / "b.zip")
    ledger = LedgerApi(vault, clock, key=log_key)
    await append(database, ledger, 1)
    with pytest.raises(NoCheckpoint):
        await export(database, ledger, tmp_path / "b.zip")
