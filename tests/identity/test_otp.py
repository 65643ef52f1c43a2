"""The second factor: the algorithm by its RFC vectors, everything else by HTTP."""

import asyncio
import base64
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from aliquot.identity import otp
from tests.identity.conftest import ADDRESS, PASSWORD, House, problem

SEED = b"12345678901234567890"


def test_hotp_gives_the_values_of_rfc_4226_appendix_d() -> None:
    expected = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
    assert [otp.hotp(SEED, counter) for counter in range(10)] == expected


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "94287082"), (1111111109, "07081804"), (1111111111, "14050471"), (1234567890, "89005924"), (2000000000, "69279037")],
)
def test_totp_gives_the_values_of_rfc_6238_appendix_b(seconds: int, code: str) -> None:
    assert otp.hotp(SEED, seconds // otp.STEP_SECONDS, digits=8) == code


def code(house: House, secret: str, steps: int = 0) -> str:
    """What the authenticator app shows now, or some steps away."""
    return otp.hotp(base64.b32decode(secret), otp.step_of(house.clock.now()) + steps)


async def enrolled(house: House, email: str, *roles: str, at_login: bool = True) -> str:
    """A person with a confirmed second factor; its secret."""
    client = await house.logged_in(email, *roles)
    made = await client.post("/api/auth/otp", json={"password": PASSWORD, "at_login": at_login})
    assert made.status_code == 201, made.text
    secret = str(made.json()["secret"])
    assert (await client.post("/api/auth/otp/confirm", json={"code": code(house, secret)})).status_code == 200
    house.clock.advance(otp.STEP_SECONDS)
    return secret


async def test_a_second_factor_from_enrolment_to_removal(house: House) -> None:
    client = await house.logged_in("maria@demo.lab", "scientist")
    assert (await client.get("/api/auth/otp")).json() == {"state": "none", "confirmed_at": None, "at_login": False}
    problem(await client.post("/api/auth/otp/confirm", json={"code": "000000"}), 409, "otp_not_enrolled")
    problem(await client.post("/api/auth/otp", json={"password": "a stolen token"}), 403, "wrong_password")
    first = (await client.post("/api/auth/otp", json={"password": PASSWORD})).json()
    made = await client.post("/api/auth/otp", json={"password": PASSWORD})
    assert made.headers["cache-control"] == "no-store"
    secret, uri = made.json()["secret"], urlsplit(made.json()["uri"])
    assert (uri.scheme, uri.netloc, uri.path) == ("otpauth", "totp", "/Aliquot:maria%40demo.lab")
    assert parse_qs(uri.query) == {"secret": [secret], "issuer": ["Aliquot"], "algorithm": ["SHA1"], "digits": ["6"], "period": ["30"]}
    problem(await client.post("/api/auth/otp/confirm", json={"code": code(house, first["secret"])}), 403, "wrong_otp")
    assert (await house.login("maria@demo.lab")).status_code == 200, "not in force before the first code"
    shown = await client.post("/api/auth/otp/confirm", json={"code": f" {code(house, secret)[:3]} {code(house, secret)[3:]} "})
    assert (shown.status_code, shown.json()["state"], shown.json()["at_login"]) == (200, "confirmed", True)
    assert secret not in (await client.get("/api/auth/otp")).text
    problem(await client.post("/api/auth/otp", json={"password": PASSWORD}), 409, "otp_enrolled")
    # A token and the password that were stolen together do not get rid of it.
    problem(await client.request("DELETE", "/api/auth/otp", json={"password": PASSWORD}), 422, "invalid_input")
    problem(await client.request("DELETE", "/api/auth/otp", json={"password": PASSWORD, "otp": code(house, secret)}), 403, "wrong_otp")
    house.clock.advance(otp.STEP_SECONDS)
    body = {"password": PASSWORD, "otp": code(house, secret)}
    problem(await client.request("DELETE", "/api/auth/otp", json=body | {"password": "guess"}), 403, "wrong_password")
    assert (await client.request("DELETE", "/api/auth/otp", json=body)).status_code == 204
    assert (await house.login("maria@demo.lab")).status_code == 200
    agent = house.client(await house.key_of("maria@demo.lab"))
    problem(await agent.post("/api/auth/otp", json={"password": PASSWORD}), 403, "session_required")
    done = [event["action"] for event in await house.events("otp.enrolled", "otp.confirmed", "otp.refused", "otp.removed")]
    assert done == ["otp.enrolled", "otp.enrolled", "otp.refused", "otp.confirmed", "otp.refused", "otp.removed"]


@pytest.mark.rule("11.300", "HIPAA 164.312(d)")
async def test_login_asks_for_the_code_and_takes_each_once(house: House) -> None:
    secret = await enrolled(house, "maria@demo.lab")
    problem(await house.login("maria@demo.lab"), 401, "otp_required")
    problem(await house.login("maria@demo.lab", "not the password"), 401, "login_failed")

    async def login(given: str, password: str = PASSWORD) -> str:
        body = {"email": "maria@demo.lab", "password": password, "otp": given}
        answer = await house.client(address=ADDRESS).post("/api/auth/login", json=body)
        return "ok" if answer.status_code == 200 else str(answer.json()["code"])

    assert await login(code(house, secret), "not the password") == "login_failed", "a code does not replace the password"
    assert await login(code(house, secret)) == "ok", "and was not spent by that"
    assert await login(code(house, secret)) == "otp_failed", "used"
    assert await login(code(house, secret, -1)) == "otp_failed", "older than one that was used"
    assert await login(code(house, secret, 1)) == "ok", "one step of tolerance"
    assert await login(code(house, secret, 2)) == "otp_failed"
    house.clock.advance(120)
    assert sorted(await asyncio.gather(*[login(code(house, secret)) for _ in range(3)])) == ["ok", "otp_failed", "otp_failed"]
    assert {event["reason"] for event in await house.events("login.failed") if "reason" in event} == {"otp_failed"}
    await enrolled(house, "sam@demo.lab", at_login=False)
    assert (await house.login("sam@demo.lab")).status_code == 200, "only for signatures"


@pytest.mark.rule("11.300")
async def test_guessing_codes_locks_the_person_at_every_address(house: House) -> None:
    secret = await enrolled(house, "maria@demo.lab")
    codes = []
    for n in range(7):
        body = {"email": "maria@demo.lab", "password": PASSWORD, "otp": f"{n:06}"}
        codes.append((await house.client(address=f"203.0.113.{n}").post("/api/auth/login", json=body)).json()["code"])
    assert codes == ["otp_failed"] * 5 + ["locked"] * 2
    body = {"email": "maria@demo.lab", "password": PASSWORD, "otp": code(house, secret)}
    problem(await house.client().post("/api/auth/login", json=body), 429, "locked")
    house.clock.advance(timedelta(minutes=15).total_seconds())
    body["otp"] = code(house, secret)
    assert (await house.client().post("/api/auth/login", json=body)).status_code == 200


@pytest.mark.rule("11.100", "11.200")
async def test_who_resets_credentials_cannot_also_make_them_sign(house: House) -> None:
    """21 CFR 11.200(a)(3): to use somebody else's signature takes two people."""
    await enrolled(house, "maria@demo.lab", "scientist")
    async with house.services.db.begin() as tx:
        maria = str((await house.services.identity.person(tx, "maria@demo.lab")).id)
    one, two = await house.logged_in("one@demo.lab", "admin"), await house.logged_in("two@demo.lab", "admin")
    path = f"/api/admin/users/{maria}"
    assert (await one.get(path)).json()["may_sign"] is True
    assert (await one.delete(f"{path}/otp")).status_code == 204
    assert (await house.login("maria@demo.lab")).status_code == 200
    held = (await one.get(path)).json()
    assert (held["may_sign"], "records.sign" in held["permissions"]) == (False, False)
    problem(await one.patch(path, json={"may_sign": True}), 409, "hold_stands")
    assert (await two.patch(path, json={"may_sign": True})).json()["may_sign"] is True
    assert (await two.post(f"{path}/password")).status_code == 200
    assert (await two.get(path)).json()["may_sign"] is False
    problem(await two.patch(path, json={"may_sign": True}), 409, "hold_stands")
    problem(await one.delete(f"{path}/otp"), 409, "otp_not_enrolled")
    viewer = await house.logged_in("viewer@demo.lab", "viewer")
    problem(await viewer.delete(f"{path}/otp"), 403, "forbidden")
    assert (await one.delete(f"/api/admin/users/{(await two.get('/api/auth/me')).json()['id']}")).status_code == 204
    assert (await one.patch(path, json={"may_sign": True})).json()["may_sign"] is True, "a lone administrator has nobody to ask"
