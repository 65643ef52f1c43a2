"""Routes for witnesses of the log. Hashes and checkpoints say nothing of the events, so reading them is no audit event."""

import base64
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from aliquot.identity.contracts import Principal
from aliquot.identity.http import require
from aliquot.kernel.clock import Timestamp
from aliquot.kernel.problems import InvalidInput
from aliquot.records.http import services_of

router = APIRouter(tags=["audit"])

Reader = Annotated[Principal, Depends(require("audit.read"))]
_Size = Annotated[int, Query(ge=0, lt=1 << 50)]
_NOTE_BYTES_MAX = 20_000


class AnchoredView(BaseModel):
    """Up to which size somebody outside has seen the log, and when this server was told."""

    by: str
    kind: str
    size: int
    at: Timestamp


class Anchors(BaseModel):
    items: list[AnchoredView]


class Accepted(BaseModel):
    """The witnesses whose cosignature was new."""

    witnesses: list[str]


@router.get("/tlog/keys.json", response_class=Response)
async def keys(request: Request, principal: Reader) -> Response:
    """The keys of the log, oldest first, and the rotations between them, each signed by the old and the new key."""
    services = services_of(request)
    async with services.db.begin() as tx:
        content = await services.ledger.anchors.keys_document(tx)
    return Response(content, media_type="application/json", headers={"Cache-Control": "private, max-age=60"})


@router.get("/tlog/consistency", response_class=Response)
async def consistency(request: Request, principal: Reader, old: _Size, new: _Size) -> Response:
    """The RFC 6962 consistency proof between two sizes of the log: one base64 hash per line."""
    services = services_of(request)
    async with services.db.begin() as tx:
        path = await services.ledger.anchors.consistency(tx, old, new)
    return Response("".join(f"{base64.b64encode(part).decode()}\n" for part in path), media_type="text/plain; charset=utf-8")


@router.get("/api/audit/anchors")
async def anchors(request: Request, principal: Reader) -> Anchors:
    """What each witness and the time-stamping authority have seen last."""
    services = services_of(request)
    async with services.db.begin() as tx:
        found = await services.ledger.anchors.newest(tx)
    return Anchors(items=[AnchoredView(by=a.by, kind=a.kind, size=a.size, at=a.at) for a in found])


@router.post("/api/audit/cosignatures")
async def cosign(request: Request, principal: Reader) -> Accepted:
    """Keep a checkpoint that a configured witness cosigned (the signed note as the body). Repeating it changes nothing."""
    raw = await request.body()
    if not 0 < len(raw) <= _NOTE_BYTES_MAX:
        raise InvalidInput("The body must be a signed note of at most 20,000 bytes.")
    try:
        note = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput("The body is not UTF-8.") from error
    services = services_of(request)
    async with services.db.begin() as tx:
        return Accepted(witnesses=await services.ledger.anchors.accept(tx, note))
