"""The FastAPI application: routes of all domains, problem documents, request ids, CORS, limits on bodies."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import aliquot
from aliquot.admin.http import router as admin_router
from aliquot.bootstrap import Background, Services
from aliquot.chat.attachments.http import router as attachments_router
from aliquot.chat.export.http import router as export_router
from aliquot.chat.feedback.http import router as feedback_router
from aliquot.chat.folders.http import router as folders_router
from aliquot.chat.http import router as chat_router
from aliquot.chat.plans.http import router as plans_router
from aliquot.chat.search.http import router as search_router
from aliquot.chat.sharing.http import router as sharing_router
from aliquot.chat.streaming import DIRECT
from aliquot.chat.tools_http import router as tool_calls_router
from aliquot.chat.tree.http import router as tree_router
from aliquot.identity.http import router as identity_router
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import Problem, TooLarge
from aliquot.lab.http import router as lab_router
from aliquot.models.http import router as models_router
from aliquot.platform.http import bug_response, install_problem_handlers, problem_response
from aliquot.policy.http import router as policy_router
from aliquot.records.access.http import router as access_router
from aliquot.records.alerts.http import router as alerts_router
from aliquot.records.anchors.http import router as anchors_router
from aliquot.records.erasure.http import router as erasure_router
from aliquot.records.http import router as records_router
from aliquot.records.retention.http import router as retention_router
from aliquot.records.review.http import router as review_router
from aliquot.records.signatures.http import router as signatures_router
from aliquot.records.training.http import router as training_router
from aliquot.reports.http import router as reports_router
from aliquot.tools.http import router as tools_router
from aliquot.tools.mcp.http import router as external_router
from aliquot.web.agui import router as agui_router
from aliquot.web.aliases import Aliases
from aliquot.web.health import router as health_router
from aliquot.web.live import router as live_router
from aliquot.web.mcp import PATH as MCP_PATH
from aliquot.web.mcp import Endpoint as McpEndpoint
from aliquot.web.mcp import error_shape as mcp_error
from aliquot.web.mcp import router as mcp_router
from aliquot.web.openai import error_shape
from aliquot.web.openai import router as openai_router
from aliquot.web.wire.agui import AgUiEncoder
from aliquot.web.wire.chunks import ChunksEncoder
from aliquot.web.wire.events import EventsEncoder, SessionEncoder
from aliquot.web.wire.vercel import VercelEncoder

log = structlog.get_logger(__name__)

_ROUTERS = (  # matched one after the other: what is asked for most comes first
    chat_router, health_router, admin_router, identity_router, tools_router, lab_router, policy_router, models_router, records_router,
    signatures_router, anchors_router, openai_router, tree_router, sharing_router, export_router, folders_router, search_router,
    feedback_router, tool_calls_router, live_router, agui_router, mcp_router, external_router, attachments_router,
    plans_router, access_router, erasure_router, retention_router, review_router, training_router, alerts_router, reports_router,
)  # fmt: skip


def create_app(services: Services, background: Background | None = None) -> FastAPI:
    """The application over `services`. With `background` its start and stop bracket the server's life."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if background is not None:
            await background.start()
        try:
            yield
        finally:
            await app.state.mcp.stop()
            if background is not None:
                await background.stop()

    app = FastAPI(
        title="Aliquot",
        version=aliquot.__version__,
        description="A self-hosted assistant server for laboratories and clinics.",
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        max_body_size=services.settings.limits.body_bytes,
        telemetry={"logs": False, "tracing": False, "metrics": False},
    )
    app.state.services, app.state.mcp = services, McpEndpoint(services)
    app.state.encoders = {
        "events": EventsEncoder, "session": SessionEncoder, "chunks": ChunksEncoder, "ag-ui": AgUiEncoder, "vercel": VercelEncoder,
    }  # fmt: skip
    for router in _ROUTERS:  # they have no prefix: including them would build every route anew for each app, and match it twice
        app.router.routes.extend(router.routes)
    install_problem_handlers(app, _shape)
    if services.settings.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(services.settings.origins), allow_methods=["*"], expose_headers=["X-Run-Id", "Retry-After"],
            allow_headers=[
                "Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "MCP-Protocol-Version", "MCP-Method", "MCP-Name",
            ],
        )  # fmt: skip
    app.add_middleware(RequestLog, services=services)
    app.add_middleware(Aliases)
    stack = app.build_middleware_stack
    app.build_middleware_stack = lambda: Head(BodyTooLarge(stack()))  # type: ignore[method-assign]  # outside the framework's own limit
    return app


def _shape(request: Request, problem: Problem) -> JSONResponse | None:
    if request.url.path == MCP_PATH:
        return mcp_error(problem)
    return error_shape(problem) if request.url.path.startswith("/v1/") else None


class Head:
    """HEAD is GET without the content (RFC 9110 §9.3.2): same status and fields. An endless stream ends with its head."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        begun, unending = False, asyncio.Event()

        async def send_head(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                await send(message)
            elif not begun:
                begun = True
                await send({"type": "http.response.body"})
                if message.get("more_body"):
                    unending.set()

        answer = asyncio.ensure_future(self._app({**scope, "method": "GET"}, receive, send_head))
        streams = asyncio.create_task(unending.wait())
        try:
            await asyncio.wait((answer, streams), return_when=asyncio.FIRST_COMPLETED)
        finally:
            answer.cancel()
            streams.cancel()
            await asyncio.wait((answer, streams))
        if not answer.cancelled():
            answer.result()


class BodyTooLarge:
    """The framework refuses a body over the limit in plain text: here that becomes a problem document like every other refusal."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[DIRECT] = send
        refused = False

        async def send_problem(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] == 413:
                refused = (b"content-type", b"text/plain; charset=utf-8") in message["headers"]
            if not refused:
                await send(message)

        try:
            await self._app(scope, receive, send_problem)
        finally:
            del scope[DIRECT]  # the server's `send` holds the scope: only the garbage collector would free the request and its connection
        if refused:
            problem = TooLarge("The request body is too large.")
            answer = _shape(Request(scope), problem) or problem_response(problem)
            await answer(scope, receive, send)


class RequestLog:
    """Gives every request an id, logs it without contents, counts it."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app, self._metrics = app, services.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = str(new_id())
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        status, begun = 500, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                begun = True
                status = int(message["status"])  # some applications send an enum
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            if begun and status == 413:
                raise  # the framework's way of ending a request whose body is too large
            answer = bug_response(error)
            if not begun:
                await answer(scope, receive, send_with_id)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")  # the template, never the path with its ids
            seconds = time.perf_counter() - started
            self._metrics.requests.labels(method=scope["method"], route=route, status=str(status)).inc()
            self._metrics.request_seconds.labels(route=route).observe(seconds)
            if not (route == "/api/health" and status == 200):
                log.info("request", method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1))
