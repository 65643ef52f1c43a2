"""A lean client for many streams at once: raw HTTP/1.1, server-sent events, times in monotonic microseconds."""

import asyncio
import json
import re
import time
from dataclasses import dataclass, field

_TOKEN = re.compile(rb"(\d{6,}) ")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")


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


class Reads:
    """Plain GETs over kept connections: costs this process a tenth of what a full client does, whose own queue would be measured too."""

    def __init__(self, port: int, path: str, headers: dict[str, str]) -> None:
        lines = [f"GET {path} HTTP/1.1", "host: 127.0.0.1", *(f"{k}: {v}" for k, v in headers.items())]
        self._port, self._request = port, "\r\n".join(lines).encode() + b"\r\n\r\n"
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(self) -> None:
        """One request and its whole answer. Raises RuntimeError unless it is 200 with a length."""
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            raise RuntimeError(head.split(b"\r\n", 1)[0].decode())
        await reader.readexactly(int(length[1]))
        self._idle.append((reader, writer))

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


def _now() -> int:
    return time.monotonic_ns() // 1000


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of `values` lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
