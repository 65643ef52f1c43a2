"""Electronic signatures over HTTP: what works, and every way of getting one that nobody gave."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import psycopg
import pytest
import sqlalchemy as sa

from aliquot.identity import otp
from aliquot.identity.contracts import SYSTEM
from aliquot.kernel.canonical import sha256_hex
from tests.conftest import Urls
from tests.site import PASSWORD, Seeded, Site, running_site, seeded, seeded_urls, site  # noqa: F401 - fixtures

PROTOCOL = "/api/records/protocol/PCR-STD-35"
WITH = {"password": PASSWORD}


def refused(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    document: dict[str, Any] = answer.json()
    return document


async def ended_run(client: httpx2.AsyncClient) -> dict[str, Any]:
    """A run by the scientist that is over."""
    runs = (await client.get("/api/runs-of-instruments", params={"state": "done"})).json()["items"]
    found: dict[str, Any] = next(run for run in runs if "Sana" in run["operator"])
    return found


async def conversation(client: httpx2.AsyncClient, *messages: str, into: str | None = None) -> str:
    for message in messages:
        body = {"message": message} | ({"conversation_id": into} if into else {})
        into = str((await client.post("/api/chat/completion", json=body)).json()["conversation_id"])
    assert into is not None
    return into


async def events(site: Site, action: str) -> list[dict[str, Any]]:  # noqa: F811
    async with site.services.db.begin() as tx:
        rows = await tx.rows(sa.text("SELECT body FROM audit_event WHERE action = :action ORDER BY id"), {"action": action})
    return [json.loads(bytes(row.body)) for row in rows]


@pytest.mark.rule("11.50", "Annex 11 s.14", "ALCOA attributable")
async def test_a_run_is_signed_by_its_operator_and_reviewed_by_somebody_else(site: Site) -> None:  # noqa: F811
    scientist, reviewer = await site.client("scientist"), await site.client("reviewer")
    run = await ended_run(scientist)
    path = f"/api/records/instrument_run/{run['id']}"
    seen = (await scientist.get(path)).json()
    assert (seen["record_id"], seen["version"], seen["components"], seen["continued"]) == (run["code"], run["version"], ["password"], True)
    assert {m["meaning"]: m["refusal"] for m in seen["meanings"]} == {
        "authorship": None, "review": "self_verification", "approval": "self_verification", "responsibility": None, "rejection": None,
    }  # fmt: skip
    wish = {"meaning": "authorship", "reason": "ran it", "version": seen["version"], "sha256": seen["sha256"], **WITH}
    answer = await scientist.post(f"{path}/signatures", json=wish)
    assert answer.status_code == 201, answer.text
    signed = answer.json()
    assert (
        signed | {"record_type": "instrument_run", "record_id": run["code"], "version": run["version"], "sha256": seen["sha256"]} == signed
    )
    assert (signed["meaning"], signed["printed_name"], signed["time_zone"]) == ("authorship", "Sana Scientist (demo)", "UTC")
    assert (signed["reason"], signed["content"], signed["revoked"]) == ("ran it", "current", None)
    assert signed["signed_at"].endswith("Z")

    refused(await scientist.post(f"{path}/signatures", json=wish), 409, "already_signed")
    refused(await scientist.post(f"{path}/signatures", json=wish | {"meaning": "review"}), 403, "self_verification")
    refused(await reviewer.post(f"{path}/signatures", json=wish), 403, "authors_only")
    assert (await reviewer.post(f"{path}/signatures", json=wish | {"meaning": "review"})).status_code == 201

    assert signed["state"] == "pending"
    for _ in range(500):
        listed = (await reviewer.get(f"{path}/signatures")).json()
        if all(one["state"] == "final" for one in listed["items"]):
            break
        await asyncio.sleep(0.02)
    assert [(one["meaning"], one["state"]) for one in listed["items"]] == [("review", "final"), ("authorship", "final")]
    assert listed["next"] is None
    content = await reviewer.get(f"{path}/signatures/{signed['id']}/content")
    assert sha256_hex(content.content) == signed["sha256"]
    assert json.loads(content.content)["results"] == [json.loads(json.dumps(result)) for result in run["results"]]
    event = (await events(site, "signature.created"))[0]
    assert (event["id"], event["reason"], event["versions"]) == (
        signed["event_id"], "authorship", {"statement": signed["statement_sha256"]},
    )  # fmt: skip
    assert event["record"] == {"type": "instrument_run", "id": run["code"], "version": run["version"]}
    assert [c["name"] for c in event["content"]] == ["record"]
    assert {e["reason"] for e in await events(site, "signature.refused")} == {"already_signed", "self_verification", "authors_only"}


@pytest.mark.rule("11.70", "Annex 11 s.8.2", "Annex 11 s.14")
async def test_a_conversation_is_signed_up_to_a_message_and_stays_so(site: Site) -> None:  # noqa: F811
    scientist = await site.client("scientist")
    files = [(await scientist.post("/api/attachments", files={"file": (f"{n}.txt", b"x", "text/plain")})).json()["id"] for n in "ab"]
    asked = {"message": "Which instruments are idle?", "attachments": files[:1]}
    talk = str((await scientist.post("/api/chat/completion", json=asked)).json()["conversation_id"])
    path = f"/api/records/conversation/{talk}"
    first = (await scientist.get(path)).json()
    signed = (await scientist.post(f"{path}/signatures", json={"meaning": "review", "sha256": first["sha256"], **WITH})).json()
    assert (signed["version"], signed["part"]) == (first["version"], first["part"])
    await conversation(scientist, "And PCR-02?", into=talk)
    later = (await scientist.get(path)).json()
    assert later["version"] == first["version"] + 2
    changed = refused(
        await scientist.post(f"{path}/signatures", json={"meaning": "approval", "sha256": first["sha256"], **WITH}), 409, "version_changed"
    )
    assert (changed["version"], changed["sha256"]) == (later["version"], later["sha256"])
    refused(await scientist.post(f"{path}/signatures", json={"meaning": "approval", "version": 2, **WITH}), 409, "version_changed")
    assert [one["content"] for one in (await scientist.get(f"{path}/signatures")).json()["items"]] == ["superseded"]
    branch = await scientist.post(f"{path}/signatures", json={"meaning": "approval", "part": first["part"], "version": 2, **WITH})
    assert (branch.status_code, branch.json()["sha256"]) == (201, first["sha256"])
    assert (await scientist.post(f"{path}/signatures", json={"meaning": "review", **WITH})).status_code == 201, (
        "a later version is unsigned"
    )
    messages = (await scientist.get(f"/api/conversations/{talk}/messages")).json()["items"]
    asked = [message["id"] for message in messages if message["role"] == "user"]
    for message in asked:
        late = await scientist.post(f"/api/messages/{message}/attachments", files={"file": ("late.txt", b"late", "text/plain")})
        refused(late, 409, "message_signed")
    refused(await scientist.delete(f"/api/attachments/{files[0]}"), 409, "message_signed")
    assert (await scientist.get(f"/api/attachments/{files[0]}/download")).content == b"x"
    assert (await scientist.delete(f"/api/attachments/{files[1]}")).status_code == 204
    refused(await scientist.delete(f"/api/conversations/{talk}"), 409, "record_signed")
    content = await scientist.get(f"{path}/signatures/{signed['id']}/content")
    assert [message["role"] for message in json.loads(content.content)["messages"]] == ["user", "assistant"]

    reviewer = await site.client("reviewer")
    for method, at in (("GET", path), ("GET", f"{path}/signatures"), ("GET", f"{path}/signatures/{signed['id']}")):
        assert (await reviewer.request(method, at)).status_code == 404, "somebody else's conversation"
    assert (await reviewer.post(f"{path}/signatures", json={"meaning": "review", **WITH})).status_code == 404
    shared = await scientist.post(f"/api/conversations/{talk}/share", json={"users": ["reviewer@demo.lab"], "live": True})
    assert shared.status_code == 201, shared.text
    theirs = await reviewer.post(f"{path}/signatures", json={"meaning": "review", "part": first["part"], **WITH})
    assert (theirs.status_code, theirs.json()["sha256"]) == (201, first["sha256"]), "who may read it may sign it"
    refused(await reviewer.post(f"{path}/signatures", json={"meaning": "authorship", **WITH}), 403, "authors_only")
    other = await conversation(scientist, "Which protocols are there?")
    copied = f"/api/records/conversation/{other}/signatures/{signed['id']}"
    assert (await scientist.get(copied)).status_code == 404, "a signature belongs to its record"
    refused(
        await scientist.post(
            f"/api/records/conversation/{other}/signatures", json={"meaning": "review", "sha256": first["sha256"], **WITH}
        ),
        409,
        "version_changed",
    )
    foreign = await scientist.post(
        f"/api/records/conversation/{other}/signatures", json={"meaning": "review", "part": first["part"], **WITH}
    )
    assert foreign.status_code == 404, "a message of another conversation"


@pytest.mark.rule("11.10(g)", "11.200")
async def test_a_bearer_token_alone_never_signs(site: Site) -> None:  # noqa: F811
    scientist = await site.client("scientist")
    path = f"{PROTOCOL}/signatures"
    refused(await scientist.post(path, json={"meaning": "responsibility"}), 422, "signature_required")
    refused(await scientist.post(path, json={"meaning": "responsibility", "password": "guess"}), 403, "wrong_password")
    refused(await scientist.post(path, json={"meaning": "responsibility", "otp": "123456"}), 409, "otp_not_enrolled")
    refused(await scientist.post(path, json={"meaning": "joy", **WITH}), 422, "unknown_meaning")
    for reason in (" ", "as agreed \u202edetcejer", "a\x00b"):
        refused(await scientist.post(path, json={"meaning": "responsibility", "reason": reason, **WITH}), 422, "invalid_input")
    async with site.services.db.begin() as tx:
        key = await site.services.identity.create_key(tx, site.people["scientist"], name="agent", expires_at=None, by=SYSTEM)
    agent = await site.anonymous()
    agent.headers["Authorization"] = f"Bearer {key.secret}"
    refused(await agent.post(path, json={"meaning": "responsibility", **WITH}), 403, "session_required")
    viewer = await site.client("viewer")
    refused(await viewer.post(path, json={"meaning": "responsibility", **WITH}), 403, "may_not_sign")
    refused(await scientist.post("/api/records/nonsense/1/signatures", json={"meaning": "review", **WITH}), 404, "unknown_record_kind")
    stolen = dict(scientist.headers)
    assert (await scientist.post("/api/auth/logout")).status_code == 204
    thief = await site.anonymous()
    assert (await thief.post(path, json={"meaning": "responsibility", **WITH}, headers=stolen)).status_code == 401, "after log-out"
    assert (await viewer.get(path)).json()["items"] == []
    for _ in range(5):
        await viewer.post("/api/auth/otp", json={"password": "guess"})
    again = await site.client("scientist")
    for n in range(6):
        answer = await again.post(path, json={"meaning": "responsibility", "password": f"guess {n}"})
    refused(answer, 429, "locked")
    refused(await again.post(path, json={"meaning": "responsibility", **WITH}), 429, "locked")
    reasons = [event["reason"] for event in await events(site, "signature.refused")]
    assert reasons[:4] == ["wrong_password", "otp_not_enrolled", "session_required", "may_not_sign"]
    assert await events(site, "signature.created") == []


async def test_signing_at_once_and_again_gives_one_signature(site: Site) -> None:  # noqa: F811
    scientist = await site.client("scientist")
    path, wish = f"{PROTOCOL}/signatures", {"meaning": "responsibility", **WITH}
    answers = await asyncio.gather(*[scientist.post(path, json=wish) for _ in range(4)])
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    headers = {"Idempotency-Key": "k1"}
    wish["meaning"] = "rejection"
    answers = await asyncio.gather(*[scientist.post(path, json=wish, headers=headers) for _ in range(3)])
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    refused(await scientist.post(path, json=wish | {"meaning": "review"}, headers=headers), 422, "idempotency_mismatch")
    assert len((await scientist.get(path)).json()["items"]) == 2
    first = (await scientist.get(path, params={"limit": 1})).json()
    second = (await scientist.get(path, params={"limit": 1, "after": first["next"]})).json()
    assert [first["items"][0]["meaning"], second["items"][0]["meaning"]] == ["rejection", "responsibility"]


@pytest.mark.rule("11.50")
async def test_a_revocation_is_a_further_record(site: Site) -> None:  # noqa: F811
    scientist, reviewer = await site.client("scientist"), await site.client("reviewer")
    path, wish = f"{PROTOCOL}/signatures", {"meaning": "approval", "reason": "looks right", **WITH}
    made = (await scientist.post(path, json=wish)).json()
    revoke = f"{path}/{made['id']}/revoke"
    refused(await reviewer.post(revoke, json={"reason": "I know better", **WITH}), 403, "not_the_signer")
    refused(await scientist.post(revoke, json={"reason": "mistake"}), 422, "signature_required")
    refused(await scientist.post(revoke, json={"reason": "mistake", "password": "guess"}), 403, "wrong_password")
    assert (await scientist.post(revoke, json=WITH)).status_code == 422, "a reason is needed"
    answers = await asyncio.gather(*[scientist.post(revoke, json={"reason": "mistake", **WITH}) for _ in range(2)])
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    shown = next(answer.json() for answer in answers if answer.status_code == 200)
    assert (shown["id"], shown["revoked"]["reason"], shown["revoked"]["printed_name"]) == (made["id"], "mistake", "Sana Scientist (demo)")
    assert (await scientist.post(path, json=wish)).status_code == 201, "what was revoked can be signed again"
    listed = (await scientist.get(path)).json()["items"]
    assert [one["revoked"] is None for one in listed] == [True, False]
    assert [event["reason"] for event in await events(site, "signature.revoked")] == ["approval"]
    site.services.vault.erase(site.people["scientist"])
    left = (await reviewer.get(f"{path}/{made['id']}")).json()
    assert (left["printed_name"], left["content"], left["reason"]) == ("Sana Scientist (demo)", "current", None), (
        "the name outlives the account"
    )
    assert (left["revoked"]["printed_name"], left["revoked"]["reason"]) == ("Sana Scientist (demo)", None)


@pytest.mark.rule("11.10(j)")
async def test_the_accountability_text_comes_first(site: Site) -> None:  # noqa: F811
    async with site.services.db.begin() as tx:
        await site.services.identity.create_person(tx, email="new@demo.lab", name="Nia New", roles=["scientist"], password=PASSWORD)
    new = await site.client("new")
    path, wish = f"{PROTOCOL}/signatures", {"meaning": "responsibility", **WITH}
    refused(await new.post(path, json=wish), 403, "accountability_required")
    shown = (await new.get("/api/records/accountability")).json()
    assert (shown["accepted_at"], sha256_hex(shown["text"].encode())) == (None, shown["version"])
    body = {"version": shown["version"], **WITH}
    refused(await new.post("/api/records/accountability", json=body | {"version": "0" * 64}), 409, "version_changed")
    refused(await new.post("/api/records/accountability", json={"version": shown["version"]}), 422, "signature_required")
    refused(await new.post("/api/records/accountability", json=body | {"password": "guess"}), 403, "wrong_password")
    accepted = await new.post("/api/records/accountability", json=body)
    assert (accepted.status_code, accepted.json()["accepted_at"] is not None) == (200, True)
    assert (await new.post("/api/records/accountability", json=body)).json() == accepted.json()
    assert (await new.post(path, json=wish)).status_code == 201
    assert [e["actor"] for e in await events(site, "accountability.accepted")][-1] == (await new.get("/api/auth/me")).json()["id"]


@pytest.mark.rule("11.200", "HIPAA 164.312(a)(2)(iii)")
async def test_both_components_after_a_pause_and_one_within_a_period(seeded_urls: Urls, seeded: Seeded, tmp_path: Any) -> None:  # noqa: F811
    clock = Shifted()
    async with running_site(seeded_urls, tmp_path / "data", seeded, clock=clock, shutdown_seconds=0.2, time_zone="Europe/Berlin") as site:  # noqa: F811
        scientist = await site.client("scientist")
        secret = (await scientist.post("/api/auth/otp", json=WITH | {"at_login": False})).json()["secret"]
        assert (await scientist.post("/api/auth/otp/confirm", json={"code": clock.code(secret)})).status_code == 200
        path = f"{PROTOCOL}/signatures"
        clock.advance(60)
        replayed, code = clock.code(secret), clock.code(secret)
        made = await scientist.post(path, json={"meaning": "responsibility", "otp": code})
        assert (made.status_code, made.json()["time_zone"]) == (201, "Europe/Berlin"), made.text
        refused(await scientist.post(path, json={"meaning": "rejection", "otp": replayed}), 403, "wrong_otp")
        clock.advance(14 * 60)
        assert (await scientist.post(path, json={"meaning": "rejection", **WITH})).status_code == 201, "one component in the period"
        clock.advance(16 * 60)
        assert (await scientist.get(PROTOCOL)).json()["continued"] is False
        wish = {"meaning": "approval", **WITH}
        assert refused(await scientist.post(path, json=wish), 403, "components_required")["components"] == ["password", "otp"]
        refused(await scientist.post(path, json=wish | {"otp": "000000"}), 403, "wrong_otp")
        assert (await scientist.post(path, json=wish | {"otp": clock.code(secret)})).status_code == 201
        clock.advance(60)
        other = await site.client("scientist")
        refused(await other.post(path, json={"meaning": "review", **WITH}), 403, "components_required")


class Shifted:
    """The host's clock, moved ahead by hand."""

    def __init__(self) -> None:
        self._by = timedelta()

    def now(self) -> datetime:
        at = datetime.now(UTC) + self._by
        return at.replace(microsecond=at.microsecond // 1000 * 1000)

    def advance(self, seconds: float) -> None:
        self._by += timedelta(seconds=seconds)

    def code(self, secret: str) -> str:
        return otp.hotp(base64.b32decode(secret), otp.step_of(self.now()))


@pytest.mark.rule("11.10(a)", "11.70", "Annex 11 s.8.2")
async def test_what_was_signed_cannot_change_unseen(site: Site, seeded_urls: Urls) -> None:  # noqa: F811
    scientist, reviewer = await site.client("scientist"), await site.client("reviewer")
    run = await ended_run(scientist)
    path = f"/api/records/instrument_run/{run['code']}/signatures"
    made = (await scientist.post(path, json={"meaning": "authorship", **WITH})).json()
    assert (await scientist.post(f"{path}/{made['id']}/revoke", json={"reason": "a row for the guard", **WITH})).status_code == 200
    tables = ("signed_version", "record_signature", "signature_revocation", "accountability_text", "accountability_acceptance")
    for url in (seeded_urls.app, seeded_urls.owner):
        for table in tables:
            for statement in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
                with psycopg.connect(url) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute(statement)
        with psycopg.connect(url) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("UPDATE record_signature SET record_id = 'other'")
    with psycopg.connect(seeded_urls.owner) as conn:  # behind the back of the application, without a new version
        conn.execute("UPDATE instrument_run SET results = '[]' WHERE code = %s", [run["code"]])
    assert (await scientist.get(f"{path}/{made['id']}")).json()["content"] == "altered"
    refused(await reviewer.post(path, json={"meaning": "review", **WITH}), 409, "record_altered")
    kept = json.loads((await scientist.get(f"{path}/{made['id']}/content")).content)
    assert len(kept["results"]) == len(run["results"]) > 0, "what was signed is still there"
    with psycopg.connect(seeded_urls.owner) as conn:
        conn.execute("ALTER TABLE record_signature DISABLE TRIGGER USER")
        conn.execute("UPDATE record_signature SET meaning = 'approval'")
    damaged = (await scientist.get(f"{path}/{made['id']}")).json()
    assert (damaged["content"], damaged["printed_name"]) == ("damaged", "")
    with psycopg.connect(seeded_urls.owner) as conn:
        conn.execute("UPDATE record_signature SET meaning = 'authorship', record_type = 'protocol', record_id = 'PCR-STD-35', version = 1")
    pasted = (await scientist.get(f"{PROTOCOL}/signatures")).json()["items"]
    assert [one["content"] for one in pasted] == ["damaged"], "a row moved to another record does not pass for its signature"


@pytest.mark.rule("11.10(f)", "11.10(g)")
async def test_rules_of_the_site_decide_who_and_how_many(seeded_urls: Urls, seeded: Seeded, tmp_path: Any) -> None:  # noqa: F811
    rules = [
        {"kind": "protocol", "meaning": "review", "persons": 2, "not_also": ["responsibility"]},
        {"kind": "protocol", "meaning": "approval", "after": ["review"], "roles": ["reviewer"]},
    ]
    async with running_site(seeded_urls, tmp_path / "data", seeded, signing_rules=rules, shutdown_seconds=0.2) as site:  # noqa: F811
        scientist, reviewer, clinician = [await site.client(role) for role in ("scientist", "reviewer", "clinician")]
        path = f"{PROTOCOL}/signatures"

        async def sign(who: httpx2.AsyncClient, meaning: str) -> str:
            answer = await who.post(path, json={"meaning": meaning, **WITH})
            return "ok" if answer.status_code == 201 else str(answer.json()["code"])

        assert await sign(clinician, "responsibility") == "ok"
        assert await sign(clinician, "review") == "signed_otherwise"
        assert await sign(reviewer, "review") == "ok"
        assert await sign(reviewer, "approval") == "too_early", "one of two"
        assert await sign(scientist, "review") == "ok"
        assert await sign(scientist, "approval") == "role_missing"
        assert await sign(reviewer, "approval") == "ok"
        states = {m["meaning"]: (m["given"], m["required"], m["complete"]) for m in (await scientist.get(PROTOCOL)).json()["meanings"]}
        assert (states["review"], states["approval"]) == ((2, 2, True), (1, 1, True))


async def test_policy_bundles_and_unfinished_runs(site: Site) -> None:  # noqa: F811
    scientist, reviewer = await site.client("scientist"), await site.client("reviewer")
    assert (await scientist.get("/api/records/policy_bundle/active")).status_code == 404, "who may not read the policy"
    shown = (await reviewer.get("/api/records/policy_bundle/active")).json()
    made = await reviewer.post(f"/api/records/policy_bundle/{shown['record_id']}/signatures", json={"meaning": "approval", **WITH})
    assert (made.status_code, made.json()["record_id"]) == (201, site.services.policy.policy_version)
    active = (await scientist.get("/api/runs-of-instruments", params={"state": "active"})).json()["items"][0]
    path = f"/api/records/instrument_run/{active['code']}"
    refused(await scientist.get(path), 409, "not_signable")
    refused(await scientist.post(f"{path}/signatures", json={"meaning": "responsibility", **WITH}), 409, "not_signable")
    assert (await scientist.get(f"{path}/signatures")).json() == {"items": [], "next": None}
