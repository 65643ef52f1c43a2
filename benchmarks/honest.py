"""No false alarm: an honest log of 1,000,000 events made by the writing path of the product, judged by everything that judges logs.

In front is the whole site: people log in, ask, sign, take signatures back, are erased; the log's key is rotated and heartbeats come. Between
them tool events are appended in transactions of 500. Then the log is exported and given to `aliquot-verify --strict`, to the verifier in
JavaScript, and `aliquot log check` compares it with the database. Whatever any of them says is an alarm. `ALIQUOT_BENCH_HONEST` sets how many.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from aliquot.bootstrap import Background, DatabaseUrls, Services, build
from aliquot.demo.seed import seed
from aliquot.ledger.note import load_log_key
from aliquot.platform.fingerprint import require_same_keys
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Vault, load_root_key
from aliquot.web.app import create_app
from benchmarks.ledger import Cluster, cluster, event

COUNT = int(os.environ.get("ALIQUOT_BENCH_HONEST", "1000000"))
SCENES = 20
BATCH = 500
HEARTBEAT_SECONDS = 3
_PASSWORD = "correct horse battery"
_CLI = Path(__file__).parent.parent / "verifier-js" / "cli.js"


@dataclass(frozen=True)
class Judged:
    """What one judge said, how long it took and how much memory it had at most."""

    alarms: int
    seconds: float
    megabytes: float
    said: str


def rows(_context: object) -> list[dict[str, Any]]:
    """What `python -m benchmarks` calls."""
    with cluster() as running:
        return list(asyncio.run(measured(running)))


async def measured(running: Cluster) -> list[dict[str, Any]]:
    bundle = running.folder / "honest.zip"
    started = time.monotonic()
    async with site(running) as (services, people):
        vkey = services.log_keys.current().vkey  # the first one: the rotations lead on from it
        await write(services, people, COUNT)
        written = time.monotonic() - started
        counts, exported = await export(people, bundle)
    judges = {
        "aliquot-verify --strict": judge(verifier(bundle, vkey)),
        "JavaScript verifier (node)": judge(["node", str(_CLI), str(bundle), "--vkey", vkey, "--strict"]),
        "aliquot log check": judge([str(_bin("aliquot")), "log", "check"], environment(running)),
    }
    size = sum(counts.values())
    made = ", ".join(f"{counts[action]} {action}" for action in _TOLD if action in counts)
    notes = f"{written:.0f} s to write ({size / written:,.0f}/s), {exported:.0f} s to export {bundle.stat().st_size / 1e6:.0f} MB; among them {made}"
    alarms = sum(judged.alarms for judged in judges.values())
    return [
        _row(f"alarms over {size:,} honest events", "0", str(alarms), notes),
        *(_row(f"{name}, {size:,} honest events", "0 alarms", f"{j.alarms} alarms, {j.seconds:.1f} s", f"{j.megabytes:.0f} MB; {j.said}")
          for name, j in judges.items()),
    ]  # fmt: skip


_TOLD = ("signature.created", "signature.revoked", "subject.erased", "log_key.rotated", "log.heartbeat", "run.ended", "login.succeeded")


@asynccontextmanager
async def site(running: Cluster) -> AsyncIterator[tuple[Services, httpx2.AsyncClient]]:
    """Everything of a server but the socket, on a seeded database; and a client that is nobody yet."""
    settings = Settings(data_dir=running.folder / "data", heartbeat_seconds=HEARTBEAT_SECONDS, shutdown_seconds=1)
    settings.data_dir.mkdir()
    vault = Vault(load_root_key(None, settings.keys_dir), settings.keys_dir)
    require_same_keys(running.owner, vault, load_log_key(settings.keys_dir).origin, claim=True)
    services = build(settings, vault, DatabaseUrls(app=running.app, sequencer=running.sequencer))
    await seed(services, _PASSWORD)
    async with services.db.begin() as tx:
        await services.identity.create_person(tx, email="admin@demo.lab", name="Ada Admin", roles=["admin"], password=_PASSWORD)
    background = Background(services, alone=True)
    await background.start()
    transport = httpx2.ASGITransport(app=create_app(services))
    try:
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=600) as client:
            yield services, client
    finally:
        await background.stop()


async def write(services: Services, people: httpx2.AsyncClient, count: int) -> None:
    """`count` events, give or take a batch: what people do in scenes, tool events between them."""
    person = uuid.uuid4()
    services.vault.ensure_subject(person)
    for number in range(SCENES):
        await scene(services, people, number)
        target = count * (number + 1) // SCENES
        while (size := await length(services)) < target:
            for _ in range(min(40, -(-(target - size) // BATCH))):
                async with services.db.begin() as tx:
                    await services.ledger.append_many(tx, [event(person) for _ in range(BATCH)])
    await scene(services, people, SCENES)


async def length(services: Services) -> int:
    """How many events were written, placed in the log or not."""
    async with services.db.begin() as tx:
        status = await services.ledger.status(tx)
    return status.size + status.waiting


async def scene(services: Services, client: httpx2.AsyncClient, number: int) -> None:
    """Somebody signs, every other time takes it back; somebody else is erased; every fifth time the log gets a new key; silence."""
    async with services.db.begin() as tx:
        for role in ("scientist", "viewer"):
            made = await services.identity.create_person(
                tx, email=f"{role}{number}@demo.lab", name=f"{role} {number}", roles=[role], password=_PASSWORD
            )
            if role == "scientist":
                await services.signatures.accept_for(tx, made.person.id)
    signer, leaver, admin = [await entered(client, f"{who}@demo.lab") for who in (f"scientist{number}", f"viewer{number}", "admin")]
    asked = await post(client, signer, "/api/chat/completion", {"message": "Is PCR-02 free?"})
    await post(client, leaver, "/api/chat/completion", {"message": "Which protocols are there?"})
    signatures = f"/api/records/conversation/{asked['conversation_id']}/signatures"
    signed = await post(client, signer, signatures, {"meaning": "review", "password": _PASSWORD})
    if number % 2:
        await post(client, signer, f"{signatures}/{signed['id']}/revoke", {"reason": "the wrong one", "password": _PASSWORD})
    await post(client, admin, "/api/admin/erasure", {"subject": f"viewer{number}@demo.lab", "reason": "asked to", "password": _PASSWORD})
    if number % 5 == 4:
        async with services.db.begin() as tx:
            await services.ledger.rotate_key(tx, services.log_keys)
    await asyncio.sleep(HEARTBEAT_SECONDS * 1.5)


async def entered(client: httpx2.AsyncClient, email: str) -> dict[str, str]:
    answer = await client.post("/api/auth/login", json={"email": email, "password": _PASSWORD})
    return {"Authorization": f"Bearer {answer.raise_for_status().json()['token']}"}


async def post(client: httpx2.AsyncClient, who: Mapping[str, str], path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    answer = await client.post(path, json=dict(body), headers=dict(who))
    if answer.status_code >= 300:
        raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:200]}")
    found: dict[str, Any] = answer.json()
    return found


async def export(client: httpx2.AsyncClient, bundle: Path) -> tuple[dict[str, int], float]:
    """The bundle of the whole log by HTTP; how many events of each action it holds, and how long it took."""
    started = time.monotonic()
    admin = await entered(client, "admin@demo.lab")
    async with client.stream("POST", "/api/audit/export", headers=admin) as answer:
        answer.raise_for_status()
        with bundle.open("wb") as file:
            async for piece in answer.aiter_bytes():
                file.write(piece)
    return await asyncio.to_thread(counted, bundle), time.monotonic() - started


def counted(bundle: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    unpacked = subprocess.Popen(["unzip", "-p", str(bundle), "events.jsonl"], stdout=subprocess.PIPE)
    assert unpacked.stdout is not None
    for line in unpacked.stdout:
        found = re.search(rb'"action":"([^"]+)"', line)
        if found is not None:
            counts[found[1].decode()] = counts.get(found[1].decode(), 0) + 1
    unpacked.wait(60)
    return counts


def verifier(bundle: Path, vkey: str) -> list[str]:
    return [str(_bin("aliquot-verify")), str(bundle), "--vkey", vkey, "--strict", "--json"]


def judge(command: Sequence[str], env: Mapping[str, str] | None = None) -> Judged:
    """Run one judge; anything but success is at least one alarm. A small process between measures the memory: a fork counts its parent's."""
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", _WATCH, *command], capture_output=True, text=True, env=env, check=False)
    seconds, status, text = time.monotonic() - started, done.returncode, done.stdout.strip()
    kilobytes = int(done.stderr.strip().rsplit("\n", 1)[-1])
    findings = _findings(text)
    if status != 0:
        print(f"ALARM by {command[0]}:\n{text[:4000]}", file=sys.stderr)
    shown = f"exit code 0, {findings} findings" if status == 0 else f"exit status {status}"
    return Judged(max(findings, int(status != 0)), seconds, kilobytes / 1024, shown)


_WATCH = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stderr=subprocess.STDOUT).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


def _findings(text: str) -> int:
    """How many findings, notices too, a report in JSON holds; 0 for what is no report."""
    try:
        report = json.loads(text)
    except ValueError:
        return 0
    return sum(len(report.get(name, ())) for name in ("findings", "faults", "notices"))


def environment(running: Cluster) -> dict[str, str]:
    """How `aliquot log check` finds this installation."""
    return os.environ | {
        "ALIQUOT_DATA_DIR": str(running.folder / "data"), "DATABASE_URL_APP": running.app, "DATABASE_URL_SEQUENCER": running.sequencer,
    }  # fmt: skip


def _bin(name: str) -> Path:
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise RuntimeError(f"{name} is not installed beside {sys.executable}")
    return Path(found)


def _row(name: str, budget: str, measured: str, notes: str) -> dict[str, Any]:
    return {"name": name, "budget": budget, "measured": measured, "n": "1", "notes": notes}
