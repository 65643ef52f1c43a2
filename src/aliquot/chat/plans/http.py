"""Routes of plans."""

import json
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, Field

from aliquot.chat.http import Person, ServicesDep
from aliquot.chat.plans.contracts import Plan, PlanState
from aliquot.chat.plans.errors import UnknownPlan
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput
from aliquot.platform.http import Body, Page
from aliquot.policy.api import kept_refusals
from aliquot.policy.contracts import Signature
from aliquot.policy.http import SignatureBody

router = APIRouter(tags=["plans"])

_Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]
_Limit = Annotated[int, Query(ge=1, le=200)]


class DecisionBody(Body):
    """`approve` and `reject` decide the request the plan waits for, named by its id so that nobody decides what they did not see;
    `step_by_step` takes back the request for the whole."""

    decision: Literal["approve", "reject", "step_by_step"]
    approval_id: uuid.UUID | None = None
    reason: Annotated[str, Field(max_length=2_000)] | None = None
    signature: SignatureBody | None = None


class ResumeBody(Body):
    """`took_effect`: of a step whose outcome is unknown, what a person found."""

    took_effect: bool | None = None


class PlanChanged(BaseModel):
    """The plan as it is then, and the run that goes on with it."""

    plan: Plan
    run_id: uuid.UUID | None


@router.get("/api/plans")
async def plans(
    services: ServicesDep, person: Person, state: PlanState | None = None, limit: _Limit = 50, after: str | None = None
) -> Page[Plan]:  # fmt: skip
    """My plans, and those that wait for my decision; newest first."""
    cursor = None if after is None else parse_id(after)
    if after is not None and cursor is None:
        raise InvalidInput("after: not a cursor of this list")
    async with services.db.begin() as tx:
        items, following = await services.chat.plans.page(tx, person, state=state, limit=limit, after=cursor)
    return Page(items=items, next=None if following is None else str(following))


@router.get("/api/plans/{plan_id}")
async def plan(services: ServicesDep, person: Person, plan_id: str) -> Plan:
    """A plan with its steps and the request it waits for."""
    async with kept_refusals(services.db) as tx:
        return await services.chat.plans.view(tx, person, _id(plan_id))


@router.post("/api/plans/{plan_id}/decision", status_code=202)
async def decide(services: ServicesDep, person: Person, plan_id: str, body: DecisionBody, key: _Key = None) -> PlanChanged:
    """Decide the whole, or the step that waits, or go step by step. Needs a login session."""
    given = body.signature
    said = [body.decision, str(body.approval_id), body.reason, None if given is None else given.meaning]
    return await _changed(services, person, plan_id, "decision", said, key, body)


@router.post("/api/plans/{plan_id}/stop", status_code=202)
async def stop(services: ServicesDep, person: Person, plan_id: str, key: _Key = None) -> PlanChanged:
    """No further step begins; the one under way comes to its end."""
    return await _changed(services, person, plan_id, "stop", [], key, None)


@router.post("/api/plans/{plan_id}/resume", status_code=202)
async def resume(services: ServicesDep, person: Person, plan_id: str, body: ResumeBody | None = None, key: _Key = None) -> PlanChanged:
    """Go on from the step that was not done, by a new decision."""
    body = body or ResumeBody()
    return await _changed(services, person, plan_id, "resume", [body.took_effect], key, body)


async def _changed(
    services: Any, person: Any, plan_id: str, what: str, said: list[Any], key: str | None, body: DecisionBody | ResumeBody | None
) -> PlanChanged:  # fmt: skip
    asked, run_id = _id(plan_id), None
    async with kept_refusals(services.db) as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=key, owner=person.id, route=f"POST /api/plans/{asked}/{what}", body=json.dumps(said).encode()
        )  # fmt: skip
        if claim.resource_id is None:
            run_id = await _do(services, tx, person, asked, body)
            await claim.fulfil(asked)
        shown = await services.chat.plans.view(tx, person, asked)
    return PlanChanged(plan=shown, run_id=run_id or shown.run_id)


async def _do(services: Any, tx: Any, person: Any, asked: uuid.UUID, body: DecisionBody | ResumeBody | None) -> uuid.UUID | None:
    desk = services.chat.plans
    if body is None:
        await desk.stop(tx, person, asked)
        return None
    if isinstance(body, ResumeBody):
        resumed: uuid.UUID = await desk.resume(tx, person, asked, body.took_effect)
        return resumed
    if body.decision == "step_by_step":
        begun: uuid.UUID = await desk.step_by_step(tx, person, asked)
        return begun
    if body.approval_id is None:
        raise InvalidInput("approval_id: name the request that is decided (`approval.id` of the plan)")
    signature = None if body.signature is None else Signature(**dict(body.signature))
    approval = await desk.decide(tx, person, asked, body.approval_id, body.decision, reason=body.reason, signature=signature)
    following: uuid.UUID | None = approval.next_run_id
    return following


def _id(text: str) -> uuid.UUID:
    found = parse_id(text)
    if found is None:
        raise UnknownPlan
    return found
