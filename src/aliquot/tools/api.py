"""The door to tools: what a person may use, and every call, under policy and on the record."""

import asyncio
import uuid
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select

from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.ledger.api import LedgerApi
from aliquot.models.contracts import ToolSpec
from aliquot.platform.db import Database, Transaction
from aliquot.platform.limits import Limiter
from aliquot.platform.settings import DashboardManifest, Settings
from aliquot.platform.telemetry import Metrics
from aliquot.platform.vault import Vault
from aliquot.policy.api import PolicyApi
from aliquot.policy.contracts import Approval, Query, ToolFacts
from aliquot.tools import store
from aliquot.tools.breaker import Breakers
from aliquot.tools.contracts import (
    CallReport,
    Draft,
    DryRun,
    Joining,
    ReadyCall,
    Settling,
    Tool,
    ToolContext,
    ToolInfo,
    ToolPattern,
    ToolUsage,
)
from aliquot.tools.dashboards import Dashboards
from aliquot.tools.executing import Executions
from aliquot.tools.executor import Executor, Sleep
from aliquot.tools.proposing import Proposals, may_use
from aliquot.tools.registry import Registry
from aliquot.tools.service import Calls


class ToolsApi:
    """Lists tools and executes calls.

    Calls are one of the edges that open transactions themselves (`db.begin()`): the effect of a call has to stand between
    commits, `executing` before it and the result with it, or a crash could repeat or forget it. So the methods without a `tx`
    must not be called inside a transaction.
    """

    def __init__(
        self, registry: Registry, policy: PolicyApi, ledger: LedgerApi, vault: Vault, db: Database, clock: Clock, settings: Settings, *,
        limiter: Limiter | None = None, metrics: Metrics | None = None, sleep: Sleep = asyncio.sleep,
        dashboards: Sequence[DashboardManifest] = (),
    ) -> None:  # fmt: skip
        """`registry` is complete. Raises SettingsError for a dashboard that cannot be meant."""
        self._registry = registry
        self.dashboards = Dashboards(dashboards, registry.names())
        calls = Calls(ledger, vault, clock, metrics)
        self._proposals = Proposals(registry, policy, calls, db, settings.limits, limiter)
        executor = Executor(db, calls, Breakers(clock), settings.limits, sleep)
        self._executions = Executions(registry, policy, calls, self._proposals, executor, db, clock)

    def all(self) -> tuple[Tool, ...]:
        """Every registered tool, for the router; what a person may use is `for_person`."""
        return tuple(known.tool for known in self._registry.all())

    def for_person(self, principal: Principal, only: Collection[str] | None = None) -> list[ToolInfo]:
        """The tools this person holds every permission for, by name; `only` narrows them to a dashboard's."""
        return [
            ToolInfo(
                name=known.facts.name,
                description=known.tool.description,
                parameters=known.tool.parameters,
                effect=known.facts.effect,
                permissions=known.facts.permissions,
            )
            for known in sorted(self._registry.all(), key=lambda known: known.facts.name)
            if may_use(principal, known.facts) and (only is None or known.facts.name in only)
        ]

    def specs(self, principal: Principal, only: Collection[str] | None = None) -> tuple[ToolSpec, ...]:
        """The same as offered to a language model."""
        return tuple(
            ToolSpec(name=info.name, description=info.description, parameters=info.parameters) for info in self.for_person(principal, only)
        )

    def settle(self, name: str, data: dict[str, Any], question: str) -> str | None:
        """The yes or no that a result of the tool `name` gives to a question, if it settles it (`Settling`)."""
        tool = self._registry.get(name).tool
        return tool.settle(data, question) if isinstance(tool, Settling) else None

    def facts(self, name: str) -> ToolFacts:
        """What the policy knows about a tool. Raises UnknownTool."""
        return self._registry.get(name).facts

    def from_outside(self, name: str) -> bool:
        """Whether what a tool of this name answers is text from outside."""
        return self._registry.from_outside(name)

    async def permissions_used(self, tx: Transaction, runs: Select[Any]) -> frozenset[str]:
        """Every permission of every tool called in the runs whose ids `runs` selects."""
        return self.permissions_of(await store.names_called(tx, runs))

    def permissions_of(self, names: Iterable[str]) -> frozenset[str]:
        """Every permission of the tools `names`. One that does not exist (any longer) asks for a permission nobody has."""
        known = {registered.facts.name: registered.facts.permissions for registered in self._registry.all()}
        return frozenset(permission for name in names for permission in known.get(name, (f"tool.{name}",)))

    def permissions_to_read(self, principal: Principal) -> frozenset[str]:
        """Every permission of the tools this person may read with: what anything they bring along may have come from."""
        reading = [known.facts for known in self._registry.all() if known.facts.effect == "read" and may_use(principal, known.facts)]
        return frozenset(permission for facts in reading for permission in facts.permissions)

    async def purge(self, tx: Transaction, run_ids: Collection[uuid.UUID]) -> None:
        """Delete the calls of runs whose retention is over; the database refuses any other."""
        await store.purge(tx, run_ids)

    async def usage(self, tx: Transaction, since: datetime, until: datetime, limit: int) -> tuple[ToolUsage, ...]:
        """The tools called in [since, until), the most used first."""
        return tuple(
            ToolUsage(
                tool=r.tool, calls=r.calls, ok=r.ok, failed=r.failed, denied=r.denied, unknown=r.unknown, p50_ms=_ms(r.p50_ms),
                p95_ms=_ms(r.p95_ms), waiting=r.calls - r.ok - r.failed - r.denied - r.unknown,
            )
            for r in await store.usage(tx, since, until, limit)
        )  # fmt: skip

    async def patterns(self, tx: Transaction, runs: Select[Any], limit: int) -> tuple[tuple[ToolPattern, ...], int]:
        """Which tools were used together in the runs whose ids `runs` selects, the most frequent first; in how many of them any was."""
        rows = await store.patterns(tx, runs, limit)
        return tuple(ToolPattern(tools=tuple(r.tools), runs=r.runs) for r in rows), int(rows[0].total) if rows else 0

    def fingerprint(self) -> str:
        """Hash over all tools: changes when one vanishes or its schema, effect or permissions change."""
        return self._registry.fingerprint()

    async def query(self, tx: Transaction, context: ToolContext, tool: str, arguments: str | dict[str, Any]) -> Query:
        """What the policy would be asked about this call (`POST /api/policy/explain`); nothing is logged or changed.

        Raises UnknownTool, ArgumentsInvalid, and what the tool itself refuses.
        """
        return await self._proposals.query(tx, context, tool, arguments)

    async def edit(self, tx: Transaction, principal: Principal, approval_id: uuid.UUID, arguments: str | dict[str, Any]) -> Approval:
        """Put a request with other arguments, decided and previewed anew, in the place of a pending one of mine.

        Use inside `kept_refusals`. Raises NotFound, SessionRequired, AlreadyDecided, ApprovalExpired, UnknownTool, ArgumentsInvalid,
        EditDenied (member `reasons`), and what the tool itself refuses.
        """
        return await self._proposals.edit(tx, principal, approval_id, arguments)

    async def dry_run(
        self, context: ToolContext, tool: str, arguments: str | dict[str, Any], *, only: Collection[str] | None = None
    ) -> DryRun:
        """What the call would do, and whether it would be allowed. Makes no approval and changes nothing.

        Raises UnknownTool, ArgumentsInvalid, ToolDenied (member `reasons`), and what the tool itself refuses.
        """
        return await self._proposals.dry_run(context, tool, arguments, only)

    async def propose(
        self,
        context: ToolContext,
        tool: str,
        arguments: str | dict[str, Any],
        *,
        only: Collection[str] | None = None,
        tainted: bool = False,
        join: Joining | None = None,
    ) -> CallReport | ReadyCall:
        """Check a call and ask the policy. Executes nothing.

        A ReadyCall is allowed: give it to `execute`. A CallReport is the end of it: failed (unknown tool, invalid arguments, refused
        by the tool), denied, or waiting with its approval; the same key again gives the same report. `only` are the tools of the
        dashboard, `tainted` says that untrusted text led here; `join` takes part in the transaction.
        Raises CallMismatch (the key was used for another call), CallInFlight
        and DatabaseUnavailable.
        """
        return await self._proposals.propose(context, tool, arguments, only, tainted, join)

    async def draft(
        self, tx: Transaction, context: ToolContext, tool: str, arguments: str | dict[str, Any], *, only: Collection[str] | None = None,
        tainted: bool = False,
    ) -> Draft:  # fmt: skip
        """What the policy would say of a call and what it would do, before it is proposed: for a plan, which is shown first.

        Raises UnknownTool, ArgumentsInvalid, and what keeps the tool itself from answering.
        """
        return await self._proposals.draft(tx, context, tool, arguments, only, tainted)

    async def execute(self, ready: ReadyCall) -> CallReport:
        """Execute an allowed call, once: a finished one is answered from its stored report.

        Cancelling the caller ends a read-only call as `failed`. Any other call goes on to its end (bounded by the tool's time
        limit) and is stored, because its effect cannot be called back. Raises CallInFlight and DatabaseUnavailable.
        """
        return await self._executions.execute(ready)

    async def call(
        self,
        context: ToolContext,
        tool: str,
        arguments: str | dict[str, Any],
        *,
        only: Collection[str] | None = None,
        tainted: bool = False,
    ) -> CallReport:
        """`propose`, and `execute` when allowed."""
        proposed = await self.propose(context, tool, arguments, only=only, tainted=tainted)
        return proposed if isinstance(proposed, CallReport) else await self.execute(proposed)

    async def execute_approved(self, approval: Approval, principal: Principal) -> CallReport:
        """Carry out what was decided: execute what `approval` stored, once, for its requester `principal` with the rights of this moment.

        Facts, preview and policy are taken anew; when something changed since, the call fails and nothing is done. An approval that was
        rejected, withdrawn or expired ends the call as denied. The call belongs to the run
        `approval.next_run_id` from then on. Raises NotFound, CallInFlight and DatabaseUnavailable.
        """
        return await self._executions.execute_approved(approval, principal)

    async def recover(self, run_id: uuid.UUID) -> list[CallReport]:
        """After taking over `run_id` from a dead process: a read-only call in flight may be executed again; any other becomes
        `unknown`, as does its approval. Returns the reports of those."""
        return await self._executions.recover(run_id)

    async def drain(self, seconds: float) -> None:
        """At shutdown: let calls in flight come to their end for at most `seconds`."""
        await self._executions.drain(seconds)


def _ms(value: float | None) -> float | None:
    return None if value is None else round(float(value), 1)
