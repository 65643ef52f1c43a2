"""The MCP server behind `/mcp`: the official SDK speaks the protocol, a `Door` does the work.

Stateless: there is no session, every request stands for itself (as MCP 2026-07-28 has it; older clients shake hands and are then
served the same way), so any process of the site answers any request. Who asks was established by the caller of `handle`.
"""

import asyncio
import logging
import uuid
from typing import Any

import mcp_types as wire
import structlog
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from starlette.types import Receive, Scope, Send

from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput, NotFound, Problem
from aliquot.tools.contracts import ToolInfo
from aliquot.tools.errors import UnknownTool, where
from aliquot.tools.mcp.contracts import GET_APPROVAL, Caller, Door, McpAnswer

log = structlog.get_logger(__name__)
logging.getLogger("mcp").setLevel(logging.CRITICAL + 1)  # it quotes messages, and so contents

CALLER = "mcp_caller"
"""Where `handle` finds the Caller: `scope["state"]`."""
KEY_MEMBER = "aliquot/idempotency_key"
"""Member of a call's `_meta`: as the header Idempotency-Key."""
_KEY_CHARS_MAX = 200
_REQUEST = "decision"

_INSTRUCTIONS = (
    "Tools of a laboratory. Each call is made on the account of the person whose token this is, under the site's policy, and recorded. "
    "A call that changes something usually waits for a person: the result then says `waiting_approval` with an approval id, and nothing "
    f"was done yet. People decide in a login session, never through this server. Ask `{GET_APPROVAL}` for what became of it; do not "
    "repeat the call."
)

_APPROVAL_TOOL = wire.Tool(
    name=GET_APPROVAL,
    title="What became of a request",
    description=(
        "What became of a call that waits for a person's decision, and its result once it was carried out. "
        "`wait_seconds` waits that long for an end. It decides nothing."
    ),
    input_schema={
        "type": "object",
        "properties": {
            "approval_id": {"type": "string", "description": "The id the waiting call was answered with."},
            "wait_seconds": {"type": "number", "minimum": 0, "maximum": 600, "default": 0, "description": "The site may allow less."},
        },
        "required": ["approval_id"],
        "additionalProperties": False,
    },
    annotations=wire.ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False),
)  # fmt: skip

Context = ServerRequestContext[Any, Any]


class McpServer:
    """Serves MCP over HTTP requests given to `handle`. `start` before, `stop` after."""

    def __init__(self, door: Door, version: str, body_bytes: int) -> None:
        self._door = door
        server: Server[Any] = Server(
            "aliquot", version=version, title="Aliquot", instructions=_INSTRUCTIONS, on_list_tools=self._list, on_call_tool=self._call,
            get_tool_input_schema=lambda _: None,  # no argument of ours is repeated in a header
        )  # fmt: skip
        server.middleware.clear()  # telemetry is `platform.telemetry`'s
        self._manager = StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=body_bytes)
        self._serving: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Open the SDK's task group, in a task of its own: it has to be closed where it was opened."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def serve() -> None:
            async with self._manager.run():
                ready.set_result(None)
                await self._stopping.wait()

        self._serving = asyncio.create_task(serve(), name="mcp server")
        await asyncio.wait({self._serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        if self._serving.done():
            await self._serving

    async def stop(self) -> None:
        """End what is still being answered."""
        self._stopping.set()
        if self._serving is not None:
            await asyncio.gather(self._serving, return_exceptions=True)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request whose `scope["state"]` holds the Caller."""
        await self._manager.handle_request(scope, receive, send)

    async def _list(self, context: Context, params: wire.PaginatedRequestParams | None) -> wire.ListToolsResult:
        if params is not None and params.cursor is not None:
            raise MCPError(wire.INVALID_PARAMS, "There is one page of tools: no cursor was given out.")
        listed = [_listed(info) for info in self._door.tools(_caller(context))]
        return wire.ListToolsResult(tools=[*listed, _APPROVAL_TOOL], ttl_ms=0, cache_scope="private")

    async def _call(self, context: Context, params: wire.CallToolRequestParams) -> wire.CallToolResult | wire.InputRequiredResult:
        try:
            answer = await self._answered(context, params)
        except Problem as problem:
            answer = McpAnswer(text=problem.detail, data=_document(problem), failed=True, code=problem.code)
        except (asyncio.CancelledError, MCPError):
            raise
        except Exception as error:  # noqa: BLE001 - a bug is told without detail, its place is logged
            log.error("mcp_call_broke", error=type(error).__name__, trace=where(error))
            answer = McpAnswer(text=Problem.sentence, data=_document(Problem()), failed=True, code=Problem.code)
        if answer.code == UnknownTool.code:
            raise MCPError(wire.INVALID_PARAMS, answer.text, answer.data)
        if answer.waits_for is not None and answer.page is not None and params.request_state is None and _opens_pages(context):
            return _input_required(answer, str(answer.waits_for), answer.page)
        return wire.CallToolResult(
            content=[wire.TextContent(text=answer.text)], structured_content=answer.data, is_error=answer.failed
        )  # fmt: skip

    async def _answered(self, context: Context, params: wire.CallToolRequestParams) -> McpAnswer:
        arguments = params.arguments or {}
        if params.name == GET_APPROVAL:
            return await self._approval(context, arguments)
        if params.request_state is not None:
            return await self._returned(context, params)
        return await self._door.call(_caller(context), params.name, arguments, _key(context))

    async def _approval(self, context: Context, arguments: dict[str, Any]) -> McpAnswer:
        unknown = set(arguments) - {"approval_id", "wait_seconds"}
        approval_id, seconds = _approval_id(arguments.get("approval_id")), arguments.get("wait_seconds", 0)
        if unknown or isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 600:
            raise InvalidInput(f"{GET_APPROVAL} takes approval_id and wait_seconds, a number from 0 to 600.")
        return await self._wait(context, approval_id, seconds)

    async def _returned(self, context: Context, params: wire.CallToolRequestParams) -> McpAnswer:
        """A client comes back from the page it was sent to. The state is only the id: what it opens are the caller's own requests."""
        said = (params.input_responses or {}).get(_REQUEST)
        went = isinstance(said, wire.ElicitResult) and said.action == "accept"
        answer = await self._wait(context, _approval_id(params.request_state), 600 if went else 0)
        if answer.tool != params.name:
            raise NotFound
        return answer

    async def _wait(self, context: Context, approval_id: uuid.UUID, seconds: float) -> McpAnswer:
        async def progress(passed: float, most: float, sentence: str) -> None:
            await context.session.report_progress(passed, most, sentence)

        return await self._door.approval(_caller(context), approval_id, seconds, progress)


def _listed(info: ToolInfo) -> wire.Tool:
    reads = info.effect == "read"
    hints = wire.ToolAnnotations(
        read_only_hint=reads, destructive_hint=not reads, idempotent_hint=reads, open_world_hint=info.effect == "external"
    )
    return wire.Tool(name=info.name, description=info.description, input_schema=info.parameters, annotations=hints)


def _caller(context: Context) -> Caller:
    request: Any = context.request  # what `handle` was given
    caller: Caller = request.scope["state"][CALLER]
    return caller


def _key(context: Context) -> str | None:
    key: Any = (context.meta or {}).get(KEY_MEMBER, _caller(context).key)
    if key is not None and not (isinstance(key, str) and 1 <= len(key) <= _KEY_CHARS_MAX):
        raise InvalidInput(f"{KEY_MEMBER}: a text of 1 to {_KEY_CHARS_MAX} characters")
    return key


def _approval_id(value: Any) -> uuid.UUID:
    found = parse_id(value) if isinstance(value, str) else None
    if found is None:
        raise NotFound
    return found


def _opens_pages(context: Context) -> bool:
    """Whether this client can show a page to its person in the midst of a call (MCP 2026-07-28)."""
    able = context.session.client_capabilities
    return (
        context.protocol_version >= "2026-07-28" and able is not None and able.elicitation is not None and able.elicitation.url is not None
    )


def _input_required(answer: McpAnswer, approval_id: str, page: str) -> wire.InputRequiredResult:
    asked = wire.ElicitRequest(params=wire.ElicitRequestURLParams(message=answer.text, url=page))
    return wire.InputRequiredResult(input_requests={_REQUEST: asked}, request_state=approval_id)


def _document(problem: Problem) -> dict[str, Any]:
    document = dict(problem.document())
    if problem.retry_after is not None:
        document["retryAfter"] = problem.retry_after
    return document
