"""The check of the record raises no false alarm: whatever honest people do, rows and log agree."""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aliquot.platform.mcp_settings import McpServer, McpTool
from tests.chat.conftest import ask, hear
from tests.chat.test_waits import MovedClock
from tests.conftest import Urls
from tests.mcp.test_external import TERM, Peer
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


async def plans(client: httpx2.AsyncClient, clock: MovedClock) -> None:
    """Rejected, stopped, gone through step by step, expired and resumed, its run cancelled, done, and one that fails."""
    both = "Start PCR-STD-35 on PCR-02 and then start SEQ-PE150 on SEQ-01"

    async def asked(message: str = both) -> tuple[str, str]:
        heard = await ask(client, message)
        return f"/api/plans/{heard.of('approval_required')[0]['preview']['plan']['id']}", heard.run_id

    async def decide(plan: str, decision: str = "approve") -> Any:
        waits = await done(client, "GET", plan)
        body = {"decision": decision} | ({} if decision == "step_by_step" else {"approval_id": waits["approval"]["id"]})
        made = await done(client, "POST", f"{plan}/decision", json=body)
        if made["run_id"]:
            await hear(client, made["run_id"])
        return await done(client, "GET", plan)

    freed, _ = await wanted(client, "Stop the run on PCR-02 because of a test")
    made = await done(client, "POST", f"/api/approvals/{freed}/decision", json={"decision": "approve"})
    await hear(client, made["run_id"])
    rejected = await decide((await asked())[0], "reject")
    await done(client, "POST", f"{(await asked())[0]}/stop")
    _, run = await asked()
    await done(client, "POST", f"/api/runs/{run}/cancel", 202, 409)
    expired, _ = await asked()
    clock.ahead += timedelta(minutes=20)
    waited = await done(client, "GET", f"/api/approvals/{(await done(client, 'GET', expired))['approval']['id']}")
    assert (rejected["state"], waited["state"]) == ("stopped", "expired")
    await until(client, expired, "paused")
    resumed = await done(client, "POST", f"{expired}/resume")
    await hear(client, resumed["run_id"])
    assert (await decide(expired, "reject"))["state"] == "stopped"
    stepwise = (await asked())[0]
    assert (await decide(stepwise, "step_by_step"))["state"] == "waiting"
    await decide(stepwise)
    assert (await decide(stepwise))["state"] == "done"
    stop = (await asked("Stop the run on PCR-02 because of a test, then stop the run on SEQ-01 because of a test"))[0]
    assert (await decide(stop))["state"] == "done"
    early, late = (await asked())[0], (await asked())[0]
    assert (await decide(early))["state"] == "done"
    assert (await decide(late))["state"] != "done"  # the instruments are taken


async def until(client: httpx2.AsyncClient, plan: str, state: str) -> None:
    async with asyncio.timeout(60):
        while (await done(client, "GET", plan))["state"] != state:  # noqa: ASYNC110 - the loop that ends waits
            await asyncio.sleep(0.05)


async def external_tools(site: Site, peer: Peer, admin: httpx2.AsyncClient) -> None:
    """Seen first, changed, taken back, changed and accepted, one that cannot be used."""

    async def offered(**tools: dict[str, Any]) -> None:
        peer.offer(**tools)
        await site.services.mcp.look()

    as_first, other = {"description": "Nothing.", "schema": TERM}, {"description": "More.", "schema": TERM}
    odd = {"schema": {"type": "object", "properties": {"a": {"$ref": "https://evil.example/schema"}}}}
    for tools in ({"one": as_first, "two": odd}, {"one": other}, {"one": as_first}, {"one": other}):
        await offered(**tools)
        assert await differences(site) == []
    (server,) = (await done(admin, "GET", "/api/admin/mcp"))["items"]
    wanted = next(tool["offered_sha256"] for tool in server["tools"] if tool["tool"] == "one")
    await done(admin, "POST", "/api/admin/mcp/local/tools/one/accept", json={"sha256": wanted})
    await offered(one=other, two=odd)


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


async def test_whatever_honest_people_do_is_no_alarm(
    seeded_urls: Urls, seeded: Seeded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,  # noqa: F811
) -> None:  # fmt: skip
    clock, peer = MovedClock(), Peer(tmp_path / "peer")
    peer.offer()
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    declared = McpServer(
        name="local", command=sys.executable, args=("-m", "tests.peers.mcp_server", str(peer.folder)), env=("PYTHONPATH",),
        tools=(McpTool(name="one"), McpTool(name="two")),
    )  # fmt: skip
    given: dict[str, Any] = {"mcp_servers": (declared,), "limits": {"mcp_look_seconds": 3_600}}
    async with running_site(seeded_urls, tmp_path / "data", seeded, clock=clock, shutdown_seconds=0.2, **given) as site:
        client, reviewer = await site.client("scientist"), await site.client("reviewer")
        assert await differences(site) == []
        await conversations(client, reviewer)
        assert await differences(site) == []
        await approvals(client, clock)
        assert await differences(site) == []
        await plans(await site.client("scientist"), clock)
        assert await differences(site) == []
        admin = await site.client("admin")
        await external_tools(site, peer, admin)
        assert await differences(site) == []
        site.services.erasure._obstacles = ()
        body = {"subject": str(site.people["scientist"]), "reason": "a test", "password": "correct horse battery"}
        erasure = await done(admin, "POST", "/api/admin/erasure", json=body)
        assert erasure["state"] == "done"
        assert await differences(site) == []
