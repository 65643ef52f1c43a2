"""Approvals, explanations and the log of decisions by HTTP, with people who log in and sign with their password."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from pwdlib.hashers.argon2 import Argon2Hasher

from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import SYSTEM, Principal
from aliquot.identity.http import router as identity_router
from aliquot.identity.passwords import Passwords
from aliquot.kernel.problems import NotFound
from aliquot.ledger.api import LedgerApi
from aliquot.platform.db import Database, Transaction
from aliquot.platform.http import install_problem_handlers
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Vault
from aliquot.policy.api import PolicyApi
from aliquot.policy.contracts import ToolFacts
from aliquot.policy.http import router
from aliquot.policy.signatures import ApprovalSignatures
from aliquot.records.signatures.api import SignaturesApi
from aliquot.records.signatures.http import router as signatures_router
from tests.conftest import ManualClock
from tests.policy.conftest import PREVIEW, READ, START_RUN, STOP_RUN, query

PASSWORD = "correct horse battery"
TOOLS = {tool.name: tool for tool in (START_RUN, STOP_RUN, READ)}


@dataclass
class Site:
    """The application over a real database, with the services its routes ask for."""

    identity: IdentityApi
    db: Database
    settings: Settings
    policy: PolicyApi
    signatures: SignaturesApi
    clock: ManualClock
    app: FastAPI = field(default_factory=FastAPI)
    continued: list[uuid.UUID] = field(default_factory=list)
    clients: list[httpx2.AsyncClient] = field(default_factory=list)

    async def describe_call(self, _: Transaction, __: Principal, tool: str, arguments: dict[str, Any]) -> tuple[ToolFacts, dict[str, Any]]:
        if tool not in TOOLS:
            raise NotFound
        return TOOLS[tool], {"foreign_run": arguments.get("run") == "R-2"} if tool == "stop_run" else {}

    def client(self, credential: str | None = None) -> httpx2.AsyncClient:
        headers = {} if credential is None else {"authorization": f"Bearer {credential}"}
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url="http://test", headers=headers)
        self.clients.append(client)
        return client

    async def make(self, email: str, *roles: str) -> Principal:
        async with self.db.begin() as tx:
            made = await self.identity.create_person(tx, email=email, name=email, roles=roles, password=PASSWORD)
            await self.signatures.accept_for(tx, made.person.id)
            return await self.identity.principal(tx, made.person.id)

    async def enter(self, email: str) -> httpx2.AsyncClient:
        answer = await self.client().post("/api/auth/login", json={"email": email, "password": PASSWORD})
        return self.client(answer.json()["token"])

    async def key(self, person: Principal) -> httpx2.AsyncClient:
        async with self.db.begin() as tx:
            made = await self.identity.create_key(tx, person.id, name="agent", expires_at=None, by=SYSTEM)
        return self.client(made.secret)

    async def ask(self, person: Principal, tool: ToolFacts = START_RUN, **facts: Any) -> str:
        async with self.db.begin() as tx:
            asked = query(person, tool, facts=facts)
            decision = await self.policy.decide(tx, asked)
            approval = await self.policy.request_approval(tx, query=asked, decision=decision, call_id="call-1", preview=PREVIEW)
        return str(approval.id)

    async def identity_of(self, email: str) -> Principal:
        async with self.db.begin() as tx:
            return await self.identity.principal(tx, (await self.identity.person(tx, email)).id)

    async def refusals(self) -> list[str]:
        sql = sa.text(
            "SELECT convert_from(body, 'UTF8')::jsonb ->> 'reason' FROM audit_event WHERE action = 'approval.refused' ORDER BY id"
        )
        async with self.db.begin() as tx:
            return [row[0] for row in await tx.rows(sql)]


@pytest.fixture
async def site(database: Database, vault: Vault, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Site]:
    settings, ledger = Settings(data_dir=tmp_path), LedgerApi(vault, clock)
    identity = IdentityApi(vault, ledger, clock, settings, passwords=Passwords(Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1)))
    signatures = SignaturesApi(identity=identity, ledger=ledger, vault=vault, clock=clock, settings=settings)
    decisions = ApprovalSignatures(signatures)
    policy = PolicyApi(ledger, vault, clock, settings, verify_signature=decisions, leave_signature=decisions.leave)
    for kind in policy.signable:
        signatures.register(kind)
    made = Site(identity=identity, db=database, settings=settings, policy=policy, signatures=signatures, clock=clock)

    async def continue_run(_: Transaction, run_id: uuid.UUID) -> None:
        made.continued.append(run_id)

    policy.continue_run = continue_run
    made.app.state.services = made
    made.app.include_router(identity_router)
    made.app.include_router(router)
    made.app.include_router(signatures_router)
    install_problem_handlers(made.app)
    yield made
    for client in made.clients:
        await client.aclose()


def problem(answer: httpx2.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def test_the_requester_sees_the_preview_and_confirms(site: Site) -> None:
    scientist = await site.make("s@demo.lab", "scientist")
    asked, browser = await site.ask(scientist), await site.enter("s@demo.lab")

    listed = (await browser.get("/api/approvals", params={"state": "pending"})).json()
    assert [item["id"] for item in listed["items"]] == [asked]
    shown = (await browser.get(f"/api/approvals/{asked}")).json()
    assert shown["preview"]["summary"] == PREVIEW.summary
    assert shown["may_decide"] is True
    assert shown["expires_at"] == "2026-03-02T09:45:00.000Z"
    assert shown["decision"]["reasons"][0].keys() == {"policy_id", "text"}

    answer = await browser.post(f"/api/approvals/{asked}/decision", json={"decision": "approve", "reason": "plate checked"})
    assert answer.status_code == 202
    assert answer.json()["run_id"] == str(site.continued[0])
    assert answer.json()["approval"]["state"] == "approved"
    assert answer.json()["approval"]["reason"] == "plate checked"
    assert problem(await browser.post(f"/api/approvals/{asked}/decision", json={"decision": "reject"})) == (409, "already_decided")
    assert (await browser.get("/api/approvals", params={"state": "pending"})).json() == {
        "items": [], "next": None, "counts": {"mine": 0, "inbox": 0},
    }  # fmt: skip
    assert len(site.continued) == 1
    assert await site.refusals() == ["already_decided"]


@pytest.mark.rule("11.10(g)", "11.10(h)")
async def test_an_agent_with_the_persons_key_cannot_decide(site: Site) -> None:
    scientist = await site.make("s@demo.lab", "scientist")
    asked, agent = await site.ask(scientist), await site.key(scientist)
    assert (await agent.get(f"/api/approvals/{asked}")).json()["may_decide"] is False
    for decision in ("approve", "reject"):
        refused = await agent.post(f"/api/approvals/{asked}/decision", json={"decision": decision})
        assert problem(refused) == (403, "session_required")
    assert site.continued == []
    assert await site.refusals() == ["session_required"] * 2


async def test_a_signature_takes_the_signers_own_password(site: Site) -> None:
    scientist = await site.make("s@demo.lab", "scientist")
    await site.make("r@demo.lab", "reviewer")
    asked, reviewer, own = (
        await site.ask(scientist, STOP_RUN, foreign_run=True),
        await site.enter("r@demo.lab"),
        await site.enter("s@demo.lab"),
    )
    path, signed = f"/api/approvals/{asked}/decision", {"meaning": "approval", "password": PASSWORD}

    assert problem(await own.post(path, json={"decision": "approve", "signature": signed})) == (403, "own_request")
    assert problem(await reviewer.post(path, json={"decision": "approve"})) == (422, "signature_required")
    assert problem(await reviewer.post(path, json={"decision": "approve", "signature": {"meaning": "approval"}})) == (
        422,
        "signature_required",
    )
    wrong = await reviewer.post(path, json={"decision": "approve", "signature": {**signed, "password": "guess"}})
    assert problem(wrong) == (403, "signature_refused")
    assert wrong.json()["cause"] == "wrong_password"
    otp = await reviewer.post(path, json={"decision": "approve", "signature": {"meaning": "approval", "otp": "123456"}})
    assert problem(otp) == (403, "signature_refused")
    assert problem(await reviewer.post(path, json={"decision": "approve", "signature": {**signed, "meaning": "joy"}})) == (
        422,
        "unknown_meaning",
    )
    assert site.continued == []

    answer = await reviewer.post(path, json={"decision": "approve", "signature": signed})
    assert (answer.status_code, answer.json()["approval"]["state"]) == (202, "approved")
    assert await site.refusals() == [
        "own_request", "signature_refused:wrong_password", "signature_refused:otp_not_enrolled"
    ]  # fmt: skip

    left = (await reviewer.get(f"/api/records/approval/{asked}/signatures")).json()["items"]
    assert [(one["meaning"], one["printed_name"], one["sha256"], one["content"]) for one in left] == [
        ("approval", "r@demo.lab", answer.json()["approval"]["binding_sha256"], "current")
    ]
    again = await reviewer.post(f"/api/records/approval/{asked}/signatures", json={"meaning": "review", "password": PASSWORD})
    assert problem(again) == (409, "not_signable"), "an approval is signed by deciding it"


async def test_guessing_the_password_of_a_signature_locks(site: Site) -> None:
    scientist = await site.make("s@demo.lab", "scientist")
    await site.make("r@demo.lab", "reviewer")
    path = f"/api/approvals/{await site.ask(scientist, STOP_RUN, foreign_run=True)}/decision"
    reviewer = await site.enter("r@demo.lab")
    causes = []
    for _ in range(7):
        body = {"decision": "approve", "signature": {"meaning": "approval", "password": "guess"}}
        causes.append((await reviewer.post(path, json=body)).json()["cause"])
    assert causes[:5] == ["wrong_password"] * 5
    assert set(causes[5:]) == {"locked"}
    body = {"decision": "approve", "signature": {"meaning": "approval", "password": PASSWORD}}
    assert (await reviewer.post(path, json=body)).status_code == 403
    assert site.continued == []


async def test_a_right_to_sign_taken_away_counts_at_once(site: Site) -> None:
    scientist, reviewer = await site.make("s@demo.lab", "scientist"), await site.make("r@demo.lab", "reviewer")
    asked, browser = await site.ask(scientist, STOP_RUN, foreign_run=True), await site.enter("r@demo.lab")
    async with site.db.begin() as tx:
        await site.identity.change_person(tx, reviewer.id, may_sign=False, by=SYSTEM)
    body = {"decision": "approve", "signature": {"meaning": "approval", "password": PASSWORD}}
    assert problem(await browser.post(f"/api/approvals/{asked}/decision", json=body)) == (403, "may_not_sign")


async def test_other_people_see_nothing(site: Site) -> None:
    scientist = await site.make("s@demo.lab", "scientist")
    await site.make("v@demo.lab", "viewer")
    asked, other = await site.ask(scientist), await site.enter("v@demo.lab")
    assert problem(await other.get(f"/api/approvals/{asked}")) == (404, "not_found")
    assert problem(await other.post(f"/api/approvals/{asked}/decision", json={"decision": "approve"})) == (404, "not_found")
    assert problem(await other.post(f"/api/approvals/{asked}/withdraw")) == (404, "not_found")
    assert (await other.get("/api/approvals")).json()["items"] == []
    nobody = site.client()
    for method, path in (("GET", ""), ("GET", f"/{asked}"), ("POST", f"/{asked}/decision"), ("POST", f"/{asked}/withdraw")):
        assert problem(await nobody.request(method, f"/api/approvals{path}", json={"decision": "approve"})) == (401, "unauthenticated")


async def test_expiry_is_a_conflict_and_withdrawing_is_final(site: Site) -> None:
    scientist = await site.make("s@demo.lab", "scientist")
    first, second, browser = await site.ask(scientist), await site.ask(scientist), await site.enter("s@demo.lab")
    assert (await browser.post(f"/api/approvals/{first}/withdraw")).json()["state"] == "withdrawn"
    assert problem(await browser.post(f"/api/approvals/{first}/withdraw")) == (409, "already_decided")
    site.clock.advance(901)
    assert problem(await browser.post(f"/api/approvals/{second}/decision", json={"decision": "approve"})) == (409, "approval_expired")
    assert (await browser.get(f"/api/approvals/{second}")).json()["state"] == "expired"


async def test_bad_input_is_refused_by_name(site: Site) -> None:
    scientist = await site.make("s@demo.lab", "scientist")
    asked, browser = await site.ask(scientist), await site.enter("s@demo.lab")
    bodies: tuple[Any, ...] = (
        {}, {"decision": "yes"}, {"decision": "approve", "force": True}, {"decision": ["approve"]}, [], None,
        {"decision": "approve", "reason": "x" * 2_001}, {"decision": "approve", "reason": "no \u202ekrow"},
        {"decision": "approve", "signature": "me"},
        {"decision": "approve", "signature": {"meaning": "approval", "password": "x" * 1_025}},
    )  # fmt: skip
    for body in bodies:
        assert problem(await browser.post(f"/api/approvals/{asked}/decision", json=body)) == (422, "invalid_input")
    for path in ("/api/approvals/not-an-id", "/api/approvals/" + "0" * 36, f"/api/approvals/{uuid.uuid4()}"):
        assert problem(await browser.get(path)) == (404, "not_found")
    for parameters in ({"limit": 0}, {"limit": 201}, {"state": "maybe"}, {"after": "x"}):
        assert problem(await browser.get("/api/approvals", params=parameters)) == (422, "invalid_input")
    assert (await browser.get(f"/api/approvals/{asked}")).json()["state"] == "pending"


async def test_decisions_at_the_same_time_have_one_winner(site: Site) -> None:
    scientist = await site.make("s@demo.lab", "scientist")
    asked, browser = await site.ask(scientist), await site.enter("s@demo.lab")
    path = f"/api/approvals/{asked}/decision"
    answers = await asyncio.gather(*(browser.post(path, json={"decision": "approve"}) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 19


async def test_an_explanation_says_why_for_somebody_else(site: Site) -> None:
    scientist = await site.make("s@demo.lab", "scientist")
    await site.make("v@demo.lab", "viewer")
    await site.make("r@demo.lab", "reviewer")
    reader = await site.enter("r@demo.lab")

    async def explain(user: str, tool: str, **arguments: Any) -> dict[str, Any]:
        answer = await reader.post("/api/policy/explain", json={"user": user, "tool": tool, "arguments": arguments})
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    stop = await explain("s@demo.lab", "stop_run", run="R-2")
    assert (stop["decision"], stop["obligations"], stop["policy_version"]) == ("confirm", ["sign", "confirm"], site.policy.policy_version)
    assert {reason["policy_id"] for reason in stop["reasons"]} == {"lab-operate", "confirm-instrument", "sign-foreign-run"}
    assert (await explain(str(scientist.id), "stop_run", run="R-1"))["obligations"] == ["confirm"]
    denied = await explain("v@demo.lab", "start_run")
    assert (denied["decision"], [reason["policy_id"] for reason in denied["reasons"]]) == (
        "deny",
        ["missing-permission", "viewer-reads-only"],
    )
    assert (await reader.get("/api/policy/decisions")).json()["items"] == []

    for body in ({"user": "nobody@demo.lab", "tool": "start_run"}, {"user": "s@demo.lab", "tool": "no_such_tool"}):
        assert problem(await reader.post("/api/policy/explain", json=body)) == (404, "not_found")
    async with site.db.begin() as tx:
        await site.identity.set_active(tx, scientist.id, False, by=SYSTEM)
    disabled = await reader.post("/api/policy/explain", json={"user": "s@demo.lab", "tool": "start_run"})
    assert problem(disabled) == (422, "invalid_input")


async def test_every_decision_is_logged_for_readers_of_the_policy(site: Site) -> None:
    scientist, viewer = await site.make("s@demo.lab", "scientist"), await site.make("v@demo.lab", "viewer")
    await site.make("r@demo.lab", "reviewer")
    reader, other = await site.enter("r@demo.lab"), await site.enter("v@demo.lab")
    async with site.db.begin() as tx:
        for asked in (query(scientist, READ, {}), query(scientist), query(viewer)):
            await site.policy.decide(tx, asked)
    logged = (await reader.get("/api/policy/decisions")).json()["items"]
    assert [item["decision"] for item in logged] == ["deny", "confirm", "allow"]
    assert all(item["reasons"] and item["policy_version"] == site.policy.policy_version for item in logged)
    assert "arguments" not in logged[0]
    first = (await reader.get("/api/policy/decisions", params={"limit": 2})).json()
    rest = (await reader.get("/api/policy/decisions", params={"limit": 2, "after": first["next"]})).json()
    assert [item["id"] for item in (*first["items"], *rest["items"])] == [item["id"] for item in logged]
    mine = (await reader.get("/api/policy/decisions", params={"user_id": str(viewer.id), "decision": "deny"})).json()["items"]
    assert [item["id"] for item in mine] == [logged[0]["id"]]
    async with site.db.begin() as tx:
        actions = [row[0] for row in await tx.rows(sa.text("SELECT action FROM audit_event WHERE action LIKE 'tool\\_call.%' ORDER BY id"))]
    assert actions == ["tool_call.held", "tool_call.denied"]
    for path, body in (("/api/policy/decisions", None), ("/api/policy/explain", {"user": "s@demo.lab", "tool": "start_run"})):
        answer = await (other.get(path) if body is None else other.post(path, json=body))
        assert problem(answer) == (403, "forbidden")
