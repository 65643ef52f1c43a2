"""Routes of single sign-on. A browser is sent to the provider and comes back; a front end gets its session by a POST.

The session reaches the front end as a code in the fragment of the page it asked for, exchanged by whoever holds the verifier of the
challenge the log-in was begun with. So a code that leaked, or that somebody else's page sent here (login CSRF), opens nothing.
"""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import Field

from aliquot.identity.contracts import Actor, Login, Principal
from aliquot.identity.dependencies import AnySessionPrincipalDep, SessionPrincipalDep, address_of, require, services_of
from aliquot.identity.oidc.api import SignOnApi
from aliquot.identity.oidc.contracts import Farewell, Flow, Purpose, SignOn, StepUp
from aliquot.kernel.problems import InvalidInput, Problem
from aliquot.platform.http import Body

router = APIRouter(tags=["identity"])

Manager = Annotated[Principal, Depends(require("users.manage", session=True))]
_Challenge = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{43}$")]
_Answer = Annotated[str | None, Query(max_length=4_096)]
_Landing = Annotated[str | None, Field(max_length=4_096)]


class CodeBody(Body):
    code: Annotated[str, Field(min_length=1, max_length=100, repr=False)]
    code_verifier: Annotated[str, Field(pattern=r"^[A-Za-z0-9._~-]{43,128}$", repr=False)]


class StepUpBody(Body):
    purpose: Purpose = "sign"
    next: _Landing = None


class FarewellBody(Body):
    next: _Landing = None


@router.get("/api/auth/oidc")
async def told(request: Request) -> SignOn:
    """Whether there is single sign-on, for a log-in page."""
    return services_of(request).identity.sso.told()


@router.get("/api/auth/oidc/login", status_code=303, response_class=RedirectResponse)
async def login(
    request: Request,
    next: Annotated[str | None, Query(max_length=4_096)] = None,  # noqa: A002 - the parameter's name in URLs
    code_challenge: _Challenge = None,
    step_up: Annotated[str | None, Query(max_length=10_000)] = None,
) -> Response:
    """Send the browser to the provider. It ends at `next` (a path here, or a page of an allowed origin) with `#sso_code=…`, to be
    exchanged by `POST /api/auth/oidc/token`, or with `#sso_error=…&sso_message=…`.

    `code_challenge` is the base64url SHA-256 of a secret the front end keeps (RFC 7636). `step_up` comes from `POST …/step-up`.
    """
    services, address = services_of(request), address_of(request)
    sso = services.identity.sso
    services.identity.flood_check_address(address)
    flow = _wanted(sso, next, code_challenge, step_up)
    url, state = await sso.destination(flow)
    async with services.db.begin() as tx:
        left = await sso.begin(tx, flow, url, state, cookie=request.cookies.get(sso.cookie_name), address=address)
    answer = _to(left.url)
    answer.set_cookie(sso.cookie_name, left.cookie, max_age=sso.cookie_seconds, path="/", secure=sso.secure, httponly=True, samesite="lax")
    return answer


@router.get("/api/auth/oidc/callback", status_code=303, response_class=RedirectResponse)
async def callback(request: Request, state: _Answer = None, code: _Answer = None, error: _Answer = None, iss: _Answer = None) -> Response:
    """Where the provider sends the browser back to. Refused (403 `sso_state`) unless this browser left with that state, once."""
    services, address = services_of(request), address_of(request)
    sso = services.identity.sso
    services.identity.flood_check_address(address)
    try:
        async with services.db.begin() as tx:
            flow = await sso.take(tx, state or "", request.cookies.get(sso.cookie_name))
    except Problem:
        services.identity.flood_count_address(address)
        raise
    try:
        who = await sso.identify(flow, code=code, error=error, issuer=iss)
    except Problem as problem:
        async with services.db.begin() as tx:
            await sso.refused(tx, problem, address)
        return _to(sso.sent_back(flow, problem))
    async with services.identity.login_slot(), services.db.begin() as tx:
        admitted = await sso.admit(tx, flow, who, address)
    return _to(sso.sent_back(flow, admitted) if isinstance(admitted, Problem) else admitted)


@router.post("/api/auth/oidc/token")
async def token(request: Request, response: Response, body: CodeBody) -> Login:
    """The session of a log-in: the same answer as that of `POST /api/auth/login`. The code counts once, for a minute."""
    services, address = services_of(request), address_of(request)
    services.identity.flood_check_address(address)
    async with services.db.begin() as tx:
        opened = await services.identity.sso.exchange(tx, body.code, body.code_verifier, address)
    if isinstance(opened, Problem):
        services.identity.flood_count_address(address)
        raise opened
    response.headers["Cache-Control"] = "no-store"
    return opened


@router.post("/api/auth/oidc/step-up")
async def step_up(request: Request, response: Response, body: StepUpBody, principal: SessionPrincipalDep) -> StepUp:
    """Begin a fresh authentication: send the browser to `url`. It ends at `next` with `#sso_proof=…`, which is given as `sso` where a
    signature takes `password` or `otp`: once, in this session, within two minutes."""
    services = services_of(request)
    async with services.db.begin() as tx:
        begun = await services.identity.sso.step_up(tx, principal, body.purpose, body.next)
    response.headers["Cache-Control"] = "no-store"
    return begun


@router.post("/api/auth/oidc/logout")
async def logout(request: Request, body: FarewellBody, principal: AnySessionPrincipalDep) -> Farewell:
    """End the session here, and say where the browser ends the one at the provider."""
    services = services_of(request)
    services.identity.sso.landing(body.next)
    async with services.db.begin() as tx:
        await services.identity.logout(tx, principal)
    return await services.identity.sso.farewell(body.next)


@router.put("/api/admin/users/{person_id}/sso", status_code=204)
async def allow_link(request: Request, person_id: uuid.UUID, principal: Manager) -> None:
    """Allow, for seven days, that whoever the provider verified to have this person's address becomes this person."""
    services = services_of(request)
    async with services.db.begin() as tx:
        await services.identity.sso.allow_link(tx, person_id, by=Actor.of(principal))


@router.delete("/api/admin/users/{person_id}/sso", status_code=204)
async def unlink(request: Request, person_id: uuid.UUID, principal: Manager) -> None:
    """Undo the link to the provider's person; all sessions of this person end."""
    services = services_of(request)
    async with services.db.begin() as tx:
        await services.identity.sso.unlink(tx, person_id, by=Actor.of(principal))


def _wanted(sso: SignOnApi, landing: str | None, challenge: str | None, ticket: str | None) -> Flow:
    if ticket is not None:
        return sso.step_up_flow(ticket)
    if challenge is None:
        sso.landing(landing)  # says so first when there is no single sign-on
        raise InvalidInput("code_challenge: the base64url SHA-256 of a secret you keep for POST /api/auth/oidc/token")
    return sso.login_flow(landing, challenge)


def _to(url: str) -> RedirectResponse:
    return RedirectResponse(url, status_code=303, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
