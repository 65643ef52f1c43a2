"""Rate limits: exact ones in PostgreSQL for what costs money or acts, a quick one per process against floods.

A `Limiter` key holds the times and costs of what was let through in its window. One upsert prunes, sums and appends under
the row's lock, so no interleaving of transactions or processes lets more than `limit` through in any window of that length.
The hit belongs to the caller's transaction: rolled back with it, it was never made; the row stays locked until then.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, BIGINT, TIMESTAMP

from aliquot.kernel.clock import Clock
from aliquot.kernel.problems import RateLimited
from aliquot.platform.db import Transaction, metadata, time_column

rate_limit = Table(
    "rate_limit",
    metadata,
    Column("key", Text, primary_key=True),
    Column("hits", ARRAY(TIMESTAMP(timezone=True)), nullable=False),
    Column("costs", ARRAY(BIGINT), nullable=False),
    time_column("latest"),
    time_column("expires_at"),
    Index("ix_rate_limit_expires_at", "expires_at"),
)

# `at` never runs backwards for a key, although hosts' clocks differ by a little; a stored time that lies more than a window
# ahead came from a clock that was wrong, and is forgotten instead of blocking the key until that day.
_AT = "CASE WHEN r.latest <= :now + :window THEN greatest(:now, r.latest) ELSE :now END"
_LIVE = f"h > {_AT} - :window AND h <= :now + :window"

_HIT = text(
    f"""
    INSERT INTO rate_limit AS r (key, hits, costs, latest, expires_at)
    VALUES (:key, ARRAY[CAST(:now AS timestamptz)], ARRAY[CAST(:cost AS bigint)], :now, CAST(:now AS timestamptz) + :window)
    ON CONFLICT (key) DO UPDATE SET
      hits = coalesce((SELECT array_agg(h ORDER BY n) FROM unnest(r.hits) WITH ORDINALITY AS u(h, n) WHERE {_LIVE}), '{{}}') || {_AT},
      costs = coalesce((SELECT array_agg(c ORDER BY n) FROM unnest(r.hits, r.costs) WITH ORDINALITY AS u(h, c, n) WHERE {_LIVE}), '{{}}')
              || CAST(:cost AS bigint),
      latest = {_AT},
      expires_at = {_AT} + :window
    WHERE :cost + coalesce((SELECT sum(c) FROM unnest(r.hits, r.costs) AS u(h, c) WHERE {_LIVE}), 0) <= :limit
    RETURNING 1
    """  # noqa: S608 - built from constants above
).columns()

_LIVE_HITS = text(
    f"SELECT h, c FROM rate_limit r, unnest(r.hits, r.costs) AS u(h, c) WHERE r.key = :key AND {_LIVE} ORDER BY h"  # noqa: S608
).columns(h=TIMESTAMP(timezone=True), c=BIGINT)

_CLEAN = text(
    "DELETE FROM rate_limit WHERE key IN "
    "(SELECT key FROM rate_limit WHERE expires_at < :now ORDER BY key LIMIT 10000 FOR UPDATE SKIP LOCKED)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How much of a limit is used at this moment."""

    key: str
    used: int
    resets_at: datetime | None
    """When the oldest part of what is used leaves the window; None when nothing is used."""


class Limiter:
    """Exact sliding windows across processes. When one transaction takes several keys, take them in one order everywhere."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def hit(self, tx: Transaction, key: str, limit: int, window_seconds: float, cost: int = 1) -> None:
        """Count `cost` against `key`, or raise RateLimited (with the time after which it would fit) and count nothing.

        `cost` is positive. A cost above the whole limit never fits; its `retry_after` is the window.
        """
        if cost < 1:
            raise ValueError("cost must be positive")
        if cost > limit:
            raise RateLimited(retry_after=window_seconds)
        params = self._params(key, window_seconds) | {"limit": limit, "cost": cost}
        if (await tx.execute(_HIT, params)).first() is None:
            raise RateLimited(retry_after=await self._wait(tx, key, limit, window_seconds, cost))

    async def usage(self, tx: Transaction, key: str, window_seconds: float) -> Usage:
        """What `key` has used in the window that ends now."""
        live = await tx.rows(_LIVE_HITS, self._params(key, window_seconds))
        resets_at = live[0].h + timedelta(seconds=window_seconds) if live else None
        return Usage(key=key, used=sum(row.c for row in live), resets_at=resets_at)

    async def clear(self, tx: Transaction, key: str) -> None:
        """Forget what `key` has used."""
        await tx.execute(rate_limit.delete().where(rate_limit.c.key == key))

    async def clean(self, tx: Transaction) -> int:
        """Delete keys whose window has passed; how many. For a background loop, any number of processes."""
        result = await tx.execute(_CLEAN, {"now": self._clock.now()})
        return result.rowcount

    async def _wait(self, tx: Transaction, key: str, limit: int, window_seconds: float, cost: int) -> float:
        """Seconds until `cost` fits: until enough of the oldest hits have left the window."""
        now = self._clock.now()
        live = await tx.rows(_LIVE_HITS, self._params(key, window_seconds))
        excess = sum(row.c for row in live) + cost - limit
        for row in live:
            excess -= row.c
            if excess <= 0:
                return max(0.001, float((row.h - now).total_seconds()) + window_seconds)
        return 0.001

    def _params(self, key: str, window_seconds: float) -> dict[str, Any]:
        return {"key": key, "now": self._clock.now(), "window": timedelta(seconds=window_seconds)}


class FloodLimiter:
    """A bound on requests per key and window in this process: constant memory per key, a bounded number of keys.

    Two counters per key; the earlier window counts with the share of it that still lies in the sliding one (the usual
    approximation, exact for even traffic). Not for what must be exact.
    """

    def __init__(self, clock: Clock, limit: int, window_seconds: float = 60, *, keys: int = 20_000) -> None:
        self._clock = clock
        self._limit = limit
        self._window = window_seconds
        self._keys = keys
        self._counters: OrderedDict[str, tuple[int, int, int]] = OrderedDict()  # key -> (window number, its count, the count before)

    def check(self, key: str) -> None:
        """Raise RateLimited when `key` has used up its limit; counts nothing."""
        number, current, previous = self._state(key)
        elapsed = self._clock.now().timestamp() / self._window - number
        if previous * (1 - elapsed) + current + 1 <= self._limit:
            return
        if current < self._limit:  # it is the window before that weighs: until enough of it has slid away
            windows = 1 - (self._limit - current - 1) / previous - elapsed
        else:  # then this window must become the one before first
            windows = 1 - elapsed + 1 - (self._limit - 1) / current
        raise RateLimited("Too many requests. Please slow down.", retry_after=max(1, math.ceil(windows * self._window)))

    def hit(self, key: str) -> None:
        """Count one request of `key`, or raise RateLimited."""
        self.check(key)
        number, current, previous = self._state(key)
        self._counters[key] = (number, current + 1, previous)
        self._counters.move_to_end(key)
        if len(self._counters) > self._keys:
            self._counters.popitem(last=False)

    def usage(self, key: str) -> int:
        """Requests of `key` in the window that ends now, approximately."""
        number, current, previous = self._state(key)
        elapsed = self._clock.now().timestamp() / self._window - number
        return math.ceil(previous * (1 - elapsed)) + current

    def _state(self, key: str) -> tuple[int, int, int]:
        number = int(self._clock.now().timestamp() // self._window)
        seen, current, previous = self._counters.get(key, (number, 0, 0))
        if seen == number:
            return number, current, previous
        return number, 0, current if seen == number - 1 else 0
