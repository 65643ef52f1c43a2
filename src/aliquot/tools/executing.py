"""Calls on their way through execution: started once, closed with their approval, taken over after a crash."""

import asyncio
import uuid
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, cast

from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.kernel.problems import Forbidden, NotFound, Problem
from aliquot.platform.db import Database, Transaction
from aliquot.policy.api import PolicyApi
from aliquot.policy.contracts import Approval, ExecutionOutcome, Preview
from aliquot.policy.errors import RecordedRefusal
from aliquot.tools import reports, store
from aliquot.tools.contracts import CallReport, ReadyCall
from aliquot.tools.errors import CallInFlight, ToolTimeout, UnknownTool
from aliquot.tools.executor import Executor
from aliquot.tools.proposing import Proposals
from aliquot.tools.registry import Registered, Registry
from aliquot.tools.service import Call, Calls


class Executions:
    """Moves calls from `proposed` or `waiting` to their end."""

    def __init__(
        self, registry: Registry, policy: PolicyApi, calls: Calls, proposals: Proposals, executor: Executor, db: Database, clock: Clock
    ) -> None:
        self._registry = registry
        self._policy = policy
        self._calls = calls
        self._proposals = proposals
        self._executor = executor
        self._db = db
        self._clock = clock
        self._running: set[asyncio.Task[CallReport]] = set()

    async def execute(self, ready: ReadyCall) -> CallReport:
        known = self._registry.get(ready.tool)
        return await self._guarded(self._execute(ready, known), cancel=known.facts.effect == "read")

    async def execute_approved(self, approval: Approval, principal: Principal) -> CallReport:
        return await self._guarded(self._execute_approved(approval, principal), cancel=False)

    async def recover(self, run_id: uuid.UUID) -> list[CallReport]:
        async with self._db.begin() as tx:
            return [report for row in await store.executing(tx, run_id) if (report := await self._recover(tx, row)) is not None]

    async def drain(self, seconds: float) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    async def _guarded(self, work: Coroutine[Any, Any, CallReport], *, cancel: bool) -> CallReport:
        """Do `work` to its end even when the caller is cancelled; `cancel` ends a read-only call early, but still on the record."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if cancel:
                task.cancel()
            raise

    def _done(self, task: asyncio.Task[CallReport]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen: whoever waited got it, and a cancelled waiter has no use for it

    async def _execute(self, ready: ReadyCall, known: Registered) -> CallReport:
        async with self._db.begin() as tx:
            row = await store.by_id(tx, ready.id)
            if row is None or row.person_id != ready.context.principal.id:
                raise NotFound
            if row.state != "proposed" or not await self._start(tx, row, "proposed", ready.context.run_id, ready.decision.policy_version):
                return await self._replayed(tx, row.id, ready.context.principal)
            call = replace(self._calls.restored(row, ready.context.principal, ready.context.run_id), decision=ready.decision)
        return await self._run(call, known, None)

    async def _execute_approved(self, approval: Approval, principal: Principal) -> CallReport:
        async with self._db.begin() as tx:
            begun = await self._begin_approved(tx, approval, principal)
        if isinstance(begun, CallReport):
            return begun
        call, known = begun
        return await self._run(call, known, approval.id)

    async def _begin_approved(self, tx: Transaction, approval: Approval, principal: Principal) -> CallReport | tuple[Call, Registered]:
        """From waiting to executing; a report when the call had ended before or may not be executed any more."""
        row = await store.by_approval(tx, approval.id)
        if row is None or row.person_id != principal.id:
            raise NotFound
        if row.state != "waiting":
            return await self._proposals.replayed(tx, row, principal)
        call = self._calls.restored(row, principal, approval.next_run_id or row.run_id)
        call = replace(call, decision=approval.decision)
        now = await self._policy.get(tx, principal, approval.id)
        if now.state in {"rejected", "withdrawn", "expired"}:
            report = reports.declined(call, now)
            await self._calls.finish(tx, call, report, before=("waiting",))
            return report
        try:
            known = self._registry.get(row.tool or "")
            query = await self._proposals.ask(tx, call.context, known, call.arguments or {})
            preview = await self._preview_now(tx, call, known)
            begun = await self._policy.begin_execution(tx, approval.id, query_now=query, preview_now=preview)
        except (
            RecordedRefusal,
            UnknownTool,
            Forbidden,
        ) as refusal:  # recorded in this transaction, so it is committed with the end of the call
            report = reports.failed(call, refusal)
            await self._calls.finish(tx, call, report, before=("waiting",))
            return report
        call = replace(call, arguments=begun.arguments, context=replace(call.context, approved=preview.resource_versions))
        if not await self._start(tx, row, "waiting", call.context.run_id, row.policy_version):
            raise CallInFlight
        return call, known

    async def _preview_now(self, tx: Transaction, call: Call, known: Registered) -> Preview:
        """The preview of this moment. When the tool says it cannot be done any more, that is a preview which differs from the approved
        one, so the policy closes the approval as stale."""
        try:
            return await self._proposals.preview(tx, call.context, known, call.arguments or {})
        except ToolTimeout:
            raise
        except Problem as problem:
            return Preview(summary=problem.detail, warnings=(problem.code,))

    async def _start(self, tx: Transaction, row: store.CallRow, before: str, run_id: uuid.UUID | None, policy_version: str | None) -> bool:
        return await store.start(tx, row.id, before=before, run=run_id, policy_version=policy_version, at=self._clock.now())

    async def _run(self, call: Call, known: Registered, approval_id: uuid.UUID | None) -> CallReport:
        async def close(tx: Transaction, report: CallReport) -> None:
            if approval_id is not None:
                outcome = cast("ExecutionOutcome", report.outcome)
                await self._policy.finish_execution(tx, approval_id, outcome)

        return await self._executor.run(call, known, close)

    async def _replayed(self, tx: Transaction, call_id: uuid.UUID, principal: Principal) -> CallReport:
        row = await store.by_id(tx, call_id)
        if row is None:
            raise NotFound
        return await self._proposals.replayed(tx, row, principal)

    async def _recover(self, tx: Transaction, row: store.CallRow) -> CallReport | None:
        if row.effect == "read" and row.approval_id is None:
            await store.release(tx, row.id)
            return None
        call = self._calls.restored(row, None, row.run_id)
        report = reports.unknown(call)
        await self._calls.finish(tx, call, report, before=("executing",))
        if row.approval_id is not None:
            await self._policy.mark_unknown(tx, row.approval_id)
        return report
