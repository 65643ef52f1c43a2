"""The three routes the LLM Lab calls: `/api/llm/models`, `/api/llm/provider`, `/api/llm/provider/switch`."""

import json
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from pwdlib.hashers.argon2 import Argon2Hasher

from aliquot.identity.api import IdentityApi
from aliquot.identity.http import router as identity_router
from aliquot.identity.passwords import Passwords
from aliquot.ledger.api import LedgerApi
from aliquot.models.api import ModelsApi
from aliquot.models.http import router
from aliquot.platform.db import Database
from aliquot.platform.http import install_problem_handlers
from aliquot.platform.limits import Limiter
from aliquot.platform.settings import Settings
from tests.models.asking import ask
from tests.models.conftest import Bench

PASSWORD = "correct horse battery"
CHEAP = Passwords(Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1))


@dataclass
class Services:
    identity: IdentityApi
    models: ModelsApi
    db: Database
    settings: Settings


@dataclass
class Door:
    """The routes over real services, and people to use them."""

    app: FastAPI
    services: Services

    def client(self, token: str | None = None) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url="http://test", headers=headers)

    async def person(self, role: str) -> httpx2.AsyncClient:
        email = f"{role}@demo.lab"
        async with self.services.db.begin() as tx:
            await self.services.identity.create_person(tx, email=email, name=role, roles=(role,), password=PASSWORD)
        answer = await self.client().post("/api/auth/login", json={"email": email, "password": PASSWORD})
        return self.client(answer.json()["token"])


@pytest.fixture
def door(bench: Bench) -> Door:
    settings = Settings(data_dir=bench.folder)
    ledger = LedgerApi(bench.vault, bench.clock)
    identity = IdentityApi(bench.vault, ledger, bench.clock, settings, limiter=Limiter(bench.clock), passwords=CHEAP)
    models = bench.api(bench.model("one", model="model-one", patient_data=True), bench.model("two", model="model-two", tools=False))
    app = FastAPI()
    app.state.services = Services(identity, models, bench.database, settings)
    app.include_router(identity_router)
    app.include_router(router)
    install_problem_handlers(app)
    return Door(app, app.state.services)


async def test_nobody_reads_or_switches_without_a_login(door: Door) -> None:
    client = door.client()
    for answer in (
        await client.get("/api/llm/models"),
        await client.get("/api/llm/provider"),
        await client.post("/api/llm/provider/switch", json={"model": "two"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_a_viewer_sees_the_models_and_no_address_or_key(door: Door) -> None:
    client = await door.person("viewer")
    answer = await client.get("/api/llm/models")
    assert answer.status_code == 200
    one, two = answer.json()["items"]
    assert (one["name"], one["model"], one["current"], one["available"], one["patient_data"]) == ("one", "model-one", True, True, True)
    assert (two["current"], two["capabilities"]) == (False, ["constrained_tools"])
    assert "127.0.0.1" not in answer.text
    assert (await client.get("/api/llm/provider")).json() == one
    refused = await client.post("/api/llm/provider/switch", json={"model": "two"})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_an_administrator_switches_the_whole_site_and_it_is_audited(door: Door, bench: Bench) -> None:
    client = await door.person("admin")
    assert (await client.post("/api/llm/provider/switch", json={"model": "two"})).json()["name"] == "two"
    assert (await client.get("/api/llm/provider")).json()["name"] == "two"
    await door.services.models.complete(ask())
    assert bench.server.requests[0].body["model"] == "model-two"
    other = bench.api(bench.model("one"), bench.model("two", model="model-two"))
    current = await other.provider()
    assert current is not None
    assert current.name == "two"
    async with bench.database.begin() as tx:
        bodies = [json.loads(bytes(row.body)) for row in await tx.rows(sa.text("SELECT body FROM audit_event"))]
    [event] = [b for b in bodies if b["action"] == "model.switched"]
    assert event["versions"]["model"] == "two"


async def test_a_wrong_switch_is_a_422_and_changes_nothing(door: Door) -> None:
    client = await door.person("admin")
    wrong: list[Any] = ["unheard of", "", 5, None, "x" * 5_000]
    bodies: list[Any] = [*({"model": w} for w in wrong), {}, {"model": "one", "x": 1}, [], "one"]
    for body in bodies:
        assert (await client.post("/api/llm/provider/switch", json=body)).status_code == 422
    assert (await client.get("/api/llm/provider")).json()["name"] == "one"


async def test_a_default_that_left_the_file_gives_way_to_the_first(door: Door, bench: Bench) -> None:
    client = await door.person("admin")
    await client.post("/api/llm/provider/switch", json={"model": "two"})
    current = await bench.api(bench.model("three")).provider()
    assert current is not None
    assert current.name == "three"


async def test_nothing_configured_is_said_plainly(door: Door, bench: Bench) -> None:
    door.services.models = ModelsApi(door.services.settings, bench.database, LedgerApi(bench.vault, bench.clock), bench.clock)
    client = await door.person("admin")
    assert (await client.get("/api/llm/models")).json() == {"items": [], "next": None}
    answer = await client.get("/api/llm/provider")
    assert (answer.status_code, answer.json()["code"]) == (503, "model_not_configured")
    assert (await client.post("/api/llm/provider/switch", json={"model": "two"})).status_code == 503
