"""Routes of erasures, and of a person's own export."""

import uuid
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, SessionPrincipalDep, require
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput, NotFound, Problem
from aliquot.platform.http import PLAIN, Body, Page
from aliquot.records.erasure.api import REASON_CHARS, ErasureApi
from aliquot.records.erasure.contracts import Erasure
from aliquot.records.signatures.contracts import Secrets

router = APIRouter(tags=["records"])

Manager = Annotated[Principal, Depends(require("records.manage", session=True))]
_Secret = Annotated[str | None, Field(min_length=1, max_length=1024, repr=False)]
_ROUTE = "POST /api/admin/erasure"


class ErasureServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    erasure: ErasureApi


class ErasureBody(Body):
    subject: Annotated[str, Field(min_length=1, max_length=320)]
    reason: Annotated[str, Field(min_length=1, max_length=REASON_CHARS), PLAIN]
    password: _Secret = None
    otp: _Secret = None
    sso: _Secret = None


def services_of(request: Request) -> ErasureServices:
    services: ErasureServices = request.app.state.services
    return services


@router.post("/api/admin/erasure", status_code=201)
async def erase(
    request: Request, principal: Manager, body: ErasureBody, idempotency_key: Annotated[str | None, Header(max_length=255)] = None
) -> Erasure:
    """Erase a person (id or e-mail address) for good. 409 `must_be_kept` lists the duties and holds that stand against it."""
    services = services_of(request)
    asked = canonical_json({"subject": body.subject, "reason": body.reason})
    async with services.identity.login_slot(), services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(tx, key=idempotency_key, owner=principal.id, route=_ROUTE, body=asked)
        ordered: uuid.UUID | Problem
        if claim.resource_id is not None:
            ordered = uuid.UUID(claim.resource_id)
        else:
            secrets = Secrets(password=body.password, otp=body.otp, sso=body.sso)
            ordered = await services.erasure.order(tx, principal, body.subject, reason=body.reason, secrets=secrets)
            if isinstance(ordered, uuid.UUID):
                await claim.fulfil(ordered)
    if isinstance(ordered, Problem):
        raise ordered
    await services.erasure.carry_out(ordered)
    async with services.db.begin() as tx:
        return await services.erasure.get(tx, ordered)


@router.get("/api/admin/erasure")
async def erasures(
    request: Request, principal: Manager, limit: Annotated[int, Query(ge=1, le=200)] = 50, after: str | None = None
) -> Page[Erasure]:
    """All erasures, newest first."""
    cursor = None if after is None else parse_id(after)
    if after is not None and cursor is None:
        raise InvalidInput("after: not a cursor of this list.")
    services = services_of(request)
    async with services.db.begin() as tx:
        items, following = await services.erasure.page(tx, limit=limit, after=cursor)
    return Page(items=items, next=None if following is None else str(following))


@router.get("/api/admin/erasure/{erasure_id}")
async def erasure(request: Request, principal: Manager, erasure_id: str) -> Erasure:
    """One erasure: the proof document. `final` once the log's signed checkpoint covers its event."""
    found = parse_id(erasure_id)
    if found is None:
        raise NotFound
    services = services_of(request)
    async with services.db.begin() as tx:
        return await services.erasure.get(tx, found)


@router.get("/api/users/me/export", response_class=StreamingResponse, responses={200: {"content": {"application/zip": {}}}})
async def my_export(request: Request, principal: SessionPrincipalDep) -> StreamingResponse:
    """Everything this site keeps about me, as a zip of JSON files."""
    pieces = await services_of(request).erasure.export(principal)
    headers = {"Content-Disposition": 'attachment; filename="my-records.zip"', "Cache-Control": "no-store"}
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)
