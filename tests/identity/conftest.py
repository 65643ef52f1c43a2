"""A small application of identity's routes over the real database, a clock moved by hand and a recorded sleep."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI
from pwdlib.hashers.argon2 import Argon2Hasher

from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import SYSTEM, Principal
from aliquot.identity.http import PrincipalDep, SessionPrincipalDep, require, router
from aliquot.identity.passwords import Passwords
from aliquot.ledger.api import LedgerApi
from aliquot.platform.db import Database
from aliquot.platform.http import install_problem_handlers
from aliquot.platform.settings import Limits, Settings, load_settings
from aliquot.platform.vault import Vault
from tests.conftest import ManualClock, Urls

PASSWORD = "correct horse battery"
ADDRESS = "198.51.100.7"
PROXY = "10.0.0.9"


@dataclass
class Services:
    identity: IdentityApi
    db: Database
    settings: Settings


@dataclass
class House:
    """The application and the hands to drive it."""

    app: FastAPI
    services: Services
    clock: ManualClock
    vault: Vault
    urls: Urls
    slept: list[float] = field(default_factory=list)
    clients: list[httpx2.AsyncClient] = field(default_factory=list)

    def client(self, token: str | None = None, *, address: str = ADDRESS, **headers: str) -> httpx2.AsyncClient:
        """A client at `address`, with `token` as its bearer."""
        transport = httpx2.ASGITransport(app=self.app, client=(address, 4711))
        all_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            all_headers["authorization"] = f"Bearer {token}"
        client = httpx2.AsyncClient(transport=transport, base_url="http://test", headers=all_headers)
        self.clients.append(client)
        return client

    async def make(self, email: str, *roles: str, password: str | None = PASSWORD, **more: Any) -> str:
        """A person with a password that need not be changed; their id."""
        async with self.services.db.begin() as tx:
            made = await self.services.identity.create_person(
                tx,
                email=email,
                name=more.pop("name", email.partition("@")[0].title()),
                roles=roles or ("viewer",),
                password=password,
                **more,
            )
        return str(made.person.id)

    async def login(self, email: str, password: str = PASSWORD, *, address: str = ADDRESS) -> httpx2.Response:
        return await self.client(address=address).post("/api/auth/login", json={"email": email, "password": password})

    async def token(self, email: str, password: str = PASSWORD) -> str:
        answer = await self.login(email, password)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    async def logged_in(self, email: str, *roles: str) -> httpx2.AsyncClient:
        """A fresh person's client, logged in."""
        await self.make(email, *roles)
        return self.client(await self.token(email))

    async def key_of(self, email: str) -> str:
        """An API key of an existing person."""
        async with self.services.db.begin() as tx:
            person = await self.services.identity.person(tx, email)
            return (await self.services.identity.create_key(tx, person.id, name="a program", expires_at=None, by=SYSTEM)).secret

    async def events(self, *actions: str) -> list[dict[str, Any]]:
        """The audit events with these actions, in order."""
        async with self.services.db.begin() as tx:
            rows = await tx.rows(sa.text("SELECT body FROM audit_event ORDER BY id"))
        return [event for row in rows if (event := json.loads(bytes(row.body)))["action"] in actions]


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Assert that `answer` is this refusal; its document."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    document: dict[str, Any] = answer.json()
    assert document["code"] == code
    assert document["status"] == status
    return document


@cache
def application() -> FastAPI:
    """Built once: analysing the routes costs more than most tests. The services are each test's own."""
    app = FastAPI()
    app.include_router(router)
    install_problem_handlers(app)

    @app.get("/probe/anyone")
    async def anyone(principal: PrincipalDep) -> dict[str, Any]:
        return {"ip": principal.ip, "via": principal.via, "permissions": sorted(principal.permissions)}

    @app.get("/probe/session")
    async def session(principal: SessionPrincipalDep) -> str:
        return str(principal.id)

    @app.get("/probe/operate")
    async def operate(principal: Annotated[Principal, Depends(require("lab.operate"))]) -> str:
        return str(principal.id)

    @app.get("/probe/read")
    async def read(principal: Annotated[Principal, Depends(require("lab.read"))]) -> str:
        return str(principal.id)

    return app


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
async def house(database: Database, vault: Vault, clock: ManualClock, tmp_path: Path, limits: Limits, urls: Urls) -> AsyncIterator[House]:
    settings = load_settings(data_dir=tmp_path / "data", trusted_proxies=(PROXY,), limits=limits)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    passwords = Passwords(Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1))
    identity = IdentityApi(vault, LedgerApi(vault, clock), clock, settings, passwords=passwords, sleep=sleep)
    services = Services(identity=identity, db=database, settings=settings)
    app = application()
    app.state.services = services
    house = House(app=app, services=services, clock=clock, vault=vault, urls=urls, slept=slept)
    yield house
    for client in house.clients:
        await client.aclose()
