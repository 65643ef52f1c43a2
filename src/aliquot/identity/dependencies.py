"""FastAPI dependencies that establish who asks. Other domains take them from `aliquot.identity.http`."""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Annotated, Protocol

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from aliquot.identity.address import client_address
from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.identity.errors import PasswordChangeRequired, SessionRequired
from aliquot.identity.rights import PERMISSIONS
from aliquot.kernel.problems import Forbidden, Problem
from aliquot.platform.db import Database
from aliquot.platform.settings import Settings


class IdentityServices(Protocol):
    """What these dependencies need of `app.state.services`."""

    identity: IdentityApi
    db: Database
    settings: Settings


def services_of(request: HTTPConnection) -> IdentityServices:
    services: IdentityServices = request.app.state.services
    return services


def address_of(request: HTTPConnection) -> str:
    """The client's address; X-Forwarded-For counts only behind the proxies named in the settings."""
    peer = request.client.host if request.client else None
    forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
    return client_address(peer, forwarded, services_of(request).settings.trusted_proxies)


# Named so that it appears in the OpenAPI document; the header itself is read by IdentityApi.
_bearer = HTTPBearer(auto_error=False, description="A token of POST /api/auth/login, or an API key")


async def any_principal(request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Principal:
    """Who asks, even if the one-time password was not changed yet. 401 `unauthenticated` otherwise; 429 on a flood."""
    services, address = services_of(request), address_of(request)
    identity = services.identity
    try:
        credential = identity.parse(request.headers.get("authorization"))
        found = await identity.establish_alone(services.db, credential, address)
        if isinstance(found, Problem):
            raise found
    except Problem as problem:
        if problem.status == 401:  # counted on failures only: others behind the same address go on working
            identity.flood_count_address(address)
        raise
    identity.flood_count_person(found.id)
    return found


AnyPrincipalDep = Annotated[Principal, Depends(any_principal)]


async def current_principal(principal: AnyPrincipalDep) -> Principal:
    """Who asks. 403 `password_change_required` as long as a one-time password stands."""
    if principal.must_change:
        raise PasswordChangeRequired
    return principal


PrincipalDep = Annotated[Principal, Depends(current_principal)]
"""Who asks, from the database at this moment."""


async def session_principal(principal: PrincipalDep) -> Principal:
    """Who asks, through a login session: an API key is refused with 403 `session_required`."""
    return _with_session(principal)


SessionPrincipalDep = Annotated[Principal, Depends(session_principal)]
"""Who asks, never by API key."""


async def any_session_principal(principal: AnyPrincipalDep) -> Principal:
    """As `session_principal`, open to people who still have to change their one-time password."""
    return _with_session(principal)


AnySessionPrincipalDep = Annotated[Principal, Depends(any_session_principal)]


def _with_session(principal: Principal) -> Principal:
    if principal.session_id is None:
        raise SessionRequired
    return principal


@cache
def require(permission: str, *, session: bool = False) -> Callable[[Principal], Awaitable[Principal]]:
    """A dependency giving the Principal, if they hold `permission`; 403 `forbidden` otherwise.

    `Annotated[Principal, Depends(require("lab.read"))]`. With `session` API keys are refused. Raises ValueError for a
    permission that `rights.py` does not know, so that a misspelling is found at start.
    """
    if permission not in PERMISSIONS:
        raise ValueError(f"unknown permission {permission!r}: see aliquot.identity.rights")

    async def with_permission(principal: PrincipalDep) -> Principal:
        if session:
            _with_session(principal)
        if not principal.may(permission):
            raise Forbidden(f"This needs the permission {permission}.", permission=permission)
        return principal

    return with_permission
