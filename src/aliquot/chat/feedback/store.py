"""SQL and sealing of feedback."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, or_, select
from sqlalchemy.dialects.postgresql import insert

from aliquot.chat.feedback.contracts import Feedback, FeedbackFilter
from aliquot.chat.feedback.tables import feedback
from aliquot.chat.tables import message
from aliquot.kernel.ids import new_id
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Damaged, Erased, Vault

_f = feedback.c


class FeedbackStore:
    """Rows of feedback; one per person and message."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def message(self, tx: Transaction, message_id: uuid.UUID) -> Row[Any] | None:
        """Where a message is and what it is, whoever may read it."""
        m = message.c
        return await tx.row(select(m.conversation_id, m.role, m.run_id).where(m.id == message_id))

    async def put(
        self, tx: Transaction, person_id: uuid.UUID, message_id: uuid.UUID, of: Row[Any], rating: str, comment: str | None, at: datetime
    ) -> tuple[Feedback, bool]:
        """Give feedback, or change what was given; the second value is True when it is the first."""
        aad = f"feedback.comment:{message_id}:{person_id}"
        sealed = None if comment is None else self._vault.seal(person_id, comment.encode(), aad=aad)
        feedback_id = new_id()
        statement = insert(feedback).values(
            id=feedback_id, message_id=message_id, conversation_id=of.conversation_id, run_id=of.run_id, person_id=person_id,
            rating=rating, comment=sealed, created_at=at, updated_at=at,
        )  # fmt: skip
        changed = {"rating": rating, "comment": sealed, "updated_at": at}
        row = await tx.row(statement.on_conflict_do_update(index_elements=[_f.message_id, _f.person_id], set_=changed).returning(feedback))
        if row is None:
            raise LookupError("an upsert returns its row")
        return self.view(row), row.id == feedback_id

    async def get(self, tx: Transaction, person_id: uuid.UUID, message_id: uuid.UUID) -> Feedback | None:
        row = await tx.row(select(feedback).where(_f.message_id == message_id, _f.person_id == person_id))
        return None if row is None else self.view(row)

    async def withdraw(self, tx: Transaction, person_id: uuid.UUID, message_id: uuid.UUID) -> uuid.UUID | None:
        """Take it away; its id, None when there was none."""
        mine = (_f.message_id == message_id, _f.person_id == person_id)
        found: uuid.UUID | None = await tx.scalar(delete(feedback).where(*mine).returning(_f.id))
        return found

    async def page(
        self, tx: Transaction, wanted: FeedbackFilter, limit: int, after: tuple[datetime, uuid.UUID] | None
    ) -> Sequence[Feedback]:
        """Newest first; the order in which it was first given, so that a change moves nothing between pages."""
        statement = select(feedback).where(*_matching(wanted))
        if after is not None:
            statement = statement.where(or_(_f.created_at < after[0], and_(_f.created_at == after[0], _f.id < after[1])))
        return [self.view(row) for row in await tx.rows(statement.order_by(_f.created_at.desc(), _f.id.desc()).limit(limit))]

    def view(self, row: Row[Any]) -> Feedback:
        return Feedback(
            id=row.id, message_id=row.message_id, conversation_id=row.conversation_id, run_id=row.run_id, person_id=row.person_id,
            rating=int(row.rating) if row.rating.isdecimal() else row.rating, comment=self._comment(row),
            created_at=row.created_at, updated_at=row.updated_at,
        )  # fmt: skip

    def _comment(self, row: Row[Any]) -> str | None:
        if row.comment is None:
            return None
        try:
            return self._vault.open(row.comment, aad=f"feedback.comment:{row.message_id}:{row.person_id}").decode()
        except (Erased, Damaged):  # one person's erasure must not close the list to administrators
            return None


def _matching(wanted: FeedbackFilter) -> Sequence[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.rating is not None:
        conditions.append(_f.rating == wanted.rating)
    if wanted.person_id is not None:
        conditions.append(_f.person_id == wanted.person_id)
    if wanted.message_id is not None:
        conditions.append(_f.message_id == wanted.message_id)
    if wanted.commented is not None:
        conditions.append(_f.comment.is_not(None) if wanted.commented else _f.comment.is_(None))
    if wanted.since is not None:
        conditions.append(_f.created_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(_f.created_at < wanted.until)
    return conditions
