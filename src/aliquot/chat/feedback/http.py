"""Routes of feedback."""

import uuid
from typing import Annotated, Literal, Protocol

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, Field

from aliquot.chat.api import ChatApi
from aliquot.chat.feedback.contracts import Feedback, FeedbackFilter
from aliquot.chat.feedback.errors import NoFeedback
from aliquot.chat.paging import cursor, next_cursor
from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, require
from aliquot.kernel.ids import parse_id
from aliquot.platform.http import Body, Page

router = APIRouter(tags=["chat"])

Person = Annotated[Principal, Depends(require("chat.use"))]
Reader = Annotated[Principal, Depends(require("feedback.read"))]
_Rating = Literal["up", "down", "1", "2", "3", "4", "5"]


class GivenFeedback(Body):
    message_id: uuid.UUID
    rating: Literal["up", "down"] | Annotated[int, Field(strict=True, ge=1, le=5)]
    comment: Annotated[str | None, Field(max_length=100_000)] = None


class FeedbackServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    chat: ChatApi


async def _services(request: Request) -> FeedbackServices:
    services: FeedbackServices = request.app.state.services
    return services


ServicesDep = Annotated[FeedbackServices, Depends(_services)]


async def _filter(
    rating: _Rating | None = None,
    person: uuid.UUID | None = None,
    message: uuid.UUID | None = None,
    commented: bool | None = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
) -> FeedbackFilter:
    return FeedbackFilter(rating=rating, person_id=person, message_id=message, commented=commented, since=since, until=until)


FilterDep = Annotated[FeedbackFilter, Depends(_filter)]


@router.post("/api/chat/feedback", status_code=201)
async def give_feedback(
    request: Request,
    response: Response,
    services: ServicesDep,
    person: Person,
    body: GivenFeedback,
    key: Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)] = None,
) -> Feedback:
    """Rate an answer I may read: 201 the first time, 200 when it changes what I said."""
    async with services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=key, owner=person.id, route="POST /api/chat/feedback", body=await request.body()
        )
        if claim.resource_id is not None:
            response.status_code = 200
            return await services.chat.feedback.mine(tx, person, body.message_id)
        given, first = await services.chat.feedback.give(tx, person, body.message_id, str(body.rating), body.comment)
        await claim.fulfil(given.id)
    response.status_code = 201 if first else 200
    return given


@router.get("/api/chat/feedback/export")
async def export_feedback(
    services: ServicesDep, reader: Reader, wanted: FilterDep, form: Annotated[Literal["jsonl", "csv"], Query(alias="format")] = "jsonl"
) -> StreamingResponse:
    """All feedback as JSON lines, or as CSV whose cells no spreadsheet takes for formulas."""
    pieces = await services.chat.feedback.export(reader, wanted, form)
    kind = "text/csv; charset=utf-8; header=present" if form == "csv" else "application/jsonl"
    return StreamingResponse(pieces, media_type=kind, headers={"Content-Disposition": f'attachment; filename="feedback.{form}"'})


@router.get("/api/chat/feedback/{message_id}")
async def my_feedback(message_id: str, services: ServicesDep, person: Person) -> Feedback:
    """What I said of an answer."""
    async with services.db.begin() as tx:
        return await services.chat.feedback.mine(tx, person, _message_id(message_id))


@router.delete("/api/chat/feedback/{message_id}", status_code=204)
async def withdraw_feedback(message_id: str, services: ServicesDep, person: Person) -> None:
    """Take back what I said of an answer."""
    async with services.db.begin() as tx:
        await services.chat.feedback.withdraw(tx, person, _message_id(message_id))


@router.get("/api/chat/feedback")
async def list_feedback(
    services: ServicesDep,
    reader: Reader,
    wanted: FilterDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(max_length=100)] = None,
) -> Page[Feedback]:
    """Everybody's feedback, newest first, for administrators."""
    async with services.db.begin() as tx:
        items = await services.chat.feedback.page(tx, reader, wanted, limit, cursor(after))
    last = items[-1] if len(items) == limit else None
    return Page(items=items, next=next_cursor(last.created_at, last.id) if last else None)


def _message_id(text: str) -> uuid.UUID:
    message_id = parse_id(text)
    if message_id is None:
        raise NoFeedback
    return message_id
