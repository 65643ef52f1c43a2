"""Routes of policy bundles."""

import json
import uuid
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import BaseModel, Field

from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, require
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput, NotFound
from aliquot.platform.http import PLAIN, Body, Page
from aliquot.policy.administration.contracts import BundleInfo, BundleState, BundleTexts, ReplayReport
from aliquot.policy.api import PolicyApi, kept_refusals
from aliquot.policy.bundles import BundleSource
from aliquot.policy.contracts import Meaning, Signature

router = APIRouter(tags=["policy"])

_Limit = Annotated[int, Query(ge=1, le=200)]
_IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]
_Reader = Annotated[Principal, Depends(require("policy.read"))]
_Manager = Annotated[Principal, Depends(require("policy.manage"))]
_Secret = Annotated[str | None, Field(min_length=1, max_length=1024, repr=False)]
_Reason = Annotated[str, Field(min_length=1, max_length=1_000), PLAIN]
_Text = Annotated[str, Field(max_length=1_000_000)]
_ACTIVE = "active"


class PolicyServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    policy: PolicyApi


class BundleBody(Body):
    """A whole bundle. What is left out of `schema`, `obligations` and `risk` is that of the bundle in force."""

    name: Annotated[str, Field(min_length=1, max_length=200), PLAIN]
    cedar_schema: Annotated[_Text | None, Field(alias="schema")] = None
    authz: _Text | None = None
    obligations: _Text | None = None
    risk: _Text | None = None
    rules: dict[str, Any] | None = None
    golden: Annotated[list[dict[str, Any]], Field(max_length=2_000)] | None = None


class SignatureBody(Body):
    meaning: Meaning = "approval"
    password: _Secret = None
    otp: _Secret = None
    sso: _Secret = None


class ReplayBody(Body):
    decisions: Annotated[int, Field(ge=1)] = 1_000


class ActivateBody(Body):
    signature: SignatureBody
    reason: _Reason | None = None


class RollbackBody(Body):
    signature: SignatureBody
    reason: _Reason


class WithdrawBody(Body):
    reason: _Reason


class BundleShown(BaseModel):
    bundle: BundleInfo
    texts: BundleTexts


def services_of(request: Request) -> PolicyServices:
    services: PolicyServices = request.app.state.services
    return services


@router.get("/api/policy/bundles")
async def bundles(
    request: Request, _: _Reader, state: BundleState | None = None, limit: _Limit = 50, after: uuid.UUID | None = None
) -> Page[BundleInfo]:
    """All bundles that were ever brought here, newest first; the one the site started with stands at the end."""
    services = services_of(request)
    async with services.db.begin() as tx:
        items, following = await services.policy.bundles.page(tx, state=state, limit=limit, after=after)
    return Page(items=items, next=None if following is None else str(following))


@router.post("/api/policy/bundles", status_code=201)
async def add(request: Request, principal: _Manager, body: BundleBody, key: _IdempotencyKey = None) -> BundleInfo:
    """Bring a bundle. It is compiled, validated and tested; a faulty one is refused with every problem named."""
    services = services_of(request)
    async with kept_refusals(services.db) as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=key, owner=principal.id, route="POST /api/policy/bundles", body=body.model_dump_json().encode()
        )  # fmt: skip
        if claim.resource_id is not None:
            return (await services.policy.bundles.get(tx, uuid.UUID(claim.resource_id)))[0]
        _, texts = await services.policy.bundles.get(tx, None)
        made = await services.policy.bundles.add(tx, principal, body.name, _source(body, texts))
        await claim.fulfil(str(made.id))
        return made


@router.get("/api/policy/bundles/{bundle_id}")
async def bundle(request: Request, _: _Reader, bundle_id: str) -> BundleShown:
    """One bundle with its texts, or the one in force (`active`)."""
    services = services_of(request)
    async with services.db.begin() as tx:
        info, texts = await services.policy.bundles.get(tx, None if bundle_id == _ACTIVE else _id(bundle_id))
    return BundleShown(bundle=info, texts=texts)


@router.post("/api/policy/bundles/{bundle_id}/replay")
async def replay(request: Request, principal: _Manager, bundle_id: str, body: ReplayBody | None = None) -> ReplayReport:
    """Ask the bundle about the newest decisions that were really made; which of them it would make otherwise. Repeating it is harmless."""
    services, decisions = services_of(request), (body or ReplayBody()).decisions
    async with kept_refusals(services.db) as tx:
        return await services.policy.bundles.replay(tx, principal, _id(bundle_id), decisions=decisions)


@router.post("/api/policy/bundles/{bundle_id}/activate")
async def activate(
    request: Request, principal: _Manager, bundle_id: str, body: ActivateBody, key: _IdempotencyKey = None
) -> BundleInfo:  # fmt: skip
    """Sign for the activation. The second administrator's signature activates; a single administrator's does after 24 hours."""
    services, asked = services_of(request), _id(bundle_id)
    async with kept_refusals(services.db) as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=key, owner=principal.id, route=f"POST /api/policy/bundles/{asked}/activate", body=_said(body)
        )  # fmt: skip
        if claim.resource_id is not None:
            return (await services.policy.bundles.get(tx, asked))[0]
        found = await services.policy.bundles.activate(tx, principal, asked, _signature(body.signature), body.reason)
        await claim.fulfil(asked)
        return found


@router.post("/api/policy/bundles/{bundle_id}/withdraw")
async def withdraw(
    request: Request, principal: _Manager, bundle_id: str, body: WithdrawBody, key: _IdempotencyKey = None
) -> BundleInfo:  # fmt: skip
    """A bundle that must not become active, or must not be gone back to."""
    services, asked = services_of(request), _id(bundle_id)
    async with kept_refusals(services.db) as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=key, owner=principal.id, route=f"POST /api/policy/bundles/{asked}/withdraw", body=body.reason.encode()
        )  # fmt: skip
        if claim.resource_id is not None:
            return (await services.policy.bundles.get(tx, asked))[0]
        found = await services.policy.bundles.withdraw(tx, principal, asked, body.reason)
        await claim.fulfil(asked)
        return found


@router.post("/api/policy/bundles/rollback")
async def rollback(request: Request, principal: _Manager, body: RollbackBody, key: _IdempotencyKey = None) -> BundleInfo:
    """Back to the bundle before the one in force, which is withdrawn. Takes effect at once, in every process."""
    services = services_of(request)
    async with kept_refusals(services.db) as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=key, owner=principal.id, route="POST /api/policy/bundles/rollback", body=_said(body)
        )  # fmt: skip
        if claim.resource_id is not None:
            return (await services.policy.bundles.get(tx, None))[0]
        found = await services.policy.bundles.rollback(tx, principal, _signature(body.signature), body.reason)
        await claim.fulfil(found.version)
        return found


def _source(body: BundleBody, texts: BundleTexts) -> BundleSource:
    return BundleSource(
        schema=texts.schema if body.cedar_schema is None else body.cedar_schema,
        authz=texts.authz if body.authz is None else body.authz,
        obligations=texts.obligations if body.obligations is None else body.obligations,
        risk=texts.risk if body.risk is None else body.risk,
        rules=texts.rules if body.rules is None else body.rules,
        golden=texts.golden if body.golden is None else tuple(body.golden),
    )


def _said(body: ActivateBody | RollbackBody) -> bytes:
    """Without the secrets: a hash of the whole body would let whoever holds the database guess the password in it."""
    return json.dumps([body.signature.meaning, body.reason]).encode()


def _signature(body: SignatureBody) -> Signature:
    if not (body.password or body.otp or body.sso):
        raise InvalidInput("signature: sign with your password, one-time password or a fresh single sign-on.")
    return Signature(**dict(body))


def _id(text: str) -> uuid.UUID:
    found = parse_id(text)
    if found is None:
        raise NotFound
    return found
