"""The ASGI application: reads the request, takes the next turn, streams it with the wanted latency and faults."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import unquote

from tests.peers.models_server import wires
from tests.peers.models_server.script import Turn

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Dropped(Exception):
    """Raised after a part of the body was sent: uvicorn closes the connection without ending the body."""


class Recording(Protocol):
    def disconnected_now(self) -> None: ...

    def finished_now(self) -> None: ...


class Book(Protocol):
    """Where turns come from and requests go to; see `server.ModelServer`."""

    def take(self, provider: str, path: str, headers: dict[str, str], body: Any) -> tuple[Turn, Recording]: ...


_STREAMS = {"openai": wires.openai_stream, "anthropic": wires.anthropic_stream, "bedrock": wires.bedrock_stream}
_ERRORS = {"openai": wires.openai_error, "anthropic": wires.anthropic_error, "bedrock": wires.bedrock_error}
_TYPES = {"openai": b"text/event-stream", "anthropic": b"text/event-stream", "bedrock": b"application/vnd.amazon.eventstream"}
_ROUTES = (
    (re.compile(r"/chat/completions$"), "openai"),
    (re.compile(r"/v1/messages$"), "anthropic"),
    (re.compile(r"/model/[^/]+/converse-stream$"), "bedrock"),
)


class App:
    def __init__(self, book_of: Callable[[str], Book | None]) -> None:
        self._book_of = book_of
        """The book of the first path segment."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        headers = {k.decode().lower(): v.decode() for k, v in scope["headers"]}
        if path.endswith("/models"):
            data = {"object": "list", "data": [{"id": "fake", "object": "model", "created": 1_760_000_000, "owned_by": "tests"}]}
            await _whole(send, 200, json.dumps(data).encode())
            return
        provider = next((p for pattern, p in _ROUTES if pattern.search(path)), None)
        book = self._book_of(path.split("/")[1])
        if provider is None or book is None:
            await _whole(send, 404, b'{"error": {"message": "no such path", "code": "not_found"}}')
            return
        body = json.loads(await _body(receive) or b"{}")
        if provider == "bedrock":
            body["modelId"] = unquote(path.split("/")[-2])
        query = scope["query_string"].decode()
        turn, recording = book.take(provider, f"{path}?{query}" if query else path, headers, body)
        watcher = asyncio.create_task(_watch(receive, recording))
        try:
            await _answer(send, provider, body, turn, watcher)
            recording.finished_now()
        finally:
            watcher.cancel()


async def _answer(send: Send, provider: str, body: Any, turn: Turn, watcher: "asyncio.Task[None]") -> None:
    if turn.ttft:
        await asyncio.sleep(turn.ttft)
    if turn.status != 200:
        extra = [] if turn.retry_after is None else [(b"retry-after", turn.retry_after.encode())]
        if provider == "bedrock":
            extra.append((b"x-amzn-errortype", turn.error_code.encode()))
        error = {"message": turn.error_message, "type": turn.error_code, "code": turn.error_code}
        document = {"message": turn.error_message} if provider == "bedrock" else {"type": "error", "error": error}
        await _whole(send, turn.status, json.dumps(document).encode(), extra)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", _TYPES[provider])]})
    model = body.get("model") or body.get("modelId") or "fake"
    events = [turn.raw] if turn.raw is not None else _STREAMS[provider](turn, model)
    for number, event in enumerate(events):
        if turn.break_after == number:
            raise Dropped
        if turn.end_after == number:
            break
        if turn.error_after == number:
            event = _ERRORS[provider](turn)  # noqa: PLW2901 - the error takes the event's place
        if turn.hang_after == number:
            await watcher
            return
        await send({"type": "http.response.body", "body": event, "more_body": True})
        if watcher.done():
            return
        if turn.itl:
            await asyncio.sleep(turn.itl)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _watch(receive: Receive, recording: Recording) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    recording.disconnected_now()


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _whole(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    head = [(b"content-type", b"application/json"), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": False})
