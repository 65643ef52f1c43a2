"""Routes of the second factor. All need a login session; adding and removing one also takes the password."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field

from aliquot.identity.contracts import Enrolment, SecondFactor
from aliquot.identity.dependencies import SessionPrincipalDep, services_of
from aliquot.kernel.problems import Problem
from aliquot.platform.http import Body

router = APIRouter(prefix="/api/auth/otp", tags=["identity"])

_Password = Annotated[str, Field(min_length=1, max_length=1024, repr=False)]


class EnrolBody(Body):
    password: _Password
    at_login: bool = True


class CodeBody(Body):
    code: Annotated[str, Field(min_length=1, max_length=20, repr=False)]


class RemoveBody(Body):
    password: _Password
    otp: Annotated[str | None, Field(min_length=1, max_length=20, repr=False)] = None


@router.get("")
async def status(request: Request, principal: SessionPrincipalDep) -> SecondFactor:
    """Whether one has a second factor."""
    services = services_of(request)
    async with services.db.begin() as tx:
        return await services.identity.second_factor(tx, principal)


@router.post("", status_code=201)
async def enrol(request: Request, response: Response, body: EnrolBody, principal: SessionPrincipalDep) -> Enrolment:
    """A new secret for an authenticator app, shown this once. It counts for nothing until `confirm` has seen a code of it.

    With `at_login` (the default) every log-in asks for a code; without, only signatures do.
    """
    services = services_of(request)
    async with services.identity.login_slot(), services.db.begin() as tx:
        made = await services.identity.enrol_otp(tx, principal, body.password, at_login=body.at_login)
    if isinstance(made, Problem):
        raise made
    response.headers["Cache-Control"] = "no-store"
    return made


@router.post("/confirm")
async def confirm(request: Request, body: CodeBody, principal: SessionPrincipalDep) -> SecondFactor:
    """Put the second factor into force by its first code. Each code counts once."""
    services = services_of(request)
    async with services.db.begin() as tx:
        refused = await services.identity.confirm_enrolment(tx, principal, body.code)
        found = await services.identity.second_factor(tx, principal)
    if refused is not None:
        raise refused
    return found


@router.delete("", status_code=204)
async def remove(request: Request, body: RemoveBody, principal: SessionPrincipalDep) -> None:
    """Remove one's second factor, by the password and a code of it: who has the password alone must not be rid of it. An administrator
    removes a lost one."""
    services = services_of(request)
    async with services.identity.login_slot(), services.db.begin() as tx:
        refused = await services.identity.remove_otp(tx, principal, body.password, body.otp)
    if refused is not None:
        raise refused
