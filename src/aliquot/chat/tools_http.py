"""Routes of direct tool calls: each is a run of kind `tool`, under the same policy as a call from a chat."""

from typing import Any

from fastapi import APIRouter
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import Field

from aliquot.chat.contracts import StartToolCall
from aliquot.chat.http import IdempotencyKey, Person, Services, ServicesDep
from aliquot.identity.contracts import Principal
from aliquot.platform.http import Body

router = APIRouter(tags=["chat"])


class ToolCall(Body):
    name: str = Field(max_length=200)
    arguments: dict[str, Any] = Field(default_factory=dict)
    dry_run: bool = False


class StartInstrumentRun(Body):
    protocol: str
    samples: list[str] | None = None
    parameters: dict[str, Any] | None = None


class StopInstrumentRun(Body):
    reason: str


@router.post("/api/chat/tools")
async def call_tool(services: ServicesDep, person: Person, body: ToolCall, key: IdempotencyKey = None) -> JSONResponse:
    """Call a tool directly, under the same policy as from a chat."""
    if body.dry_run:
        return JSONResponse(jsonable_encoder({"preview": await services.chat.dry_run(person, body.name, body.arguments)}))
    return await _tool(services, person, body.name, body.arguments, key)


@router.post("/api/instruments/{instrument}/runs")
async def start_instrument_run(
    instrument: str, services: ServicesDep, person: Person, body: StartInstrumentRun, key: IdempotencyKey = None
) -> JSONResponse:
    """Start a run on an instrument: the tool `start_run` under its policy."""
    arguments = {"instrument": instrument} | body.model_dump(exclude_none=True)
    return await _tool(services, person, "start_run", arguments, key)


@router.post("/api/runs-of-instruments/{run}/stop")
async def stop_instrument_run(
    run: str, services: ServicesDep, person: Person, body: StopInstrumentRun, key: IdempotencyKey = None
) -> JSONResponse:
    """Stop a run on an instrument: the tool `stop_run` under its policy."""
    return await _tool(services, person, "stop_run", {"run": run, "reason": body.reason}, key)


async def _tool(services: Services, person: Principal, name: str, arguments: dict[str, Any], key: str | None) -> JSONResponse:
    """A run of kind `tool`: its result, or 202 with the approval it waits for, or the refusal as a problem."""
    async with services.db.begin() as tx:
        started = await services.chat.runs.start_tool(
            tx, StartToolCall(principal=person, tool=name, arguments=arguments, idempotency_key=key)
        )
    outcome = await services.chat.tool_outcome(person, started)
    return JSONResponse(outcome.document, status_code=outcome.status, media_type=outcome.media_type)
