"""SQL of access records."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update

from aliquot.platform.db import Transaction
from aliquot.records.access.tables import break_glass, patient_read

_p, _b = patient_read.c, break_glass.c


async def add_read(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.send(insert(patient_read).values(values))


async def reads(
    tx: Transaction, *, patient: uuid.UUID | None, person: uuid.UUID | None, limit: int, after: uuid.UUID | None
) -> Sequence[Row[Any]]:
    """Newest first."""
    statement = select(patient_read).order_by(_p.event_id.desc()).limit(limit)
    if patient is not None:
        statement = statement.where(_p.subjects.contains([patient]))
    if person is not None:
        statement = statement.where(_p.person_id == person)
    return await tx.rows(statement if after is None else statement.where(_p.event_id < after))


async def add_glass(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(break_glass).values(values))


async def granted(tx: Transaction, person_id: uuid.UUID, conversation_id: uuid.UUID, at: datetime) -> bool:
    mine = (_b.person_id == person_id, _b.conversation_id == conversation_id, _b.granted_at <= at, _b.expires_at > at)
    return await tx.scalar(select(_b.id).where(*mine).limit(1)) is not None


async def glass(tx: Transaction, glass_id: uuid.UUID, *, lock: bool = False) -> Row[Any] | None:
    statement = select(break_glass).where(_b.id == glass_id)
    return await tx.row(statement.with_for_update() if lock else statement)


async def glasses(tx: Transaction, *, unreviewed: bool, limit: int, after: uuid.UUID | None) -> Sequence[Row[Any]]:
    """Newest first."""
    statement = select(break_glass).order_by(_b.id.desc()).limit(limit)
    if unreviewed:
        statement = statement.where(_b.verdict.is_(None))
    return await tx.rows(statement if after is None else statement.where(_b.id < after))


async def review(tx: Transaction, glass_id: uuid.UUID, values: dict[str, Any]) -> None:
    await tx.execute(update(break_glass).where(_b.id == glass_id).values(values))
