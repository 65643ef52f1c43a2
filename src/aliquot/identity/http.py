"""Routes of identity, and the dependencies by which every other `http.py` learns who asks."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, Field

from aliquot.identity.admin_http import router as admin_router
from aliquot.identity.contracts import Actor, ApiKey, Login, NewApiKey, Person, Session, Ticket
from aliquot.identity.dependencies import (
    AnyPrincipalDep,
    AnySessionPrincipalDep,
    IdentityServices,
    PrincipalDep,
    SessionPrincipalDep,
    address_of,
    any_principal,
    require,
    services_of,
)
from aliquot.identity.oidc.http import router as oidc_router
from aliquot.identity.otp_http import router as otp_router
from aliquot.kernel.problems import Problem
from aliquot.platform.http import Body, Page

__all__ = [
    "AnyPrincipalDep",
    "AnySessionPrincipalDep",
    "IdentityServices",
    "PrincipalDep",
    "SessionPrincipalDep",
    "address_of",
    "any_principal",
    "require",
    "router",
    "services_of",
]

router = APIRouter(tags=["identity"])
for _part in (admin_router, otp_router, oidc_router):
    router.routes.extend(_part.routes)  # including a router would match its routes twice, for every request

_Email = Annotated[str, Field(min_length=1, max_length=320)]
_Password = Annotated[str, Field(min_length=1, max_length=1024, repr=False)]


_Code = Annotated[str | None, Field(min_length=1, max_length=20, repr=False)]


class LoginBody(Body):
    email: _Email
    password: _Password
    otp: _Code = None


class PasswordBody(Body):
    old_password: _Password
    new_password: _Password


class KeyBody(Body):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    expires_at: AwareDatetime | None = None


@router.post("/api/auth/login")
async def login(request: Request, response: Response, body: LoginBody) -> Login:
    """Open a session: a bearer token for at most 24 hours. After 5 failures in 15 minutes the account is locked for the address.

    401 `otp_required` when the password was right and the person also has a second factor: send the same again with `otp`.
    """
    services, address = services_of(request), address_of(request)
    identity = services.identity
    identity.flood_check_address(address)
    async with services.db.begin() as tx:
        delay = await identity.login_delay(tx, body.email)
    await identity.wait(delay)
    async with identity.login_slot(), services.db.begin() as tx:
        opened = await identity.login(tx, email=body.email, password=body.password, address=address, otp=body.otp)
    if isinstance(opened, Problem):
        identity.flood_count_address(address)
        raise opened
    _shown_once(response)
    return opened


@router.post("/api/auth/logout", status_code=204)
async def logout(request: Request, principal: AnySessionPrincipalDep) -> None:
    """End the session; its token is refused from the next request on."""
    services = services_of(request)
    async with services.db.begin() as tx:
        await services.identity.logout(tx, principal)


@router.post("/api/auth/refresh")
async def refresh(request: Request, response: Response, principal: SessionPrincipalDep) -> Login:
    """A token that lives longer, for the same session; at most seven days after the log-in."""
    services = services_of(request)
    async with services.db.begin() as tx:
        login = await services.identity.refresh(tx, principal)
    _shown_once(response)
    return login


@router.post("/api/auth/password", status_code=204)
async def change_password(request: Request, body: PasswordBody, principal: AnySessionPrincipalDep) -> None:
    """Change one's password; all other sessions end."""
    services = services_of(request)
    async with services.identity.login_slot(), services.db.begin() as tx:
        refused = await services.identity.change_password(tx, principal, old=body.old_password, new=body.new_password)
    if refused is not None:
        raise refused


@router.post("/api/auth/ticket")
async def ticket(request: Request, response: Response, principal: SessionPrincipalDep) -> Ticket:
    """A single-use pass for a WebSocket (`?token=`), good for 30 seconds."""
    services = services_of(request)
    async with services.db.begin() as tx:
        made = await services.identity.ticket(tx, principal)
    _shown_once(response)
    return made


@router.get("/api/auth/me")
@router.get("/api/users/me")
async def me(request: Request, principal: AnyPrincipalDep) -> Person:
    """Who asks, with the rights held now."""
    services = services_of(request)
    async with services.db.begin() as tx:
        return await services.identity.person(tx, principal.id)


@router.get("/api/auth/sessions")
async def sessions(request: Request, principal: SessionPrincipalDep) -> Page[Session]:
    """One's sessions that stand, newest first."""
    services = services_of(request)
    async with services.db.begin() as tx:
        return Page(items=await services.identity.sessions(tx, principal))


@router.delete("/api/auth/sessions/{session_id}", status_code=204)
async def revoke_session(request: Request, session_id: uuid.UUID, principal: SessionPrincipalDep) -> None:
    """End one of one's sessions at once."""
    services = services_of(request)
    async with services.db.begin() as tx:
        await services.identity.revoke_session(tx, principal, session_id)


@router.get("/api/auth/keys")
async def keys(request: Request, principal: SessionPrincipalDep) -> Page[ApiKey]:
    """One's API keys, newest first; never their secrets."""
    services = services_of(request)
    async with services.db.begin() as tx:
        return Page(items=await services.identity.keys(tx, principal.id))


@router.post("/api/auth/keys", status_code=201)
async def create_key(request: Request, response: Response, body: KeyBody, principal: SessionPrincipalDep) -> NewApiKey:
    """Make an API key. `secret` is the bearer value; it is shown this once."""
    services = services_of(request)
    async with services.db.begin() as tx:
        made = await services.identity.create_key(tx, principal.id, name=body.name, expires_at=body.expires_at, by=Actor.of(principal))
    _shown_once(response)
    return made


@router.delete("/api/auth/keys/{key_id}", status_code=204)
async def revoke_key(request: Request, key_id: uuid.UUID, principal: SessionPrincipalDep) -> None:
    """End one of one's API keys at once."""
    services = services_of(request)
    async with services.db.begin() as tx:
        await services.identity.revoke_key(tx, principal.id, key_id, by=Actor.of(principal))


def _shown_once(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"
