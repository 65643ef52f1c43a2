"""Approvals under retention (`records.retention`)."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, true

from aliquot.ledger.contracts import RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Erased, Vault
from aliquot.policy import approvals, store
from aliquot.policy.tables import policy_approval
from aliquot.records.retention.contracts import ArchivedPart, Hold, Kept

_a = policy_approval.c
_OPEN = ("pending", "approved", "executing", "unknown")


class RetainedApprovals:
    """See `records.retention.contracts.RetainedKind`."""

    kind = "approval"

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

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

    async def due(self, tx: Transaction, limit: int) -> Sequence[uuid.UUID]:
        over = func.aliquot_approval_over(_a.id)
        due = select(_a.id).where(_a.state.not_in(_OPEN), over).order_by(_a.id).limit(limit).with_for_update(skip_locked=True)
        return [row.id for row in await tx.rows(due)]

    async def contents(self, tx: Transaction, ids: Sequence[uuid.UUID]) -> Sequence[ArchivedPart]:
        """The request and its decision."""
        rows = [row for approval_id in ids if (row := await store.approval(tx, approval_id)) is not None]
        return [
            ArchivedPart(record=RecordRef(type=self.kind, id=str(row.id), version=row.version), subject=row.requester_id, content=content)
            for row in rows if (content := self._content(row)) is not None
        ]  # fmt: skip

    def _content(self, row: store.ApprovalRow) -> dict[str, Any] | None:
        try:
            ruling = approvals.open_ruling(self._vault, row)
            request = asdict(approvals.open_request(self._vault, row))
        except Erased:
            return None
        return {
            "tool": row.tool, "state": row.state, "created_at": row.created_at, "requester_id": row.requester_id,
            "decided_by": row.decided_by, "request": request, "decision": None if ruling is None else asdict(ruling),
        }  # fmt: skip

    async def purge(self, tx: Transaction, ids: Sequence[uuid.UUID]) -> Sequence[RecordRef]:
        await tx.execute(delete(policy_approval).where(_a.id.in_(ids)))
        return [RecordRef(type=self.kind, id=str(i)) for i in ids]


def _of(subject: uuid.UUID) -> ColumnElement[bool]:
    return or_(_a.requester_id == subject, _a.decided_by == subject)


def _made_in(hold: Hold) -> ColumnElement[bool]:
    since = _a.created_at >= hold.since if hold.since is not None else true()
    return and_(since, _a.created_at < hold.until) if hold.until is not None else since
