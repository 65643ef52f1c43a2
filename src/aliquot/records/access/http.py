"""Routes of access records and of emergency access."""

import uuid
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import Field

from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, require
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput, NotFound, Problem
from aliquot.platform.http import PLAIN, Body, Page
from aliquot.records.access.api import REASON_CHARS, AccessApi
from aliquot.records.access.contracts import BreakGlass, PatientRead, Verdict
from aliquot.records.signatures.contracts import Secrets

router = APIRouter(tags=["records"])

Reader = Annotated[Principal, Depends(require("records.read"))]
Manager = Annotated[Principal, Depends(require("records.manage", session=True))]
Helper = Annotated[Principal, Depends(require("records.break_glass", session=True))]
_Secret = Annotated[str | None, Field(min_length=1, max_length=1024, repr=False)]
_Reason = Annotated[str, Field(min_length=1, max_length=REASON_CHARS), PLAIN]
_Limit = Annotated[int, Query(ge=1, le=200)]
_ROUTE = "POST /api/records/break-glass"


class AccessServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    access: AccessApi


class GlassBody(Body):
    record: uuid.UUID
    """The conversation."""
    reason: _Reason
    password: _Secret = None
    otp: _Secret = None
    sso: _Secret = None


class ReviewBody(Body):
    verdict: Verdict
    note: _Reason | None = None


def services_of(request: Request) -> AccessServices:
    services: AccessServices = request.app.state.services
    return services


@router.get("/api/admin/access-report")
async def access_report(
    request: Request, principal: Reader, patient: uuid.UUID | None = None, person: uuid.UUID | None = None, limit: _Limit = 50,
    after: str | None = None,
) -> Page[PatientRead]:  # fmt: skip
    """Who saw a patient's data, or what a person saw of patients: when, which records, by which way. Asking is itself recorded."""
    services = services_of(request)
    async with services.db.begin() as tx:
        items, following = await services.access.report(
            tx, principal, patient=patient, person=person, limit=limit, after=_cursor(after)
        )  # fmt: skip
    return Page(items=items, next=None if following is None else str(following))


@router.post("/api/records/break-glass", status_code=201)
async def break_glass(
    request: Request, principal: Helper, body: GlassBody, idempotency_key: Annotated[str | None, Header(max_length=255)] = None
) -> BreakGlass:
    """Open a conversation for reading in an emergency, for a while. It is recorded at once and will be reviewed."""
    services = services_of(request)
    asked = canonical_json({"record": str(body.record), "reason": body.reason})
    async with services.identity.login_slot(), services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(tx, key=idempotency_key, owner=principal.id, route=_ROUTE, body=asked)
        if claim.resource_id is not None:
            return await services.access.get_glass(tx, uuid.UUID(claim.resource_id))
        secrets = Secrets(password=body.password, otp=body.otp, sso=body.sso)
        made = await services.access.break_glass(tx, principal, body.record, reason=body.reason, secrets=secrets)
        if isinstance(made, BreakGlass):
            await claim.fulfil(made.id)
    if isinstance(made, Problem):
        raise made
    return made


@router.get("/api/admin/break-glass")
async def glasses(
    request: Request, principal: Manager, unreviewed: bool = False, limit: _Limit = 50, after: str | None = None
) -> Page[BreakGlass]:
    """Emergency accesses, newest first; with `unreviewed` those that wait for a decision."""
    services = services_of(request)
    async with services.db.begin() as tx:
        items, following = await services.access.glasses(tx, unreviewed=unreviewed, limit=limit, after=_cursor(after))
    return Page(items=items, next=None if following is None else str(following))


@router.post("/api/admin/break-glass/{glass_id}/review")
async def review(request: Request, principal: Manager, glass_id: str, body: ReviewBody) -> BreakGlass:
    """Say whether an emergency access was justified; never one's own."""
    found = parse_id(glass_id)
    if found is None:
        raise NotFound
    services = services_of(request)
    async with services.db.begin() as tx:
        return await services.access.review(tx, principal, found, verdict=body.verdict, note=body.note)


def _cursor(after: str | None) -> uuid.UUID | None:
    found = None if after is None else parse_id(after)
    if after is not None and found is None:
        raise InvalidInput("after: not a cursor of this list.")
    return found
