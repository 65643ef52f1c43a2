"""API keys, by HTTP."""

import uuid

import pytest
import sqlalchemy as sa

from tests.identity.conftest import House, problem


async def test_a_key_is_shown_once_and_works_at_once(house: House) -> None:
    client = await house.logged_in("ada@demo.lab", "scientist")
    answer = await client.post("/api/auth/keys", json={"name": "Bench robot"})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    secret, key = answer.json()["secret"], answer.json()["key"]
    assert secret.startswith(f"alq_{key['prefix']}.")
    assert len(secret.partition(".")[2]) == 43
    assert "secret" not in (await client.get("/api/auth/keys")).text
    used = await house.client(secret).get("/probe/anyone")
    assert (used.json()["via"], "lab.operate" in used.json()["permissions"]) == ("api_key", True)
    (listed,) = (await client.get("/api/auth/keys")).json()["items"]
    assert (listed["name"], listed["last_used_at"], listed["expires_at"]) == ("Bench robot", "2026-03-02T09:30:00.000Z", None)


async def test_use_is_recorded_at_most_once_a_minute(house: House) -> None:
    client = await house.logged_in("ada@demo.lab")
    program = house.client((await client.post("/api/auth/keys", json={"name": "x"})).json()["secret"])
    seen = []
    for _ in range(5):
        await program.get("/probe/anyone")
        seen.append((await client.get("/api/auth/keys")).json()["items"][0]["last_used_at"])
        house.clock.advance(30)
    assert [at[14:19] for at in seen] == ["30:00", "30:00", "31:00", "31:00", "32:00"]


@pytest.mark.rule("11.10(h)", "11.10(g)")
async def test_a_key_cannot_do_what_needs_a_person(house: House) -> None:
    await house.make("admin@demo.lab", "admin")
    program = house.client(await house.key_of("admin@demo.lab"))
    for method, path, body in [
        ("GET", "/api/auth/keys", None),
        ("POST", "/api/auth/keys", {"name": "another"}),
        ("GET", "/api/auth/sessions", None),
        ("POST", "/api/auth/refresh", None),
        ("POST", "/api/auth/logout", None),
        ("POST", "/api/auth/password", {"old_password": "a", "new_password": "b"}),
        ("POST", "/api/admin/users", {"email": "a@b.c", "name": "A", "roles": ["admin"]}),
        ("PUT", f"/api/admin/users/{uuid.uuid4()}/roles", {"roles": ["admin"]}),
        ("GET", "/probe/session", None),
    ]:
        problem(await program.request(method, path, json=body), 403, "session_required")
    assert (await program.get("/api/admin/users")).status_code == 200


@pytest.mark.parametrize("how", ["revoked", "expired", "person_disabled", "wrong_secret"])
@pytest.mark.rule("11.10(d)", "11.10(h)", "11.300")
async def test_a_key_that_has_ended_is_refused_at_once_and_audited_once_a_minute(house: House, how: str) -> None:
    ada = await house.make("ada@demo.lab")
    client, admin = house.client(await house.token("ada@demo.lab")), await house.logged_in("admin@demo.lab", "admin")
    made = (await client.post("/api/auth/keys", json={"name": "x", "expires_at": "2026-03-02T10:00:00Z"})).json()
    program = house.client(made["secret"])
    assert (await program.get("/probe/anyone")).status_code == 200
    match how:
        case "revoked":
            assert (await client.delete(f"/api/auth/keys/{made['key']['id']}")).status_code == 204
        case "expired":
            house.clock.advance(1800)
        case "person_disabled":
            await admin.delete(f"/api/admin/users/{ada}")
        case _:
            program = house.client(made["secret"][:-1] + "~")
    for _ in range(3):
        problem(await program.get("/probe/anyone"), 401, "unauthenticated")
    (event,) = await house.events("api_key.refused")
    expected = "revoked" if how == "person_disabled" else how
    assert (event["reason"], event["record"]["id"], event["outcome"]) == (expected, made["key"]["id"], "failed")
    house.clock.advance(60)
    await program.get("/probe/anyone")
    assert len(await house.events("api_key.refused")) == 2


async def test_enabling_a_person_does_not_bring_back_their_keys(house: House) -> None:
    ada = await house.make("ada@demo.lab")
    key, admin = await house.key_of("ada@demo.lab"), await house.logged_in("admin@demo.lab", "admin")
    await admin.delete(f"/api/admin/users/{ada}")
    await admin.patch(f"/api/admin/users/{ada}", json={"active": True})
    problem(await house.client(key).get("/probe/anyone"), 401, "unauthenticated")
    assert (await house.login("ada@demo.lab")).status_code == 200


async def test_somebody_elses_key_is_not_found(house: House) -> None:
    ada, admin = await house.logged_in("ada@demo.lab"), await house.logged_in("admin@demo.lab", "admin")
    made = (await ada.post("/api/auth/keys", json={"name": "x"})).json()
    problem(await admin.delete(f"/api/auth/keys/{made['key']['id']}"), 404, "not_found")
    problem(await ada.delete(f"/api/auth/keys/{uuid.uuid4()}"), 404, "not_found")
    assert (await admin.get("/api/auth/keys")).json()["items"] == []
    assert (await house.client(made["secret"]).get("/probe/anyone")).status_code == 200


async def test_a_malformed_wish_is_refused(house: House) -> None:
    client = await house.logged_in("ada@demo.lab")
    wishes: list[dict[str, object]] = [
        {},
        {"name": ""},
        {"name": " \t"},
        {"name": "x" * 201},
        {"name": "a\u0000b"},
        {"name": 1},
        {"name": "x", "expires_at": "2026-03-02T09:30:00Z"},
        {"name": "x", "expires_at": "2027-01-01T00:00:00"},
        {"name": "x", "expires_at": "2027-01-01T00:00:00Z", "expiresAt": "2027-01-01T00:00:00Z"},
    ]
    for body in wishes:
        problem(await client.post("/api/auth/keys", json=body), 422, "invalid_input")
    assert (await client.get("/api/auth/keys")).json()["items"] == []


async def test_a_person_has_at_most_fifty(house: House) -> None:
    client = await house.logged_in("ada@demo.lab")
    answers = [await client.post("/api/auth/keys", json={"name": f"key {n}"}) for n in range(51)]
    assert [a.status_code for a in answers] == [201] * 50 + [409]
    problem(answers[-1], 409, "too_many_keys")


async def test_the_table_holds_no_secret(house: House) -> None:
    await house.make("ada@demo.lab")
    secret = (await house.key_of("ada@demo.lab")).partition(".")[2]
    async with house.services.db.begin() as tx:
        row = str((await tx.rows(sa.text("SELECT k::text FROM api_key k")))[0][0])
    assert secret not in row
    assert secret.encode().hex() not in row
