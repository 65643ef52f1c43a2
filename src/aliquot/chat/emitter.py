"""Run events on their way: sequence numbers, the beat answers are read at, one shared writer per process, fan-out after the commit.

Deltas are coalesced before they get a number: the first at once, then at the writer's beat, 30 ms when few runs are answered and up to
100 ms when many are (ADR 9). Between beats what a provider sends stays in its connection: it is decoded, numbered, stored and sent as
one piece. The writer commits whatever all runs of the process have ready in one insert, then fans out exactly those bytes (DESIGN §4).
A kill between commit and fan-out loses nothing: watchers read the log.
"""

import asyncio
import uuid
from collections.abc import Callable

import msgspec
import structlog

from aliquot.chat.contracts import RunEvent, RunStarted, StoredEvent, TextDelta, Thinking
from aliquot.chat.errors import LeaseLost
from aliquot.chat.run_store import RunStore, SealedEvent
from aliquot.kernel.clock import Clock, rfc3339
from aliquot.kernel.problems import Problem
from aliquot.platform.bus import Bus
from aliquot.platform.db import Database, DatabaseUnavailable, Transaction

log = structlog.get_logger(__name__)

_LEAST_BEAT, _MOST_BEAT, _BEAT_PER_RUN = 0.03, 0.1, 0.004
"""Seconds between commits of pieces of answers: this much for each run that is being answered, within these bounds."""
_PENDING_MAX = 5_000
_RECENT_MAX = 8
_RETRIES = (0.1, 0.3, 1.0, 2.0, 4.0)
_WRITE_SECONDS = 10.0
"""No commit takes this long unless its connection is lost without a word: another one is tried."""
_encoder = msgspec.json.Encoder()


class RunEventWriter:
    """The shared writer of one process."""

    def __init__(self, db: Database, store: RunStore, bus: Bus[StoredEvent], owner: uuid.UUID, written: Callable[[int], None]) -> None:
        self._db, self._store, self._bus, self._owner, self._written = db, store, bus, owner, written
        self._pending: list[SealedEvent] = []
        self._batch: asyncio.Future[None] | None = None
        self._wake = asyncio.Event()
        self._lost: set[uuid.UUID] = set()
        self._recent: dict[uuid.UUID, list[StoredEvent]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._piece_at = 0.0
        """When the loop's time is this, a piece may be committed without anything urgent."""
        self._beat: asyncio.Event | None = None
        self._beat_seconds = _LEAST_BEAT
        self._waiting = 0

    async def work(self) -> None:
        """Write until cancelled; what is pending at the cancellation is written first."""
        try:
            while True:
                await self._wake.wait()
                await self._flush()
        except asyncio.CancelledError:
            await self._flush()
            raise

    def enqueue(self, event: SealedEvent, *, urgent: bool) -> "asyncio.Future[None]":
        """Hand over one event; the future resolves when it is committed and fanned out.

        What is not urgent (a later piece of an answer) waits for the next commit, at most a beat after the last one, so that all
        runs of the process share it: a commit per piece would cost ten times the rest of its way.
        """
        if self._batch is None:
            self._batch = asyncio.get_running_loop().create_future()
            self._batch.add_done_callback(_retrieve)
        self._pending.append(event)
        if urgent:
            self._wake.set()
        elif self._timer is None and not self._wake.is_set():
            self._timer = asyncio.get_running_loop().call_at(self._piece_at, self._wake.set)
        return self._batch

    async def beat(self) -> None:
        """Wait until pieces of answers are committed the next time: what is enqueued right after this goes with them."""
        if self._beat is None:
            self._beat = asyncio.Event()
            asyncio.get_running_loop().call_at(self._piece_at, self._strike)
        self._waiting += 1
        try:
            await self._beat.wait()
        finally:
            self._waiting -= 1

    def _strike(self) -> None:
        self._beat_seconds = min(_MOST_BEAT, max(_LEAST_BEAT, self._waiting * _BEAT_PER_RUN))
        self._piece_at = 0.0  # now: what the runs read at this beat is committed with it
        beat, self._beat = self._beat, None
        if beat is not None:
            beat.set()

    @property
    def crowded(self) -> bool:
        """More is pending than may be: producers wait."""
        return len(self._pending) >= _PENDING_MAX

    def lost(self, run_id: uuid.UUID) -> bool:
        """Another process took this run over."""
        return run_id in self._lost

    def forget(self, run_id: uuid.UUID) -> None:
        self._lost.discard(run_id)
        self._recent.pop(run_id, None)

    def recent(self, run_id: uuid.UUID) -> list[StoredEvent] | None:
        """All events of a run that began here a moment ago, in order: whoever starts it need not read them back from the log. None when
        they are no longer kept."""
        return self._recent.get(run_id)

    def fan_out(self, events: list[SealedEvent]) -> None:
        """Give committed events to their watchers, and the first one of a run to whoever watches its conversation."""
        for sealed in events:
            event = sealed.event
            self._keep(event)
            self._bus.publish(str(event.run_id), event)
            if event.kind == RunStarted.kind:
                self._bus.publish(_announced(event), event)
        if self._bus.linked:
            self._carry(events)
        self._written(len(events))

    def _keep(self, event: StoredEvent) -> None:
        kept = self._recent.get(event.run_id)
        if kept is None:
            if event.seq == 1:
                self._recent[event.run_id] = [event]
        elif len(kept) < _RECENT_MAX and event.seq == kept[-1].seq + 1:
            kept.append(event)
        else:
            del self._recent[event.run_id]

    def _carry(self, events: list[SealedEvent]) -> None:
        for sealed in events:
            data = self._store.pack(sealed)
            self._bus.carry(str(sealed.event.run_id), data)
            if sealed.event.kind == RunStarted.kind:
                self._bus.carry(_announced(sealed.event), data)

    async def _flush(self) -> None:
        events, self._pending = self._pending, []
        batch, self._batch = self._batch, None
        self._wake.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if batch is None:
            return
        self._piece_at = asyncio.get_running_loop().time() + self._beat_seconds
        try:
            committed = await self._commit(events)
            self.fan_out(committed)
        except Exception as error:  # noqa: BLE001 - every run of the process waits for this task: it must outlive whatever happens
            if not isinstance(error, Problem):
                log.error("run_events_not_written", error=type(error).__name__, events=len(events))
            # Their numbers are spent but not stored: these runs go on from the log, after a take-over.
            self._lost |= {sealed.event.run_id for sealed in events}
            if not batch.done():
                batch.set_exception(error if isinstance(error, Problem) else Problem())
            return
        if not batch.done():
            batch.set_result(None)

    async def _commit(self, events: list[SealedEvent]) -> list[SealedEvent]:
        """Insert with patience: the database may be away for a moment. Returns what was inserted."""
        for pause in (*_RETRIES, None):
            try:
                async with asyncio.timeout(_WRITE_SECONDS):
                    return await self._insert(events)
            except (Problem, TimeoutError) as error:
                if pause is None:
                    raise DatabaseUnavailable from error
                log.warning("run_events_written_again", error=type(error).__name__)
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def _insert(self, events: list[SealedEvent]) -> list[SealedEvent]:
        if await self._store.insert_events_alone(self._db, self._owner, events) == len(events):
            return events
        async with self._db.begin() as tx:
            held = await self._store.held(tx, self._owner, list({e.event.run_id for e in events}))
            self._lost |= {e.event.run_id for e in events} - held
            return [e for e in events if e.event.run_id in held]


class RunEmitter:
    """Numbers and sends the events of one run."""

    def __init__(self, writer: RunEventWriter, store: RunStore, clock: Clock, run_id: uuid.UUID, subject: uuid.UUID, last_seq: int) -> None:
        self._writer, self._store, self._clock = writer, store, clock
        self.run_id = run_id
        self._subject = subject
        self._seq = last_seq
        self._prefix = f'{{"run_id":"{run_id}","seq":'.encode()
        self._pieces = 0
        self._kind = ""
        """Of the last event, when it was a piece of the answer."""
        self._turned = False
        self._newest: asyncio.Future[None] | None = None

    def emit(self, event: RunEvent) -> None:
        """Send `event` after everything emitted before it."""
        self._kind = ""
        self._send(event, urgent=True)

    def text(self, text: str) -> None:
        """A piece of the answer. `pace` before the next one."""
        self._piece(TextDelta(text=text))

    def thinking(self, text: str) -> None:
        """A piece of reasoning. `pace` before the next one."""
        self._piece(Thinking(text=text))

    async def settle(self) -> None:
        """Wait until everything emitted is committed. Raises LeaseLost, or the Problem that kept the writer from it."""
        if self._newest is not None:
            await asyncio.shield(self._newest)
        self.check()

    async def pace(self) -> None:
        """Wait until the next piece of the answer is worth reading; while the database is slow or away, until the writer has caught up,
        which bounds memory.

        Not after a piece of another kind than the event before it: it may have been read together with that (a read's pieces of one
        kind are joined), and text that alternates with reasoning would come at one piece a beat.
        """
        if self._pieces > 1 and not self._turned:  # a short answer does not wait for its end
            await self._writer.beat()
        while self._writer.crowded:
            await self.settle()

    def check(self) -> None:
        if self._writer.lost(self.run_id):
            raise LeaseLost

    async def commit_with(self, tx: Transaction, events: list[RunEvent]) -> None:
        """Insert `events` in the caller's transaction, which holds the run's row, and fan them out after its commit. `settle` before."""
        before = self._seq
        sealed = [self._seal(event) for event in events]
        after, self._seq = self._seq, before  # the numbers are spent with the commit: one that fails leaves no gap
        await self._store.insert_events(tx, sealed)

        def committed() -> None:
            self._seq = after
            self._writer.fan_out(sealed)

        tx.after_commit(committed)

    def _piece(self, delta: TextDelta | Thinking) -> None:
        if delta.text:
            self._pieces += 1
            self._turned, self._kind = delta.kind != self._kind, delta.kind
            self._send(delta, urgent=self._pieces == 1)

    def _send(self, event: RunEvent, *, urgent: bool) -> None:
        self._newest = self._writer.enqueue(self._seal(event), urgent=urgent)

    def _seal(self, event: RunEvent) -> SealedEvent:
        seq = self._seq + 1
        at = rfc3339(self._clock.now())
        payload = self._prefix + f'{seq},"at":"{at}",'.encode() + _encoder.encode(event)[1:]
        sealed = self._store.seal_event(self._subject, StoredEvent(self.run_id, seq, event.kind, payload))
        self._seq = seq  # only now: an event that cannot be encoded takes no number
        return sealed


def conversation_channel(conversation_id: uuid.UUID | str) -> str:
    """Where the first events of all runs of a conversation are announced."""
    return f"conversation:{conversation_id}"


class _Started(msgspec.Struct):
    conversation_id: str


_started = msgspec.json.Decoder(_Started)


def _announced(started: StoredEvent) -> str:
    return conversation_channel(_started.decode(started.payload).conversation_id)


def _retrieve(future: "asyncio.Future[None]") -> None:
    """A failed batch nobody waits for is noticed at the run's next settle; asyncio need not warn about it."""
    if not future.cancelled():
        future.exception()
