"""Routes for the administration of people. They need a login session: a key must not be able to make itself a person."""

import uuid
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import Field

from aliquot.identity.contracts import Actor, NewPerson, Person, Principal
from aliquot.identity.dependencies import require, services_of
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput
from aliquot.platform.http import Body, Page

router = APIRouter(prefix="/api/admin/users", tags=["identity"])

Reader = Annotated[Principal, Depends(require("users.read"))]
Manager = Annotated[Principal, Depends(require("users.manage", session=True))]
_Email = Annotated[str, Field(min_length=1, max_length=320)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Roles = Annotated[list[str], Field(min_length=1, max_length=10)]


class NewPersonBody(Body):
    email: _Email
    name: _Name
    roles: _Roles
    may_sign: bool | None = None


class PersonBody(Body):
    email: _Email | None = None
    name: _Name | None = None
    may_sign: bool | None = None
    active: bool | None = None


class RolesBody(Body):
    roles: _Roles


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTimePassword:
    password: str
    """Shown this once; it must be changed at the next log-in."""


@router.get("")
async def list_people(
    request: Request, principal: Reader, limit: Annotated[int, Query(ge=1, le=200)] = 50, after: Annotated[str | None, Query()] = None
) -> Page[Person]:
    """All people, disabled ones too, in the order they were made."""
    cursor = parse_id(after) if after is not None else None
    if after is not None and cursor is None:
        raise InvalidInput("after: not a cursor of this list.")
    services = services_of(request)
    async with services.db.begin() as tx:
        people = await services.identity.list_people(tx, limit=limit, after=cursor)
    return Page(items=people, next=str(people[-1].id) if len(people) == limit else None)


@router.post("", status_code=201)
async def create_person(
    request: Request,
    response: Response,
    body: NewPersonBody,
    principal: Manager,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> NewPerson:
    """Make a person with a one-time password, shown this once (a repeated Idempotency-Key gives the person without it)."""
    services = services_of(request)
    identity = services.identity
    async with services.db.begin() as tx:
        claim = await identity.idempotency.claim(
            tx, key=idempotency_key, owner=principal.id, route="POST /api/admin/users", body=await request.body()
        )
        if claim.resource_id is not None:
            return NewPerson(person=await identity.person(tx, claim.resource_id), password=None)
        made = await identity.create_person(
            tx, email=body.email, name=body.name, roles=body.roles, may_sign=body.may_sign, by=Actor.of(principal)
        )
        await claim.fulfil(made.person.id)
    response.headers["Cache-Control"] = "no-store"
    return made


@router.get("/{person_id}")
async def get_person(request: Request, person_id: uuid.UUID, principal: Reader) -> Person:
    """One person."""
    services = services_of(request)
    async with services.db.begin() as tx:
        return await services.identity.person(tx, person_id)


@router.patch("/{person_id}")
async def change_person(request: Request, person_id: uuid.UUID, body: PersonBody, principal: Manager) -> Person:
    """Change name, address, the right to sign; disable or enable. What is left out stays."""
    if not body.model_fields_set or any(getattr(body, field) is None for field in body.model_fields_set):
        raise InvalidInput("Give at least one of email, name, may_sign, active; none of them null.")
    services = services_of(request)
    by = Actor.of(principal)
    async with services.db.begin() as tx:
        if body.active is not None:
            person = await services.identity.set_active(tx, person_id, body.active, by=by)
        if body.model_fields_set - {"active"}:
            person = await services.identity.change_person(tx, person_id, name=body.name, email=body.email, may_sign=body.may_sign, by=by)
    return person


@router.delete("/{person_id}", status_code=204)
async def disable_person(request: Request, person_id: uuid.UUID, principal: Manager) -> None:
    """Disable a person. People are never deleted: what they signed and did names them."""
    services = services_of(request)
    async with services.db.begin() as tx:
        await services.identity.set_active(tx, person_id, False, by=Actor.of(principal))


@router.put("/{person_id}/roles")
async def set_roles(request: Request, person_id: uuid.UUID, body: RolesBody, principal: Manager) -> Person:
    """Replace a person's roles; they hold from that person's next request on."""
    services = services_of(request)
    async with services.db.begin() as tx:
        return await services.identity.set_roles(tx, person_id, body.roles, by=Actor.of(principal))


@router.post("/{person_id}/password")
async def reset_password(request: Request, response: Response, person_id: uuid.UUID, principal: Manager) -> OneTimePassword:
    """Give a person a new one-time password; their sessions end, and they cannot sign until another administrator gives the right back."""
    services = services_of(request)
    async with services.db.begin() as tx:
        password = await services.identity.reset_password(tx, person_id, by=Actor.of(principal))
    response.headers["Cache-Control"] = "no-store"
    return OneTimePassword(password=password)


@router.delete("/{person_id}/otp", status_code=204)
async def reset_otp(request: Request, person_id: uuid.UUID, principal: Manager) -> None:
    """Remove a lost second factor. The person cannot sign until another administrator gives the right to sign back."""
    services = services_of(request)
    async with services.db.begin() as tx:
        await services.identity.reset_otp(tx, person_id, by=Actor.of(principal))
