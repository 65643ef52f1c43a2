"""Single sign-on: the ways in, and every lie of a provider, a front end, a browser or a stranger that must not open one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr

from aliquot.identity.api import IdentityApi
from aliquot.identity.oidc.errors import LandingRefused
from aliquot.identity.oidc.rules import checked_landing
from aliquot.identity.passwords import Passwords
from aliquot.ledger.api import LedgerApi
from aliquot.platform.db import Database
from aliquot.platform.oidc_settings import OidcSettings
from aliquot.platform.settings import SettingsError, load_settings
from aliquot.platform.vault import Vault
from tests.conftest import ManualClock, Urls
from tests.identity.conftest import House, Services, application, problem
from tests.peers import oidc
from tests.peers.oidc import CLIENT_ID, CLIENT_SECRET, Claims, Provider, running_provider

VERIFIER = "v" * 43
CHALLENGE = "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM"
ROLES = {"lab-scientists": "scientist", "lab-reviewers": "reviewer", "it": "admin"}
FRONT_END = "https://lumen.example"
PUBLIC = "http://test"


@dataclass
class Sso:
    """A house with a provider."""

    house: House
    provider: Provider

    async def leave(self, browser: httpx2.AsyncClient, path: str = "/", **params: str) -> httpx2.Response:
        asked = {"next": path, "code_challenge": CHALLENGE} | params
        return await browser.get("/api/auth/oidc/login", params={k: v for k, v in asked.items() if v})

    async def come_back(self, location: str) -> str:
        """What the provider sends the browser back with."""
        async with httpx2.AsyncClient(verify=False) as there:  # no context of certificates: it costs 30 ms
            answer = await there.get(location)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"].removeprefix(PUBLIC)

    async def visit(self, browser: httpx2.AsyncClient | None = None, path: str = "/") -> dict[str, str]:
        """A whole journey; the fragment at its end."""
        browser = browser or self.house.client()
        left = await self.leave(browser, path)
        assert left.status_code == 303, left.text
        return fragment(await browser.get(await self.come_back(left.headers["location"])))

    async def exchange(self, code: str, verifier: str = VERIFIER) -> httpx2.Response:
        return await self.house.client().post("/api/auth/oidc/token", json={"code": code, "codeVerifier": verifier})

    async def login(self) -> httpx2.Response:
        """The session at the end of a journey; or what was wrong."""
        ended = await self.visit()
        assert "sso_code" in ended, ended
        return await self.exchange(ended["sso_code"])

    async def client(self) -> httpx2.AsyncClient:
        return self.house.client((await self.login()).json()["token"])


def fragment(answer: httpx2.Response) -> dict[str, str]:
    assert answer.status_code == 303, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return dict(parse_qsl(urlsplit(answer.headers["location"]).fragment))


@pytest.fixture
async def build(
    database: Database, vault: Vault, clock: ManualClock, tmp_path: Path, urls: Urls
) -> AsyncIterator[Callable[..., Sso]]:  # fmt: skip
    houses: list[House] = []
    async with running_provider(clock) as provider:

        def make(**more: Any) -> Sso:
            values = {"roles_claim": "groups", "roles": ROLES, "client_id": CLIENT_ID, "client_secret": SecretStr(CLIENT_SECRET)} | more
            settings = load_settings(
                data_dir=tmp_path / "data", public_url=PUBLIC, origins=(FRONT_END,), oidc=OidcSettings(issuer=provider.url, **values)
            )
            passwords = Passwords(Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1))
            identity = IdentityApi(vault, LedgerApi(vault, clock), clock, settings, passwords=passwords)
            app = application()
            app.state.services = services = Services(identity=identity, db=database, settings=settings)
            houses.append(House(app=app, services=services, clock=clock, vault=vault, urls=urls))
            return Sso(houses[-1], provider)

        yield make
        for house in houses:
            for client in house.clients:
                await client.aclose()


@pytest.mark.rule("11.100", "HIPAA 164.312(d)")
async def test_a_first_log_in_makes_a_person_with_the_claims_roles_and_no_right_to_sign(build: Callable[..., Sso]) -> None:
    sso = build()
    browser = sso.house.client()
    assert (await browser.get("/api/auth/oidc")).json() == {"configured": True, "label": "Single sign-on"}
    left = await sso.leave(browser, f"{FRONT_END}/chat?x=1")
    assert "HttpOnly" in left.headers["set-cookie"]
    assert "SameSite=lax" in left.headers["set-cookie"]
    back = await browser.get(await sso.come_back(left.headers["location"]))
    assert back.headers["location"].startswith(f"{FRONT_END}/chat?x=1#sso_code=")
    opened = await sso.exchange(fragment(back)["sso_code"])
    assert opened.status_code == 200
    assert opened.headers["cache-control"] == "no-store"
    user = opened.json()["user"]
    assert (user["email"], user["name"], user["roles"], user["may_sign"]) == ("grace@example.org", "Grace Hopper", ["scientist"], False)
    assert "records.sign" not in user["permissions"]
    person = sso.house.client(opened.json()["token"])
    assert (await person.get("/probe/operate")).status_code == 200
    # The next log-in is the same person, by subject alone, and brings today's roles.
    sso.provider.claims = {"email": "somebody.else@example.org", "name": "Other"}
    sso.provider.groups = ["lab-reviewers", "unknown", 7, "__class__"]
    again = (await sso.login()).json()["user"]
    assert (again["id"], again["email"], again["roles"]) == (user["id"], "grace@example.org", ["reviewer"])
    assert (await person.get("/probe/operate")).status_code == 403
    assert [e["reason"] for e in await sso.house.events("roles.changed", "person.created")] == ["roles:scientist", "roles:reviewer"]
    assert len(await sso.house.events("sso.linked")) == 1
    assert [e.get("reason") for e in await sso.house.events("login.succeeded")] == ["sso", "sso"]
    # Log-out ends the session here and names the page that ends the provider's.
    farewell = (await person.post("/api/auth/oidc/logout", json={"next": f"{FRONT_END}/bye"})).json()
    assert farewell["url"].startswith(f"{sso.provider.url}/logout?client_id=aliquot&post_logout_redirect_uri=https%3A%2F%2Flumen")
    problem(await person.get("/api/auth/me"), 401, "unauthenticated")


LIES: dict[str, tuple[Callable[[Claims], None] | None, Any, str]] = {
    "issuer": (lambda c: c.update(iss="https://evil.example"), None, "issuer"),
    "audience": (lambda c: c.update(aud="another-client"), None, "audience"),
    "also somebody else's": (lambda c: c.update(aud=[CLIENT_ID, "evil"], azp=CLIENT_ID), None, "audience"),
    "authorized party": (lambda c: c.update(azp="evil"), None, "authorized_party"),
    "expired": (lambda c: c.update(exp=c["iat"] - 61), None, "expired"),
    "from the future": (lambda c: c.update(iat=c["iat"] + 61), None, "not_yet_valid"),
    "not before": (lambda c: c.update(nbf=c["iat"] + 61), None, "not_yet_valid"),
    "old": (lambda c: c.update(iat=c["iat"] - 700), None, "too_old"),
    "no exp": (lambda c: c.pop("exp"), None, "exp"),
    "exp as text": (lambda c: c.update(exp=str(c["exp"])), None, "exp"),
    "replayed nonce": (lambda c: c.update(nonce="n" * 43), None, "nonce"),
    "no nonce": (lambda c: c.pop("nonce"), None, "nonce"),
    "no subject": (lambda c: c.pop("sub"), None, "subject"),
    "none": (None, oidc.unsigned, "algorithm"),
    "HS256 over the public key": (None, oidc.symmetric, "algorithm"),
    "HS256 over the client secret": (None, oidc.symmetric_with_client_secret, "algorithm"),
    "another key": (None, oidc.stranger, "signature"),
    "its own key": (None, oidc.key_in_token, "signature"),
    "altered": (None, oidc.altered, "signature"),
    "no token": (None, lambda *_: "nonsense", "signature"),
}


@pytest.mark.rule("HIPAA 164.312(d)", "11.30")
async def test_an_id_token_that_lies_opens_nothing(build: Callable[..., Sso]) -> None:
    sso = build()
    for name, (change, sign, cause) in LIES.items():
        sso.provider.change, sso.provider.sign = change or (lambda _: None), sign
        ended = await sso.visit()
        assert ended["sso_error"] == "sso_refused", name
        assert (await sso.house.events("login.failed"))[-1]["reason"] == f"sso:{cause}", name
    assert await sso.house.events("person.created", "login.succeeded") == []
    # Within the leeway clocks may differ.
    sso.provider.sign, sso.provider.change, sso.provider.skew = None, lambda _: None, 59
    assert (await sso.login()).status_code == 200


async def test_keys_rotate_and_are_not_asked_for_too_often(build: Callable[..., Sso], clock: ManualClock) -> None:
    sso = build()
    assert (await sso.login()).status_code == 200
    sso.provider.algorithm, sso.provider.number = "ES256", 1
    assert (await sso.login()).status_code == 200
    assert sso.provider.asked.count("keys") == sso.provider.asked.count("discovery") == 1
    sso.provider.number, sso.provider.published = 2, [(2, "EC")]
    assert (await sso.login()).status_code == 200
    assert sso.provider.asked.count("keys") == 2
    sso.provider.number = 3  # never published
    for _ in range(6):
        assert (await sso.visit())["sso_error"] == "sso_refused"
    assert sso.provider.asked.count("keys") == 6, "five reloads a minute"
    clock.advance(61)
    sso.provider.published = [(3, "EC")]
    assert (await sso.login()).status_code == 200
    # An hour later a key that was withdrawn counts for nothing.
    sso.provider.number, sso.provider.published = 3, [(1, "RSA")]
    clock.advance(3_601)
    assert (await sso.visit())["sso_error"] == "sso_refused"


async def test_state_cookie_code_and_verifier_count_once_and_only_together(build: Callable[..., Sso], clock: ManualClock) -> None:
    sso = build()
    browser, thief = sso.house.client(), sso.house.client()
    back = await sso.come_back((await sso.leave(browser)).headers["location"])
    problem(await thief.get(back), 403, "sso_state")  # log-in CSRF: a browser that never left
    await sso.leave(thief)
    problem(await thief.get(back), 403, "sso_state")  # nor one that left for itself
    problem(await browser.get("/api/auth/oidc/callback", params={"code": "x"}), 403, "sso_state")
    problem(await browser.get("/api/auth/oidc/callback", params={"code": "x", "state": "s" * 43}), 403, "sso_state")
    answers = await asyncio.gather(*(browser.get(back) for _ in range(4)))  # parallel callbacks: one wins
    assert sorted(a.status_code for a in answers) == [303, 403, 403, 403]
    problem(await browser.get(back), 403, "sso_state")
    code = fragment(next(a for a in answers if a.status_code == 303))["sso_code"]
    problem(await sso.exchange(code, "w" * 43), 401, "sso_code")  # a leaked code without the front end's verifier
    problem(await sso.exchange(code), 401, "sso_code")  # and then it is used up
    code = (await sso.visit(browser))["sso_code"]
    both = await asyncio.gather(sso.exchange(code), sso.exchange(code))
    assert sorted(a.status_code for a in both) == [200, 401]
    code = (await sso.visit(browser))["sso_code"]
    clock.advance(61)
    problem(await sso.exchange(code), 401, "sso_code")
    slow = await sso.come_back((await sso.leave(browser)).headers["location"])
    clock.advance(601)
    problem(await browser.get(slow), 403, "sso_state")
    # Two tabs of one browser do not end each other's log-in, and a code of the one is no code of the other (PKCE).
    one, two = [await sso.come_back((await sso.leave(browser)).headers["location"]) for _ in range(2)]
    swapped = dict(parse_qsl(urlsplit(one).query)) | {"code": dict(parse_qsl(urlsplit(two).query))["code"]}
    assert fragment(await browser.get("/api/auth/oidc/callback", params=swapped))["sso_error"] == "sso_denied"
    three = await sso.come_back((await sso.leave(browser)).headers["location"])
    assert "sso_code" in fragment(await browser.get(three))


async def test_answers_of_another_provider_and_refusals_are_not_taken(build: Callable[..., Sso]) -> None:
    sso = build()
    browser = sso.house.client()

    async def answer(**change: str | None) -> dict[str, str]:
        back = await sso.come_back((await sso.leave(browser)).headers["location"])
        params = {k: v for k, v in (dict(parse_qsl(urlsplit(back).query)) | change).items() if v is not None}
        return fragment(await browser.get("/api/auth/oidc/callback", params=params))

    assert (await answer(iss="https://evil.example"))["sso_error"] == "sso_refused"  # mix-up
    assert (await answer(iss=None))["sso_error"] == "sso_refused"
    assert (await answer(error="access_denied"))["sso_error"] == "sso_denied"
    assert (await answer(code="guessed"))["sso_error"] == "sso_denied"
    assert (await answer(error="<script>", code=None))["sso_message"] == "The sign-in service did not let you in."
    assert [e["reason"] for e in await sso.house.events("login.failed")] == [
        "sso:issuer", "sso:issuer", "sso:access_denied", "sso:invalid_grant", "sso:unknown",
    ]  # fmt: skip


STRANGERS: list[tuple[Claims, str]] = [
    ({"email": "admin@example.org", "email_verified": False}, "sso_email_unverified"),
    ({"email": "admin@example.org"}, "sso_email_unverified"),
    ({"email": "admin@example.org", "email_verified": "true"}, "sso_email_unverified"),
    ({"email_verified": True}, "sso_email_unverified"),
    ({"email": "not an address", "email_verified": True}, "invalid_input"),
    ({"email": "ADMIN@example.org", "email_verified": True}, "sso_not_linked"),
]


async def test_an_address_links_to_nobody(build: Callable[..., Sso]) -> None:
    sso = build()
    await sso.house.make("admin@example.org", "admin")
    for sso.provider.claims, error in STRANGERS:
        assert (await sso.visit())["sso_error"] == error, sso.provider.claims
    assert await sso.house.events("sso.linked") == []
    problem(await sso.leave(sso.house.client(), "//evil.example"), 422, "sso_next_refused")


async def test_an_administrator_allows_a_link_once_and_undoes_it(build: Callable[..., Sso], clock: ManualClock) -> None:
    sso = build()
    admin = await sso.house.logged_in("root@example.org", "admin")
    local = await sso.house.make("grace@example.org", "viewer", password=None)
    scientist = await sso.house.logged_in("ann@example.org", "scientist")
    problem(await scientist.put(f"/api/admin/users/{local}/sso"), 403, "forbidden")
    assert (await sso.visit())["sso_error"] == "sso_not_linked"
    assert (await admin.put(f"/api/admin/users/{local}/sso")).status_code == 204
    clock.advance(8 * 86_400)
    assert (await sso.visit())["sso_error"] == "sso_not_linked"
    admin = sso.house.client(await sso.house.token("root@example.org"))
    await admin.put(f"/api/admin/users/{local}/sso")
    linked = (await sso.login()).json()["user"]
    assert (linked["id"], linked["roles"], linked["must_change"]) == (local, ["scientist"], False)
    sso.provider.subject = "u-2"  # another subject with the same address: the grant is used up
    assert (await sso.visit())["sso_error"] == "sso_not_linked"
    sso.provider.subject = "u-1"
    grace = await sso.client()
    assert (await admin.delete(f"/api/admin/users/{local}/sso")).status_code == 204
    problem(await grace.get("/api/auth/me"), 401, "unauthenticated")
    assert (await sso.visit())["sso_error"] == "sso_not_linked"
    problem(await admin.put("/api/admin/users/018f0000-0000-7000-8000-000000000000/sso"), 404, "not_found")


async def test_disabled_people_and_people_without_a_role_stay_out(build: Callable[..., Sso]) -> None:
    sso = build()
    await sso.house.make("root@example.org", "admin")
    for groups in ([], None, "strangers", {"lab-scientists": True}, ["LAB-SCIENTISTS"], 7):
        sso.provider.groups = groups
        assert (await sso.visit())["sso_error"] == "sso_no_role", groups
    sso.provider.groups = "lab-scientists"
    grace = await sso.client()
    # A role that is taken away there is taken away here, with everything that is open.
    sso.provider.groups = []
    assert (await sso.visit())["sso_error"] == "sso_no_role"
    problem(await grace.get("/api/auth/me"), 401, "unauthenticated")
    sso.provider.groups = ["lab-scientists"]
    grace = await sso.client()
    person = (await grace.get("/api/auth/me")).json()["id"]
    assert [e["reason"] for e in await sso.house.events("roles.changed")] == ["roles:", "roles:scientist"]
    root = sso.house.client(await sso.house.token("root@example.org"))
    code = (await sso.visit())["sso_code"]
    assert (await root.delete(f"/api/admin/users/{person}")).status_code == 204
    problem(await sso.exchange(code), 403, "sso_disabled")  # between the callback and the exchange, too
    assert (await sso.visit())["sso_error"] == "sso_disabled"


async def test_the_last_administrator_is_not_lost_to_a_claim(build: Callable[..., Sso]) -> None:
    sso = build()
    sso.provider.groups = ["it"]
    admin = await sso.client()
    for groups in (["lab-scientists"], []):
        sso.provider.groups = groups
        assert (await sso.visit())["sso_error"] == "last_admin"
    assert (await admin.get("/api/auth/me")).json()["roles"] == ["admin"]


async def test_whoever_changes_an_address_cannot_sign_as_that_person(build: Callable[..., Sso]) -> None:
    """21 CFR 11.200(a)(3): an administrator who sends the provider's person to somebody's account does not get their signature."""
    sso = build(link_by_email=True)
    admin = await sso.house.logged_in("root@example.org", "admin")
    await sso.house.make("other@example.org", "admin")
    victim = await sso.house.make("signer@example.org", "scientist")
    path = f"/api/admin/users/{victim}"
    assert (await admin.get(path)).json()["may_sign"] is True
    assert (await admin.patch(path, json={"email": "signer@example.org", "name": "S. Igner"})).json()["may_sign"] is True
    assert (await admin.patch(path, json={"email": "grace@example.org", "may_sign": True})).json()["may_sign"] is False
    problem(await admin.patch(path, json={"may_sign": True}), 409, "hold_stands")
    user = (await sso.login()).json()["user"]
    assert (user["id"], user["may_sign"]) == (victim, False)


async def test_a_verified_address_links_to_that_address_only(build: Callable[..., Sso]) -> None:
    """Folding for log-ins takes the Kelvin sign for a k; a link takes the address that was verified."""
    sso = build(link_by_email=True)
    await sso.house.make("kim@example.org", "scientist")
    await sso.house.make("strasse@example.org", "scientist")
    for lookalike in ("\u212aim@example.org", "stra\u00dfe@example.org", "ki\uff4d@example.org"):
        sso.provider.claims = {"email": lookalike, "email_verified": True}
        assert (await sso.visit())["sso_error"] == "sso_not_linked", lookalike
    sso.provider.claims = {"email": "KIM@example.org", "email_verified": True}
    assert "sso_code" in await sso.visit()


async def test_roles_by_hand_and_links_by_address_are_settings(build: Callable[..., Sso]) -> None:
    sso = build(roles_claim=None, link_by_email=True)
    assert (await sso.visit())["sso_error"] == "sso_unknown_person"
    local = await sso.house.make("grace@example.org", "viewer")
    user = (await sso.login()).json()["user"]
    assert (user["id"], user["roles"]) == (local, ["viewer"])
    sso.provider.subject = "u-2"  # one subject per person
    assert (await sso.visit())["sso_error"] == "sso_not_linked"
    with pytest.raises(SettingsError, match="wizard"):
        build(roles={"x": "wizard"})
    nested = build(roles_claim="realm_access.roles", trust_email=True)
    nested.provider.subject = "u-3"
    nested.provider.claims = {"email": "ann@example.org", "realm_access": {"roles": ["it"]}}
    assert (await nested.login()).json()["user"]["roles"] == ["admin"]


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "https://lumen.example.evil.example/",
        "https://lumen.example@evil.example/", "http://lumen.example/", "javascript:alert(1)", "/x\r\nSet-Cookie: a=b", "/\t/evil.example",
        "https://lumen.example:8443/", "/a#sso_code=mine", "evil", "https:///evil.example", "https://[", "/ä",
    ],
)  # fmt: skip
def test_next_leads_nowhere_else(path: str) -> None:
    with pytest.raises(LandingRefused):
        checked_landing(path, "https://here.example/base", [FRONT_END])


async def test_a_provider_that_is_down_or_odd_is_said_clearly(build: Callable[..., Sso], clock: ManualClock) -> None:
    sso = build()
    browser = sso.house.client()
    sso.provider.down = {"discovery"}
    answer = await sso.leave(browser)
    assert "does not answer" in problem(answer, 503, "sso_unavailable")["detail"]
    sso.provider.down = set()
    for odd in ({"issuer": "https://evil.example"}, {"token_endpoint": None}, {"jwks_uri": "file:///etc/passwd"}):
        sso.provider.metadata = odd
        problem(await sso.leave(browser), 503, "sso_unavailable")
    sso.provider.metadata = {}
    for part in ("token", "keys"):
        sso.provider.down = {part}
        assert (await sso.visit(browser))["sso_error"] == "sso_unavailable", part
    sso.provider.down = set()
    assert "sso_code" in await sso.visit(browser)
    clock.advance(3_700)
    sso.provider.url = "http://127.0.0.1:9"  # what was cached has expired
    sso.provider.down = {"discovery"}
    problem(await sso.leave(browser), 503, "sso_unavailable")


async def test_without_a_provider_there_is_no_single_sign_on(house: House) -> None:
    client = house.client()
    assert (await client.get("/api/auth/oidc")).json() == {"configured": False, "label": None}
    for path in ("/api/auth/oidc/login", "/api/auth/oidc/callback?state=x"):
        problem(await client.get(path), 404, "sso_not_configured")
    problem(await client.post("/api/auth/oidc/token", json={"code": "x", "code_verifier": VERIFIER}), 401, "sso_code")


async def test_logins_begun_are_limited_per_address(build: Callable[..., Sso]) -> None:
    sso = build(starts_per_minute=2)
    browser = sso.house.client()
    assert [(await sso.leave(browser)).status_code for _ in range(3)] == [303, 303, 429]
    problem(await sso.leave(browser, code_challenge=""), 422, "invalid_input")
