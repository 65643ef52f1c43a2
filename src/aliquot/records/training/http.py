"""Routes of training records. Recording and revoking need a login session: a key must not be able to qualify its person."""

import uuid
from datetime import date
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import Field

from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, PrincipalDep, require
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput
from aliquot.platform.http import PLAIN, Body, Page
from aliquot.records.training.api import TrainingApi
from aliquot.records.training.contracts import CODE_PATTERN, NewTraining, Training, TrainingKind

router = APIRouter(tags=["records"])

Reader = Annotated[Principal, Depends(require("users.read"))]
Manager = Annotated[Principal, Depends(require("users.manage", session=True))]
_Limit = Annotated[int, Query(ge=1, le=200)]
_Text = Annotated[str, Field(min_length=1, max_length=500), PLAIN]


class TrainingServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    training: TrainingApi


class TrainingBody(Body):
    kind: TrainingKind
    code: Annotated[str, Field(pattern=f"^{CODE_PATTERN}$")]
    completed_on: date
    valid_until: date | None = None
    trainer: _Text | None = None
    evidence: _Text | None = None


class RevocationBody(Body):
    reason: Annotated[str, Field(min_length=1, max_length=2_000), PLAIN]


def services_of(request: Request) -> TrainingServices:
    services: TrainingServices = request.app.state.services
    return services


@router.get("/api/admin/users/{person_id}/training")
async def trainings(
    request: Request, person_id: uuid.UUID, principal: Reader, limit: _Limit = 50, after: str | None = None
) -> Page[Training]:  # fmt: skip
    """A person's trainings, all versions, revoked ones too, newest first."""
    return await _page(request, person_id, limit, after)


@router.get("/api/users/me/training")
async def my_trainings(request: Request, principal: PrincipalDep, limit: _Limit = 50, after: str | None = None) -> Page[Training]:
    """My own trainings."""
    return await _page(request, principal.id, limit, after)


@router.post("/api/admin/users/{person_id}/training", status_code=201)
async def record(
    request: Request, person_id: uuid.UUID, principal: Manager, body: TrainingBody,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> Training:  # fmt: skip
    """Record a training, or a newer version of it. Nobody records their own."""
    services = services_of(request)
    asked, route = canonical_json(body.model_dump(mode="json")), f"POST /api/admin/users/{person_id}/training"
    async with services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(tx, key=idempotency_key, owner=principal.id, route=route, body=asked)
        if claim.resource_id is not None:
            return await services.training.get(tx, person_id, uuid.UUID(claim.resource_id))
        made = await services.training.record(tx, principal, person_id, NewTraining(**body.model_dump()))
        await claim.fulfil(made.id)
    return made


@router.delete("/api/admin/users/{person_id}/training/{training_id}")
async def revoke(
    request: Request, person_id: uuid.UUID, training_id: uuid.UUID, principal: Manager, body: RevocationBody
) -> Training:  # fmt: skip
    """Revoke a training, with a reason. It stays in the list, marked."""
    services = services_of(request)
    async with services.db.begin() as tx:
        return await services.training.revoke(tx, principal, person_id, training_id, reason=body.reason)


async def _page(request: Request, person_id: uuid.UUID, limit: int, after: str | None) -> Page[Training]:
    cursor = None if after is None else parse_id(after)
    if after is not None and cursor is None:
        raise InvalidInput("after: not a cursor of this list.")
    services = services_of(request)
    async with services.db.begin() as tx:
        items, following = await services.training.page(tx, person_id, limit=limit, after=cursor)
    return Page(items=items, next=None if following is None else str(following))
