"""Definitions of external tools as the log knows them: one accepted by nobody, or an offer hidden from whoever decides, is found."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, tuple_

from aliquot.kernel.canonical import sha256_hex
from aliquot.ledger.contracts import Claim, Restated
from aliquot.platform.db import Transaction
from aliquot.tools.mcp.tables import mcp_tool

_t = mcp_tool.c
_CHANGED, _PINNED, _ACCEPTED = "mcp_tool.changed", "mcp_tool.pinned", "mcp_tool.accepted"
_SETTLED = (_PINNED, _ACCEPTED)
_QUIET = (*_SETTLED, "mcp_tool.as_pinned")


class RestatedTools:
    """See `ledger.contracts.RestatedRecords`. A row is never deleted."""

    record_type = "mcp_tool"
    made_by: tuple[str, ...] = (_PINNED, _CHANGED)

    async def ids(self, tx: Transaction, after: str | None, limit: int) -> list[str]:
        query = select(_t.server, _t.tool).order_by(_t.server, _t.tool).limit(limit)
        if after is not None:
            query = query.where(tuple_(_t.server, _t.tool) > tuple_(*_key(after)))
        return [record_id(row.server, row.tool) for row in await tx.rows(query)]

    async def existing(self, tx: Transaction, ids: Sequence[str]) -> set[str]:
        rows = await tx.rows(select(_t.server, _t.tool).where(tuple_(_t.server, _t.tool).in_([_key(one) for one in ids])))
        return {record_id(row.server, row.tool) for row in rows}

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        rows = await tx.rows(select(mcp_tool).where(tuple_(_t.server, _t.tool).in_([_key(one) for one in ids])))
        return [_restated(row) for row in rows]


def record_id(server: str, tool: str) -> str:
    return f"{server}/{tool}"


def _key(record: str) -> tuple[str, str]:
    server, _, tool = record.partition("/")
    return server, tool


def _restated(row: Any) -> Restated:
    texts = {"accepted": (row.definition, row.sha256), "offered": (row.offered, row.offered_sha256)}
    damaged = tuple(name for name, (text, sha256) in texts.items() if not _whole(text, sha256))
    made = Claim(actions=RestatedTools.made_by, required=True)
    return Restated(id=record_id(row.server, row.tool), claims=(made, _accepted(row), _offered(row)), damaged=damaged)


def _whole(text: str | None, sha256: str | None) -> bool:
    return sha256 is None if text is None else sha256_hex(text.encode()) == sha256


def _accepted(row: Any) -> Claim:
    if row.definition is None:
        return Claim(actions=_SETTLED, fields={"action": "none"}, what="accepted")
    by = {"action": _PINNED, "actor": "system"} if row.accepted_by is None else {"action": _ACCEPTED, "actor": str(row.accepted_by)}
    return Claim(actions=_SETTLED, fields={"versions.tool_schema": row.sha256, **by}, what="accepted")


def _offered(row: Any) -> Claim:
    if row.offered_sha256 is None:
        return Claim(actions=(*_QUIET, _CHANGED), fields={"action": _QUIET}, what="offered")
    return Claim(actions=(*_QUIET, _CHANGED), fields={"action": _CHANGED, "versions.tool_schema": row.offered_sha256}, what="offered")
