"""Load: many streams at once that break, resume, read slowly and go on for many turns, at Aliquot or at a peer.

`python -m benchmarks load --streams 50 --seconds 30 --target aliquot --scenario storm`; `--help` lists everything. Lost and doubled tokens
are counted exactly (`load_count`); times are those of undisturbed streams; CPU and memory come from /proc (`load_watch`). The driver runs
in a process of its own beside server, database and upstream: on few cores they share, so CPU per token is the figure to compare.
"""

import argparse
import asyncio
import csv
import json
import os
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.driver import percentile
from benchmarks.load_client import Refused, exchange
from benchmarks.load_count import Answer, Sse
from benchmarks.load_plot import plot
from benchmarks.load_targets import TARGETS, Messages, Target
from benchmarks.load_watch import Sample, sample, watch

_ATTEMPTS_MAX = 50
_BYTES_PER_TOKEN = 60
"""About what a token takes on the wire: where in an answer a connection breaks is drawn from this."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What clients do."""

    cuts: float = 0.0
    """Probability that a connection breaks before its answer is whole; what goes on after it may break again."""
    slow: float = 0.0
    """Share of clients that read about 2 KB/s."""
    turns: int = 1
    """Questions per conversation."""
    streams: float = 1.0
    """Share of `--streams`."""


SCENARIOS = {
    "steady": Scenario(),
    "storm": Scenario(cuts=0.7),
    "slow": Scenario(slow=0.3),
    "long": Scenario(turns=40, streams=0.2),
    "mixed": Scenario(cuts=0.3, slow=0.1, turns=10),
}


@dataclass(slots=True)
class Load:
    """One measurement."""

    target: Target
    scenario: Scenario
    tokens: int
    random: random.Random
    answers: list[Answer] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)

    async def run(self, streams: int, seconds: float, spread: float, every: float) -> None:
        """`streams` clients that ask again as soon as they are answered, until `seconds` have passed; each ends its answer."""
        processes = self.target.server, self.target.database
        self.samples.append(sample(*processes))
        watching = asyncio.create_task(watch(*processes, self.samples, every))
        end = time.monotonic() + seconds
        count = max(1, round(streams * self.scenario.streams))
        try:
            await asyncio.gather(*(self._client(spread * n / count, end) for n in range(count)))
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            self.samples.append(sample(*processes))

    async def _client(self, wait: float, end: float) -> None:
        await asyncio.sleep(wait)
        slow = self.random.random() < self.scenario.slow
        while time.monotonic() < end:
            conversation, messages = f"load-{uuid.uuid4()}", Messages()
            for turn in range(self.scenario.turns):
                if time.monotonic() >= end:
                    break
                messages.append({"role": "user", "content": f"Question {turn} of {conversation}"})
                answer = Answer(self.tokens, time.monotonic_ns() // 1000, slow)
                await self._ask(answer, conversation, messages)
                self.answers.append(answer)
                messages.append({"role": "assistant", "content": "x " * len(answer.numbers)})

    async def _ask(self, answer: Answer, conversation: str, messages: Messages) -> None:
        """One question, over as many connections as it takes."""
        key, run = str(uuid.uuid4()), None
        for _ in range(_ATTEMPTS_MAX):
            call = self.target.ask(conversation if self.target.keeps else "", key, messages)
            if run is not None and self.target.resume is not None:
                call = self.target.resume(run, answer.last_id)
            connection = _Connection(answer, self.target, self._cut_at())
            try:
                await exchange(self.target.port, call, connection.hear, slow=answer.slow)
            except Refused as refused:
                self.refused[str(refused.status)] += 1
                await asyncio.sleep(0.5)
            except OSError as error:
                self.refused[type(error).__name__] += 1
            run = connection.run or run
            if answer.over:
                return
            answer.cut()
            if connection.begun and self.target.resume is None:
                return
            await asyncio.sleep(self.random.random() * 0.3)

    def _cut_at(self) -> int | None:
        if self.random.random() >= self.scenario.cuts:
            return None
        return int(self.random.random() * self.tokens * _BYTES_PER_TOKEN)


@dataclass(slots=True)
class _Connection:
    """One connection of an answer. It breaks at a byte, wherever in an event that is."""

    answer: Answer
    target: Target
    cut_at: int | None
    run: str | None = None
    begun: bool = False
    _bytes: int = 0
    _sse: Sse = field(default_factory=Sse)

    def hear(self, piece: bytes, at: int) -> bool:
        self.begun = True
        broken = self.cut_at is not None and self._bytes + len(piece) >= self.cut_at
        if broken:
            piece = piece[: (self.cut_at or 0) - self._bytes]
        self._bytes += len(piece)
        self.answer.bytes += len(piece)
        for event in self._sse.feed(piece):
            if event.kind == "run_started":
                self.run = json.loads(event.data)["run_id"]
            self.answer.hear(event, self.target.meaning, at)
        return broken


def figures(load: Load, streams: int) -> dict[str, Any]:
    """What is reported."""
    answers, (first, last) = load.answers, (load.samples[0], load.samples[-1])
    calm = [a for a in answers if not a.cuts and not a.slow]
    tokens, seconds = sum(a.tokens for a in answers), last.at - first.at
    rss = [s.rss for s in load.samples]
    return {
        "streams": streams, "seconds": round(seconds, 1), "answers": len(answers), "tokens": tokens,
        "tokens_per_second": round(tokens / seconds), "disconnections": sum(a.cuts for a in answers), "slow": sum(a.slow for a in answers),
        "lost": sum(a.lost for a in answers), "doubled": sum(a.doubled for a in answers), "misplaced": sum(a.misplaced for a in answers),
        "failed": dict(Counter(a.error for a in answers if a.error)), "unfinished": sum(not a.over for a in answers),
        "refused": dict(load.refused),
        "first_token_ms": _spread(((a.first_at or a.sent_at) - a.sent_at) / 1000 for a in calm if a.first_at),
        "gap_ms": _spread(gap / 1000 for a in calm for gap in a.gaps),
        "on_the_way_ms": _spread(delay / 1000 for a in calm for delay in a.delays),
        "bytes_per_token": round(sum(a.bytes for a in answers) / max(1, tokens)),
        "cpu_us_per_token": round((last.cpu - first.cpu) * 1e6 / max(1, tokens)),
        "database_cpu_us_per_token": round((last.database_cpu - first.database_cpu) * 1e6 / max(1, tokens)),
        "rss_mb": {"first": round(rss[0]), "last": round(rss[-1]), "max": round(max(rss))},
        "database_pss_mb": round(last.database_pss), "load_average": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def _spread(values: Iterable[float]) -> dict[str, float]:
    known = list(values)
    if not known:
        return {}
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {name: round(percentile(known, share), 1) for name, share in shares.items()} | {"max": round(max(known), 1)}


def _row(name: str, scenario: str, seen: dict[str, Any]) -> str:
    """A line of the table in docs/benchmarks.md."""
    first, gap = (
        " / ".join(f"{seen[key].get(p, float('nan')):.0f}" for p in ("p50", "p95", "p99")) for key in ("first_token_ms", "gap_ms")
    )
    cells = [
        name, scenario, seen["streams"], f"{seen['tokens']:,}", seen["disconnections"], f"{seen['lost']:,} / {seen['doubled']:,}", first, gap,
        f"{seen['tokens_per_second']:,}", f"{seen['cpu_us_per_token']} + {seen['database_cpu_us_per_token']}", seen["rss_mb"]["max"],
        seen["load_average"],
    ]  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _write_csv(path: Path, samples: list[Sample]) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["seconds", "server_rss_mb", "server_cpu_s", "database_pss_mb", "database_cpu_s"])
        for s in samples:
            rows.writerow([f"{v:.2f}" for v in (s.at - samples[0].at, s.rss, s.cpu, s.database_pss, s.database_cpu)])


def _arguments(wanted: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks load", description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--target", choices=sorted(TARGETS), default="aliquot")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), default="steady")
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, help="30, or 600 with --soak")
    parser.add_argument("--spread", type=float, default=1.0, help="seconds over which the first questions are spread; 0: all at once")
    parser.add_argument("--model", default="mock-ttft20-itl10-len100", help="ms to the first token, ms between tokens, tokens an answer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--soak", type=Path, metavar="FOLDER", help="write soak.csv and soak.svg (memory over time) there")
    return parser.parse_args(wanted)


def main(wanted: list[str]) -> None:
    """Measure, print the figures as JSON and as a line of the table."""
    asked = _arguments(wanted)
    seconds = asked.seconds or (600.0 if asked.soak else 30.0)
    scenario, tokens = SCENARIOS[asked.scenario], int(asked.model.rsplit("len", 1)[1])
    with TARGETS[asked.target](f"{asked.model}-numbered") as target:
        print(f"{asked.target} is ready; warming up", file=sys.stderr, flush=True)
        warm = Load(target, replace(SCENARIOS["steady"], turns=2), tokens, random.Random(0))
        asyncio.run(warm.run(min(10, asked.streams), 2, 0, 1))
        load = Load(target, scenario, tokens, random.Random(asked.seed))
        asyncio.run(load.run(asked.streams, seconds, asked.spread, 1.0))
    seen = figures(load, asked.streams)
    print(json.dumps(seen, indent=1))
    print(_row(asked.target, asked.scenario, seen))
    if asked.soak:
        write_soak(asked.soak, load.samples, f"{asked.target}: memory, {asked.streams} streams, {asked.scenario}")


def write_soak(folder: Path, samples: list[Sample], title: str) -> None:
    """Memory over time: soak.csv and soak.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(folder / "soak.csv", samples)
    folder.joinpath("soak.svg").write_text(plot(list(_lines(samples)), title, "seconds", "MB"))


def _lines(samples: list[Sample]) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    yield "server (RSS)", [(s.at - samples[0].at, s.rss) for s in samples]
    if any(s.database_pss for s in samples):
        yield "PostgreSQL (PSS)", [(s.at - samples[0].at, s.database_pss) for s in samples]
