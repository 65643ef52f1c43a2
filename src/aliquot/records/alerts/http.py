"""Routes of security alerts."""

import uuid
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, require
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput
from aliquot.platform.http import Body, Page
from aliquot.records.alerts.api import NOTE_CHARS, AlertsApi
from aliquot.records.alerts.contracts import AlertState, SecurityAlert

router = APIRouter(prefix="/api/admin/security-alerts", tags=["records"])

Reader = Annotated[Principal, Depends(require("records.manage"))]
Manager = Annotated[Principal, Depends(require("records.manage", session=True))]


class AlertServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    alerts: AlertsApi


class AcknowledgeBody(Body):
    note: Annotated[str | None, Field(min_length=1, max_length=NOTE_CHARS)] = None


def services_of(request: Request) -> AlertServices:
    services: AlertServices = request.app.state.services
    return services


@router.get("")
async def alerts(
    request: Request, principal: Reader, state: AlertState | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: str | None = None,
) -> Page[SecurityAlert]:  # fmt: skip
    """Failed signings and attacks on accounts that may sign, newest first."""
    cursor = None if after is None else parse_id(after)
    if after is not None and cursor is None:
        raise InvalidInput("after: not a cursor of this list.")
    services = services_of(request)
    async with services.db.begin() as tx:
        items, following = await services.alerts.page(tx, state=state, limit=limit, after=cursor)
    return Page(items=items, next=None if following is None else str(following))


@router.post("/{alert_id}/acknowledge")
async def acknowledge(request: Request, principal: Manager, alert_id: uuid.UUID, body: AcknowledgeBody) -> SecurityAlert:
    """Say that somebody looked at it, with a note. Never about oneself."""
    services = services_of(request)
    async with services.db.begin() as tx:
        return await services.alerts.acknowledge(tx, principal, alert_id, body.note)
