"""Direct tool calls of programs that repeat themselves: a call that waits for a person is joined, never silently asked for twice."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aliquot.chat.contracts import Run, Started, StartToolCall
from aliquot.chat.errors import UnknownRun
from aliquot.chat.outcomes import ToolOutcome
from aliquot.chat.service import RunService
from aliquot.identity.contracts import Principal
from aliquot.kernel.problems import NotFound
from aliquot.platform.db import Database, Transaction
from aliquot.policy.api import PolicyApi
from aliquot.policy.contracts import Approval

_LOOK_SECONDS = 1.0
_UNDECIDED = frozenset({"expired", "withdrawn"})

Outcome = Callable[[Principal, Started], Awaitable[ToolOutcome]]
Watch = Callable[[float], Awaitable[None]]
"""Called while waiting, with the seconds that have passed; ends the wait by raising."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A direct call, or what became of one that waited."""

    outcome: ToolOutcome | None
    """None while a person has to decide, while it is being carried out, and when nobody decided."""
    approval: Approval | None = None
    """What it waits or waited for."""
    repeated: bool = False
    """The same call was there already."""

    @property
    def over(self) -> bool:
        """Nothing more will come of it."""
        return self.outcome is not None or (self.approval is not None and self.approval.state in _UNDECIDED)


class DirectCalls:
    """Calls on one person's account, and what became of them."""

    def __init__(self, db: Database, policy: PolicyApi, runs: RunService, outcome: Outcome) -> None:
        self._db, self._policy, self._runs, self._outcome = db, policy, runs, outcome

    async def call(self, request: StartToolCall) -> Called:
        """Make the call. Without an idempotency key the same call of the same person is joined as long as it waits for a decision."""
        if request.idempotency_key is None:
            joined = await self._called(request, join=True)
            if not joined.repeated or (joined.outcome is None and not joined.over):
                return joined  # what is joined and ended meanwhile was another call: this one is made
        return await self._called(request, join=False)

    async def approval(self, principal: Principal, approval_id: uuid.UUID) -> Called:
        """A request of this person's as it is now. Raises NotFound."""
        async with self._db.begin() as tx:
            approval = await self._policy.get(tx, principal, approval_id)
            while approval.superseded_by is not None:  # edited: what counts is the request in its place
                approval = await self._policy.get(tx, principal, approval.superseded_by)
            if approval.requester_id != principal.id:
                raise NotFound
            run = None if approval.next_run_id is None else await self._continued(tx, principal, approval.next_run_id)
        if run is None or run.finished_at is None:
            return Called(outcome=None, approval=approval)
        return Called(outcome=await self._outcome(principal, _started(run)), approval=approval)

    async def wait(self, principal: Principal, approval_id: uuid.UUID, seconds: float, watch: Watch) -> Called:
        """As `approval`, waiting at most `seconds` for the end."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            called = await self.approval(principal, approval_id)
            passed = loop.time() - began
            if called.over or passed >= seconds:
                return called
            await watch(passed)
            await asyncio.sleep(min(_LOOK_SECONDS, max(seconds - passed, 0.01)))

    async def _called(self, request: StartToolCall, *, join: bool) -> Called:
        async with self._db.begin() as tx:
            started = await self._runs.start_tool(tx, request, join=join)
        outcome = await self._outcome(request.principal, started)
        if outcome.status != 202:
            return Called(outcome=outcome, repeated=started.repeated)
        called = await self.approval(request.principal, uuid.UUID(outcome.document["approval"]["id"]))
        return Called(outcome=called.outcome, approval=called.approval, repeated=started.repeated)

    async def _continued(self, tx: Transaction, principal: Principal, run_id: uuid.UUID) -> Run | None:
        try:
            return await self._runs.run(tx, principal, run_id)
        except UnknownRun:
            return None


def _started(run: Run) -> Started:
    return Started(run_id=run.id, conversation_id=run.conversation_id, session_id=str(run.conversation_id))
