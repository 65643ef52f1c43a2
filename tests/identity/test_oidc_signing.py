"""Signing by people with single sign-on: only after a fresh authentication at the provider, once, in that session."""

from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from aliquot.kernel.clock import SystemClock
from aliquot.platform.oidc_settings import OidcSettings
from tests.conftest import Urls
from tests.identity.conftest import problem
from tests.identity.test_oidc import CHALLENGE, VERIFIER, fragment
from tests.peers.oidc import CLIENT_ID, CLIENT_SECRET, Provider, running_provider
from tests.site import PASSWORD, Seeded, Site, running_site, seeded, seeded_urls  # noqa: F401 - fixtures

PUBLIC = "http://aliquot.test"
PROTOCOL = "/api/records/protocol/PCR-STD-35"


class Ahead(SystemClock):
    """The real clock, moved forward."""

    def __init__(self) -> None:
        self.by = timedelta()

    def now(self) -> datetime:
        return super().now() + self.by

    def advance(self, seconds: float) -> None:
        self.by += timedelta(seconds=seconds)


async def journey(site: Site, url: str) -> dict[str, str]:
    """A browser's way from here to the provider and back."""
    browser = await site.anonymous()
    left = await browser.get(url.removeprefix(PUBLIC))
    assert left.status_code == 303, left.text
    async with httpx2.AsyncClient(verify=False) as there:
        location = (await there.get(left.headers["location"])).headers["location"]
    return fragment(await browser.get(location.removeprefix(PUBLIC)))


async def signed_on(site: Site) -> httpx2.AsyncClient:
    ended = await journey(site, f"/api/auth/oidc/login?next=/&code_challenge={CHALLENGE}")
    client = await site.anonymous()
    opened = await client.post("/api/auth/oidc/token", json={"code": ended["sso_code"], "code_verifier": VERIFIER})
    client.headers["Authorization"] = f"Bearer {opened.json()['token']}"
    return client


async def step_up(site: Site, client: httpx2.AsyncClient, provider: Provider) -> dict[str, str]:
    provider.skew += 1  # people are slower than a test: two authentications are not in one second
    begun = await client.post("/api/auth/oidc/step-up", json={"purpose": "sign", "next": "/sign"})
    assert begun.status_code == 200, begun.text
    asked = dict(parse_qsl(urlsplit(begun.json()["url"]).query))
    assert set(asked) == {"step_up"}, "no bearer token, no name"
    return await journey(site, begun.json()["url"])


@pytest.mark.rule("11.200")
async def test_a_person_with_single_sign_on_signs_after_a_fresh_authentication_only(
    seeded_urls: Urls, seeded: Seeded, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    clock = Ahead()
    async with running_provider(clock) as provider:
        provider.claims = {"email": "scientist@demo.lab", "email_verified": True}
        provider.authenticated_ago = 3_600
        oidc = OidcSettings(issuer=provider.url, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), link_by_email=True)
        options = {"clock": clock, "public_url": PUBLIC, "oidc": oidc, "shutdown_seconds": 0.2}
        async with running_site(seeded_urls, tmp_path / "data", seeded, **options) as site:  # type: ignore[arg-type]
            await story(site, provider, clock)


async def destroys(site: Site, sana: httpx2.AsyncClient, provider: Provider) -> None:
    """What changes or opens the record for good takes the same proof in such a session."""
    admin = await site.client("admin")
    conversation = (await admin.post("/api/conversations", json={})).json()["id"]
    roles = {"roles": ["clinician"]}
    assert (await admin.put(f"/api/admin/users/{site.people['scientist']}/roles", json=roles)).status_code == 200
    wish = {"record": conversation, "reason": "an emergency"}
    problem(await sana.post("/api/records/break-glass", json=wish | {"password": PASSWORD}), 422, "signature_required")
    problem(await sana.post("/api/records/break-glass", json=wish | {"sso": "guessed"}), 403, "wrong_sso_proof")
    proof = (await step_up(site, sana, provider))["sso_proof"]
    assert (await sana.post("/api/records/break-glass", json=wish | {"sso": proof})).status_code == 201
    assert (await admin.put(f"/api/admin/users/{site.people['scientist']}/roles", json={"roles": ["scientist"]})).status_code == 200


async def story(site: Site, provider: Provider, clock: Ahead) -> None:
    sana = await signed_on(site)
    shown = (await sana.get(PROTOCOL)).json()
    assert (shown["components"], shown["continued"]) == (["sso"], False)

    async def sign(client: httpx2.AsyncClient, meaning: str = "responsibility", **secret: str) -> httpx2.Response:
        return await client.post(f"{PROTOCOL}/signatures", json={"meaning": meaning, **secret})

    problem(await sign(sana), 422, "signature_required")
    problem(await sign(sana, password=PASSWORD), 403, "components_required")  # her local password is no fresh sign-on
    problem(await sign(sana, sso="guessed"), 403, "wrong_sso_proof")

    proof = (await step_up(site, sana, provider))["sso_proof"]
    made = await sign(sana, sso=proof)
    assert made.status_code == 201, made.text
    assert made.json()["printed_name"] == "Sana Scientist (demo)"
    problem(await sign(sana, "rejection", sso=proof), 403, "wrong_sso_proof")  # counts once
    problem(await sign(sana, "rejection", password=PASSWORD), 403, "components_required")  # and begins no period

    other = await signed_on(site)
    stolen = (await step_up(site, sana, provider))["sso_proof"]
    problem(await sign(other, "rejection", sso=stolen), 403, "wrong_sso_proof")  # another session of hers
    problem(await sign(await site.client("reviewer"), "rejection", sso=stolen), 403, "wrong_sso_proof")
    late = (await step_up(site, sana, provider))["sso_proof"]
    clock.advance(121)
    problem(await sign(sana, "rejection", sso=late), 403, "wrong_sso_proof")

    await destroys(site, sana, provider)
    provider.obeys = False  # a provider that shows no log-in page although it was asked to
    assert (await step_up(site, sana, provider))["sso_error"] == "sso_not_fresh"
    provider.obeys, provider.change = True, lambda claims: claims.pop("auth_time")
    assert (await step_up(site, sana, provider))["sso_error"] == "sso_not_fresh"
    newest = provider.now()
    provider.change = lambda claims: claims.update(auth_time=newest - 30)  # the authentication of another time
    assert (await step_up(site, sana, provider))["sso_error"] == "sso_not_fresh"
    provider.change, provider.subject = lambda _: None, "u-2"
    assert (await step_up(site, sana, provider))["sso_error"] == "sso_somebody_else"
    provider.subject = "u-1"

    problem(await (await site.client("viewer")).post("/api/auth/oidc/step-up", json={}), 409, "sso_no_identity")
    problem(await sana.post("/api/auth/oidc/step-up", json={"next": "//evil.example"}), 422, "sso_next_refused")
    begun = (await sana.post("/api/auth/oidc/step-up", json={})).json()["url"].removeprefix(PUBLIC)
    browser = await site.anonymous()
    problem(await browser.get(begun[:-6] + "AAAAAA"), 403, "sso_state")
    assert (await sana.post("/api/auth/logout")).status_code == 204
    assert (await journey(site, begun))["sso_error"] == "unauthenticated"  # a session that has ended signs nothing
    clock.advance(121)
    problem(await browser.get(begun), 403, "sso_state")
    async with site.services.db.begin() as tx:
        await site.services.identity.clean(tx)
        left = await tx.scalar(
            sa.text("SELECT (SELECT count(*) FROM oidc_pass) + (SELECT count(*) FROM oidc_flow WHERE expires_at <= now())")
        )
    assert left == 0
