"""From a wish to a call that may be executed, waits for a person, or ended: validation, permission, policy, preview."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import psycopg
import structlog

from aliquot.guard.api import still
from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.problems import NotFound, Problem
from aliquot.platform.db import Database, DatabaseUnavailable, Transaction
from aliquot.platform.limits import Limiter
from aliquot.platform.settings import Limits
from aliquot.policy.api import PolicyApi
from aliquot.policy.contracts import Approval, Decision, Preview, Query, Reason, ToolFacts
from aliquot.policy.errors import EditDenied
from aliquot.tools import reports, store
from aliquot.tools.contracts import Acting, CallReport, Draft, DryRun, Joining, ReadyCall, Resting, ToolContext
from aliquot.tools.errors import CallInFlight, CallMismatch, ToolDenied, ToolFailed, ToolTimeout, UnknownTool, where
from aliquot.tools.registry import Registered, Registry
from aliquot.tools.schemas import check_arguments, parse_arguments
from aliquot.tools.service import Call, Calls, new_call, read_only, waiting_report

log = structlog.get_logger(__name__)

T = TypeVar("T")
_TAINTED = Reason(policy_id="text-from-outside", text="Text from outside led here: a person has to see what leaves the site.")

Given = str | dict[str, Any]
"""Arguments as a model wrote them, or as an object."""


class Proposals:
    """Checks calls and asks the policy. Executes nothing."""

    def __init__(self, registry: Registry, policy: PolicyApi, calls: Calls, db: Database, limits: Limits, limiter: Limiter | None) -> None:
        self._registry = registry
        self._policy = policy
        self._calls = calls
        self._db = db
        self._limits = limits
        self._limiter = limiter

    async def propose(
        self, context: ToolContext, tool: str, given: Given, only: Collection[str] | None, tainted: bool, join: Joining | None = None
    ) -> CallReport | ReadyCall:
        call, known, problem = self._draft(context, tool, given, only)
        try:
            async with self._db.begin() as tx:
                found = await self._claimed(tx, call, known, problem, tainted)
                return found if join is None else await join(tx, found)
        except (CallMismatch, CallInFlight, DatabaseUnavailable):
            raise
        except Problem as refusal:  # all of that was rolled back; that it was refused is recorded nevertheless
            async with self._db.begin() as tx:
                found = await self._claimed(tx, call, known, refusal, tainted, limited=False)
                return found if join is None else await join(tx, found)

    async def draft(
        self, tx: Transaction, context: ToolContext, tool: str, given: Given, only: Collection[str] | None, tainted: bool
    ) -> Draft:  # fmt: skip
        known = self._visible(tool, only)
        arguments = self._checked(known, given)
        query = await self.ask(tx, context, known, arguments, tainted=tainted)
        decision = _with_permission(await self._policy.foresee(tx, query), context.principal, known.facts)
        preview, refusal, versions = None, None, dict[str, int]()
        if decision.decision != "deny":
            try:
                preview = (await self.preview(tx, context, known, arguments)).warned(query.unnamed)
            except ToolTimeout:
                raise
            except Problem as problem:
                refusal = problem
                versions = await known.tool.rests_on(tx, context, arguments) if isinstance(known.tool, Resting) else {}
        return Draft(
            tool=known.facts, arguments=arguments, facts=query.facts, decision=decision, preview=preview, refusal=refusal,
            versions=versions, unnamed=query.unnamed,
        )  # fmt: skip

    async def dry_run(self, context: ToolContext, tool: str, given: Given, only: Collection[str] | None) -> DryRun:
        known = self._visible(tool, only)
        arguments = self._checked(known, given)
        async with self._db.begin() as tx:
            query = await self.ask(tx, context, known, arguments)
            explained = await self._policy.explain(tx, context.principal, known.facts, arguments, query.facts)
            decision = _with_permission(explained, context.principal, known.facts)
            if decision.decision == "deny":
                raise ToolDenied(" ".join(reason.text for reason in decision.reasons), reasons=_as_json(decision))
            return DryRun(tool=tool, arguments=arguments, decision=decision, preview=await self.preview(tx, context, known, arguments))

    async def edit(self, tx: Transaction, principal: Principal, approval_id: uuid.UUID, given: Given) -> Approval:
        """Another request with these arguments in the place of a pending one: decided and previewed anew, as a call of its own."""
        old, origin = await self._policy.editable(tx, principal, approval_id)
        row = await store.by_approval(tx, approval_id)
        if row is None or row.state != "waiting":
            raise NotFound
        known = self._registry.get(old.tool)
        arguments = self._checked(known, given)
        context = ToolContext(
            principal=principal, run_id=row.run_id, call_id=row.call_id, idempotency_key=f"edit:{approval_id}", intent=origin.intent,
            naming=None if origin.unnamed is None else partial(still, origin.unnamed),
        )  # fmt: skip
        query = await self.ask(tx, context, known, arguments, tainted=origin.tainted)
        decision = _with_permission(await self._policy.decide(tx, query), principal, known.facts)
        if decision.decision == "deny":
            raise EditDenied(reasons=_as_json(decision))
        if decision.decision == "allow":  # what was asked for once is not done without an answer because it was edited
            decision = replace(decision, decision="confirm", obligations=("confirm",))
        preview = await self.preview(tx, context, known, arguments)
        approval = await self._policy.request_approval(
            tx, query=query, decision=decision, call_id=row.call_id, preview=preview, instead_of=approval_id
        )
        call = replace(new_call(context, known, arguments, canonical_json(arguments)), decision=decision)
        await self._calls.claim(tx, call)
        await store.wait(tx, call.id, approval=approval.id, policy_version=decision.policy_version)
        before = self._calls.restored(row, principal, row.run_id)
        await self._calls.finish(tx, before, reports.declined(before, replace(old, state="withdrawn")), before=("waiting",))
        return approval

    async def query(self, tx: Transaction, context: ToolContext, tool: str, given: Given) -> Query:
        known = self._registry.get(tool)
        return await self.ask(tx, context, known, self._checked(known, given))

    async def ask(
        self, tx: Transaction, context: ToolContext, known: Registered, arguments: dict[str, Any], *, tainted: bool = False
    ) -> Query:
        """What the policy is asked. Facts are taken only for who may use the tool at all: a refusal must not tell what exists."""
        facts: dict[str, Any] = {}
        if may_use(context.principal, known.facts):
            facts = await self._looked(tx, known, lambda inner: known.tool.facts(inner, context, arguments))
        return Query(
            principal=context.principal, tool=known.facts, arguments=arguments, facts=facts, tainted=tainted, run_id=context.run_id,
            intent=context.intent, unnamed=None if context.naming is None else context.naming(arguments, known.tool.parameters),
        )  # fmt: skip

    async def preview(self, tx: Transaction, context: ToolContext, known: Registered, arguments: dict[str, Any]) -> Preview:
        return await self._looked(tx, known, lambda inner: known.tool.preview(inner, context, arguments))

    async def replayed(self, tx: Transaction, row: store.CallRow, principal: Principal) -> CallReport:
        """The report of a call that is not to be made again. Raises CallInFlight while it is executed."""
        if row.state == "waiting" and row.approval_id is not None:
            return self._calls.replay(row, await self._policy.get(tx, principal, row.approval_id))
        if not row.finished:
            raise CallInFlight
        return self._calls.replay(row)

    async def _looked(self, tx: Transaction, known: Registered, look: Callable[[Transaction], Awaitable[T]]) -> T:
        """A tool's look at the database, unable to change it, within the time limit."""
        try:
            async with asyncio.timeout(self._limits.tool_seconds), read_only(tx) as inner:
                return await look(inner)
        except TimeoutError as error:
            raise ToolTimeout from error
        except Problem:
            raise
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise  # the database, not the tool
        except Exception as error:
            log.warning("tool_look_broke", tool=known.facts.name, error=type(error).__name__, trace=where(error))
            raise ToolFailed from error

    def _draft(
        self, context: ToolContext, tool: str, given: Given, only: Collection[str] | None
    ) -> tuple[Call, Registered | None, Problem | None]:
        """The call as it will be recorded, and what is wrong with it."""
        known, arguments, problem = None, None, None
        try:
            known = self._visible(tool, only)
            arguments = self._checked(known, given)
        except Problem as refusal:
            problem = refusal
            if type(refusal) is UnknownTool:  # not one that is withdrawn: it is said so
                usable = [
                    k.facts.name
                    for k in self._registry.all()
                    if may_use(context.principal, k.facts) and (only is None or k.facts.name in only)
                ]
                problem = UnknownTool(f"There is no such tool here. There are: {', '.join(sorted(usable)) or 'none'}.")
        text = _as_given(tool, known, given, self._limits.tool_arguments_chars) if arguments is None else canonical_json(arguments)
        return new_call(context, known, arguments, text), known, problem

    def _visible(self, tool: str, only: Collection[str] | None) -> Registered:
        if only is not None and tool not in only:
            raise UnknownTool
        return self._registry.get(tool)

    def _checked(self, known: Registered, given: Given) -> dict[str, Any]:
        arguments = parse_arguments(given, chars_max=self._limits.tool_arguments_chars)
        check_arguments(known.validator, arguments)
        return arguments

    async def _claimed(
        self, tx: Transaction, call: Call, known: Registered | None, problem: Problem | None, tainted: bool, *, limited: bool = True
    ) -> CallReport | ReadyCall:
        earlier = await self._calls.claim(tx, call)
        if earlier is not None:
            if earlier.state != "proposed":
                return await self.replayed(tx, earlier, call.context.principal)
            call = replace(call, id=earlier.id)
        elif limited and self._limiter is not None:
            await self._limiter.hit(tx, f"tool_calls:{call.context.principal.id}", self._limits.tool_calls_per_minute, 60)
        if known is None or problem is not None:
            return await self._end(tx, call, reports.failed(call, problem or UnknownTool()))
        return await self._decided(tx, call, known, tainted)

    async def _decided(self, tx: Transaction, call: Call, known: Registered, tainted: bool) -> CallReport | ReadyCall:
        context, arguments = call.context, call.arguments or {}
        query = await self.ask(tx, context, known, arguments, tainted=tainted)
        decision = _with_permission(await self._policy.decide(tx, query), context.principal, known.facts)
        if tainted and isinstance(known.tool, Acting) and decision.decision == "allow":
            decision = replace(decision, decision="confirm", obligations=("confirm",), reasons=(*decision.reasons, _TAINTED))
        call = replace(call, decision=decision, policy_version=decision.policy_version)
        if decision.decision == "deny":
            return await self._end(tx, call, reports.denied(call, decision))
        if decision.decision == "allow":
            await store.allow(tx, call.id, policy_version=decision.policy_version)
            return ReadyCall(id=call.id, context=context, tool=known.facts.name, arguments=arguments, decision=decision)
        try:
            preview = await self.preview(tx, context, known, arguments)
        except ToolTimeout:  # the connection was cut off in the middle of something
            raise
        except Problem as refusal:
            return await self._end(tx, call, reports.failed(call, refusal))
        approval = await self._policy.request_approval(tx, query=query, decision=decision, call_id=context.call_id, preview=preview)
        await store.wait(tx, call.id, approval=approval.id, policy_version=decision.policy_version)
        return waiting_report(context.call_id, known.facts.name, arguments, approval)

    async def _end(self, tx: Transaction, call: Call, report: CallReport) -> CallReport:
        await self._calls.finish(tx, call, report, before=("proposed",))
        return report


def may_use(principal: Principal, facts: ToolFacts) -> bool:
    return all(principal.may(permission) for permission in facts.permissions)


def _with_permission(decision: Decision, principal: Principal, facts: ToolFacts) -> Decision:
    """A missing permission denies whatever the policy says: two locks, either holds."""
    missing = [permission for permission in facts.permissions if not principal.may(permission)]
    if not missing or decision.decision == "deny":
        return decision
    reason = Reason(policy_id="missing-permission", text=f"This needs the permission {', '.join(missing)}.")
    return replace(decision, decision="deny", reasons=(reason,), obligations=())


def _as_json(decision: Decision) -> list[dict[str, str]]:
    return [{"policy_id": reason.policy_id, "text": reason.text} for reason in decision.reasons]


def _as_given(tool: str, known: Registered | None, given: Given, chars_max: int) -> bytes:
    """What is kept of a call that did not validate: evidence, bounded, with the name when no tool has it."""
    text = given if isinstance(given, str) else repr(given)
    kept = text if known is not None else f"{tool[:200]} {text}"
    return kept[:chars_max].encode("utf-8", "backslashreplace")
