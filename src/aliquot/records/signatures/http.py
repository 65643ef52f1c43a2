"""Routes of electronic signatures. Signing takes a login session and a secret; reading takes the right to read the record."""

import uuid
from typing import Annotated, Protocol, TypeVar

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field

from aliquot.identity.http import IdentityServices, PrincipalDep
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput, NotFound, Problem
from aliquot.platform.http import PLAIN, Body, Page
from aliquot.records.signatures.api import SignaturesApi
from aliquot.records.signatures.contracts import Accountability, Secrets, Signable, Signature, Wish

Made = TypeVar("Made")

router = APIRouter(prefix="/api/records", tags=["signatures"])

_Key = Annotated[str | None, Header(max_length=255)]
_Secret = Annotated[str | None, Field(min_length=1, max_length=1024, repr=False)]
_Part = Annotated[str | None, Query(min_length=1, max_length=255, description="of a conversation: the message its branch ends with")]
_SIGN, _REVOKE = "POST /api/records/{kind}/{id}/signatures", "POST /api/records/{kind}/{id}/signatures/{id}/revoke"


class SignaturesServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    signatures: SignaturesApi


class SecretsBody(Body):
    password: _Secret = None
    otp: _Secret = None
    sso: _Secret = None

    def secrets(self) -> Secrets:
        return Secrets(password=self.password, otp=self.otp, sso=self.sso)


class SignBody(SecretsBody):
    meaning: Annotated[str, Field(min_length=1, max_length=40)]
    reason: Annotated[str, Field(max_length=10_000), PLAIN] | None = None
    part: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    version: Annotated[int, Field(ge=1)] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class RevokeBody(SecretsBody):
    reason: Annotated[str, Field(min_length=1, max_length=10_000), PLAIN]


class AcceptBody(SecretsBody):
    version: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def services_of(request: Request) -> SignaturesServices:
    services: SignaturesServices = request.app.state.services
    return services


@router.get("/accountability")
async def accountability(request: Request, principal: PrincipalDep) -> Accountability:
    """The text to accept once before the first signature."""
    services = services_of(request)
    async with services.db.begin() as tx:
        return await services.signatures.accountability(tx, principal)


@router.post("/accountability")
async def accept(request: Request, principal: PrincipalDep, body: AcceptBody) -> Accountability:
    """Accept that text: `version` is the one that was read. Accepting it again changes nothing."""
    services = services_of(request)
    async with services.identity.login_slot(), services.db.begin() as tx:
        accepted = await services.signatures.accept(tx, principal, version=body.version, secrets=body.secrets())
    return _raised(accepted)


@router.get("/{kind}/{record_id}")
async def signable(request: Request, principal: PrincipalDep, kind: str, record_id: str, part: _Part = None) -> Signable:
    """What would be signed now: version, hash, and who still has to sign for what. Sign with this `version` and `sha256`."""
    services = services_of(request)
    async with services.db.begin() as tx:
        return await services.signatures.signable(tx, principal, kind, record_id, part)


@router.get("/{kind}/{record_id}/signatures")
async def signatures(
    request: Request, principal: PrincipalDep, kind: str, record_id: str, limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: str | None = None,
) -> Page[Signature]:  # fmt: skip
    """The signatures of a record, newest first; revoked ones stay."""
    cursor = None if after is None else parse_id(after)
    if after is not None and cursor is None:
        raise InvalidInput("after: not a cursor of this list.")
    services = services_of(request)
    async with services.db.begin() as tx:
        items, following = await services.signatures.page(tx, principal, kind, record_id, limit=limit, after=cursor)
    return Page(items=items, next=None if following is None else str(following))


@router.post("/{kind}/{record_id}/signatures", status_code=201)
async def sign(
    request: Request, principal: PrincipalDep, kind: str, record_id: str, body: SignBody, idempotency_key: _Key = None
) -> Signature:
    """Sign the record's current version (or the branch that ends with the message `part`), by password or one-time password.

    With `version` or `sha256` only what was seen is signed: 409 `version_changed` otherwise.
    """
    services = services_of(request)
    wish = Wish(
        kind=kind, reference=record_id, meaning=body.meaning, secrets=body.secrets(), reason=body.reason, part=body.part,
        version=body.version, sha256=body.sha256,
    )  # fmt: skip
    asked = {"kind": kind, "record": record_id, **body.model_dump(exclude={"password", "otp", "sso"})}
    async with services.identity.login_slot(), services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=idempotency_key, owner=principal.id, route=_SIGN, body=canonical_json(asked)
        )  # fmt: skip
        if claim.resource_id is not None:
            return await services.signatures.signature(tx, principal, kind, record_id, uuid.UUID(claim.resource_id))
        made = await services.signatures.sign(tx, principal, wish)
        if isinstance(made, Signature):
            await claim.fulfil(made.id)
    return _raised(made)


@router.get("/{kind}/{record_id}/signatures/{signature_id}")
async def signature(request: Request, principal: PrincipalDep, kind: str, record_id: str, signature_id: str) -> Signature:
    """One signature, compared with the record anew."""
    services = services_of(request)
    async with services.db.begin() as tx:
        return await services.signatures.signature(tx, principal, kind, record_id, _id(signature_id))


@router.get("/{kind}/{record_id}/signatures/{signature_id}/content", response_class=Response)
async def content(request: Request, principal: PrincipalDep, kind: str, record_id: str, signature_id: str) -> Response:
    """The canonical bytes that were signed: their SHA-256 is the signature's."""
    services = services_of(request)
    async with services.db.begin() as tx:
        signed = await services.signatures.content(tx, principal, kind, record_id, _id(signature_id))
    return Response(signed, media_type="application/json", headers={"Cache-Control": "no-store"})


@router.post("/{kind}/{record_id}/signatures/{signature_id}/revoke")
async def revoke(
    request: Request, principal: PrincipalDep, kind: str, record_id: str, signature_id: str, body: RevokeBody,
    idempotency_key: _Key = None,
) -> Signature:  # fmt: skip
    """Take one's own signature back, with a reason. It stays in the record, marked as revoked."""
    services, wanted = services_of(request), _id(signature_id)
    asked = {"kind": kind, "record": record_id, "signature": str(wanted), "reason": body.reason}
    async with services.identity.login_slot(), services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=idempotency_key, owner=principal.id, route=_REVOKE, body=canonical_json(asked)
        )  # fmt: skip
        if claim.resource_id is not None:
            return await services.signatures.signature(tx, principal, kind, record_id, wanted)
        changed = await services.signatures.revoke(
            tx, principal, kind, record_id, wanted, reason=body.reason, secrets=body.secrets()
        )  # fmt: skip
        if isinstance(changed, Signature):
            await claim.fulfil(changed.id)
    return _raised(changed)


def _id(text: str) -> uuid.UUID:
    found = parse_id(text)
    if found is None:
        raise NotFound
    return found


def _raised(made: Made | Problem) -> Made:
    if isinstance(made, Problem):
        raise made
    return made
