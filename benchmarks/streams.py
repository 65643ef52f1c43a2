"""Streams (DESIGN §6): added time to the first token, CPU per token, gaps, memory, bytes, plain reads, starting times.

Server, upstream and driver are processes of one machine; on 2 cores they share them, so times are pessimistic and CPU per token is
the figure to trust. Everything a stream does in production happens here: authentication, limits, persistence, audit, fan-out.

CPU is told three ways: per token with everything in it; per run that is started and ended (answers of one token); and per token alone,
which is the first without the second. What the idle server does meanwhile (leases, sequencer, jobs) is in all of them.
"""

import asyncio
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.driver import Reads, Stream, percentile, watch
from benchmarks.load_watch import database_of, sample

ROOT = Path(__file__).parent.parent
TTFT_MS = 20
_PASSWORD = "benchmark password"
LIFTED = {
    "ALIQUOT_LIMIT_RUN_STARTS_PER_MINUTE": "1000000", "ALIQUOT_LIMIT_MODEL_TOKENS_PER_HOUR": "1000000000",
    "ALIQUOT_LIMIT_REQUESTS_PER_MINUTE": "1000000", "ALIQUOT_LIMIT_COST_PER_DAY": "1000000",
}  # fmt: skip
MODELS = """
[[models]]
name = "mock"
provider = "openai-compatible"
base_url = "http://127.0.0.1:{port}/v1"
model = "{model}"
context_tokens = 100000
requests_in_flight = 2000

[[models]]
name = "short"
provider = "openai-compatible"
base_url = "http://127.0.0.1:{port}/v1"
model = "mock-ttft20-itl0-len1"
context_tokens = 100000
requests_in_flight = 2000
"""


@dataclass(frozen=True)
class Cpu:
    """CPU seconds of the server, and of its PostgreSQL."""

    server: float
    database: float

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.server - other.server, self.database - other.database)

    def less(self, other: "Cpu", times: float) -> "Cpu":
        """Without `times` what `other` took."""
        return Cpu(self.server - other.server * times, self.database - other.database * times)

    def per(self, count: int) -> "Cpu":
        """In milliseconds, for each of `count`."""
        return Cpu(self.server / count * 1000, self.database / count * 1000)


@dataclass
class Process:
    """A process under measurement."""

    popen: subprocess.Popen[bytes]

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        line = next(x for x in Path(f"/proc/{self.popen.pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def stop(self) -> None:
        self.popen.send_signal(signal.SIGINT)
        self.popen.wait(60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(arguments: list[str], health: str, **env: str) -> Iterator[Process]:
    """A process, ready when `health` answers."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ALIQUOT_", "DATABASE_"))}
    process = Process(
        subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=clean | env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    )
    try:
        _wait(process, health)
        yield process
    finally:
        process.stop()


def _wait(process: Process, url: str) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.popen.poll() is None:
        try:
            httpx2.get(url, timeout=1)
            return
        except httpx2.HTTPError:
            time.sleep(0.02)
    raise RuntimeError(f"{process.popen.args} did not become ready")


@dataclass
class Bench:
    """One server in front of one upstream."""

    server: Process
    database: int | None
    port: int
    token: str

    def cpu(self) -> Cpu:
        seen = sample(self.server.popen.pid, self.database)
        return Cpu(seen.cpu, seen.database_cpu)

    async def load(self, streams: int, over_seconds: float, model: str = "mock") -> tuple[list[Stream], Cpu]:
        """`streams` questions, their starts spread evenly over `over_seconds`; the streams and the CPU time they took."""
        headers = {"authorization": f"Bearer {self.token}"}
        before = self.cpu()

        async def one(index: int) -> Stream:
            await asyncio.sleep(over_seconds * index / streams)
            return await watch(self.port, "/api/chat/stream?format=events", {"message": "count", "model": model}, headers)

        seen = await asyncio.gather(*(one(i) for i in range(streams)))
        return list(seen), self.cpu() - before

    def settled_load(self, streams: int, over_seconds: float, model: str = "mock") -> tuple[list[Stream], Cpu]:
        """`load`; every stream got all its tokens, or an error."""
        seen, cpu = asyncio.run(self.load(streams, over_seconds, model))
        if not all(stream.finished for stream in seen):
            raise RuntimeError(f"{sum(not s.finished for s in seen)} of {streams} streams did not end")
        return seen, cpu


@contextlib.contextmanager
def bench(model: str, **settings: str) -> Iterator[Bench]:
    """A fresh site with the mock model `model`; `settings` are further environment variables."""
    with tempfile.TemporaryDirectory() as folder:
        upstream, port = free_port(), free_port()
        models = Path(folder) / "models.toml"
        models.write_text(MODELS.format(port=upstream, model=model))
        env = {
            "ALIQUOT_DATA_DIR": f"{folder}/data",
            "ALIQUOT_PORT": str(port),
            "ALIQUOT_MODELS": str(models),
            "ALIQUOT_DEMO_PASSWORD": _PASSWORD,
        }
        upstream_process = subprocess.Popen([sys.executable, "-m", "benchmarks.upstream", str(upstream)], cwd=ROOT)
        try:
            with started(["-m", "aliquot.cli.main", "serve"], f"http://127.0.0.1:{port}/api/health", **env, **LIFTED, **settings) as server:
                login = httpx2.post(f"http://127.0.0.1:{port}/api/auth/login", json={"email": "scientist@demo.lab", "password": _PASSWORD})
                yield Bench(server, database_of(server.popen.pid), port, login.json()["token"])
        finally:
            upstream_process.kill()
            upstream_process.wait()


def first_tokens(streams: list[Stream]) -> list[float]:
    """Added milliseconds to the first token: what the client waited beyond the upstream's own time."""
    return [(s.first_at - s.sent_at) / 1000 - TTFT_MS for s in streams if s.first_at is not None]


def tokens(streams: list[Stream]) -> int:
    return sum(len(s.delays) for s in streams)


def rows(context: Any = None) -> list[dict[str, Any]]:
    """All rows of this module: {name, budget, measured, n, notes}."""
    del context
    return [row for part in PARTS for row in part()]


def _row(name: str, budget: str, measured: str, n: int, notes: str = "") -> dict[str, Any]:
    return {"name": name, "budget": budget, "measured": measured, "n": n, "notes": notes}


def _spread() -> list[dict[str, Any]]:
    runs, sizes, whole, started, alone = [], [], [], [], []
    with bench(f"mock-ttft{TTFT_MS}-itl50-len200") as site:
        site.settled_load(10, 1)  # warm-up
        site.settled_load(10, 1, "short")
        idle = _idle(site)
        for _ in range(3):
            short = site.settled_load(50, 5, "short")[1].per(50)
            streams, cpu = site.settled_load(50, 5)
            assert all(len(s.delays) == 200 for s in streams), "a stream lost tokens"
            runs.append(first_tokens(streams))
            started.append(short)
            whole.append(cpu.per(tokens(streams)))
            alone.append(cpu.per(1).less(short, 50).per(1000 * (tokens(streams) - 50)))
            sizes.append(statistics.median(s.bytes for s in streams) / 200)
        site.settled_load(100, 2)
        memory = site.server.rss_mb()
    p50, p95 = [statistics.median(r) for r in runs], [percentile(r, 0.95) for r in runs]
    return [
        _row("added time to first token, 50 streams over 5 s", "p50 ≤ 15 ms, p95 ≤ 40 ms", f"p50 {_spread_of(p50)} ms, p95 {_spread_of(p95)} ms", 150),
        *_cpu_rows("50 streams at 20 tokens/s", "≤ 0.10 ms", 30_000, whole, alone),
        _row("CPU per run started and ended (1 token)", "", f"{_spread_of([c.server for c in started])} ms", 150, _also(started, 1)),
        _row("idle server", "", f"{idle.server:.1f} ms of CPU per second", 1, f"PostgreSQL {idle.database:.1f} ms"),
        _row("resident memory with 100 streams", "≤ 250 MB", f"{memory:.0f} MB", 1, "server process"),
        _row("bytes per token of answer", "linear", f"{_spread_of(sizes, 0)} bytes", 150, "SSE `events`, 17 characters a token"),
    ]  # fmt: skip


def _idle(site: Bench, seconds: int = 5) -> Cpu:
    before = site.cpu()
    time.sleep(seconds)
    return (site.cpu() - before).per(seconds)


def _cpu_rows(what: str, budget: str, n: int, whole: list[Cpu], alone: list[Cpu]) -> list[dict[str, Any]]:
    return [
        _row(f"CPU per streamed token, {what}", budget, f"{_spread_of([c.server for c in whole], 3)} ms", n, "server process, starting and ending each run included; " + _also(whole)),
        _row(f"CPU per streamed token alone, {what}", budget, f"{_spread_of([c.server for c in alone], 3)} ms", n, "without what answers of one token take; " + _also(alone)),
    ]  # fmt: skip


def _also(seen: list[Cpu], digits: int = 3) -> str:
    return f"PostgreSQL {_spread_of([c.database for c in seen], digits)} ms more"


def _at_once() -> list[dict[str, Any]]:
    p50, p95 = [], []
    with bench(f"mock-ttft{TTFT_MS}-itl50-len40") as site:
        site.settled_load(10, 1)
        for _ in range(5):
            waited = first_tokens(site.settled_load(50, 0)[0])
            p50.append(statistics.median(waited))
            p95.append(percentile(waited, 0.95))
    return [_row("first token, 50 streams at once", "p50 ≤ 150 ms", f"p50 {_spread_of(p50)} ms", 250, f"p95 {_spread_of(p95)} ms")]


def _held(count: int) -> list[dict[str, Any]]:
    with bench(f"mock-ttft{TTFT_MS}-itl50-len300") as site:
        site.settled_load(20, 1)
        short = site.settled_load(count, 10, "short")[1].per(count)
        streams, cpu = site.settled_load(count, 10)
        lost = count * 300 - tokens(streams)
        gaps = [(b - a) / 1000 - 50 for s in streams for a, b in zip(s.arrivals, s.arrivals[1:], strict=False)]
        added = [d / 1000 for s in streams for d in s.delays]
    alone = cpu.per(1).less(short, count).per(1000 * (tokens(streams) - count))
    return [
        _row(f"{count} streams at 20 tokens/s: p99 gap added", "< 100 ms", f"p50 {statistics.median(gaps):.0f} ms, p99 {percentile(gaps, 0.99):.0f} ms", count,
             f"time on the way per token p50 {statistics.median(added):.0f} ms, p99 {percentile(added, 0.99):.0f} ms; tokens lost: {lost}"),
        *_cpu_rows(f"{count} streams", "≤ 0.06 ms", tokens(streams), [cpu.per(tokens(streams))], [alone]),
    ]  # fmt: skip


def _relay() -> list[dict[str, Any]]:
    """The floor on this machine: bytes passed on by a bare ASGI relay, nothing stored."""
    upstream, port = free_port(), free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.upstream", str(upstream)], cwd=ROOT)
    try:
        arguments = ["-m", "uvicorn", "benchmarks.relay:app", "--port", str(port), "--log-level", "warning"]
        with started(arguments, f"http://127.0.0.1:{port}/", UPSTREAM=f"http://127.0.0.1:{upstream}") as server:

            async def load() -> list[Stream]:
                body = {"model": f"mock-ttft{TTFT_MS}-itl50-len200"}

                async def one(index: int) -> Stream:
                    await asyncio.sleep(5 * index / 50)
                    return await watch(port, "/v1/chat/completions", dict(body), {})

                return list(await asyncio.gather(*(one(i) for i in range(50))))

            asyncio.run(load())
            before = server.cpu_seconds()
            streams = asyncio.run(load())
            cpu = server.cpu_seconds() - before
    finally:
        process.kill()
        process.wait()
    first = first_tokens(streams)
    return [
        _row("bare relay: added time to first token, 50 streams over 5 s", "floor", f"p50 {statistics.median(first):.1f} ms, p95 {percentile(first, 0.95):.1f} ms", 50, "no authentication, nothing stored"),
        _row("bare relay: CPU per streamed token", "floor", f"{cpu / tokens(streams) * 1000:.3f} ms", tokens(streams)),
    ]  # fmt: skip


def _reads() -> list[dict[str, Any]]:
    with bench("mock-ttft0-itl0-len1") as site:

        async def load(rate: int, seconds: int) -> list[float]:
            times: list[float] = []
            reads = Reads(site.port, "/api/instruments", {"authorization": f"Bearer {site.token}"})

            async def one(due: float) -> None:
                await asyncio.sleep(max(0, due - time.monotonic()))
                started_at = time.monotonic()
                await reads.get()
                times.append((time.monotonic() - started_at) * 1000)

            begin = time.monotonic()
            await asyncio.gather(*(one(begin + i / rate) for i in range(rate * seconds)))
            reads.close()
            return times

        asyncio.run(load(50, 2))
        before = site.cpu()
        times = asyncio.run(load(200, 10))
        cpu = (site.cpu() - before).per(len(times))
    notes = f"GET /api/instruments; {cpu.server:.2f} ms of CPU each, PostgreSQL {cpu.database:.2f} ms; the driver shares the 2 cores"
    measured = f"p50 {statistics.median(times):.1f} ms, p95 {percentile(times, 0.95):.1f} ms"
    return [_row("plain API reads at 200 requests/s", "p95 ≤ 20 ms", measured, len(times), notes)]


def _starts() -> list[dict[str, Any]]:
    first, later = [], []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            port = free_port()
            env = {"ALIQUOT_DATA_DIR": f"{folder}/data", "ALIQUOT_PORT": str(port), "ALIQUOT_DEMO_PASSWORD": _PASSWORD}
            for times in (first, later, later):
                begin = time.monotonic()
                with started(["-m", "aliquot.cli.main", "serve"], f"http://127.0.0.1:{port}/api/health", **env):
                    times.append(time.monotonic() - begin)
    return [
        _row("first ever serve to healthy", "≤ 15 s", f"{_spread_of(first)} s", len(first), "initdb, migrations, demo data"),
        _row("later starts", "≤ 5 s", f"{_spread_of(later)} s", len(later)),
    ]  # fmt: skip


def _spread_of(values: list[float], digits: int = 1) -> str:
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def _held_500() -> list[dict[str, Any]]:
    return _held(500)


PARTS = (_spread, _at_once, _held_500, _relay, _reads, _starts)
"""Measured one after the other, each on a site of its own."""
