"""The door to live conversations: the connections and rooms of one process."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import msgspec
import structlog

from aliquot.chat.api import ChatApi
from aliquot.chat.contracts import StoredEvent
from aliquot.chat.emitter import conversation_channel
from aliquot.chat.errors import UnknownConversation
from aliquot.chat.live import frames
from aliquot.chat.live.connection import Connection, Recheck
from aliquot.chat.live.outbox import Outbox
from aliquot.chat.live.presence import ANNOUNCE_SECONDS, Users
from aliquot.chat.live.reader import RunReader
from aliquot.chat.live.rooms import Room
from aliquot.chat.live.store import LiveStore
from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock, rfc3339
from aliquot.kernel.ids import new_id, parse_id
from aliquot.kernel.problems import Forbidden, Problem, RateLimited, Unauthenticated, Unavailable
from aliquot.platform.bus import Bus, Link
from aliquot.platform.db import Database, Transaction
from aliquot.platform.loops import Loops
from aliquot.platform.settings import Limits
from aliquot.platform.telemetry import Metrics
from aliquot.platform.vault import SITE, Vault
from aliquot.policy.api import PolicyApi

log = structlog.get_logger(__name__)

PERMISSION = "chat.use"
LOGGED_OUT, NOT_ALLOWED, NO_CONVERSATION = 4401, 4403, 4404
"""Close codes: the session ended or the person was disabled · the right to chat was taken · the conversation is out of reach."""
_LOOK_SECONDS = 1.0


class Signal(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What rooms of one conversation in different processes tell each other. It travels sealed."""

    origin: str
    here: Users | None = None
    typing: dict[str, str] | None = None
    active: bool = True


class LiveApi:
    """`connection` brackets a socket's life. Loops re-check who is there and look for runs that other processes started."""

    def __init__(
        self, *, chat: ChatApi, identity: IdentityApi, policy: PolicyApi, db: Database, vault: Vault, clock: Clock, limits: Limits,
        metrics: Metrics, link: Link | None = None,
    ) -> None:  # fmt: skip
        self._chat, self._identity, self._policy, self._db, self._vault = chat, identity, policy, db, vault
        self._clock, self._limits, self._metrics = clock, limits, metrics
        self._store = LiveStore()
        self._reader = RunReader(db, vault, identity, self._store)
        self._origin = str(new_id())
        self._signals: Bus[Signal] = Bus("live:", link, self._unseal)
        self._rooms: dict[uuid.UUID, Room] = {}
        self._connections: set[Connection] = set()
        self._people: Counter[uuid.UUID] = Counter()
        self._observers: set[Outbox] = set()
        self._looking: set[asyncio.Task[None]] = set()
        chat.access.on_withdrawal.append(self._doubt)

    # --- connections

    @asynccontextmanager
    async def connection(self, principal: Principal, recheck: Recheck, reference: str) -> AsyncIterator[Connection]:
        """A connection to the conversation called `reference`. Raises UnknownConversation, RateLimited, Unavailable, Forbidden."""
        conversation_id = await self._find(principal, reference)
        with self._counted(principal):
            connection = Connection(
                principal=principal, recheck=recheck, reference=reference, hall=self, db=self._db, runs=self._chat.runs,
                store=self._store, reader=self._reader, policy=self._policy, limits=self._limits,
            )  # fmt: skip
            self._connections.add(connection)
            try:
                await connection.begin(conversation_id)
                yield connection
            finally:
                self._connections.discard(connection)
                connection.leave()

    async def _find(self, principal: Principal, reference: str) -> uuid.UUID | None:
        """The conversation; None when the first message will make it."""
        async with self._db.begin() as tx:
            try:
                found: uuid.UUID = (await self._chat.conversations.opening(tx, principal, reference, "socket")).id
            except UnknownConversation:
                if parse_id(reference) is not None:
                    raise
                return None
        return found

    @contextmanager
    def _counted(self, principal: Principal) -> Iterator[None]:
        if len(self._connections) >= self._limits.live_connections:
            raise Unavailable("Too many live connections at this moment.", retry_after=5)
        if self._people[principal.id] >= self._limits.live_connections_per_person:
            raise RateLimited("You have too many live connections open.", retry_after=5)
        self._people[principal.id] += 1
        self._metrics.open_sockets.inc()
        try:
            yield
        finally:
            self._metrics.open_sockets.dec()
            self._people[principal.id] -= 1
            if not self._people[principal.id]:
                del self._people[principal.id]

    # --- what connections need (`connection.Hall`)

    def enter(self, connection: Connection, conversation_id: uuid.UUID) -> Room:
        room = self._rooms.get(conversation_id)
        if room is None:
            room = self._rooms[conversation_id] = Room(conversation_id, self._chat.runs, self._reader, self._doubt)
            room.undo = [
                self._chat.events.on(conversation_channel(conversation_id), partial(_adopt, room)),
                self._signals.on(str(conversation_id), partial(self._heard, room)),
            ]
        room.enter(connection)
        self._show(room, connection)
        return room

    def leave(self, connection: Connection) -> None:
        room = connection.room
        if room is None:
            return
        room.leave(connection)
        self._show(room)
        if not room.members:
            del self._rooms[room.conversation_id]
            room.close()

    def tell_typing(self, connection: Connection, active: bool) -> None:
        if connection.room is None:
            return
        user = frames.person(connection.principal)
        connection.room.broadcast(frames.frame("typing", user=user, active=active), but=connection)
        self._carry(connection.room, Signal(origin=self._origin, typing=user, active=active))

    def count_frame(self, connection: Connection) -> None:
        self._identity.flood_count_person(connection.principal.id)

    def count_limited(self) -> None:
        self._metrics.limited_frames.inc()

    # --- other processes

    def _show(self, room: Room, newcomer: Connection | None = None) -> None:
        room.show_presence(asyncio.get_running_loop().time(), newcomer)
        self._carry(room, Signal(origin=self._origin, here=room.presence.here))

    def _heard(self, room: Room, signal: Signal) -> None:
        if signal.typing is not None:
            room.broadcast(frames.frame("typing", user=signal.typing, active=signal.active))
        elif signal.here is not None:
            now = asyncio.get_running_loop().time()
            if room.presence.set_elsewhere(signal.origin, signal.here, now):
                self._carry(room, Signal(origin=self._origin, here=room.presence.here))
            room.show_presence(now)

    def _carry(self, room: Room, signal: Signal) -> None:
        if self._signals.linked:
            channel = str(room.conversation_id)
            self._signals.carry(channel, self._vault.seal(SITE, msgspec.json.encode(signal), aad=_aad(channel)))

    def _unseal(self, channel: str, data: bytes) -> Signal:
        return msgspec.json.decode(self._vault.open(data, aad=_aad(channel)), type=Signal)

    # --- loops

    def register_loops(self, loops: Loops) -> None:
        loops.register("live.recheck", self._limits.live_recheck_seconds, self.recheck)
        loops.register("live.look", _LOOK_SECONDS, self._look)
        loops.register("live.presence", ANNOUNCE_SECONDS, self._announce)

    async def recheck(self) -> None:
        """Close what may not go on: sessions that ended, people who were disabled, shares that were taken back."""
        for connection in tuple(self._connections):
            await self._look_up(connection)

    async def _look_up(self, connection: Connection) -> None:
        doubts = connection.outbox.doubts
        async with self._db.begin() as tx:
            code, joins = await self._standing(tx, connection)
        if code is not None:
            connection.outbox.clear()
            connection.outbox.close(code, _REASONS[code])
            return
        connection.outbox.release(doubts)
        if joins is not None and connection in self._connections:
            await connection.join(joins)

    def _doubt(self, conversation_id: uuid.UUID, but: uuid.UUID | None = None) -> None:
        """Somebody lost their part of the conversation: nobody in its room, `but` one, is sent anything before they were looked up."""
        here = [one for one in self._connections if one.room is not None and one.room.conversation_id == conversation_id]
        doubted = [one for one in here if one.principal.id != but]
        for connection in doubted:
            connection.outbox.hold()
        if doubted:
            task = asyncio.create_task(self._settle(doubted), name="look up a room")
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    async def _settle(self, doubted: list[Connection]) -> None:
        try:
            for connection in doubted:
                await self._look_up(connection)
        except Problem as problem:  # what is still held waits for the next `recheck`
            log.warning("room_not_looked_up", code=problem.code)

    async def _standing(self, tx: Transaction, connection: Connection) -> tuple[int | None, uuid.UUID | None]:
        """With which code the connection must end, and which conversation it has to join because it began meanwhile."""
        room = connection.room
        try:
            principal = await connection.recheck(tx)
            if principal.must_change or not principal.may(PERMISSION):
                return NOT_ALLOWED, None
            connection.principal = principal
            if room is not None:
                await self._chat.conversations.by_id(tx, principal, room.conversation_id, "read")
                return None, None
            found: uuid.UUID = (await self._chat.conversations.find(tx, principal, connection.reference, "read")).id
        except Unauthenticated:
            return LOGGED_OUT, None
        except (UnknownConversation, Forbidden):
            return (None if room is None else NO_CONVERSATION), None
        return None, found

    async def _look(self) -> None:
        """Runs that were started in other processes and whose announcement did not come."""
        rooms = {key: room for key, room in self._rooms.items() if room.seeded}
        if not rooms:
            return
        async with self._db.begin() as tx:
            rows = await self._store.started_since(tx, list(rooms), self._clock.now())
        for row in rows:
            rooms[row.conversation_id].adopt(row.id)
        now = asyncio.get_running_loop().time()
        for room in rooms.values():
            room.show_presence(now)

    async def _announce(self) -> None:
        for room in self._rooms.values():
            self._carry(room, Signal(origin=self._origin, here=room.presence.here))

    # --- the debugging socket

    @contextmanager
    def observed(self) -> Iterator[Outbox]:
        """What happens to live connections of this process, as `event` frames without contents or names."""
        outbox = Outbox(self._limits.live_queue_frames, self._limits.live_queue_bytes)
        self._observers.add(outbox)
        try:
            yield outbox
        finally:
            self._observers.discard(outbox)

    def note(self, event: str, **facts: Any) -> None:
        """Tell the observers; one that does not keep up misses it."""
        if self._observers:
            frame = frames.frame("event", event=event, at=rfc3339(self._clock.now()), **facts, **self.counts())
            for outbox in self._observers:
                outbox.put(frame)

    def counts(self) -> dict[str, int]:
        return {"connections": len(self._connections), "rooms": len(self._rooms), "debuggers": len(self._observers)}


_REASONS = {LOGGED_OUT: "logged out", NOT_ALLOWED: "not allowed any more", NO_CONVERSATION: "conversation out of reach"}


def _adopt(room: Room, started: StoredEvent) -> None:
    room.adopt(started.run_id)


def _aad(channel: str) -> str:
    return f"live:{channel}"
