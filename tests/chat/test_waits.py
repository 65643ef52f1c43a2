"""A run that stopped at an approval says that it waits only while somebody can still decide."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx2
import psycopg
import pytest

from aliquot.kernel.clock import SystemClock
from tests.chat.conftest import ask, hear
from tests.conftest import Urls
from tests.site import Seeded, Site, running_site

_GATE = 4711


class MovedClock(SystemClock):
    """The host's clock, moved forward by hand."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def site(seeded_urls: Urls, seeded: Seeded, tmp_path: Path, clock: MovedClock) -> AsyncIterator[Site]:
    async with running_site(seeded_urls, tmp_path / "data", seeded, clock=clock, shutdown_seconds=0.2) as running:
        yield running


async def wish(client: httpx2.AsyncClient) -> tuple[str, str]:
    """A run that waits, and its approval."""
    heard = await ask(client, "Start PCR-STD-35 on PCR-02")
    assert (await state(client, heard.run_id)) == ("waiting_approval", None)
    return heard.run_id, heard.of("approval_required")[0]["approval_id"]


async def state(client: httpx2.AsyncClient, run: str) -> tuple[str, str | None]:
    document = (await client.get(f"/api/runs/{run}")).json()
    return document["state"], document["error_code"]


async def test_whatever_ends_the_approval_ends_the_wait(site: Site, clock: MovedClock) -> None:
    scientist, reviewer = await site.client("scientist"), await site.client("reviewer")
    withdrawn, approval = await wish(scientist)
    assert (await scientist.post(f"/api/approvals/{approval}/withdraw")).status_code == 200
    late, late_approval = await wish(scientist)
    forgotten, _ = await wish(scientist)
    clock.ahead = timedelta(seconds=901)
    answer = await scientist.post(f"/api/approvals/{late_approval}/decision", json={"decision": "approve"})
    assert (answer.status_code, answer.json()["code"]) == (409, "approval_expired")
    async with site.services.db.begin() as tx:  # what the loop does every 15 s
        await site.services.policy.expire_due(tx)
    assert await state(scientist, withdrawn) == ("cancelled", None)
    assert await state(scientist, late) == ("failed", "approval_expired")
    assert await state(scientist, forgotten) == ("failed", "approval_expired")
    for choice in ("reject", "approve"):
        run, approval = await wish(scientist)
        decided = await scientist.post(f"/api/approvals/{approval}/decision", json={"decision": choice})
        await hear(scientist, decided.json()["run_id"])
        assert await state(scientist, run) == ("done", None)
    events = (await reviewer.get("/api/audit", params={"record": f"run:{forgotten}", "limit": 50})).json()["items"]
    assert [e["reason"] for e in events if e["action"] == "run.failed"] == ["approval_expired"]


async def test_withdrawn_while_the_run_is_still_writing_that_it_waits(site: Site, seeded_urls: Urls) -> None:
    scientist = await site.client("scientist")
    with psycopg.connect(seeded_urls.superuser, autocommit=True) as gate:
        gate.execute(
            f"CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN PERFORM pg_advisory_xact_lock({_GATE}); RETURN NEW; END $$"
        )
        gate.execute("CREATE TRIGGER gate BEFORE INSERT ON message FOR EACH ROW WHEN (NEW.role = 'assistant') EXECUTE FUNCTION gate()")
        gate.execute("SELECT pg_advisory_lock(%s)", [_GATE])
        posted = await scientist.post("/api/conversations/w/messages", json={"content": "Start PCR-STD-35 on PCR-02"})
        while not (asked := (await scientist.get("/api/approvals", params={"state": "pending"})).json()["items"]):  # noqa: ASYNC110 - polling a run
            await asyncio.sleep(0.01)
        assert (await scientist.post(f"/api/approvals/{asked[0]['id']}/withdraw")).status_code == 200
        gate.execute("SELECT pg_advisory_unlock(%s)", [_GATE])
    run = posted.json()["run_id"]
    await hear(scientist, run)
    assert await state(scientist, run) == ("cancelled", None)


async def test_what_changed_while_an_approval_waited_is_said(site: Site) -> None:
    scientist = await site.client("scientist")
    (_, first), (_, second) = await wish(scientist), await wish(scientist)
    heard = []
    for approval in (first, second):
        decided = await scientist.post(f"/api/approvals/{approval}/decision", json={"decision": "approve"})
        heard.append(await hear(scientist, decided.json()["run_id"]))
    end = heard[1].of("tool_call_end")[0]
    assert end["outcome"] == "failed"
    assert end["summary"].startswith(
        "Since this was approved, what would happen changed, so nothing was done. Please ask again. Now: PCR-02 "
    )
    assert end["summary"] in heard[1].text


async def test_rights_lost_while_an_approval_waits_count(site: Site) -> None:
    admin, scientist = await site.client("admin"), await site.client("scientist")
    _, first = await wish(scientist)
    person = f"/api/admin/users/{site.people['scientist']}"
    assert (await admin.put(f"{person}/roles", json={"roles": ["viewer"]})).is_success
    decided = await scientist.post(f"/api/approvals/{first}/decision", json={"decision": "approve"})
    followed = await hear(scientist, decided.json()["run_id"])
    assert followed.of("tool_call_end")[0]["outcome"] in ("denied", "failed")
    assert (await scientist.get("/api/instruments/PCR-02/status")).json()["state"] == "idle"
    assert (await admin.put(f"{person}/roles", json={"roles": ["scientist"]})).is_success
    _, second = await wish(scientist)
    assert (await admin.patch(person, json={"active": False})).is_success
    refused = await scientist.post(f"/api/approvals/{second}/decision", json={"decision": "approve"})
    assert refused.status_code == 401
    assert (await admin.get("/api/instruments/PCR-02/status")).json()["state"] == "idle"
