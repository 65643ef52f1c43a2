"""A language-model server that costs almost nothing: an OpenAI-compatible stream whose every token is the time it was sent.

`python -m benchmarks.upstream PORT`. The model name says how: `mock-ttft<ms>-itl<ms>-len<tokens>`. A token's text is the upstream's
monotonic clock in microseconds, so whoever receives it on the same machine knows how long it was on its way.
"""

import asyncio
import json
import re
import sys
import time

_KNOBS = re.compile(rb"mock-ttft(\d+)-itl(\d+)-len(\d+)")
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

    def __init__(self) -> None:
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if separator and length and len(rest) >= int(length[1]):
            self._buffer = rest[int(length[1]) :]
            knobs = _KNOBS.search(rest)
            ttft, itl, tokens = (int(g) for g in knobs.groups()) if knobs else (20, 10, 50)
            self._task = asyncio.create_task(self._answer(ttft / 1000, itl / 1000, tokens))

    async def _answer(self, ttft: float, itl: float, tokens: int) -> None:
        write = self._transport.write  # type: ignore[attr-defined]
        loop = asyncio.get_running_loop()
        write(_HEAD + _delta({"role": "assistant", "content": ""}))
        due = loop.time() + ttft
        for _ in range(tokens):
            await asyncio.sleep(max(0, due - loop.time()))
            write(_delta({"content": f"{time.monotonic_ns() // 1000} "}))
            due += itl
        usage = {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": tokens + 20}
        write(
            _delta({}, "stop")
            + _chunk({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": usage})
        )
        write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


async def serve(port: int) -> None:
    """Serve until cancelled."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
