"""Routes of what administrators see."""

from datetime import timedelta
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime

from aliquot.admin.api import AdminApi
from aliquot.admin.contracts import Usage
from aliquot.admin.lumen import stats_of
from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, require
from aliquot.kernel.clock import Clock, rfc3339
from aliquot.kernel.money import money_text

router = APIRouter(tags=["admin"])

Reader = Annotated[Principal, Depends(require("admin.stats"))]


class AdminServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    admin: AdminApi
    clock: Clock


async def _services(request: Request) -> AdminServices:
    services: AdminServices = request.app.state.services
    return services


ServicesDep = Annotated[AdminServices, Depends(_services)]


@router.get("/api/admin/usage")
async def usage(
    services: ServicesDep,
    _: Reader,
    since: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to")] = None,
) -> Usage:
    """Requests, load, caps, and for the period (the last 7 days, or `from` and `to`) models, tools, query patterns and runs."""
    since, until = services.admin.period(since, until)
    await services.admin.flush()
    async with services.db.begin() as tx:
        return await services.admin.usage(tx, since, until)


@router.get("/admin/stats")
async def stats(services: ServicesDep, _: Reader) -> dict[str, Any]:
    """Lumen's dashboard: today (UTC), in its own spelling."""
    now = services.clock.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    await services.admin.flush()
    async with services.db.begin() as tx:
        return stats_of(await services.admin.usage(tx, midnight, now + timedelta(milliseconds=1)), services.settings.limits)


@router.get("/api/admin/limits")
async def limits(services: ServicesDep, _: Reader) -> dict[str, Any]:
    """The limits in force, and how much of those that count for the whole site is used at this moment. Change one by its environment
    variable or in `[limits]` of aliquot.toml, and start again."""
    async with services.db.begin() as tx:
        caps = {cap.name: cap for cap in await services.admin.caps(tx) if cap.person_id is None}
    listed = []
    for name, value in services.settings.limits.model_dump(mode="json").items():
        entry: dict[str, Any] = {"name": name, "setting": f"ALIQUOT_LIMIT_{name.upper()}", "value": value}
        if (cap := caps.get(name)) is not None:
            resets_at = None if cap.resets_at is None else rfc3339(cap.resets_at)
            entry |= {"used": money_text(cap.used), "percent": str(cap.percent), "resets_at": resets_at}
        listed.append(entry)
    return {"limits": listed}
