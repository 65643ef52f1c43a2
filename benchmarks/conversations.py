"""A conversation of 10,000 messages beside one of 100: pages, tree, branches, search, history, export. And a 10 MB upload.

Reads are timed as a client sees them; CPU is that of the server and of PostgreSQL from /proc, over all repetitions. The long conversation is
imported as a file, so everything in it lies as the product stores it.
"""

import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx2

from benchmarks.driver import percentile
from benchmarks.load_watch import database_of, sample
from benchmarks.streams import Bench, bench

_LONG, _SHORT = 10_000, 100
_REPEAT = 40
_WORDS = "the sample was spun down and the supernatant measured at 260 nm before the next dilution of the lysis buffer"


def rows(context: Any = None) -> list[dict[str, Any]]:
    """All rows of this module."""
    del context
    with bench("mock-ttft0-itl0-len1") as site, _client(site) as client:
        short, long = (_imported(client, count) for count in (_SHORT, _LONG))
        return [*_reads(site, client, short, long), *_writes(client, short, long)]


@contextmanager
def _client(site: Bench) -> Iterator[httpx2.Client]:
    headers = {"authorization": f"Bearer {site.token}"}
    with httpx2.Client(base_url=f"http://127.0.0.1:{site.port}", headers=headers, timeout=300) as client:
        yield client


def _imported(client: httpx2.Client, count: int) -> str:
    """A conversation of `count` messages, most of them in one branch: after every tenth question stand two answers."""
    messages: list[dict[str, Any]] = []
    parent = None
    for n in range(count):
        role = "user" if n % 2 == 0 else "assistant"
        at = f"2026-01-{1 + n // 2000:02}T{n // 100 % 20:02}:{n // 2 % 50:02}:{n % 2:02}.{n % 1000:03}Z"
        message = {
            "id": str(uuid.uuid4()), "parent_id": parent, "role": role, "created_at": at,
            "content": f"Message {n} of {count}: {_WORDS} " * 4 + (f"needle{n}" if n % 1000 == 0 else ""),
        }  # fmt: skip
        messages.append(message)
        if role == "assistant" and n % 20 == 1 and n + 1 < count:
            continue  # the next answer stands beside this one
        parent = message["id"]
    file = {"format": "aliquot-conversation", "version": 1, "exported_at": "2026-11-29T00:00:00.000Z", "id": str(uuid.uuid4()),
            "title": f"{count} messages", "created_at": "2026-01-01T00:00:00.000Z", "head_id": messages[-1]["id"], "messages": messages}  # fmt: skip
    begun = time.monotonic()
    answer = client.post("/api/conversations/import", json=file)
    answer.raise_for_status()
    print(f"  imported {count:,} messages in {time.monotonic() - begun:.1f} s", flush=True)
    return str(answer.json()["id"])


def _reads(site: Bench, client: httpx2.Client, short: str, long: str) -> Iterator[dict[str, Any]]:
    for name, budget, read in _paths(client, long):
        seen = {}
        for conversation in (short, long):
            seen[conversation] = _timed(site, partial(client.get, read(conversation)))
        (quick, _), (times, cpu) = seen[short], seen[long]
        yield {
            "name": f"10,000 messages: {name}", "budget": budget, "n": len(times),
            "measured": f"p50 {statistics.median(times):.1f} ms, p95 {percentile(times, 0.95):.1f} ms",
            "notes": f"CPU server {cpu[0]:.1f} + PostgreSQL {cpu[1]:.1f} ms; with 100 messages p50 {statistics.median(quick):.1f} ms",
        }  # fmt: skip


def _paths(client: httpx2.Client, long: str) -> Iterator[tuple[str, str, Callable[[str], str]]]:
    """What is read of a conversation; places in the middle exist in the long one alone, the short one begins at its end there."""
    middle, branch = _middle(client, long, "all"), _middle(client, long, "shown")
    nodes = _cursor(client, f"/api/conversations/{long}/tree?limit=1000", 5)

    def place(query: str, cursor: str, name: str) -> Callable[[str], str]:
        return lambda c: f"/api/conversations/{c}/{query}" + (f"&{name}={cursor}" if c == long else "")

    yield "newest page of 50", "p95 ≤ 20 ms", lambda c: f"/api/conversations/{c}/messages?limit=50"
    yield "page of 50 in the middle", "p95 ≤ 20 ms", place("messages?limit=50", middle, "before")
    yield "newest page of 50 of the branch", "p95 ≤ 20 ms", lambda c: f"/api/conversations/{c}/messages?limit=50&branch=shown"
    yield "page of 50 in the middle of the branch", "p95 ≤ 20 ms", place("messages?limit=50&branch=shown", branch, "before")
    yield "tree, first 1,000 nodes", "–", lambda c: f"/api/conversations/{c}/tree?limit=1000"
    yield "tree, 1,000 nodes in the middle", "–", place("tree?limit=1000", nodes, "after")
    yield "search, a rare word", "–", lambda _: "/api/conversations?q=needle5000"


def _middle(client: httpx2.Client, conversation: str, branch: str) -> str:
    return _cursor(client, f"/api/conversations/{conversation}/messages?limit=200&branch={branch}", 25, "before")


def _cursor(client: httpx2.Client, path: str, pages: int, name: str = "after") -> str:
    """The cursor after so many pages."""
    cursor = ""
    for _ in range(pages):
        answer = client.get(path + (f"&{name}={cursor}" if cursor else "")).json()
        cursor = answer["next"]
    return cursor


def _timed(site: Bench, ask: Callable[[], httpx2.Response]) -> tuple[list[float], tuple[float, float]]:
    """Milliseconds of each request; and of CPU per request in the server and in PostgreSQL."""
    pid = site.server.popen.pid
    for _ in range(3):
        ask().raise_for_status()
    before, times = sample(pid, database_of(pid)), []
    for _ in range(_REPEAT):
        begun = time.perf_counter()
        answer = ask()
        times.append((time.perf_counter() - begun) * 1000)
        answer.raise_for_status()
    after = sample(pid, database_of(pid))
    return times, ((after.cpu - before.cpu) * 1000 / _REPEAT, (after.database_cpu - before.database_cpu) * 1000 / _REPEAT)


def _writes(client: httpx2.Client, short: str, long: str) -> Iterator[dict[str, Any]]:
    """A question at the end (its history goes to the model), the head moved across the whole conversation, exports."""
    seen: dict[tuple[str, str], float] = {}
    for conversation in (short, long):
        nodes = client.get(f"/api/conversations/{conversation}/tree?limit=2").json()["items"]
        for name, ask in (
            ("export as JSON", lambda c=conversation: client.post(f"/api/conversations/{c}/export", json={"format": "json"})),
            ("export as Markdown", lambda c=conversation: client.post(f"/api/conversations/{c}/export", json={"format": "markdown"})),
            ("export as PDF", lambda c=conversation: client.post(f"/api/conversations/{c}/export", json={"format": "pdf"})),
            ("question and answer", lambda c=conversation: client.post("/api/chat/completion", json={"message": "count", "conversationId": c})),
            ("showing the branch through the first message", lambda c=conversation, n=nodes[0]["id"]: client.put(f"/api/conversations/{c}/head", json={"message_id": n})),
        ):  # fmt: skip
            times = []
            for _ in range(1 if "export" in name and conversation == long else 5):
                begun = time.perf_counter()
                answer = ask()
                times.append((time.perf_counter() - begun) * 1000)
                if answer.status_code >= 400:
                    print(name, answer.status_code, answer.text[:200])
            seen[name, conversation] = statistics.median(times)
    for name in dict.fromkeys(name for name, _ in seen):
        yield {
            "name": f"10,000 messages: {name}", "budget": "< 1 s for 100" if "PDF" in name else "–", "n": 5,
            "measured": f"p50 {seen[name, long]:.0f} ms", "notes": f"with 100 messages {seen[name, short]:.0f} ms",
        }  # fmt: skip
