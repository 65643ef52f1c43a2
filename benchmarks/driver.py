"""A lean client for many streams at once: raw HTTP/1.1, server-sent events, times in monotonic microseconds."""

import asyncio
import json
import re
import time
from dataclasses import dataclass, field

_TOKEN = re.compile(rb"(\d{6,}) ")


@dataclass(slots=True)
class Stream:
    """What one stream saw. Times in microseconds of the machine's monotonic clock."""

    sent_at: int
    first_at: int | None = None
    delays: list[int] = field(default_factory=list)
    """Per token: received − sent by the upstream."""
    arrivals: list[int] = field(default_factory=list)
    bytes: int = 0
    finished: bool = False


async def watch(port: int, path: str, body: dict[str, object], headers: dict[str, str]) -> Stream:
    """Post `body` and read the stream to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    payload = json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/json",
        f"content-length: {len(payload)}",
        "connection: close",
    ]
    lines += [f"{k}: {v}" for k, v in headers.items()]
    stream = Stream(sent_at=_now())
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + payload)
    tail = b""
    while piece := await reader.read(65_536):
        at = _now()
        stream.bytes += len(piece)
        data = tail + piece
        cut = data.rfind(b"\n") + 1
        tail = data[cut:]
        for match in _TOKEN.finditer(data[:cut]):
            stream.delays.append(at - int(match[1]))
            stream.arrivals.append(at)
            stream.first_at = stream.first_at or at
        if b"event: done" in data or b"[DONE]" in data:
            stream.finished = True
    writer.close()
    return stream


def _now() -> int:
    return time.monotonic_ns() // 1000


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of `values` lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
