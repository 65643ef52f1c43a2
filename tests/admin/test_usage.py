"""What administrators see of a site in use: `/api/admin/usage`, `/api/admin/limits`, `/admin/stats`; and that it holds no contents."""

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from aliquot.admin.tally import Tally
from aliquot.platform.telemetry import Metrics
from tests.chat.conftest import MODELS, ask, model_host, model_server  # noqa: F401 - fixtures
from tests.conftest import Urls
from tests.peers.models_server import ModelServer, ToolCall, Turn
from tests.site import Seeded, Site, running_site, seeded, seeded_urls, site  # noqa: F401 - fixtures

_SECRET = "heliotrope"


async def in_use(running: Site, models: ModelServer) -> httpx2.AsyncClient:
    """Two people ask, one tool answers twice and fails once, a limit is met."""
    status = ToolCall(name="get_instrument_status", arguments='{"instrument": "PCR-02"}')
    broken = ToolCall(name="get_instrument_status", arguments='{"instrument": 4}')
    models.script(
        Turn(tool_calls=(status,), input_tokens=100, output_tokens=10), Turn(text=_SECRET, input_tokens=200, output_tokens=20),
        Turn(tool_calls=(status, broken)), Turn(text=_SECRET), Turn(text=_SECRET, input_tokens=1_000, output_tokens=500),
    )  # fmt: skip
    scientist, viewer = await running.client("scientist"), await running.client("viewer")
    await ask(scientist, f"Is PCR-02 ready, {_SECRET}?")
    await ask(scientist, f"And now, {_SECRET}?")
    await ask(viewer, f"Tell me about {_SECRET}")
    for _ in range(3):
        last = await viewer.post("/chat", json={"message": "hello"})
    assert last.status_code == 429
    return scientist


async def test_a_site_in_use(seeded_urls: Urls, seeded: Seeded, tmp_path: Path, model_server: ModelServer) -> None:  # noqa: F811
    """Fails when something is counted twice, under the wrong person, for one process only, or when a content shows."""
    path = tmp_path / "models.toml"
    path.write_text(MODELS.format(url=model_server.openai_url))
    limits = {"chat_per_address_per_minute": 2, "cost_per_day": "0.1"}
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(
                running_site(seeded_urls, tmp_path / name, seeded, shutdown_seconds=0.2, models=path, limits=limits)
            )
            for name in ("one", "two")
        ]
        await in_use(one, model_server)
        await asyncio.gather(one.services.admin.flush(), one.services.admin.flush())  # the loop and a request at once
        admin = await other.client("admin")
        answer = await admin.get("/api/admin/usage")
        usage = answer.json()
        stats = (await admin.get("/admin/stats")).json()
        caps = {limit["name"]: limit for limit in (await admin.get("/api/admin/limits")).json()["limits"] if "used" in limit}
        assert _SECRET not in answer.text + json.dumps(stats)
        check_requests(usage)
        check_models(one, usage)
        tool = next(t for t in usage["tools"] if t["tool"] == "get_instrument_status")
        assert (tool["calls"], tool["ok"], tool["failed"]) == (3, 2, 1)
        assert 0 < tool["p50_ms"] <= tool["p95_ms"]
        assert usage["patterns"] == {
            "questions": 5, "without_tools": 3, "together": [{"tools": ["get_instrument_status"], "runs": 2}],
        }  # fmt: skip
        assert [(c["kind"], c["state"], c["runs"]) for c in usage["runs"]] == [("chat", "done", 5)]
        assert len(usage["slowest"]) == 5
        assert usage["slowest"][0]["duration_ms"] >= usage["slowest"][-1]["duration_ms"]
        assert {run["steps"] for run in usage["slowest"]} == {1, 2}
        assert caps["cost_per_day"]["used"] == usage["caps"][0]["used"]
        assert caps["chat_total_per_minute"]["used"] == "2"
        check_lumen(stats, usage)


def check_requests(usage: dict[str, object]) -> None:
    requests = usage["requests"]
    assert isinstance(requests, dict)
    assert requests["limited_today_by_route"] == {"POST /chat": 1}
    assert requests["limited_today"] == 1
    assert requests["chat_per_minute"] == 2  # let through
    assert requests["failed_today"] == 0
    assert 8 <= requests["today"] <= 12  # log-ins, three questions, three of Lumen's, and what the other process has seen


def check_models(running: Site, usage: dict[str, object]) -> None:
    models, caps, people = usage["models"], usage["caps"], usage["people"]
    assert isinstance(models, dict)
    assert isinstance(caps, list)
    assert isinstance(people, list)
    for parts in (models["days"], models["models"]):
        assert [part["calls"] for part in parts] == [7]
    assert models["models"][0]["of"] == "fake"
    assert models["days"][0]["of"] == datetime.now(UTC).date().isoformat()
    by_person = {part["of"]: part for part in models["people"]}
    assert by_person[str(running.people["scientist"])]["calls"] == 4
    assert by_person[str(running.people["viewer"])]["output_tokens"] == 500 + 2 * 12
    assert isinstance(models["models"][0]["cost"], str)
    assert sum(Decimal(part["cost"]) for part in by_person.values()) == Decimal(models["models"][0]["cost"])
    assert {person["id"] for person in people} == set(by_person)
    day = caps[0]
    assert (day["name"], Decimal(day["limit"]), day["unit"]) == ("cost_per_day", Decimal("0.1"), "USD")
    assert Decimal(day["used"]) == Decimal(models["models"][0]["cost"])
    assert Decimal(day["percent"]) == (Decimal(day["used"]) * 1_000).quantize(Decimal("0.1"))
    assert day["resets_at"].endswith("T00:00:00.000Z")
    hours = [cap for cap in caps if cap["name"] == "model_tokens_per_hour"]
    assert [cap["person_id"] for cap in hours] == [str(running.people[role]) for role in ("viewer", "scientist")]


def check_lumen(stats: dict[str, dict[str, object]], usage: dict[str, object]) -> None:
    assert stats["rateLimit"] == {
        "requestsPerMinute": 2, "rateLimitedToday": 1,
        "limits": {"perAddressPerMinute": 2, "globalPerMinute": 100, "perSessionPerHour": 50},
    }  # fmt: skip
    assert stats["usage"]["questions"] == 5
    assert stats["usage"]["totalTokens"] == stats["usage"]["inputTokens"] + stats["usage"]["outputTokens"]  # type: ignore[operator]
    assert stats["costCap"]["reached"] is False
    assert usage["load"] == {"processes": 0, "open_streams": 0, "open_sockets": 0, "active_runs": 0}


async def test_who_may_look_and_for_how_long(site: Site) -> None:  # noqa: F811
    """Fails when somebody without the right sees statistics, or when a period is unbounded."""
    admin, scientist = await site.client("admin"), await site.client("scientist")
    for path in ("/admin/stats", "/api/admin/usage", "/api/admin/limits"):
        assert (await scientist.get(path)).status_code == 403, path
    now = datetime.now(UTC)

    async def code(**period: str) -> int:
        return (await admin.get("/api/admin/usage", params=period)).status_code

    assert await code(**{"from": (now - timedelta(days=92)).isoformat(), "to": now.isoformat()}) == 200
    assert await code(**{"from": (now - timedelta(days=93)).isoformat(), "to": now.isoformat()}) == 422
    assert await code(**{"from": now.isoformat(), "to": now.isoformat()}) == 422
    assert await code(to="0001-01-02T00:00:00Z") == 422
    assert await code(to="9999-12-31T23:59:59-14:00") == 422
    assert await code(to="9999-12-31T23:59:59Z") == 200
    assert await code(to="2026-01-02T00:00:00") == 422
    empty = (await admin.get("/api/admin/usage", params={"to": "2020-01-01T00:00:00Z"})).json()
    assert (empty["since"], empty["until"]) == ("2019-12-25T00:00:00.000Z", "2020-01-01T00:00:00.000Z")
    assert (empty["tools"], empty["runs"], empty["slowest"], empty["patterns"]["questions"]) == ([], [], [], 0)


async def test_what_is_open_counts_while_it_is_open(site: Site) -> None:  # noqa: F811
    """Fails when the load of a process is not renewed, or is not taken back."""
    admin = site.services.admin
    site.services.metrics.open_streams.inc(3)
    client = await site.client("admin")
    assert (await client.get("/api/admin/usage")).json()["load"]["open_streams"] == 3
    site.services.metrics.open_streams.dec(3)
    await admin.flush()
    assert (await client.get("/api/admin/usage")).json()["load"]["open_streams"] == 0


@pytest.mark.parametrize(
    ("route", "status", "counted"),
    [
        ("/chat", 200, {("all", ""): 2, ("chat", ""): 2}),
        ("/chat", 429, {("all", ""): 2, ("chat", ""): 2, ("limited", "POST /chat"): 2}),
        ("/api/x", 503, {("all", ""): 2, ("failed", ""): 2}),
        ("/api/x", 429, {("all", ""): 2, ("limited", "POST /api/x"): 2}),
    ],
)
def test_kinds_of_requests(route: str, status: int, counted: dict[tuple[str, str], int]) -> None:
    """Fails when a request is kept twice, or forgotten because keeping it failed."""
    metrics = Metrics()
    tally = Tally(metrics)
    for _ in range(2):
        metrics.requests.labels(method="POST", route=route, status=str(status)).inc()
    assert tally.waiting() == counted
    assert tally.waiting() == counted  # it was not kept
    tally.kept(tally.waiting())
    assert not tally.waiting()
    metrics.limited_frames.inc()
    assert tally.waiting() == {("limited", "WebSocket frame"): 1}
