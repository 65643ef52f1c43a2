"""Live fan-out inside one process. It only wakes and hurries: what matters is in the database, a lost message costs nothing.

A subscriber that falls behind is told so (`lagging`) and reads the database instead; it never slows the publisher.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Message = TypeVar("Message")

_QUEUE_MAX = 256


class Subscription(Generic[Message]):
    """One receiver's bounded queue."""

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        self._waiter: asyncio.Future[bool] | None = None
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
        timer = loop.call_later(seconds, _give_up, self._waiter)
        try:
            return await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def drain(self) -> list[Message]:
        """Everything that arrived; clears `lagging`."""
        messages = list(self._queue)
        self._queue.clear()
        self.lagging = False
        return messages


def _give_up(waiter: "asyncio.Future[bool]") -> None:
    if not waiter.done():
        waiter.set_result(False)


class Bus(Generic[Message]):
    """Channels by name; a channel exists while somebody listens."""

    def __init__(self) -> None:
        self._channels: dict[str, set[Subscription[Message]]] = {}

    def publish(self, channel: str, message: Message) -> None:
        for subscription in self._channels.get(channel, ()):
            subscription.push(message)

    @contextmanager
    def subscribe(self, channel: str) -> Iterator[Subscription[Message]]:
        subscription: Subscription[Message] = Subscription()
        self._channels.setdefault(channel, set()).add(subscription)
        try:
            yield subscription
        finally:
            listeners = self._channels[channel]
            listeners.discard(subscription)
            if not listeners:
                del self._channels[channel]

    @property
    def listeners(self) -> int:
        """Open subscriptions, for metrics."""
        return sum(len(listeners) for listeners in self._channels.values())
