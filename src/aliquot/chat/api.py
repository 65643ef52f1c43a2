"""The door to the chat: one object that wires runs, conversations and their background work."""

import asyncio
import json
import uuid
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from aliquot.chat.access import Access, Granted, Saw
from aliquot.chat.attachments.api import AttachmentsApi, FileTools
from aliquot.chat.audience import RECHECK_SECONDS, Audience
from aliquot.chat.contracts import Answer, RunFailed, Started, StoredEvent
from aliquot.chat.conversations import Conversations
from aliquot.chat.direct import DirectCalls
from aliquot.chat.emitter import RunEventWriter
from aliquot.chat.errors import UnknownRun
from aliquot.chat.executor import Executor
from aliquot.chat.export.service import Exports
from aliquot.chat.feedback.service import FeedbackService
from aliquot.chat.feedback.store import FeedbackStore
from aliquot.chat.folders.service import Folders
from aliquot.chat.folders.store import FolderStore
from aliquot.chat.loop import AgentLoop
from aliquot.chat.outcomes import ToolOutcome, tool_outcome
from aliquot.chat.plans.desk import PlanDesk
from aliquot.chat.plans.runner import PlanRunner
from aliquot.chat.plans.service import Plans
from aliquot.chat.plans.store import PlanStore
from aliquot.chat.recovery import Recovery
from aliquot.chat.reviewable import ReviewableAnswers
from aliquot.chat.run_store import RunStore
from aliquot.chat.search.jobs import Backfill
from aliquot.chat.search.service import Search
from aliquot.chat.service import RunService
from aliquot.chat.sharing.jobs import Classification
from aliquot.chat.sharing.opening import Opening
from aliquot.chat.sharing.service import Sharing
from aliquot.chat.sharing.store import ShareStore
from aliquot.chat.signable import SignableConversations, SignedBranches
from aliquot.chat.store import ChatStore
from aliquot.chat.tree.service import Tree
from aliquot.chat.tree.store import TreeStore
from aliquot.chat.usage.store import RunUsage
from aliquot.chat.waiting import Waits
from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.ledger.api import LedgerApi
from aliquot.models.api import ModelsApi
from aliquot.platform.bus import Bus, Link
from aliquot.platform.db import Database, Transaction
from aliquot.platform.jobs import Jobs
from aliquot.platform.limits import Limiter
from aliquot.platform.loops import Loops
from aliquot.platform.settings import Settings
from aliquot.platform.telemetry import Metrics
from aliquot.platform.vault import Vault
from aliquot.policy.api import PolicyApi
from aliquot.policy.contracts import ApprovalState
from aliquot.records.signatures.api import SignaturesApi
from aliquot.records.signatures.contracts import SignableKind
from aliquot.routing.api import RoutingApi
from aliquot.tools.api import ToolsApi
from aliquot.tools.contracts import DryRun, ToolContext

CONTINUE_RUN = "chat.continue_run"


class ChatApi:
    """`runs` starts, watches and cancels; `conversations` keeps. `start_background` and `stop` bracket a server process."""

    def __init__(
        self,
        *,
        db: Database,
        vault: Vault,
        ledger: LedgerApi,
        identity: IdentityApi,
        policy: PolicyApi,
        tools: ToolsApi,
        models: ModelsApi,
        routing: RoutingApi,
        limiter: Limiter,
        jobs: Jobs,
        clock: Clock,
        settings: Settings,
        metrics: Metrics,
        files: FileTools,
        signatures: SignaturesApi,
        link: Link | None = None,
    ) -> None:
        self._db, self._policy, self._settings, self._jobs = db, policy, settings, jobs
        self._identity, self._tools, self._clock = identity, tools, clock
        self._chats, self._runs = ChatStore(vault), RunStore(vault)
        owner, self._waits = new_id(), Waits(self._runs, ledger)
        self._plans = Plans(PlanStore(vault), policy, ledger, clock)
        self.plans = PlanDesk(self._plans, policy, go_on=self._go_on, end_wait=self._waits.end)
        self.events: Bus[StoredEvent] = Bus("run:", link, lambda _, data: self._runs.unpack(data))
        self._writer = RunEventWriter(db, self._runs, self.events, owner, metrics.run_events.inc)
        shares = self._shares = ShareStore()
        self.access = Access(chats=self._chats, runs=self._runs, shares=shares, tools=tools, db=db, ledger=ledger, clock=clock)
        signed = SignedBranches(signatures, self._chats)
        self.attachments = AttachmentsApi(files, self.access, signed.require_unsigned, db, vault, ledger, limiter, jobs, clock, settings)
        loop = self._loop(models, routing, tools, clock)
        self._executor = Executor(
            db=db, chats=self._chats, runs=self._runs, writer=self._writer, loop=loop, recovery=Recovery(db, self._runs, tools),
            identity=identity, policy=policy, ledger=ledger, clock=clock, metrics=metrics, waits=self._waits, owner=owner,
            plan_interrupted=self._plans.run_ended,
        )  # fmt: skip
        self.tree = Tree(self._chats, TreeStore(), self.access, identity, ledger)
        self._audience = Audience(db, self.access, identity)
        self.conversations = Conversations(self._chats, self.access, ledger, clock, settings.limits, signed.require_never_signed)
        self.folders = Folders(FolderStore(vault), self.conversations, ledger, clock, settings.limits)
        self.search = Search(self._chats, self.access, vault, limiter, settings.limits, clock)
        self.feedback = FeedbackService(FeedbackStore(vault), self.conversations, db, ledger, limiter, settings.limits, clock)
        self.reviewable = ReviewableAnswers(self.conversations, self._chats, self.access, FeedbackStore(vault), shares)
        self.backfill, self.usage = Backfill(db, vault, jobs), RunUsage()
        self.exports = self._exporting(vault, identity, tools, ledger, jobs, limiter, clock)
        self.sharing = Sharing(shares, self._chats, self.access, identity, ledger, clock, settings.limits)
        self.opening = self._opening(shares, identity, ledger, vault, clock)
        self.runs = RunService(
            db=db, chats=self._chats, runs=self._runs, access=self.access, tree=self.tree, audience=self._audience,
            conversations=self.conversations, executor=self._executor, writer=self._writer, bus=self.events,
            ledger=ledger, limiter=limiter, limits=settings.limits, clock=clock, metrics=metrics, waits=self._waits,
            files=self.attachments.files, classify=routing.intent, owner=owner,
        )  # fmt: skip
        self.direct = DirectCalls(db, policy, self.runs, self.tool_outcome)
        self.signable: SignableKind = SignableConversations(self.conversations, self._chats, settings.limits.signed_messages)
        self._writing: asyncio.Task[None] | None = None
        jobs.register(CONTINUE_RUN, self._continue_run)

    async def may_hold_patient_data(self, tx: Transaction, run_id: uuid.UUID) -> bool:
        """Whether the conversation of a run holds, or may hold, data of a patient."""
        run = await self._runs.get(tx, run_id)
        return run is None or await self._shares.patient_class(tx, run.conversation_id) != "none"

    def _loop(self, models: ModelsApi, routing: RoutingApi, tools: ToolsApi, clock: Clock) -> AgentLoop:
        return AgentLoop(
            db=self._db, store=self._runs, models=models, routing=routing, tools=tools, refresh=self._fresh, files=self.attachments.reader,
            plans=PlanRunner(self._db, tools, self._plans, self._fresh, self._settings.limits.plan_steps),
            clock=clock, limits=self._settings.limits, zone=ZoneInfo(self._settings.time_zone),
        )  # fmt: skip

    def _exporting(
        self, vault: Vault, identity: IdentityApi, tools: ToolsApi, ledger: LedgerApi, jobs: Jobs, limiter: Limiter, clock: Clock
    ) -> Exports:  # fmt: skip
        files, settings = self.attachments.files, self._settings
        return Exports(self._chats, vault, self.conversations, files, identity, tools, ledger, jobs, limiter, self._db, clock, settings)

    def _opening(self, shares: ShareStore, identity: IdentityApi, ledger: LedgerApi, vault: Vault, clock: Clock) -> Opening:
        self.classification = Classification(self._db, self._chats, shares, self._jobs)
        return Opening(
            store=shares, sharing=self.sharing, chats=self._chats, conversations=self.conversations, tree=self.tree, access=self.access,
            files=self.attachments.files, identity=identity, ledger=ledger, vault=vault, clock=clock, limits=self._settings.limits,
        )  # fmt: skip

    def record_reads(self, saw: Saw, granted: Granted) -> None:
        """Bind who records reads of patient data and knows of emergencies (`records.access`)."""
        self.access.saw, self.access.granted, self._executor.saw = saw, granted, saw

    async def continue_after(self, tx: Transaction, run_id: uuid.UUID) -> None:
        """Called by a decision in its transaction: queue the run and defer the job that executes it."""
        approval = await self._policy.by_next_run(tx, run_id)
        if approval is None:
            raise UnknownRun
        await self.runs.queue_continuation(tx, run_id, approval)
        await self._plans.decided(tx, approval, run_id)
        await self._jobs.defer(tx, CONTINUE_RUN, {"run_id": str(run_id)})

    async def end_wait(self, tx: Transaction, run_id: uuid.UUID, approval: ApprovalState) -> None:
        """Called when an approval ended undecided, in that transaction: neither a run nor a plan waits for it any more."""
        await self._waits.end(tx, run_id, approval)
        await self._plans.undecided(tx, run_id, approval)

    async def wait_for_other(self, tx: Transaction, run_id: uuid.UUID, approval_id: uuid.UUID) -> None:
        """Called when an edited request takes the place of the one a run waits for. Raises StepFixed for a step of a plan."""
        await self._plans.other_approval(tx, run_id)
        await self._waits.other(tx, run_id, approval_id)

    async def _go_on(self, tx: Transaction, after: uuid.UUID, person: Principal, reason: str) -> uuid.UUID:
        """Queue the run that goes on with a plan, and defer the job that executes it."""
        run_id = new_id()
        await self.runs.queue_plan(tx, run_id, after, person, reason)
        await self._jobs.defer(tx, CONTINUE_RUN, {"run_id": str(run_id)})
        return run_id

    async def answer(self, principal: Principal, started: Started) -> Answer:
        """Wait for the end of a run and give its answer."""
        last: StoredEvent | None = None
        async for events in self.runs.watch(started.run_id, 0, principal):
            last = events[-1] if events else last
        final: Mapping[str, Any] = json.loads(last.payload) if last is not None else {}
        async with self._db.begin() as tx:
            run = await self.runs.run(tx, principal, started.run_id)
            message = await self._chats.get_message(tx, run.conversation_id, run.message_id)
            stopped = final.get("state") == "waiting_approval"  # what the run ended with, whatever became of the approval since
            approval = await self._policy.get(tx, principal, run.approval_id) if stopped and run.approval_id else None
        error = {k: final[k] for k in ("code", "detail", "retryable")} if last is not None and last.kind == RunFailed.kind else None
        return Answer(run=run, message=message, approval=approval, error=error, confidence=final.get("confidence"))

    async def tool_outcome(self, principal: Principal, started: Started) -> ToolOutcome:
        """Wait for a direct tool call; what to answer over HTTP."""
        answer = await self.answer(principal, started)
        async with self._db.begin() as tx:
            steps = (await self._runs.steps(tx, [started.run_id])).get(started.run_id, [])
        return tool_outcome(answer, steps)

    async def dry_run(self, principal: Principal, tool: str, arguments: dict[str, Any]) -> DryRun:
        """What a call would do; changes nothing."""
        key = f"dry-run:{new_id()}"
        context = ToolContext(principal=principal, run_id=None, call_id=key, idempotency_key=key)
        return await self._tools.dry_run(context, tool, arguments)

    def register_loops(self, loops: Loops) -> None:
        """Lease renewal and take-over of dead runs."""
        self.attachments.register_loops(loops)
        loops.register("chat.renew_leases", 2.5, self._executor.renew)
        loops.register("chat.take_over", 5.0, self._executor.take_over)
        loops.register("chat.recheck_watchers", RECHECK_SECONDS, self._audience.recheck)

    def start_background(self) -> None:
        """Start the shared writer of run events."""
        self._writing = asyncio.create_task(self._writer.work(), name="run events")

    async def own_all_runs(self) -> None:
        """At the start of a server that holds the data folder alone: every lease belongs to a dead process."""
        async with self._db.begin() as tx:
            await self._runs.expire_all_leases(tx, self._clock.now())

    async def stop(self) -> None:
        """Let answers finish for a moment, then stop; unfinished runs are taken over by the next start."""
        await self._executor.stop(self._settings.shutdown_seconds)
        self.search.close()
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _fresh(self, principal: Principal) -> Principal:
        async with self._db.begin() as tx:
            return await self._identity.principal(tx, principal.id, via=principal.via, ip=principal.ip)

    async def _continue_run(self, *, run_id: str) -> None:
        await self.runs.continue_run(uuid.UUID(run_id))
