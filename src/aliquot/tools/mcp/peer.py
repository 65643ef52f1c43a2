"""One external MCP server, spoken to with the official SDK: connected when first needed, bounded in time and size, given up after any
failure and connected anew by the next call."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as wire
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter, ValidationError

from aliquot.platform.mcp_settings import McpServer
from aliquot.platform.settings import Limits
from aliquot.tools.errors import ToolFailed, ToolRefused, ToolTimeout
from aliquot.tools.mcp.definitions import Definition, quotable
from aliquot.tools.mcp.errors import PeerAway, PeerRefused
from aliquot.tools.mcp.stdio import program

logging.getLogger("mcp").setLevel(logging.CRITICAL + 1)  # it quotes messages, and so contents

_PAGES_MAX, _TOOLS_MAX = 20, 500
# Also what the SDK says for an HTTP error, a lost session or an answer it cannot read: the call may have been carried out.
_AMBIGUOUS = (wire.CONNECTION_CLOSED, wire.REQUEST_TIMEOUT, wire.INTERNAL_ERROR, wire.INVALID_REQUEST, wire.PARSE_ERROR)
_RESULT: TypeAdapter[wire.CallToolResult] = TypeAdapter(wire.CallToolResult)


class Peer:
    """A connection to `declared`, held by a task of its own: the SDK's must end where they began."""

    def __init__(self, declared: McpServer, limits: Limits, folder: Path) -> None:
        self._declared, self._limits, self._folder = declared, limits, folder
        self._places = asyncio.Semaphore(limits.mcp_calls_at_once)
        self._connecting = asyncio.Lock()
        self._client: Client | None = None
        self._leave = asyncio.Event()
        self._holders: set[asyncio.Task[None]] = set()

    async def tools(self) -> dict[str, Definition | str]:
        """What the server offers now, by name; a text says what is wrong with a definition. Raises PeerAway, PeerRefused, ToolFailed,
        ToolTimeout."""
        found: dict[str, Definition | str] = {}
        cursor: str | None = None
        async with self._asking(self._declared.timeout_seconds) as client:
            for _ in range(_PAGES_MAX):
                page = await client.list_tools(cursor=cursor, cache_mode="refresh")
                for tool in page.tools[:_TOOLS_MAX]:
                    found[tool.name] = _definition(tool)
                cursor = page.next_cursor
                if cursor is None or len(found) >= _TOOLS_MAX:
                    break
        return found

    async def call(self, tool: str, arguments: dict[str, Any], key: str, seconds: float) -> dict[str, Any]:
        """The result of a call, bounded. `key` says that it is the same call. Raises PeerAway (nothing was sent), PeerRefused (the
        server says no), ToolFailed, ToolTimeout (it may have happened)."""
        most = min(seconds, self._declared.timeout_seconds)
        params = wire.CallToolRequestParams(name=tool, arguments=arguments, _meta={"aliquot/idempotency_key": key})
        async with self._asking(most) as client:
            # Not `call_tool`: it would check the answer against patterns the server chose.
            result = await client.session.send_request(
                wire.CallToolRequest(params=params), _RESULT, request_read_timeout_seconds=most
            )  # fmt: skip
        return _bounded(result, self._limits.mcp_result_chars)

    async def close(self) -> None:
        """End the connection, and the program behind it."""
        self._forget()
        if self._holders:
            _, left = await asyncio.wait(self._holders, timeout=5)
            for holder in left:
                holder.cancel()

    @asynccontextmanager
    async def _asking(self, seconds: float) -> AsyncIterator[Client]:
        """A place and a connection; what goes wrong in between, in our words, and the connection given up."""
        try:
            async with asyncio.timeout(seconds):
                await self._places.acquire()
        except TimeoutError as error:
            raise PeerAway(f"The external server {self._declared.name} is busy with other calls.") from error
        try:
            client = await self._connected()
            async with asyncio.timeout(seconds):
                yield client
        except MCPError as error:
            self._forget()  # it may be a session that is gone: the next call begins anew
            if error.code not in _AMBIGUOUS:
                raise PeerRefused(_quoted(self._declared.name, error.message)) from error
            raise (ToolTimeout if error.code == wire.REQUEST_TIMEOUT else ToolFailed) from error
        except TimeoutError as error:
            self._forget()
            raise ToolTimeout from error
        except (PeerAway, PeerRefused, ToolRefused):
            raise
        except (ValidationError, Exception) as error:
            self._forget()
            raise ToolFailed(f"The external server {self._declared.name} did not answer as the protocol has it.") from error
        finally:
            self._places.release()

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
                self._leave = asyncio.Event()
                holder = asyncio.create_task(self._hold(ready, self._leave), name=f"mcp {self._declared.name}")
                self._holders.add(holder)
                holder.add_done_callback(self._holders.discard)
                try:
                    self._client = await asyncio.wait_for(ready, self._declared.timeout_seconds)
                except TimeoutError as error:
                    raise PeerAway(f"The external server {self._declared.name} does not answer.") from error
                finally:
                    if self._client is None:  # also when who waited was cancelled: nobody else would end it
                        holder.cancel()
            return self._client

    async def _hold(self, ready: asyncio.Future[Client], leave: asyncio.Event) -> None:
        client: Client | None = None
        try:
            async with self._transport() as transport, Client(transport, cache=None) as client:
                if not ready.done():
                    ready.set_result(client)
                await leave.wait()
        except PeerAway as away:
            ready.set_exception(away)
        except Exception:  # noqa: BLE001 - whatever it is: there is no connection, or none any more
            if not ready.done():
                ready.set_exception(PeerAway(f"The external server {self._declared.name} cannot be reached."))
        finally:
            if client is not None and self._client is client:
                self._client = None

    def _forget(self) -> None:
        self._client = None
        self._leave.set()

    @asynccontextmanager
    async def _transport(self) -> AsyncIterator[Any]:
        declared, limits = self._declared, self._limits
        if declared.api_key_env is not None and declared.api_key_env not in os.environ:
            raise PeerAway(f"The variable {declared.api_key_env} with the key for {declared.name} is not set.")
        if declared.command is not None:
            names = (*declared.env, *((declared.api_key_env,) if declared.api_key_env else ()))
            env = {"PATH": os.defpath, "HOME": str(self._folder), "LANG": "C.UTF-8"} | {n: os.environ[n] for n in names if n in os.environ}
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            yield program(
                (declared.command, *declared.args), env, self._folder, memory_bytes=limits.mcp_process_memory_bytes,
                line_bytes=limits.mcp_answer_bytes,
            )  # fmt: skip
            return
        headers = {"accept-encoding": "identity", "user-agent": "aliquot"}
        if declared.api_key_env is not None:
            headers["authorization"] = f"Bearer {os.environ[declared.api_key_env]}"
        timeout = httpx2.Timeout(declared.timeout_seconds, read=declared.timeout_seconds + 5)
        transport = _Bounded(httpx2.AsyncHTTPTransport(), limits.mcp_answer_bytes)
        async with httpx2.AsyncClient(headers=headers, timeout=timeout, transport=transport) as http:
            yield streamable_http_client(str(declared.url), http_client=http, max_sse_event_size=limits.mcp_answer_bytes)


class _Bounded(httpx2.AsyncBaseTransport):
    """Refuses answers beyond a number of bytes, and compressed ones: they could be any size."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, most: int) -> None:
        self._inner, self._most = inner, most

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("a compressed answer was not asked for", request=request)
        response.stream = _BoundedStream(response.stream, self._most)  # type: ignore[arg-type]  # of an async transport
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, most: int) -> None:
        self._inner, self._left = inner, most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._left -= len(chunk)
            if self._left < 0:
                raise httpx2.ReadError("the answer is too large")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def _definition(tool: wire.Tool) -> Definition | str:
    found = Definition(name=tool.name, description=tool.description or "", schema=tool.input_schema)
    try:
        found.sha256  # noqa: B018 - whether it has one
    except ToolRefused as refusal:
        return str(refusal)
    return found


def _bounded(result: wire.CallToolResult, chars: int) -> dict[str, Any]:
    """Texts and structure of a result, at most about `chars` characters; files are named and left out."""
    texts, left_out, left = [], [], chars
    for block in result.content[:200]:
        text = block.text if isinstance(block, wire.TextContent) else None
        if isinstance(block, wire.EmbeddedResource) and isinstance(block.resource, wire.TextResourceContents):
            text = block.resource.text
        if text is None:
            left_out.append(block.type)
            continue
        texts.append(text[:left])
        left -= len(texts[-1])
    cut = left <= 0 or len(result.content) > 200
    answer: dict[str, Any] = {"failed": result.is_error, "texts": texts, "cut": cut, "left_out": left_out[:20]}
    structured = result.structured_content
    if structured is not None and not cut and len(wire_json(structured)) <= left:
        answer["structured"] = structured
    elif structured is not None:
        answer["cut"] = True
    return answer


def wire_json(value: Any) -> bytes:
    return TypeAdapter(Any).dump_json(value)


def _quoted(server: str, text: str) -> str:
    return f"The external server {server} refuses this: “{quotable(text)}”"
