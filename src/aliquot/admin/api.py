"""The door to what administrators see."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from aliquot.admin import store
from aliquot.admin.contracts import Cap, Load, Patterns, Person, Requests, Usage
from aliquot.admin.errors import BadPeriod
from aliquot.admin.tally import Tally
from aliquot.chat.api import ChatApi
from aliquot.chat.contracts import CHAT_TOTAL
from aliquot.identity.api import IdentityApi
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id, parse_id
from aliquot.models.api import ModelsApi
from aliquot.models.contracts import UsagePart
from aliquot.platform.db import Database, Transaction
from aliquot.platform.limits import Limiter
from aliquot.platform.loops import Loops
from aliquot.platform.settings import Limits
from aliquot.platform.telemetry import Metrics
from aliquot.tools.api import ToolsApi

FLUSH_SECONDS = 5.0
_FRESH = timedelta(seconds=3 * FLUSH_SECONDS)
_MINUTE = timedelta(minutes=1)
_ROWS = 50
"""At most this many people, tools, patterns."""
_SLOWEST = 20
_FULLEST = 10


class AdminApi:
    """Counts requests for all processes together, and puts together what other domains tell."""

    def __init__(
        self, db: Database, identity: IdentityApi, models: ModelsApi, tools: ToolsApi, chat: ChatApi, limiter: Limiter, limits: Limits,
        metrics: Metrics, clock: Clock,
    ) -> None:  # fmt: skip
        self._db, self._identity, self._models, self._tools, self._chat = db, identity, models, tools, chat
        self._limiter, self._limits, self._clock = limiter, limits, clock
        self._tally, self._process, self._flushing = Tally(metrics), new_id(), asyncio.Lock()
        self._idle = True

    def register_loops(self, loops: Loops) -> None:
        loops.register("admin.flush", FLUSH_SECONDS, self.flush)
        loops.register("admin.clean", 3_600.0, self._clean)

    async def flush(self) -> None:
        """Add what this process counted to what all have counted; writes nothing while nothing happens."""
        async with self._flushing:
            counts, load = self._tally.waiting(), self._tally.load()
            idle = not any(load.values())
            if not counts and idle and self._idle:
                return
            now = self._clock.now()
            async with self._db.begin() as tx:
                if counts:
                    await store.add_counts(tx, _minute(now), counts)
                await store.put_load(tx, self._process, now, load)
            self._tally.kept(counts)
            self._idle = idle

    async def _clean(self) -> None:
        async with self._db.begin() as tx:
            await store.clean(tx, self._clock.now(), self._limits.usage_days)

    def period(self, since: datetime | None, until: datetime | None, days: int = 7) -> tuple[datetime, datetime]:
        """The period asked for; without a beginning the last `days` of it. Raises BadPeriod."""
        try:
            until = (until or self._clock.now() + timedelta(milliseconds=1)).astimezone(UTC)
            since = (since or until - timedelta(days=days)).astimezone(UTC)
        except OverflowError:  # before the year 1 or after 9999
            raise BadPeriod from None
        if not timedelta(0) < until - since <= timedelta(days=self._limits.usage_days):
            raise BadPeriod
        return since, until

    async def usage(self, tx: Transaction, since: datetime, until: datetime) -> Usage:
        """Everything, for [since, until). The caller has checked `admin.stats`, and called `flush` to be in the counts itself."""
        now = self._clock.now()
        models = await self._models.breakdown(tx, since, until, people=_ROWS)
        runs = await self._chat.usage.counts(tx, since, until)
        return Usage(
            at=now,
            since=since,
            until=until,
            requests=await self._requests(tx, now),
            load=await self._load(tx, now),
            caps=await self.caps(tx),
            models=models,
            people=await self._people(tx, models.people),
            tools=await self._tools.usage(tx, since, until, _ROWS),
            patterns=await self._patterns(tx, since, until, sum(count.runs for count in runs if count.kind == "chat")),
            runs=runs,
            slowest=await self._chat.usage.slowest(tx, since, until, now, _SLOWEST),
        )

    async def caps(self, tx: Transaction) -> tuple[Cap, ...]:
        """The caps of the whole site, and the people whose hour of tokens is fullest."""
        now, limits = self._clock.now(), self._limits
        spending = await self._models.spending(tx)
        used = spending.day_spent + spending.day_reserved
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        chat = await self._limiter.usage(tx, CHAT_TOTAL, 60)
        hours = await self._models.fullest_hours(tx, _FULLEST)
        names = await self._identity.names(tx, [hour.person_id for hour in hours])
        return (
            _cap("cost_per_day", spending.currency, limits.cost_per_day, used, midnight if used else None),
            _cap("chat_total_per_minute", "requests", limits.chat_total_per_minute, chat.used, chat.resets_at),
            *(
                _cap(
                    "model_tokens_per_hour", "tokens", limits.model_tokens_per_hour, hour.tokens, hour.resets_at,
                    person=Person(id=hour.person_id, name=names.get(hour.person_id, "")),
                )
                for hour in hours
            ),
        )  # fmt: skip

    async def _requests(self, tx: Transaction, now: datetime) -> Requests:
        minute = _minute(now)
        recent = await store.minutes(tx, "all", minute - _MINUTE)
        left = 1 - (now - minute) / _MINUTE
        today = await store.counts(tx, now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0))
        limited = {row.route: int(row.n) for row in today if row.kind == "limited"}
        sums = {row.kind: int(row.n) for row in today if row.kind != "limited"}
        return Requests(
            per_minute=round(recent.get(minute - _MINUTE, 0) * left + recent.get(minute, 0)),
            chat_per_minute=(await self._limiter.usage(tx, CHAT_TOTAL, 60)).used,
            today=sums.get("all", 0),
            failed_today=sums.get("failed", 0),
            limited_today=sum(limited.values()),
            limited_today_by_route=limited,
        )

    async def _load(self, tx: Transaction, now: datetime) -> Load:
        row = await store.load(tx, now - _FRESH)
        return Load(
            processes=row.processes,
            open_streams=int(row.open_streams),
            open_sockets=int(row.open_sockets),
            active_runs=int(row.active_runs),
        )

    async def _patterns(self, tx: Transaction, since: datetime, until: datetime, asked: int) -> Patterns:
        together, with_tools = await self._tools.patterns(tx, self._chat.usage.questions(since, until), _ROWS)
        return Patterns(questions=asked, without_tools=max(0, asked - with_tools), together=together)

    async def _people(self, tx: Transaction, parts: Sequence[UsagePart]) -> tuple[Person, ...]:
        ids = {person for part in parts if (person := parse_id(part.of)) is not None}
        return tuple(Person(id=person, name=name) for person, name in sorted((await self._identity.names(tx, ids)).items()))


def _cap(
    name: str, unit: str, limit: Decimal | int, used: Decimal | int, resets_at: datetime | None, *, person: Person | None = None
) -> Cap:
    limit, used = Decimal(limit), Decimal(used)
    percent = (100 * used / limit if limit else Decimal(100)).quantize(Decimal("0.1"), ROUND_HALF_UP)
    return Cap(
        name=name, unit=unit, limit=limit, used=used, percent=percent, resets_at=resets_at,
        person_id=person.id if person else None, person=person.name or None if person else None,
    )  # fmt: skip


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
