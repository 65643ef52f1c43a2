"""Routes of conversations and runs. The right to a conversation is checked below, in the store."""

import json
import uuid
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import AliasChoices, BeforeValidator, Field, ValidationError

from aliquot.chat.api import ChatApi
from aliquot.chat.contracts import CHAT_TOTAL, Answer, Conversation, ConversationKind, Message, Run, StartRun
from aliquot.chat.errors import UnknownMessage, UnknownRun
from aliquot.chat.paging import cursor, next_cursor
from aliquot.chat.streaming import Encoder, stream
from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.identity.http import address_of, require
from aliquot.kernel.clock import rfc3339
from aliquot.kernel.ids import parse_id
from aliquot.kernel.money import money_text
from aliquot.kernel.problems import InvalidInput
from aliquot.models.errors import (
    BudgetExceeded,
    ContextTooLong,
    ModelNotConfigured,
    NoModelForPatientData,
    ProviderBusy,
    TokensExceeded,
    UnknownModel,
)
from aliquot.platform.db import Database
from aliquot.platform.http import Body, Page, validation_problem
from aliquot.platform.limits import Limiter
from aliquot.platform.settings import Settings
from aliquot.tools.api import ToolsApi

router = APIRouter(tags=["chat"])

Person = Annotated[Principal, Depends(require("chat.use"))]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]
Limit = Annotated[int, Query(ge=1, le=200)]
Branch = Annotated[str, Query(max_length=40)]
_SEQ_MAX = 2**31 - 1
Parsed = TypeVar("Parsed", bound=Body)


Attached = Annotated[
    tuple[uuid.UUID, ...],
    Field(max_length=200, validation_alias=AliasChoices("attachments", "attachment_ids", "attachmentIds")),
    BeforeValidator(lambda value: [part for part in value.split(",") if part] if isinstance(value, str) else value),  # a form's field
]

# How a failed run is answered by `completion`; what is not named here is the fault of what stands behind us.
_RUN_STATUS = {
    cls.code: cls.status
    for cls in (ProviderBusy, ContextTooLong, ModelNotConfigured, UnknownModel, NoModelForPatientData, BudgetExceeded, TokensExceeded)
}


class Ask(Body):
    """A question: `POST /api/chat/completion`, `/api/chat/stream`, `/chat`."""

    message: str
    conversation_id: str | None = None
    session_id: str | None = None
    model: str | None = Field(None, max_length=200)
    dashboard: str | None = Field(None, max_length=200)
    attachments: Attached = ()


class NewConversation(Body):
    client_id: str | None = None
    title: str | None = Field(None, max_length=500)


class NewMessage(Body):
    content: str
    parent_id: uuid.UUID | None = None
    edit_of: uuid.UUID | None = None
    model: str | None = Field(None, max_length=200)
    attachment_ids: Attached = ()


class Services:
    """What these routes need of `app.state.services`."""

    chat: ChatApi
    identity: IdentityApi
    tools: ToolsApi
    db: Database
    limiter: Limiter
    settings: Settings


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]

# --- questions


@router.post("/api/chat/completion")
async def completion(request: Request, services: ServicesDep, person: Person, key: IdempotencyKey = None) -> JSONResponse:
    """Ask and wait for the whole answer."""
    ask = await _parse(request, Ask)
    async with services.chat.runs.starting() as tx:
        started = await services.chat.runs.start(tx, _start(services, person, ask, "chat", key))
    return _answer(await services.chat.answer(person, started))


@router.post("/api/chat/stream")
async def chat_stream(
    request: Request,
    services: ServicesDep,
    person: Person,
    key: IdempotencyKey = None,
    wire: Annotated[str, Query(alias="format")] = "chunks",
) -> Response:
    """Ask and watch the answer come, as Server-Sent Events. The body is JSON or a form."""
    encoder = _encoder(request, wire)
    ask = await _parse(request, Ask)
    async with services.chat.runs.starting() as tx:
        started = await services.chat.runs.start(tx, _start(services, person, ask, "chat", key))
    return stream(services.chat, started.run_id, encoder, reader=person)


@router.post("/chat")
async def session_chat(request: Request, services: ServicesDep, person: Person, key: IdempotencyKey = None) -> Response:
    """Lumen's question: a session keeps the history; the first event carries its id."""
    ask = await _parse(request, Ask)
    limits = services.settings.limits
    async with services.chat.runs.starting() as tx:
        start = _start(services, person, ask, "session", key, max_chars=limits.session_message_chars)
        started = await services.chat.runs.start(tx, start)
        # Counted last, what most people share at the very end: others wait from there to the commit. What is refused is rolled back
        # with everything above. By the conversation, not by what the caller calls it: one session has one count under all its names.
        await services.limiter.hit(tx, f"chat-session:{started.conversation_id}", limits.chat_per_session_per_hour, 3_600)
        await services.limiter.hit(tx, f"chat-address:{address_of(request)}", limits.chat_per_address_per_minute, 60)
        await services.limiter.hit(tx, CHAT_TOTAL, limits.chat_total_per_minute, 60)
    return stream(services.chat, started.run_id, _encoder(request, "session"), reader=person)


@router.get("/chat/sessions/{session_id}")
async def session_history(session_id: str, services: ServicesDep, person: Person) -> dict[str, Any]:
    """The messages of an open session, oldest first."""
    async with services.db.begin() as tx:
        session = await services.chat.conversations.session(tx, person, session_id)
        messages = await services.chat.conversations.branch(tx, session)
    name = session.client_id or str(session.id)
    return {"session_id": name, "sessionId": name, "messages": [_message(m) for m in messages]}


@router.delete("/chat/sessions/{session_id}", status_code=204)
async def end_session(session_id: str, services: ServicesDep, person: Person) -> None:
    """Close a session; its conversation stays under retention."""
    async with services.db.begin() as tx:
        await services.chat.conversations.close_session(tx, person, session_id)


# --- runs


@router.get("/api/runs/{run_id}")
async def run_state(run_id: str, services: ServicesDep, person: Person) -> Run:
    async with services.db.begin() as tx:
        return await services.chat.runs.opening(tx, person, _run_id(run_id), "run")


@router.get("/api/runs/{run_id}/events")
async def run_events(
    request: Request,
    run_id: str,
    services: ServicesDep,
    person: Person,
    after: Annotated[int, Query(ge=0, le=_SEQ_MAX)] = 0,
    wait: Annotated[float, Query(ge=0, le=30)] = 20,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> Response:
    """The run's events: an SSE stream that resumes by `Last-Event-ID`; with `Accept: application/json` a long poll."""
    key = _run_id(run_id)
    if last_event_id is not None:
        if not last_event_id.isdecimal() or int(last_event_id) > _SEQ_MAX:
            raise InvalidInput("Last-Event-ID: a run event's number")
        after = int(last_event_id)
    async with services.db.begin() as tx:
        await services.chat.runs.opening(tx, person, key, "events")
    if "application/json" in request.headers.get("accept", ""):
        events = await services.chat.runs.wait_for_events(person, key, after, wait)
        body = b'{"events":[' + b",".join(b'{"type":"%s",%s' % (e.kind.encode(), e.payload[1:]) for e in events) + b"]}"
        return Response(body, media_type="application/json")
    return stream(services.chat, key, _encoder(request, "events"), after=after, reader=person)


@router.post("/api/runs/{run_id}/cancel", status_code=202)
async def cancel_run(run_id: str, services: ServicesDep, person: Person, key: IdempotencyKey = None) -> Run:
    asked = _run_id(run_id)
    async with services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(tx, key=key, owner=person.id, route=f"POST /api/runs/{asked}/cancel", body=b"")
        if claim.resource_id is not None:
            return await services.chat.runs.run(tx, person, asked)
        run = await services.chat.runs.cancel(tx, person, asked)
        await claim.fulfil(asked)
        return run


# --- conversations


@router.post("/api/conversations", status_code=201)
async def create_conversation(
    services: ServicesDep, person: Person, body: NewConversation, response: Response, key: IdempotencyKey = None
) -> Conversation:
    """A new one (201), or the one you have under this `client_id` (200); 409 `client_id_taken` when that has another title."""
    said = json.dumps([body.client_id, body.title]).encode()
    async with services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(tx, key=key, owner=person.id, route="POST /api/conversations", body=said)
        if claim.resource_id is not None:
            return await services.chat.conversations.get(tx, person, claim.resource_id)
        found, made = await services.chat.conversations.create_or_find(tx, person, client_id=body.client_id, title=body.title)
        await claim.fulfil(found.id)
        if not made:
            response.status_code = 200
        return found


@router.get("/api/conversations/{reference}")
async def get_conversation(reference: str, services: ServicesDep, person: Person) -> Conversation:
    async with services.db.begin() as tx:
        return await services.chat.conversations.get(tx, person, reference)


@router.delete("/api/conversations/{reference}", status_code=204)
async def delete_conversation(reference: str, services: ServicesDep, person: Person) -> None:
    async with services.db.begin() as tx:
        deleted = await services.chat.conversations.delete(tx, person, reference)
        await services.chat.runs.cancel_all(tx, deleted)


@router.get("/api/conversations/{reference}/messages")
async def list_messages(
    reference: str, services: ServicesDep, person: Person, limit: Limit = 50, before: str | None = None, branch: Branch = "all"
) -> Page[Message]:
    """Newest first; `next` is the `before` of the following page. `branch`: all messages, the shown branch, or the one that ends with
    this message."""
    async with services.db.begin() as tx:
        if branch != "all":
            end = None if branch == "shown" else _message_id(branch)
            above = None if before is None else _message_id(before)
            items = await services.chat.tree.branch(tx, person, reference, end, limit, above)
            return Page(items=items, next=str(items[-1].id) if items and items[-1].parent_id is not None else None)
        items = await services.chat.conversations.messages(tx, person, reference, limit, cursor(before))
        items = await services.chat.tree.with_siblings(tx, items)
    return Page(items=items, next=next_cursor(items[-1].created_at, items[-1].id) if len(items) == limit else None)


@router.post("/api/conversations/{reference}/messages", status_code=202)
async def post_message(
    reference: str, services: ServicesDep, person: Person, body: NewMessage, key: IdempotencyKey = None
) -> dict[str, str]:
    """Write a message; the answer is watched at `/api/runs/{run_id}/events`."""
    start = StartRun(
        principal=person, message=body.content, conversation=reference, parent_id=body.parent_id, edit_of=body.edit_of, model=body.model,
        idempotency_key=key, attachments=body.attachment_ids,
    )  # fmt: skip
    async with services.chat.runs.starting() as tx:
        started = await services.chat.runs.start(tx, start)
    return {"run_id": str(started.run_id), "conversation_id": str(started.conversation_id)}


# --- shapes


def _start(
    services: Services, person: Principal, ask: Ask, kind: ConversationKind, key: str | None, max_chars: int | None = None
) -> StartRun:
    if ask.conversation_id is not None and ask.session_id is not None:
        raise InvalidInput("conversation_id and session_id name the same thing: give one of them")
    services.tools.dashboards.require(ask.dashboard)
    reference = ask.conversation_id if ask.conversation_id is not None else ask.session_id
    return StartRun(
        principal=person,
        message=ask.message,
        conversation=reference,
        kind=kind,
        model=ask.model,
        dashboard=ask.dashboard,
        idempotency_key=key,
        max_chars=max_chars,
        attachments=ask.attachments,
    )


def _answer(answer: Answer) -> JSONResponse:
    run, message = answer.run, answer.message
    if answer.error is not None:
        status = _RUN_STATUS.get(str(answer.error["code"]), 502)
        return JSONResponse(
            {
                "type": f"urn:aliquot:problem:{answer.error['code']}", "title": answer.error["detail"], "status": status,
                "run_id": str(run.id),
                "conversation_id": str(run.conversation_id), "partial": message.content if message else None, **answer.error,
            },
            status_code=status, media_type="application/problem+json",
        )  # fmt: skip
    document = {
        "message": _message(message) if message else None, "conversation_id": str(run.conversation_id), "run_id": str(run.id),
        "state": run.state,
        "citations": list(message.citations) if message else [], "confidence": answer.confidence,
        "usage": {
            "input_tokens": run.usage.input_tokens, "output_tokens": run.usage.output_tokens, "cost": money_text(run.usage.cost),
            "currency": run.usage.currency,
        },
    }  # fmt: skip
    if answer.approval is not None:
        document["approval"] = {
            "id": str(answer.approval.id),
            "tool": answer.approval.tool,
            "expires_at": rfc3339(answer.approval.expires_at),
        }
    return JSONResponse(document)


def _message(message: Message) -> dict[str, Any]:
    return {
        "id": str(message.id), "role": message.role, "content": message.content, "created_at": rfc3339(message.created_at),
        "parent_id": str(message.parent_id) if message.parent_id else None, "run_id": str(message.run_id) if message.run_id else None,
        "incomplete": message.incomplete, "citations": list(message.citations), "metadata": message.metadata,
    }  # fmt: skip


async def _parse(request: Request, model: type[Parsed]) -> Parsed:
    """The body as JSON or as a form, with the same fields."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    try:
        if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
            async with request.form(max_files=0, max_fields=20) as form:
                return model.model_validate({key: str(value) for key, value in form.multi_items()})
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        raise validation_problem(error.errors(include_input=False, include_url=False)) from error


def _encoder(request: Request, wire: str) -> Encoder:
    factory = request.app.state.encoders.get(wire)
    if factory is None:
        raise InvalidInput(f"format: one of {', '.join(sorted(request.app.state.encoders))}")
    encoder: Encoder = factory()
    return encoder


def _message_id(text: str) -> uuid.UUID:
    message_id = parse_id(text)
    if message_id is None:
        raise UnknownMessage
    return message_id


def _run_id(text: str) -> uuid.UUID:
    run_id = parse_id(text)
    if run_id is None:
        raise UnknownRun
    return run_id
