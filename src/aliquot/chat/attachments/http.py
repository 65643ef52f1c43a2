"""Routes of attachments."""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.requests import ClientDisconnect

from aliquot.chat.api import ChatApi
from aliquot.chat.attachments.contracts import Attachment, Link
from aliquot.chat.attachments.errors import LinkInvalid, UnknownAttachment, UnknownMessage, UploadCut
from aliquot.chat.attachments.uploads import Upload
from aliquot.documents.api import content_disposition
from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, address_of, require
from aliquot.kernel.ids import parse_id
from aliquot.platform.http import Page

router = APIRouter(tags=["chat"])

Person = Annotated[Principal, Depends(require("chat.use"))]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]
Checksum = Annotated[str | None, Header(alias="X-Content-SHA256", max_length=64)]
_COUNTED_WHILE_READING = 1 << 40
"""Uploads are bounded by `limits.attachment_bytes` while they are read, not by `limits.body_bytes`."""


class AttachmentServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    chat: ChatApi


async def _services(request: Request) -> AttachmentServices:
    services: AttachmentServices = request.app.state.services
    return services


ServicesDep = Annotated[AttachmentServices, Depends(_services)]


@router.post("/api/attachments", status_code=201, max_body_size=_COUNTED_WHILE_READING)
async def upload(
    request: Request, services: ServicesDep, person: Person, key: IdempotencyKey = None, sha256: Checksum = None
) -> Attachment:
    """Upload one file (multipart/form-data) before its message; name it in the message's `attachment_ids` within 24 hours."""
    return await _take(request, services, person, key, sha256, None)


@router.post("/api/messages/{message_id}/attachments", status_code=201, max_body_size=_COUNTED_WHILE_READING)
async def upload_to_message(
    request: Request, message_id: str, services: ServicesDep, person: Person, key: IdempotencyKey = None, sha256: Checksum = None
) -> Attachment:
    """Upload one file to a message of one's own."""
    message = parse_id(message_id)
    if message is None:
        raise UnknownMessage
    return await _take(request, services, person, key, sha256, message)


@router.get("/api/messages/{message_id}/attachments")
async def list_attachments(message_id: str, services: ServicesDep, person: Person) -> Page[Attachment]:
    """The files of a message."""
    async with services.db.begin() as tx:
        return Page(items=await services.chat.attachments.files.of_message(tx, person, parse_id(message_id)))


@router.get("/api/attachments/{attachment_id}")
async def attachment_state(attachment_id: str, services: ServicesDep, person: Person) -> Attachment:
    """One file: its state and how far it is."""
    async with services.db.begin() as tx:
        return await services.chat.attachments.files.get(tx, person, parse_id(attachment_id))


@router.delete("/api/attachments/{attachment_id}", status_code=204)
async def delete_attachment(attachment_id: str, services: ServicesDep, person: Person) -> None:
    """Delete one's own file, in every message that names it."""
    async with services.db.begin() as tx:
        await services.chat.attachments.files.delete(tx, person, parse_id(attachment_id))


@router.get("/api/attachments/{attachment_id}/download")
async def download(attachment_id: str, services: ServicesDep, person: Person) -> Response:
    """The file, always as a download."""
    async with services.db.begin() as tx:
        found = await services.chat.attachments.files.download(tx, person, parse_id(attachment_id))
    return await file_response(services.chat, found)


@router.post("/api/attachments/{attachment_id}/link")
async def download_link(attachment_id: str, services: ServicesDep, person: Person) -> Link:
    """A link that downloads the file without a token, for this person and a few minutes."""
    async with services.db.begin() as tx:
        return await services.chat.attachments.files.link(tx, person, parse_id(attachment_id))


@router.get("/api/attachments/{attachment_id}/content")
async def follow_link(
    request: Request,
    attachment_id: str,
    services: ServicesDep,
    person: Annotated[str, Query(max_length=40)] = "",
    until: Annotated[str, Query(max_length=12)] = "",
    signature: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """The file behind a link of `POST …/link`. The person's rights are those of this moment."""
    found_id, person_id = parse_id(attachment_id), parse_id(person)
    if found_id is None or person_id is None or not until.isdecimal() or not until.isascii():
        raise LinkInvalid
    services.chat.attachments.files.check_link(found_id, person_id, int(until), signature)
    async with services.db.begin() as tx:
        who = await services.identity.principal(tx, person_id, via="session", ip=address_of(request))
        if not who.may("chat.use"):
            raise UnknownAttachment
        found = await services.chat.attachments.files.download(tx, who, found_id)
    return await file_response(services.chat, found)


async def _take(
    request: Request, services: AttachmentServices, person: Principal, key: str | None, sha256: str | None, message_id: uuid.UUID | None
) -> Attachment:
    return await services.chat.attachments.uploads.take(
        Upload(
            principal=person, body=_body(request), content_type=request.headers.get("content-type", ""), sha256=sha256, idempotency_key=key,
            message_id=message_id,
        )
    )  # fmt: skip


async def _body(request: Request) -> AsyncIterator[bytes]:
    try:
        async for data in request.stream():
            yield data
    except ClientDisconnect:
        raise UploadCut from None


async def file_response(chat: ChatApi, found: Attachment) -> Response:
    """The answer, begun only when the first piece could be opened: until then there is still a proper refusal."""
    pieces = chat.attachments.files.content(found)
    first = await anext(pieces)
    headers = {
        "Content-Disposition": content_disposition(found.file_name), "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "private, no-store",
        "Content-Length": str(found.file_size), "Cross-Origin-Resource-Policy": "same-origin",
    }  # fmt: skip
    return StreamingResponse(_from(first, pieces), media_type=found.mime_type, headers=headers)


async def _from(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
