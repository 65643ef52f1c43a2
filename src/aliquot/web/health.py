"""Health, metrics and the list of routes."""

import shutil
import time
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

import aliquot
from aliquot.bootstrap import Services
from aliquot.identity.contracts import Principal
from aliquot.identity.http import require
from aliquot.kernel.problems import Problem
from aliquot.ledger.contracts import LedgerStatus
from aliquot.ledger.note import LogKeyError

router = APIRouter(tags=["health"])

_BACKLOG_SECONDS_MAX = 30.0
_FULL_SECONDS = 60.0
_UNREADY = {"down", "full"}
_DATABASE_DOWN = {"status": "down", "detail": "the database is not reachable"}


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


@router.get("/api/health")
async def health(request: Request) -> JSONResponse:
    """Liveness and readiness per part. Open to everybody; says nothing that helps an attacker."""
    services = _services(request)
    parts = await _stored(services) | {"disk": _disk(services), "models": _models(services), "policy": services.policy.health()}
    states = {part["status"] for part in parts.values()}
    files = _files(services)
    troubled = files["status"] != "ok" or parts["policy"]["status"] != "ok"
    status = "down" if states & _UNREADY else "degraded" if "low" in states or troubled else "ok"
    parts["files"] = files
    document = {"status": status, "version": aliquot.__version__, "log": _log_name(services), "parts": parts}
    return JSONResponse(document, status_code=503 if status == "down" else 200)


@router.get("/api/chat/health")
async def chat_health(request: Request) -> JSONResponse:
    """Whether questions can be answered, and how."""
    services = _services(request)
    database = (await _stored(services))["database"]
    mode = "model" if services.models.configured else "tools"
    document = {"status": database["status"], "answers_with": mode, "tools": len(services.tools.all()), "database": database}
    return JSONResponse(document, status_code=503 if database["status"] == "down" else 200)


@router.get("/metrics")
async def metrics(request: Request, _: Annotated[Principal, Depends(require("admin.stats"))]) -> Response:
    """Prometheus metrics; scrape with an API key of a person who may see statistics."""
    return Response(generate_latest(_services(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/api/debug/routes")
async def routes(request: Request, _: Annotated[Principal, Depends(require("debug.routes"))]) -> dict[str, Any]:
    """Every path this server answers."""
    paths = request.app.openapi()["paths"]
    return {"routes": [{"path": path, "methods": sorted(method.upper() for method in paths[path])} for path in sorted(paths)]}


def _log_name(services: Services) -> str | None:
    """The audit log's public name, by which `aliquot doctor` knows whose server answers; None while its key cannot be read."""
    try:
        return services.log_keys.current().origin
    except (OSError, LogKeyError):
        return None


async def _stored(services: Services) -> dict[str, dict[str, Any]]:
    """The database, and the log in it, looked at in one transaction: a database that goes away in between is down in both."""
    started = time.perf_counter()
    try:
        async with services.db.begin() as tx:
            await tx.scalar(sa.text("SELECT 1"))
            ms = round((time.perf_counter() - started) * 1000, 1)
            ledger = _ledger(services, await services.ledger.status(tx))
    except Problem:
        return {"database": _DATABASE_DOWN, "ledger": {"status": "down", "detail": "the audit log is not reachable"}}
    return {"database": {"status": "ok", "ms": ms}, "ledger": ledger}


def _ledger(services: Services, status: LedgerStatus) -> dict[str, Any]:
    age = status.waiting_seconds
    services.metrics.ledger_backlog.set(age)
    if services.sequencer.refused is not None:
        return {"status": "down", "detail": "the audit log was found altered and is not extended"}
    return {
        "status": "ok" if age < _BACKLOG_SECONDS_MAX else "degraded",
        "waiting": status.waiting,
        "waiting_seconds": round(age, 1),
        "size": status.size,
    }


def _disk(services: Services) -> dict[str, Any]:
    """Room for what is written. A disk of the database elsewhere shows when it refuses a write, and is full for a while after."""
    limits = services.settings.limits
    free = shutil.disk_usage(services.settings.data_dir).free
    if services.db.refused_writes(_FULL_SECONDS) or services.sequencer_db.refused_writes(_FULL_SECONDS):
        return {"status": "full", "detail": "the database's disk is full: nothing can be stored"}
    if free < limits.disk_full_bytes:
        return {"status": "full", "detail": "the disk of the data folder is full: nothing can be stored"}
    if free < limits.disk_low_bytes:
        return {"status": "low", "detail": "the disk of the data folder is nearly full"}
    return {"status": "ok"}


def _files(services: Services) -> dict[str, Any]:
    """The storage of attached files. Chats go on without it."""
    problem = services.chat.attachments.storage.trouble
    return {"status": "ok"} if problem is None else {"status": "down", "code": problem.code, "detail": problem.sentence}


def _models(services: Services) -> dict[str, Any]:
    if services.models.configured:
        return {"status": "ok", "configured": True}
    return {"status": "ok", "configured": False, "detail": "no language model: tools answer with their own results"}
