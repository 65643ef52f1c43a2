"""SQL of security alerts."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, insert, select, update

from aliquot.platform.db import Transaction
from aliquot.records.alerts.tables import security_alert, security_mail, security_watch

_a, _m, _w = security_alert.c, security_mail.c, security_watch.c


async def watched(tx: Transaction) -> int | None:
    """Up to where the log was looked through, locked; None while another process looks."""
    row = await tx.row(select(_w.seq).where(_w.id == 1).with_for_update(skip_locked=True))
    return None if row is None else row.seq


async def move_watch(tx: Transaction, seq: int) -> None:
    await tx.execute(update(security_watch).where(_w.id == 1).values(seq=seq))


async def standing(tx: Transaction, kind: str, person_id: uuid.UUID, since: datetime) -> Row[Any] | None:
    """The newest alert of this kind about the person that began after `since` and nobody acknowledged."""
    mine = (_a.kind == kind, _a.person_id == person_id, _a.first_at > since, _a.acknowledged_at.is_(None))
    return await tx.row(select(security_alert).where(*mine).order_by(_a.id.desc()).limit(1).with_for_update())


async def add(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(security_alert).values(values))


async def change(tx: Transaction, alert_id: uuid.UUID, values: dict[str, Any]) -> None:
    await tx.execute(update(security_alert).where(_a.id == alert_id).values(values))


async def untold(tx: Transaction) -> bool:
    return await tx.row(select(_a.id).where(_a.mail_id.is_(None)).limit(1)) is not None


async def add_mail(tx: Transaction, mail_id: uuid.UUID, at: datetime) -> None:
    """A mail that tells of all alerts that were not told of."""
    await tx.execute(insert(security_mail).values(id=mail_id, created_at=at, given_up=0))
    await tx.execute(update(security_alert).where(_a.mail_id.is_(None)).values(mail_id=mail_id))


async def mail(tx: Transaction, mail_id: uuid.UUID) -> Row[Any] | None:
    return await tx.row(select(security_mail).where(_m.id == mail_id))


async def told(tx: Transaction, mail_id: uuid.UUID, limit: int) -> Sequence[Row[Any]]:
    return await tx.rows(select(security_alert).where(_a.mail_id == mail_id).order_by(_a.id).limit(limit))


async def change_mail(tx: Transaction, mail_id: uuid.UUID, values: dict[str, Any]) -> None:
    await tx.execute(update(security_mail).where(_m.id == mail_id).values(values))


def _shown() -> Select[Any]:
    joined = security_alert.outerjoin(security_mail, _m.id == _a.mail_id)
    return select(security_alert, _m.sent_at, _m.error_code, _m.given_up).select_from(joined)


async def one(tx: Transaction, alert_id: uuid.UUID) -> Row[Any] | None:
    return await tx.row(_shown().where(_a.id == alert_id))


async def lock(tx: Transaction, alert_id: uuid.UUID) -> Row[Any] | None:
    return await tx.row(select(security_alert).where(_a.id == alert_id).with_for_update())


async def page(tx: Transaction, *, open_only: bool | None, limit: int, after: uuid.UUID | None) -> Sequence[Row[Any]]:
    """Newest first."""
    statement = _shown().order_by(_a.id.desc()).limit(limit)
    if open_only is not None:
        statement = statement.where(_a.acknowledged_at.is_(None) if open_only else _a.acknowledged_at.is_not(None))
    return await tx.rows(statement if after is None else statement.where(_a.id < after))
