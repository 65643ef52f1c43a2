"""Tokens, sessions, passwords and tickets: what ends them, and that it ends them at once."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import jwt
import pytest
import sqlalchemy as sa

from aliquot.kernel.problems import Unauthenticated
from aliquot.platform.db import Database
from tests.identity.conftest import ADDRESS, PASSWORD, PROXY, House, problem


@pytest.mark.rule("HIPAA 164.312(a)(2)(iii)")
async def test_logout_ends_the_token_at_once(house: House) -> None:
    client = await house.logged_in("ada@demo.lab")
    assert (await client.get("/probe/anyone")).status_code == 200
    assert (await client.post("/api/auth/logout")).status_code == 204
    problem(await client.get("/probe/anyone"), 401, "unauthenticated")
    problem(await client.post("/api/auth/logout"), 401, "unauthenticated")
    assert len(await house.events("session.ended")) == 1


async def test_a_session_revoked_from_another_one_is_refused_at_once(house: House) -> None:
    here = await house.logged_in("ada@demo.lab")
    there = house.client(await house.token("ada@demo.lab"))
    listed = (await here.get("/api/auth/sessions")).json()["items"]
    assert [(s["current"], s["ip"]) for s in listed] == [(False, ADDRESS), (True, ADDRESS)]
    assert (await here.delete(f"/api/auth/sessions/{listed[0]['id']}")).status_code == 204
    problem(await there.get("/probe/anyone"), 401, "unauthenticated")
    assert (await here.get("/probe/anyone")).status_code == 200
    problem(await here.delete(f"/api/auth/sessions/{listed[0]['id']}"), 404, "not_found")
    assert len((await here.get("/api/auth/sessions")).json()["items"]) == 1


async def test_somebody_elses_session_is_not_found(house: House) -> None:
    ada, bob = await house.logged_in("ada@demo.lab"), await house.logged_in("bob@demo.lab", "admin")
    (session,) = (await ada.get("/api/auth/sessions")).json()["items"]
    problem(await bob.delete(f"/api/auth/sessions/{session['id']}"), 404, "not_found")
    problem(await bob.delete(f"/api/auth/sessions/{uuid.uuid4()}"), 404, "not_found")
    problem(await bob.delete("/api/auth/sessions/not-an-id"), 422, "invalid_input")
    assert (await ada.get("/probe/anyone")).status_code == 200


@pytest.mark.rule("HIPAA 164.312(a)(2)(iii)")
async def test_a_token_expires_after_24_hours(house: House) -> None:
    client = await house.logged_in("ada@demo.lab")
    house.clock.advance(24 * 3600 - 1)
    assert (await client.get("/probe/anyone")).status_code == 200
    house.clock.advance(1)
    document = problem(await client.get("/probe/anyone"), 401, "unauthenticated")
    assert "expired" in document["detail"]


async def test_a_refreshed_token_lives_on_but_no_longer_than_a_week(house: House) -> None:
    await house.make("ada@demo.lab")
    token = await house.token("ada@demo.lab")
    for hour in range(20, 7 * 24, 20):
        house.clock.advance(20 * 3600)
        answer = await house.client(token).post("/api/auth/refresh")
        assert answer.status_code == 200, hour
        token = answer.json()["token"]
    assert answer.json()["expires_at"] == "2026-03-09T09:30:00.000Z"
    house.clock.advance(8 * 3600)
    problem(await house.client(token).get("/probe/anyone"), 401, "unauthenticated")


async def test_an_ended_session_cannot_be_refreshed(house: House) -> None:
    client = await house.logged_in("ada@demo.lab")
    await client.post("/api/auth/logout")
    problem(await client.post("/api/auth/refresh"), 401, "unauthenticated")


class TestForgery:
    async def test_nonsense_is_unauthenticated(self, house: House) -> None:
        await house.make("ada@demo.lab")
        token = await house.token("ada@demo.lab")
        for header in (
            "",
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            "Bearer x",
            "Bearer a.b.c",
            "Bearer " + "x" * 20_000,
            "Bearer alq_",
            "Bearer alq_x",
            "Bearer alq_.y",
            "Bearer alq_../../etc.y",
            "Token tkt_x",
            "bearer\ttoken",
            "Bearer \u00ff\u00fe",
            token,
            f"Token {token}",
        ):
            answer = await house.client().get("/probe/anyone", headers={"authorization": header.encode("latin-1")})
            problem(answer, 401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert (await house.client().get("/probe/anyone", headers={"authorization": f"bearer  {token}"})).status_code == 200

    async def test_a_token_with_other_claims_is_refused(self, house: House) -> None:
        await house.make("ada@demo.lab")
        token, secret = await house.token("ada@demo.lab"), house.vault.derive("jwt")
        claims = jwt.decode(token, secret, algorithms=["HS256"], audience="aliquot", options={"verify_exp": False, "verify_iat": False})
        good = house.client(jwt.encode(claims, secret, algorithm="HS256"))
        assert (await good.get("/probe/anyone")).status_code == 200, "the untouched claims are good, so it is the change that is refused"
        changes: list[dict[str, Any]] = [
            {"iss": "other"},
            {"aud": "other"},
            {"sub": None},
            {"sid": None},
            {"exp": None},
            {"exp": "soon"},
            {"exp": float("inf")},
            {"sid": "x"},
            {"sub": str(uuid.uuid4())},
        ]
        for change in changes:
            changed = {name: value for name, value in (claims | change).items() if value is not None}
            problem(await house.client(jwt.encode(changed, secret, algorithm="HS256")).get("/probe/anyone"), 401, "unauthenticated")

    async def test_another_key_or_algorithm_is_refused(self, house: House) -> None:
        await house.make("ada@demo.lab")
        token, secret = await house.token("ada@demo.lab"), house.vault.derive("jwt")
        claims = jwt.decode(token, secret, algorithms=["HS256"], audience="aliquot", options={"verify_exp": False, "verify_iat": False})
        forged = [
            jwt.encode(claims, b"k" * 32, algorithm="HS256"),
            jwt.encode(claims, secret * 2, algorithm="HS512"),
            jwt.encode(claims, "", algorithm="none"),
            token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB"),
        ]
        for bad in forged:
            problem(await house.client(bad).get("/probe/anyone"), 401, "unauthenticated")

    async def test_rights_come_from_the_database_not_from_the_token(self, house: House) -> None:
        await house.make("ada@demo.lab", "viewer")
        secret = house.vault.derive("jwt")
        claims = jwt.decode(
            await house.token("ada@demo.lab"),
            secret,
            algorithms=["HS256"],
            audience="aliquot",
            options={"verify_exp": False, "verify_iat": False},
        )
        assert claims["roles"] == ["viewer"]
        raised = house.client(jwt.encode(claims | {"roles": ["scientist"], "permissions": ["lab.operate"]}, secret, algorithm="HS256"))
        document = problem(await raised.get("/probe/operate"), 403, "forbidden")
        assert document["permission"] == "lab.operate"


class TestPassword:
    async def test_changing_it_needs_the_old_one_and_ends_other_sessions(self, house: House) -> None:
        here = await house.logged_in("ada@demo.lab")
        there = house.client(await house.token("ada@demo.lab"))
        ticket = (await there.post("/api/auth/ticket")).json()["ticket"]
        body = {"old_password": "wrong", "new_password": "a much better one"}
        problem(await here.post("/api/auth/password", json=body), 403, "wrong_password")
        assert (await here.post("/api/auth/password", json=body | {"old_password": PASSWORD})).status_code == 204
        assert (await here.get("/probe/anyone")).status_code == 200
        problem(await there.get("/probe/anyone"), 401, "unauthenticated")
        with pytest.raises(Unauthenticated):
            await _redeem(house, ticket)
        problem(await house.login("ada@demo.lab"), 401, "login_failed")
        assert (await house.login("ada@demo.lab", "a much better one")).status_code == 200
        assert [e["outcome"] for e in await house.events("password.refused", "password.changed")] == ["failed", "ok"]

    async def test_a_stolen_token_cannot_guess_it(self, house: House) -> None:
        thief = await house.logged_in("ada@demo.lab")
        body = {"old_password": "guess", "new_password": "a much better one"}
        answers = [await thief.post("/api/auth/password", json=body) for _ in range(6)]
        assert [a.status_code for a in answers] == [403] * 5 + [429]
        problem(await thief.post("/api/auth/password", json=body | {"old_password": PASSWORD}), 429, "locked")

    async def test_weak_ones_are_refused(self, house: House) -> None:
        client = await house.logged_in("ada@demo.lab")
        for new in ("short", "12345678901", "x" * 257, "aaaaaaaaaaaaaa", "Password1234!", "ada@demo.lab", PASSWORD):
            problem(await client.post("/api/auth/password", json={"old_password": PASSWORD, "new_password": new}), 422, "weak_password")
        assert (await house.login("ada@demo.lab")).status_code == 200

    async def test_the_same_characters_typed_on_another_system_are_the_same_password(self, house: House) -> None:
        await house.make("ada@demo.lab", password="Ångström 5 μm ﬁlter")
        assert (await house.login("ada@demo.lab", "A\u030angstro\u0308m 5 \u00b5m filter")).status_code == 200


class TestTickets:
    async def test_a_ticket_opens_one_socket_within_30_seconds(self, house: House) -> None:
        client = await house.logged_in("ada@demo.lab", "scientist")
        answer = await client.post("/api/auth/ticket")
        assert (answer.json()["expires_at"], answer.headers["cache-control"]) == ("2026-03-02T09:30:30.000Z", "no-store")
        ticket = answer.json()["ticket"]
        async with house.services.db.begin() as tx:
            principal = await house.services.identity.authenticate_socket(tx, ticket, ADDRESS)
        assert (principal.email, principal.via, principal.ip, principal.may("lab.operate")) == ("ada@demo.lab", "session", ADDRESS, True)
        assert principal.session_id is not None
        with pytest.raises(Unauthenticated):
            await _redeem(house, ticket)

    async def test_two_who_bring_the_same_ticket_are_one(self, house: House) -> None:
        client = await house.logged_in("ada@demo.lab")
        ticket = (await client.post("/api/auth/ticket")).json()["ticket"]
        found = await asyncio.gather(*(_redeem(house, ticket) for _ in range(6)), return_exceptions=True)
        assert sum(not isinstance(one, BaseException) for one in found) == 1

    async def test_a_late_or_foreign_one_or_one_of_an_ended_session_is_refused(self, house: House) -> None:
        client = await house.logged_in("ada@demo.lab")
        late = (await client.post("/api/auth/ticket")).json()["ticket"]
        house.clock.advance(30)
        ended = (await client.post("/api/auth/ticket")).json()["ticket"]
        await client.post("/api/auth/logout")
        for ticket in (late, ended, "tkt_" + "x" * 43, "tkt_", "", "tkt_\ud800"):
            with pytest.raises(Unauthenticated):
                await _redeem(house, ticket)

    async def test_a_token_opens_a_socket_too_but_a_key_in_an_address_does_not(self, house: House) -> None:
        await house.make("ada@demo.lab")
        token, key = await house.token("ada@demo.lab"), await house.key_of("ada@demo.lab")
        async with house.services.db.begin() as tx:
            assert (await house.services.identity.authenticate_socket(tx, token, ADDRESS)).email == "ada@demo.lab"
            for refused in (key, None, ""):
                with pytest.raises(Unauthenticated):
                    await house.services.identity.authenticate_socket(tx, refused, ADDRESS)

    async def test_an_api_key_gets_none(self, house: House) -> None:
        await house.make("ada@demo.lab")
        problem(await house.client(await house.key_of("ada@demo.lab")).post("/api/auth/ticket"), 403, "session_required")


async def test_a_background_run_has_the_rights_of_the_moment(house: House) -> None:
    person_id = uuid.UUID(await house.make("ada@demo.lab", "scientist"))
    await house.make("admin@demo.lab", "admin")
    admin = house.client(await house.token("admin@demo.lab"))
    identity, db = house.services.identity, house.services.db
    async with db.begin() as tx:
        assert (await identity.principal(tx, person_id)).may("lab.operate")
    await admin.put(f"/api/admin/users/{person_id}/roles", json={"roles": ["viewer"]})
    async with db.begin() as tx:
        principal = await identity.principal(tx, person_id)
        assert (principal.may("lab.operate"), principal.via, principal.session_id) == (False, "system", None)
    await admin.delete(f"/api/admin/users/{person_id}")
    async with db.begin() as tx:
        with pytest.raises(Unauthenticated):
            await identity.principal(tx, person_id)


async def test_forwarded_addresses_count_only_from_trusted_proxies(house: House) -> None:
    await house.make("ada@demo.lab")
    token = await house.token("ada@demo.lab")
    spoofed = house.client(token, x_forwarded_for="203.0.113.5")
    assert (await spoofed.get("/probe/anyone")).json()["ip"] == ADDRESS
    proxied = house.client(token, address=PROXY, x_forwarded_for="6.6.6.6, 203.0.113.5")
    assert (await proxied.get("/probe/anyone")).json()["ip"] == "203.0.113.5"


async def test_cleaning_keeps_what_still_counts(house: House) -> None:
    client = await house.logged_in("ada@demo.lab")
    await client.post("/api/auth/ticket")
    await house.login("ada@demo.lab", "wrong")

    async def counts() -> dict[str, int]:
        async with house.services.db.begin() as tx:
            await house.services.identity.clean(tx)
            names = ("login_session", "socket_ticket", "rate_limit")
            return {name: await tx.scalar(sa.text(f"SELECT count(*) FROM {name}")) for name in names}

    assert await counts() == {"login_session": 1, "socket_ticket": 1, "rate_limit": 2}
    house.clock.advance(timedelta(hours=1).total_seconds())
    assert await counts() == {"login_session": 1, "socket_ticket": 0, "rate_limit": 0}
    house.clock.advance(timedelta(days=40).total_seconds())
    assert await counts() == {"login_session": 0, "socket_ticket": 0, "rate_limit": 0}


async def _redeem(house: House, ticket: str) -> str:
    db: Database = house.services.db
    async with db.begin() as tx:
        return (await house.services.identity.redeem_ticket(tx, ticket)).email
