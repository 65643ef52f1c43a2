"""All SQL of the ledger."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from itertools import chain
from typing import NamedTuple

from sqlalchemy import text

from aliquot.ledger.merkle import WIDTH, Node, Range, Tile, needed_tiles, range_hash
from aliquot.platform.arrays import Blobs, Uuids
from aliquot.platform.db import Transaction


class EventRow(NamedTuple):
    """One row of `audit_event`."""

    id: uuid.UUID
    at: datetime
    actor: str
    action: str
    record_type: str
    record_id: str
    body: bytes


_COLUMNS = "(id, at, actor, action, record_type, record_id, body)"
_ROWS_PER_STATEMENT = 50


@cache
def _insert(rows: int) -> str:
    """One statement per number of rows, so that PostgreSQL prepares it."""
    places = [", ".join(f"${row * 7 + column}" for column in range(1, 8)) for row in range(rows)]
    return f"INSERT INTO audit_event {_COLUMNS} VALUES " + ", ".join(f"({place})" for place in places)  # noqa: S608 - fixed text


async def insert_events(tx: Transaction, rows: Sequence[EventRow]) -> None:
    """Driver SQL instead of a Core expression: this runs beside every change, and costs half the CPU (benchmarks/ledger.py)."""
    for start in range(0, len(rows), _ROWS_PER_STATEMENT):
        part = rows[start : start + _ROWS_PER_STATEMENT]
        await tx.send_text(_insert(len(part)), tuple(chain.from_iterable(part)))


class Seen(NamedTuple):
    """Which transactions are finished, as PostgreSQL's own snapshots say it: all below `xmax` except those in `running`."""

    xmax: int
    running: tuple[int, ...]


class State(NamedTuple):
    """The row of `audit_state`."""

    size: int
    root_hash: bytes
    note: str | None
    signed_at: datetime | None
    seen: Seen
    cluster: int
    tx_offset: int


class NewEvent(NamedTuple):
    """A committed event that is not in the log yet."""

    id: uuid.UUID
    tx: int
    body: bytes


_STATE = text("SELECT size, root_hash, note, signed_at, seen_xmax, seen_running, cluster, tx_offset FROM audit_state")


async def state(tx: Transaction) -> State:
    row = await tx.row(_STATE)
    if row is None:
        raise LookupError("audit_state is empty")
    seen = Seen(row.seen_xmax, tuple(row.seen_running))
    return State(row.size, bytes(row.root_hash), row.note, row.signed_at, seen, row.cluster, row.tx_offset)


_SNAPSHOT = text(
    "SELECT (pg_snapshot_xmax(pg_current_snapshot())::text)::bigint AS xmax, "
    "ARRAY(SELECT (x::text)::bigint FROM pg_snapshot_xip(pg_current_snapshot()) AS x) AS running, "
    "(SELECT system_identifier FROM pg_control_system()) AS cluster"
)


async def snapshot(tx: Transaction, offset: int) -> tuple[Seen, int]:
    """What this transaction sees as finished (in the numbers of `audit_event.tx`), and the cluster's identity."""
    row = await tx.row(_SNAPSHOT)
    if row is None:
        raise LookupError("no snapshot")
    return Seen(row.xmax + offset, tuple(sorted(x + offset for x in row.running))), row.cluster


_NEW = text(
    "SELECT id, tx, body FROM ("
    "(SELECT id, tx, body FROM audit_event WHERE tx = ANY(CAST(:running AS bigint[]))) UNION ALL "
    "(SELECT id, tx, body FROM audit_event WHERE tx >= :xmax ORDER BY tx FETCH FIRST (:batch) ROWS WITH TIES)"
    ") AS e ORDER BY tx, id"
)


async def new_events(tx: Transaction, seen: Seen, batch: int) -> list[NewEvent]:
    """The visible events of transactions that `seen` calls unfinished: whole transactions, oldest first, about `batch`."""
    rows = await tx.rows(_NEW, {"running": list(seen.running), "xmax": seen.xmax, "batch": batch})
    return [NewEvent(row.id, row.tx, bytes(row.body)) for row in rows]


_BACKLOG = text("SELECT count(*) AS waiting, min(at) AS since FROM audit_event WHERE tx >= :xmax OR tx = ANY(CAST(:running AS bigint[]))")


async def backlog(tx: Transaction) -> tuple[int, datetime | None]:
    """How many committed events wait for the log, and since when."""
    seen = (await state(tx)).seen
    row = await tx.row(_BACKLOG, {"running": list(seen.running), "xmax": seen.xmax})
    return (0, None) if row is None else (row.waiting, row.since)


_LOG = text(
    "INSERT INTO audit_log (seq, event_id, leaf_hash) SELECT :size + o - 1, i, h "
    "FROM unnest(CAST(:ids AS uuid[]), CAST(:hashes AS bytea[])) WITH ORDINALITY AS t(i, h, o)"
)
_NODES = text(
    "INSERT INTO audit_node (level, n, hash) SELECT * "
    "FROM unnest(CAST(:levels AS smallint[]), CAST(:ns AS bigint[]), CAST(:hashes AS bytea[]))"
)
_ADVANCE = text(
    "UPDATE audit_state SET size = :size, root_hash = :root, note = :note, signed_at = :at, seen_xmax = :xmax, "
    "seen_running = CAST(:running AS bigint[]) WHERE size = :old RETURNING size"
)


async def extend_log(tx: Transaction, first: int, ids: Sequence[uuid.UUID], hashes: Sequence[bytes], nodes: Sequence[Node]) -> None:
    """Place events from seq `first` on, and store the tree nodes they complete."""
    await tx.execute(_LOG, {"size": first, "ids": Uuids(ids), "hashes": Blobs(hashes)})
    if nodes:
        parameters = {"levels": [n.level for n in nodes], "ns": [n.n for n in nodes], "hashes": [n.hash for n in nodes]}
        await tx.execute(_NODES, parameters)


async def advance(tx: Transaction, *, old: int, size: int, root: bytes, note: str, at: datetime, seen: Seen) -> bool:
    """Move the state row from size `old`; False when somebody else moved it."""
    parameters = {"old": old, "size": size, "root": root, "note": note, "at": at, "xmax": seen.xmax, "running": list(seen.running)}
    return await tx.scalar(_ADVANCE, parameters) is not None


_LEAVES = text("SELECT leaf_hash FROM audit_log WHERE seq >= :start AND seq < :end ORDER BY seq")
_NODE_RANGE = text("SELECT hash FROM audit_node WHERE level = :level AND n >= :start AND n < :end ORDER BY n")
_ENTRIES = text(
    "SELECT l.leaf_hash, e.body FROM audit_log AS l JOIN audit_event AS e ON e.id = l.event_id "
    "WHERE l.seq >= :start AND l.seq < :end ORDER BY l.seq"
)


async def tile(tx: Transaction, wanted: Tile) -> list[bytes]:
    """The hashes of a tile; fewer than its width when the log is not that long."""
    span = {"start": wanted.n * WIDTH, "end": wanted.n * WIDTH + wanted.width}
    rows = await tx.rows(_NODE_RANGE, span | {"level": wanted.level}) if wanted.level else await tx.rows(_LEAVES, span)
    return [bytes(row[0]) for row in rows]


async def entries(tx: Transaction, start: int, end: int) -> list[tuple[bytes, bytes]]:
    """(leaf hash, stored bytes) of the log's entries `start` to `end` (exclusive)."""
    return [(bytes(row.leaf_hash), bytes(row.body)) for row in await tx.rows(_ENTRIES, {"start": start, "end": end})]


async def hashes_of(tx: Transaction, ranges: Sequence[Range], size: int) -> list[bytes]:
    """The hash of each range of a tree of `size`: proofs and roots, from at most two tiles per level."""
    tiles = {(t.level, t.n): await tile(tx, t) for t in needed_tiles(ranges, size)}
    return [range_hash(covered, tiles) for covered in ranges]
