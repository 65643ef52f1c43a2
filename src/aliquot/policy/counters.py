"""The limits of a bundle, counted exactly in PostgreSQL (`platform.limits`): no two processes let more through together.

What is allowed at once is counted when it is decided; what a person confirms is counted when it begins, so that requests nobody
approves use up nothing. Only calls a limit is about cost statements.
"""

import hmac
from collections.abc import Sequence

from aliquot.kernel.problems import RateLimited
from aliquot.platform.db import Transaction
from aliquot.platform.limits import Limiter
from aliquot.policy.contracts import Query
from aliquot.policy.rules import Limit


class _Reached(Exception):
    def __init__(self, limit: Limit) -> None:
        self.limit = limit


class Counters:
    """Counts calls against declared limits."""

    def __init__(self, limiter: Limiter, key: bytes) -> None:
        """`key`: names of instruments and roles are hashed under it, because an argument is nothing for a table in clear."""
        self._limiter, self._key = limiter, key

    async def reached(self, tx: Transaction, limits: Sequence[Limit], query: Query, *, spend: bool) -> Limit | None:
        """The limit that is used up, if any. With `spend` the call is counted on all of them, or on none."""
        try:
            async with tx.savepoint() as inner:
                for limit in limits:
                    for counted in limit.counted(query):
                        await self._one(inner, limit, counted, spend=spend)
        except _Reached as reached:
            return reached.limit
        return None

    async def _one(self, tx: Transaction, limit: Limit, counted: str, *, spend: bool) -> None:
        digest = hmac.digest(self._key, f"{limit.id}\0{counted}".encode(), "sha256").hex()[:32]
        key = f"policy:{limit.id}:{digest}"
        if spend:
            try:
                await self._limiter.hit(tx, key, limit.count, limit.seconds)
            except RateLimited as refused:
                raise _Reached(limit) from refused
        elif (await self._limiter.usage(tx, key, limit.seconds)).used >= limit.count:
            raise _Reached(limit)
