"""A language-model server that costs almost nothing: an OpenAI-compatible stream whose every token is the time it was sent.

`python -m benchmarks.upstream PORT`. The model name says how: `mock-ttft<ms>-itl<ms>-len<tokens>`. A token's text is the upstream's
monotonic clock in microseconds, so whoever receives it on the same machine knows how long it was on its way. With `-numbered` after it
the token begins with its number in the answer (`17:123456789 `), so that lost and doubled ones can be told.

A GET is answered with the list of models some clients ask for; `python -m benchmarks.upstream PORT MODEL` names the one in it.
"""

import asyncio
import json
import re
import sys
import time
from functools import partial

_KNOBS = re.compile(rb"mock-ttft(\d+)-itl(\d+)-len(\d+)(-numbered)?")
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunk(document: dict[str, object]) -> bytes:
    data = b"data: " + json.dumps(document).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def _delta(delta: dict[str, object], finish: str | None = None) -> bytes:
    return _chunk(
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
    )


class Upstream(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self, listed: str = "mock-ttft20-itl10-len50") -> None:
        self._buffer = b""
        self._listed = listed
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if separator and head.startswith(b"GET "):
            self._buffer = rest
            self._list()
            return
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if separator and length and len(rest) >= int(length[1]):
            self._buffer = rest[int(length[1]) :]
            knobs = _KNOBS.search(rest)
            ttft, itl, tokens = (int(g) for g in knobs.groups()[:3]) if knobs else (20, 10, 50)
            self._task = asyncio.create_task(self._answer(ttft / 1000, itl / 1000, tokens, bool(knobs and knobs[4])))

    def _list(self) -> None:
        body = json.dumps({"object": "list", "data": [{"id": self._listed, "object": "model", "created": 1, "owned_by": "mock"}]}).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)  # type: ignore[attr-defined]

    async def _answer(self, ttft: float, itl: float, tokens: int, numbered: bool) -> None:
        write = self._transport.write  # type: ignore[attr-defined]
        loop = asyncio.get_running_loop()
        write(_HEAD + _delta({"role": "assistant", "content": ""}))
        due = loop.time() + ttft
        for n in range(tokens):
            await asyncio.sleep(max(0, due - loop.time()))
            at = f"{time.monotonic_ns() // 1000} "
            write(_delta({"content": f"{n}:{at}" if numbered else at}))
            due += itl
        usage = {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": tokens + 20}
        write(
            _delta({}, "stop")
            + _chunk({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": usage})
        )
        write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


async def serve(port: int, *listed: str) -> None:
    """Serve until cancelled."""
    server = await asyncio.get_running_loop().create_server(partial(Upstream, *listed), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), *sys.argv[2:3]))
