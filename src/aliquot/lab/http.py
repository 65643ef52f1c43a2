"""Routes of the laboratory: reading, and what administrators do with instruments and protocols.

Starting and stopping are tool calls: their routes are with the chat, under policy.
"""

from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Header, Path, Query, Request

from aliquot.identity.contracts import Actor, Principal
from aliquot.identity.http import IdentityServices, require
from aliquot.kernel.canonical import canonical_json
from aliquot.lab import contracts
from aliquot.lab.api import LIMIT_MAX, LabApi
from aliquot.lab.bodies import InstrumentBody, InstrumentChangeBody, ProtocolBody
from aliquot.platform.http import Page

router = APIRouter(prefix="/api", tags=["laboratory"])


class LabServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    lab: LabApi


async def _services(request: Request) -> LabServices:
    services: LabServices = request.app.state.services
    return services


Services = Annotated[LabServices, Depends(_services)]
Reader = Annotated[Principal, Depends(require("lab.read"))]
Manager = Annotated[Principal, Depends(require("lab.manage"))]
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)]
Code = Annotated[str, Path(max_length=32, description="The printed code.")]
Retired = Annotated[bool, Query(description="With those that were retired.")]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX)]
After = Annotated[str | None, Query(max_length=300, description="The `next` of the page before.")]
Name = Annotated[str, Path(max_length=80, description="Code, name or unambiguous kind of an instrument.")]
NameFilter = Annotated[str | None, Query(max_length=80, description="Code, name or unambiguous kind of an instrument.")]
State = Annotated[str | None, Query(max_length=20, description="A run state, or `active`.")]


@router.get("/instruments")
async def list_instruments(
    services: Services, _: Reader, limit: Limit = 50, after: After = None, retired: Retired = False
) -> Page[contracts.Instrument]:
    """Instruments by code, each with its active run."""
    async with services.db.begin() as tx:
        items, following = await services.lab.instruments(tx, limit=limit, after=after, retired=retired)
    return Page(items=items, next=following)


@router.post("/instruments", status_code=201)
async def add_instrument(services: Services, principal: Manager, body: InstrumentBody, key: Key = None) -> contracts.Instrument:
    """Add an instrument. Its code and kind never change."""
    asked = canonical_json(body.model_dump(mode="json"))
    async with services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(tx, key=key, owner=principal.id, route="POST /api/instruments", body=asked)
        if claim.resource_id is not None:
            return await services.lab.instrument(tx, claim.resource_id)
        made = await services.lab.add_instrument(tx, Actor.of(principal), body.new())
        await claim.fulfil(made.code)
    return made


@router.patch("/instruments/{code}")
async def change_instrument(services: Services, principal: Manager, code: Code, body: InstrumentChangeBody) -> contracts.Instrument:
    """Change name, place, driver, settings or day of service; with `version`, only if it was not changed meanwhile."""
    async with services.db.begin() as tx:
        return await services.lab.change_instrument(tx, Actor.of(principal), code, body.change(), version=body.version)


@router.post("/instruments/{code}/retire")
async def retire_instrument(services: Services, principal: Manager, code: Code) -> contracts.Instrument:
    """No run can be started on it any more; its runs stay. Retiring it again changes nothing."""
    async with services.db.begin() as tx:
        return await services.lab.retire_instrument(tx, Actor.of(principal), code)


@router.post("/instruments/{code}/reinstate")
async def reinstate_instrument(services: Services, principal: Manager, code: Code) -> contracts.Instrument:
    """Take a retired instrument into use again."""
    async with services.db.begin() as tx:
        return await services.lab.retire_instrument(tx, Actor.of(principal), code, retired=False)


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
    retired: Retired = False,
) -> Page[contracts.Protocol]:
    """Newest versions of the protocols, by code, with their steps."""
    async with services.db.begin() as tx:
        items, following = await services.lab.protocols(tx, instrument=instrument, query=query, limit=limit, after=after, retired=retired)
    return Page(items=items, next=following)


@router.get("/protocols/{code}")
async def get_protocol(
    services: Services, _: Reader, code: Code, version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
) -> contracts.Protocol:  # fmt: skip
    """The newest version of a protocol, or an earlier one."""
    async with services.db.begin() as tx:
        return await services.lab.protocol(tx, code, version=version)


@router.post("/protocols", status_code=201)
async def publish_protocol(services: Services, principal: Manager, body: ProtocolBody, key: Key = None) -> contracts.Protocol:
    """Publish a protocol, or a new version of it. A published version never changes."""
    asked = canonical_json(body.model_dump(mode="json"))
    async with services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(tx, key=key, owner=principal.id, route="POST /api/protocols", body=asked)
        if claim.resource_id is not None:
            code, _, version = claim.resource_id.partition("/")
            return await services.lab.protocol(tx, code, version=int(version))
        made = await services.lab.publish_protocol(tx, Actor.of(principal), body.code, body.text(), version=body.version)
        await claim.fulfil(f"{made.code}/{made.version}")
    return made


@router.post("/protocols/{code}/retire")
async def retire_protocol(services: Services, principal: Manager, code: Code) -> contracts.Protocol:
    """No run of it can be started any more; what was done with it stays. Retiring it again changes nothing."""
    async with services.db.begin() as tx:
        return await services.lab.retire_protocol(tx, Actor.of(principal), code)


@router.post("/protocols/{code}/reinstate")
async def reinstate_protocol(services: Services, principal: Manager, code: Code) -> contracts.Protocol:
    """Take a retired protocol into use again."""
    async with services.db.begin() as tx:
        return await services.lab.retire_protocol(tx, Actor.of(principal), code, retired=False)
