"""What rooms read: which runs a conversation has, how far they are, and what stands around them."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select

from aliquot.chat.tables import run, run_event
from aliquot.platform.db import Transaction

_SLACK = timedelta(seconds=60)
"""Runs may become visible in another order than they were numbered in, by at most this (transactions, clocks of several hosts)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a run is."""

    run_id: uuid.UUID
    finished: bool
    last_seq: int


class LiveStore:
    """SQL of rooms."""

    async def recent(self, tx: Transaction, conversation_id: uuid.UUID, limit: int) -> list[Mark]:
        """The newest runs, newest first."""
        statement = _marks().where(run.c.conversation_id == conversation_id).order_by(run.c.created_at.desc(), run.c.id.desc())
        return _read(await tx.rows(statement.limit(limit)))

    async def to_replay(self, tx: Transaction, conversation_id: uuid.UUID, listed: Collection[uuid.UUID] | None, limit: int) -> list[Mark]:
        """Runs a client that saw `listed` may have missed, oldest first; None: those going on."""
        mine = run.c.conversation_id == conversation_id
        condition: ColumnElement[bool] = run.c.finished_at.is_(None)
        if listed is not None:
            oldest = select(func.min(run.c.created_at)).where(mine, run.c.id.in_(listed)).scalar_subquery()
            condition = or_(condition, oldest.is_(None), run.c.created_at > oldest - _SLACK)
        statement = _marks().where(mine, condition).order_by(run.c.created_at, run.c.id)
        return _read(await tx.rows(statement.limit(limit)))

    async def started_since(self, tx: Transaction, conversation_ids: Collection[uuid.UUID], since: datetime) -> Sequence[Row[Any]]:
        """`id, conversation_id` of runs of these conversations that are going on or started after `since`."""
        of_these = run.c.conversation_id.in_(conversation_ids)
        condition = and_(of_these, run.c.created_at > since - _SLACK)
        return await tx.rows(select(run.c.id, run.c.conversation_id).where(condition).order_by(run.c.created_at, run.c.id))

    async def mark(self, tx: Transaction, run_id: uuid.UUID) -> Mark | None:
        found = _read(await tx.rows(_marks().where(run.c.id == run_id)))
        return found[0] if found else None

    async def run(self, tx: Transaction, run_id: uuid.UUID) -> Row[Any] | None:
        return await tx.row(select(run).where(run.c.id == run_id))

    async def answers_again(self, tx: Transaction, row: Row[Any]) -> bool:
        """True when an earlier run answered the same message (regenerate)."""
        earlier = select(run.c.id).where(
            run.c.conversation_id == row.conversation_id, run.c.user_message_id == row.user_message_id, run.c.created_at < row.created_at
        )
        return await tx.scalar(earlier.limit(1)) is not None

    async def going_on(self, tx: Transaction, conversation_id: uuid.UUID, person_id: uuid.UUID) -> uuid.UUID | None:
        """The person's newest run that has not ended."""
        mine = (run.c.conversation_id == conversation_id, run.c.person_id == person_id, run.c.finished_at.is_(None))
        found: uuid.UUID | None = await tx.scalar(select(run.c.id).where(*mine).order_by(run.c.created_at.desc()).limit(1))
        return found


def _marks() -> Select[Any]:
    last = select(func.coalesce(func.max(run_event.c.seq), 0)).where(run_event.c.run_id == run.c.id).scalar_subquery()
    return select(run.c.id, run.c.finished_at, last.label("last_seq"))


def _read(rows: Sequence[Row[Any]]) -> list[Mark]:
    return [Mark(row.id, row.finished_at is not None, row.last_seq) for row in rows]
