"""`deploy/nginx.conf` with the real nginx in front of a running server."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.chat.conftest import MODELS
from tests.conftest import Urls
from tests.peers.models_server import ModelServer, Turn
from tests.site import Seeded, Site, running_site
from tests.web.sockets import Socket, token

CONF = Path(__file__).parent.parent / "deploy" / "nginx.conf"
WORDS = " ".join(f"word{n}" for n in range(40))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def written(folder: Path, site: Site, port: int, tls: bool) -> Path:
    """The shipped file with this test's addresses, inside the smallest main configuration."""
    text = CONF.read_text()
    folder.mkdir()
    for shipped, here in (
        ("server 127.0.0.1:8089;", f"server {site.url.removeprefix('http://')};"),
        ("/var/log/nginx/aliquot.log", str(folder / "access.log")),
        ("/etc/ssl/private/", f"{folder}/"),
    ):
        assert shipped in text
        text = text.replace(shipped, here)
    if tls:
        before, after = text.split("    #listen 443 ssl;", 1)
        block, rest = after.split("\n\n", 1)
        text = before.replace("    listen 80;\n", "") + f"    listen 127.0.0.1:{port} ssl;" + block.replace("    #", "    ") + "\n\n" + rest
        certificate(folder)
    else:
        text = text.replace("listen 80;", f"listen 127.0.0.1:{port};")
    (folder / "aliquot.conf").write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    main = folder / "nginx.conf"
    main.write_text(
        f"{user} daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{ worker_connections 256; }}\n"
        f"http {{ {temporary}\n include {folder}/aliquot.conf; }}\n"
    )
    return main


def certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "aliquot.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "aliquot.key").write_bytes(private)


@asynccontextmanager
async def nginx(binary: str, folder: Path, site: Site, *, tls: bool = False) -> AsyncIterator[int]:
    """nginx on a free port in front of `site`."""
    port = free_port()
    main = written(folder, site, port, tls)
    process = await asyncio.create_subprocess_exec(binary, "-c", str(main), "-p", str(folder), stderr=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    assert process.returncode is None, (await process.stderr.read()).decode()  # type: ignore[union-attr]
                    await asyncio.sleep(0.02)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def test_the_shipped_configuration(
    nginx_binary: str, seeded_urls: Urls, seeded: Seeded, tmp_path: Path, model_server: ModelServer
) -> None:
    models = tmp_path / "models.toml"
    models.write_text(MODELS.format(url=model_server.openai_url))
    model_server.script(*[Turn(text=WORDS, itl=0.03) for _ in range(2)])
    settings = {"models": models, "shutdown_seconds": 0.2, "trusted_proxies": ("127.0.0.1",)}
    async with running_site(seeded_urls, tmp_path / "data", seeded, **settings) as site, nginx(nginx_binary, tmp_path / "n", site) as port:
        person = await site.client("scientist")
        admin = token(await site.client("admin"))
        through = f"127.0.0.1:{port}"
        async with httpx2.AsyncClient(base_url=f"http://{through}", headers=dict(person.headers), timeout=30) as client:
            await _streams(client, site)
            await _limits(client)
        async with websockets.connect(f"ws://{through}/ws/chat/proxied?token={token(person)}", origin=f"http://{through}") as raw:
            ws = Socket(raw)
            assert raw.response is not None
            assert "permessage-deflate" in raw.response.headers["Sec-WebSocket-Extensions"]
            await ws.send("message", content="Hello")
            assert (await ws.until("message_complete"))["content"] == WORDS
        forged = {"X-Forwarded-For": "198.51.100.7"}
        for host, elsewhere in ((through, "127.0.0.2"), (site.url.removeprefix("http://"), "127.0.0.3")):
            url = f"ws://{host}/ws/debug?token={admin}"
            async with websockets.connect(url, additional_headers=forged, local_addr=(elsewhere, 0)) as raw:
                assert (await Socket(raw).next())["seen"]["address"] == elsewhere  # never what the client made up
        assert token(person) not in (tmp_path / "n" / "access.log").read_text()


async def _streams(client: httpx2.AsyncClient, site: Site) -> None:
    """The first piece of an answer arrives while the model still writes."""
    async with client.stream("POST", "/api/chat/stream?format=events", json={"message": "Count"}) as answer:
        run = answer.headers["X-Run-Id"]
        text, early = "", False
        async for piece in answer.aiter_text():
            text += piece
            if not early and "event: text_delta" in text:
                early = (await client.get(f"/api/runs/{run}")).json()["state"] == "running"
    assert early
    assert "event: done" in text


async def _limits(client: httpx2.AsyncClient) -> None:
    refused = await client.post("/api/chat/completion", content=b"x" * 13_000_000, headers={"Content-Type": "application/json"})
    assert refused.status_code == 413
    assert "nginx" in refused.text
    passed = await client.post("/api/chat/completion", content=b"x" * 2_000_000, headers={"Content-Type": "application/json"})
    assert passed.status_code == 413  # the server's own limit
    assert "nginx" not in passed.text


async def test_with_tls(nginx_binary: str, site: Site, tmp_path: Path) -> None:
    person = await site.client("scientist")
    async with nginx(nginx_binary, tmp_path / "n", site, tls=True) as port:
        trust = ssl.create_default_context(cafile=str(tmp_path / "n" / "aliquot.pem"))
        async with httpx2.AsyncClient(base_url=f"https://localhost:{port}", verify=trust, headers=dict(person.headers)) as client:
            answer = await client.get("/api/auth/me")
            assert answer.status_code == 200
            assert "max-age" in answer.headers["strict-transport-security"]
        url = f"wss://localhost:{port}/ws/chat/tls?token={token(person)}"
        async with websockets.connect(url, ssl=trust, origin=f"https://localhost:{port}") as raw:
            await Socket(raw).until("connection")
