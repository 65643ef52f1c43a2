"""Routes of the audit trail. Reading what events say (list, entry bundles, export) is itself an audit event; hashes, proofs and
checkpoints say nothing of the events, and a monitor that polls them must not make the log grow."""

import base64
import json
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel
from starlette.concurrency import run_in_threadpool

from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, require
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import rfc3339
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput, NotFound
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, EventFilter, Export, InclusionProof, RecordRef
from aliquot.platform.http import Body, Page

router = APIRouter(tags=["audit"])

Reader = Annotated[Principal, Depends(require("audit.read"))]
Exporter = Annotated[Principal, Depends(require("audit.export"))]
_Word = Annotated[str | None, Query(min_length=1, max_length=300)]
_CHUNK = 1 << 16


class RecordsServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    ledger: LedgerApi


def services_of(request: Request) -> RecordsServices:
    services: RecordsServices = request.app.state.services
    return services


class Proof(BaseModel):
    """An inclusion proof: `path` and hashes are base64 as in C2SP; `checkpoint` is the signed note it leads to."""

    event_id: uuid.UUID
    seq: int
    size: int
    leaf_hash: str
    path: list[str]
    root_hash: str
    checkpoint: str


class CheckpointView(BaseModel):
    """The newest signed tree head."""

    origin: str
    size: int
    root_hash: str
    note: str


class ExportBody(Body):
    from_: AwareDatetime | None = None
    to: AwareDatetime | None = None


@router.get("/api/audit")
async def list_events(
    request: Request,
    principal: Reader,
    actor: _Word = None,
    action: _Word = None,
    record: Annotated[str | None, Query(min_length=1, max_length=400, description="`type:id`, or an id")] = None,
    from_: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    to: Annotated[AwareDatetime | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query()] = None,
) -> Page[dict[str, Any]]:
    """Audit events, newest first, each with `seq`: its place in the log, null until it is covered by a checkpoint."""
    wanted = _filter(actor, action, record, from_, to)
    cursor = parse_id(after) if after is not None else None
    if after is not None and cursor is None:
        raise InvalidInput("after: not a cursor of this list.")
    services = services_of(request)
    async with services.db.begin() as tx:
        events, following = await services.ledger.list(tx, wanted, limit=limit, after=cursor)
        asked = {"actor": actor, "action": action, "record": record, "from": _text(from_), "to": _text(to), "after": after}
        await services.ledger.append(tx, _read_event("audit.read", principal, {k: v for k, v in asked.items() if v is not None}))
    items = [json.loads(event.body) | {"seq": event.seq} for event in events]
    return Page(items=items, next=None if following is None else str(following))


@router.get("/api/audit/checkpoint")
async def checkpoint(request: Request, principal: Reader) -> CheckpointView:
    """The newest signed checkpoint: keep a copy elsewhere, it is what `aliquot-verify --anchor` compares with."""
    services = services_of(request)
    async with services.db.begin() as tx:
        found = await services.ledger.checkpoint(tx)
    return CheckpointView(origin=found.note.partition("\n")[0], size=found.size, root_hash=found.root_hash, note=found.note)


@router.get("/api/audit/proof/{event_id}", response_model=None, responses={200: {"model": Proof}})
async def proof(
    request: Request, principal: Reader, event_id: str, form: Annotated[Literal["json", "tlog-proof"], Query(alias="format")] = "json"
) -> Proof | Response:
    """That an event is in the log: as JSON, or as a C2SP `tlog-proof` file that stands on its own."""
    parsed = parse_id(event_id)
    if parsed is None:
        raise NotFound
    services = services_of(request)
    async with services.db.begin() as tx:
        found = await services.ledger.proof(tx, parsed)
    if form == "tlog-proof":
        return Response(_tlog_proof(found), media_type="text/plain; charset=utf-8")
    return Proof(
        event_id=found.event_id,
        seq=found.seq,
        size=found.size,
        leaf_hash=_base64(found.leaf_hash),
        path=[_base64(part) for part in found.path],
        root_hash=_base64(found.root_hash),
        checkpoint=found.note,
    )


@router.get("/tlog/checkpoint", response_class=Response)
async def tlog_checkpoint(request: Request, principal: Reader) -> Response:
    """The checkpoint as C2SP tlog-tiles serves it, with the cosignatures it has."""
    services = services_of(request)
    async with services.db.begin() as tx:
        note = await services.ledger.anchors.checkpoint(tx)
    return Response(note, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "private, max-age=1"})


@router.get("/tlog/tile/{path:path}", response_class=Response)
async def tlog_tile(request: Request, principal: Reader, path: str) -> Response:
    """A tile or an entry bundle (`tile/entries/…`) of the signed log, as C2SP tlog-tiles serves it."""
    services = services_of(request)
    async with services.db.begin() as tx:
        content = await services.ledger.tile(tx, f"tile/{path}")
        if content is None:
            raise NotFound
        if path.startswith("entries/"):
            await services.ledger.append(tx, _read_event("audit.read", principal, {"tile": path}))
    return Response(content, media_type="application/octet-stream", headers={"Cache-Control": "private, max-age=31536000, immutable"})


@router.post("/api/audit/export", response_class=StreamingResponse, responses={200: {"content": {"application/zip": {}}}})
async def export(request: Request, principal: Exporter, body: ExportBody | None = None) -> StreamingResponse:
    """A zip for `aliquot-verify`: the whole log, or the unbroken part of it that holds every event with from <= time < to."""
    since, until = (None, None) if body is None else (body.from_, body.to)
    _check_period(since, until)
    services = services_of(request)
    async with services.db.begin() as tx:
        made = await services.ledger.export(tx, since=since, until=until)
        try:
            await services.ledger.append(tx, _read_event("audit.exported", principal, {"from": _text(since), "to": _text(until)}))
        except BaseException:
            made.file.close()
            raise
    headers = {"Content-Disposition": f'attachment; filename="{made.name}"', "Content-Length": str(made.bytes), "Cache-Control": "no-store"}
    return StreamingResponse(_chunks(made), media_type="application/zip", headers=headers)


async def _chunks(made: Export) -> AsyncIterator[bytes]:
    try:
        while piece := await run_in_threadpool(made.file.read, _CHUNK):
            yield piece
    finally:
        made.file.close()


def _read_event(action: str, principal: Principal, asked: dict[str, Any]) -> AuditEvent:
    """What was asked for may name people: it is committed to under the reader's key, not written out."""
    return AuditEvent(
        action=action,
        actor=str(principal.id),
        via=principal.via,
        ip=principal.ip,
        record=RecordRef(type="audit_log", id="log"),
        content={"query": canonical_json(asked)},
        subject=principal.id,
    )


def _filter(actor: str | None, action: str | None, record: str | None, since: datetime | None, until: datetime | None) -> EventFilter:
    _check_period(since, until)
    if any("\x00" in word for word in (actor, action, record) if word is not None):
        raise InvalidInput("The filter holds a character that nothing can hold.")
    kind, separator, record_id = (record or "").partition(":")
    if record is None:
        kind, record_id = "", ""
    elif not separator:
        kind, record_id = "", record
    return EventFilter(actor=actor, action=action, record_type=kind or None, record_id=record_id or None, since=since, until=until)


def _check_period(since: datetime | None, until: datetime | None) -> None:
    for at in (since, until):
        if at is not None and not 1 < at.year < 9_999:  # at the edge of time, other zones have no date
            raise InvalidInput("from, to: a date between the years 2 and 9998.")
    if since is not None and until is not None and since >= until:
        raise InvalidInput("from: must be before `to`.")


def _text(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _tlog_proof(found: InclusionProof) -> str:
    path = "".join(f"{_base64(part)}\n" for part in found.path)
    return f"c2sp.org/tlog-proof@v1\nindex {found.seq}\n{path}\n{found.note}"
