"""An external MCP server of its own, written with the official SDK: `python -m tests.peers.mcp_server FOLDER [--http]`.

What it offers and answers stands in FOLDER/script.json (read at every request); what it was asked is appended to FOLDER/calls.jsonl.
Over HTTP it prints its port on the first line.
"""

import asyncio
import json
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Any

import mcp_types as wire
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from starlette.requests import Request

FOLDER = Path(sys.argv[1])


def script() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((FOLDER / "script.json").read_text())
    return found


def note(entry: dict[str, Any]) -> None:
    with (FOLDER / "calls.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")


async def list_tools(_: Any, __: Any) -> wire.ListToolsResult:
    tools = [
        wire.Tool(name=name, description=told.get("description", name), input_schema=told.get("schema", {"type": "object"}))
        for name, told in script().items()
    ]
    return wire.ListToolsResult(tools=tools, ttl_ms=0, cache_scope="private")


async def call_tool(context: Any, params: wire.CallToolRequestParams) -> wire.CallToolResult:
    told = script()[params.name]
    key = (context.meta or {}).get("aliquot/idempotency_key")
    headers = dict(context.request.headers) if isinstance(context.request, Request) else {}
    note({"tool": params.name, "arguments": params.arguments, "key": key, "authorization": headers.get("authorization")})
    await asyncio.sleep(told.get("seconds", 0))
    if told.get("die"):
        os._exit(1)
    text = told.get("text", "done") * told.get("times", 1)
    if told.get("environment"):
        text = json.dumps({"env": dict(os.environ), "memory": resource.getrlimit(resource.RLIMIT_DATA), "cwd": str(Path.cwd())})
    return wire.CallToolResult(
        content=[wire.TextContent(text=text)], structured_content=told.get("structured"), is_error=told.get("failed", False)
    )


async def main() -> None:
    server: Server[Any] = Server("peer", on_list_tools=list_tools, on_call_tool=call_tool)
    if "--http" not in sys.argv:
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())
        return
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    await uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="error")).serve([listener])


if __name__ == "__main__":
    asyncio.run(main())
