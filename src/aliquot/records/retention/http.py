"""Routes of retention: schedules and legal holds."""

import uuid
from typing import Annotated, Protocol, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import AwareDatetime, Field

from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, require
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput, NotFound, Problem
from aliquot.platform.http import PLAIN, Body, Page
from aliquot.records.retention.api import REASON_CHARS, RetentionApi
from aliquot.records.retention.contracts import Archive, Hold, NewHold, Schedule
from aliquot.records.signatures.contracts import Secrets

Made = TypeVar("Made")

router = APIRouter(prefix="/api/admin", tags=["records"])

Manager = Annotated[Principal, Depends(require("records.manage", session=True))]
_Secret = Annotated[str | None, Field(min_length=1, max_length=1024, repr=False)]
_Reason = Annotated[str, Field(min_length=1, max_length=REASON_CHARS), PLAIN]


class RetentionServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    retention: RetentionApi


class ScheduleBody(Body):
    kind: Annotated[str, Field(min_length=1, max_length=40)]
    keep_days: Annotated[int, Field(ge=0, le=36_525)] | None
    archive: bool | None = None
    reason: _Reason | None = None
    password: _Secret = None
    otp: _Secret = None
    sso: _Secret = None


class HoldBody(Body):
    person: Annotated[str, Field(min_length=1, max_length=320)] | None = None
    conversation_id: uuid.UUID | None = None
    kind: Annotated[str, Field(min_length=1, max_length=40)] | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    reason: _Reason


class ReleaseBody(Body):
    reason: _Reason
    password: _Secret = None
    otp: _Secret = None
    sso: _Secret = None


def services_of(request: Request) -> RetentionServices:
    services: RetentionServices = request.app.state.services
    return services


@router.get("/retention")
async def schedules(request: Request, principal: Manager) -> Page[Schedule]:
    """How long records of each kind are kept."""
    services = services_of(request)
    async with services.db.begin() as tx:
        return Page(items=await services.retention.schedules(tx), next=None)


@router.put("/retention")
async def set_schedule(request: Request, principal: Manager, body: ScheduleBody) -> Schedule:
    """Change a schedule. A shorter time, or no archive any more, takes a reason and the password or one-time password."""
    services = services_of(request)
    async with services.identity.login_slot(), services.db.begin() as tx:
        changed = await services.retention.set_schedule(
            tx,
            principal,
            body.kind,
            body.keep_days,
            archive=body.archive,
            reason=body.reason,
            secrets=Secrets(password=body.password, otp=body.otp, sso=body.sso),
        )
    return _raised(changed)


@router.post("/holds", status_code=201)
async def make_hold(
    request: Request, principal: Manager, body: HoldBody, idempotency_key: Annotated[str | None, Header(max_length=255)] = None
) -> Hold:
    """Hold everything of a person, one conversation, or the records of a kind made in a period."""
    services = services_of(request)
    asked = canonical_json(body.model_dump(mode="json"))
    async with services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=idempotency_key, owner=principal.id, route="POST /api/admin/holds", body=asked
        )  # fmt: skip
        if claim.resource_id is not None:
            return await services.retention.get_hold(tx, uuid.UUID(claim.resource_id))
        made = await services.retention.hold(tx, principal, NewHold(**body.model_dump()))
        await claim.fulfil(made.id)
    return made


@router.get("/holds")
async def holds(
    request: Request, principal: Manager, limit: Annotated[int, Query(ge=1, le=200)] = 50, after: str | None = None
) -> Page[Hold]:
    """Holds, newest first, released ones too."""
    cursor = None if after is None else parse_id(after)
    if after is not None and cursor is None:
        raise InvalidInput("after: not a cursor of this list.")
    services = services_of(request)
    async with services.db.begin() as tx:
        items, following = await services.retention.holds(tx, limit=limit, after=cursor)
    return Page(items=items, next=None if following is None else str(following))


@router.post("/holds/{hold_id}/release")
async def release_hold(request: Request, principal: Manager, hold_id: str, body: ReleaseBody) -> Hold:
    """Let a hold go, with a reason and the password or one-time password. It stays in the list."""
    found = parse_id(hold_id)
    if found is None:
        raise NotFound
    services = services_of(request)
    async with services.identity.login_slot(), services.db.begin() as tx:
        secrets = Secrets(password=body.password, otp=body.otp, sso=body.sso)
        released = await services.retention.release(tx, principal, found, reason=body.reason, secrets=secrets)
    return _raised(released)


@router.get("/archives")
async def archives(
    request: Request, principal: Manager, limit: Annotated[int, Query(ge=1, le=200)] = 50, after: str | None = None
) -> Page[Archive]:
    """Archives written before records were deleted, newest first."""
    cursor = None if after is None else parse_id(after)
    if after is not None and cursor is None:
        raise InvalidInput("after: not a cursor of this list.")
    services = services_of(request)
    async with services.db.begin() as tx:
        items, following = await services.retention.archives(tx, limit=limit, after=cursor)
    return Page(items=items, next=None if following is None else str(following))


@router.post("/archives/{archive_id}/download", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
async def download_archive(request: Request, principal: Manager, archive_id: uuid.UUID, body: ReleaseBody) -> Response:
    """Take an archive out, with a reason and the password or one-time password: a zip for `aliquot-verify document`."""
    services = services_of(request)
    async with services.identity.login_slot(), services.db.begin() as tx:
        secrets = Secrets(password=body.password, otp=body.otp)
        refused = await services.retention.open_archive(tx, principal, archive_id, reason=body.reason, secrets=secrets)
    if refused is not None:
        raise refused
    headers = {"Content-Disposition": f'attachment; filename="archive-{archive_id}.zip"', "Cache-Control": "no-store"}
    return Response(await services.retention.archive_bundle(archive_id), media_type="application/zip", headers=headers)


def _raised(made: Made | Problem) -> Made:
    if isinstance(made, Problem):
        raise made
    return made
