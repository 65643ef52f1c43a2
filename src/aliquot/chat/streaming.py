"""Turning a watched run into an HTTP stream, in whatever wire format."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import ClassVar, Protocol, cast

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from aliquot.chat.api import ChatApi
from aliquot.chat.contracts import StoredEvent
from aliquot.identity.contracts import Principal
from aliquot.kernel.problems import Problem

DIRECT = "aliquot.send"
"""Where the outermost layer of the application leaves the server's own `send` in the scope."""

_HEARTBEAT = b": keep-alive\n\n"
_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


class Encoder(Protocol):
    """A wire format; implementations are in `web/wire`."""

    media_type: str
    headers: ClassVar[dict[str, str]]
    """Sent with the stream besides the usual ones."""

    def encode(self, event: StoredEvent) -> bytes: ...

    def problem(self, problem: Problem) -> bytes: ...

    def end(self) -> bytes: ...


class LiveStream(StreamingResponse):
    """A streaming response whose pieces go to the server directly.

    The layers around an answer look at its head and its end; each of the pieces between would pass seven of them, which costs as much
    as encoding and writing it.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Until the stream ends or whoever reads it leaves. (The framework's way to wait for either leaves a broken stream to the garbage
        collector, with its connection.)"""
        self._direct: Send = scope.get(DIRECT, send)
        streaming = asyncio.create_task(self.stream_response(send))
        leaving = asyncio.create_task(self.listen_for_disconnect(receive))
        try:
            await asyncio.wait((streaming, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            streaming.cancel()
            leaving.cancel()
            await asyncio.wait((streaming, leaving))
            del self._direct
        if not streaming.cancelled():
            streaming.result()

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        direct, pieces = self._direct, cast(AsyncIterator[bytes], self.body_iterator)
        async for piece in pieces:
            await direct({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def stream(chat: ChatApi, run_id: uuid.UUID, encoder: Encoder, *, after: int = 0, reader: Principal | None = None) -> LiveStream:
    """The run's events from `after` on, as long as `reader` may see them. Closing the connection stops only this stream, never the run."""
    headers = _HEADERS | encoder.headers | {"X-Run-Id": str(run_id)}
    return LiveStream(_frames(chat, run_id, encoder, after, reader), media_type=encoder.media_type, headers=headers)


async def _frames(chat: ChatApi, run_id: uuid.UUID, encoder: Encoder, after: int, reader: Principal | None) -> AsyncIterator[bytes]:
    async with aclosing(chat.runs.watch(run_id, after, reader)) as batches:
        try:
            async for events in batches:
                if len(events) == 1:
                    frame = encoder.encode(events[0])
                else:
                    frame = b"".join([encoder.encode(event) for event in events]) if events else _HEARTBEAT
                if frame:
                    yield frame
        except Problem as problem:
            yield encoder.problem(problem)
    if closing := encoder.end():
        yield closing
