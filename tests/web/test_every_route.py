"""Every route of the application with no token, an expired one, a revoked one, and with other people's ids."""

import re
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
import websockets
from starlette.routing import WebSocketRoute

from aliquot.web.app import create_app
from tests.site import Seeded, Site, seeded, seeded_urls, site  # noqa: F401 - fixtures

OPEN = {
    ("GET", "/api/health"), ("GET", "/api/chat/health"), ("POST", "/api/auth/login"), ("GET", "/api/shared/{token}"),
    ("GET", "/api/shared/{token}/attachments/{attachment_id}"),
    ("GET", "/api/auth/oidc"), ("GET", "/api/auth/oidc/login"), ("GET", "/api/auth/oidc/callback"), ("POST", "/api/auth/oidc/token"),
}  # fmt: skip
PUBLIC_PREFIX = "/tlog/"  # C2SP log files are public by their nature: hashes, and entries without contents behind a permission


async def routes(site: Site) -> list[tuple[str, str]]:  # noqa: F811
    document = (await (await site.anonymous()).get("/api/openapi.json")).json()
    return [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]


def filled(path: str, value: str) -> str:
    return re.sub(r"\{[^}]+\}", value, path)


@pytest.mark.rule("11.10(d)", "HIPAA 164.312(a)(1)")
async def test_without_a_token_everything_but_health_and_log_in_is_401(site: Site) -> None:  # noqa: F811
    anonymous = await site.anonymous()
    found = await routes(site)
    assert len(found) > 50
    for method, path in found:
        if (method, path) in OPEN or path.startswith(PUBLIC_PREFIX):
            continue
        answer = await anonymous.request(method, filled(path, str(uuid.uuid4())), json={} if method != "GET" else None)
        assert answer.status_code == 401, (method, path, answer.status_code)
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.rule("11.10(d)")
async def test_expired_forged_and_revoked_tokens_are_401_everywhere(site: Site) -> None:  # noqa: F811
    scientist = await site.client("scientist")
    good = scientist.headers["Authorization"].removeprefix("Bearer ")
    claims: dict[str, Any] = jwt.decode(good, options={"verify_signature": False})
    past = datetime.now(UTC) - timedelta(hours=1)
    expired = jwt.encode(claims | {"exp": past}, site.services.vault.derive("jwt"), algorithm="HS256")
    forged = jwt.encode(claims, b"x" * 32, algorithm="HS256")
    unsigned = jwt.encode(claims, None, algorithm="none")
    assert (await scientist.post("/api/auth/logout")).status_code in (200, 204)
    anonymous = await site.anonymous()
    for token in (expired, forged, unsigned, good, "alq_x.y", "nonsense"):
        assert (await anonymous.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})).status_code == 401, token
    for method, path in await routes(site):
        if (method, path) in OPEN or path.startswith(PUBLIC_PREFIX):
            continue
        for token in (expired, good):
            answer = await anonymous.request(method, filled(path, "1"), json={}, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code in (401, 429), (method, path, answer.status_code)


@pytest.mark.rule("11.10(d)", "11.10(g)")
async def test_a_person_without_rights_gets_nothing_from_administration(site: Site) -> None:  # noqa: F811
    viewer = await site.client("viewer")
    for method, path in await routes(site):
        if path.startswith(("/api/admin", "/api/chat/feedback/export", "/api/audit", "/api/policy", "/api/debug", "/metrics")):
            answer = await viewer.request(method, filled(path, str(uuid.uuid4())), json={"user": "x", "tool": "y", "model": "z"})
            assert answer.status_code == 403, (method, path, answer.status_code)


async def test_unknown_ids_are_never_a_server_error(site: Site) -> None:  # noqa: F811
    scientist = await site.client("scientist")
    for method, path in await routes(site):
        if "{" not in path or path.startswith(PUBLIC_PREFIX):
            continue
        for value in (str(uuid.uuid4()), "x", "%00", "..%2F..%2Fetc", "😀", "9" * 300):
            answer = await scientist.request(method, filled(path, value), json={} if method not in ("GET", "DELETE") else None)
            assert answer.status_code < 500, (method, path, value, answer.status_code)
            assert "Traceback" not in answer.text


async def test_health_says_per_part_what_works_and_nothing_else(site: Site) -> None:  # noqa: F811
    anonymous = await site.anonymous()
    document = (await anonymous.get("/api/health")).json()
    assert document["status"] == "ok"
    assert set(document["parts"]) == {"database", "ledger", "disk", "models", "policy", "files"}
    assert (await anonymous.get("/api/chat/health")).json()["answers_with"] == "tools"


async def test_metrics_count_requests_by_template_and_name_nobody(site: Site) -> None:  # noqa: F811
    admin, scientist = await site.client("admin"), await site.client("scientist")
    await scientist.get(f"/api/runs/{uuid.uuid4()}")
    text = (await admin.get("/metrics")).text
    assert 'route="/api/runs/{run_id}",status="404"' in text
    assert "demo.lab" not in text
    listed = (await admin.get("/api/debug/routes")).json()["routes"]
    assert {"path": "/api/chat/completion", "methods": ["POST"]} in listed
    names = [limit["name"] for limit in (await admin.get("/api/admin/limits")).json()["limits"]]
    assert "run_starts_per_minute" in names


async def test_aliases_are_the_same_resource(site: Site) -> None:  # noqa: F811
    scientist = await site.client("scientist")
    made = (await scientist.post("/api/chat/threads", json={"clientId": "t1", "title": "Thread"})).json()
    assert (await scientist.get("/api/conversations/t1")).json() == made
    assert (await scientist.get("/api/users/me")).json() == (await scientist.get("/api/auth/me")).json()
    renamed = await scientist.patch("/api/chat/threads/t1", json={"title": "Other"})
    assert renamed.json()["title"] == "Other"
    assert (await scientist.delete("/api/chat/threads/t1")).status_code == 204
    assert (await scientist.get("/api/chat/threads/t1")).status_code == 404


@pytest.mark.rule("11.10(d)")
async def test_every_websocket_without_a_token_or_with_an_expired_one_is_401(site: Site) -> None:  # noqa: F811
    claims = jwt.decode((await site.client("scientist")).headers["Authorization"].split()[1], options={"verify_signature": False})
    past = datetime.now(UTC) - timedelta(hours=1)
    expired = jwt.encode(claims | {"exp": past}, site.services.vault.derive("jwt"), algorithm="HS256")
    found = [route.path for route in _all_routes(create_app(site.services).routes) if isinstance(route, WebSocketRoute)]
    assert {"/ws/chat/{conversation_id}", "/ws/debug"} <= set(found)
    for path in found:
        for query in ("", f"?token={expired}", "?token=nonsense"):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(f"{site.url.replace('http', 'ws')}{filled(path, 'x')}{query}")
            assert refused.value.response.status_code == 401, path


def _all_routes(routes: Iterable[Any]) -> Iterator[Any]:
    """Routes of the application and of the routers in it."""
    for route in routes:
        yield route
        inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        yield from _all_routes(inner or ())
