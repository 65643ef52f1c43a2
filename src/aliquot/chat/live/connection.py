"""One connection: its queue, its position in every run, and what each frame of its client does."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog

from aliquot.chat.contracts import TERMINAL, Started, StartRun
from aliquot.chat.live import frames
from aliquot.chat.live.outbox import Outbox
from aliquot.chat.live.reader import PAGE, Closing, RunReader
from aliquot.chat.live.rooms import Room
from aliquot.chat.live.store import LiveStore, Mark
from aliquot.chat.service import RunService
from aliquot.identity.contracts import Principal
from aliquot.kernel.problems import Conflict, InvalidInput, Problem, RateLimited
from aliquot.platform.db import Database, Transaction
from aliquot.platform.settings import Limits
from aliquot.policy.api import PolicyApi, kept_refusals
from aliquot.policy.contracts import Signature

log = structlog.get_logger(__name__)

Recheck = Callable[[Transaction], Awaitable[Principal]]
"""Who the connection's credential stands for at this moment. Raises Unauthenticated."""

POLICY_VIOLATION = 1008
REPLAY_RUNS_MAX = 200
_AFTER_RUNS = 20
_POSITIONS_MAX = 2_000
_TYPING_SECONDS = 1.0
_RESUME_SECONDS = 1.0
"""So long after connecting a client that did not resume is taken for one that does not."""
_ERROR_SECONDS = 1.0


class TooManyFrames(RateLimited):
    sentence = "Too many frames in a short time; the surplus was not read."


class Behind(Problem):
    code, status, sentence = "resume", 429, "You read too slowly and frames were dropped: send `resume` with what you have seen."
    retryable = True


class ResumeTooFar(InvalidInput):
    code, sentence = "resume_too_far", "Too much happened meanwhile: load the messages of the conversation, then send `resume` alone."


class Resuming(Conflict):
    code, sentence = "resuming", "The last `resume` is still being answered."


class NoConversation(InvalidInput):
    code, sentence = "no_conversation", "This conversation begins with its first message."


class Hall(Protocol):
    """What connections need of the process they are in."""

    def enter(self, connection: "Connection", conversation_id: uuid.UUID) -> Room: ...

    def leave(self, connection: "Connection") -> None: ...

    def tell_typing(self, connection: "Connection", active: bool) -> None: ...

    def count_frame(self, connection: "Connection") -> None: ...

    def count_limited(self) -> None: ...


class Connection:
    """The state of one socket. `receive` is called for one frame after the other."""

    def __init__(
        self, *, principal: Principal, recheck: Recheck, reference: str, hall: Hall, db: Database, runs: RunService, store: LiveStore,
        reader: RunReader, policy: PolicyApi, limits: Limits,
    ) -> None:  # fmt: skip
        self.principal, self.recheck, self.reference = principal, recheck, reference
        self._hall, self._db, self._runs, self._store, self._reader, self._policy = hall, db, runs, store, reader, policy
        self._limits = limits
        self.outbox = Outbox(limits.live_queue_frames, limits.live_queue_bytes)
        self.room: Room | None = None
        self.frames_in = self.refused = 0
        self._positions: dict[uuid.UUID, int] = {}
        self._replaying: asyncio.Task[None] | None = None
        self._joining = asyncio.Lock()
        self._behind = self._resumed = False
        self._began_at = asyncio.get_running_loop().time()
        self._typed_at = self._error_at = float("-inf")

    # --- what the room does

    def push(self, frame: str) -> None:
        if not self._behind and not self.outbox.put(frame):
            self._fall_behind()

    def push_run(self, run_id: uuid.UUID, seq: int, frame: str) -> None:
        if not self._behind and seq > self._positions.get(run_id, seq):
            self._positions[run_id] = seq
            self.push(frame)

    def push_end(self, run_id: uuid.UUID, closing: Closing) -> None:
        if run_id in self._positions:
            self.push_run(run_id, closing.seq, closing.frame)
        elif not self._resumed:  # it may be about to resume, and is sent everything then
            loop = asyncio.get_running_loop()
            loop.call_at(max(loop.time(), self._began_at + _RESUME_SECONDS), self._push_alone, closing.alone)

    def _push_alone(self, frame: str) -> None:
        if not self._resumed and self.room is not None:
            self.push(frame)

    def hears(self, run_id: uuid.UUID) -> bool:
        return run_id in self._positions

    def expect(self, run_id: uuid.UUID) -> bool:
        if self._behind:
            return False
        self._positions.setdefault(run_id, -1)
        while len(self._positions) > _POSITIONS_MAX:
            self._positions.pop(next(iter(self._positions)))
        return True

    def _fall_behind(self) -> None:
        """The client reads too slowly: what waits is dropped, and nothing more is queued until it resumes."""
        self._behind = True
        self._positions.clear()
        if self.room is not None:
            self.room.unlisten(self)
        if self._replaying is not None:
            self._replaying.cancel()
        self.outbox.clear()
        self.outbox.put(frames.error(Behind()))

    # --- coming and going

    async def begin(self, conversation_id: uuid.UUID | None) -> None:
        """Greet; enter the room if the conversation exists."""
        after: dict[str, int] = {}
        if conversation_id is not None:
            marks = await self._enter(conversation_id)
            assert self.room is not None  # noqa: S101 - entered
            after = self.room.discover(marks, self)
            after = dict(list(after.items())[:_AFTER_RUNS])
        user = frames.person(self.principal) | {"email": self.principal.email}
        shown = str(conversation_id) if conversation_id else None
        self.outbox.put_first(frames.frame("connection", user=user, conversation_id=shown, after=after))

    async def join(self, conversation_id: uuid.UUID) -> None:
        """Enter a conversation that began after the connection: everything in it is sent."""
        async with self._joining:
            if self.room is not None and self.room.conversation_id == conversation_id:
                return
            self.leave()
            marks = await self._enter(conversation_id)
            assert self.room is not None  # noqa: S101 - entered
            self.room.discover(marks, self)
            self._replay([(mark.run_id, -1) for mark in reversed(marks)])

    def leave(self) -> None:
        if self._replaying is not None:
            self._replaying.cancel()
        if self.room is not None:
            self._hall.leave(self)
            self.room = None

    async def _enter(self, conversation_id: uuid.UUID) -> list[Mark]:
        self.room = self._hall.enter(self, conversation_id)
        async with self._db.begin() as tx:
            return await self._store.recent(tx, conversation_id, REPLAY_RUNS_MAX)

    # --- what the client sends

    async def receive(self, text: str) -> None:
        """One frame. Refusals are answered; nothing is raised but what is a bug."""
        if not self._admitted():
            return
        frame: frames.Frame | None = None
        try:
            frame = frames.parse(text)
            await self._act(frame)
        except Problem as problem:
            of = frame.type if frame is not None else None
            if isinstance(problem, RateLimited):
                self._hall.count_limited()
            self.push(frames.error(problem, of, getattr(frame, "client_id", None)))

    def refuse(self, problem: Problem) -> None:
        """Something that is not a frame arrived."""
        if self._admitted():
            self.push(frames.error(problem))

    def _admitted(self) -> bool:
        self.frames_in += 1
        try:
            self._hall.count_frame(self)
        except RateLimited as problem:
            self.refused += 1
            self._hall.count_limited()
            now = asyncio.get_running_loop().time()
            if self.refused > self._limits.live_refused_frames:
                self.outbox.close(POLICY_VIOLATION, "too many frames")
            elif now - self._error_at >= _ERROR_SECONDS:
                self._error_at = now
                self.push(frames.error(TooManyFrames(retry_after=problem.retry_after)))
            return False
        return True

    async def _act(self, frame: frames.Frame) -> None:
        match frame:
            case frames.MessageFrame():
                await self._message(frame)
            case frames.TypingFrame():
                self._typing(frame)
            case frames.PingFrame():
                self.push(frames.frame("pong", **({} if frame.id is None else {"id": frame.id})))
            case frames.ResumeFrame():
                await self._resume(frame)
            case frames.CancelFrame():
                await self._cancel(frame)
            case frames.ApproveFrame():
                await self._approve(frame)

    async def _message(self, frame: frames.MessageFrame) -> None:
        async with self._runs.starting() as tx:
            self.principal = await self.recheck(tx)
            request = StartRun(
                principal=self.principal, message=frame.content, conversation=self.reference, parent_id=frame.parent_id, model=frame.model,
                idempotency_key=frame.client_id, attachments=frame.attachment_ids,
            )  # fmt: skip
            started = await self._runs.start(tx, request)
        if frame.client_id is not None:
            self._accepted(frame, client_id=frame.client_id, run_id=started.run_id, conversation_id=started.conversation_id)
        await self._be_there(started)

    async def _be_there(self, started: Started) -> None:
        """In the room of the conversation that was written in: the first message makes it, a session may have begun anew."""
        if self.room is None or self.room.conversation_id != started.conversation_id:
            await self.join(started.conversation_id)

    def _typing(self, frame: frames.TypingFrame) -> None:
        now = asyncio.get_running_loop().time()
        if frame.active and now - self._typed_at < _TYPING_SECONDS:
            return
        self._typed_at = now if frame.active else float("-inf")
        self._hall.tell_typing(self, frame.active)

    async def _cancel(self, frame: frames.CancelFrame) -> None:
        async with self._db.begin() as tx:
            self.principal = await self.recheck(tx)
            run_id = frame.run_id
            if run_id is None and self.room is not None:
                run_id = await self._store.going_on(tx, self.room.conversation_id, self.principal.id)
            if run_id is None:
                raise Conflict("You have nothing going on here that could be cancelled.")
            run = await self._runs.cancel(tx, self.principal, run_id)
        self._accepted(frame, run_id=run.id, state=run.state)

    async def _approve(self, frame: frames.ApproveFrame) -> None:
        given = frame.signature
        signature = None if given is None else Signature(**dict(given))
        async with kept_refusals(self._db) as tx:
            self.principal = await self.recheck(tx)
            decided = await self._policy.decide_approval(
                tx, self.principal, frame.approval_id, frame.decision, reason=frame.reason, signature=signature
            )
        self._accepted(frame, approval_id=decided.id, state=decided.state, run_id=decided.next_run_id)

    def _accepted(self, frame: frames.Frame, **fields: Any) -> None:
        self.push(frames.frame("accepted", of=frame.type, **fields))

    # --- resume

    async def _resume(self, frame: frames.ResumeFrame) -> None:
        if self._replaying is not None and not self._replaying.done():
            raise Resuming
        if self.room is None:
            if frame.after is None:
                return  # there is nothing to be missed before the first message
            raise NoConversation
        # Before the log is read: what starts from now on is heard live, what started before is in the log.
        self._behind, self._resumed = False, True
        listed = None if frame.after is None else list(frame.after)
        async with self._db.begin() as tx:
            marks = await self._store.to_replay(tx, self.room.conversation_id, listed, REPLAY_RUNS_MAX + 1)
        if len(marks) > REPLAY_RUNS_MAX:
            raise ResumeTooFar
        seen = frame.after or {}
        self._replay([(mark.run_id, seen.get(mark.run_id, -1)) for mark in marks])
        self.push(self.room.presence.frame())

    def _replay(self, runs: list[tuple[uuid.UUID, int]]) -> None:
        unheard = [(run_id, seq) for run_id, seq in runs if run_id not in self._positions]
        self._positions |= {run_id: _UNHEARD for run_id, _ in unheard}
        self._replaying = asyncio.create_task(self._replay_all(unheard), name="resume")

    async def _replay_all(self, runs: list[tuple[uuid.UUID, int]]) -> None:
        try:
            for run_id, seq in runs:
                await self._replay_run(run_id, seq)
        except Problem as problem:
            self._fall_behind()  # the client resumes from what it has
            log.warning("resume_failed", code=problem.code)

    async def _replay_run(self, run_id: uuid.UUID, seq: int) -> None:
        """From the log up to where the room's stream is, then with the stream; or up to the end."""
        room = self.room
        if seq < 0:
            if (opening := await self._reader.opening(run_id)) is not None:
                await self._put(opening)
            seq = 0
        while room is not None:
            events, mark = await self._reader.page(run_id, seq)
            for event in events:
                await self._put(frames.run_event(event))
                seq = event.seq
            if mark is None or (events and events[-1].kind in TERMINAL) or (mark.finished and not events):
                break
            if len(events) < PAGE and not mark.finished:
                stream = room.follow(run_id, seq)
                if seq >= stream.position:
                    self._positions[run_id] = seq
                    stream.listeners.add(self)
                    return
        closing = await self._reader.closing(run_id)
        if closing is not None and closing.seq > seq:
            await self._put(closing.frame)
            seq = closing.seq
        self._positions[run_id] = seq

    async def _put(self, frame: str) -> None:
        """At the client's pace."""
        await self.outbox.room_for(frame)
        self.push(frame)


_UNHEARD = 2**31
"""The position in a run that is being read from the log: live frames of it are left out until that is done."""
