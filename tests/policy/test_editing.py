"""Arguments edited before a decision: a new request with a new preview, in chat, by HTTP and in the terminal; inbox and bounds."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.chat.conftest import ask, hear
from tests.cli.conftest import PASSWORD, Client, client  # noqa: F401 - fixture
from tests.conftest import Urls
from tests.site import Seeded, Site, running_site, seeded, seeded_urls  # noqa: F401 - fixtures

START = {"instrument": "PCR-02", "protocol": "PCR-STD-35"}


@pytest.fixture
async def site(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> AsyncIterator[Site]:  # noqa: F811
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2) as running:
        yield running


async def held(client: httpx2.AsyncClient) -> tuple[str, dict[str, Any]]:  # noqa: F811
    """A run that waits, and its approval."""
    heard = await ask(client, "Start PCR-STD-35 on PCR-02")
    asked = heard.of("approval_required")[0]["approval_id"]
    return heard.run_id, (await client.get(f"/api/approvals/{asked}")).json()


async def test_edited_arguments_are_another_request_and_only_they_are_executed(site: Site) -> None:
    scientist, reviewer = await site.client("scientist"), await site.client("reviewer")
    run, old = await held(scientist)
    path, edited = f"/api/approvals/{old['id']}/edit", {"arguments": START | {"samples": ["S-0001", "S-0002"]}}
    assert (await reviewer.post(path, json=edited)).status_code == 404
    assert (await scientist.post(path, json={"arguments": {"instrument": "PCR-02"}})).json()["code"] == "arguments_invalid"
    key = (await scientist.post("/api/auth/keys", json={"name": "agent"})).json()["secret"]
    agent = httpx2.AsyncClient(base_url=site.url, headers={"Authorization": f"Bearer {key}"})
    assert (await agent.post(path, json=edited)).json()["code"] == "session_required"
    await agent.aclose()
    assert (await scientist.get(f"/api/approvals/{old['id']}")).json()["state"] == "pending"

    answers = await asyncio.gather(*(scientist.post(path, json=edited, headers={"Idempotency-Key": "e1"}) for _ in range(3)))
    assert [answer.status_code for answer in answers] == [200] * 3, answers[0].text
    (made,) = {answer.json()["id"] for answer in answers}
    new = answers[0].json()
    assert (new["state"], new["arguments"], new["may_decide"]) == ("pending", edited["arguments"], True)
    assert "2 samples" in new["preview"]["summary"]
    assert new["binding_sha256"] != old["binding_sha256"]
    before = (await scientist.get(f"/api/approvals/{old['id']}")).json()
    assert (before["state"], before["superseded_by"], before["arguments"]) == ("withdrawn", made, old["arguments"])
    assert (await scientist.post(path, json=edited)).json()["code"] == "already_decided"
    decided = await scientist.post(f"/api/approvals/{old['id']}/decision", json={"decision": "approve"})
    assert decided.json()["code"] == "already_decided"
    waiting = (await scientist.get(f"/api/runs/{run}")).json()
    assert (waiting["state"], waiting["approval_id"]) == ("waiting_approval", made)

    decided = await scientist.post(f"/api/approvals/{made}/decision", json={"decision": "approve"})
    heard = await hear(scientist, decided.json()["run_id"])
    assert [event["outcome"] for event in heard.of("tool_call_end")] == ["ok"], heard.text
    assert heard.of("tool_call_args")[0]["arguments"] == edited["arguments"]
    assert (await scientist.get(f"/api/approvals/{made}")).json()["state"] == "done"
    assert (await scientist.get(f"/api/runs/{run}")).json()["state"] == "done"


async def test_an_edit_the_policy_denies_leaves_the_request_as_it_was(site: Site) -> None:
    scientist = await site.client("scientist")
    _, old = await held(scientist)
    source = site.services.policy.keeper.source
    frozen = '\n@id("only-hplc") @reason("Maintenance.") forbid (principal, action, resource == Tool::"start_run") when '
    condition = '{ context.args has instrument && context.args.instrument == "SEQ-01" };'
    site.services.policy.use_bundle(replace(source, authz=source.authz + frozen + condition))
    edited = {"arguments": START | {"instrument": "SEQ-01"}}
    answer = await scientist.post(f"/api/approvals/{old['id']}/edit", json=edited)
    assert (answer.status_code, answer.json()["code"], answer.json()["reasons"][0]["policy_id"]) == (403, "denied", "only-hplc")
    logged = (await (await site.client("reviewer")).get("/api/policy/decisions", params={"decision": "deny"})).json()["items"]
    assert logged[0]["tool"] == "start_run"
    page = (await scientist.get("/api/approvals", params={"role": "inbox"})).json()
    assert ([item["id"] for item in page["items"]], page["counts"]) == ([old["id"]], {"mine": 1, "inbox": 1})


async def test_the_inbox_holds_what_waits_for_me(site: Site) -> None:
    scientist, reviewer = await site.client("scientist"), await site.client("reviewer")
    source = site.services.policy.keeper.source
    two = '\n@id("two") @reason("Two.") @obligation("two_person") permit (principal, action, resource == Tool::"stop_run");'
    golden = tuple(case for case in source.golden if case["tool"]["name"] != "stop_run")
    site.services.policy.use_bundle(replace(source, obligations=source.obligations + two, golden=golden))
    call = {"name": "stop_run", "arguments": {"run": await _running(scientist), "reason": "Smoke."}}
    foreign = (await scientist.post("/api/chat/tools", json=call)).json()["approval"]["id"]
    _, own = await held(scientist)

    async def listed(client: httpx2.AsyncClient, **query: str) -> tuple[list[str], dict[str, int]]:  # noqa: F811
        page = (await client.get("/api/approvals", params=query)).json()
        return [item["id"] for item in page["items"]], page["counts"]

    assert await listed(scientist, role="inbox") == ([own["id"]], {"mine": 2, "inbox": 1})
    assert await listed(scientist, role="mine") == ([own["id"], foreign], {"mine": 2, "inbox": 1})
    assert await listed(reviewer, role="inbox") == ([foreign], {"mine": 0, "inbox": 1})
    assert await listed(reviewer, role="mine") == ([], {"mine": 0, "inbox": 1})
    assert (await reviewer.post(f"/api/approvals/{foreign}/decision", json={"decision": "reject"})).status_code == 202
    assert await listed(reviewer, role="inbox") == ([], {"mine": 0, "inbox": 0})
    assert await listed(reviewer, state="rejected") == ([foreign], {"mine": 0, "inbox": 0})


async def _running(scientist: httpx2.AsyncClient) -> str:
    call = {"name": "get_run_history", "arguments": {"state": "running"}}
    return str((await scientist.post("/api/chat/tools", json=call)).json()["result"]["runs"][0]["code"])


async def test_the_terminal_changes_arguments_before_it_confirms(site: Site, client: Callable[[str], Client]) -> None:  # noqa: F811
    typed = ["scientist@demo.lab", PASSWORD, "Start PCR-STD-35 on PCR-02", "e", 'samples=["S-0003"]', "", "y", "", "/quit"]
    ended = await client(site.url).run(stdin="\n".join(typed))
    assert ended.code == 0, ended.out + ended.err
    shown = ended.out + ended.err
    assert "no samples" in shown
    assert "1 sample" in shown
    history = (await (await site.client("scientist")).get("/api/approvals")).json()["items"]
    assert [(item["state"], item["arguments"].get("samples")) for item in history] == [("done", ["S-0003"]), ("withdrawn", None)]
