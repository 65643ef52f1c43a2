"""The lean transport under the SDKs, against servers that answer well, badly, slowly or over TLS."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from aliquot.models.providers.transport import LeanTransport, client_for
from tests.conftest import PATIENCE
from tests.models.asking import until

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[bool]]
"""Gets a whole request; answers whether the connection stays open."""
TIMEOUT = httpx2.Timeout(connect=5, read=5, write=5, pool=5)


class Server:
    """A server that sends exactly the bytes it is told to."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.handler: Handler
        self.url = ""

    async def start(self, context: ssl.SSLContext | None = None) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
                self.requests.append(head + await reader.readexactly(length))
                if not await self.handler(self.requests[-1], writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    running = await made.start()
    yield made
    running.close()


def answer(*parts: bytes, keep: bool = True) -> Handler:
    async def handle(request: bytes, writer: asyncio.StreamWriter) -> bool:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return keep

    return handle


async def test_a_chunked_body_arrives_whole_and_the_connection_is_kept(server: Server) -> None:
    server.handler = answer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n3\r\none\r\n4;x=y\r\n two\r\n0\r\nTrailer: t\r\n\r\n"
    )
    async with client_for(server.url, TIMEOUT) as client:
        for _ in range(3):
            response = await client.post(f"{server.url}/v1/x?y=1", content=b'{"a": "\xc3\xbc"}')
            assert (response.status_code, response.text, response.headers["x-a"]) == (200, "one two", "b")
    assert server.connections == 1
    assert server.requests[0].startswith(b"POST /v1/x?y=1 HTTP/1.1\r\n")
    assert b"accept-encoding: identity" in server.requests[0].lower()
    assert server.requests[0].endswith(b'\r\n\r\n{"a": "\xc3\xbc"}')


async def test_bodies_with_a_length_without_one_empty_and_compressed(server: Server) -> None:
    packed = gzip.compress(b"zipped")
    cases: list[tuple[bytes, bytes, bool]] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsized", b"sized", True),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nafter", b"after", True),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed), b"zipped", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", b"old", False),
    ]
    async with client_for(server.url, TIMEOUT) as client:
        for raw, body, keep in cases:
            for cut in (1, len(raw) // 2, len(raw)):
                server.handler = answer(raw[:cut], raw[cut:], keep=keep)
                assert (await client.get(server.url)).content == body


async def test_a_broken_body_nonsense_and_endless_headers_are_protocol_errors(server: Server) -> None:
    cases = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ntoo short",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\n" + b"X-Padding: " + b"x" * 200_000,
    ]
    async with client_for(server.url, TIMEOUT) as client:
        for raw in cases:
            server.handler = answer(raw, keep=False)
            with pytest.raises(httpx2.RemoteProtocolError):
                await client.get(server.url)


async def test_silence_is_a_read_timeout_before_and_within_the_body(server: Server) -> None:
    for raw in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nsome"):
        server.handler = answer(raw)
        async with client_for(server.url, httpx2.Timeout(5, read=0.2)) as client, asyncio.timeout(PATIENCE):
            with pytest.raises(httpx2.ReadTimeout):
                await client.get(server.url)


async def test_nobody_there_is_a_connect_error() -> None:
    async with client_for("http://127.0.0.1:9", TIMEOUT) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get("http://127.0.0.1:9/")


async def test_leaving_a_stream_early_drops_the_connection(server: Server) -> None:
    gone = asyncio.Event()

    async def endless(request: bytes, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(b"3\r\none\r\n")
                await writer.drain()
                await asyncio.sleep(0.001)
        gone.set()
        return False

    server.handler = endless
    async with client_for(server.url, TIMEOUT) as client:
        async with client.stream("POST", server.url) as response:
            async for data in response.aiter_raw():
                assert data.startswith(b"one")
                break
        await asyncio.wait_for(gone.wait(), PATIENCE)


async def test_a_connection_the_server_closed_meanwhile_is_not_used_again(server: Server) -> None:
    server.handler = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", keep=False)
    async with client_for(server.url, TIMEOUT) as client:
        transport = client._transport
        assert isinstance(transport, LeanTransport)
        for _ in range(3):
            assert (await client.get(server.url)).text == "ok"
            await until(lambda: not any(c.usable for pool in transport._idle.values() for c in pool))
    assert server.connections == 3


async def test_a_kept_connection_closed_just_when_it_is_used_costs_nobody_an_answer(server: Server) -> None:
    ok = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def every_second_time(request: bytes, writer: asyncio.StreamWriter) -> bool:
        if len(server.requests) == 2:
            return False  # closed without a byte
        return await ok(request, writer)

    server.handler = every_second_time
    async with client_for(server.url, TIMEOUT) as client:
        assert [(await client.post(server.url, content=b"x")).text for _ in range(2)] == ["ok", "ok"]
        assert (len(server.requests), server.connections) == (3, 2)
        server.handler = answer(b"HTTP/1.1 200", keep=False)
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.post(server.url, content=b"x")
        assert len(server.requests) == 4


async def test_a_slow_reader_holds_the_server_back_instead_of_filling_memory(server: Server) -> None:
    written = 0

    async def flood(request: bytes, writer: asyncio.StreamWriter) -> bool:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
        for _ in range(2_000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            written += 100_000
        return True

    server.handler = flood
    async with client_for(server.url, TIMEOUT) as client, client.stream("GET", server.url) as response:
        stream = response.aiter_raw()
        await anext(stream)
        before = -1
        while before != written:
            before = written
            await asyncio.sleep(0.05)
        assert written < 40_000_000
        assert len(await anext(stream)) < 10_000_000


async def test_tls_is_verified(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.handler = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    secure = Server()
    secure.handler = server.handler
    running = await secure.start(context)
    async with client_for(secure.url, TIMEOUT) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(secure.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with client_for(secure.url, TIMEOUT) as client:
        assert (await client.get(secure.url)).text == "ok"
    running.close()


def test_behind_a_proxy_the_default_transport_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.internal:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert not isinstance(client_for("http://models.example/v1", TIMEOUT)._transport, LeanTransport)
    assert isinstance(client_for("http://127.0.0.1:8000/v1", TIMEOUT)._transport, LeanTransport)


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "server.pem"
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return path
