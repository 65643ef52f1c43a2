"""The routes of the audit trail, over HTTP, by people with and without the right."""

import base64
import json
import uuid
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from pwdlib.hashers.argon2 import Argon2Hasher

from aliquot.identity.api import IdentityApi
from aliquot.identity.http import router as identity_router
from aliquot.identity.passwords import Passwords
from aliquot.kernel.clock import rfc3339
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import RecordRef
from aliquot.ledger.note import LogKey, parse_checkpoint
from aliquot.ledger.sequencer import Sequencer
from aliquot.platform.db import Database
from aliquot.platform.http import install_problem_handlers
from aliquot.platform.settings import Settings, load_settings
from aliquot.platform.vault import Vault
from aliquot.records.http import router
from aliquot_verify.verify import Known, verify
from tests.conftest import ManualClock
from tests.ledger.conftest import an_event

ROUTES = [
    ("GET", "/api/audit"),
    ("GET", "/api/audit/checkpoint"),
    ("GET", f"/api/audit/proof/{uuid.uuid4()}"),
    ("GET", "/tlog/checkpoint"),
    ("GET", "/tlog/tile/0/000"),
    ("GET", "/tlog/tile/entries/000"),
    ("POST", "/api/audit/export"),
]


@dataclass
class Services:
    identity: IdentityApi
    db: Database
    settings: Settings
    ledger: LedgerApi


@dataclass
class House:
    app: FastAPI
    services: Services
    sequencer: Sequencer
    clock: ManualClock
    key: LogKey

    def client(self, token: str | None = None) -> httpx2.AsyncClient:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url="http://test", headers=headers)

    async def logged_in(self, *roles: str) -> httpx2.AsyncClient:
        """A client of a fresh person with these roles."""
        who = {"email": f"{'-'.join(roles)}@example.org", "password": "correct horse battery"}
        async with self.services.db.begin() as tx:
            await self.services.identity.create_person(tx, name="Somebody", roles=roles, **who)
        async with self.client() as client:
            return self.client((await client.post("/api/auth/login", json=who)).json()["token"])

    async def append(self, count: int, **changes: Any) -> list[str]:
        async with self.services.db.begin() as tx:
            ids = await self.services.ledger.append_many(tx, [an_event(i, **changes) for i in range(count)])
        return [str(i) for i in ids]


@pytest.fixture
async def house(database: Database, vault: Vault, clock: ManualClock, sequencer: Sequencer, log_key: LogKey) -> House:
    ledger = LedgerApi(vault, clock, key=log_key)
    settings = load_settings()
    passwords = Passwords(Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1))
    services = Services(IdentityApi(vault, ledger, clock, settings, passwords=passwords), database, settings, ledger)
    app = FastAPI()
    app.state.services = services
    app.include_router(router)
    app.include_router(identity_router)
    install_problem_handlers(app)
    return House(app, services, sequencer, clock, log_key)


@pytest.mark.rule("11.10(d)")
async def test_nobody_without_the_right_reads_or_exports(house: House) -> None:
    await house.append(3)
    await house.sequencer.run_once()
    scientist = await house.logged_in("scientist")
    for method, path in ROUTES:
        assert (await house.client().request(method, path)).status_code == 401, path
        assert (await scientist.request(method, path)).json()["code"] == "forbidden", path


@pytest.mark.rule("ALCOA available", "Annex 11 s.9")
async def test_the_list_is_filtered_and_paged(house: House) -> None:
    admin = await house.logged_in("admin")
    await house.append(5, action="run.started", actor="ada")
    house.clock.advance(3_600)
    later = house.clock.now()
    await house.append(4, action="run.stopped", actor="ada", record=RecordRef(type="run", id="r:7"))
    await house.append(1, action="run.started", actor="bob", record=RecordRef(type="sample", id="r:7"))

    async def found(**query: Any) -> list[dict[str, Any]]:
        answer = await admin.get("/api/audit", params=query)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    assert [e["record"]["id"] for e in await found(actor="ada", action="run.started")] == ["r-4", "r-3", "r-2", "r-1", "r-0"]
    assert len(await found(record="run:r:7")) == 4
    assert len(await found(record="r-2")) == 1
    assert len(await found(action="run.started", **{"from": rfc3339(later)})) == 1
    assert len(await found(action="run.started", to=rfc3339(later))) == 5
    assert await found(actor="ada' OR 1=1 --") == []
    seen: list[str] = []
    query = {"actor": "ada", "limit": 4}
    while True:
        page = (await admin.get("/api/audit", params=query)).json()
        seen += [e["id"] for e in page["items"]]
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert len(seen) == len(set(seen)) == 9
    assert await found(after=seen[-1], actor="ada") == []


async def test_seq_is_null_until_the_log_holds_the_event(house: House) -> None:
    admin = await house.logged_in("admin")
    (event_id,) = await house.append(1, actor="ada")
    assert [(e["id"], e["seq"]) for e in (await admin.get("/api/audit", params={"actor": "ada"})).json()["items"]] == [(event_id, None)]
    answer = await admin.get(f"/api/audit/proof/{event_id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "audit_event_pending")
    await house.sequencer.run_once()
    assert isinstance((await admin.get("/api/audit", params={"actor": "ada"})).json()["items"][0]["seq"], int)


BAD_QUERIES = [
    "from=9999-12-31T23:59:59-23:59",
    "to=0001-01-01T00:00:00%2B23:59",
    "limit=0", "limit=201", "limit=x", "after=x", "from=yesterday", "from=2026-03-02T09:30:00", "actor=", "actor=%00", "record=a:%00",
    "from=2026-03-02T09:30:00Z&to=2026-03-02T09:30:00Z", "actor=" + "x" * 301,
]  # fmt: skip


async def test_bad_queries(house: House) -> None:
    admin = await house.logged_in("admin")
    for query in BAD_QUERIES:
        answer = await admin.get(f"/api/audit?{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), query


async def test_what_is_not_there(house: House) -> None:
    admin = await house.logged_in("admin")
    for path in ("/api/audit/checkpoint", "/tlog/checkpoint"):
        answer = await admin.get(path)
        assert (answer.status_code, answer.json()["code"]) == (503, "no_checkpoint")
    await house.sequencer.run_once()
    for path in (
        f"/api/audit?after={uuid.uuid4()}",
        f"/api/audit/proof/{uuid.uuid4()}", "/api/audit/proof/x", "/tlog/tile/0/001", "/tlog/tile/0/000",
        "/tlog/tile/1/000", "/tlog/tile/63/000", "/tlog/tile/0/x", "/tlog/tile/0/../../keys", "/tlog/tile/0/x999/x999/x999/x999/x999/999",
    ):  # fmt: skip
        assert (await admin.get(path)).status_code == 404, path


@pytest.mark.rule("HIPAA 164.312(c)", "ALCOA consistent")
async def test_a_proof_leads_from_the_event_to_the_signed_root(house: House) -> None:
    admin = await house.logged_in("admin")
    ids = await house.append(300)
    await house.sequencer.run_once()
    event = next(e for e in (await admin.get("/api/audit", params={"limit": 200})).json()["items"] if e["id"] == ids[290])
    proof = (await admin.get(f"/api/audit/proof/{ids[290]}")).json()
    head = parse_checkpoint(house.key.open(proof["checkpoint"]))
    assert (proof["seq"], proof["size"]) == (event.pop("seq"), head.size)
    leaf = sha256(b"\x00" + json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).digest()
    assert base64.b64decode(proof["leaf_hash"]) == leaf
    path = [base64.b64decode(part) for part in proof["path"]]
    assert climb(leaf, proof["seq"], head.size, path) == head.root_hash == base64.b64decode(proof["root_hash"])
    text = (await admin.get(f"/api/audit/proof/{ids[290]}?format=tlog-proof")).text
    lines = text.split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", f"index {proof['seq']}"]
    assert lines[2 : lines.index("")] == proof["path"]
    assert text.endswith("\n\n" + proof["checkpoint"])


def climb(result: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """RFC 9162 §2.1.3.2."""
    last = size - 1
    for sibling in path:
        if index & 1 or index == last:
            result = sha256(b"\x01" + sibling + result).digest()
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            result = sha256(b"\x01" + result + sibling).digest()
        index, last = index >> 1, last >> 1
    assert last == 0
    return result


async def test_tiles_over_http_are_the_published_files(house: House, folder: Path) -> None:
    admin = await house.logged_in("admin")
    await house.append(700)
    await house.sequencer.run_once()
    published = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}  # noqa: ASYNC240 - a small folder
    assert json.loads(published.pop("keys.json")) == {"vkeys": [house.key.vkey]}
    assert {"checkpoint", "tile/0/000", "tile/entries/001", "tile/1/000.p/2"} <= set(published)
    for name, content in published.items():
        assert (await admin.get(f"/tlog/{name}")).content == content, name


@pytest.mark.rule("Annex 11 s.9", "HIPAA 164.312(b)")
async def test_reading_is_itself_recorded(house: House) -> None:
    admin = await house.logged_in("admin")
    await house.append(2, actor="zora")
    await house.sequencer.run_once()
    size = (await admin.get("/api/audit/checkpoint")).json()["size"]
    assert (await admin.get(f"/tlog/tile/0/000.p/{size}")).status_code == 200
    assert (await admin.get("/api/audit", params={"action": "audit.read"})).json()["items"] == []
    await admin.get("/api/audit", params={"actor": "zora"})
    await admin.get(f"/tlog/tile/entries/000.p/{size}")
    recorded = (await admin.get("/api/audit", params={"action": "audit.read"})).json()["items"]
    assert [(e["via"], [c["name"] for c in e["content"]]) for e in recorded] == [("session", ["query"])] * 3
    assert "zora" not in json.dumps(recorded)  # no word of hexadecimal digits: a hash must not contain it by chance


@pytest.mark.rule("11.10(b)", "Annex 11 s.17", "ALCOA available")
async def test_an_export_over_http_verifies(house: House, tmp_path: Path) -> None:
    reviewer = await house.logged_in("reviewer")
    await house.append(300)
    await house.sequencer.run_once()
    answer = await reviewer.post("/api/audit/export")
    assert answer.headers["content-type"] == "application/zip"
    assert int(answer.headers["content-length"]) == len(answer.content)
    (tmp_path / "b.zip").write_bytes(answer.content)
    report = verify(tmp_path / "b.zip", Known(vkey=house.key.vkey))
    assert report.findings == []
    assert report.count > 300
    assert b"audit.exported" not in answer.content
    async with house.services.db.begin() as tx:
        status = await house.services.ledger.status(tx)
    assert status.waiting == 1  # the export itself
    house.clock.advance(3_600)
    await house.append(5)
    await house.sequencer.run_once()
    body = {"from": rfc3339(house.clock.now()), "to": None}
    (tmp_path / "part.zip").write_bytes((await reviewer.post("/api/audit/export", json=body)).content)
    report = verify(tmp_path / "part.zip", Known(vkey=house.key.vkey))
    assert (report.findings, report.count) == ([], 5)


BAD_BODIES = [
    '{"from": "9999-12-31T23:59:59-23:59"}',
    '{"to": "0001-01-01T00:00:00+23:59"}',
    '{"from":"x"}', '{"until":null}', '{"from":"2026-03-02T09:30:00"}', "[1]", "{",
    '{"from":"2026-03-02T09:30:00Z","to":"2026-03-01T09:30:00Z"}',
]  # fmt: skip


async def test_bad_export_bodies(house: House) -> None:
    reviewer = await house.logged_in("reviewer")
    for body in BAD_BODIES:
        answer = await reviewer.post("/api/audit/export", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422, body
