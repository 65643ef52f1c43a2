"""A lean HTTP/1.1 transport under the official SDKs: httptools on an asyncio protocol.

Measured: the default transport spends some 100 µs of CPU on every streamed token (a chain of parsers, timeouts and
generators per read), several times what everything else on its way costs. The SDK still makes the request, the credentials,
the URL and the errors; this only moves bytes. Sites behind an HTTP proxy keep the default transport (`client_for`).
"""

import asyncio
import ssl
import urllib.request
from collections.abc import AsyncIterator
from typing import cast
from urllib.parse import urlsplit

import httptools
import httpx2

from aliquot.models.providers.base import READ

_KEEP_SECONDS = 20.0
_MOST_IDLE = 64
_MOST_HEADER_BYTES = 65_536
_MOST_BUFFERED_BYTES = 1_000_000


def client_for(base_url: str, timeout: httpx2.Timeout) -> httpx2.AsyncClient:
    """An HTTP client for one endpoint: lean, or the default one where a proxy is configured for its host."""
    parts = urlsplit(base_url)
    if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(parts.hostname or ""):
        return httpx2.AsyncClient(timeout=timeout)
    context = httpx2.create_ssl_context() if parts.scheme == "https" else None
    # A compressed stream would be held back by its compressor.
    return httpx2.AsyncClient(transport=LeanTransport(context), timeout=timeout, headers={"accept-encoding": "identity"})


class LeanTransport(httpx2.AsyncBaseTransport):
    """HTTP/1.1 with kept connections. Raises httpx2's own transport errors."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._idle: dict[tuple[str, str, int], list[_Connection]] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        kept = self._kept(request)
        if kept is not None:
            try:
                return await self._exchange(request, kept)
            except httpx2.RemoteProtocolError:
                # The server closed the idle connection just as we took it: it never read the request. Not a retry of a call.
                if kept.heard:
                    raise
        return await self._exchange(request, await self._open(request))

    async def _exchange(self, request: httpx2.Request, connection: "_Connection") -> httpx2.Response:
        try:
            connection.send(request, await request.aread())
            status, headers = await connection.head()
        except BaseException:
            connection.abort()
            raise
        body = _Body(self, connection)
        return httpx2.Response(status, headers=headers, stream=body, extensions={"http_version": b"HTTP/1.1", READ: body.read})

    def _kept(self, request: httpx2.Request) -> "_Connection | None":
        pool = self._idle.get(_origin(request), [])
        while pool:
            connection = pool.pop()
            if connection.usable:
                return connection
            connection.abort()
        return None

    async def _open(self, request: httpx2.Request) -> "_Connection":
        origin = scheme, host, port = _origin(request)
        loop = asyncio.get_running_loop()
        context = self._context if scheme == "https" else None
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("connect")):
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop, origin), host, port, ssl=context, server_hostname=host if context else None
                )
        except TimeoutError as error:
            raise httpx2.ConnectTimeout("connecting took too long", request=request) from error
        except OSError as error:
            raise httpx2.ConnectError(type(error).__name__, request=request) from error
        return connection

    def give_back(self, connection: "_Connection") -> None:
        """Keep a connection whose response was read to its end; close any other."""
        pool = self._idle.setdefault(connection.origin, [])
        if connection.reusable and len(pool) < _MOST_IDLE:
            connection.rest()
            pool.append(connection)
        else:
            connection.abort()

    async def aclose(self) -> None:
        for pool in self._idle.values():
            for connection in pool:
                connection.abort()
        self._idle.clear()


def _origin(request: httpx2.Request) -> tuple[str, str, int]:
    url = request.url
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


class _Body(httpx2.AsyncByteStream):
    """The response body; closing it early drops the connection, so that the server stops."""

    def __init__(self, transport: LeanTransport, connection: "_Connection") -> None:
        self._transport = transport
        self._connection: _Connection | None = connection

    async def read(self) -> bytes:
        """What has arrived since the last call, at least one byte; empty at the end."""
        return await self._connection.read() if self._connection is not None else b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self.read():
            yield data

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._transport.give_back(connection)


class _Connection(asyncio.Protocol):
    """One connection, one request at a time. Callbacks of httptools are the methods `on_*`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, origin: tuple[str, str, int]) -> None:
        self.origin = origin
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._lost = False
        self._rest_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = 0
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._head_done = False
        self._complete = False
        self._keep = False
        self.heard = False
        """A byte has come since the last request."""
        self._failed: Exception | None = None

    # What the transport calls

    @property
    def usable(self) -> bool:
        """True while a kept connection may take another request."""
        return not self._lost and self._loop.time() - self._rest_since < _KEEP_SECONDS

    @property
    def reusable(self) -> bool:
        """True when the response was read to its end and the server keeps the connection."""
        return self._complete and self._keep and not self._chunks and not self._lost

    def rest(self) -> None:
        self._rest_since = self._loop.time()
        self._stop_watch()

    def send(self, request: httpx2.Request, body: bytes) -> None:
        self._reset()
        self._request = request
        self._read_seconds = request.extensions.get("timeout", {}).get("read")
        head = [request.method.encode(), b" ", request.url.raw_path, b" HTTP/1.1\r\n"]
        for name, value in request.headers.raw:
            head += (name, b": ", value, b"\r\n")
        assert self._transport is not None  # noqa: S101 - connection_made came before create_connection returned
        self._transport.write(b"".join([*head, b"\r\n", body]))
        self._start_watch()

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Status and headers, once they have arrived."""
        while not self._head_done:
            await self._wait()
        return self._status, self._headers

    async def read(self) -> bytes:
        """What has arrived of the body since the last call, at least one byte; empty at its end."""
        while not self._chunks:
            if self._complete:
                return b""
            await self._wait()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def abort(self) -> None:
        self._stop_watch()
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        if self._failed is not None:
            raise self._failed
        if self._lost:
            raise httpx2.RemoteProtocolError("the server closed the connection", request=self._request)
        self._waiter = self._loop.create_future()
        self._since = self._loop.time()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # One timer per request looks for silence, instead of one per read.

    def _start_watch(self) -> None:
        self._stop_watch()
        self._since = self._loop.time()
        if self._read_seconds is not None:
            self._watch = self._loop.call_later(self._read_seconds, self._look)

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _look(self) -> None:
        assert self._read_seconds is not None  # noqa: S101 - the timer is only set with a bound
        waiting = self._waiter is not None and not self._waiter.done()
        silent = self._loop.time() - self._since if waiting else 0.0
        if silent >= self._read_seconds:
            self._failed = httpx2.ReadTimeout("the server sent nothing for too long", request=self._request)
            self._wake()
            return
        self._watch = self._loop.call_later(self._read_seconds - silent, self._look)

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without deriving from it

    def data_received(self, data: bytes) -> None:
        self.heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self._complete:  # bytes after the end of a response: the connection is not kept
                self._failed = httpx2.RemoteProtocolError(type(error).__name__)
            self.abort()
        if self._buffered > _MOST_BUFFERED_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._lost = True
        if self._head_done and not self._complete and not self._sized():
            self._complete = True  # RFC 9112 §6.3: a body without length ends with the connection
        self._wake()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self._stop_watch()
        self._wake()

    def _sized(self) -> bool:
        return any(name in {b"content-length", b"transfer-encoding"} for name, _ in self._headers)

    # What httptools calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > _MOST_HEADER_BYTES:
            raise ValueError("headers too large")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._head_done = self._status >= 200

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        if self._head_done:
            self._complete = True
            self._keep = self._parser.should_keep_alive()  # the parser forgets once the message is over
        else:  # 1xx: the real answer follows
            self._headers.clear()
