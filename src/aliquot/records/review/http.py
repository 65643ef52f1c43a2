"""Routes of the review queue. Flagging takes the right to read the answer; the queue is for reviewers."""

import uuid
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import Field

from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, require
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput, NotFound
from aliquot.platform.http import PLAIN, Body, Page
from aliquot.records.review.api import ReviewApi
from aliquot.records.review.contracts import DecisionWord, Flagged, Item, MessageReview, OpenedItem, Reason, State

router = APIRouter(tags=["review"])

Reader = Annotated[Principal, Depends(require("chat.use"))]
Reviewer = Annotated[Principal, Depends(require("review.decide"))]
Judge = Annotated[Principal, Depends(require("review.decide", session=True))]
_Key = Annotated[str | None, Header(max_length=255)]
_Text = Annotated[str, Field(max_length=100_000), PLAIN]


class ReviewServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    review: ReviewApi


class FlagBody(Body):
    message_id: uuid.UUID
    reason: Reason
    comment: _Text | None = None


class DecisionBody(Body):
    decision: DecisionWord
    comment: _Text | None = None
    correction: _Text | None = None


def services_of(request: Request) -> ReviewServices:
    services: ReviewServices = request.app.state.services
    return services


@router.post("/api/review/flags", status_code=201)
async def flag(request: Request, person: Reader, body: FlagBody, idempotency_key: _Key = None) -> Flagged:
    """Have an answer I may read looked at by a reviewer."""
    services = services_of(request)
    asked = canonical_json(body.model_dump(mode="json"))
    async with services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=idempotency_key, owner=person.id, route="POST /api/review/flags", body=asked
        )  # fmt: skip
        if claim.resource_id is not None:
            return await services.review.flagged(tx, person, uuid.UUID(claim.resource_id))
        made = await services.review.flag(tx, person, body.message_id, body.reason, body.comment)
        await claim.fulfil(made.flag.id)
    return made


@router.get("/api/review")
async def queue(
    request: Request, reviewer: Reviewer, state: State | None = None, reason: Reason | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50, after: Annotated[str | None, Query(max_length=100)] = None,
) -> Page[Item]:  # fmt: skip
    """The queue, who waits longest first; all states unless one is asked for."""
    cursor = None if after is None else parse_id(after)
    if after is not None and cursor is None:
        raise InvalidInput("after: not a cursor of this list.")
    services = services_of(request)
    async with services.db.begin() as tx:
        items = await services.review.page(tx, reviewer, state=state, reason=reason, limit=limit, after=cursor)
    return Page(items=items, next=str(items[-1].id) if len(items) == limit else None)


@router.get("/api/review/{item_id}")
async def opened(request: Request, reviewer: Reviewer, item_id: str) -> OpenedItem:
    """One entry with its question and answer. `withheld` says why they are not shown: data of patients needs `clinical.read`, and what
    tools gave needs their permissions."""
    services = services_of(request)
    async with services.db.begin() as tx:
        return await services.review.opened(tx, reviewer, _id(item_id))


@router.post("/api/review/{item_id}/decision")
async def decide(request: Request, judge: Judge, item_id: str, body: DecisionBody, idempotency_key: _Key = None) -> Item:
    """Decide, once and for good. The outcome is shown beside the answer, which stays as it was. Needs a login session."""
    services, wanted = services_of(request), _id(item_id)
    asked = canonical_json({"item": str(wanted), **body.model_dump()})
    async with services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=idempotency_key, owner=judge.id, route="POST /api/review/{id}/decision", body=asked
        )  # fmt: skip
        if claim.resource_id is not None:
            return await services.review.item(tx, wanted)
        decided = await services.review.decide(tx, judge, wanted, body.decision, comment=body.comment, correction=body.correction)
        await claim.fulfil(decided.id)
    return decided


@router.get("/api/messages/{message_id}/review")
async def of_message(request: Request, person: Reader, message_id: str) -> MessageReview:
    """Whether an answer I may read was flagged, and what reviewers found."""
    services = services_of(request)
    async with services.db.begin() as tx:
        return await services.review.of_message(tx, person, _id(message_id))


def _id(text: str) -> uuid.UUID:
    found = parse_id(text)
    if found is None:
        raise NotFound
    return found
