"""All SQL of `policy`."""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from aliquot.platform.db import Transaction
from aliquot.policy.contracts import PLAN, ApprovalState, DecisionRecord, ListRole, Reason
from aliquot.policy.tables import policy_activation, policy_approval, policy_decision, policy_execution

_ROLES: tuple[ListRole, ListRole] = ("mine", "inbox")
_MORTAL = ("pending", "approved")
"""States that end by themselves when the time is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRow:
    """A row of `policy_approval` as it is stored."""

    id: uuid.UUID
    version: int
    state: ApprovalState
    requester_id: uuid.UUID
    run_id: uuid.UUID | None
    next_run_id: uuid.UUID | None
    call_id: str
    tool: str
    other_person: bool
    binding_sha256: str
    request: bytes
    created_at: datetime
    expires_at: datetime
    decided_by: uuid.UUID | None
    decided_at: datetime | None
    verdict: bytes | None
    executing_at: datetime | None
    ended_at: datetime | None
    failure: str | None
    calls: int
    superseded_by: uuid.UUID | None

    def state_at(self, now: datetime) -> ApprovalState:
        """The state, with what has run out counted as expired even before the periodic job says so."""
        return "expired" if self.state in _MORTAL and self.expires_at <= now else self.state


_DECISION = tuple(column.name for column in policy_decision.columns)
_newest = sa.select(sa.func.coalesce(sa.func.max(policy_activation.c.serial), 0)).scalar_subquery()


async def insert_decision(tx: Transaction, record: DecisionRecord, sealed: bytes | None, *, serial: int) -> bool:
    """Log a decision; False, and nothing is logged, when `serial` is not the newest activation: the policy has changed since.

    `sealed` is what went in. One statement, so that a decision costs no look at the active policy of its own.
    """
    values = {
        "id": record.id, "at": record.at, "user_id": record.user_id, "tool": record.tool, "decision": record.decision,
        "reasons": [{"policy_id": reason.policy_id, "text": reason.text} for reason in record.reasons], "risk": record.risk,
        "obligations": list(record.obligations), "policy_version": record.policy_version, "input_sha256": record.input_sha256,
        "took_us": record.took_us, "run_id": record.run_id, "intent": record.intent,
        "unnamed_values": record.unnamed_values, "input": sealed,
    }  # fmt: skip
    return await tx.scalar(_LOG, values | {"serial": serial}) is not None


def _log_statement() -> sa.Executable:
    row = [sa.cast(sa.bindparam(column.name, type_=column.type), column.type) for column in policy_decision.columns]
    unchanged = sa.select(*row).where(_newest == sa.bindparam("serial", type_=sa.BigInteger))
    return policy_decision.insert().from_select(_DECISION, unchanged).returning(policy_decision.c.id)


_LOG = _log_statement()


async def decisions(
    tx: Transaction, *, user_id: uuid.UUID | None, decision: str | None, limit: int, after: uuid.UUID | None
) -> list[DecisionRecord]:
    """Logged decisions, newest first."""
    shown = [column for column in policy_decision.columns if column.name != "input"]
    query = sa.select(*shown).order_by(policy_decision.c.id.desc()).limit(limit)
    if user_id is not None:
        query = query.where(policy_decision.c.user_id == user_id)
    if decision is not None:
        query = query.where(policy_decision.c.decision == decision)
    if after is not None:
        query = query.where(policy_decision.c.id < after)
    found = []
    for row in await tx.rows(query):
        values = dict(row._mapping)
        values["reasons"] = tuple(Reason(**reason) for reason in values["reasons"])
        values["obligations"] = tuple(values["obligations"])
        found.append(DecisionRecord(**values))
    return found


async def insert_approval(tx: Transaction, values: Mapping[str, Any]) -> ApprovalRow:
    statement = policy_approval.insert().values(**values).returning(policy_approval)
    return _approval(cast("sa.Row[Any]", await tx.row(statement)))


async def approval(tx: Transaction, approval_id: uuid.UUID, *, lock: bool = False) -> ApprovalRow | None:
    query = sa.select(policy_approval).where(policy_approval.c.id == approval_id)
    row = await tx.row(query.with_for_update() if lock else query)
    return None if row is None else _approval(row)


async def approval_by_next_run(tx: Transaction, run_id: uuid.UUID) -> ApprovalRow | None:
    row = await tx.row(sa.select(policy_approval).where(policy_approval.c.next_run_id == run_id))
    return None if row is None else _approval(row)


async def approvals(
    tx: Transaction, *, person_id: uuid.UUID, decides: bool, role: ListRole | None, state: str | None, now: datetime, limit: int,
    after: uuid.UUID | None,
) -> list[ApprovalRow]:  # fmt: skip
    """What `person_id` requested (`mine`), what waits for their decision (`inbox`), or both and all they may look at; newest first."""
    query = sa.select(policy_approval).where(_listed(person_id, decides, role, now))
    if state is not None:
        over = sa.and_(policy_approval.c.state.in_(_MORTAL), policy_approval.c.expires_at <= now)
        query = query.where(sa.case((over, "expired"), else_=policy_approval.c.state) == state)
    if after is not None:
        query = query.where(policy_approval.c.id < after)
    rows = await tx.rows(query.order_by(policy_approval.c.id.desc()).limit(limit))
    return [_approval(row) for row in rows]


async def count_pending(tx: Transaction, *, person_id: uuid.UUID, decides: bool, now: datetime) -> tuple[int, int]:
    """(mine, inbox): how many requests of mine are open, and how many wait for my decision."""
    c = policy_approval.c
    mine, inbox = (sa.func.count().filter(_listed(person_id, decides, role, now)) for role in _ROLES)
    row = await tx.row(sa.select(mine.label("mine"), inbox.label("inbox")).where(c.state == "pending", c.expires_at > now))
    return (row.mine, row.inbox) if row is not None else (0, 0)


async def lock_requester(tx: Transaction, person_id: uuid.UUID) -> None:
    """One request of a person at a time, until the transaction ends: they are counted."""
    digest = hashlib.sha256(b"policy_approval.requester" + person_id.bytes).digest()
    await tx.send(sa.select(sa.func.pg_advisory_xact_lock(int.from_bytes(digest[:8], "big", signed=True))))


async def pending_of(tx: Transaction, person_id: uuid.UUID, now: datetime) -> int:
    c = policy_approval.c
    asked = sa.select(sa.func.coalesce(sa.func.sum(c.calls), 0))
    return int(await tx.scalar(asked.where(c.requester_id == person_id, c.state == "pending", c.expires_at > now)))


def _listed(person_id: uuid.UUID, decides: bool, role: ListRole | None, now: datetime) -> sa.ColumnElement[bool]:
    c = policy_approval.c
    mine = c.requester_id == person_id
    if role == "mine":
        return mine
    if role == "inbox":
        others = sa.and_(c.other_person, sa.not_(mine)) if decides else sa.false()
        return sa.and_(c.state == "pending", c.expires_at > now, sa.or_(sa.and_(mine, sa.not_(c.other_person)), others))
    return sa.or_(mine, c.other_person) if decides else mine


async def move(
    tx: Transaction,
    approval_id: uuid.UUID,
    *,
    source: ApprovalState,
    target: ApprovalState,
    values: Mapping[str, Any],
    unexpired_at: datetime | None = None,
) -> ApprovalRow | None:
    """Compare-and-swap of the state. None when the row was not (or no longer) in `source`, or had run out at `unexpired_at`."""
    statement = (
        policy_approval.update()
        .where(policy_approval.c.id == approval_id, policy_approval.c.state == source)
        .values(state=target, version=policy_approval.c.version + 1, **values)
        .returning(policy_approval)
    )
    if unexpired_at is not None:
        statement = statement.where(policy_approval.c.expires_at > unexpired_at)
    row = await tx.row(statement)
    return None if row is None else _approval(row)


async def due(tx: Transaction, *, now: datetime, limit: int) -> list[ApprovalRow]:
    """Approvals that have run out, locked; those somebody else holds are left for the next round."""
    over = sa.and_(policy_approval.c.state.in_(_MORTAL), policy_approval.c.expires_at <= now)
    query = sa.select(policy_approval).where(over).order_by(policy_approval.c.expires_at).limit(limit)
    return [_approval(row) for row in await tx.rows(query.with_for_update(skip_locked=True))]


async def in_flight_since(tx: Transaction, *, before: datetime, limit: int) -> list[ApprovalRow]:
    """Approvals that began executing before `before` and never ended, locked."""
    c = policy_approval.c
    stuck = sa.and_(c.state == "executing", c.executing_at < before, c.tool != PLAN)  # a plan takes as long as its steps
    query = sa.select(policy_approval).where(stuck).order_by(policy_approval.c.id).limit(limit)
    return [_approval(row) for row in await tx.rows(query.with_for_update(skip_locked=True))]


async def record_execution(tx: Transaction, approval_id: uuid.UUID, at: datetime) -> bool:
    """Note that `approval_id` is executed now; False when it was executed before."""
    statement = insert(policy_execution).values(approval_id=approval_id, at=at).on_conflict_do_nothing()
    return await tx.scalar(statement.returning(policy_execution.c.approval_id)) is not None


def _approval(row: "sa.Row[Any]") -> ApprovalRow:
    return ApprovalRow(**row._mapping)
