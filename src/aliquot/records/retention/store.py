"""SQL of schedules and holds."""

import hashlib
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, delete, func, insert, or_, select, update

from aliquot.platform.db import Transaction
from aliquot.records.retention.tables import legal_hold, retention_archive, retention_schedule
from aliquot.records.signatures.tables import signed_version

_s, _h, _x = retention_schedule.c, legal_hold.c, retention_archive.c


async def schedules(tx: Transaction) -> Sequence[Row[Any]]:
    return await tx.rows(select(retention_schedule).order_by(_s.kind))


async def schedule(tx: Transaction, kind: str) -> Row[Any] | None:
    return await tx.row(select(retention_schedule).where(_s.kind == kind).with_for_update())


async def set_schedule(tx: Transaction, kind: str, keep_days: int | None, archive: bool, *, at: datetime, by: uuid.UUID) -> None:
    values = {"keep_days": keep_days, "archive": archive, "version": _s.version + 1, "changed_at": at, "changed_by": by}
    await tx.execute(update(retention_schedule).where(_s.kind == kind).values(values))


async def add_archive(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(retention_archive).values(values))


async def finish_archive(tx: Transaction, archive_id: uuid.UUID, values: dict[str, Any]) -> bool:
    """False when it was not being written any more."""
    mine = (_x.id == archive_id, _x.state == "writing")
    return (await tx.execute(update(retention_archive).where(*mine).values(values))).rowcount == 1


async def unfinished_archives(tx: Transaction) -> list[uuid.UUID]:
    return [row.id for row in await tx.rows(select(_x.id).where(_x.state == "writing").order_by(_x.id).limit(1_000))]


async def drop_archive(tx: Transaction, archive_id: uuid.UUID) -> None:
    await tx.execute(delete(retention_archive).where(_x.id == archive_id, _x.state == "writing"))


async def archive(tx: Transaction, archive_id: uuid.UUID) -> Row[Any] | None:
    return await tx.row(select(retention_archive).where(_x.id == archive_id, _x.state == "written"))


async def archives(tx: Transaction, *, limit: int, after: uuid.UUID | None) -> Sequence[Row[Any]]:
    """Newest first."""
    statement = select(retention_archive).where(_x.state == "written").order_by(_x.id.desc()).limit(limit)
    return await tx.rows(statement if after is None else statement.where(_x.id < after))


async def add_hold(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(legal_hold).values(values))


async def hold(tx: Transaction, hold_id: uuid.UUID, *, lock: bool = False) -> Row[Any] | None:
    statement = select(legal_hold).where(_h.id == hold_id)
    return await tx.row(statement.with_for_update() if lock else statement)


async def release(tx: Transaction, hold_id: uuid.UUID, values: dict[str, Any]) -> None:
    await tx.execute(update(legal_hold).where(_h.id == hold_id).values(values))


async def holds(tx: Transaction, *, standing: bool, limit: int, after: uuid.UUID | None) -> Sequence[Row[Any]]:
    """Newest first."""
    statement = select(legal_hold).order_by(_h.id.desc()).limit(limit)
    if standing:
        statement = statement.where(_h.released_at.is_(None))
    return await tx.rows(statement if after is None else statement.where(_h.id < after))


async def held(tx: Transaction, person_id: uuid.UUID, conversation_ids: Sequence[uuid.UUID], made_at: datetime) -> bool:
    """Whether a hold stands on the person, one of the conversations, or conversations of that time."""
    period = and_(or_(_h.since.is_(None), _h.since <= made_at), or_(_h.until.is_(None), _h.until > made_at))
    holding = or_(_h.person_id == person_id, _h.conversation_id.in_(conversation_ids), and_(_h.kind == "conversation", period))
    return await tx.row(select(_h.id).where(_h.released_at.is_(None), holding).limit(1)) is not None


async def signed_under(tx: Transaction, subject: uuid.UUID) -> int:
    """How many signed versions are sealed with the subject's key outermost (`Vault.seal`: one byte, then the subject)."""
    outermost = func.substring(signed_version.c.content, 2, 16)
    return int(await tx.scalar(select(func.count()).select_from(signed_version).where(outermost == subject.bytes)))


async def lock_holds(tx: Transaction) -> None:
    """Until the transaction ends no hold is made, and nothing is erased that one could have kept."""
    key = int.from_bytes(hashlib.sha256(b"legal holds").digest()[:8], "big", signed=True)
    await tx.execute(select(func.pg_advisory_xact_lock(key)))


async def one_at_a_time(tx: Transaction) -> bool:
    """False while another process applies the schedules."""
    key = int.from_bytes(hashlib.sha256(b"retention").digest()[:8], "big", signed=True)
    return bool(await tx.scalar(select(func.pg_try_advisory_xact_lock(key))))
