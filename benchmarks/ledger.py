"""The ledger: how fast events are recorded beside a change, placed in the log, and verified; how large a proof is.

The cluster is our own embedded one with fsync on, in a temporary folder. Writers are processes of their own with the
application's pool and `LedgerApi`; the sequencer runs in a process of its own all the while, writing its files with fsync.
"""

import asyncio
import base64
import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from sqlalchemy import text

from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import SystemClock, rfc3339
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.ledger.files import LogFiles
from aliquot.ledger.merkle import Tree, inclusion_ranges, leaf_hash, levels, tile_path, tiles_between
from aliquot.ledger.note import LogKey, TreeHead, checkpoint_text, load_log_key
from aliquot.ledger.sequencer import Sequencer
from aliquot.platform import migrate
from aliquot.platform.db import Database
from aliquot.platform.postgres import EmbeddedPostgres
from aliquot.platform.vault import Vault

SECONDS = 5.0
ROUNDS = 3
PROCESSES = 2
TASKS = 4  # per process: 8 writers
EVENTS_VERIFIED = 1_000_000


@dataclass(frozen=True)
class Cluster:
    owner: str
    app: str
    sequencer: str
    folder: Path


def rows(_context: object) -> list[dict[str, Any]]:
    """What `python -m benchmarks` calls."""
    with cluster() as running:
        measured = [*writing(running)]
    return [*measured, *verifying(), proof_size()]


@contextmanager
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="aliquot-bench-"))
    postgres = EmbeddedPostgres(folder / "pg", superuser_password=secrets.token_hex(8))
    try:
        postgres.start()
        owner = postgres.ensure_database("bench-owner")
        migrate.upgrade(owner, migrate.Logins(app="bench", sequencer="bench", reader="bench"))
        with psycopg.connect(owner) as conn:
            conn.execute("CREATE TABLE bench_change (id uuid PRIMARY KEY, content bytea NOT NULL)")
            conn.execute("GRANT SELECT, INSERT ON bench_change TO aliquot_app")
        yield Cluster(owner, postgres.url("aliquot_app", "bench"), postgres.url("aliquot_sequencer", "bench"), folder)
    finally:
        postgres.stop()
        shutil.rmtree(folder)


def writing(running: Cluster) -> Iterator[dict[str, Any]]:
    """Writers and the sequencer at once."""
    sequencer = start("sequencer", running, 0)
    try:
        for mode, name, budget, unit in (
            ("tens", "audit events recorded, transactions of 10, 8 writers", "≥ 5,000/s", 10),
            ("changes", "change + audit event, one transaction each, 8 writers", "≥ 1,000/s", 1),
        ):
            rounds = [round_of(mode, running) for _ in range(ROUNDS)]
            rates = [rate * unit for rate, _ in rounds]
            cpu_ms = median(cpu for _, cpu in rounds)
            lag = drained(running)
            notes = f"fsync on; {PROCESSES} processes of {TASKS} writers; {cpu_ms:.2f} ms writer CPU per transaction; log complete {lag:.1f} s later"
            yield row(name, budget, rates, "/s", f"{ROUNDS} × {SECONDS:.0f} s", notes)
    finally:
        sequencer.terminate()
        sequencer.wait(20)


def round_of(mode: str, running: Cluster) -> tuple[float, float]:
    """Transactions per second over all writers, and the writers' CPU per transaction in ms."""
    writers = [start(mode, running, n) for n in range(PROCESSES)]
    results = [json.loads(writer.communicate(timeout=300)[0]) for writer in writers]
    done = sum(result["transactions"] for result in results)
    return sum(result["transactions"] / result["seconds"] for result in results), 1e3 * sum(result["cpu"] for result in results) / done


def drained(running: Cluster) -> float:
    """Seconds until the log holds every event."""
    started = time.monotonic()
    with psycopg.connect(running.owner, autocommit=True) as conn:
        while time.monotonic() - started < 300:
            if conn.execute("SELECT (SELECT count(*) FROM audit_event) = (SELECT size FROM audit_state)").fetchone() == (True,):
                return time.monotonic() - started
            time.sleep(0.05)
    raise TimeoutError("the sequencer does not follow")


def start(mode: str, running: Cluster, number: int) -> "subprocess.Popen[str]":
    url = running.sequencer if mode == "sequencer" else running.app
    command = [sys.executable, "-m", "benchmarks.ledger", mode, url, str(running.folder / f"{mode}-{number}")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def write(mode: str, url: str, folder: Path) -> None:
    """One writer process."""
    database = Database(url, pool_size=TASKS)
    vault = Vault(b"\x02" * 32, folder)
    ledger = LedgerApi(vault, SystemClock())
    person = uuid.uuid4()
    vault.ensure_subject(person)
    work = {"tens": tens, "changes": change}[mode]
    await asyncio.gather(*(work(database, ledger, person) for _ in range(TASKS)))  # connections and caches
    started, cpu = time.monotonic(), time.process_time()
    counts = await asyncio.gather(*(repeat(lambda: work(database, ledger, person), started + SECONDS) for _ in range(TASKS)))
    print(json.dumps({"transactions": sum(counts), "seconds": time.monotonic() - started, "cpu": time.process_time() - cpu}))
    await database.close()


async def repeat(once: Callable[[], Any], end: float) -> int:
    count = 0
    while time.monotonic() < end:
        await once()
        count += 1
    return count


def event(person: uuid.UUID) -> AuditEvent:
    """A tool call as the assistant records it: about 600 bytes, with one commitment."""
    return AuditEvent(
        action="tool.executed", actor=str(person), via="session", ip="127.0.0.1", run_id=uuid.uuid4(), tool="get_instrument_status",
        record=RecordRef(type="tool_call", id=str(uuid.uuid4())), content={"arguments": b'{"instrument":"PCR-02"}'}, subject=person,
        versions={"policy": "2026-11-01", "tool_schema": "1"},
    )  # fmt: skip


async def tens(database: Database, ledger: LedgerApi, person: uuid.UUID) -> None:
    async with database.begin() as tx:
        await ledger.append_many(tx, [event(person) for _ in range(10)])


_CHANGE = text("INSERT INTO bench_change (id, content) VALUES (:id, :content)")


async def change(database: Database, ledger: LedgerApi, person: uuid.UUID) -> None:
    async with database.begin() as tx:
        await tx.execute(_CHANGE, {"id": uuid.uuid4(), "content": b"x" * 200})
        await ledger.append(tx, event(person))


async def sequence(url: str, folder: Path) -> None:
    """The sequencer process."""
    database = Database(url, pool_size=1)
    await Sequencer(database, LogFiles(folder / "tlog"), load_log_key(folder / "keys"), SystemClock()).run()


def verifying(count: int = EVENTS_VERIFIED) -> Iterator[dict[str, Any]]:
    """`aliquot-verify --strict` as a process, on a bundle of honest events made without a database: not one may raise an alarm."""
    with tempfile.TemporaryDirectory(prefix="aliquot-bench-") as folder:
        bundle = Path(folder) / "bundle.zip"
        key = LogKey("aliquot/bench", b"\x01" * 32)
        size = forge(bundle, key, count)
        command = [str(Path(sys.executable).with_name("aliquot-verify")), str(bundle), "--vkey", key.vkey, "--strict"]
        seconds, cpu, peak = [], [], 0
        for _ in range(ROUNDS):
            started = time.monotonic()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            if status != 0:
                raise RuntimeError(f"a false alarm: the honest bundle did not verify ({status})")
            seconds.append(time.monotonic() - started)
            cpu.append(usage.ru_utime + usage.ru_stime)
            peak = max(peak, usage.ru_maxrss)
        notes = f"{size / 1e6:.0f} MB of events, bundle {bundle.stat().st_size / 1e6:.0f} MB, {peak / 1024:.0f} MB memory, {median(cpu):.1f} s CPU"
        yield row(f"verification of {count:,} honest events, no false alarm", "≤ 30 s", seconds, " s", str(ROUNDS), notes, digits=1)


def forge(bundle: Path, key: LogKey, count: int) -> int:
    """A bundle as the export writes it; the bytes of its events."""
    tree, by_level, length, digest = Tree(), {0: io.BytesIO()}, 0, sha256()
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("events.jsonl", "w", force_zip64=True) as file:
            for body in bodies(count):
                leaf = leaf_hash(body)
                by_level[0].write(leaf)
                for node in tree.append(leaf):
                    by_level.setdefault(node.level, io.BytesIO()).write(node.hash)
                digest.update(body + b"\n")
                length += file.write(body + b"\n")
        files = {"keys.json": canonical_json({"vkeys": [key.vkey]}), "signatures.jsonl": b"", "report.pdf": b"%PDF-"}
        files["checkpoint"] = key.sign(checkpoint_text(TreeHead(key.origin, tree.size, tree.root()))).encode()
        for level in range(levels(tree.size)):
            hashes = by_level[level].getvalue()
            for tile in tiles_between(0, tree.size, level):
                files[tile_path(tile)] = hashes[tile.n * 8192 : tile.n * 8192 + tile.width * 32]
        digests = {name: sha256(data).hexdigest() for name, data in files.items()} | {"events.jsonl": digest.hexdigest()}
        body: dict[str, Any] = {"v": 1, "origin": key.origin, "size": count, "events": {"first": 0, "count": count}, "files": digests}
        body["made_at"] = rfc3339(_START + _STEP * count)
        hashed = base64.b64encode(sha256(canonical_json(body)).digest()).decode()
        line = key.signature_line(f"aliquot manifest v1\n{key.origin}\n{hashed}\n")
        files["manifest.json"] = canonical_json(body | {"signature": line.split(" ")[2].strip()})
        for name, data in files.items():
            archive.writestr(name, data)
    return length


_START, _STEP, _BEAT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC), timedelta(seconds=1), 300


def bodies(count: int) -> Iterator[bytes]:
    """Events of the usual size whose ids and commitments do not compress; one a second, as unordered as transactions that run at once,
    with a heartbeat every five minutes."""
    form = (
        '{"action":"%s","actor":"%s","at":"%s","content":[{"hmac":"%s","key_id":"%s","name":"arguments"}],'
        '"id":"%s","ip":"127.0.0.1","outcome":"ok",%s"record":{"id":"%s","type":"tool_call","version":1},"run_id":"%s","tool":'
        '"get_instrument_status","v":1,"versions":{"policy":"2026-11-01","tool_schema":"1"},"via":"session"}'
    )
    person = str(uuid.uuid4())
    for number in range(count):
        noise = secrets.token_hex(80)
        at = rfc3339(_START + _STEP * number - timedelta(milliseconds=noise.encode()[0] * 200))
        action, reason = ("log.heartbeat", f'"reason":"every:{_BEAT}s",') if number % _BEAT == 0 else ("tool.executed", "")
        yield (form % (action, person, at, noise[:64], person, noise[64:96], reason, noise[96:128], noise[128:160])).encode()


def proof_size() -> dict[str, Any]:
    """Of the leaf with the longest path in a log of a million."""
    hashes = len(inclusion_ranges(0, EVENTS_VERIFIED))
    key = LogKey("aliquot/0123456789abcdef", b"\x01" * 32)
    note = key.sign(checkpoint_text(TreeHead(key.origin, EVENTS_VERIFIED, bytes(32))))
    path = f"{base64.b64encode(bytes(32)).decode()}\n" * hashes
    whole = len(f"c2sp.org/tlog-proof@v1\nindex {EVENTS_VERIFIED}\n{path}\n{note}".encode())
    notes = f"{hashes} hashes; as a C2SP tlog-proof file in base64 with its signed checkpoint: {whole:,} bytes"
    return row("inclusion proof in a log of 1,000,000", "≤ 1 KB", [hashes * 32], " bytes", "1", notes)


def row(name: str, budget: str, values: Sequence[float], unit: str, n: str, notes: str, *, digits: int = 0) -> dict[str, Any]:
    shown = [f"{value:,.{digits}f}" for value in (median(values), min(values), max(values))]
    measured = f"{shown[0]}{unit}" if len(values) == 1 else f"{shown[0]}{unit} ({shown[1]}–{shown[2]})"
    return {"name": name, "budget": budget, "measured": measured, "n": n, "notes": notes}


def main(arguments: list[str]) -> None:
    """Without arguments: measure and print. `verify COUNT`: verification only. Else: one of the processes of a measurement."""
    if not arguments:
        for measured in rows(None):
            print(measured)
        return
    if arguments[0] == "verify":
        print(*verifying(int(arguments[1])))
        return
    mode, url, folder = arguments
    with suppress(KeyboardInterrupt):
        asyncio.run(sequence(url, Path(folder)) if mode == "sequencer" else write(mode, url, Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
