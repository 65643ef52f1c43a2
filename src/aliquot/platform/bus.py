"""Live fan-out. It only wakes and hurries: what matters is in the database, a lost message costs nothing.

In this process a message is handed over as the object it is. Between processes a `Link` (`platform.link`) carries bytes; without
one, or while it is down, other processes look into the database as they do anyway. A subscriber that falls behind is told so
(`lagging`) and reads the database instead; it never slows the publisher.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

import structlog

from aliquot.kernel.problems import Problem

log = structlog.get_logger(__name__)

Message = TypeVar("Message")

_QUEUE_MAX = 256


class Link(Protocol):
    """Carries bytes to the other processes of the site, as well as it can, never blocking and never failing the caller."""

    def send(self, channel: str, data: bytes) -> None: ...

    def listen(self, channel: str, receive: Callable[[bytes], None]) -> None:
        """Call `receive` with what other processes send on `channel`, until `forget`. One listener per channel."""

    def forget(self, channel: str) -> None: ...


class Subscription(Generic[Message]):
    """One receiver's bounded queue."""

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        self._waiter: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self.lagging = False
        """Messages were dropped: read the database, then `drain`."""

    def push(self, message: Message) -> None:
        if len(self._queue) >= _QUEUE_MAX:
            self._queue.clear()
            self.lagging = True
        elif not self.lagging:
            self._queue.append(message)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    async def wait(self, seconds: float) -> bool:
        """True when something arrived within `seconds`."""
        if self._queue or self.lagging:
            return True
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        self._deadline = loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            self._look_at(self._deadline)
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # One timer looks for silence again and again; one per wait would be one per streamed token.

    def _look_at(self, when: float) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return  # the next wait looks for itself
        if asyncio.get_running_loop().time() < self._deadline:
            self._look_at(self._deadline)
        else:
            self._waiter.set_result(False)

    def drain(self) -> list[Message]:
        """Everything that arrived; clears `lagging`."""
        messages = list(self._queue)
        self._queue.clear()
        self.lagging = False
        return messages


class _Handler(Generic[Message]):
    """A receiver that is called at once."""

    def __init__(self, handle: Callable[[Message], None]) -> None:
        self.push = handle


class Bus(Generic[Message]):
    """Channels by name; a channel exists while somebody listens."""

    def __init__(self, name: str = "", link: Link | None = None, decode: Callable[[str, bytes], Message] | None = None) -> None:
        """`name` sets the channels of this bus apart on the link; `decode(channel, data)` reads what `carry` sent elsewhere."""
        self._channels: dict[str, set[Any]] = {}
        self._name, self._link, self._decode = name, link, decode
        self._linked: dict[str, int] = {}

    @property
    def linked(self) -> bool:
        """Whether there are other processes to carry anything to."""
        return self._link is not None

    def publish(self, channel: str, message: Message) -> None:
        """Hand `message` to the listeners of this process."""
        for receiver in self._channels.get(channel, ()):
            receiver.push(message)

    def carry(self, channel: str, data: bytes) -> None:
        """Send `data` (already sealed) to the listeners of the other processes."""
        if self._link is not None:
            self._link.send(self._name + channel, data)

    @contextmanager
    def subscribe(self, channel: str, *, near: bool = False) -> Iterator[Subscription[Message]]:
        """A queue of what is published on `channel`. `near`: only this process can publish there."""
        subscription: Subscription[Message] = Subscription()
        leave = self._join(channel, subscription, near)
        try:
            yield subscription
        finally:
            leave()
            subscription.close()

    def on(self, channel: str, handle: Callable[[Message], None]) -> Callable[[], None]:
        """Call `handle` with every message of `channel`; it must be quick and must not raise. Call what is returned to end it."""
        return self._join(channel, _Handler(handle), near=False)

    @property
    def listeners(self) -> int:
        """Open subscriptions, for metrics."""
        return sum(len(listeners) for listeners in self._channels.values())

    def _join(self, channel: str, receiver: Any, near: bool) -> Callable[[], None]:
        self._channels.setdefault(channel, set()).add(receiver)
        far = self._link is not None and not near
        if far:
            self._listen(channel)

        def leave() -> None:
            listeners = self._channels[channel]
            listeners.discard(receiver)
            if not listeners:
                del self._channels[channel]
            if far:
                self._forget(channel)

        return leave

    def _listen(self, channel: str) -> None:
        assert self._link is not None  # noqa: S101 - asked by the caller
        count = self._linked.get(channel, 0)
        self._linked[channel] = count + 1
        if count == 0:
            self._link.listen(self._name + channel, lambda data: self._arrived(channel, data))

    def _forget(self, channel: str) -> None:
        assert self._link is not None  # noqa: S101
        self._linked[channel] -= 1
        if self._linked[channel] == 0:
            del self._linked[channel]
            self._link.forget(self._name + channel)

    def _arrived(self, channel: str, data: bytes) -> None:
        assert self._decode is not None  # noqa: S101 - a bus with a link has one
        try:
            message = self._decode(channel, data)
        except (Problem, ValueError) as error:  # erased meanwhile, or not from one of our processes: the database is the truth
            log.warning("carried_message_dropped", error=type(error).__name__)
            return
        self.publish(channel, message)
