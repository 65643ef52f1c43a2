"""What waits to be sent on one connection: bounded, so that a slow reader costs a known amount of memory and slows nobody."""

import asyncio
from collections import deque


class Outbox:
    """A queue of frames with one reader. `put` never waits; `take` gives everything there is."""

    def __init__(self, frames_max: int, bytes_max: int) -> None:
        """`bytes_max` counts characters; frames are nearly all ASCII."""
        self._frames: deque[str] = deque()
        self._size = 0
        self._frames_max, self._bytes_max = frames_max, bytes_max
        self._filled, self._emptied = asyncio.Event(), asyncio.Event()
        self.closed = asyncio.Event()
        self.doubts = self._settled = 0
        self.code, self.reason = 1000, ""

    def put(self, frame: str) -> bool:
        """False when there is no room: nothing was queued."""
        if self._frames and (len(self._frames) >= self._frames_max or self._size + len(frame) > self._bytes_max):
            return False
        self._frames.append(frame)
        self._size += len(frame)
        self._filled.set()
        return True

    @property
    def waiting(self) -> int:
        return len(self._frames)

    def put_first(self, frame: str) -> None:
        """Before everything that waits, whatever waits."""
        self._frames.appendleft(frame)
        self._size += len(frame)
        self._filled.set()

    def hold(self) -> None:
        """Give nothing to `take` before the reader's rights were looked up: then `release`, or `close`."""
        self.doubts += 1

    def release(self, doubts: int) -> None:
        """`doubts` as it was before the look-up: one that came during it still holds."""
        self._settled = max(self._settled, doubts)
        self._filled.set()

    def clear(self) -> None:
        self._frames.clear()
        self._size = 0
        self._emptied.set()

    async def take(self) -> list[str]:
        """Wait for frames and take all of them."""
        while not self._frames or self._settled < self.doubts:
            self._filled.clear()
            await self._filled.wait()
        frames = list(self._frames)
        self.clear()
        return frames

    async def room_for(self, frame: str) -> None:
        """Wait until at most half of the room is used and `frame` has a place."""
        while self._frames and (len(self._frames) > self._frames_max // 2 or self._size + len(frame) > self._bytes_max // 2):
            self._emptied.clear()
            await self._emptied.wait()

    def close(self, code: int, reason: str) -> None:
        """End the connection with this code; what was queued before is still sent if the client takes it at once."""
        if not self.closed.is_set():
            self.code, self.reason = code, reason
            self.closed.set()
