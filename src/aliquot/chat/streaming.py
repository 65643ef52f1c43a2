"""Turning a watched run into an HTTP stream, in whatever wire format."""

import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import ClassVar, Protocol

from fastapi.responses import StreamingResponse

from aliquot.chat.api import ChatApi
from aliquot.chat.contracts import StoredEvent
from aliquot.identity.contracts import Principal
from aliquot.kernel.problems import Problem

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


def stream(chat: ChatApi, run_id: uuid.UUID, encoder: Encoder, *, after: int = 0, reader: Principal | None = None) -> StreamingResponse:
    """The run's events from `after` on, as long as `reader` may see them. Closing the connection stops only this stream, never the run."""
    headers = _HEADERS | encoder.headers | {"X-Run-Id": str(run_id)}
    return StreamingResponse(_frames(chat, run_id, encoder, after, reader), media_type=encoder.media_type, headers=headers)


async def _frames(chat: ChatApi, run_id: uuid.UUID, encoder: Encoder, after: int, reader: Principal | None) -> AsyncIterator[bytes]:
    async with aclosing(chat.runs.watch(run_id, after, reader)) as batches:
        try:
            async for events in batches:
                frame = b"".join([encoder.encode(event) for event in events]) if events else _HEARTBEAT
                if frame:
                    yield frame
        except Problem as problem:
            yield encoder.problem(problem)
    if closing := encoder.end():
        yield closing
