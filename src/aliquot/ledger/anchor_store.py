"""SQL of what anchors the log: rotations of its key, cosignatures, time stamps."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert

from aliquot.ledger.keys import Rotation
from aliquot.ledger.tables import audit_cosignature, audit_event, audit_key, audit_log, audit_timestamp
from aliquot.platform.db import Transaction

_k, _c, _t = audit_key.c, audit_cosignature.c, audit_timestamp.c


class Stamp(NamedTuple):
    """A time stamp of the checkpoint `note`."""

    size: int
    note: str
    token: bytes
    at: datetime


class Cosigned(NamedTuple):
    """A checkpoint with a witness's line."""

    size: int
    witness: str
    note: str
    at: datetime


async def rotations(tx: Transaction) -> list[Rotation]:
    """The placed ones, in log order."""
    query = (
        select(audit_key, audit_log.c.seq, audit_event.c.body)
        .join(audit_log, audit_log.c.event_id == _k.event_id)
        .join(audit_event, audit_event.c.id == _k.event_id)
        .order_by(audit_log.c.seq)
    )
    return [_rotation(row, row.seq, bytes(row.body)) for row in await tx.rows(query)]


async def recorded_rotations(tx: Transaction, events: Sequence[uuid.UUID]) -> list[Rotation]:
    return [_rotation(row, None, None) for row in await tx.rows(select(audit_key).where(_k.event_id.in_(events)))]


async def rotation_waits(tx: Transaction) -> bool:
    """Whether a rotation is recorded but not placed."""
    placed = select(audit_log.c.seq).where(audit_log.c.event_id == _k.event_id).exists()
    return await tx.scalar(select(_k.event_id).where(~placed).limit(1)) is not None


def _rotation(row: Any, seq: int | None, event: bytes | None) -> Rotation:
    return Rotation(old_vkey=row.old_vkey, new_vkey=row.new_vkey, statement=row.statement, seq=seq, event=event)


async def insert_rotation(tx: Transaction, *, event_id: uuid.UUID, old: str, new: str, statement: str, at: datetime) -> None:
    await tx.execute(audit_key.insert().values(event_id=event_id, old_vkey=old, new_vkey=new, statement=statement, at=at))


async def keep_cosigned(tx: Transaction, given: Cosigned) -> bool:
    """False when this witness's cosignature of that size is kept already."""
    statement = insert(audit_cosignature).values(**given._asdict()).on_conflict_do_nothing().returning(_c.size)
    return await tx.scalar(statement) is not None


async def keep_stamp(tx: Transaction, given: Stamp) -> bool:
    statement = insert(audit_timestamp).values(**given._asdict()).on_conflict_do_nothing().returning(_t.size)
    return await tx.scalar(statement) is not None


async def newest_cosigned(tx: Transaction, *, per_witness: int, up_to: int) -> list[Cosigned]:
    """Of each witness the newest cosigned checkpoints of at most `up_to` events."""
    place = func.row_number().over(partition_by=_c.witness, order_by=_c.size.desc()).label("place")
    ranked = select(_c.size, _c.witness, _c.note, _c.at, place).where(_c.size <= up_to).subquery()
    query = select(ranked).where(ranked.c.place <= per_witness).order_by(ranked.c.size, ranked.c.witness)
    return [Cosigned(row.size, row.witness, row.note, row.at) for row in await tx.rows(query)]


async def newest_stamps(tx: Transaction, limit: int, *, up_to: int) -> list[Stamp]:
    query = select(audit_timestamp).where(_t.size <= up_to).order_by(_t.size.desc()).limit(limit)
    return [Stamp(row.size, row.note, bytes(row.token), row.at) for row in await tx.rows(query)][::-1]


async def cosigned_size(tx: Transaction, witness: str) -> int:
    """The largest log this witness cosigned; 0 when it never did."""
    return int(await tx.scalar(select(func.max(_c.size)).where(_c.witness == witness)) or 0)


_LAST = text("SELECT at FROM audit_event WHERE action = :action ORDER BY at DESC LIMIT 1")
_LATEST = text("SELECT at FROM audit_event ORDER BY at DESC LIMIT 1")


async def last_event(tx: Transaction, action: str | None = None) -> datetime | None:
    """When something (or `action`) was last recorded."""
    found: datetime | None = await tx.scalar(_LATEST if action is None else _LAST, {} if action is None else {"action": action})
    return found


async def one_at_a_time(tx: Transaction, what: str) -> bool:
    """Whether this transaction may do `what`: False while another process's does."""
    return bool(await tx.scalar(text("SELECT pg_try_advisory_xact_lock(hashtext(:what))"), {"what": f"aliquot {what}"}))
