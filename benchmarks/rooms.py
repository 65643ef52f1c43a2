"""Conversations open by many people at once, half of them by WebSocket and half by server-sent events.

`python -m benchmarks rooms --people 50 --rooms 2 --seconds 60`: in every room one person after the other asks, all others watch. `--drops`
breaks connections at random, which resume; `--kill` stops the server with kill -9 half-way and starts it again; `--soak FOLDER` writes memory
over time. Afterwards what each watcher heard of each run is compared with the run's log, token by token, and the log with what the upstream
numbered: lost and doubled tokens are counted exactly, and the exit code is 1 when there is one.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import websockets

from benchmarks.driver import percentile
from benchmarks.load import write_soak
from benchmarks.load_client import Call, Refused, exchange
from benchmarks.load_count import Sse
from benchmarks.load_watch import Sample, database_of, sample, watch
from benchmarks.streams import LIFTED, MODELS, ROOT, free_port

_TOKEN = re.compile(r"(\d+):(\d{6,}) ")
_ADMIN, _PASSWORD = "admin@example.org", "Benchmark-password-1"
_ENDS = {"done", "error"}
WRONG = ("lost", "doubled", "streams_with_gaps", "logs_out_of_order")
_ATTEMPTS_SECONDS, _START_SECONDS = 60, 240


@dataclass(slots=True)
class Server:
    """`aliquot serve` on one data folder, which can be killed and started again."""

    port: int
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aliquot.cli.main", "serve"], cwd=ROOT, env=self.env, stdout=quiet, stderr=quiet
        )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(httpx2.HTTPError):
                if httpx2.get(f"http://127.0.0.1:{self.port}/api/health", timeout=2).status_code == 200:
                    return
            time.sleep(0.1)
        raise RuntimeError("the server did not become healthy")

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
                return
            self.process.kill()


@contextmanager
def served(model: str) -> Iterator[Server]:
    """A fresh site before the numbered upstream."""
    with tempfile.TemporaryDirectory() as folder:
        upstream, port = free_port(), free_port()
        models = Path(folder) / "models.toml"
        models.write_text(MODELS.format(port=upstream, model=f"{model}-numbered"))
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("ALIQUOT_", "DATABASE_"))}
        env = clean | LIFTED | {
            "ALIQUOT_DATA_DIR": f"{folder}/data", "ALIQUOT_PORT": str(port), "ALIQUOT_MODELS": str(models), "ALIQUOT_ADMIN_EMAIL": _ADMIN,
            "ALIQUOT_ADMIN_PASSWORD": _PASSWORD, "ALIQUOT_LIMIT_SHARE_PEOPLE": "1000",
        }  # fmt: skip
        mock = subprocess.Popen([sys.executable, "-m", "benchmarks.upstream", str(upstream)], cwd=ROOT)
        server = Server(port, env)
        try:
            server.start()
            yield server
        finally:
            server.stop()
            mock.kill()
            mock.wait()


def people(port: int, count: int) -> list[str]:
    """Tokens of `count` people."""
    tokens = []
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

        def login(email: str, password: str) -> str:
            answer = client.post("/api/auth/login", json={"email": email, "password": password})
            answer.raise_for_status()
            return str(answer.json()["token"])

        admin = {"authorization": f"Bearer {login(_ADMIN, _PASSWORD)}"}
        for n in range(count):
            email = f"person{n}@example.org"
            made = client.post("/api/admin/users", json={"email": email, "name": f"Person {n}", "roles": ["scientist"]}, headers=admin)
            made.raise_for_status()
            first = {"authorization": f"Bearer {login(email, made.json()['password'])}"}
            body = {"old_password": made.json()["password"], "new_password": _PASSWORD + str(n)}
            client.post("/api/auth/password", json=body, headers=first).raise_for_status()
            tokens.append(login(email, _PASSWORD + str(n)))
    return tokens


@dataclass(slots=True)
class Watcher:
    """What one person heard in one room: per run its text in the order of the frames, and each frame's number."""

    kind: str
    texts: dict[str, list[str]] = field(default_factory=dict)
    seqs: dict[str, list[int]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    frames: int = 0
    drops: int = 0
    gaps: list[float] = field(default_factory=list)
    """Milliseconds between pieces of text of a run, on one connection."""
    _at: dict[str, float] = field(default_factory=dict)

    def hear(self, run: str, seq: int, kind: str, text: str) -> None:
        self.frames += 1
        self.seqs.setdefault(run, []).append(seq)
        if kind == "text_delta":
            self.texts.setdefault(run, []).append(text)
            now = time.monotonic()
            if run in self._at:
                self.gaps.append((now - self._at[run]) * 1000)
            self._at[run] = now
        elif kind in _ENDS:
            self.ended.add(run)

    def dropped(self) -> None:
        self.drops += 1
        self._at.clear()


@dataclass(slots=True)
class Room:
    """One conversation and who is in it."""

    port: int
    tokens: list[str]
    conversation: str
    drops: float
    chance: random.Random
    runs: list[str] = field(default_factory=list)
    begun: asyncio.Condition = field(default_factory=asyncio.Condition)
    inside: int = 0
    """How many sockets stand for the first time: before that nobody asks."""
    closing: bool = False
    watchers: list[Watcher] = field(default_factory=list)

    async def live(self, asks_until: float, pause: float) -> None:
        """Until `asks_until` somebody asks; then until everybody heard every run to its end."""
        self.watchers = [Watcher("ws" if n % 2 == 0 else "sse") for n in range(len(self.tokens))]
        inside = [asyncio.create_task(self._inside(n)) for n in range(len(self.tokens))]
        asking = asyncio.create_task(self._ask(asks_until, pause))
        await asking
        deadline = time.monotonic() + _ATTEMPTS_SECONDS
        while time.monotonic() < deadline and not all(set(self.runs) <= w.ended for w in self.watchers):  # noqa: ASYNC110 - told by many
            await asyncio.sleep(0.2)
        self.closing = True
        async with self.begun:
            self.begun.notify_all()
        for task in inside:
            task.cancel()
        await asyncio.gather(*inside, return_exceptions=True)

    async def _ask(self, until: float, pause: float) -> None:
        n = 0
        async with self.begun:
            await self.begun.wait_for(lambda: self.inside == sum(w.kind == "ws" for w in self.watchers))
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=30) as client:
            while time.monotonic() < until:
                headers = {"authorization": f"Bearer {self.tokens[n % len(self.tokens)]}", "idempotency-key": str(uuid.uuid4())}
                await self._post(client, headers, n)
                n += 1
                await asyncio.sleep(pause)

    async def _post(self, client: httpx2.AsyncClient, headers: dict[str, str], n: int) -> None:
        """The same question with the same key until it was taken: the server may be away."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with suppress(httpx2.HTTPError):
                path = f"/api/conversations/{self.conversation}/messages"
                answer = await client.post(path, json={"content": f"Question {n}"}, headers=headers)
                if answer.status_code == 202:
                    self.runs.append(answer.json()["run_id"])
                    async with self.begun:
                        self.begun.notify_all()
                    return
            await asyncio.sleep(0.3)
        raise RuntimeError("a question was never taken")

    async def _inside(self, n: int) -> None:
        await asyncio.sleep(self.chance.random())
        await (self._by_socket(n) if n % 2 == 0 else self._by_stream(n))

    # --- WebSocket, as docs/streams.md says

    async def _by_socket(self, n: int) -> None:
        watcher, after = self.watchers[n], None
        url = f"ws://127.0.0.1:{self.port}/ws/chat/{self.conversation}?token={self.tokens[n]}"
        while not self.closing:
            try:
                async with websockets.connect(url, max_queue=None, open_timeout=20) as ws:
                    after = await self._connection(ws, watcher, after)
                    watcher.dropped()
            except (OSError, websockets.WebSocketException, TimeoutError):
                await asyncio.sleep(0.2 + 0.3 * self.chance.random())

    async def _connection(self, ws: Any, watcher: Watcher, after: dict[str, int] | None) -> dict[str, int]:
        """One connection until it breaks, by itself or by the draw; what was seen then."""
        first = json.loads(await ws.recv())
        if after is None:
            after = dict(first["after"])
            async with self.begun:
                self.inside += 1
                self.begun.notify_all()
        else:
            await ws.send(json.dumps({"type": "resume", "after": after}))
        left = self._until_drop()
        try:
            while left > 0:
                frame = json.loads(await ws.recv())
                left -= 1
                if "seq" in frame:
                    after[frame["run_id"]] = frame["seq"]
                    if frame["seq"] > 0 and frame["type"] != "message_complete":
                        watcher.hear(frame["run_id"], frame["seq"], frame["type"], frame.get("text", ""))
                elif frame["type"] == "error" and frame["code"] == "resume":
                    await ws.send(json.dumps({"type": "resume", "after": after}))
            ws.transport.abort()
        except websockets.ConnectionClosed:
            await asyncio.sleep(0.2 + 0.3 * self.chance.random())
        return after

    def _until_drop(self) -> float:
        return self.chance.randint(5, 200) if self.chance.random() < self.drops else float("inf")

    # --- server-sent events, one stream per run

    async def _by_stream(self, n: int) -> None:
        followed = 0
        async with asyncio.TaskGroup() as group:
            while not self.closing:
                while followed < len(self.runs):
                    group.create_task(self._follow(n, self.runs[followed]))
                    followed += 1
                async with self.begun:
                    if followed == len(self.runs) and not self.closing:
                        await self.begun.wait()

    async def _follow(self, n: int, run: str) -> None:
        watcher, last = self.watchers[n], "0"
        while run not in watcher.ended and not self.closing:
            sse, left = Sse(), self._until_drop()

            def hear(piece: bytes, at: int, sse: Sse = sse) -> bool:
                nonlocal last, left
                for event in sse.feed(piece):
                    if event.id is None:
                        continue
                    last, left = event.id, left - 1
                    watcher.hear(run, int(event.id), event.kind, json.loads(event.data)["text"] if event.kind == "text_delta" else "")
                    if left <= 0:
                        return True
                return False

            headers = {"authorization": f"Bearer {self.tokens[n]}", "last-event-id": last}
            with suppress(Refused, OSError):
                await exchange(self.port, Call("GET", f"/api/runs/{run}/events", None, headers), hear)
                watcher.drops += run not in watcher.ended
            if run not in watcher.ended:
                await asyncio.sleep(0.2 + 0.3 * self.chance.random())


async def opened(port: int, tokens: list[str], drops: float, seed: int) -> Room:
    """A conversation of the first person, shared with the others, who may write."""
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        headers = {"authorization": f"Bearer {tokens[0]}"}
        made = (await client.post("/api/conversations", json={"title": "Room"}, headers=headers)).json()["id"]
        users = [f"person{n}@example.org" for n in range(1, len(tokens))]
        shared = await client.post(f"/api/conversations/{made}/share", json={"users": users, "may_write": True}, headers=headers)
        shared.raise_for_status()
    return Room(port, tokens, made, drops, random.Random(seed))


def against(log: list[dict[str, Any]], run: str, watchers: list[Watcher]) -> Counter[str]:
    """What the watchers heard of a run against its log: tokens lost and doubled, streams whose frames are not the log's; and whether the
    log holds the upstream's tokens in their order."""
    truth = _TOKEN.findall("".join(event["text"] for event in log if event["type"] == "text_delta"))
    found = Counter(logs_out_of_order=int([int(n) for n, _ in truth] != list(range(len(truth)))))
    for watcher in watchers:
        heard = Counter(_TOKEN.findall("".join(watcher.texts.get(run, ()))))
        found["lost"] += sum((Counter(truth) - heard).values())
        found["doubled"] += sum((heard - Counter(truth)).values())
        found["streams_with_gaps"] += watcher.seqs.get(run) != [event["seq"] for event in log]
    return found


async def verdict(room: Room) -> tuple[Counter[str], Counter[str]]:
    """How the room's runs ended, and what was heard of them."""
    states, found = Counter[str](), Counter[str]()
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{room.port}", timeout=60) as client:
        for run in room.runs:
            log = await _log(client, room.tokens[0], run)
            states[log[-1]["type"] if log[-1]["type"] == "done" else log[-1]["code"]] += 1
            found += against(log, run, room.watchers)
    return states, found


async def _log(client: httpx2.AsyncClient, token: str, run: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
    while not events or events[-1]["type"] not in _ENDS:
        page = await client.get(f"/api/runs/{run}/events", params={"after": len(events), "wait": 20}, headers=headers)
        page.raise_for_status()
        events += page.json()["events"]
    return events


@asynccontextmanager
async def _killed(server: Server, at: float | None, samples: list[Sample], every: float) -> AsyncIterator[None]:
    """Watch memory and CPU meanwhile; with `at` kill the server then and start it again."""

    async def work() -> None:
        watching = asyncio.create_task(watch(server.pid, database_of(server.pid), samples, every))
        try:
            if at is not None:
                await asyncio.sleep(at)
                watching.cancel()
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
                watching = asyncio.create_task(watch(server.pid, database_of(server.pid), samples, every))
            await asyncio.Event().wait()
        finally:
            watching.cancel()

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def measure(server: Server, asked: argparse.Namespace) -> tuple[dict[str, Any], list[Sample]]:
    """Everything; the figures and the samples."""
    tokens = people(server.port, asked.people)
    rooms = [await opened(server.port, tokens, asked.drops, asked.seed + n) for n in range(asked.rooms)]
    samples: list[Sample] = []
    before = sample(server.pid, database_of(server.pid))
    async with _killed(server, asked.seconds / 2 if asked.kill else None, samples, 1.0):
        until = time.monotonic() + asked.seconds
        await asyncio.gather(*(room.live(until, asked.pause) for room in rooms))
    after = sample(server.pid, database_of(server.pid))
    found = [await verdict(room) for room in rooms]
    watchers = [watcher for room in rooms for watcher in room.watchers]
    frames = sum(watcher.frames for watcher in watchers)
    states = sum((one for one, _ in found), Counter[str]())
    totals = {name: sum(one[name] for _, one in found) for name in WRONG}
    gaps = {kind: [gap for w in watchers if w.kind == kind for gap in w.gaps] for kind in ("ws", "sse")}
    cpu = after.cpu - before.cpu if not asked.kill else float("nan")
    return {
        "rooms": asked.rooms, "people": asked.people, "seconds": asked.seconds, "runs": dict(states), "frames_delivered": frames,
        "drops": sum(w.drops for w in watchers), **totals,
        "cpu_us_per_frame": {"server": round(cpu * 1e6 / max(1, frames), 1) if not asked.kill else None},
        "gap_ms": {kind: {"p50": round(percentile(v, 0.5), 1), "p99": round(percentile(v, 0.99), 1)} for kind, v in gaps.items() if v},
        "rss_mb": {"first": round(before.rss), "last": round(after.rss)}, "load_average": round(os.getloadavg()[0], 1),
    }, samples  # fmt: skip


def main(wanted: list[str]) -> None:
    """Measure, print the figures as JSON; exit 1 when a token was lost or doubled."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks rooms", description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--rooms", type=int, default=2)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=5.0, help="seconds between two questions in a room")
    parser.add_argument("--drops", type=float, default=0.0, help="probability that a connection breaks after 5 to 200 frames")
    parser.add_argument("--kill", action="store_true", help="kill -9 half-way, and start again")
    parser.add_argument("--model", default="mock-ttft20-itl50-len100", help="ms to the first token, ms between tokens, tokens an answer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--soak", type=Path, metavar="FOLDER", help="write soak.csv and soak.svg (memory over time) there")
    asked = parser.parse_args(wanted)
    with served(asked.model) as server:
        seen, samples = asyncio.run(measure(server, asked))
    print(json.dumps(seen, indent=1))
    if asked.soak:
        write_soak(asked.soak, samples, f"{asked.rooms} rooms of {asked.people} people: memory")
    wrong = sum(seen[name] for name in WRONG)
    print("nothing lost, nothing doubled" if not wrong else "LOST OR DOUBLED")
    sys.exit(1 if wrong else 0)
