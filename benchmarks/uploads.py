"""A file of almost 10 MB from the first byte sent to the answer: stored sealed, scanned by a clamd-speaking peer, its text extracted.

The files are real ones: a PDF of a thousand pages, a workbook of numbers that hardly compress, plain text.
"""

import asyncio
import io
import random
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import openpyxl

from benchmarks.streams import bench
from tests.documents.files import pdf
from tests.peers.clamd import Clamd, clamd

_SIZE = 10_000_000
_TIMES = 5
_WORDS = [
    "the",
    "sample",
    "was",
    "spun",
    "down",
    "and",
    "the",
    "supernatant",
    "measured",
    "at",
    "260",
    "nm",
    "before",
    "the",
    "next",
    "dilution",
    "of",
    "the",
    "lysis",
    "buffer",
]


def rows(context: Any = None) -> list[dict[str, Any]]:
    """All rows of this module."""
    del context
    chance = random.Random(1)
    made = {"PDF": ("a.pdf", _pdf(chance)), "XLSX": ("a.xlsx", _xlsx(chance)), "text": ("a.txt", _text(chance))}
    with _scanner() as port, bench("mock-ttft0-itl0-len1", CLAMAV_HOST="127.0.0.1", CLAMAV_PORT=str(port)) as site:
        headers = {"authorization": f"Bearer {site.token}"}
        with httpx2.Client(base_url=f"http://127.0.0.1:{site.port}", headers=headers, timeout=60) as client:
            return [_row(client, kind, name, data) for kind, (name, data) in made.items()]


def _row(client: httpx2.Client, kind: str, name: str, data: bytes) -> dict[str, Any]:
    times, told = [], {}
    for _ in range(_TIMES):
        begun = time.perf_counter()
        answer = client.post("/api/attachments", files={"file": (name, data)})
        times.append(time.perf_counter() - begun)
        answer.raise_for_status()
        told = answer.json()
        client.delete(f"/api/attachments/{told['id']}").raise_for_status()
    return {
        "name": f"upload of {len(data) / 1e6:.1f} MB of {kind}", "budget": "< 5 s", "n": _TIMES,
        "measured": f"p50 {statistics.median(times):.2f} s, max {max(times):.2f} s", "notes": f"{told['state']}, text: {told['reading']}",
    }  # fmt: skip


@contextmanager
def _scanner() -> Iterator[int]:
    """The tests' peer in a thread of its own; its port."""
    peer, ready, stop = Clamd(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with clamd(peer):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait(10)
    try:
        yield peer.port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def _text(chance: random.Random) -> bytes:
    return " ".join(chance.choices(_WORDS, k=_SIZE // 6)).encode()[:_SIZE]


def _pdf(chance: random.Random) -> bytes:
    return pdf(*(" ".join(chance.choices(_WORDS, k=1_600)) for _ in range(1_050)))


def _xlsx(chance: random.Random) -> bytes:
    book, file = openpyxl.Workbook(write_only=True), io.BytesIO()
    sheet = book.create_sheet()
    for _ in range(155_000):
        sheet.append([chance.random() for _ in range(5)])
    book.save(file)
    return file.getvalue()
