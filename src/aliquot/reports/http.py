"""Routes of reports."""

from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime

from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, require
from aliquot.reports.api import ReportsApi
from aliquot.reports.contracts import Format

router = APIRouter(tags=["reports"])

Reader = Annotated[Principal, Depends(require("records.read"))]


class ReportsServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    reports: ReportsApi


def services_of(request: Request) -> ReportsServices:
    services: ReportsServices = request.app.state.services
    return services


@router.get(
    "/api/compliance/report", response_class=Response, responses={200: {"content": {"application/json": {}, "application/pdf": {}}}}
)
async def compliance_report(
    request: Request,
    principal: Reader,
    since: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to")] = None,
    form: Annotated[Format, Query(alias="format")] = "json",
) -> Response:
    """Rule by rule: how Aliquot supports it and this site's evidence in the period (without `from` and `to` the last 90 days). Signed by
    the log's key (`aliquot-verify document`); the PDF holds the JSON as an attachment. Making it is itself recorded."""
    reports = services_of(request).reports
    made = await reports.compliance(principal, *reports.period(since, until), form)
    headers = {
        "Content-Disposition": f'attachment; filename="{made.name}"', "Cache-Control": "no-store", "X-Document-SHA256": made.sha256,
    }  # fmt: skip
    return Response(made.data, media_type=made.media_type, headers=headers)
