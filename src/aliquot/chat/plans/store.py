"""All SQL of plans, and their seals."""

import uuid
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, delete, or_, select, update

from aliquot.chat.plans.tables import plan, plan_step
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Vault
from aliquot.policy.contracts import PlannedCall


class StepBody(msgspec.Struct, frozen=True, kw_only=True):
    """The sealed part of a step."""

    call: PlannedCall
    deferred: str | None


class StepOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The sealed end of a step."""

    summary: str
    rendered: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `plan_step`, opened."""

    n: int
    state: str
    attempt: int
    approval_id: uuid.UUID | None
    run_id: uuid.UUID | None
    body: StepBody
    outcome: StepOutcome | None

    @property
    def call(self) -> PlannedCall:
        return self.body.call


class PlanStore:
    """Rows in, opened steps out. Rows of `plan` change by compare-and-swap or under their lock."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def insert(self, tx: Transaction, values: dict[str, Any], calls: Sequence[tuple[PlannedCall, str | None]]) -> Row[Any]:
        made = await tx.row(plan.insert().values(**values, version=1).returning(plan))
        if made is None:
            raise AssertionError("an insert returns its row")
        for n, (call, deferred) in enumerate(calls):
            body = msgspec.json.encode(StepBody(call=call, deferred=deferred))
            sealed = self._vault.seal(made.person_id, body, aad=f"plan_step.body:{made.id}:{n}")
            step = {"plan_id": made.id, "n": n, "tool": call.tool.name, "state": "waiting", "attempt": 1, "body": sealed}
            await tx.execute(plan_step.insert().values(**step))
        return made

    async def get(self, tx: Transaction, plan_id: uuid.UUID, *, lock: bool = False) -> Row[Any] | None:
        query = select(plan).where(plan.c.id == plan_id)
        return await tx.row(query.with_for_update() if lock else query)

    async def made_by(self, tx: Transaction, run_id: uuid.UUID, step: int) -> Row[Any] | None:
        return await tx.row(select(plan).where(plan.c.run_id == run_id, plan.c.run_step == step))

    async def driven_by(self, tx: Transaction, run_id: uuid.UUID) -> Row[Any] | None:
        """The plan that `run_id` drives, or waits for."""
        return await tx.row(select(plan).where(plan.c.current_run_id == run_id).order_by(plan.c.id.desc()).limit(1))

    async def page(
        self,
        tx: Transaction,
        person_id: uuid.UUID,
        approvals: Collection[uuid.UUID],
        state: str | None,
        limit: int,
        after: uuid.UUID | None,
    ) -> Sequence[Row[Any]]:
        """Plans of a person, and those that wait for one of `approvals`; newest first."""
        query = select(plan).where(or_(plan.c.person_id == person_id, plan.c.approval_id.in_(list(approvals))))
        if state is not None:
            query = query.where(plan.c.state == state)
        if after is not None:
            query = query.where(plan.c.id < after)
        return await tx.rows(query.order_by(plan.c.id.desc()).limit(limit))

    async def change(self, tx: Transaction, plan_id: uuid.UUID, values: dict[str, Any]) -> Row[Any]:
        """Needs the lock."""
        row = await tx.row(update(plan).where(plan.c.id == plan_id).values(**values, version=plan.c.version + 1).returning(plan))
        if row is None:
            raise AssertionError("a locked plan is there")
        return row

    async def swap(self, tx: Transaction, where: dict[str, Any], values: dict[str, Any]) -> Row[Any] | None:
        """Change the plan that is as `where` says; None when there is none (any more)."""
        same = [plan.c[name] == value for name, value in where.items()]
        return await tx.row(update(plan).where(*same).values(**values, version=plan.c.version + 1).returning(plan))

    async def steps(self, tx: Transaction, plan_id: uuid.UUID) -> list[Step]:
        """In their order. Raises Erased, and Damaged for a row whose seal does not hold."""
        return [self.opened(row) for row in (await self.rows_of_steps(tx, [plan_id])).get(plan_id, [])]

    async def rows_of_steps(self, tx: Transaction, plan_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, list[Row[Any]]]:
        """The steps of each plan in their order, as they are stored."""
        found: dict[uuid.UUID, list[Row[Any]]] = {}
        query = select(plan_step).where(plan_step.c.plan_id.in_(list(plan_ids))).order_by(plan_step.c.plan_id, plan_step.c.n)
        for row in await tx.rows(query):
            found.setdefault(row.plan_id, []).append(row)
        return found

    async def change_step(self, tx: Transaction, plan_id: uuid.UUID, n: int, values: dict[str, Any]) -> None:
        await tx.execute(update(plan_step).where(plan_step.c.plan_id == plan_id, plan_step.c.n == n).values(**values))

    async def change_steps(self, tx: Transaction, plan_id: uuid.UUID, before: Collection[str], values: dict[str, Any]) -> None:
        """All steps in one of the states `before`."""
        c = plan_step.c
        await tx.execute(update(plan_step).where(c.plan_id == plan_id, c.state.in_(list(before))).values(**values))

    def seal_outcome(self, person_id: uuid.UUID, plan_id: uuid.UUID, n: int, outcome: StepOutcome) -> bytes:
        return self._vault.seal(person_id, msgspec.json.encode(outcome), aad=f"plan_step.outcome:{plan_id}:{n}")

    async def of_conversations(self, tx: Transaction, conversation_ids: Collection[uuid.UUID]) -> Sequence[Row[Any]]:
        return await tx.rows(select(plan).where(plan.c.conversation_id.in_(list(conversation_ids))).order_by(plan.c.id))

    async def purge(self, tx: Transaction, conversation_ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
        """Those that are gone. The database refuses what must be kept."""
        gone = [row.id for row in await self.of_conversations(tx, conversation_ids)]
        await tx.execute(delete(plan_step).where(plan_step.c.plan_id.in_(gone)))
        await tx.execute(delete(plan).where(plan.c.id.in_(gone)))
        return gone

    def opened(self, row: Row[Any]) -> Step:
        """A stored step. Raises Erased, and Damaged when its seal does not hold."""
        key = f"{row.plan_id}:{row.n}"
        body = msgspec.json.decode(self._vault.open(bytes(row.body), aad=f"plan_step.body:{key}"), type=StepBody)
        outcome = None
        if row.outcome is not None:
            outcome = msgspec.json.decode(self._vault.open(bytes(row.outcome), aad=f"plan_step.outcome:{key}"), type=StepOutcome)
        return Step(
            n=row.n, state=row.state, attempt=row.attempt, approval_id=row.approval_id, run_id=row.run_id, body=body, outcome=outcome,
        )  # fmt: skip
