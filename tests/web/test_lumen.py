"""Lumen's front end: sessions, their limits, and the statistics of its dashboard, spelled as in its document."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.chat.conftest import Heard, model_host, model_server, model_site, parse  # noqa: F401 - fixtures
from tests.conftest import ManualClock, Urls
from tests.peers.models_server import ModelServer, Turn
from tests.site import Seeded, Site, running_site, seeded, seeded_urls, site  # noqa: F401 - fixtures


async def chat(client: httpx2.AsyncClient, message: str, session: str | None = None) -> Heard:
    answer = await client.post("/chat", json={"message": message} | ({"sessionId": session} if session else {}))
    assert answer.status_code == 200, answer.text
    heard = Heard(parse(answer.text))
    assert heard.kinds()[-1] == "done"
    return heard


async def history(client: httpx2.AsyncClient, session: str) -> list[str]:
    answer = await client.get(f"/chat/sessions/{session}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["sessionId"] == session
    return [message["role"] for message in answer.json()["messages"]]


async def test_a_session_carries_the_conversation_to_the_model(model_site: Site, model_server: ModelServer) -> None:  # noqa: F811
    """The example of Lumen's document. Fails when the second question reaches the model without the first."""
    model_server.script(Turn(text="Building 3 is used to 61 %."), Turn(text="Building 5: 48 %."), Turn(text="Which building?"))
    client = await model_site.client("scientist")
    first = await chat(client, "What is the utilization for building 3?")
    session = first.of("run_started")[0]["sessionId"]
    assert first.events[0].kind == "run_started"
    second = await chat(client, "What about building 5?", session)
    assert second.of("run_started")[0]["sessionId"] == session
    assert second.text == "Building 5: 48 %."
    seen = str(model_server.requests[-1].body["messages"])
    assert "utilization for building 3" in seen
    assert "61 %" in seen
    assert await history(client, session) == ["user", "assistant"] * 2
    assert (await client.delete(f"/chat/sessions/{session}")).status_code == 204
    assert (await client.get(f"/chat/sessions/{session}")).status_code == 404
    await chat(client, "What about building 5?", session)
    assert "building 3" not in str(model_server.requests[-1].body["messages"])


async def test_follow_ups_without_a_model_and_a_name_given_by_the_client(site: Site) -> None:  # noqa: F811
    """Fails when the router forgets what was asked, when a stranger reaches a session by its name, or when an old one comes back."""
    client, stranger = await site.client("scientist"), await site.client("viewer")
    await chat(client, "Is PCR-02 ready?", "lumen-1")
    follow_up = await chat(client, "What about HPLC-03?", "lumen-1")
    assert "HPLC-03" in follow_up.text
    assert follow_up.of("tool_call_start")[0]["name"] == "get_instrument_status"
    for method in ("GET", "DELETE"):
        assert (await stranger.request(method, "/chat/sessions/lumen-1")).status_code == 404
    assert await history(client, "lumen-1") == ["user", "assistant"] * 2
    both = await client.post("/chat", json={"message": "hi", "sessionId": "a", "session_id": "b"})
    assert both.status_code == 422
    assert (await client.post("/chat", json={"message": "x" * 4_001})).json()["code"] == "message_too_long"


async def test_a_session_expires_after_an_hour_without_activity(
    seeded_urls: Urls,  # noqa: F811
    seeded: Seeded,  # noqa: F811
    tmp_path: Path,
    clock: ManualClock,
) -> None:
    """Fails when activity does not prolong a session, when it never ends, or when its record is lost with it."""
    async with running_site(seeded_urls, tmp_path / "data", seeded, clock=clock, shutdown_seconds=0.2) as running:
        client = await running.client("scientist")
        first = await chat(client, "Is PCR-02 ready?", "s")
        clock.advance(3_599)
        await chat(client, "What about HPLC-03?", "s")
        clock.advance(3_600)
        assert await history(client, "s") == ["user", "assistant"] * 2
        clock.advance(1)
        assert (await client.get("/chat/sessions/s")).status_code == 404
        reopened = await chat(client, "What about HPLC-03?", "s")
        assert await history(client, "s") == ["user", "assistant"]
        old, new = (heard.of("run_started")[0]["conversation_id"] for heard in (first, reopened))
        assert old != new
        assert len((await client.get(f"/api/conversations/{old}/messages")).json()["items"]) == 4
        reviewer = await running.client("reviewer")
        closed = (await reviewer.get("/api/audit", params={"action": "conversation.closed"})).json()["items"]
        assert [event["record"]["id"] for event in closed] == [old]


@pytest.fixture
async def two(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> AsyncIterator[tuple[Site, Site]]:  # noqa: F811
    """Two server processes' worth of Aliquot on one database."""
    limits = {"chat_per_address_per_minute": 8, "chat_per_session_per_hour": 3}
    async with AsyncExitStack() as stack:
        folders = (tmp_path / "one", tmp_path / "two")
        yield tuple([  # type: ignore[misc]
            await stack.enter_async_context(running_site(seeded_urls, f, seeded, shutdown_seconds=0.2, limits=limits)) for f in folders
        ])  # fmt: skip


async def test_limits_are_exact_across_processes_and_answered_as_documented(two: tuple[Site, Site]) -> None:
    """Fails when two processes together let one more through, when a session has a count for each of its names, or when refused
    requests count."""
    one, other = [await s.client("scientist") for s in two]
    session = (await chat(one, "Is PCR-02 ready?")).of("run_started")[0]["sessionId"]

    async def post(client: httpx2.AsyncClient, **body: str) -> httpx2.Response:
        return await client.post("/chat", json={"message": "Is PCR-02 ready?"} | body)

    names: list[dict[str, str]] = [{"sessionId": session}, {"conversationId": session}]
    answers = await asyncio.gather(*(post(client, **name) for client in (one, other) for name in names))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429]  # 3 an hour with the first
    refused(next(a for a in answers if a.status_code == 429), 3_600)
    answers = await asyncio.gather(*(post(client) for client in (one, other) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 3  # 8 a minute with the three before
    refused(next(a for a in answers if a.status_code == 429), 60)


def refused(answer: httpx2.Response, window: int) -> None:
    """The 429 of Lumen's document, which is a problem document too."""
    document: dict[str, Any] = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["error"] == "Rate limit exceeded. Please wait before sending more messages."
    assert window - 10 <= document["retryAfter"] <= window
    assert answer.headers["retry-after"] == str(document["retryAfter"])
    assert (document["status"], document["code"]) == (429, "rate_limited")
