"""`/mcp` judged by the official SDK as the client: what it lists, what a call does, what waits, and what never happens through it."""

import asyncio
import json
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as wire
import pytest
from mcp.shared.exceptions import MCPError

from tests.conftest import PATIENCE, Urls
from tests.mcp.conftest import api_key, client_of, data
from tests.site import Seeded, Site, running_site

START = {"instrument": "PCR-02", "protocol": "PCR-STD-35"}
MODERN = "2026-07-28"


@pytest.mark.parametrize("mode", ["legacy", MODERN])
async def test_a_person_lists_and_calls_what_they_may_and_a_confirmation_is_a_persons(site: Site, mode: str) -> None:
    scientist, viewer = await site.client("scientist"), await site.client("viewer")
    token = str(scientist.headers["Authorization"])
    async with client_of(site, token, mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools["get_instrument_status"].annotations == wire.ToolAnnotations(
            read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        )
        assert tools["start_run"].annotations is not None
        assert (tools["start_run"].annotations.read_only_hint, tools["start_run"].annotations.destructive_hint) == (False, True)
        assert tools["start_run"].input_schema["additionalProperties"] is False
        assert "get_approval" in tools

        read = await client.call_tool("get_instrument_status", {"instrument": "PCR-02"})
        assert not read.is_error
        assert "PCR-02" in str(read.content[0])
        run_id = data(read)["run_id"]
        run = (await scientist.get(f"/api/runs/{run_id}")).json()
        assert (run["kind"], run["state"]) == ("tool", "done")

        wrong = await client.call_tool("get_instrument_status", {"instrument": "PCR-02", "extra": 1})
        assert wrong.is_error
        assert data(wrong)["code"] == "arguments_invalid"
        with pytest.raises(MCPError) as unknown:
            await client.call_tool("sudo", {})
        assert unknown.value.code == wire.INVALID_PARAMS

        asked = await client.call_tool("start_run", START)
        approval = data(asked)["approval"]
        assert not asked.is_error
        assert (data(asked)["state"], data(asked)["repeated"], approval["state"]) == ("waiting_approval", False, "pending")
        assert approval["preview"]["summary"] in str(asked.content[0])
        again = await client.call_tool("start_run", START)
        assert data(again)["repeated"] is True
        assert data(again)["approval"]["id"] == approval["id"]
        pending = (await scientist.get("/api/approvals", params={"state": "pending"})).json()["items"]
        assert [item["id"] for item in pending] == [approval["id"]]

        seen: list[float] = []

        async def progress(passed: float, most: float | None, _: str | None) -> None:
            seen.append(passed)
            if len(seen) == 1:
                decided = await scientist.post(f"/api/approvals/{approval['id']}/decision", json={"decision": "approve"})
                assert decided.status_code == 202, decided.text

        ended = await client.call_tool("get_approval", {"approval_id": approval["id"], "wait_seconds": 20}, progress_callback=progress)
        assert seen, "a waiting client hears that something goes on"
        assert not ended.is_error
        assert data(ended)["approval"]["state"] == "done"
        assert data(ended)["result"]["instrument"] == "PCR-02"
        assert data(ended)["run_id"] != approval["run_id"]

    async with client_of(site, str(viewer.headers["Authorization"]), mode) as other:
        assert "start_run" not in {tool.name for tool in (await other.list_tools()).tools}
        denied = await other.call_tool("start_run", START)
        assert denied.is_error
        assert data(denied)["code"] == "denied"
        foreign = await other.call_tool("get_approval", {"approval_id": approval["id"]})
        assert foreign.is_error
        assert data(foreign)["code"] == "not_found"

    admin = await site.client("admin")
    events = (await admin.get("/api/audit", params={"action": "run.started"})).json()["items"]
    assert {event["via"] for event in events} == {"mcp"}


async def test_calls_at_once_make_one_request_and_a_key_makes_one_call(site: Site) -> None:
    scientist = await site.client("scientist")
    async with client_of(site, str(scientist.headers["Authorization"]), MODERN) as client:
        answers = await asyncio.gather(*(client.call_tool("start_run", START) for _ in range(6)))
        assert len({data(answer)["approval"]["id"] for answer in answers}) == 1
        assert sorted(data(answer)["repeated"] for answer in answers) == [False, True, True, True, True, True]
        approval = data(answers[0])["approval"]["id"]
        await scientist.post(f"/api/approvals/{approval}/withdraw", json={})
        gone = await client.call_tool("get_approval", {"approval_id": approval, "wait_seconds": 20})  # ended: nothing to wait for
        assert gone.is_error
        assert data(gone)["state"] == "withdrawn"
        anew = await client.call_tool("start_run", START)
        assert data(anew)["repeated"] is False
        assert data(anew)["approval"]["id"] != approval

        keyed = {"aliquot/idempotency_key": "tuesday-1"}
        first = await client.call_tool("get_instrument_status", {"instrument": "PCR-02"}, meta=keyed)
        second = await client.call_tool("get_instrument_status", {"instrument": "PCR-02"}, meta=keyed)
        assert data(first)["run_id"] == data(second)["run_id"]
        other = await client.call_tool("get_instrument_status", {"instrument": "HPLC-03"}, meta=keyed)
        assert data(other)["code"] == "idempotency_mismatch"
        for bad in ("", "x" * 201, 7):
            refused = await client.call_tool("get_instrument_status", {}, meta={"aliquot/idempotency_key": bad})
            assert data(refused)["code"] == "invalid_input"
        for arguments in (
            {},
            {"approval_id": 7},
            {"approval_id": str(uuid.uuid4()), "wait_seconds": True},
            {"approval_id": "x", "decision": "approve"},
        ):
            assert (await client.call_tool("get_approval", arguments)).is_error


async def test_an_agent_with_a_key_waits_for_its_person_and_hears_a_refusal(site: Site) -> None:
    scientist = await site.client("scientist")
    key = await api_key(scientist)
    async with client_of(site, key, "legacy") as client:
        asked = await client.call_tool("start_run", START)
        approval = data(asked)["approval"]["id"]
        for decide in ("decide_approval", "approve", "POST /api/approvals"):
            with pytest.raises(MCPError):
                await client.call_tool(decide, {"approval_id": approval, "decision": "approve"})
        agent = httpx2.AsyncClient(base_url=site.url, headers={"Authorization": key})
        tried = await agent.post(f"/api/approvals/{approval}/decision", json={"decision": "approve"})
        assert (tried.status_code, tried.json()["code"]) == (403, "session_required")
        await agent.aclose()
        none = await client.call_tool("get_approval", {"approval_id": approval})
        assert data(none)["state"] == "waiting_approval"
        rejected = await scientist.post(f"/api/approvals/{approval}/decision", json={"decision": "reject", "reason": "not today"})
        assert rejected.status_code == 202
        heard = await client.call_tool("get_approval", {"approval_id": approval, "wait_seconds": 20})
        assert heard.is_error
        assert data(heard)["approval"]["state"] == "rejected"
        assert data(heard)["approval"]["reason"] == "not today"


async def test_a_client_that_opens_pages_is_sent_to_the_page_and_comes_back(
    seeded_urls: Urls,
    seeded: Seeded,
    tmp_path: Path,
) -> None:
    page = "https://lab.example/approvals/{id}?from=mcp"
    settings: dict[str, Any] = {"approval_page": page, "public_url": "https://lab.example/", "shutdown_seconds": 0.2}
    async with running_site(seeded_urls, tmp_path / "data", seeded, **settings) as site:
        scientist = await site.client("scientist")
        token, opened = str(scientist.headers["Authorization"]), []

        async def open_page(_: Any, params: Any) -> wire.ElicitResult:
            assert isinstance(params, wire.ElicitRequestURLParams)
            opened.append(params.url)
            approval = params.url.partition("approvals/")[2].partition("?")[0]
            await scientist.post(f"/api/approvals/{approval}/decision", json={"decision": "approve"})
            return wire.ElicitResult(action="accept")

        async with client_of(site, token, MODERN, elicitation_callback=open_page) as client:
            done = await client.call_tool("start_run", START)
            assert opened == [page.replace("{id}", data(done)["approval"]["id"])]
            assert data(done)["result"]["instrument"] == "PCR-02"

            stop = {"run": data(done)["result"]["code"], "reason": "x"}
            asked = await client.session.call_tool("stop_run", stop, allow_input_required=True)
            assert isinstance(asked, wire.InputRequiredResult)
            state = asked.request_state
            other = await client.session.call_tool("start_run", START, request_state=state, allow_input_required=True)
            assert other.is_error, "a request comes back to the tool it was made for"  # type: ignore[union-attr]
            forged = await client.session.call_tool("stop_run", {}, request_state=str(uuid.uuid4()), allow_input_required=True)
            assert forged.is_error  # type: ignore[union-attr]

        viewer = await site.client("viewer")
        async with client_of(site, str(viewer.headers["Authorization"]), MODERN, elicitation_callback=open_page) as thief:
            stolen = await thief.session.call_tool("stop_run", {}, request_state=state, allow_input_required=True)
            assert stolen.is_error  # type: ignore[union-attr]

        async with client_of(site, token, MODERN) as plain:  # cannot open pages: it is told where
            told = data(await plain.call_tool("stop_run", stop))
            assert told["repeated"] is True
            assert told["approval"]["decide"]["page"] == page.replace("{id}", str(state))
            assert told["approval"]["decide"]["api"] == f"POST https://lab.example/api/approvals/{state}/decision"


def _call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}


async def test_hostile_requests_are_refused_as_the_specification_says(site: Site) -> None:
    scientist = await site.client("scientist")
    token = str(scientist.headers["Authorization"])
    http = httpx2.AsyncClient(base_url=site.url, timeout=PATIENCE)
    good = {
        "Authorization": token, "Accept": "application/json, text/event-stream", "Content-Type": "application/json",
        "MCP-Protocol-Version": "2025-11-25",
    }  # fmt: skip
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}

    async def post(body: Any, **headers: str) -> httpx2.Response:
        content = body if isinstance(body, bytes) else httpx2.Request("POST", "http://x", json=body).content
        return await http.post("/mcp", content=content, headers=good | {k.replace("_", "-"): v for k, v in headers.items()})

    assert (await post(listing)).status_code == 200

    nobody = await http.post("/mcp", json=listing)
    assert (nobody.status_code, nobody.headers["WWW-Authenticate"].split()[0]) == (401, "Bearer")
    assert nobody.json()["error"]["data"]["code"] == "unauthenticated"
    wrong = await post(listing, Authorization="Bearer " + "a.b.c")
    assert wrong.status_code == 401

    for method in ("GET", "DELETE", "PUT"):
        answer = await http.request(method, "/mcp", headers=good)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    foreign = await post(listing, Origin="https://evil.example")
    assert (foreign.status_code, foreign.json()["error"]["data"]["code"]) == (403, "foreign_origin")
    rebound = await post(listing, Host="evil.example:8089")
    assert (rebound.status_code, rebound.json()["error"]["data"]["code"]) == (421, "foreign_host")
    session = await post(listing, Mcp_Session_Id="4cf25dbda7fa")  # somebody else's, or one from before a restart
    assert (session.status_code, session.json()["error"]["data"]["code"]) == (404, "session_not_found")

    assert (await post(listing, Accept="text/html")).status_code == 406
    assert (await post(listing, Content_Type="text/plain")).status_code in (400, 415)
    nested = (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001 + b"}"
    )
    surrogate = (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_instrument_status","arguments":{"instrument":"\\ud800"}}}'
    )
    broken = [
        b"", b"{", b"[]", b"null", b"1e999", nested, b'{"jsonrpc":"1.0","id":1,"method":"tools/list"}', b'{"id":1}', b"\xff\xfe",
        httpx2.Request("POST", "http://x", json=[listing, _call("start_run", START)]).content,
    ]  # fmt: skip
    for version in ("2025-11-25", MODERN, "1999-01-01"):
        for body in (*broken, surrogate):
            answer = await post(body, MCP_Protocol_Version=version)
            assert 200 <= answer.status_code < 500, (version, body[:60], answer.status_code)
            assert "Traceback" not in answer.text
            assert '"result":{"content"' not in answer.text or '"isError":true' in answer.text
    for depth in (20, 400, 900):
        arguments = '{"a":' * depth + "1" + "}" * depth
        body = json.dumps(_call("get_instrument_status", {})).replace("{}}}", arguments + "}}").encode()
        deep = (await post(body)).text
        assert "arguments_invalid" in deep or '"code":-32' in deep, (depth, deep[:200])
    big = await post(_call("get_instrument_status", {"instrument": "x" * 1_100_000}))
    assert (big.status_code, big.json()["error"]["data"]["code"]) == (413, "too_large")
    assert (await scientist.get("/api/approvals", params={"state": "pending"})).json()["items"] == []  # no batch slipped through

    out = await scientist.post("/api/auth/logout")
    assert out.status_code in (200, 204)
    assert (await post(listing)).status_code == 401
    await http.aclose()


async def test_a_token_that_ends_while_its_client_waits_ends_the_wait_and_places_are_bounded(
    seeded_urls: Urls,
    seeded: Seeded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aliquot.web.mcp._RECHECK_SECONDS", 0.0)
    limits = {"limits": {"mcp_requests_at_once": 1}, "shutdown_seconds": 0.2, "origins": ("https://app.example",)}
    async with running_site(seeded_urls, tmp_path / "data", seeded, **limits) as site:
        scientist = await site.client("scientist")
        token = str(scientist.headers["Authorization"])
        async with client_of(site, token, MODERN) as client:
            approval = data(await client.call_tool("start_run", START))["approval"]["id"]
            heard = asyncio.Event()

            async def progress(*_: Any) -> None:
                heard.set()

            arguments = {"approval_id": approval, "wait_seconds": 50}
            waiting = asyncio.create_task(client.call_tool("get_approval", arguments, progress_callback=progress))
            await heard.wait()
            async with httpx2.AsyncClient(base_url=site.url, headers={"Authorization": token}) as http:
                full = await http.post(
                    "/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers={"Origin": "https://app.example"}
                )
            assert (full.status_code, full.json()["error"]["data"]["code"]) == (429, "too_many_requests_at_once")
            await scientist.post("/api/auth/logout")
            ended = await waiting
            assert ended.is_error
            assert data(ended)["code"] == "unauthenticated"


async def test_any_process_of_the_site_answers_and_the_sdk_is_loaded_by_who_needs_it(
    seeded_urls: Urls, seeded: Seeded, tmp_path: Path
) -> None:
    async with (
        running_site(seeded_urls, tmp_path / "one", seeded, shutdown_seconds=0.2) as one,
        running_site(seeded_urls, tmp_path / "two", seeded, shutdown_seconds=0.2) as two,
    ):
        scientist = await one.client("scientist")
        token = str(scientist.headers["Authorization"])
        async with client_of(one, token, "legacy") as first, client_of(two, token, "legacy") as second:
            asked, again = await asyncio.gather(first.call_tool("start_run", START), second.call_tool("start_run", START))
            approval = data(asked)["approval"]["id"]
            assert data(again)["approval"]["id"] == approval
            await scientist.post(f"/api/approvals/{approval}/decision", json={"decision": "approve"})
            ended = await second.call_tool("get_approval", {"approval_id": approval, "wait_seconds": 30})
            assert data(ended)["result"]["instrument"] == "PCR-02"
    program = "import sys, aliquot.web.app; sys.exit(any(name.split('.')[0] in ('mcp', 'mcp_types') for name in sys.modules))"
    started = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await started.wait() == 0, "a server that nobody asks for MCP does not load its SDK"
