"""SQL of training records. Rows are added, never changed."""

import hashlib
import uuid
from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Row, Select, func, insert, or_, select

from aliquot.platform.db import Transaction
from aliquot.records.training.tables import training_record, training_revocation

_t, _r = training_record.c, training_revocation.c


def _joined() -> Select[Any]:
    newest = func.max(_t.version).over(partition_by=[_t.person_id, _t.key]).label("newest")
    return select(training_record, newest, _r.reason, _r.revoked_by, _r.revoked_at).select_from(
        training_record.outerjoin(training_revocation, _r.training_id == _t.id)
    )


async def lock_person(tx: Transaction, person_id: uuid.UUID) -> None:
    """Until the end of the transaction nobody else records or revokes a training of this person."""
    key = int.from_bytes(hashlib.sha256(b"training:" + person_id.bytes).digest()[:8], "big", signed=True)
    await tx.execute(select(func.pg_advisory_xact_lock(key)))


async def newest_version(tx: Transaction, person_id: uuid.UUID, key: str) -> int:
    """0 when nothing was recorded yet."""
    return int(await tx.scalar(select(func.coalesce(func.max(_t.version), 0)).where(_t.person_id == person_id, _t.key == key)))


async def add(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(training_record).values(values))


async def revoke(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(training_revocation).values(values))


async def of_person(tx: Transaction, person_id: uuid.UUID, *, limit: int, after: uuid.UUID | None) -> Sequence[Row[Any]]:
    """All versions, newest first."""
    numbered = _joined().where(_t.person_id == person_id).subquery()
    statement = select(numbered).order_by(numbered.c.id.desc()).limit(limit)
    return await tx.rows(statement if after is None else statement.where(numbered.c.id < after))


async def one(tx: Transaction, person_id: uuid.UUID, training_id: uuid.UUID) -> Row[Any] | None:
    numbered = _joined().where(_t.person_id == person_id).subquery()
    return await tx.row(select(numbered).where(numbered.c.id == training_id))


async def valid(tx: Transaction, person_id: uuid.UUID, today: date) -> Sequence[str]:
    """Keys whose newest version was not revoked and is in date."""
    numbered = _joined().where(_t.person_id == person_id).subquery()
    n = numbered.c
    in_date = (n.version == n.newest, n.revoked_at.is_(None), n.completed_on <= today, or_(n.valid_until.is_(None), n.valid_until >= today))
    return [row.key for row in await tx.rows(select(n.key).where(*in_date))]
