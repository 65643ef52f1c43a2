"""The driver's own HTTP/1.1: one request per connection on a bare asyncio protocol, parsed by httptools, so that it costs little."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httptools

_SLOW_BUFFER = 2_048
_SLOW_PAUSE = 1.0


class Refused(Exception):
    """Another status than 200."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    method: str
    path: str
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def render(self, port: int) -> bytes:
        payload = b"" if self.body is None else json.dumps(self.body).encode()
        lines = [f"{self.method} {self.path} HTTP/1.1", f"host: 127.0.0.1:{port}", "connection: close", f"content-length: {len(payload)}"]
        lines += [f"{name}: {value}" for name, value in {"content-type": "application/json", **self.headers}.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + payload


class _Exchange(asyncio.Protocol):
    """Gives every piece of the body to `hear(piece, at)`; True from it ends the exchange at once, as a lost connection would."""

    def __init__(self, hear: Callable[[bytes, int], bool], slow: bool) -> None:
        self._hear, self._slow = hear, slow
        self._parser = httptools.HttpResponseParser(self)
        self._at = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._at = time.monotonic_ns() // 1000
        if self._slow:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(_SLOW_PAUSE, self._go_on)
        self._parser.feed_data(data)

    def _go_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() != 200:
            self._end(Refused(self._parser.get_status_code()))

    def on_body(self, piece: bytes) -> None:
        if not self.done.done() and self._hear(piece, self._at):
            self._transport.abort()
            self._end()

    def on_message_complete(self) -> None:
        self._end()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error)

    def _end(self, error: Exception | None = None) -> None:
        if not self.done.done():
            self.done.set_exception(error) if error is not None else self.done.set_result(None)


async def exchange(port: int, call: Call, hear: Callable[[bytes, int], bool], *, slow: bool = False) -> None:
    """One request to its end. Raises Refused, OSError."""
    sock = socket.socket()
    sock.setblocking(False)
    if slow:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(sock, ("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    transport, protocol = await loop.create_connection(lambda: _Exchange(hear, slow), sock=sock)
    try:
        transport.write(call.render(port))
        await protocol.done
    finally:
        transport.abort()
