"""Starting, watching and cancelling runs. Routes and jobs enter by `api`; execution is `executor`'s."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any

from aliquot.chat.access import Access, Door
from aliquot.chat.attachments.service import Attachments
from aliquot.chat.audience import Audience
from aliquot.chat.contracts import TERMINAL, Conversation, Message, Regenerate, Run, Started, StartRun, StartToolCall, StoredEvent
from aliquot.chat.conversations import Conversations
from aliquot.chat.emitter import RunEmitter, RunEventWriter
from aliquot.chat.errors import EmptyMessage, MessageTooLong, NotYourRun, RunFinished, ShuttingDown, UnknownRun
from aliquot.chat.executor import Executor, Known, started_event
from aliquot.chat.run_store import LEASE, RunStore, Step, run_view
from aliquot.chat.store import ChatStore
from aliquot.chat.tree.service import Tree
from aliquot.chat.turnstile import Turnstile
from aliquot.chat.waiting import Waits
from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json, content_hash, sha256_hex
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import InvalidInput
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.bus import Bus, Subscription
from aliquot.platform.db import Database, Transaction
from aliquot.platform.limits import Limiter
from aliquot.platform.settings import Limits
from aliquot.platform.telemetry import Metrics
from aliquot.policy.contracts import Approval
from aliquot.routing.contracts import Intent

_PAGE = 500
_HEARTBEAT_SECONDS = 15.0
_QUIET_SECONDS = 1.0
"""How long a watcher trusts live fan-out before it looks into the log itself (the run may execute in another process)."""


class IdempotencyMismatch(InvalidInput):
    code, sentence = "idempotency_mismatch", "This Idempotency-Key was already used with another request."


class RunService:
    """Runs from the outside."""

    def __init__(
        self,
        *,
        db: Database,
        chats: ChatStore,
        runs: RunStore,
        access: Access,
        tree: Tree,
        audience: Audience,
        conversations: Conversations,
        executor: Executor,
        writer: RunEventWriter,
        bus: Bus[StoredEvent],
        ledger: LedgerApi,
        limiter: Limiter,
        limits: Limits,
        clock: Clock,
        metrics: Metrics,
        waits: Waits,
        files: Attachments,
        classify: Callable[[str], Intent],
        owner: uuid.UUID,
    ) -> None:
        self._classify = classify
        self.starting = Turnstile(db).begin
        self._files = files
        self._waits, self._access, self._tree, self._audience = waits, access, tree, audience
        self._db, self._chats, self._runs, self._conversations = db, chats, runs, conversations
        self._executor, self._writer, self._bus, self._ledger = executor, writer, bus, ledger
        self._limiter, self._limits, self._clock, self._metrics, self._owner = limiter, limits, clock, metrics, owner

    async def start(self, tx: Transaction, request: StartRun) -> Started:
        """Commit the user's message, the run and their audit event; execution begins after the commit."""
        principal = request.principal
        text = self._clean(request.message, request.max_chars or self._limits.message_chars)
        if request.model is not None and not request.model.isprintable():
            raise InvalidInput("model: there is no model of this name")
        key = _idempotency(principal, "run", request.idempotency_key)
        parts = [text, request.conversation, str(request.parent_id), request.model, request.kind, str(request.edit_of), request.dashboard]
        fingerprint = content_hash([*parts, *map(str, request.attachments)])
        if key is not None and (repeated := await self._repeated(tx, key, fingerprint)) is not None:
            return repeated
        conversation = await self._conversations.open_or_create(tx, principal, request.conversation, request.kind, text)
        parent_id = await self._parent(tx, conversation, request)
        user_message_id, at = new_id(), self._clock.now()
        meta = {"attachments": [str(a) for a in request.attachments]} if request.attachments else {}
        await self._chats.add_message(
            tx, message_id=user_message_id, conversation_id=conversation.id, parent_id=parent_id, role="user", subject=principal.id,
            text=text, at=at, meta=meta,
        )  # fmt: skip
        if meta:
            await self._files.bind_new(tx, principal, user_message_id, request.attachments)
        await self._limit(tx, principal, "run", self._limits.run_starts_per_minute)
        values = self._row(principal, conversation.id, "chat") | {
            "user_message_id": user_message_id, "model": request.model, "idempotency_key": key, "request_sha256": fingerprint,
            "dashboard": request.dashboard,
        } | _intent(self._classify(text))  # fmt: skip
        session_id = conversation.client_id or str(conversation.id)
        shown = session_id if conversation.kind == "session" else None
        opening = None
        if parent_id is None:
            opening = Message(
                id=user_message_id, conversation_id=conversation.id, parent_id=None, role="user", content=text, created_at=at, metadata=meta
            )
        await self._begin(tx, principal, values, {"message": text.encode()}, session_id=shown, opening=opening)
        return Started(run_id=values["id"], conversation_id=conversation.id, session_id=session_id)

    async def regenerate(self, tx: Transaction, request: Regenerate) -> Started:
        """Answer a question again: a new run beside the earlier ones, whose message stays. It counts as a run start."""
        principal = request.principal
        if request.model is not None and not request.model.isprintable():
            raise InvalidInput("model: there is no model of this name")
        key = _idempotency(principal, "regenerate", request.idempotency_key)
        fingerprint = content_hash([str(request.message_id), request.model])
        if key is not None and (repeated := await self._repeated(tx, key, fingerprint)) is not None:
            return repeated
        conversation, question_id = await self._tree.ask_again(tx, request)
        await self._limit(tx, principal, "run", self._limits.run_starts_per_minute)
        values = self._row(principal, conversation.id, "chat") | {
            "user_message_id": question_id, "model": request.model, "idempotency_key": key, "request_sha256": fingerprint,
        } | await self._runs.asked_with(tx, conversation.id, question_id)  # fmt: skip
        await self._begin(tx, principal, values, {})
        return Started(run_id=values["id"], conversation_id=conversation.id, session_id=str(conversation.id))

    async def start_tool(self, tx: Transaction, request: StartToolCall, *, join: bool = False) -> Started:
        """A direct tool call: the call is a step already answered, so the loop executes it and renders the result.

        With `join` the same call of this person is given instead, if it goes on or waits for a decision.
        """
        principal = request.principal
        try:
            arguments = canonical_json(request.arguments).decode()
        except ValueError as error:
            raise InvalidInput("arguments: they hold a number or text that JSON cannot carry unchanged") from error
        key = _idempotency(principal, "tool", request.idempotency_key)
        fingerprint = content_hash([request.tool, arguments])
        if key is not None and (repeated := await self._repeated(tx, key, fingerprint)) is not None:
            return repeated
        if join and (same := await self._runs.same_call(tx, principal.id, fingerprint)) is not None:
            return _already(same)
        await self._limit(tx, principal, "tool", self._limits.tool_calls_per_minute)
        conversation = await self._conversations.open_or_create(tx, principal, None, "tool", request.tool)
        values = self._row(principal, conversation.id, "tool") | {"idempotency_key": key, "request_sha256": fingerprint}
        use = {"call_id": f"call_{values['id'].hex[:24]}", "name": request.tool, "arguments": arguments}
        step = Step(n=0, tool_uses=[use], source="direct", state="answered")
        await self._begin(tx, principal, values, {"arguments": arguments.encode()}, step=step, tool=request.tool)
        return Started(run_id=values["id"], conversation_id=conversation.id, session_id=str(conversation.id))

    async def queue_continuation(self, tx: Transaction, run_id: uuid.UUID, approval: Approval) -> None:
        """The run that continues after a decision, queued in the decision's transaction. It runs on the requester's account."""
        parent = await self._runs.get(tx, approval.run_id) if approval.run_id is not None else None
        if parent is None:
            raise UnknownRun
        await self._waits.end(tx, parent.id, approval.state)
        await self._queue(tx, run_id, parent, str(approval.decided_by or "system"), "approval decided", approval.id)

    async def queue_plan(self, tx: Transaction, run_id: uuid.UUID, after: uuid.UUID, person: Principal, reason: str) -> None:
        """A run that goes on with a plan, after the run `after`, because a person said so."""
        parent = await self._runs.answered(tx, after)
        if parent is None:
            raise UnknownRun
        await self._queue(tx, run_id, parent, str(person.id), reason, None)

    async def _queue(
        self, tx: Transaction, run_id: uuid.UUID, parent: Any, actor: str, reason: str, approval_id: uuid.UUID | None
    ) -> None:  # fmt: skip
        await self._runs.create(
            tx,
            {
                "id": run_id, "conversation_id": parent.conversation_id, "person_id": parent.person_id, "kind": "continue",
                "via": parent.via, "session_id": parent.session_id, "ip": parent.ip, "message_id": new_id(), "model": parent.model,
                "dashboard": parent.dashboard, "intent": parent.intent, "intent_confidence": parent.intent_confidence,
                "user_message_id": parent.message_id, "parent_run_id": parent.id, "approval_id": approval_id,
                "created_at": self._clock.now(), "lease_until": self._clock.now(),
            },
        )  # fmt: skip
        await self._ledger.append(
            tx,
            AuditEvent(
                action="run.queued", actor=actor, on_behalf_of=str(parent.person_id), record=RecordRef(type="run", id=str(run_id)),
                run_id=run_id, reason=reason,
            ),
        )  # fmt: skip

    async def continue_run(self, run_id: uuid.UUID) -> None:
        """Job: take the queued run for this process and execute it. Repeating it does nothing."""
        async with self._db.begin() as tx:
            row = await self._runs.claim(tx, run_id, self._owner, self._clock.now())
            if row is not None:
                tx.after_commit(lambda: self._executor.spawn(row))

    async def cancel(self, tx: Transaction, principal: Principal, run_id: uuid.UUID) -> Run:
        """Ask for the run's end: whoever started it, or the owner of the conversation. What was said so far is kept as an
        incomplete message."""
        row, conversation = await self._access.run(tx, principal, run_id)
        if principal.id not in (row.person_id, conversation.owner_id):
            raise NotYourRun
        if row.state not in ("queued", "running"):
            raise RunFinished
        await self._runs.request_cancel(tx, run_id)
        await self._ledger.append(
            tx,
            AuditEvent(
                action="run.cancel_requested", actor=str(principal.id), via=principal.via, ip=principal.ip, run_id=run_id,
                record=RecordRef(type="run", id=str(run_id)),
            ),
        )  # fmt: skip
        tx.after_commit(lambda: self._executor.cancel(run_id))
        return run_view(row)

    async def cancel_all(self, tx: Transaction, conversation_id: uuid.UUID) -> None:
        """The conversation was deleted: what goes on in it is cancelled. What was said so far is kept for a restore."""
        for run_id in await self._runs.going_on(tx, conversation_id):
            await self._runs.request_cancel(tx, run_id)
            tx.after_commit(partial(self._executor.cancel, run_id))

    async def run(self, tx: Transaction, principal: Principal, run_id: uuid.UUID) -> Run:
        """A run of a conversation this person may read."""
        return run_view((await self._access.run(tx, principal, run_id))[0])

    async def opening(self, tx: Transaction, principal: Principal, run_id: uuid.UUID, door: Door) -> Run:
        """The same; recorded, unless it is in a conversation of one's own."""
        return run_view(await self._access.opening_run(tx, principal, run_id, door))

    async def events(self, tx: Transaction, principal: Principal, run_id: uuid.UUID, after: int) -> list[StoredEvent]:
        """A page of the run's log."""
        await self._access.run(tx, principal, run_id)
        return await self._runs.events(tx, run_id, after, _PAGE)

    async def watch(self, run_id: uuid.UUID, after: int, reader: Principal | None = None) -> AsyncGenerator[list[StoredEvent], None]:
        """Every event with seq > `after`, in order and once, in batches as they come, until the run's last one.

        An empty batch is a sign of life after 15 s of silence. The caller has checked that `reader` may see the run; who loses that
        right hears nothing more, its Problem is raised. The log is the truth; live fan-out only hurries: a watcher that falls behind
        reads the log.
        """
        self._metrics.open_streams.inc()
        try:
            near = self._executor.executes(run_id)
            with self._bus.subscribe(str(run_id), near=near) as live, self._audience.seat(reader, run_id) as seat:
                silent = 0.0
                recent = self._writer.recent(run_id)
                from_log = recent is None
                for event in recent or ():
                    live.push(event)
                while True:
                    events, from_log = await self._next(run_id, after, live, from_log)
                    if events is None:
                        return
                    await self._audience.admit(seat, events)
                    if events:
                        after = events[-1].seq
                        yield events
                        if events[-1].kind in TERMINAL:
                            return
                    silent = 0.0 if events else silent + _QUIET_SECONDS
                    if silent >= _HEARTBEAT_SECONDS:
                        silent = 0.0
                        yield []
        finally:
            self._metrics.open_streams.dec()

    async def _next(
        self, run_id: uuid.UUID, after: int, live: Subscription[StoredEvent], from_log: bool
    ) -> tuple[list[StoredEvent] | None, bool]:
        """The next events without a gap (None: the run is over and has none), and whether the log has to be asked (again)."""
        if from_log:
            live.drain()
            over, events = await self._runs.read_on(self._db, run_id, after, _PAGE)
            return (None if over and not events else events), len(events) == _PAGE
        arrived = await live.wait(_QUIET_SECONDS)
        lagging = live.lagging
        events = []
        for event in live.drain():
            if event.seq == after + 1:
                events.append(event)
                after = event.seq
            elif event.seq > after:  # something is missing between the log and the live events
                return events, True
        return events, lagging or not arrived

    async def wait_for_events(self, principal: Principal, run_id: uuid.UUID, after: int, seconds: float) -> list[StoredEvent]:
        """Long poll: events after `after`, as soon as there are any, at most `seconds` later an empty list."""
        with self._bus.subscribe(str(run_id), near=self._executor.executes(run_id)) as live:
            deadline = asyncio.get_running_loop().time() + seconds
            while True:
                async with self._db.begin() as tx:
                    events = await self.events(tx, principal, run_id, after)
                    row = await self._runs.get(tx, run_id)
                left = deadline - asyncio.get_running_loop().time()
                if events or left <= 0 or (row is not None and row.finished_at is not None):
                    return events
                await live.wait(min(left, _QUIET_SECONDS))
                live.drain()

    # --- parts of a start

    def _clean(self, text: str, limit: int) -> str:
        if not text.strip():
            raise EmptyMessage
        if len(text) > limit:
            raise MessageTooLong(f"The message has {len(text):,} characters; at most {limit:,} are accepted.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput("The message is not valid Unicode text.") from error
        return text

    async def _limit(self, tx: Transaction, principal: Principal, what: str, per_minute: int) -> None:
        """Count the start. Late, and after the conversation everywhere: other starts of this person wait from here to the commit."""
        if self._executor.closing:
            raise ShuttingDown
        await self._limiter.hit(tx, f"{what}:{principal.id}", per_minute, 60)

    async def _repeated(self, tx: Transaction, key: str, fingerprint: str) -> Started | None:
        row = await self._runs.by_idempotency_key(tx, key)
        if row is None:
            return None
        if row.request_sha256 != fingerprint:
            raise IdempotencyMismatch
        return _already(row)

    async def _parent(self, tx: Transaction, conversation: Conversation, request: StartRun) -> uuid.UUID | None:
        head = await self._tree.parent(tx, conversation, request)
        for turn in request.history:
            message_id = new_id()
            await self._chats.add_message(
                tx, message_id=message_id, conversation_id=conversation.id, parent_id=head, role=turn.role, subject=request.principal.id,
                text=turn.text, at=self._clock.now(),
            )  # fmt: skip
            head = message_id
        return head

    def _row(self, principal: Principal, conversation_id: uuid.UUID, kind: str) -> dict[str, Any]:
        at = self._clock.now()
        return {
            "id": new_id(), "conversation_id": conversation_id, "person_id": principal.id, "kind": kind, "state": "running",
            "via": principal.via, "session_id": principal.session_id, "ip": principal.ip, "message_id": new_id(), "created_at": at,
            "lease_owner": self._owner, "lease_until": at + LEASE,
        }  # fmt: skip

    async def _begin(
        self,
        tx: Transaction,
        principal: Principal,
        values: dict[str, Any],
        content: dict[str, bytes],
        *,
        step: Step | None = None,
        tool: str | None = None,
        session_id: str | None = None,
        opening: Message | None = None,
    ) -> None:
        """Insert the run with its first event, its first step and its audit event; execute after the commit."""
        run_id = values["id"]
        keyed = values.get("idempotency_key") is not None
        row = await self._runs.create(tx, values) if keyed else await self._runs.add(tx, values)
        if row is None:
            raise IdempotencyMismatch("The same Idempotency-Key is being used by another request at this moment.")
        if step is None:
            await self._runs.begin_step(tx, run_id, 0)
        else:
            await self._runs.save_step(tx, run_id, principal.id, step)
        emitter = RunEmitter(self._writer, self._runs, self._clock, run_id, principal.id, 0)
        await emitter.commit_with(tx, [started_event(row, session_id)])
        await self._ledger.append(
            tx,
            AuditEvent(
                action="run.started", actor=str(principal.id), via=principal.via, ip=principal.ip, run_id=run_id,
                record=RecordRef(type="run", id=str(run_id)), tool=tool, content=content, subject=principal.id,
                versions={} if row.intent is None else {"intent": f"{row.intent} {row.intent_confidence:.2f}"},
            ),
        )  # fmt: skip
        known = Known(principal, opening) if opening is not None else None
        tx.after_commit(lambda: self._executor.spawn(row, known=known))


def _intent(intent: Intent) -> dict[str, Any]:
    return {"intent": intent.name, "intent_confidence": intent.confidence}


def _idempotency(principal: Principal, route: str, key: str | None) -> str | None:
    return None if key is None else sha256_hex(f"{principal.id}:{route}:{key}".encode())


def _already(row: Any) -> Started:
    """A run that was there already."""
    return Started(run_id=row.id, conversation_id=row.conversation_id, session_id=str(row.conversation_id), repeated=True)
