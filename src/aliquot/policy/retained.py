"""Approvals under retention (`records.retention`)."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, true

from aliquot.ledger.contracts import RecordRef
from aliquot.platform.db import Transaction
from aliquot.policy.tables import policy_approval
from aliquot.records.retention.contracts import Hold, Kept

_a = policy_approval.c
_OPEN = ("pending", "approved", "executing", "unknown")


class RetainedApprovals:
    """See `records.retention.contracts.RetainedKind`."""

    kind = "approval"

    async def kept(self, tx: Transaction, subject: uuid.UUID, before: Mapping[str, datetime | None]) -> Sequence[Kept]:
        start = before[self.kind]
        wanted = _of(subject) if start is None else and_(_of(subject), _a.created_at > start)
        row = await tx.row(select(func.count().label("n"), func.max(_a.created_at).label("newest")).where(wanted))
        return [] if row is None else [Kept(kind=self.kind, count=row.n, newest=row.newest)]

    async def held(self, tx: Transaction, subject: uuid.UUID, holds: Sequence[Hold]) -> int:
        kinds = [_made_in(hold) for hold in holds if hold.kind == self.kind]
        if not kinds:
            return 0
        return int(await tx.scalar(select(func.count()).select_from(policy_approval).where(_of(subject), or_(*kinds))))

    async def purge(self, tx: Transaction, limit: int) -> Sequence[RecordRef]:
        over = func.aliquot_approval_over(_a.id)
        due = select(_a.id).where(_a.state.not_in(_OPEN), over).order_by(_a.id).limit(limit).with_for_update(skip_locked=True)
        ids = [row.id for row in await tx.rows(due)]
        await tx.execute(delete(policy_approval).where(_a.id.in_(ids)))
        return [RecordRef(type=self.kind, id=str(i)) for i in ids]


def _of(subject: uuid.UUID) -> ColumnElement[bool]:
    return or_(_a.requester_id == subject, _a.decided_by == subject)


def _made_in(hold: Hold) -> ColumnElement[bool]:
    since = _a.created_at >= hold.since if hold.since is not None else true()
    return and_(since, _a.created_at < hold.until) if hold.until is not None else since
