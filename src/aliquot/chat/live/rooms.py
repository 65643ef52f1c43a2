"""A room: one conversation in one process, its connections, and each run going on there watched once for all of them.

Every connection has its own position per run, so that it hears each frame of a run once and in order: live from the room's stream,
or, after `resume`, from the log until it has caught up with the stream.
"""

import asyncio
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import structlog

from aliquot.chat.audience import RESULTS
from aliquot.chat.contracts import StoredEvent
from aliquot.chat.live import frames
from aliquot.chat.live.presence import Presence
from aliquot.chat.live.reader import Closing, RunReader
from aliquot.chat.live.store import Mark
from aliquot.chat.service import RunService
from aliquot.identity.contracts import Principal
from aliquot.kernel.problems import Problem

log = structlog.get_logger(__name__)

_KNOWN_MAX = 1_000
_AGAIN_SECONDS = 1.0


class Member(Protocol):
    """A connection as its room sees it."""

    principal: Principal

    def push(self, frame: str) -> None:
        """Queue a frame that belongs to no run."""

    def push_run(self, run_id: uuid.UUID, seq: int, frame: str) -> None:
        """Queue a run's frame, unless it was queued before."""

    def push_end(self, run_id: uuid.UUID, closing: Closing) -> None:
        """Queue the end of a run, also for a client that did not hear how it came about."""

    def hears(self, run_id: uuid.UUID) -> bool:
        """Whether frames of this run were, or are being, queued."""

    def expect(self, run_id: uuid.UUID) -> bool:
        """The room offers to send this run from its start; False when it must wait for `resume`."""


class Stream:
    """One run that goes on, watched for the listeners."""

    def __init__(self, run_id: uuid.UUID, position: int, listeners: set[Member]) -> None:
        self.run_id, self.position, self.listeners = run_id, position, listeners
        self.task: asyncio.Task[None] | None = None

    def deliver(self, events: Sequence[StoredEvent]) -> None:
        for event in events:
            frame = frames.run_event(event)
            self.position = event.seq
            for member in tuple(self.listeners):
                member.push_run(self.run_id, event.seq, frame)


class Room:
    """One conversation."""

    def __init__(self, conversation_id: uuid.UUID, runs: RunService, reader: RunReader, doubt: Callable[[uuid.UUID], None]) -> None:
        """`doubt` keeps the frames of a room's connections until their people's rights were looked up."""
        self.conversation_id = conversation_id
        self._doubt = doubt
        self._runs, self._reader = runs, reader
        self.members: set[Member] = set()
        self.presence = Presence()
        self.seeded = False
        """Whether it is known which runs were there before."""
        self._streams: dict[uuid.UUID, Stream] = {}
        self._known: dict[uuid.UUID, None] = {}
        self.undo: list[Callable[[], None]] = []

    # --- runs

    def discover(self, marks: Iterable[Mark], newcomer: Member) -> dict[str, int]:
        """Take note of the runs there are (newest first). Answers what `newcomer` has not missed: see `docs/streams.md`."""
        after: dict[str, int] = {}
        others = self.members - {newcomer} if self.seeded else set()
        for mark in marks:
            if newcomer.hears(mark.run_id):
                continue  # it began after the newcomer came
            if mark.run_id not in self._known and (others or not mark.finished):
                self._begin(mark.run_id, 0 if others else mark.last_seq, others)
            self._note(mark.run_id)
            after[str(mark.run_id)] = mark.last_seq + 1 if mark.finished else -1
        self.seeded = True
        return after

    def adopt(self, run_id: uuid.UUID) -> None:
        """A run started: everybody who is here hears it from its start."""
        if run_id not in self._known:
            self._begin(run_id, 0, self.members)

    def stream(self, run_id: uuid.UUID) -> Stream | None:
        return self._streams.get(run_id)

    def follow(self, run_id: uuid.UUID, position: int) -> Stream:
        """The stream of a run that goes on."""
        return self._streams.get(run_id) or self._begin(run_id, position, set())

    def _begin(self, run_id: uuid.UUID, position: int, listeners: set[Member]) -> Stream:
        self._note(run_id)
        stream = self._streams[run_id] = Stream(run_id, position, {member for member in listeners if member.expect(run_id)})
        stream.task = asyncio.create_task(self._follow(stream), name=f"room {self.conversation_id}")
        return stream

    def _note(self, run_id: uuid.UUID) -> None:
        self._known[run_id] = None
        while len(self._known) > _KNOWN_MAX:
            self._known.pop(next(iter(self._known)))

    async def _follow(self, stream: Stream) -> None:
        """From the message to the whole answer; again from where it was when the database was away."""
        opened = stream.position > 0
        while True:
            try:
                if not opened and (opening := await self._reader.opening(stream.run_id)) is not None:
                    for member in tuple(stream.listeners):
                        member.push_run(stream.run_id, 0, opening)
                opened = True
                async for events in self._runs.watch(stream.run_id, stream.position):
                    if any(event.kind in RESULTS for event in events):
                        self._doubt(self.conversation_id)  # its result may need a permission that somebody here lacks
                    stream.deliver(events)
                closing = await self._reader.closing(stream.run_id)
                break
            except Problem as problem:
                if not problem.retryable:
                    log.warning("run_not_followed", run_id=str(stream.run_id), code=problem.code)
                    closing = None
                    break
                await asyncio.sleep(_AGAIN_SECONDS)
        self._streams.pop(stream.run_id, None)
        if closing is not None:
            for member in tuple(self.members):
                member.push_end(stream.run_id, closing)

    # --- people

    def enter(self, member: Member) -> None:
        self.members.add(member)
        self._count_people()

    def leave(self, member: Member) -> None:
        self.members.discard(member)
        self.unlisten(member)
        self._count_people()

    def unlisten(self, member: Member) -> None:
        """Send no run to `member` any more, until it resumes."""
        for stream in self._streams.values():
            stream.listeners.discard(member)

    def broadcast(self, frame: str, but: Member | None = None) -> None:
        for member in tuple(self.members):
            if member is not but:
                member.push(frame)

    def show_presence(self, now: float, newcomer: Member | None = None) -> None:
        """Tell everybody when the people changed, and `newcomer` in any case."""
        if self.presence.changed(now):
            self.broadcast(self.presence.frame())
        elif newcomer is not None:
            newcomer.push(self.presence.frame())

    def close(self) -> None:
        for undo in self.undo:
            undo()
        for stream in tuple(self._streams.values()):
            if stream.task is not None:
                stream.task.cancel()

    def _count_people(self) -> None:
        self.presence.set_here({str(member.principal.id): member.principal.name for member in self.members})
