"""The administration of people, by HTTP."""

import asyncio
import uuid

import pytest

from tests.identity.conftest import House, problem

ADA = {"email": "ada@demo.lab", "name": "Ada Lovelace", "roles": ["scientist"]}


async def test_a_new_person_logs_in_with_the_one_time_password(house: House) -> None:
    admin = await house.logged_in("admin@demo.lab", "admin")
    answer = await admin.post("/api/admin/users", json=ADA)
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    made = answer.json()
    person = made["person"]
    assert (person["email"], person["roles"], person["active"], person["may_sign"], person["must_change"]) == (
        "ada@demo.lab",
        ["scientist"],
        True,
        True,
        True,
    )
    assert "records.sign" in person["permissions"]
    assert (await admin.get(f"/api/admin/users/{person['id']}")).json() == person
    ada = house.client(await house.token("ada@demo.lab", made["password"]))
    problem(await ada.get("/probe/operate"), 403, "password_change_required")
    (event,) = [e for e in await house.events("person.created") if e["actor"] != "system"]
    assert (event["record"]["id"], event["reason"]) == (person["id"], "roles:scientist")
    assert {c["name"] for c in event["content"]} == {"email", "name", "password", "signing"}


async def test_a_repeated_request_makes_one_person(house: House) -> None:
    admin = await house.logged_in("admin@demo.lab", "admin")
    key = {"Idempotency-Key": "7d0f"}
    first = (await admin.post("/api/admin/users", json=ADA, headers=key)).json()
    again = await admin.post("/api/admin/users", json=ADA, headers=key)
    assert (again.status_code, again.json()) == (201, {"person": first["person"], "password": None})
    problem(await admin.post("/api/admin/users", json=ADA | {"name": "Bob"}, headers=key), 422, "idempotency_mismatch")
    problem(await admin.post("/api/admin/users", json=ADA), 409, "person_exists")
    assert len((await admin.get("/api/admin/users")).json()["items"]) == 2


async def test_the_list_is_paged(house: House) -> None:
    admin = await house.logged_in("admin@demo.lab", "admin")
    ids = [await house.make(f"p{n}@demo.lab") for n in range(5)]
    seen, after = [], ""
    for _ in range(10):
        page = (await admin.get(f"/api/admin/users?limit=2{after}")).json()
        seen += [person["id"] for person in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen[1:] == ids
    for query in ("limit=0", "limit=201", "limit=x", "after=x"):
        problem(await admin.get(f"/api/admin/users?{query}"), 422, "invalid_input")


@pytest.mark.rule("11.10(d)", "11.10(g)")
async def test_changes_hold_at_once_for_live_tokens(house: House) -> None:
    admin, person_id = await house.logged_in("admin@demo.lab", "admin"), await house.make("ada@demo.lab", "scientist")
    ada = house.client(await house.token("ada@demo.lab"))
    assert (await ada.get("/probe/operate")).status_code == 200
    changed = await admin.put(f"/api/admin/users/{person_id}/roles", json={"roles": ["viewer"]})
    assert (changed.json()["roles"], changed.json()["version"]) == (["viewer"], 2)
    problem(await ada.get("/probe/operate"), 403, "forbidden")
    assert (await ada.get("/probe/read")).status_code == 200
    assert "records.sign" in (await ada.get("/api/auth/me")).json()["permissions"]
    await admin.patch(f"/api/admin/users/{person_id}", json={"maySign": False, "name": "Ada L.", "email": "LOVELACE@demo.lab"})
    me = (await ada.get("/api/auth/me")).json()
    assert (me["name"], me["email"], "records.sign" in me["permissions"]) == ("Ada L.", "lovelace@demo.lab", False)
    problem(await house.login("ada@demo.lab"), 401, "login_failed")
    assert (await house.login("lovelace@demo.lab")).status_code == 200
    assert (await admin.delete(f"/api/admin/users/{person_id}")).status_code == 204
    problem(await ada.get("/probe/read"), 401, "unauthenticated")
    problem(await house.login("lovelace@demo.lab"), 401, "login_failed")
    events = await house.events("roles.changed", "person.changed", "person.disabled")
    assert [(e["action"], e["record"]["version"], e.get("reason")) for e in events] == [
        ("roles.changed", 2, "roles:viewer"),
        ("person.changed", 3, "email,name,may_sign:no"),
        ("person.disabled", 4, None),
    ]


async def test_disabling_twice_and_enabling(house: House) -> None:
    admin, person_id = await house.logged_in("admin@demo.lab", "admin"), await house.make("ada@demo.lab")
    ada = house.client(await house.token("ada@demo.lab"))
    for _ in range(2):
        assert (await admin.delete(f"/api/admin/users/{person_id}")).status_code == 204
    assert len(await house.events("person.disabled")) == 1
    assert (await admin.patch(f"/api/admin/users/{person_id}", json={"active": True})).json()["active"] is True
    problem(await ada.get("/probe/read"), 401, "unauthenticated")
    assert (await house.login("ada@demo.lab")).status_code == 200


@pytest.mark.rule("11.300")
async def test_a_reset_password_is_a_one_time_password(house: House) -> None:
    admin, person_id = await house.logged_in("admin@demo.lab", "admin"), await house.make("ada@demo.lab")
    ada = house.client(await house.token("ada@demo.lab"))
    password = (await admin.post(f"/api/admin/users/{person_id}/password")).json()["password"]
    problem(await ada.get("/probe/read"), 401, "unauthenticated")
    problem(await house.login("ada@demo.lab"), 401, "login_failed")
    again = house.client(await house.token("ada@demo.lab", password))
    problem(await again.get("/probe/read"), 403, "password_change_required")


async def test_the_last_administrator_stays(house: House) -> None:
    admin = await house.logged_in("admin@demo.lab", "admin")
    (me,) = (await admin.get("/api/admin/users")).json()["items"]
    problem(await admin.delete(f"/api/admin/users/{me['id']}"), 409, "last_admin")
    problem(await admin.patch(f"/api/admin/users/{me['id']}", json={"active": False}), 409, "last_admin")
    problem(await admin.put(f"/api/admin/users/{me['id']}/roles", json={"roles": ["scientist"]}), 409, "last_admin")
    other = await house.make("other@demo.lab", "admin")
    assert (await admin.delete(f"/api/admin/users/{other}")).status_code == 204
    problem(await admin.delete(f"/api/admin/users/{me['id']}"), 409, "last_admin")
    assert (await admin.put(f"/api/admin/users/{me['id']}/roles", json={"roles": ["scientist", "admin"]})).status_code == 200


async def test_administrators_cannot_all_remove_each_other_at_once(house: House) -> None:
    clients = [await house.logged_in(f"admin{n}@demo.lab", "admin") for n in range(6)]
    ids = [(await client.get("/api/auth/me")).json()["id"] for client in clients]
    # Each removes the next one round the table; the removal of one that would leave nobody is refused.
    answers = await asyncio.gather(*(client.delete(f"/api/admin/users/{ids[n - 1]}") for n, client in enumerate(clients)))
    assert {a.status_code for a in answers} <= {204, 401, 409}
    async with house.services.db.begin() as tx:
        people = await house.services.identity.list_people(tx)
    assert sum(person.active for person in people) == max(1, 6 - sum(a.status_code == 204 for a in answers))


async def test_only_administrators_administer(house: House) -> None:
    person_id = await house.make("ada@demo.lab")
    for role in ("scientist", "clinician", "reviewer", "viewer", "service"):
        client = await house.logged_in(f"{role}@demo.lab", role)
        for method, path, body in [
            ("GET", "/api/admin/users", None),
            ("POST", "/api/admin/users", ADA),
            ("GET", f"/api/admin/users/{person_id}", None),
            ("PATCH", f"/api/admin/users/{person_id}", {"active": False}),
            ("DELETE", f"/api/admin/users/{person_id}", None),
            ("PUT", f"/api/admin/users/{person_id}/roles", {"roles": ["admin"]}),
            ("POST", f"/api/admin/users/{person_id}/password", None),
        ]:
            problem(await client.request(method, path, json=body), 403, "forbidden")


async def test_malformed_people_are_refused(house: House) -> None:
    admin = await house.logged_in("admin@demo.lab", "admin")
    (me,) = (await admin.get("/api/admin/users")).json()["items"]
    for change in (
        {"email": ""},
        {"email": "no address"},
        {"email": "a@b@c"},
        {"email": "a\u0000@b.c"},
        {"email": "x" * 300 + "@b.c"},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "\u0410da Lovelace"},  # a Cyrillic A: printed under a signature it would be Ada
        {"name": "Ada\u3164Lovelace"},
        {"email": "\u0430da@demo.lab"},
        {"email": "a\u115fda@demo.lab"},
        {"roles": []},
        {"roles": ["king"]},
        {"roles": "admin"},
        {"roles": ["admin"] * 11},
        {"password": "chosen by me"},
        {"may_sign": "perhaps"},
    ):
        problem(await admin.post("/api/admin/users", json=ADA | change), 422, "invalid_input")
    for change in ({}, {"active": None}, {"name": None}, {"name": " "}, {"email": "no address"}, {"roles": ["admin"]}):
        problem(await admin.patch(f"/api/admin/users/{me['id']}", json=change), 422, "invalid_input")
    problem(await admin.put(f"/api/admin/users/{me['id']}/roles", json={"roles": ["king"]}), 422, "invalid_input")
    nobody = uuid.uuid4()
    problem(await admin.get(f"/api/admin/users/{nobody}"), 404, "not_found")
    problem(await admin.delete(f"/api/admin/users/{nobody}"), 404, "not_found")
    problem(await admin.post(f"/api/admin/users/{nobody}/password"), 404, "not_found")
    problem(await admin.get("/api/admin/users/1"), 422, "invalid_input")
    assert len((await admin.get("/api/admin/users")).json()["items"]) == 1


@pytest.mark.rule("11.100", "11.300", "HIPAA 164.312(a)(2)(i)")
async def test_the_same_person_made_twice_at_once_is_one(house: House) -> None:
    admin = await house.logged_in("admin@demo.lab", "admin")
    answers = await asyncio.gather(
        *(admin.post("/api/admin/users", json=ADA | {"email": email}) for email in ("ada@demo.lab", "ADA@demo.lab ", "Ada@Demo.Lab"))
    )
    assert sorted(a.status_code for a in answers) == [201, 409, 409]
    bob = await house.make("bob@demo.lab")
    problem(await admin.patch(f"/api/admin/users/{bob}", json={"email": "ada@demo.lab"}), 409, "person_exists")


async def test_names_are_found_in_one_go(house: House) -> None:
    ids = [uuid.UUID(await house.make(f"p{n}@demo.lab", name=f"Person {n}")) for n in range(3)]
    async with house.services.db.begin() as tx:
        assert await house.services.identity.names(tx, [*ids[:2], uuid.uuid4()]) == {ids[0]: "Person 0", ids[1]: "Person 1"}
        assert await house.services.identity.names(tx, []) == {}


@pytest.mark.rule("11.100", "HIPAA 164.312(a)(2)(i)")
async def test_an_erased_person_is_listed_without_name(house: House) -> None:
    admin, person_id = await house.logged_in("admin@demo.lab", "admin"), await house.make("ada@demo.lab")
    house.vault.erase(uuid.UUID(person_id))
    (_, erased) = (await admin.get("/api/admin/users")).json()["items"]
    assert (erased["id"], erased["name"], erased["email"]) == (person_id, "(erased)", "(erased)")
