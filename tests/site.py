"""A whole Aliquot for tests that enter by HTTP: served on a loopback port in the test's own event loop, on a fresh database."""

import asyncio
import json
import shutil
import socket
import ssl
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fasteners
import httpx2
import pytest
import uvicorn

from aliquot.bootstrap import Background, DatabaseUrls, Services, build
from aliquot.demo.people import DEMO_PEOPLE
from aliquot.demo.seed import seed
from aliquot.kernel.clock import Clock
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Vault, load_root_key
from aliquot.web.app import create_app
from tests.conftest import LOGINS, PATIENCE, TEMPLATE, Cluster, Urls

_SEEDED = "aliquot_seeded"

PASSWORD = "correct horse battery"
TLS = ssl.create_default_context()
"""Shared by the clients: loading the certificates of the system takes each of them 25 ms, and nothing here speaks TLS."""


@dataclass
class Site:
    """A whole Aliquot on a loopback port, in the test's own event loop, on a fresh database."""

    services: Services
    url: str
    people: dict[str, uuid.UUID]
    _clients: list[httpx2.AsyncClient] = field(default_factory=list)

    async def client(self, role: str) -> httpx2.AsyncClient:
        """An HTTP client logged in as the demo person of `role` (or `admin`)."""
        email = "admin@demo.lab" if role == "admin" else f"{role}@demo.lab"
        client = httpx2.AsyncClient(base_url=self.url, timeout=PATIENCE, verify=TLS)
        self._clients.append(client)
        answer = await client.post("/api/auth/login", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        return client

    async def anonymous(self) -> httpx2.AsyncClient:
        client = httpx2.AsyncClient(base_url=self.url, timeout=PATIENCE, verify=TLS)
        self._clients.append(client)
        return client


@dataclass(frozen=True)
class Seeded:
    """A seeded database to clone, with the keys that open it."""

    template: str
    keys: Path
    people: dict[str, uuid.UUID]


@pytest.fixture(scope="session")
def seeded(cluster: Cluster) -> Seeded:
    """The demo laboratory and its people, made once per test run: hashing five passwords for each test would take minutes."""
    home = cluster.postgres.folder.parent / "seeded"
    names = home / "people.json"
    with fasteners.InterProcessLock(f"{home}.lock"):
        if not names.exists():
            cluster.create(_SEEDED, TEMPLATE)
            names.write_text(json.dumps(asyncio.run(_seed(cluster, home))))
    people = {role: uuid.UUID(person) for role, person in json.loads(names.read_text()).items()}
    return Seeded(_SEEDED, home / "data" / "keys", people)


async def _seed(cluster: Cluster, home: Path) -> dict[str, str]:
    urls = DatabaseUrls(
        app=cluster.url("aliquot_app", LOGINS.app, _SEEDED), sequencer=cluster.url("aliquot_sequencer", LOGINS.sequencer, _SEEDED)
    )
    settings = Settings(data_dir=home / "data")
    settings.data_dir.mkdir(parents=True)
    services = build(settings, Vault(load_root_key(None, settings.keys_dir), settings.keys_dir), urls)
    await seed(services, PASSWORD)
    async with services.db.begin() as tx:
        made = await services.identity.create_person(tx, email="admin@demo.lab", name="Ada Admin", roles=["admin"], password=PASSWORD)
        people = {p.role: str((await services.identity.person(tx, p.email)).id) for p in DEMO_PEOPLE} | {"admin": str(made.person.id)}
    await services.models.close()
    await services.db.close()
    await services.sequencer_db.close()
    return people


@pytest.fixture
def seeded_urls(cluster: Cluster, seeded: Seeded) -> Iterator[Urls]:
    """A fresh clone of the seeded database."""
    with cluster.database(seeded.template) as urls:
        yield urls


@asynccontextmanager
async def running_site(
    urls: Urls, folder: Path, seeded: Seeded, *, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[Site]:  # fmt: skip
    """Build and serve; `settings` are those of `platform.settings.Settings`."""
    shutil.copytree(seeded.keys, folder / "keys")
    configured = Settings(data_dir=folder, **settings)
    vault = Vault(load_root_key(None, configured.keys_dir), configured.keys_dir)
    services = build(configured, vault, DatabaseUrls(app=urls.app, sequencer=urls.sequencer), clock=clock)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        create_app(services, Background(services, alone=True)), log_config=None, ws="websockets-sansio", timeout_graceful_shutdown=1,
        ws_max_size=configured.limits.live_frame_bytes,
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # the test runner's own handlers stay
    serving = asyncio.create_task(server._serve([listener]))
    while not server.started:
        await asyncio.sleep(0.005)
        if serving.done():
            serving.result()
    site = Site(services, url, seeded.people)
    try:
        yield site
    finally:
        for client in site._clients:
            await client.aclose()
        server.should_exit = True
        await serving


@pytest.fixture
async def site(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> AsyncIterator[Site]:
    """A seeded site without a language model; shut down quickly."""
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2) as running:
        yield running
