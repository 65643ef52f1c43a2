"""The check of the record raises no false alarm: whatever honest people do, rows and log agree."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2

from tests.chat.conftest import ask, hear
from tests.chat.test_waits import MovedClock
from tests.conftest import Urls
from tests.site import Seeded, Site, running_site, seeded, seeded_urls  # noqa: F401 - fixtures

START: dict[str, Any] = {"name": "start_run", "arguments": {"instrument": "PCR-02", "protocol": "PCR-STD-35"}}


async def done(client: httpx2.AsyncClient, method: str, path: str, *statuses: int, **body: Any) -> Any:
    answer = await client.request(method, path, **body)
    assert answer.status_code in (statuses or (200, 201, 202, 204)), f"{path}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


async def wanted(client: httpx2.AsyncClient, message: str = "Start PCR-STD-35 on PCR-02") -> tuple[str, str]:
    """(approval, run) of a question that asks for confirmation."""
    heard = await ask(client, message)
    return heard.of("approval_required")[0]["approval_id"], heard.run_id


async def approvals(client: httpx2.AsyncClient, clock: MovedClock) -> None:
    async def decide(approval: str, decision: str) -> None:
        made = await done(client, "POST", f"/api/approvals/{approval}/decision", json={"decision": decision, "reason": "because"})
        if made["run_id"]:
            await hear(client, made["run_id"])

    await decide((await wanted(client))[0], "reject")
    await done(client, "POST", f"/api/approvals/{(await wanted(client))[0]}/withdraw")
    await done(client, "POST", f"/api/runs/{(await wanted(client))[1]}/cancel", 202, 409)
    first, _ = await wanted(client)
    second = (await wanted(client))[0]
    held = await done(client, "POST", "/api/chat/tools", 202, json=START)
    assert held["approval"]["id"]
    edited = await done(client, "POST", f"/api/approvals/{first}/edit", json={"arguments": START["arguments"] | {"samples": ["S-1"]}})
    await decide(edited["id"], "approve")
    await decide(second, "approve")  # the instrument is taken: nothing is done
    clock.ahead += timedelta(minutes=20)
    await done(client, "GET", f"/api/approvals/{held['approval']['id']}")
    await done(client, "POST", "/api/chat/tools", json={"name": "get_protocols", "arguments": {}})


async def conversations(client: httpx2.AsyncClient, other: httpx2.AsyncClient) -> None:
    heard = await ask(client, "Is PCR-02 ready?", "mine")
    await ask(client, "And HPLC-03?", "mine")
    answer = heard.of("run_started")[0]["message_id"]
    again = await done(client, "POST", f"/api/messages/{answer}/regenerate", json={})
    await hear(client, again["run_id"])
    exported = await client.post("/api/conversations/mine/export", json={"format": "json"})
    await done(other, "POST", "/api/conversations/import", content=exported.content)
    shared = await done(client, "POST", "/api/conversations/mine/share", json={"users": ["reviewer@demo.lab"]})
    await done(other, "POST", f"/api/shared/{shared['token']}/copy")
    history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "Is PCR-02 ready?"}]
    await done(client, "POST", "/v1/chat/completions", json={"model": "aliquot", "messages": history})
    await done(client, "PATCH", "/api/conversations/mine", json={"title": "New"})
    await done(client, "DELETE", "/api/conversations/mine")


async def differences(site: Site) -> list[tuple[str, str, str]]:
    await site.services.sequencer.run_once()
    return [(found.kind, found.record_type, found.what) for found in (await site.services.rechecker.check()).differences]


async def test_whatever_honest_people_do_is_no_alarm(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> None:  # noqa: F811
    clock = MovedClock()
    async with running_site(seeded_urls, tmp_path / "data", seeded, clock=clock, shutdown_seconds=0.2) as site:
        client, reviewer = await site.client("scientist"), await site.client("reviewer")
        assert await differences(site) == []
        await conversations(client, reviewer)
        assert await differences(site) == []
        await approvals(client, clock)
        assert await differences(site) == []
        site.services.erasure._obstacles = ()
        admin = await site.client("admin")
        body = {"subject": str(site.people["scientist"]), "reason": "a test", "password": "correct horse battery"}
        erasure = await done(admin, "POST", "/api/admin/erasure", json=body)
        assert erasure["state"] == "done"
        assert await differences(site) == []
