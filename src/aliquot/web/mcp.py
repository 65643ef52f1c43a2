"""`POST /mcp`: the tools of this site for MCP clients. Who may come in; the protocol is `tools.mcp.server`'s, the work the chat's."""

import asyncio
import importlib
import ipaddress
import uuid
from collections import Counter
from dataclasses import dataclass, replace
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

import aliquot
from aliquot.bootstrap import Services
from aliquot.chat.calls import preview_document
from aliquot.chat.contracts import StartToolCall
from aliquot.chat.direct import Called
from aliquot.identity.contracts import Principal
from aliquot.identity.http import address_of, require
from aliquot.kernel.clock import rfc3339
from aliquot.kernel.problems import Forbidden, NotFound, Problem, RateLimited, Unauthenticated
from aliquot.platform.http import problem_response
from aliquot.platform.settings import Settings
from aliquot.policy.contracts import Approval
from aliquot.tools.contracts import ToolInfo
from aliquot.tools.mcp.contracts import GET_APPROVAL, Caller, McpAnswer, Progress

PATH = "/mcp"
_RECHECK_SECONDS = 5.0
_WAITS = "A person has to decide this first; nothing was done yet."


class ForeignOrigin(Forbidden):
    code, sentence = "foreign_origin", "This page may not call this server: ALIQUOT_ORIGINS names those that may."


class ForeignHost(Forbidden):
    code, status, sentence = "foreign_host", 421, "This server is not known under this name: set ALIQUOT_PUBLIC_URL to its address."


class NoSession(NotFound):
    """Sessions are never given out, so one that is named is somebody else's, or of another server."""

    code, sentence = "session_not_found", "There is no such session: start anew, without one."


class TooManyRequests(RateLimited):
    code, sentence = "too_many_requests_at_once", "Too many requests of yours are being answered at this moment."


def expected_place(request: Request) -> None:
    """Refuse what a browser was led here to send: another site's page, or one that gave itself our address (DNS rebinding)."""
    services: Services = request.app.state.services
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if not _is_ours(_name(host), services.settings):
        raise ForeignHost
    if origin is not None and origin not in services.settings.origins and origin != _origin(services.settings.public_url):
        raise ForeignOrigin
    if "mcp-session-id" in request.headers:
        raise NoSession


def _is_ours(name: str, settings: Settings) -> bool:
    """An address cannot be rebound; a name has to be one of ours."""
    known = {urlsplit(url).hostname for url in (settings.public_url, *settings.origins) if url is not None}
    if name in {"localhost", settings.host.lower(), *known}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _origin(url: str | None) -> str | None:
    return None if url is None else "{0.scheme}://{0.netloc}".format(urlsplit(url))


router = APIRouter(tags=["mcp"], dependencies=[Depends(expected_place)])

Person = Annotated[Principal, Depends(require("chat.use"))]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]


@router.post(PATH)
async def mcp(request: Request, person: Person, key: Key = None) -> Response:
    """Model Context Protocol, streamable HTTP, without sessions. Bearer token of a log-in, or an API key."""
    endpoint: Endpoint = request.app.state.mcp
    return await endpoint.answer(request, person, key)


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who asks, and the credential that says so."""

    services: Services
    principal: Principal
    key: str | None
    authorization: str | None
    address: str

    async def recheck(self) -> None:
        identity = self.services.identity
        async with self.services.db.begin() as tx:
            now = await identity.authenticate(tx, self.authorization, self.address)
        if not now.may("chat.use"):
            raise Unauthenticated


class _Streamed(Response):
    """A response that another ASGI application writes."""

    def __init__(self, endpoint: "Endpoint", person_id: uuid.UUID) -> None:
        super().__init__()
        self._endpoint, self._person_id = endpoint, person_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoint.serve(self._person_id, scope, receive, send)


class Endpoint:
    """The MCP server of this process; put together when it is first asked for, because its SDK takes a second to load."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = asyncio.Lock()
        self._server: Any = None
        self._going_on: Counter[uuid.UUID] = Counter()

    async def answer(self, request: Request, person: Principal, key: str | None) -> Response:
        """The response to one request of `person`. Raises TooManyRequests."""
        if self._going_on[person.id] >= self._services.settings.limits.mcp_requests_at_once:
            raise TooManyRequests(retry_after=1)
        async with self._lock:
            if self._server is None:
                module = await asyncio.to_thread(importlib.import_module, "aliquot.tools.mcp.server")
                server = module.McpServer(McpDoor(self._services), aliquot.__version__, self._services.settings.limits.body_bytes)
                await server.start()
                self._server = server
        principal = replace(person, via="mcp")
        request.state.mcp_caller = _Caller(
            self._services, principal, key, request.headers.get("authorization"), address_of(request)
        )  # fmt: skip
        return _Streamed(self, person.id)

    async def serve(self, person_id: uuid.UUID, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the response."""
        self._going_on[person_id] += 1
        try:
            await self._server.handle(scope, receive, send)
        finally:
            self._going_on[person_id] -= 1
            if not self._going_on[person_id]:
                del self._going_on[person_id]

    async def stop(self) -> None:
        """At shutdown."""
        if self._server is not None:
            await self._server.stop()


class McpDoor:
    """The way from the protocol to the tools: each call is a run of kind `tool`, as `POST /api/chat/tools` makes them."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def tools(self, caller: Caller) -> list[ToolInfo]:
        return self._services.tools.for_person(caller.principal)

    async def call(self, caller: Caller, name: str, arguments: dict[str, Any], key: str | None) -> McpAnswer:
        asked = StartToolCall(principal=caller.principal, tool=name[:200], arguments=arguments, idempotency_key=key)
        return self._answer(await self._services.chat.direct.call(asked))

    async def approval(self, caller: Caller, approval_id: uuid.UUID, seconds: float, progress: Progress) -> McpAnswer:
        most = min(seconds, self._services.settings.limits.mcp_wait_seconds)
        checked = 0.0

        async def watch(passed: float) -> None:
            nonlocal checked
            if passed - checked >= _RECHECK_SECONDS:  # a token may end while we wait
                checked = passed
                await caller.recheck()
            await progress(passed, most, "Waiting for a person's decision.")

        return self._answer(await self._services.chat.direct.wait(caller.principal, approval_id, most, watch))

    def _answer(self, called: Called) -> McpAnswer:
        approval = called.approval
        shown = {} if approval is None else {"approval": self._approval(approval)}
        tool = approval.tool if approval is not None else None
        if called.outcome is not None and called.outcome.status != 202:
            document, failed = called.outcome.document, called.outcome.status >= 400
            text = str(document["detail"] if failed else document["rendered"])
            return McpAnswer(text=text, data=document | shown, failed=failed, code=document["code"] if failed else None, tool=tool)
        if approval is None:  # a continued run stopped once more
            return McpAnswer(text=_WAITS, data=dict(called.outcome.document) if called.outcome is not None else {})
        if called.over:
            text = f"Nobody decided in time, so nothing was done: {approval.preview.summary}"
            if approval.state == "withdrawn":
                text = f"The request was withdrawn, so nothing was done: {approval.preview.summary}"
            return McpAnswer(text=text, data={"state": approval.state, **shown}, failed=True, code=f"approval_{approval.state}", tool=tool)
        pending = approval.state == "pending"
        state = "waiting_approval" if pending else "in_progress"
        data = {"state": state, "repeated": called.repeated, **shown}
        page = self._page(approval)
        return McpAnswer(
            text=_waiting(approval, called.repeated, page), data=data, tool=tool, waits_for=approval.id if pending else None, page=page
        )  # fmt: skip

    def _approval(self, approval: Approval) -> dict[str, Any]:
        base = self._services.settings.public_url
        api = f"/api/approvals/{approval.id}/decision"
        document = {
            "id": str(approval.id), "state": approval.state, "run_id": str(approval.run_id), "preview": preview_document(approval),
            "created_at": rfc3339(approval.created_at), "expires_at": rfc3339(approval.expires_at),
            "decide": {
                "who": "a person in a login session, never this connection", "page": self._page(approval),
                "api": f"POST {base.rstrip('/') if base else ''}{api}",
            },
        }  # fmt: skip
        return document | ({"reason": approval.reason} if approval.reason else {})

    def _page(self, approval: Approval) -> str | None:
        page = self._services.settings.approval_page
        return None if page is None else page.replace("{id}", str(approval.id))


def _waiting(approval: Approval, repeated: bool, page: str | None) -> str:
    lines = [approval.preview.summary, *approval.preview.warnings]
    if approval.state == "pending":
        lines.append("This very call waits already; no second request was made." if repeated else _WAITS)
        lines.append(f"Approval {approval.id}, until {rfc3339(approval.expires_at)}.")
        lines += [f"It is decided at {page}"] if page is not None else []
        lines.append(f"Ask {GET_APPROVAL} for what became of it.")
    else:
        lines.append(f"It was decided ({approval.state}) and is being carried out. Ask {GET_APPROVAL} again.")
    return "\n".join(lines)


def error_shape(problem: Problem) -> JSONResponse:
    """A refusal before the protocol begins, as a JSON-RPC error without id, with the same status and headers."""
    plain = problem_response(problem)
    code = -32603 if problem.status >= 500 else -32600
    error = {"code": code, "message": problem.detail, "data": problem.document()}
    response = JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, status_code=plain.status_code)
    response.headers.update({k: v for k, v in plain.headers.items() if k.lower() in ("retry-after", "www-authenticate")})
    return response
