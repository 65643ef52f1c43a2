"""The external MCP servers of this site: looked at in the background, their tools pinned at first sight, put into the registry while the
pin holds, and taken out when their server shows something else, until an administrator accepts it."""

import asyncio
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import structlog
from sqlalchemy import Row

from aliquot.identity.contracts import Principal
from aliquot.identity.rights import PERMISSIONS
from aliquot.kernel.canonical import sha256_hex
from aliquot.kernel.clock import Clock
from aliquot.kernel.problems import Problem
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, EventFilter, RecordRef
from aliquot.platform.db import Database, Transaction
from aliquot.platform.mcp_settings import McpServer, McpTool
from aliquot.platform.settings import Limits, SettingsError
from aliquot.tools.errors import ToolRefused
from aliquot.tools.mcp import store
from aliquot.tools.mcp.definitions import Definition
from aliquot.tools.mcp.errors import NothingToAccept, PinnedInSettings, UnknownExternalTool
from aliquot.tools.mcp.remote import HoldsPatientData, RemoteTool
from aliquot.tools.mcp.restated import record_id
from aliquot.tools.registry import Registry

log = structlog.get_logger(__name__)

State = Literal["ready", "changed", "refused", "missing", "unseen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalTool:
    """A declared tool as administrators see it."""

    name: str
    """Its name here."""
    tool: str
    effect: str
    state: State
    """`ready`: it can be called. `changed`: another definition waits to be accepted. `refused`: its definition cannot be used. `missing`:
    its server does not offer it. `unseen`: its server was never reached."""
    sha256: str | None
    definition: dict[str, Any] | None
    offered_sha256: str | None = None
    offered: dict[str, Any] | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalServer:
    """A declared server as this process sees it."""

    name: str
    reachable: bool | None
    """None: not looked at yet."""
    fault: str | None
    looked_at: datetime | None
    tools: tuple[ExternalTool, ...]


@dataclass(slots=True)
class _Link:
    """What this process knows of one server."""

    server: McpServer
    peer: Any = None
    reachable: bool | None = None
    fault: str | None = None
    looked_at: datetime | None = None
    faults: dict[str, str] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    """Tool → hash of the definition in the registry."""
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)


class RemoteServers:
    """Built without contact to anybody; `look` is a chore of every process, the database says what is pinned."""

    def __init__(
        self, declared: Sequence[McpServer], registry: Registry, db: Database, ledger: LedgerApi, clock: Clock, limits: Limits, folder: Path
    ) -> None:
        """Raises SettingsError for a permission nobody can hold. `holds_patient_data` is bound later; until then every conversation may."""
        for server in declared:
            if unknown := sorted(set(server.permissions) - PERMISSIONS):
                raise SettingsError(f"mcp_servers: {server.name} names the permission {unknown[0]!r}, which does not exist")
            for tool in server.tools:
                registry.declare(server.registered(tool))
        self._registry, self._db, self._ledger, self._clock, self._limits = registry, db, ledger, clock, limits
        self._folder = folder
        self._links = {server.name: _Link(server) for server in declared}
        self.holds_patient_data: HoldsPatientData = _may_hold
        self._loading = asyncio.Lock()

    @property
    def declared(self) -> bool:
        return bool(self._links)

    async def look(self) -> None:
        """Look at every server at the same time; one that is away or hangs delays no other."""
        ends = await asyncio.gather(*(self._look(link) for link in self._links.values()), return_exceptions=True)
        for error in ends:
            if error is not None:
                raise error

    async def close(self) -> None:
        """End all connections and programs."""
        await asyncio.gather(*(link.peer.close() for link in self._links.values() if link.peer is not None))

    async def overview(self, tx: Transaction) -> tuple[ExternalServer, ...]:
        """Every server with its tools."""
        return tuple([await self._overview(tx, link) for link in self._links.values()])

    async def accept(self, tx: Transaction, principal: Principal, server: str, tool: str, sha256: str) -> None:
        """Accept the definition that is offered now, by its hash: exactly what was looked at.

        Raises UnknownExternalTool, PinnedInSettings, NothingToAccept.
        """
        link, declared = self._declared(server, tool)
        if declared.sha256 is not None:
            raise PinnedInSettings
        row = await store.get(tx, server, tool)
        if row is None or row.offered is None or row.offered_sha256 != sha256 or sha256_hex(row.offered.encode()) != sha256:
            raise NothingToAccept
        values = {
            "sha256": sha256, "definition": row.offered, "pinned_at": self._clock.now(), "accepted_by": principal.id,
            "offered_sha256": None, "offered": None, "offered_at": None,
        }  # fmt: skip
        await store.change(tx, server, tool, values, offered=sha256)
        await self._audit(tx, "mcp_tool.accepted", server, tool, sha256, by=principal)
        link.shown.pop(tool, None)
        tx.after_commit(lambda: self._show(link, declared, row.offered, sha256))

    def _declared(self, server: str, tool: str) -> tuple[_Link, McpTool]:
        link = self._links.get(server)
        declared = None if link is None else next((t for t in link.server.tools if t.name == tool), None)
        if link is None or declared is None:
            raise UnknownExternalTool
        return link, declared

    async def _look(self, link: _Link) -> None:
        async with link.looking:  # of two looks at once the older answer could be compared last
            await self._look_alone(link)

    async def _look_alone(self, link: _Link) -> None:
        if link.looked_at is None:  # what was accepted can be used at once: a continued run must not fail because we have just started
            async with self._db.begin() as tx:
                self._settle(link, await store.all_of(tx, link.server.name), None)
        offered: dict[str, Definition | str] | None = None
        try:
            offered = await (await self._peer(link)).tools()
        except Problem as problem:
            if link.reachable is not False:
                log.warning("mcp_server_away", server=link.server.name, reason=problem.code)
            link.reachable, link.fault = False, problem.detail
        else:
            link.reachable, link.fault = True, None
        link.looked_at = self._clock.now()
        async with self._db.begin() as tx:
            for tool in link.server.tools:
                if offered is not None:
                    await self._compare(tx, link, tool, offered.get(tool.name))
            rows = await store.all_of(tx, link.server.name)
        self._settle(link, rows, offered)

    def _settle(self, link: _Link, rows: dict[str, Row[Any]], offered: Mapping[str, Definition | str] | None) -> None:
        """Put into the registry what is accepted and, as far as is known, offered; take out the rest. `offered`: None, not known."""
        for tool in link.server.tools:
            row = rows.get(tool.name)
            there = offered is None or isinstance(offered.get(tool.name), Definition)
            pinned = tool.sha256 is None or (row is not None and row.sha256 == tool.sha256)
            if row is not None and row.offered_sha256 is None and _intact(row) and there and pinned:
                self._show(link, tool, row.definition, row.sha256)
            else:
                self._hide(link, tool)

    async def _compare(self, tx: Transaction, link: _Link, tool: McpTool, seen: Definition | str | None) -> None:
        """Keep a first sight, notice a change, notice that it was taken back. Each once, with its event."""
        link.faults.pop(tool.name, None)
        if not isinstance(seen, Definition):
            if seen is not None:
                link.faults[tool.name] = seen
            return
        server, sha256, row = link.server.name, seen.sha256, await store.get(tx, link.server.name, tool.name)
        forgotten = row is None and await self._known(tx, server, tool.name)
        verdict = _verdict(row, tool.sha256, sha256, forgotten=forgotten)
        if verdict is None:
            return
        offered: dict[str, Any] = {"offered_sha256": sha256, "offered": seen.canonical.decode(), "offered_at": self._clock.now()}
        pinned = _pinned(sha256, offered["offered"], offered["offered_at"])
        as_pinned = _NOTHING_OFFERED | {"definition": offered["offered"]}
        values = {"pinned": pinned, "as_pinned": as_pinned, "changed": offered}[verdict]
        if row is not None:
            done = await store.change(tx, server, tool.name, values, offered=row.offered_sha256)
        else:
            done = await store.first(tx, server, tool.name, {"sha256": tool.sha256} | values)
        if done:
            await self._audit(tx, f"mcp_tool.{verdict}", server, tool.name, sha256)

    async def _known(self, tx: Transaction, server: str, tool: str) -> bool:
        """Whether the log knows the tool: then a missing row was deleted behind its back, and nothing is a first sight."""
        about, _ = await self._ledger.list(tx, EventFilter(record_type="mcp_tool", record_id=record_id(server, tool)), limit=1)
        return bool(about)

    def _show(self, link: _Link, tool: McpTool, definition: str, sha256: str) -> None:
        if link.shown.get(tool.name) == sha256:
            return
        try:
            remote = RemoteTool(
                link.server, tool, _parsed(definition), lambda: self._peer(link), self._patients, self._limits.tool_seconds
            )  # fmt: skip
            self._registry.put(remote)
        except ToolRefused as refusal:
            link.faults[tool.name] = str(refusal)
            self._hide(link, tool)
        else:
            link.shown[tool.name] = sha256

    def _hide(self, link: _Link, tool: McpTool) -> None:
        link.shown.pop(tool.name, None)
        self._registry.withdraw(link.server.registered(tool))

    async def _patients(self, tx: Transaction, run_id: Any) -> bool:
        return await self.holds_patient_data(tx, run_id)

    async def _peer(self, link: _Link) -> Any:
        async with self._loading:
            if link.peer is None:
                module = await asyncio.to_thread(importlib.import_module, "aliquot.tools.mcp.peer")
                link.peer = module.Peer(link.server, self._limits, self._folder / link.server.name)
        return link.peer

    async def _overview(self, tx: Transaction, link: _Link) -> ExternalServer:
        rows = await store.all_of(tx, link.server.name)
        tools = []
        for tool in link.server.tools:
            row, fault = rows.get(tool.name), link.faults.get(tool.name)
            state: State = "ready" if tool.name in link.shown else "missing" if link.reachable else "unseen"
            if fault is not None:
                state = "refused"
            elif row is not None and (row.offered_sha256 is not None or tool.sha256 not in (None, row.sha256)):
                state = "changed"
            tools.append(
                ExternalTool(
                    name=link.server.registered(tool), tool=tool.name, effect=tool.effect, state=state, fault=fault,
                    sha256=None if row is None else row.sha256, definition=_json(row and row.definition),
                    offered_sha256=None if row is None else row.offered_sha256, offered=_json(row and row.offered),
                )
            )  # fmt: skip
        return ExternalServer(
            name=link.server.name, reachable=link.reachable, fault=link.fault, looked_at=link.looked_at, tools=tuple(tools)
        )  # fmt: skip

    async def _audit(self, tx: Transaction, action: str, server: str, tool: str, sha256: str, *, by: Principal | None = None) -> None:
        who: dict[str, Any] = {"actor": "system"} if by is None else {"actor": str(by.id), "via": by.via, "ip": by.ip}
        outcome: Literal["ok", "pending"] = "pending" if action == "mcp_tool.changed" else "ok"
        record = RecordRef(type="mcp_tool", id=record_id(server, tool))
        await self._ledger.append(tx, AuditEvent(action=action, record=record, outcome=outcome, versions={"tool_schema": sha256}, **who))


_NOTHING_OFFERED: dict[str, Any] = {"offered_sha256": None, "offered": None, "offered_at": None}


def _pinned(sha256: str, definition: str, at: datetime) -> dict[str, Any]:
    return {"sha256": sha256, "definition": definition, "pinned_at": at, "accepted_by": None} | _NOTHING_OFFERED


def _intact(row: Row[Any]) -> bool:
    """Whether there is an accepted definition, and it is the one whose hash was accepted."""
    return row.definition is not None and sha256_hex(row.definition.encode()) == row.sha256


def _verdict(
    row: Row[Any] | None, wanted: str | None, sha256: str, *, forgotten: bool
) -> Literal["pinned", "as_pinned", "changed"] | None:  # fmt: skip
    """What a definition that is seen now is to what was kept; None when nothing is new. `wanted` is the settings' pin: it wins.

    `forgotten`: there is no row any more, but there was one.
    """
    if row is None:
        return "pinned" if wanted == sha256 or (wanted is None and not forgotten) else "changed"
    kept = None if row.definition is None else row.sha256  # a hash without its definition is an earlier pin of the settings
    if sha256 != (wanted or kept):
        return None if row.offered_sha256 == sha256 else "changed"
    if row.sha256 != sha256 or row.definition is None:
        return "pinned"
    return None if row.offered_sha256 is None and _intact(row) else "as_pinned"


def _parsed(text: str) -> Definition:
    value = json.loads(text)
    return Definition(name=value["name"], description=value["description"], schema=value["inputSchema"])


def _json(text: str | None) -> dict[str, Any] | None:
    value: dict[str, Any] | None = json.loads(text) if text else None
    return value


async def _may_hold(_: Transaction, __: Any) -> bool:
    return True
