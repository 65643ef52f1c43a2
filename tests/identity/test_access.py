"""Every route of identity, walked without a token, with an expired and with an ended one; no secret in any log or column."""

import contextlib
import logging
import uuid

import psycopg
import pytest
from fastapi.routing import APIRoute

from aliquot.identity import rights
from aliquot.identity.http import require
from tests.identity.conftest import House, problem

OPEN = {
    "POST /api/auth/login", "GET /api/auth/oidc", "GET /api/auth/oidc/login", "GET /api/auth/oidc/callback", "POST /api/auth/oidc/token",
}  # fmt: skip


async def test_every_route_refuses_who_is_not_logged_in(house: House) -> None:
    await house.make("ada@demo.lab", "admin")
    expired, ended = await house.token("ada@demo.lab"), None
    house.clock.advance(24 * 3600)
    ended = await house.token("ada@demo.lab")
    await house.client(ended).post("/api/auth/logout")
    walked = 0
    for method, path in sorted(_routes(house)):
        if f"{method} {path}" in OPEN:
            continue
        for token in (None, expired, ended):
            where = (
                path.replace("{person_id}", str(uuid.uuid4()))
                .replace("{session_id}", str(uuid.uuid4()))
                .replace("{key_id}", str(uuid.uuid4()))
            )
            problem(await house.client(token).request(method, where), 401, "unauthenticated")
        walked += 1
    assert walked >= 20


def test_a_misspelt_permission_is_found_at_start() -> None:
    with pytest.raises(ValueError, match=r"lab\.raed"):
        require("lab.raed")


def test_the_table_of_rights_says_what_the_design_says() -> None:
    of = {role: rights.permissions_of([role], may_sign=False) for role in rights.ROLE_PERMISSIONS}
    assert all("chat.use" in granted and "lab.read" in granted for granted in of.values())
    assert {role for role, granted in of.items() if "lab.operate" in granted} == {"scientist"}
    assert {role for role, granted in of.items() if "users.manage" in granted} == {"admin"}
    assert {role for role, granted in of.items() if "policy.manage" in granted} == {"admin"}
    assert {role for role, granted in of.items() if "audit.read" in granted} == {"admin", "reviewer"}
    assert not any(name.endswith((".manage", ".write", ".operate", ".decide", ".switch")) for name in of["viewer"])
    assert not any("records.sign" in granted for granted in of.values())
    assert rights.permissions_of(["king"], may_sign=False) == frozenset()
    assert rights.permissions_of([], may_sign=True) == {"records.sign"}


async def test_no_secret_and_no_personal_data_in_logs_or_columns(
    house: House, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    email, name, wrong, new = "canary-mail@demo.lab", "Canary Nightingale", "canary-wrong-pw", "canary-new-password"
    client = await house.logged_in("admin@demo.lab", "admin")
    made = (await client.post("/api/admin/users", json={"email": email, "name": name, "roles": ["scientist"]})).json()
    await client.post(
        "/api/admin/users", json={"email": email, "name": name, "roles": ["scientist"]}, headers={"Idempotency-Key": "canary-key"}
    )
    for _ in range(6):
        await house.login(email, wrong)
    house.clock.advance(3600)
    token = await house.token(email, made["password"])
    person = house.client(token)
    await person.post("/api/auth/password", json={"old_password": made["password"], "new_password": new})
    key = (await person.post("/api/auth/keys", json={"name": "canary-label"})).json()["secret"]
    await house.client(key[:-2] + "~~").get("/probe/anyone")
    ticket = (await person.post("/api/auth/ticket")).json()["ticket"]
    await person.get("/api/auth/me", params={"x": 1})
    secrets = [
        email,
        "canary-mail",
        name,
        wrong,
        new,
        made["password"],
        token,
        token.split(".")[2],
        key,
        key.partition(".")[2],
        ticket,
        "canary-key",
        "canary-label",
    ]
    stored = "\n".join(_everything_stored(house))
    out, err = capfd.readouterr()
    logged = out + err + caplog.text
    for secret in secrets:
        assert secret not in logged
        assert secret not in stored
        assert secret.encode().hex() not in stored
    assert made["person"]["id"] in stored, "the search looks at the right place"


async def test_a_sealed_name_moved_to_another_row_does_not_open(house: House) -> None:
    admin = await house.logged_in("admin@demo.lab", "admin")
    await house.make("ada@demo.lab")
    with psycopg.connect(house.urls.superuser, autocommit=True) as conn:
        conn.execute("UPDATE person SET name = (SELECT name FROM person ORDER BY id LIMIT 1)")
    problem(await admin.get("/api/admin/users"), 500, "content_damaged")


def _routes(house: House) -> set[tuple[str, str]]:
    schema = house.app.openapi()
    found = {(method.upper(), path) for path, methods in schema["paths"].items() for method in methods}
    assert len(found) >= sum(isinstance(route, APIRoute) for route in house.app.routes)
    return found


def _everything_stored(house: House) -> list[str]:
    with psycopg.connect(house.urls.superuser) as conn, contextlib.closing(conn.cursor()) as cursor:
        tables = [row[0] for row in cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()]
        return [str(row[0]) for table in tables for row in cursor.execute(f'SELECT t::text FROM "{table}" t').fetchall()]
