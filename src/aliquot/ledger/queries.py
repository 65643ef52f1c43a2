"""What people ask of the ledger: SQL of the read side."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, text, tuple_

from aliquot.ledger.contracts import EventFilter, LoggedEvent
from aliquot.ledger.store import Seen
from aliquot.ledger.tables import audit_event, audit_log
from aliquot.platform.db import Transaction

_e, _l = audit_event.c, audit_log.c


async def list_events(tx: Transaction, wanted: EventFilter, limit: int, after: uuid.UUID | None) -> list[LoggedEvent] | None:
    """Newest first; None when the cursor `after` is no event."""
    query = select(_e.id, _l.seq, _e.body).outerjoin_from(audit_event, audit_log, _l.event_id == _e.id).where(*_conditions(wanted))
    if after is not None:
        at = await tx.scalar(select(_e.at).where(_e.id == after))
        if at is None:
            return None
        query = query.where(tuple_(_e.at, _e.id) < tuple_(at, after))
    rows = await tx.rows(query.order_by(_e.at.desc(), _e.id.desc()).limit(limit))
    return [LoggedEvent(id=row.id, seq=row.seq, body=bytes(row.body)) for row in rows]


def _conditions(wanted: EventFilter) -> Sequence[ColumnElement[bool]]:
    equal = {_e.actor: wanted.actor, _e.action: wanted.action, _e.record_type: wanted.record_type, _e.record_id: wanted.record_id}
    return [*(column == value for column, value in equal.items() if value is not None), *_period(wanted.since, wanted.until)]


def _period(since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    return [*([_e.at >= since] if since is not None else []), *([_e.at < until] if until is not None else [])]


async def find(tx: Transaction, event_id: uuid.UUID) -> tuple[int | None, bytes | None] | None:
    """(seq, leaf hash) of an event, both None while it waits for the log; None when there is no such event."""
    query: Select[int | None, bytes | None] = (
        select(_l.seq, _l.leaf_hash).select_from(audit_event).outerjoin(audit_log, _l.event_id == _e.id).where(_e.id == event_id)
    )
    row = await tx.row(query)
    return None if row is None else (row.seq, None if row.leaf_hash is None else bytes(row.leaf_hash))


async def span(tx: Transaction, since: datetime | None, until: datetime | None, size: int) -> tuple[int, int]:
    """(first seq, count) of the shortest unbroken part of the log that holds every event of the period."""
    if since is None and until is None:
        return 0, size
    query = select(func.min(_l.seq).label("first"), func.max(_l.seq).label("last")).select_from(audit_event)
    row = await tx.row(query.join(audit_log, _l.event_id == _e.id).where(_l.seq < size, *_period(since, until)))
    return (0, 0) if row is None or row.first is None else (row.first, row.last - row.first + 1)


_COUNTS = text(
    "SELECT e.action, count(*) AS events FROM audit_log AS l JOIN audit_event AS e ON e.id = l.event_id "
    "WHERE l.seq >= :start AND l.seq < :end GROUP BY e.action ORDER BY count(*) DESC, e.action LIMIT 200"
)


async def counts(tx: Transaction, start: int, end: int) -> list[tuple[str, int]]:
    """How many events of each action that part of the log holds."""
    return [(row.action, row.events) for row in await tx.rows(_COUNTS, {"start": start, "end": end})]


async def events_of(tx: Transaction, actions: Sequence[str], start: int, end: int, limit: int) -> list[tuple[int, uuid.UUID]]:
    """(seq, id) of the events with these actions in that part of the log, in its order."""
    query = select(_l.seq, _l.event_id).join_from(audit_log, audit_event, _l.event_id == _e.id)
    query = query.where(_e.action.in_(actions), _l.seq >= start, _l.seq < end).order_by(_l.seq).limit(limit)
    return [(row.seq, row.event_id) for row in await tx.rows(query)]


async def bodies_in(tx: Transaction, actions: Sequence[str], start: int, end: int, limit: int) -> list[LoggedEvent]:
    """As `events_of`, with what they say."""
    query = select(_l.seq, _e.id, _e.body).join_from(audit_log, audit_event, _l.event_id == _e.id)
    query = query.where(_e.action.in_(actions), _l.seq >= start, _l.seq < end).order_by(_l.seq).limit(limit)
    return [LoggedEvent(id=row.id, seq=row.seq, body=bytes(row.body)) for row in await tx.rows(query)]


_UNSEEN = text(
    "SELECT EXISTS (SELECT FROM audit_event WHERE tx >= :xmax AND tx < :below) "
    "OR EXISTS (SELECT FROM audit_event WHERE tx = ANY(CAST(:running AS bigint[])) AND tx < :below)"
)


async def any_unseen(tx: Transaction, seen: Seen, below: int) -> bool:
    """Whether a committed event of a transaction numbered under `below` waits for the log."""
    return bool(await tx.scalar(_UNSEEN, {"xmax": seen.xmax, "running": list(seen.running), "below": below}))


_BODIES = text(
    "SELECT record_id, body FROM audit_event WHERE record_type = :kind AND record_id = ANY(CAST(:ids AS text[])) ORDER BY at, id"
)


async def bodies_of(tx: Transaction, kind: str, ids: Sequence[str]) -> dict[str, list[bytes]]:
    """The events about each record, oldest first."""
    found: dict[str, list[bytes]] = {}
    for row in await tx.rows(_BODIES, {"kind": kind, "ids": list(ids)}):
        found.setdefault(row.record_id, []).append(bytes(row.body))
    return found


async def records_made(
    tx: Transaction, kind: str, actions: Sequence[str], after: tuple[datetime, uuid.UUID] | None, limit: int
) -> list[tuple[datetime, uuid.UUID, str]]:
    """(time, event, record) of the events by which records came to be, oldest first."""
    query = select(_e.at, _e.id, _e.record_id).where(_e.action.in_(actions), _e.record_type == kind).order_by(_e.at, _e.id).limit(limit)
    if after is not None:
        query = query.where(tuple_(_e.at, _e.id) > tuple_(*after))
    return [(row.at, row.id, row.record_id) for row in await tx.rows(query)]


_ENDED = text(
    "SELECT DISTINCT record_id FROM audit_event WHERE record_type = :kind AND record_id = ANY(CAST(:ids AS text[])) "
    "AND action ~ '\\.(erased|deleted|purged)$'"
)


async def records_ended(tx: Transaction, kind: str, ids: Sequence[str]) -> set[str]:
    """Those whose end was recorded."""
    return {row.record_id for row in await tx.rows(_ENDED, {"kind": kind, "ids": list(ids)})}


_LOG_PAGE = text(
    "SELECT l.seq, l.leaf_hash, e.id, e.actor, e.action, e.record_type, e.record_id, e.body FROM audit_log AS l "
    "LEFT JOIN audit_event AS e ON e.id = l.event_id WHERE l.seq >= :start AND l.seq < :end ORDER BY l.seq"
)


async def log_page(tx: Transaction, start: int, end: int) -> Sequence[Any]:
    """Entries with everything stored about them."""
    return await tx.rows(_LOG_PAGE, {"start": start, "end": end})
