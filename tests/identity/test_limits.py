"""The exact limiter against many transactions at once, the flood limiter, idempotency keys: on the real database."""

import asyncio
import random
import uuid
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from aliquot.kernel.clock import SystemClock
from aliquot.kernel.problems import InvalidInput, RateLimited
from aliquot.platform.db import Database
from aliquot.platform.idempotency import Idempotency, IdempotencyMismatch
from aliquot.platform.limits import FloodLimiter, Limiter
from tests.conftest import ManualClock, Urls


async def _hit(db: Database, limiter: Limiter, key: str = "k", limit: int = 5, window: float = 60, cost: int = 1) -> float | None:
    """None when let through, else the time to wait."""
    try:
        async with db.begin() as tx:
            await limiter.hit(tx, key, limit, window, cost)
    except RateLimited as refused:
        return refused.retry_after
    return None


class TestLimiter:
    @pytest.mark.parametrize("processes", [1, 3])
    async def test_exactly_the_limit_passes_however_many_come_at_once(self, urls: Urls, processes: int) -> None:
        # Separate pools and limiters stand for separate processes: nothing but the database is shared.
        databases = [Database(urls.app, pool_size=8) for _ in range(processes)]
        limiters = [Limiter(SystemClock()) for _ in databases]
        waits = await asyncio.gather(*(_hit(databases[n % processes], limiters[n % processes], limit=60) for n in range(150)))
        assert sum(wait is None for wait in waits) == 60
        assert all(0 < wait <= 60 for wait in waits if wait is not None)
        for database in databases:
            await database.close()

    async def test_costs_add_up_exactly_at_once(self, database: Database) -> None:
        limiter, costs = Limiter(SystemClock()), [7, 11, 13] * 20
        waits = await asyncio.gather(*(_hit(database, limiter, limit=300, cost=cost) for cost in costs))
        let_through = sum(cost for cost, wait in zip(costs, waits, strict=True) if wait is None)
        async with database.begin() as tx:
            assert (await limiter.usage(tx, "k", 60)).used == let_through
        assert 300 - 13 < let_through <= 300

    async def test_the_window_slides(self, database: Database, clock: ManualClock) -> None:
        limiter = Limiter(clock)
        for _ in range(5):
            assert await _hit(database, limiter) is None
            clock.advance(10)
        assert await _hit(database, limiter) == 10
        clock.advance(9.999)
        assert await _hit(database, limiter) == pytest.approx(0.001)
        clock.advance(0.001)
        assert await _hit(database, limiter) is None
        assert await _hit(database, limiter) == 10

    async def test_a_dear_hit_waits_until_enough_has_left(self, database: Database, clock: ManualClock) -> None:
        limiter = Limiter(clock)
        for cost in (10, 20, 30):
            assert await _hit(database, limiter, limit=100, cost=cost) is None
            clock.advance(10)
        assert await _hit(database, limiter, limit=100, cost=41) == 30
        assert await _hit(database, limiter, limit=100, cost=51) == 40
        assert await _hit(database, limiter, limit=100, cost=71) == 50
        assert await _hit(database, limiter, limit=100, cost=101) == 60
        assert await _hit(database, limiter, limit=100, cost=40) is None
        with pytest.raises(ValueError, match="positive"):
            await _hit(database, limiter, cost=0)

    async def test_it_agrees_with_the_definition_over_a_random_history(self, database: Database, clock: ManualClock) -> None:
        limiter, chance = Limiter(clock), random.Random(20260302)
        passed: list[tuple[datetime, int]] = []
        for _ in range(250):
            clock.advance(chance.choice([0, 0, 0.001, 1, 5, 20]))
            cost, now = chance.randint(1, 6), clock.now()
            used = sum(c for at, c in passed if at > now - timedelta(seconds=60))
            wait = await _hit(database, limiter, limit=20, cost=cost)
            assert (wait is None) == (used + cost <= 20)
            if wait is None:
                passed.append((now, cost))
            else:
                left = [c for at, c in passed if at > now + timedelta(seconds=wait) - timedelta(seconds=60)]
                assert sum(left) + cost <= 20, "after the time it names the hit fits"
        assert len(passed) > 50

    async def test_a_hit_that_is_rolled_back_was_not_made(self, database: Database, clock: ManualClock) -> None:
        limiter = Limiter(clock)

        async def fail() -> None:
            async with database.begin() as tx:
                await limiter.hit(tx, "k", 5, 60)
                raise ZeroDivisionError

        for _ in range(10):
            with pytest.raises(ZeroDivisionError):
                await fail()
        async with database.begin() as tx:
            usage = await limiter.usage(tx, "k", 60)
        assert (usage.used, usage.resets_at) == (0, None)

    async def test_a_refused_hit_counts_nothing_and_leaves_the_transaction_usable(self, database: Database, clock: ManualClock) -> None:
        limiter = Limiter(clock)
        async with database.begin() as tx:
            await limiter.hit(tx, "k", 1, 60)
            for _ in range(3):
                with pytest.raises(RateLimited):
                    await limiter.hit(tx, "k", 1, 60)
            await limiter.hit(tx, "other", 1, 60)
            usage = await limiter.usage(tx, "k", 60)
        assert (usage.used, usage.resets_at) == (1, clock.now() + timedelta(seconds=60))

    async def test_keys_do_not_touch_each_other_and_can_be_cleared(self, database: Database, clock: ManualClock) -> None:
        limiter = Limiter(clock)
        for key in ("a", "b", "a'; DROP TABLE rate_limit; --", "ключ"):
            assert await _hit(database, limiter, key, limit=1) is None
            assert await _hit(database, limiter, key, limit=1) == 60
        async with database.begin() as tx:
            await limiter.clear(tx, "a")
        assert [await _hit(database, limiter, key, limit=1) for key in ("a", "b")] == [None, 60]

    async def test_a_clock_that_lags_a_little_lets_nothing_more_through(self, database: Database, clock: ManualClock) -> None:
        limiter, behind = Limiter(clock), ManualClock()
        behind.advance(-20)
        lagging = Limiter(behind)
        assert [await _hit(database, each, limit=3) for each in (limiter, lagging, limiter)] == [None] * 3
        assert await _hit(database, lagging, limit=3) == 80
        clock.advance(59)
        behind.advance(59)
        assert await _hit(database, limiter, limit=3) is not None
        assert await _hit(database, lagging, limit=3) is not None

    async def test_a_clock_that_was_wrong_for_a_while_blocks_nobody_for_years(self, database: Database, clock: ManualClock) -> None:
        ahead = ManualClock()
        ahead.advance(3600 * 24 * 365)
        assert await _hit(database, Limiter(ahead), limit=1) is None
        limiter = Limiter(clock)
        assert await _hit(database, limiter, limit=1) is None
        assert await _hit(database, limiter, limit=1) == 60

    async def test_a_row_never_grows_beyond_its_window_and_is_cleaned(self, database: Database, clock: ManualClock) -> None:
        limiter = Limiter(clock)
        for _ in range(30):
            await _hit(database, limiter, limit=100)
            clock.advance(30)
        async with database.begin() as tx:
            assert await tx.scalar(sa.text("SELECT cardinality(hits) + cardinality(costs) FROM rate_limit")) == 4
            assert await limiter.clean(tx) == 0
        clock.advance(31)
        async with database.begin() as tx:
            assert await limiter.clean(tx) == 1
            assert await tx.scalar(sa.text("SELECT count(*) FROM rate_limit")) == 0


class TestFloodLimiter:
    @given(st.lists(st.floats(0, 90), max_size=80))
    def test_two_adjoining_windows_never_pass_more_than_twice_the_limit_and_a_bucket_never_more_than_it(self, gaps: list[float]) -> None:
        clock = ManualClock()
        limiter, passed = FloodLimiter(clock, 5), []
        for gap in gaps:
            clock.advance(gap)
            try:
                limiter.hit("k")
            except RateLimited:
                continue
            passed.append(clock.now().timestamp())
        for at in passed:
            assert sum(at // 60 == other // 60 for other in passed) <= 5
            assert sum(at <= other < at + 60 for other in passed) <= 10

    @given(limit=st.integers(1, 20), gaps=st.lists(st.floats(0, 40), min_size=1, max_size=60))
    def test_after_the_time_it_names_a_request_passes(self, limit: int, gaps: list[float]) -> None:
        clock = ManualClock()
        limiter = FloodLimiter(clock, limit)
        for gap in gaps:
            clock.advance(gap)
            try:
                limiter.hit("k")
            except RateLimited as refused:
                clock.advance(float(refused.retry_after or 0))
                limiter.hit("k")
        assert 1 <= limiter.usage("k") <= limit

    def test_it_forgets_the_longest_silent_key_first_and_never_holds_more_than_it_may(self, clock: ManualClock) -> None:
        limiter = FloodLimiter(clock, 1, keys=3)
        for key in "abcd":
            limiter.hit(key)
        limiter.hit("a")
        for key in "cd":
            with pytest.raises(RateLimited):
                limiter.hit(key)


class TestIdempotency:
    OWNER = uuid.uuid4()

    async def _claim(
        self,
        db: Database,
        idempotency: Idempotency,
        *,
        key: str | None = "k",
        owner: uuid.UUID = OWNER,
        route: str = "POST /a",
        body: bytes = b"{}",
    ) -> str:
        """The id of the thing: made now, or by the request this one repeats."""
        async with db.begin() as tx:
            claim = await idempotency.claim(tx, key=key, owner=owner, route=route, body=body)
            if claim.resource_id is not None:
                return claim.resource_id
            made = str(uuid.uuid4())
            await claim.fulfil(made)
            return made

    async def test_many_at_once_make_one_thing(self, database: Database, clock: ManualClock) -> None:
        idempotency = Idempotency(clock)
        assert len(set(await asyncio.gather(*(self._claim(database, idempotency) for _ in range(12))))) == 1

    async def test_key_owner_and_route_are_told_apart(self, database: Database, clock: ManualClock) -> None:
        idempotency = Idempotency(clock)
        first = await self._claim(database, idempotency)
        assert await self._claim(database, idempotency) == first
        others = [
            await self._claim(database, idempotency, key="other"),
            await self._claim(database, idempotency, owner=uuid.uuid4()),
            await self._claim(database, idempotency, route="POST /b"),
            await self._claim(database, idempotency, key=None),
            await self._claim(database, idempotency, key=None),
        ]
        assert len({first, *others}) == 6
        with pytest.raises(IdempotencyMismatch):
            await self._claim(database, idempotency, body=b"{ }")

    async def test_a_failed_request_leaves_no_claim(self, database: Database, clock: ManualClock) -> None:
        idempotency = Idempotency(clock)

        async def fail() -> None:
            async with database.begin() as tx:
                await idempotency.claim(tx, key="k", owner=self.OWNER, route="POST /a", body=b"first")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert await self._claim(database, idempotency, body=b"second")

    async def test_after_24_hours_the_key_is_free(self, database: Database, clock: ManualClock) -> None:
        idempotency = Idempotency(clock)
        first = await self._claim(database, idempotency)
        clock.advance(24 * 3600 - 1)
        assert await self._claim(database, idempotency) == first
        clock.advance(1)
        assert await self._claim(database, idempotency, body=b"other") != first
        clock.advance(24 * 3600 + 1)
        async with database.begin() as tx:
            assert await idempotency.clean(tx) == 1

    async def test_a_malformed_key_is_refused(self, database: Database, clock: ManualClock) -> None:
        idempotency = Idempotency(clock)
        for key in ("", "x" * 256, "a\nb", "a\u0000b"):
            with pytest.raises(InvalidInput):
                await self._claim(database, idempotency, key=key)

    async def test_a_row_holds_hashes_only(self, database: Database, clock: ManualClock) -> None:
        await self._claim(database, Idempotency(clock), key="canary-key", body=b"canary-body")
        async with database.begin() as tx:
            row = str(await tx.scalar(sa.text("SELECT i::text FROM idempotency_key i")))
        assert "canary" not in row
        assert b"canary".hex() not in row
