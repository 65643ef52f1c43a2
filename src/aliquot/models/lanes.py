"""One lane per declared model: its connection, its circuit breaker, its calls in flight and the patience it asked for."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aliquot.models.config import ModelConfig
from aliquot.models.errors import ModelProblem, ProviderBusy
from aliquot.models.providers.base import Adapter

FAILURES_TO_OPEN = 3
OPEN_SECONDS = 30.0
BACKOFF_SECONDS = (1.0, 2.0, 4.0)
LONGEST_PATIENCE_SECONDS = 20.0
"""Waits a provider asks for up to this long are waited out; longer ones go to the next model or to the person."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Time as the retry machinery sees it; tests pass their own and wait for nothing."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random
    """A number in [0, 1)."""


class Breaker:
    """Opens after FAILURES_TO_OPEN failed calls in a row; after OPEN_SECONDS one call may try (half-open)."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failures = 0
        self._opened_at: float | None = None
        self._trying = False

    def seconds_left(self) -> float:
        """How long no call is admitted; 0 when one is."""
        if self._opened_at is None:
            return 0.0
        left = self._opened_at + OPEN_SECONDS - self._monotonic()
        return left if left > 0 else (1.0 if self._trying else 0.0)

    def enter(self) -> None:
        """Admit one call. Raises ProviderBusy while open."""
        left = self.seconds_left()
        if left > 0:
            raise ProviderBusy(retry_after=left, throttled=True)
        self._trying = self._opened_at is not None

    def answering(self) -> None:
        """The trial call brings output: others may come too, but the next failure opens again at once."""
        if self._trying:
            self._failures, self._opened_at, self._trying = FAILURES_TO_OPEN - 1, None, False

    def succeeded(self) -> None:
        self._failures, self._opened_at, self._trying = 0, None, False

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN or self._trying:
            self._opened_at = self._monotonic()
        self._trying = False

    def left(self) -> None:
        """The admitted call says nothing about the endpoint (cancelled, refused for a reason of ours)."""
        self._trying = False


class Queue:
    """How many calls may wait in this process at once, over all lanes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place while waiting. Raises ProviderBusy when the queue is full."""
        if self._waiting >= self._limit:
            raise ProviderBusy(retry_after=LONGEST_PATIENCE_SECONDS + 1, throttled=True)
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1


class Lane:
    """Everything this process knows about one declared model."""

    def __init__(self, config: ModelConfig, adapter: Adapter, queue: Queue, waiting: Waiting) -> None:
        self.config = config
        self.adapter = adapter
        self.breaker = Breaker(waiting.monotonic)
        self._queue = queue
        self._waiting = waiting
        self._slots = asyncio.Semaphore(config.requests_in_flight)
        self._not_before = 0.0

    @property
    def name(self) -> str:
        return self.config.name

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """A place among the calls in flight, once the provider's asked-for pause is over. Raises ProviderBusy."""
        pause = self._not_before - self._waiting.monotonic()
        if pause > LONGEST_PATIENCE_SECONDS:
            raise ProviderBusy(retry_after=pause, throttled=True)
        if pause > 0 or self._slots.locked():
            async with self._queue.place():
                while (pause := self._not_before - self._waiting.monotonic()) > 0:
                    await self._waiting.sleep(pause * (1 + 0.1 * self._waiting.jitter()))
                await self._slots.acquire()
        else:
            await self._slots.acquire()
        try:
            yield
        finally:
            self._slots.release()

    def pause_after(self, problem: ModelProblem, attempt: int) -> float | None:
        """Seconds to wait before attempt number `attempt` + 1 (from 0); None when it must not be repeated here."""
        if not problem.repeatable or attempt >= len(BACKOFF_SECONDS):
            return None
        asked = problem.retry_after or 0.0
        if asked:
            self._not_before = max(self._not_before, self._waiting.monotonic() + asked)
        if asked > LONGEST_PATIENCE_SECONDS or (self.breaker.seconds_left() > 0):
            return None
        backoff = BACKOFF_SECONDS[attempt] * (0.75 + 0.5 * self._waiting.jitter())
        return max(backoff, asked)
