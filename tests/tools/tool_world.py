"""Tools on a real database, with the product's ledger, vault and policy, and small tools of our own."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from aliquot.identity.contracts import Principal, Via
from aliquot.identity.rights import permissions_of
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import Conflict, Unavailable
from aliquot.ledger.api import LedgerApi
from aliquot.platform.db import Database, Transaction
from aliquot.platform.limits import Limiter
from aliquot.platform.settings import Limits, Settings
from aliquot.platform.vault import Vault
from aliquot.policy.api import PolicyApi, kept_refusals
from aliquot.policy.contracts import Approval, Effect, Preview, Signed
from aliquot.tools.api import ToolsApi
from aliquot.tools.contracts import CallReport, Example, ReadyCall, ToolContext, ToolResult
from aliquot.tools.registry import Registry

INSTRUMENT = {"type": "string", "minLength": 1, "maxLength": 40}


class Busy(Conflict):
    code, sentence = "instrument_busy", "The instrument is busy."


class Flaky(Unavailable):
    code, sentence = "gateway_away", "The gateway is away."


@dataclass
class FakeTool:
    """A tool whose effect is a row in `rate_limit` (any table the serving login may write), under the name of its key."""

    name: str = "get_status"
    description: str = "Shows the state of an instrument."
    parameters: dict[str, Any] = field(
        default_factory=lambda: {
            "type": "object",
            "properties": {"instrument": INSTRUMENT, "limit": {"type": "integer", "minimum": 1, "maximum": 50}},
            "required": ["instrument"],
            "additionalProperties": False,
        }
    )
    effect: Effect = "read"
    permissions: tuple[str, ...] = ("lab.read",)
    gmp_critical: bool = False
    examples: tuple[Example, ...] = ()
    facts_given: dict[str, Any] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)
    """Raised one after the other, before it works."""
    data: dict[str, Any] = field(default_factory=lambda: {"instrument": "PCR-02", "state": "idle"})
    version: int = 4
    refuses_preview: Exception | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event | None = None
    """When given, execution waits for it after its database change."""
    writes: bool | None = None
    writes_in_preview: bool = False

    async def facts(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
        await tx.scalar(sa.text("SELECT 1"))
        return self.facts_given

    async def preview(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> Preview:
        if self.writes_in_preview:
            await self._write(tx, context)
        if self.refuses_preview is not None:
            raise self.refuses_preview
        return Preview(summary=f"{arguments['instrument']} would start.", resource_versions={"instrument:PCR-02": self.version})

    async def execute(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        self.calls.append(arguments)
        if self.writes if self.writes is not None else self.effect != "read":
            await self._write(tx, context)
        self.started.set()
        if self.go is not None:
            await self.go.wait()
        if self.failures:
            raise self.failures.pop(0)
        return ToolResult(data=self.data, source="test")

    async def _write(self, tx: Transaction, context: ToolContext) -> None:
        sql = "INSERT INTO rate_limit (key, hits, costs, latest, expires_at) VALUES (:key, '{}', '{}', now(), now())"
        await tx.execute(sa.text(sql), {"key": f"effect:{new_id()}"})

    def render(self, result: ToolResult) -> str:
        return f"**{result.data['instrument']}** is {result.data['state']}.\n\n| instrument |\n|---|\n"

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        return {}


def start_tool(**changes: Any) -> FakeTool:
    return FakeTool(**{"name": "start_run", "effect": "instrument", "permissions": ("lab.operate",)} | changes)


def write_tool(**changes: Any) -> FakeTool:
    return FakeTool(**{"name": "note", "effect": "write", "permissions": ("lab.operate",)} | changes)


@dataclass
class World:
    """Everything a test needs to call tools."""

    db: Database
    vault: Vault
    clock: Any
    policy: PolicyApi
    tools: ToolsApi
    slept: list[float]
    make: Callable[..., ToolsApi]

    def person(self, *roles: str, via: Via = "session") -> Principal:
        session = new_id() if via == "session" else None
        permissions = permissions_of(roles, may_sign=True)
        return Principal(
            id=new_id(), email="a@example.org", name="A", roles=frozenset(roles), permissions=permissions, via=via, session_id=session
        )  # fmt: skip

    def context(self, person: Principal | None = None, *, key: str | None = None, run_id: uuid.UUID | None = None) -> ToolContext:
        key = key or str(new_id())
        return ToolContext(principal=person or self.person("scientist"), run_id=run_id, call_id=key[:20], idempotency_key=key)

    async def call(self, tool: str = "get_status", arguments: Any = None, **more: Any) -> CallReport:
        context = more.pop("context", None) or self.context()
        return await self.tools.call(context, tool, {"instrument": "PCR-02"} if arguments is None else arguments, **more)

    async def ready(self, tool: str, context: ToolContext) -> ReadyCall:
        found = await self.tools.propose(context, tool, {"instrument": "PCR-02"})
        assert isinstance(found, ReadyCall)
        return found

    async def waiting(self, context: ToolContext, tool: str = "start_run") -> Approval:
        report = await self.tools.call(context, tool, {"instrument": "PCR-02"})
        assert report.outcome == "waiting"
        assert report.approval is not None
        return report.approval

    async def approve(self, approval: Approval, by: Principal, choice: Any = "approve") -> Approval:
        async with kept_refusals(self.db) as tx:
            return await self.policy.decide_approval(tx, by, approval.id, choice)

    async def rows(self, sql: str, **values: Any) -> list[Any]:
        async with self.db.begin() as tx:
            return [tuple(row) for row in (await tx.execute(sa.text(sql), values)).all()]

    async def effects(self) -> int:
        return int((await self.rows("SELECT count(*) FROM rate_limit WHERE key LIKE 'effect:%'"))[0][0])

    async def state(self, key: str) -> str:
        return str((await self.rows("SELECT state FROM tool_call WHERE idempotency_key = :key", key=key))[0][0])

    async def approval_state(self, approval: Approval) -> str:
        return str((await self.rows("SELECT state FROM policy_approval WHERE id = :id", id=approval.id))[0][0])

    async def events(self) -> list[dict[str, Any]]:
        sql = "SELECT convert_from(body, 'UTF8')::jsonb FROM audit_event WHERE action = 'tool_call.finished' ORDER BY id"
        return [row[0] for row in await self.rows(sql)]


async def _signed(tx: Transaction, principal: Principal, signature: Any) -> Signed:
    return Signed(printed_name=principal.name)


async def _continue(tx: Transaction, run_id: uuid.UUID) -> None:
    """No chat here: the tests continue by themselves."""


def make_world(database: Database, vault: Vault, clock: Any, folder: Path, *tools: FakeTool, **limits: Any) -> World:
    settings = Settings(data_dir=folder, limits=Limits(**limits))
    ledger = LedgerApi(vault, clock)
    policy = PolicyApi(ledger, vault, clock, settings, verify_signature=_signed, continue_run=_continue)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    def api(*others: FakeTool) -> ToolsApi:
        return ToolsApi(Registry(others or tools), policy, ledger, vault, database, clock, settings, limiter=Limiter(clock), sleep=sleep)

    return World(database, vault, clock, policy, api(), slept, api)
