"""Routes of exports and imports."""

import json
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field, ValidationError

from aliquot.chat.api import ChatApi
from aliquot.chat.contracts import Conversation
from aliquot.chat.export.contracts import Format, Options
from aliquot.chat.export.errors import NotAnExport
from aliquot.chat.export.portable import PortableConversation
from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, require
from aliquot.kernel.canonical import canonical_json
from aliquot.platform.http import Body, require_unicode

router = APIRouter(tags=["chat"])

IMPORT_BYTES = 50_000_000
"""An exported file may be larger than any other body."""

Person = Annotated[Principal, Depends(require("chat.use"))]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]


class ExportBody(Body):
    """`email_to` sends the file instead of giving it."""

    format: Format = "pdf"
    include_citations: bool = True
    include_timestamps: bool = True
    email_to: str | None = Field(None, min_length=3, max_length=254, pattern=r"^[^@\s<>,;\"]+@[^@\s<>,;\"]+$")


class ExportOf(ExportBody):
    """The same with the conversation in the body (`/api/chat/export`)."""

    conversation_id: str


class ExportServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    chat: ChatApi


def services_of(request: Request) -> ExportServices:
    services: ExportServices = request.app.state.services
    return services


@router.post("/api/conversations/{reference}/export", response_model=None)
async def export_conversation(request: Request, reference: str, person: Person, body: ExportBody, key: IdempotencyKey = None) -> Response:
    """The conversation as a file, or 202 when it is sent by e-mail."""
    return await _export(request, reference, person, body, key)


@router.post("/api/chat/export", response_model=None)
async def export_thread(request: Request, person: Person, body: ExportOf, key: IdempotencyKey = None) -> Response:
    """The same, with the conversation named in the body."""
    return await _export(request, body.conversation_id, person, body, key)


@router.get("/api/conversations/{reference}/exports")
async def list_deliveries(request: Request, reference: str, person: Person) -> dict[str, Any]:
    """Exports of this conversation sent by e-mail, with their state."""
    services = services_of(request)
    async with services.db.begin() as tx:
        return {"items": await services.chat.exports.deliveries(tx, person, reference), "next": None}


@router.post("/api/conversations/import", status_code=201, max_body_size=IMPORT_BYTES)
async def import_conversation(request: Request, person: Person, key: IdempotencyKey = None) -> Conversation:
    """A new conversation from an exported JSON file (the body)."""
    services = services_of(request)
    raw = await request.body()
    try:
        document = json.loads(raw, parse_constant=_no_constant)
        require_unicode(document)
        file = PortableConversation.model_validate(document)
    except (ValidationError, ValueError, RecursionError) as error:
        raise NotAnExport(_why(error)) from error
    async with services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(tx, key=key, owner=person.id, route="POST /api/conversations/import", body=raw)
        if claim.resource_id is not None:
            return await services.chat.conversations.get(tx, person, claim.resource_id)
        made = await services.chat.exports.import_(tx, person, file)
        await claim.fulfil(made.id)
    return made


async def _export(request: Request, reference: str, person: Principal, body: ExportBody, key: str | None) -> Response:
    services = services_of(request)
    options = Options(format=body.format, include_citations=body.include_citations, include_timestamps=body.include_timestamps)
    if body.email_to is None:
        file = await services.chat.exports.export(person, reference, options)
        headers = {"Content-Disposition": f'attachment; filename="{file.name}"', "X-Content-Type-Options": "nosniff"}
        return Response(file.data, media_type=file.media_type, headers=headers | {"Cache-Control": "no-store"})
    async with services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=key, owner=person.id, route=f"POST export {reference}", body=canonical_json(body.model_dump())
        )
        if claim.resource_id is not None:
            return JSONResponse({"id": claim.resource_id, "state": "queued"}, status_code=202)
        queued = await services.chat.exports.send(tx, person, reference, options, body.email_to)
        await claim.fulfil(queued["id"])
    return JSONResponse(queued, status_code=202)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _why(error: Exception) -> str:
    """What is wrong with a file, without its contents."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"This file is not a conversation exported by Aliquot ({place + ': ' if place else ''}{first['msg']})."
    return "This file is not a conversation exported by Aliquot (it is not valid JSON)."
