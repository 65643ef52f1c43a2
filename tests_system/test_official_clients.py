"""The official JavaScript clients of AG-UI, of the AI SDK and of MCP read what we send."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.site import Site
from tests.web.sockets import token


async def node(folder: Path, script: str, *arguments: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        "node", script, *arguments, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()[-2000:]
    return json.loads(out)


async def test_the_ag_ui_client(site: Site, npm_packages: Path) -> None:
    client = await site.client("scientist")
    told = await node(npm_packages, "agui_client.mjs", site.url, token(client), "thread-1", "Is PCR-02 ready?")
    assert told["kinds"][0] == "RUN_STARTED"
    assert told["kinds"][-1] == "RUN_FINISHED"
    answer = [message for message in told["messages"] if message["role"] == "assistant" and message.get("content")][-1]
    stored = (await client.get("/api/conversations/thread-1/messages")).json()["items"]
    assert (answer["content"], answer["id"]) == (stored[0]["content"], stored[0]["id"])
    again = await node(npm_packages, "agui_client.mjs", site.url, token(client), "thread-1", "Start PCR-STD-35 on PCR-02")
    assert again["kinds"][-1] == "RUN_FINISHED"


async def test_the_ai_sdk(site: Site, npm_packages: Path) -> None:
    client = await site.client("scientist")
    for question in ("Is PCR-02 ready?", "Start PCR-STD-35 on PCR-02"):
        told = await node(npm_packages, "ai_sdk_client.mjs", site.url, token(client), "chat-1", question)
        assert told["failures"] == []
        text = "".join(part["text"] for part in told["last"]["parts"] if part["type"] == "text")
        stored = (await client.get("/api/conversations/chat-1/messages")).json()["items"][0]
        assert (text, told["last"]["id"]) == (stored["content"], stored["id"])


async def test_the_mcp_sdk(site: Site, npm_packages: Path) -> None:
    client = await site.client("scientist")
    told = await node(npm_packages, "mcp_client.mjs", site.url, token(client))
    assert {"get_instrument_status", "start_run", "get_approval"} <= set(told["tools"])
    assert "PCR-02" in told["read"]["content"][0]["text"]
    assert told["asked"]["structuredContent"]["state"] == "waiting_approval"
    assert told["waits"]["structuredContent"]["approval"] == told["asked"]["structuredContent"]["approval"]
