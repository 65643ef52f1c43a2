"""Log-in and lock-out, by HTTP."""

import asyncio

import pytest

from aliquot.identity.contracts import FIRST_PASSWORD_FILE
from aliquot.platform.settings import Limits
from tests.identity.conftest import ADDRESS, PASSWORD, House, problem

WRONG = "not the password"


async def test_login_gives_a_token_and_the_person(house: House) -> None:
    person_id = await house.make("Maria@Demo.Lab", "scientist", name="Maria Sklodowska")
    answer = await house.login("  maria@demo.lab ")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["user"] | {"id": person_id, "email": "maria@demo.lab", "name": "Maria Sklodowska", "roles": ["scientist"]} == body["user"]
    assert "lab.operate" in body["user"]["permissions"]
    assert body["expires_at"] == "2026-03-03T09:30:00.000Z"
    me = await house.client(body["token"]).get("/api/auth/me")
    assert me.json() == body["user"]
    assert (await house.client(body["token"]).get("/api/users/me")).json() == me.json()
    assert [(e["actor"], e["ip"]) for e in await house.events("login.succeeded")] == [(person_id, ADDRESS)]


async def test_no_refusal_tells_whether_the_account_exists(house: House) -> None:
    await house.make("known@demo.lab")
    disabled = await house.make("disabled@demo.lab")
    admin = await house.logged_in("admin@demo.lab", "admin")
    assert (await admin.delete(f"/api/admin/users/{disabled}")).status_code == 204
    documents = []
    for email in ("nobody@demo.lab", "known@demo.lab", "disabled@demo.lab", "no address at all", "a" * 320):
        answer = await house.login(email, PASSWORD if email.startswith("disabled") else WRONG)
        documents.append(problem(answer, 401, "login_failed"))
    assert all(document == documents[0] for document in documents)
    failed = await house.events("login.failed")
    assert [(e["actor"], e["record"]["type"]) for e in failed] == [
        ("anonymous", kind) for kind in ("account", "person", "person", "account", "account")
    ]


async def test_an_unknown_account_costs_the_same_work_as_a_known_one(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.make("known@demo.lab")
    hasher = house.services.identity._people._passwords._hasher
    verified: list[str] = []
    verify = hasher.verify_and_update
    monkeypatch.setattr(hasher, "verify_and_update", lambda password, stored: (verified.append(stored), verify(password, stored))[1])
    await house.login("known@demo.lab", WRONG)
    await house.login("nobody@demo.lab", WRONG)
    parameters = [stored.split("$")[1:4] for stored in verified]
    assert len(parameters) == 2
    assert parameters[0] == parameters[1]


@pytest.mark.parametrize("email", ["known@demo.lab", "nobody@demo.lab"])
@pytest.mark.rule("11.10(d)", "11.300", "HIPAA 164.312(d)")
async def test_five_failures_lock_account_and_address_until_the_window_passes(house: House, email: str) -> None:
    await house.make("known@demo.lab")
    for _ in range(5):
        problem(await house.login(email, WRONG), 401, "login_failed")
        house.clock.advance(60)
    locked = await house.login(email, PASSWORD)
    document = problem(locked, 429, "locked")
    assert locked.headers["retry-after"] == "600"
    assert document["retryAfter"] == 600
    assert document["error"]
    assert len(await house.events("login.failed")) == 5
    assert len(await house.events("login.locked")) == 1

    assert (await house.login("known@demo.lab", address="198.51.100.8")).status_code == 200, "another address is not locked"
    other = await house.make("other@demo.lab")
    assert (await house.login("other@demo.lab")).json()["user"]["id"] == other, "another account is not locked"

    house.clock.advance(599)
    problem(await house.login(email, PASSWORD), 429, "locked")
    house.clock.advance(1)
    answer = await house.login(email, PASSWORD)
    assert answer.status_code == (200 if email.startswith("known") else 401)


async def test_a_right_password_forgets_the_failures_before_it(house: House) -> None:
    await house.make("known@demo.lab")
    for _ in range(3):
        for _ in range(4):
            await house.login("known@demo.lab", WRONG)
        assert (await house.login("known@demo.lab")).status_code == 200


@pytest.mark.rule("11.300")
async def test_many_guesses_at_once_are_five_guesses(house: House) -> None:
    await house.make("known@demo.lab")
    answers = await asyncio.gather(*(house.login("known@demo.lab", WRONG) for _ in range(12)))
    assert sorted(a.status_code for a in answers) == [401] * 5 + [429] * 7


async def test_many_right_logins_at_once_all_succeed(house: House) -> None:
    await house.make("known@demo.lab")
    answers = await asyncio.gather(*(house.login("known@demo.lab") for _ in range(8)))
    assert [a.status_code for a in answers] == [200] * 8


async def test_guessing_from_many_addresses_is_slowed_not_locked(house: House) -> None:
    await house.make("known@demo.lab")
    for n in range(16):
        problem(await house.login("known@demo.lab", WRONG, address=f"203.0.113.{n}"), 401, "login_failed")
    assert house.slept == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.0]
    assert (await house.login("known@demo.lab")).status_code == 200
    assert house.slept[-1] == 5.0
    house.clock.advance(900)
    house.slept.clear()
    await house.login("known@demo.lab")
    assert house.slept == []


async def test_one_ipv6_subscriber_is_one_address(house: House) -> None:
    await house.make("known@demo.lab")
    answers = [await house.login("known@demo.lab", WRONG, address=f"2001:db8:1:2::{n:x}") for n in range(6)]
    assert [a.status_code for a in answers] == [401] * 5 + [429]
    assert (await house.login("known@demo.lab", address="2001:db8:1:3::1")).status_code == 200


async def test_a_malformed_login_is_refused_without_echo(house: House) -> None:
    client = house.client(content_type="application/json")
    for body in (
        b"",
        b"[]",
        b"{",
        b'{"email":"a@b.c"}',
        b'{"email":1,"password":"x"}',
        b'{"email":"a@b.c","password":""}',
        b'{"email":"a@b.c","password":"x","extra":1}',
        b'{"email":"a@b.c","password":"\\ud800"}',
        b'{"email":"a@b.c","password":"' + b"x" * 2000 + b'"}',
    ):
        answer = await client.post("/api/auth/login", content=body)
        problem(answer, 422, "invalid_input")
        assert "a@b.c" not in answer.text
        assert "xxxx" not in answer.text


class TestOneTimePassword:
    async def test_only_the_password_may_be_changed_first(self, house: House) -> None:
        async with house.services.db.begin() as tx:
            password = await house.services.identity.ensure_first_admin(tx, "first@demo.lab", None)
        assert password is not None
        client = house.client(await house.token("first@demo.lab", password))
        me = (await client.get("/api/auth/me")).json()
        assert me["must_change"] is True
        assert me["roles"] == ["admin"]
        for path in ("/probe/anyone", "/probe/read", "/api/admin/users", "/api/auth/keys", "/api/auth/sessions"):
            problem(await client.get(path), 403, "password_change_required")
        problem(await client.post("/api/auth/ticket"), 403, "password_change_required")
        changed = await client.post("/api/auth/password", json={"oldPassword": password, "newPassword": "a much better one"})
        assert changed.status_code == 204
        assert (await client.get("/api/admin/users")).status_code == 200
        assert (await client.get("/api/auth/me")).json()["must_change"] is False
        problem(await house.login("first@demo.lab", password), 401, "login_failed")

    async def test_there_is_one_first_administrator(self, house: House) -> None:
        async def ensure() -> str | None:
            async with house.services.db.begin() as tx:
                return await house.services.identity.ensure_first_admin(tx, "first@demo.lab", None)

        made = await asyncio.gather(*(ensure() for _ in range(4)))
        assert sum(password is not None for password in made) == 1

    async def test_its_file_is_deleted_once_it_was_used(self, house: House) -> None:
        path = house.services.settings.data_dir / FIRST_PASSWORD_FILE
        path.parent.mkdir(parents=True)
        async with house.services.db.begin() as tx:
            password = await house.services.identity.ensure_first_admin(tx, "first@demo.lab", None)
        path.write_text(f"{password}\n")
        await house.login("first@demo.lab", WRONG)
        await house.make("other@demo.lab", password="another one-time", must_change=True)
        await house.token("other@demo.lab", "another one-time")
        assert path.exists()
        await house.token("first@demo.lab", str(password))
        assert not path.exists()

    async def test_a_password_of_the_operator_need_not_be_changed(self, house: House) -> None:
        async with house.services.db.begin() as tx:
            assert await house.services.identity.ensure_first_admin(tx, "first@demo.lab", "chosen") is None
        assert (await house.client(await house.token("first@demo.lab", "chosen")).get("/probe/anyone")).status_code == 200


class TestFloods:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(requests_per_minute=10)

    async def test_a_person_is_bounded_per_minute(self, house: House) -> None:
        ada, bob = await house.logged_in("ada@demo.lab"), await house.logged_in("bob@demo.lab")
        statuses = [(await ada.get("/probe/anyone")).status_code for _ in range(12)]
        assert statuses == [200] * 10 + [429] * 2
        refused = await ada.get("/probe/anyone")
        assert 1 <= problem(refused, 429, "rate_limited")["retryAfter"] <= 120
        assert refused.headers["retry-after"]
        assert (await bob.get("/probe/anyone")).status_code == 200
        house.clock.advance(120)
        assert (await ada.get("/probe/anyone")).status_code == 200

    async def test_an_address_that_cannot_be_authenticated_is_bounded(self, house: House) -> None:
        stranger = house.client("alq_0123456789abcdef.guess")
        statuses = [(await stranger.get("/probe/anyone")).status_code for _ in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        problem(await house.login("known@demo.lab"), 429, "rate_limited")
