"""An OpenAI-compatible upstream for benchmarks: raw ASGI, chunks encoded once, a few microseconds each.

The model's name says what it does: `mock-ttft200-itl20-len100`. With `-stamp` in the name every token is the send time in
microseconds since the epoch (`1763712345678901 `), so that whoever reads the stream can measure each token's way.

    python -m tests.peers.models_server.light --port 9101
"""

import argparse
import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

_NAME = re.compile(rb'"model"\s*:\s*"[^"]*?mock-ttft(\d+)-itl(\d+)-len(\d+)(-stamp)?')
_HEAD = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"mock","choices":[{"index":0,"delta":{"content":"'
_TAIL = b'"},"finish_reason":null}]}\n\n'
_WORD = _HEAD + b"token " + _TAIL
_STOP = _HEAD.partition(b'{"content"')[0] + b'{},"finish_reason":"stop"}]}\n\n'


def _end(tokens: int) -> bytes:
    usage = {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens}
    document = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "mock", "choices": [], "usage": usage}
    return _STOP + b"data: " + json.dumps(document).encode() + b"\n\ndata: [DONE]\n\n"


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The whole application."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    match = _NAME.search(body)
    ttft, interval, length = (int(g) for g in match.groups()[:3]) if match else (0, 0, 50)
    stamp = bool(match and match.group(4))
    await asyncio.sleep(ttft / 1_000)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    due = time.monotonic()
    for _ in range(length):
        word = _HEAD + b"%d " % (time.time_ns() // 1_000) + _TAIL if stamp else _WORD
        await send({"type": "http.response.body", "body": word, "more_body": True})
        due += interval / 1_000
        if (pause := due - time.monotonic()) > 0:
            await asyncio.sleep(pause)
    await send({"type": "http.response.body", "body": _end(length), "more_body": False})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9101)
    port = parser.parse_args().port
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, log_level="critical", lifespan="off", ws="none", access_log=False)


if __name__ == "__main__":
    main()
