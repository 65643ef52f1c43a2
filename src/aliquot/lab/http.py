"""Reading routes of the laboratory. Starting and stopping are tool calls: their routes are with the chat, under policy."""

from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Path, Query, Request

from aliquot.identity.contracts import Principal
from aliquot.identity.http import require
from aliquot.lab import contracts
from aliquot.lab.api import LIMIT_MAX, LabApi
from aliquot.platform.db import Database
from aliquot.platform.http import Page

router = APIRouter(prefix="/api", tags=["laboratory"])


class LabServices(Protocol):
    """What these routes need of `app.state.services`."""

    lab: LabApi
    db: Database


async def _services(request: Request) -> LabServices:
    services: LabServices = request.app.state.services
    return services


Services = Annotated[LabServices, Depends(_services)]
Reader = Annotated[Principal, Depends(require("lab.read"))]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX)]
After = Annotated[str | None, Query(max_length=300, description="The `next` of the page before.")]
Name = Annotated[str, Path(max_length=80, description="Code, name or unambiguous kind of an instrument.")]
NameFilter = Annotated[str | None, Query(max_length=80, description="Code, name or unambiguous kind of an instrument.")]
State = Annotated[str | None, Query(max_length=20, description="A run state, or `active`.")]


@router.get("/instruments")
async def list_instruments(services: Services, _: Reader, limit: Limit = 50, after: After = None) -> Page[contracts.Instrument]:
    """Instruments by code, each with its active run."""
    async with services.db.begin() as tx:
        items, following = await services.lab.instruments(tx, limit=limit, after=after)
    return Page(items=items, next=following)


@router.get("/instruments/{instrument}")
async def get_instrument(services: Services, _: Reader, instrument: Name) -> contracts.Instrument:
    """One instrument with its active run."""
    async with services.db.begin() as tx:
        return await services.lab.instrument(tx, instrument)


@router.get("/instruments/{instrument}/status")
async def get_status(services: Services, _: Reader, instrument: Name) -> contracts.InstrumentStatus:
    """What changes: state, since when, error, and the active run."""
    async with services.db.begin() as tx:
        found = await services.lab.instrument(tx, instrument)
    return contracts.InstrumentStatus.of(found)


@router.get("/instruments/{instrument}/runs")
async def list_runs(
    services: Services, _: Reader, instrument: Name, state: State = None, limit: Limit = 50, after: After = None
) -> Page[contracts.InstrumentRun]:
    """Runs of one instrument, newest first."""
    async with services.db.begin() as tx:
        items, following = await services.lab.runs(tx, instrument=instrument, state=state, limit=limit, after=after)
    return Page(items=items, next=following)


@router.get("/runs-of-instruments")
async def list_all_runs(
    services: Services, _: Reader, instrument: NameFilter = None, state: State = None, limit: Limit = 50, after: After = None
) -> Page[contracts.InstrumentRun]:
    """Runs of all instruments, newest first."""
    async with services.db.begin() as tx:
        items, following = await services.lab.runs(tx, instrument=instrument, state=state, limit=limit, after=after)
    return Page(items=items, next=following)


@router.get("/runs-of-instruments/{run_id}")
async def get_run(services: Services, _: Reader, run_id: Annotated[str, Path(max_length=20)]) -> contracts.InstrumentRun:
    """One run by its number (`R-2026-0007`), with all its results."""
    async with services.db.begin() as tx:
        return await services.lab.run(tx, run_id)


@router.get("/protocols")
async def list_protocols(
    services: Services,
    _: Reader,
    instrument: NameFilter = None,
    query: Annotated[str | None, Query(max_length=200)] = None,
    limit: Limit = 50,
    after: After = None,
) -> Page[contracts.Protocol]:
    """Newest versions of the protocols, by code, with their steps."""
    async with services.db.begin() as tx:
        items, following = await services.lab.protocols(tx, instrument=instrument, query=query, limit=limit, after=after)
    return Page(items=items, next=following)
