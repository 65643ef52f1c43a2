"""All SQL of the definitions of external tools."""

from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.dialects.postgresql import insert

from aliquot.platform.db import Transaction
from aliquot.tools.mcp.tables import mcp_tool

_t = mcp_tool.c


async def all_of(tx: Transaction, server: str) -> dict[str, Row[Any]]:
    """The rows of a server by tool."""
    return {row.tool: row for row in await tx.rows(select(mcp_tool).where(_t.server == server))}


async def get(tx: Transaction, server: str, tool: str) -> Row[Any] | None:
    """One row, locked."""
    return await tx.row(select(mcp_tool).where(_t.server == server, _t.tool == tool).with_for_update())


async def first(tx: Transaction, server: str, tool: str, values: dict[str, Any]) -> bool:
    """Keep what was seen first; False when another process was faster."""
    statement = insert(mcp_tool).values(server=server, tool=tool, **values).on_conflict_do_nothing()
    return await tx.scalar(statement.returning(_t.tool)) is not None


async def change(tx: Transaction, server: str, tool: str, values: dict[str, Any], *, offered: str | None) -> bool:
    """Change a row whose offered definition is still `offered`; False when it is not."""
    same = _t.offered_sha256.is_(None) if offered is None else _t.offered_sha256 == offered
    return (await tx.execute(update(mcp_tool).where(_t.server == server, _t.tool == tool, same).values(values))).rowcount == 1
