"""SQL of erasures, and of a person's own signatures and events."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update

from aliquot.platform.db import Transaction
from aliquot.records.erasure.tables import erasure
from aliquot.records.signatures.tables import record_signature

_e = erasure.c


async def add(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(erasure).values(values))


async def of_subject(tx: Transaction, subject: uuid.UUID) -> Row[Any] | None:
    return await tx.row(select(erasure).where(_e.subject == subject))


async def get(tx: Transaction, erasure_id: uuid.UUID, *, lock: bool = False) -> Row[Any] | None:
    statement = select(erasure).where(_e.id == erasure_id)
    return await tx.row(statement.with_for_update() if lock else statement)


async def page(tx: Transaction, limit: int, after: uuid.UUID | None) -> Sequence[Row[Any]]:
    """Newest first."""
    statement = select(erasure).order_by(_e.id.desc()).limit(limit)
    return await tx.rows(statement if after is None else statement.where(_e.id < after))


async def waiting(tx: Transaction) -> Sequence[uuid.UUID]:
    return [row.id for row in await tx.rows(select(_e.id).where(_e.done_at.is_(None)))]


async def done(tx: Transaction, erasure_id: uuid.UUID, *, at: datetime, event_id: uuid.UUID, removed: dict[str, int]) -> None:
    await tx.execute(update(erasure).where(_e.id == erasure_id).values(done_at=at, event_id=event_id, removed=removed))


async def signatures_of(tx: Transaction, person_id: uuid.UUID) -> Sequence[Row[Any]]:
    """What a person signed, oldest first."""
    return await tx.rows(select(record_signature).where(record_signature.c.signer_id == person_id).order_by(record_signature.c.id))
