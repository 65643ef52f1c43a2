"""WebSockets: `/ws/chat/{conversation_id}` and `/ws/debug`. Who may come in, and moving frames; what they do is `chat.live`'s.

Before the connection stands a refusal is an HTTP answer (401, 403, 404, 429 as a problem document); afterwards an `error` frame or a
close code. Nothing here logs a path: the token stands in it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from aliquot.bootstrap import Services
from aliquot.chat.live.api import PERMISSION
from aliquot.chat.live.connection import Connection, Recheck
from aliquot.chat.live.frames import MalformedFrame, error, frame, person
from aliquot.chat.live.outbox import Outbox
from aliquot.identity.contracts import Principal
from aliquot.identity.errors import PasswordChangeRequired
from aliquot.identity.http import address_of
from aliquot.kernel.problems import Forbidden, Problem, RateLimited, Unauthenticated
from aliquot.platform.db import Transaction
from aliquot.platform.http import bug_response, problem_response

log = structlog.get_logger(__name__)

router = APIRouter(tags=["live"])

DEBUG_PERMISSION = "debug.routes"
_NORMAL, _INTERNAL = 1000, 1011
_FLUSH_SECONDS = 1.0


class OriginRefused(Forbidden):
    code, sentence = "origin_refused", "Pages of this origin may not connect: it is not among ALIQUOT_ORIGINS."


class Idle(Problem):
    code, status, sentence = "idle", 408, "Nothing was heard from you for too long. Connect again."
    retryable = True


@router.websocket("/ws/chat/{conversation_id}")
async def chat_socket(websocket: WebSocket, conversation_id: str) -> None:
    """One conversation, live. Frames: `docs/streams.md`."""
    await _guarded(websocket, lambda: _chat(websocket, conversation_id))


@router.websocket("/ws/debug")
async def debug_socket(websocket: WebSocket) -> None:
    """Echo, what the server sees of this connection, and what happens to live connections; for administrators."""
    await _guarded(websocket, lambda: _debug(websocket))


async def _chat(websocket: WebSocket, reference: str) -> None:
    services = _services(websocket)
    principal, recheck = await _admit(websocket, PERMISSION)
    async with services.live.connection(principal, recheck, reference) as connection:
        await websocket.accept()
        started = time.monotonic()
        services.live.note("opened", route="chat")
        try:
            await _pump(websocket, connection.outbox, connection.receive, connection.refuse, services.settings.limits.live_idle_seconds)
        finally:
            _ended(services, connection, time.monotonic() - started)


async def _debug(websocket: WebSocket) -> None:
    services = _services(websocket)
    principal, _ = await _admit(websocket, DEBUG_PERMISSION)
    await websocket.accept()
    with services.live.observed() as outbox:
        headers = websocket.headers
        seen = {
            "address": principal.ip, "via": principal.via, "origin": headers.get("origin"), "scheme": websocket.url.scheme,
            "host": headers.get("host"), "forwarded": "x-forwarded-for" in headers, "extensions": headers.get("sec-websocket-extensions"),
        }  # fmt: skip
        outbox.put(frame("connection", user=person(principal), seen=seen, **services.live.counts()))

        async def echo(text: str) -> None:
            try:
                services.identity.flood_count_person(principal.id)
            except RateLimited as problem:
                outbox.put(error(problem))
                return
            outbox.put(frame("echo", data=text, characters=len(text)))

        def refuse(problem: Problem) -> None:
            outbox.put(error(problem))

        await _pump(websocket, outbox, echo, refuse, services.settings.limits.live_idle_seconds)


# --- who comes in


async def _admit(websocket: WebSocket, permission: str) -> tuple[Principal, Recheck]:
    """Who connects, and how to ask again later. Raises what is answered before the connection stands."""
    _check_origin(websocket)
    services, address = _services(websocket), address_of(websocket)
    identity = services.identity
    identity.flood_check_address(address)
    try:
        principal, recheck = await _authenticate(websocket, services, address)
    except Unauthenticated:
        identity.flood_count_address(address)
        raise
    identity.flood_count_person(principal.id)
    if principal.must_change:
        raise PasswordChangeRequired
    if not principal.may(permission):
        raise Forbidden(f"This needs the permission {permission}.", permission=permission)
    return principal, recheck


async def _authenticate(websocket: WebSocket, services: Services, address: str) -> tuple[Principal, Recheck]:
    """By `?token=` (a JWT or a ticket) or by the Authorization header (also an API key)."""
    identity, token = services.identity, websocket.query_params.get("token")
    if token is not None:
        async with services.db.begin() as tx:
            principal = await identity.authenticate_socket(tx, token, address)
    else:
        credential = identity.parse(websocket.headers.get("authorization"))
        found = await identity.establish_alone(services.db, credential, address)
        if isinstance(found, Problem):
            raise found
        principal = found

    async def recheck(tx: Transaction) -> Principal:
        if principal.session_id is not None:
            return await identity.principal(tx, principal.id, via="session", session_id=principal.session_id, ip=address)
        again = await identity.establish(tx, credential, address)
        if isinstance(again, Problem):
            raise again
        return again

    return principal, recheck


def _check_origin(websocket: WebSocket) -> None:
    """Browsers always send an Origin: it must be one of the settings', or the page was served from here."""
    origin = websocket.headers.get("origin")
    if origin is None:
        return
    settings = _services(websocket).settings
    allowed = set(settings.origins) | ({_origin(settings.public_url)} if settings.public_url else set())
    if origin not in allowed and urlsplit(origin).netloc != websocket.headers.get("host"):
        raise OriginRefused


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


# --- moving frames


async def _pump(
    websocket: WebSocket, outbox: Outbox, receive: Callable[[str], Awaitable[None]], refuse: Callable[[Problem], None], idle_seconds: float
) -> None:
    """Both directions until one of them ends, then close with the code the outbox holds."""

    async def read() -> None:
        while True:
            try:
                message = await asyncio.wait_for(websocket.receive(), idle_seconds)
            except TimeoutError:
                outbox.put(error(Idle()))
                outbox.close(_NORMAL, "idle")
                return
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                refuse(MalformedFrame("Frames are text; this one was binary."))
            else:
                await receive(text)

    sending = asyncio.create_task(_send(websocket, outbox))
    reading = asyncio.create_task(read())
    closing = asyncio.create_task(outbox.closed.wait())
    try:
        await asyncio.wait({sending, reading, closing}, return_when=asyncio.FIRST_COMPLETED)
        if outbox.closed.is_set():
            await asyncio.wait({sending}, timeout=_FLUSH_SECONDS if outbox.waiting else 0)
        await _close(websocket, outbox, reading)
    finally:
        for task in (sending, reading, closing):
            task.cancel()
        await asyncio.gather(sending, reading, closing, return_exceptions=True)


async def _send(websocket: WebSocket, outbox: Outbox) -> None:
    """What is sent without a pause in between goes to the network in one write (uvloop)."""
    while True:
        for text in await outbox.take():
            await websocket.send_text(text)


async def _close(websocket: WebSocket, outbox: Outbox, reading: "asyncio.Task[None]") -> None:
    code, reason = outbox.code, outbox.reason
    failure = reading.exception() if reading.done() and not reading.cancelled() else None
    if isinstance(failure, Exception):
        bug_response(failure)  # logs its kind and place
        code, reason = _INTERNAL, "internal error"
    if websocket.client_state is WebSocketState.CONNECTED and websocket.application_state is WebSocketState.CONNECTED:
        with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
            await asyncio.wait_for(websocket.close(code, reason), _FLUSH_SECONDS)


async def _guarded(websocket: WebSocket, serve: Callable[[], Awaitable[None]]) -> None:
    """Refusals before the connection stands leave as HTTP answers."""
    try:
        await serve()
    except Problem as problem:
        if websocket.application_state is WebSocketState.CONNECTING:
            _services(websocket).live.note("refused", code=problem.code)
            log.info("socket_refused", code=problem.code, status=problem.status)
            await websocket.send_denial_response(problem_response(problem))
        else:
            log.warning("socket_failed", code=problem.code)
            with suppress(WebSocketDisconnect, RuntimeError):
                await websocket.close(_INTERNAL)
    except WebSocketDisconnect:
        pass
    except Exception as failure:  # noqa: BLE001 - a bug: answered without detail
        answer = bug_response(failure)
        if websocket.application_state is WebSocketState.CONNECTING:
            await websocket.send_denial_response(answer)


def _ended(services: Services, connection: Connection, seconds: float) -> None:
    services.live.note("closed", route="chat", code=connection.outbox.code, frames=connection.frames_in, refused=connection.refused)
    log.info("socket", route="/ws/chat/{conversation_id}", frames=connection.frames_in, refused=connection.refused, seconds=round(seconds))


def _services(websocket: WebSocket) -> Services:
    services: Services = websocket.app.state.services
    return services
