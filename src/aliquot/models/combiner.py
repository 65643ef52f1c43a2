"""Group commit: calls that arrive while a transaction is under way share the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Combiner(Generic[Item, Result]):
    """Gives waiting items to `work` in batches, one batch at a time. At rest an item is worked on at once, alone.

    `work` returns one result or exception per item. `orphaned` gets the result of an item whose caller was cancelled.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        limit: int = 100,
        orphaned: Callable[[Result], None] = lambda result: None,
    ) -> None:
        self._work = work
        self._limit = limit
        self._orphaned = orphaned
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            results: Sequence[Result | Exception]
            try:
                results = await self._work([item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - handed to every caller of the batch
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                self._deliver(future, result)

    def _deliver(self, future: "asyncio.Future[Result]", result: Result | Exception) -> None:
        if future.cancelled():
            if not isinstance(result, Exception):
                self._orphaned(result)
        elif isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
