"""Who is not let in, and what a bad client gets: clear errors, close codes where it must end, and no harm to anybody else."""

import asyncio
import inspect
import json
import logging
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import websockets
from uvicorn.protocols.websockets import websockets_sansio_impl

from aliquot.platform import telemetry
from aliquot.platform.settings import Limits
from tests.chat.conftest import model_host, model_server, model_site  # noqa: F401 - fixtures
from tests.conftest import Urls
from tests.peers.models_server import ModelServer, ToolCall, Turn
from tests.site import Seeded, Site, running_site, seeded, seeded_urls, site  # noqa: F401 - fixtures
from tests.web.sockets import connected, token


async def refused(site: Site, credential: str | None, conversation: str = "x", **options: Any) -> tuple[int, dict[str, Any]]:  # noqa: F811
    """The HTTP answer instead of a connection."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with connected(site, credential, conversation, **options):
            pass
    return caught.value.response.status_code, json.loads(caught.value.response.body or b"{}")


async def test_who_is_not_let_in(site: Site) -> None:  # noqa: F811
    scientist, viewer = await site.client("scientist"), await site.client("viewer")
    good = token(scientist)
    claims: dict[str, Any] = jwt.decode(good, options={"verify_signature": False})
    expired = jwt.encode(claims | {"exp": datetime.now(UTC) - timedelta(hours=1)}, site.services.vault.derive("jwt"), algorithm="HS256")
    key = (await scientist.post("/api/auth/keys", json={"name": "k"})).json()["secret"]
    ticket = (await scientist.post("/api/auth/ticket")).json()["ticket"]
    mine = (await scientist.post("/api/conversations", json={"title": "Mine"})).json()["id"]
    for path in ("x", "/debug", mine):
        for bad in (None, "", "nonsense", expired, jwt.encode(claims, b"x" * 32, algorithm="HS256"), key):
            status, problem = await refused(site, bad, path)
            assert (status, problem["code"]) == (401, "unauthenticated")
    async with connected(site, ticket, mine) as ws:
        await ws.until("connection")
    assert (await refused(site, ticket, mine))[0] == 401  # used up
    for other in (mine, str(uuid.uuid4()), str(uuid.UUID(int=0))):
        status, problem = await refused(site, token(viewer), other)
        assert (status, problem["code"]) == (404, "unknown_conversation")
    assert (await refused(site, token(viewer), "/debug"))[0] == 403
    for name in ("%00", "x" * 300):
        assert (await refused(site, good, name))[0] == 422
    await scientist.post("/api/auth/logout")
    assert (await refused(site, good, mine))[0] == 401


def test_a_refusal_is_no_error_on_the_administrators_terminal(caplog: pytest.LogCaptureFixture) -> None:
    before = logging.getLogger("uvicorn.error").filters[:]
    try:
        logging.getLogger("uvicorn.error").addFilter(telemetry._no_refused_handshake)
        logging.getLogger("uvicorn.error").addHandler(caplog.handler)  # whatever an earlier test made of its propagation
        with caplog.at_level(logging.ERROR, logger="uvicorn.error"):
            logging.getLogger("uvicorn.error").error("ASGI callable returned without completing handshake.")
            logging.getLogger("uvicorn.error").error("Exception in ASGI application")
    finally:
        logging.getLogger("uvicorn.error").filters = before
        logging.getLogger("uvicorn.error").removeHandler(caplog.handler)
    # Once or twice: through the handler of its own, and through the root where no earlier test ended the propagation.
    assert {record.msg for record in caplog.records} == {"Exception in ASGI application"}
    source = Path(str(inspect.getsourcefile(websockets_sansio_impl))).read_text()
    assert '"ASGI callable returned without completing handshake."' in source  # its words after an update


async def test_pages_of_other_origins_may_not_connect(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> None:  # noqa: F811
    settings: dict[str, Any] = {"shutdown_seconds": 0.2, "origins": ("https://lab.example",), "public_url": "https://chat.example/a"}
    async with running_site(seeded_urls, tmp_path / "data", seeded, **settings) as running:
        good = token(await running.client("scientist"))
        for origin in ("https://lab.example", "https://chat.example", running.url):
            async with connected(running, good, "x", origin=origin) as ws:
                await ws.until("connection")
        for origin in ("https://evil.example", "https://lab.example.evil.example", "http://lab.example", "null"):
            status, problem = await refused(running, good, "x", origin=origin)
            assert (status, problem["code"]) == (403, "origin_refused")


HOSTILE = [
    ("", "malformed_frame"),
    ("{", "malformed_frame"),
    ("[]", "malformed_frame"),
    ("null", "malformed_frame"),
    ("{}", "malformed_frame"),
    ('{"type": 1}', "malformed_frame"),
    ('{"type": ["message"]}', "malformed_frame"),
    ("[" * 100_000, "malformed_frame"),
    ('{"a":' * 50_000, "malformed_frame"),
    ('{"type": "delete_everything"}', "unknown_frame"),
    ('{"type": "message"}', "invalid_input"),
    ('{"type": "message", "content": ""}', "empty_message"),
    ('{"type": "message", "content": 5}', "invalid_input"),
    ('{"type": "message", "content": "x", "admin": true}', "invalid_input"),
    ('{"type": "message", "content": "\\ud800"}', None),
    ('{"type": "message", "content": "x", "parent_id": "00000000-0000-0000-0000-000000000000"}', None),
    ('{"type": "message", "content": "x", "client_id": "a", "clientId": "b"}', "invalid_input"),
    (json.dumps({"type": "message", "content": "x" * 33_000}), "message_too_long"),
    ('{"type": "resume", "after": 7}', "invalid_input"),
    ('{"type": "resume", "after": {"x": 1}}', "invalid_input"),
    ('{"type": "resume", "after": {"00000000-0000-0000-0000-000000000000": -2}}', "invalid_input"),
    ('{"type": "resume", "after": {}}', "no_conversation"),
    ('{"type": "cancel"}', "conflict"),
    ('{"type": "cancel", "run_id": "00000000-0000-7000-8000-000000000000"}', "unknown_run"),
    ('{"type": "approve", "approval_id": "00000000-0000-7000-8000-000000000000"}', "not_found"),
    ('{"type": "approve", "approval_id": "x"}', "invalid_input"),
]


async def test_every_bad_frame_is_answered_and_the_connection_lives(site: Site) -> None:  # noqa: F811
    client = await site.client("scientist")
    async with connected(site, token(client), "bad") as ws:
        await ws.until("connection")
        for text, code in HOSTILE:
            await ws.raw.send(text)
            answer = await ws.until("error")
            assert answer["code"] == code or code is None, (text[:80], answer)
            assert "detail" in answer
            assert "Traceback" not in json.dumps(answer)
        await ws.raw.send(b"\x00\x01")
        assert (await ws.until("error"))["code"] == "malformed_frame"
        await ws.send("ping", id="still here")
        assert (await ws.next()) == {"type": "pong", "id": "still here"}
        await ws.raw.send("x" * 600_000)
        assert await ws.closed() == 1009
    assert (await client.get("/api/conversations")).json()["items"] == []


async def test_ten_thousand_rapid_frames(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> None:  # noqa: F811
    limits = Limits(requests_per_minute=100, run_starts_per_minute=3, live_refused_frames=500, live_connections_per_person=2)
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, limits=limits) as running:
        client, other = await running.client("scientist"), await running.client("viewer")
        async with connected(running, token(client), "fast") as ws:
            for n in range(4):
                await ws.send("message", content=f"Is PCR-0{n} ready?")
            refusal = await ws.until("error")
            assert (refusal["code"], refusal["of"]) == ("rate_limited", "message")
            assert 0 < refusal["retry_after"] <= 60
            assert running.services.metrics.registry.get_sample_value("aliquot_limited_frames_total") == 1
            await ws.send("ping")
            await ws.until("pong")
            async with connected(running, token(client), "second"):
                assert (await refused(running, token(client), "third"))[0] == 429
            flood = json.dumps({"type": "ping"})

            async def pour() -> None:
                for _ in range(10_000):
                    await ws.raw.send(flood)

            pouring = asyncio.create_task(pour())
            assert await ws.closed() == 1008
            await asyncio.gather(pouring, return_exceptions=True)
            assert len(ws.of("pong")) < 100
            assert 1 <= len([e for e in ws.of("error") if "Too many frames" in e["detail"]]) <= 5
        async with connected(running, token(other), "calm") as calm:
            await calm.send("ping")
            await calm.until("pong")


async def test_a_decision_over_the_socket_needs_a_login_session(model_site: Site, model_server: ModelServer) -> None:  # noqa: F811
    start = ToolCall(name="start_run", arguments={"instrument": "PCR-02", "protocol": "PCR-STD-35"})
    model_server.script(Turn(tool_calls=(start,)), Turn(text="Started."))
    client = await model_site.client("scientist")
    key = (await client.post("/api/auth/keys", json={"name": "agent"})).json()["secret"]

    async def program() -> Any:
        return connected(model_site, None, "act", additional_headers={"Authorization": f"Bearer {key}"})

    async with await program() as agent:
        await agent.send("message", content="Start it")
        approval = (await agent.until("approval_required"))["approval_id"]
        await agent.until("message_complete")
        await agent.send("approve", approval_id=approval)
        assert (await agent.until("error"))["code"] == "session_required"
        async with connected(model_site, token(client), "act") as person:
            await person.until("presence")
            await person.send("approve", approvalId=approval, decision="approve")
            decided = await person.until("accepted")
            assert (decided["of"], decided["state"]) == ("approve", "approved")
            for ws in (agent, person):
                last = await ws.until("message_complete")
                assert last["run_id"] == decided["run_id"]
                assert "Started." in last["content"]
            assert not [f for f in person.of("message") if f["run_id"] == decided["run_id"]]


async def test_cancelling_over_the_socket(model_site: Site, model_server: ModelServer) -> None:  # noqa: F811
    model_server.script(Turn(text=" ".join(f"w{n}" for n in range(400)), itl=0.02))
    client = await model_site.client("scientist")
    async with connected(model_site, token(client), "stop") as ws:
        await ws.send("message", content="Count")
        await ws.until("text_delta")
        await ws.send("cancel")
        assert (await ws.until("done"))["state"] == "cancelled"
        last = await ws.until("message_complete")
        assert last["incomplete"] is True
        assert ws.of("accepted")[0]["of"] == "cancel"


async def test_the_debugging_socket_shows_connections_without_contents(site: Site) -> None:  # noqa: F811
    admin, client = await site.client("admin"), await site.client("scientist")
    async with connected(site, token(admin), "/debug") as debug:
        hello = await debug.next()
        assert hello["seen"]["address"] == "127.0.0.1"
        assert "permessage-deflate" in hello["seen"]["extensions"]
        await debug.raw.send("hello there")
        assert (await debug.next()) == {"type": "echo", "data": "hello there", "characters": 11}
        async with connected(site, token(client), "secret-name-of-a-conversation") as ws:
            await ws.send("typing")
            await ws.send("ping")
            await ws.until("pong")
            assert (await debug.next())["event"] == "opened"
        ended = await debug.next()
        assert (ended["event"], ended["frames"]) == ("closed", 2)
        assert (await refused(site, "nonsense"))[0] == 401
        assert (await debug.next())["code"] == "unauthenticated"
        told = json.dumps(debug.heard[2:])
        for secret in ("secret-name", "scientist", token(client)):
            assert secret not in told


async def test_an_idle_connection_is_ended(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> None:  # noqa: F811
    limits = Limits(live_idle_seconds=0.2)
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, limits=limits) as running:
        client = await running.client("scientist")
        async with connected(running, token(client), "idle") as ws:
            assert await ws.closed() == 1000
            assert [e["code"] for e in ws.of("error")] == ["idle"]
            assert running.services.live.counts()["connections"] == 0
