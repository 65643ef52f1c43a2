"""What the log tells about a period: how often what happened, silences, clocks that were set. Sums are made by the database, so that
a million events cost no memory here. Used through `LedgerApi.evidence`."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from aliquot.ledger import store
from aliquot.ledger.contracts import ActionCount, ClockSetBack, Oddities, PlacedEvent, Silence
from aliquot.platform.db import Transaction

TOLERANCE_SECONDS = 300.0
"""Transactions that run at once may be recorded in another order than they began; longer than this none runs."""
MISSED_BEATS = 3
"""After this many heartbeats that did not come, a silence is told. Both as `aliquot_verify.times` has them."""

_TALLY = text(
    "SELECT action, count(*) AS events, max(at) AS newest FROM audit_event "
    "WHERE at >= :since AND at < :until GROUP BY action ORDER BY action"
)
_NEWEST = text(
    "SELECT e.id, e.at, l.seq FROM audit_event AS e JOIN audit_log AS l ON l.event_id = e.id "
    "WHERE e.action = :action AND e.at >= :since AND e.at < :until AND l.seq < :size ORDER BY e.at DESC, e.id DESC LIMIT 1"
)
_BODIES = text(
    "SELECT body FROM audit_event WHERE action = ANY(CAST(:actions AS text[])) AND at >= :since AND at < :until "
    "ORDER BY at DESC, id DESC LIMIT :limit"
)
_PENDING = text(
    "SELECT count(*) FROM audit_event AS e LEFT JOIN audit_log AS l ON l.event_id = e.id "
    "WHERE e.action = ANY(CAST(:actions AS text[])) AND (l.seq IS NULL OR l.seq >= :size)"
)
# In the log's order, against the latest time any event before had: an event with an earlier time neither ends a silence nor hides one.
_PLACED = (
    "WITH placed AS (SELECT l.seq, e.at, coalesce("
    "max(e.at) OVER (ORDER BY l.seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), "
    "(SELECT at FROM audit_event WHERE at < :since ORDER BY at DESC LIMIT 1)) AS latest "
    "FROM audit_log AS l JOIN audit_event AS e ON e.id = l.event_id WHERE e.at >= :since AND e.at < :until)"
)
# The last step ends where the period ends.
_SILENCES = text(
    f"{_PLACED}, steps AS (SELECT at, latest FROM placed UNION ALL "  # noqa: S608 - fixed text
    "SELECT CAST(:until AS timestamptz), (SELECT at FROM audit_event WHERE at < :until ORDER BY at DESC LIMIT 1)), "
    "long AS (SELECT greatest(latest, :since) AS before, at FROM steps WHERE at - latest > :allowed) "
    "SELECT before, at, count(*) OVER () AS total, sum(at - before) OVER () AS whole FROM long ORDER BY at - before DESC, at LIMIT :limit"
)
_SET_BACK = text(
    f"{_PLACED} SELECT seq, at, latest, count(*) OVER () AS total FROM placed "  # noqa: S608 - fixed text
    "WHERE latest - at > :tolerance ORDER BY seq LIMIT :limit"
)


class Evidence:
    """Answers about the events with since <= time < until."""

    async def tally(self, tx: Transaction, since: datetime, until: datetime) -> list[ActionCount]:
        """How often each action was recorded."""
        rows = await tx.rows(_TALLY, {"since": since, "until": until})
        return [ActionCount(action=row.action, count=row.events, newest_at=row.newest) for row in rows]

    async def example(self, tx: Transaction, action: str, since: datetime, until: datetime) -> PlacedEvent | None:
        """The newest event with this action that the newest checkpoint covers."""
        size = (await store.state(tx)).size
        row = await tx.row(_NEWEST, {"action": action, "since": since, "until": until, "size": size})
        return None if row is None else PlacedEvent(id=row.id, at=row.at, seq=row.seq)

    async def bodies(
        self, tx: Transaction, actions: Sequence[str], since: datetime, until: datetime, limit: int
    ) -> list[dict[str, Any]]:  # fmt: skip
        """What the newest events with these actions say, newest first."""
        rows = await tx.rows(_BODIES, {"actions": list(actions), "since": since, "until": until, "limit": limit})
        return [json.loads(bytes(row.body)) for row in rows]

    async def pending(self, tx: Transaction, actions: Sequence[str]) -> int:
        """How many events with these actions no signed checkpoint covers yet."""
        return int(await tx.scalar(_PENDING, {"actions": list(actions), "size": (await store.state(tx)).size}))

    async def oddities(self, tx: Transaction, since: datetime, until: datetime, every_seconds: float, limit: int) -> Oddities:
        """Silences longer than three heartbeats and events recorded with an earlier time than one before them; `limit` of each."""
        allowed = timedelta(seconds=every_seconds * MISSED_BEATS)
        period = {"since": since, "until": until, "limit": limit}
        silent = await tx.rows(_SILENCES, period | {"allowed": allowed})
        back = await tx.rows(_SET_BACK, period | {"tolerance": timedelta(seconds=TOLERANCE_SECONDS)})
        return Oddities(
            silences=silent[0].total if silent else 0,
            silent_seconds=silent[0].whole.total_seconds() if silent else 0.0,
            longest=tuple(Silence(since=row.before, until=row.at) for row in silent),
            set_back=back[0].total if back else 0,
            first_set_back=tuple(ClockSetBack(seq=row.seq, at=row.at, latest=row.latest) for row in back),
        )
