"""Routes of sharing."""

import uuid
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import Field

from aliquot.chat.api import ChatApi
from aliquot.chat.attachments.http import file_response
from aliquot.chat.contracts import Conversation
from aliquot.chat.sharing.contracts import MadeShare, NewShare, Share, SharedConversation, SharedWithMe
from aliquot.chat.sharing.errors import UnknownShare
from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, address_of, any_principal, require
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import Forbidden, Problem
from aliquot.platform.http import Body, Page

router = APIRouter(tags=["chat"])

Person = Annotated[Principal, Depends(require("chat.use"))]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]
_User = Annotated[str, Field(min_length=1, max_length=320)]
_bearer = HTTPBearer(auto_error=False, description="A token of POST /api/auth/login, or an API key")


class ShareBody(Body):
    """Who may see it: `users` (ids or e-mail addresses) or `public`."""

    users: list[_User] = Field(default_factory=list, max_length=1_000)
    public: bool = False
    live: bool = False
    may_write: bool = False
    expires_in_hours: float | None = Field(None, gt=0, allow_inf_nan=False)


class ShareServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    chat: ChatApi


async def _services(request: Request) -> ShareServices:
    services: ShareServices = request.app.state.services
    return services


ServicesDep = Annotated[ShareServices, Depends(_services)]


async def _perhaps(request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Principal | None:
    """Who asks, if they say so. Credentials that are given must be good."""
    if "authorization" not in request.headers:
        return None
    person = await any_principal(request, bearer)
    if person.must_change or not person.may("chat.use"):
        raise Forbidden
    return person


@router.post("/api/conversations/{reference}/share", status_code=201)
async def share_conversation(
    reference: str, services: ServicesDep, person: Person, body: ShareBody, response: Response, key: IdempotencyKey = None
) -> MadeShare:
    """Share a conversation. The token is shown this once; the people named can also open it by the share's id."""
    wanted = NewShare(
        users=tuple(body.users), public=body.public, live=body.live, may_write=body.may_write, expires_in_hours=body.expires_in_hours
    )
    route = f"POST /api/conversations/{reference}/share"
    async with services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(tx, key=key, owner=person.id, route=route, body=body.model_dump_json().encode())
        if claim.resource_id is not None:
            again = next((s for s in await services.chat.sharing.of(tx, person, reference) if str(s.id) == claim.resource_id), None)
            if again is None:
                raise UnknownShare("This share was made and revoked.")
            response.status_code = 200
            return MadeShare(share=again, token="", path=f"/api/shared/{again.id}")  # a token is never shown twice
        made = await services.chat.sharing.make(tx, person, reference, wanted)
        await claim.fulfil(made.share.id)
    return made


@router.get("/api/conversations/{reference}/share")
async def list_shares(reference: str, services: ServicesDep, person: Person) -> Page[Share]:
    """The shares of my conversation that were not revoked, newest first. Tokens are not shown again."""
    async with services.db.begin() as tx:
        return Page(items=await services.chat.sharing.of(tx, person, reference))


@router.delete("/api/conversations/{reference}/share", status_code=204)
async def revoke_shares(
    reference: str, services: ServicesDep, person: Person, share_id: uuid.UUID | None = None,
    user: Annotated[str | None, Query(min_length=1, max_length=320)] = None,
) -> None:  # fmt: skip
    """Revoke all shares; with `share_id` only that one, with `user` only that person's part. It takes effect at once."""
    async with services.db.begin() as tx:
        await services.chat.sharing.revoke(tx, person, reference, share_id, user)


@router.get("/api/shared")
async def shared_with_me(services: ServicesDep, person: Person, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> Page[SharedWithMe]:
    """Conversations that others share with me by name, newest first."""
    async with services.db.begin() as tx:
        return Page(items=await services.chat.sharing.with_me(tx, person, limit))


@router.get("/api/shared/{token}")
async def open_share(
    request: Request, token: str, services: ServicesDep, reader: Annotated[Principal | None, Depends(_perhaps)],
    limit: Annotated[int, Query(ge=1, le=200)] = 200, after: uuid.UUID | None = None,
) -> SharedConversation:  # fmt: skip
    """What the link shows, oldest first. A public link needs no login, a link for named people the login of one of them."""
    address = address_of(request)
    if reader is None:
        services.identity.flood_check_address(address)
    async with services.db.begin() as tx:
        opened = await services.chat.opening.open(tx, reader, token, address, limit, after)
    if isinstance(opened, Problem):
        if reader is None:
            services.identity.flood_count_address(address)
        raise opened
    return opened


@router.get("/api/shared/{token}/attachments/{attachment_id}")
async def download_shared(
    request: Request, token: str, attachment_id: str, services: ServicesDep, reader: Annotated[Principal | None, Depends(_perhaps)]
) -> Response:
    """A file of a message the link shows, always as a download."""
    address = address_of(request)
    if reader is None:
        services.identity.flood_check_address(address)
    async with services.db.begin() as tx:
        found = await services.chat.opening.file(tx, reader, token, address, parse_id(attachment_id))
    if isinstance(found, Problem):
        if reader is None:
            services.identity.flood_count_address(address)
        raise found
    return await file_response(services.chat, found)


@router.post("/api/shared/{token}/copy", status_code=201)
async def copy_share(request: Request, token: str, services: ServicesDep, person: Person, key: IdempotencyKey = None) -> Conversation:
    """Continue as a copy: a conversation of mine with what the link shows."""
    async with services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=key, owner=person.id, route="POST /api/shared/{token}/copy", body=token.encode()
        )
        if claim.resource_id is not None and parse_id(claim.resource_id) is not None:
            return await services.chat.conversations.get(tx, person, claim.resource_id)
        made = await services.chat.opening.copy(tx, person, token, address_of(request))
        if not isinstance(made, Problem):
            await claim.fulfil(made.id)
    if isinstance(made, Problem):
        raise made
    return made
