"""One search at a time for each person: what one person looks for does not slow everybody else."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from aliquot.chat.search.errors import SearchUnderWay


class Turns:
    """Whoever waits for their own other searches longer than `seconds` is told to come back."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._locks: WeakValueDictionary[uuid.UUID, asyncio.Lock] = WeakValueDictionary()  # forgotten when nobody searches or waits

    @asynccontextmanager
    async def of(self, person_id: uuid.UUID) -> AsyncIterator[None]:
        """Raises SearchUnderWay."""
        lock = self._locks.setdefault(person_id, asyncio.Lock())
        try:
            async with asyncio.timeout(self._seconds):
                await lock.acquire()
        except TimeoutError:
            raise SearchUnderWay(retry_after=2) from None
        try:
            yield
        finally:
            lock.release()
