"""Routes of policy: approvals, explanations, the log of decisions."""

import json
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import BaseModel, Field

from aliquot.identity.contracts import ROLES, Principal, Via
from aliquot.identity.http import IdentityServices, PrincipalDep, require
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput, NotFound
from aliquot.platform.db import Transaction
from aliquot.platform.http import Body, Page
from aliquot.policy.administration.http import router as administration_router
from aliquot.policy.api import PolicyApi, kept_refusals
from aliquot.policy.contracts import (
    Approval,
    ApprovalState,
    Band,
    Choice,
    DecisionRecord,
    DescribeCall,
    EditCall,
    ListRole,
    Meaning,
    Reason,
    Signature,
    Verdict,
)

router = APIRouter(tags=["policy"])
router.routes.extend(administration_router.routes)  # including it would match its routes twice, for every request

_Limit = Annotated[int, Query(ge=1, le=200)]
_IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]
_PolicyReader = Annotated[Principal, Depends(require("policy.read"))]
_Secret = Annotated[str | None, Field(min_length=1, max_length=1024, repr=False)]


class PolicyServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    policy: PolicyApi
    describe_call: DescribeCall
    edit_call: EditCall


class SignatureBody(Body):
    meaning: Meaning
    password: _Secret = None
    otp: _Secret = None
    sso: _Secret = None


class DecisionBody(Body):
    decision: Choice
    reason: Annotated[str, Field(max_length=2_000)] | None = None
    signature: SignatureBody | None = None


class EditBody(Body):
    arguments: dict[str, Any]


class HypotheticalPerson(Body):
    """Somebody who need not exist."""

    roles: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=20)]
    may_sign: bool = False
    training_valid: bool | None = None
    via: Via = "session"


class ExplainBody(Body):
    """Of whom: `user` (id or e-mail address) or `person`. `facts` are taken instead of the tool's own, `bundle` instead of the one in
    force."""

    user: Annotated[str, Field(min_length=1, max_length=320)] | None = None
    person: HypotheticalPerson | None = None
    tool: Annotated[str, Field(min_length=1, max_length=200)]
    arguments: dict[str, Any] = Field(default_factory=dict)
    facts: Annotated[dict[Annotated[str, Field(max_length=64)], bool | int | str], Field(max_length=50)] = Field(default_factory=dict)
    bundle: uuid.UUID | None = None


class Decided(BaseModel):
    """A decided approval, and the run that goes on with it."""

    approval: Approval
    run_id: uuid.UUID | None


class Explanation(BaseModel):
    """What the policy would answer. `reasons` is never empty."""

    decision: Verdict
    reasons: tuple[Reason, ...]
    risk: int
    band: Band
    obligations: tuple[str, ...]
    policy_version: str


class Counts(BaseModel):
    """How many requests are open: `mine` are those I asked for, `inbox` those that wait for my decision."""

    mine: int
    inbox: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPage(Page[Approval]):
    counts: Counts


def services_of(request: Request) -> PolicyServices:
    services: PolicyServices = request.app.state.services
    return services


@router.get("/api/approvals")
async def approvals(
    request: Request, principal: PrincipalDep, state: ApprovalState | None = None, role: ListRole | None = None, limit: _Limit = 50,
    after: str | None = None,
) -> ApprovalPage:  # fmt: skip
    """What I requested (`role=mine`), what waits for my decision (`role=inbox`), or all I may look at; newest first."""
    services = services_of(request)
    async with services.db.begin() as tx:
        items, following = await services.policy.list(tx, principal, state=state, role=role, limit=limit, after=_cursor(after))
        mine, inbox = await services.policy.counts(tx, principal)
    return ApprovalPage(items=items, next=None if following is None else str(following), counts=Counts(mine=mine, inbox=inbox))


@router.get("/api/approvals/{approval_id}")
async def approval(request: Request, principal: PrincipalDep, approval_id: str) -> Approval:
    """One approval, with the preview of what would happen."""
    services = services_of(request)
    async with kept_refusals(services.db) as tx:
        return await services.policy.get(tx, principal, _id(approval_id))


@router.post("/api/approvals/{approval_id}/decision", status_code=202)
async def decide(
    request: Request, principal: PrincipalDep, approval_id: str, body: DecisionBody, key: _IdempotencyKey = None
) -> Decided:  # fmt: skip
    """Approve or reject, once and for good. Needs a login session; what was asked goes on in the run of the answer."""
    services, given, asked = services_of(request), body.signature, _id(approval_id)
    signature = None if given is None else Signature(**dict(given))
    # A hash of the whole body would let whoever holds the database guess the password in it.
    said = json.dumps([body.decision, body.reason, None if given is None else given.meaning]).encode()
    async with kept_refusals(services.db) as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=key, owner=principal.id, route=f"POST /api/approvals/{asked}/decision", body=said
        )  # fmt: skip
        if claim.resource_id is not None:
            decided = await services.policy.get(tx, principal, asked)
        else:
            decided = await services.policy.decide_approval(
                tx, principal, asked, body.decision, reason=body.reason, signature=signature
            )  # fmt: skip
            await claim.fulfil(decided.id)
    return Decided(approval=decided, run_id=decided.next_run_id)


@router.post("/api/approvals/{approval_id}/withdraw")
async def withdraw(request: Request, principal: PrincipalDep, approval_id: str, key: _IdempotencyKey = None) -> Approval:
    """Take back a request of mine that nobody decided yet."""
    services, asked = services_of(request), _id(approval_id)
    async with kept_refusals(services.db) as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=key, owner=principal.id, route=f"POST /api/approvals/{asked}/withdraw", body=b""
        )  # fmt: skip
        if claim.resource_id is not None:
            return await services.policy.get(tx, principal, asked)
        withdrawn = await services.policy.withdraw(tx, principal, asked)
        await claim.fulfil(asked)
        return withdrawn


@router.post("/api/approvals/{approval_id}/edit")
async def edit(request: Request, principal: PrincipalDep, approval_id: str, body: EditBody, key: _IdempotencyKey = None) -> Approval:
    """Ask for the same with other arguments: a new request with a new preview. The old one is withdrawn; its run waits for the new."""
    services, asked = services_of(request), _id(approval_id)
    async with kept_refusals(services.db) as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=key, owner=principal.id, route=f"POST /api/approvals/{asked}/edit", body=json.dumps(body.arguments).encode()
        )  # fmt: skip
        if claim.resource_id is not None:
            return await services.policy.get(tx, principal, uuid.UUID(claim.resource_id))
        made = await services.edit_call(tx, principal, asked, body.arguments)
        await claim.fulfil(made.id)
        return made


@router.post("/api/policy/explain")
async def explain(request: Request, _: _PolicyReader, body: ExplainBody) -> Explanation:
    """What the policy would answer if this person called this tool now. Nothing is executed, nothing is logged as a decision."""
    services = services_of(request)
    async with services.db.begin() as tx:
        subject = await _subject(services, tx, body)
        tool, facts = await services.describe_call(tx, subject, body.tool, body.arguments)
        if body.person is not None and body.person.training_valid is not None:
            facts = facts | {"training_valid": body.person.training_valid}
        found = await services.policy.explain(tx, subject, tool, body.arguments, facts | body.facts, body.bundle)
    return Explanation(
        decision=found.decision, reasons=found.reasons, risk=found.risk, band=found.band, obligations=found.obligations,
        policy_version=found.policy_version,
    )  # fmt: skip


async def _subject(services: PolicyServices, tx: Transaction, body: ExplainBody) -> Principal:
    if (body.user is None) == (body.person is None):
        raise InvalidInput("Name either a user or a person with roles.")
    if body.person is not None:
        person = body.person
        if unknown := sorted(set(person.roles) - set(ROLES)):
            raise InvalidInput(f"person.roles: there is no role {unknown[0]!r}")
        return services.identity.hypothetical(person.roles, may_sign=person.may_sign, via=person.via)
    known = await services.identity.person(tx, parse_id(body.user or "") or body.user or "")
    if not known.active:
        raise InvalidInput("This person is disabled and may do nothing.")
    return await services.identity.principal(tx, known.id, via="session")


@router.get("/api/policy/decisions")
async def decisions(
    request: Request, _: _PolicyReader, user_id: uuid.UUID | None = None, decision: Verdict | None = None, limit: _Limit = 50,
    after: str | None = None,
) -> Page[DecisionRecord]:  # fmt: skip
    """Every decision about a tool call, newest first; what went in is kept sealed and not shown."""
    services = services_of(request)
    async with services.db.begin() as tx:
        items, following = await services.policy.decisions(tx, user_id=user_id, decision=decision, limit=limit, after=_cursor(after))
    return Page(items=items, next=None if following is None else str(following))


def _id(text: str) -> uuid.UUID:
    found = parse_id(text)
    if found is None:
        raise NotFound
    return found


def _cursor(text: str | None) -> uuid.UUID | None:
    found = None if text is None else parse_id(text)
    if text is not None and found is None:
        raise InvalidInput("after: not a cursor of this list")
    return found
