"""Who watches runs in this process, and whether they still may: people lose access while their stream is open.

Rights are looked up for all watchers together every few seconds, and for one watcher before the next events are shown once somebody
lost their part of a conversation here, and before the end of a tool call is shown to somebody in whose conversation the run is not: its
result may need a permission the reader lacks.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from aliquot.chat.access import Access
from aliquot.chat.contracts import ApprovalRequired, StoredEvent, ToolCallEnd
from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.kernel.problems import Forbidden, NotFound, Problem, Unauthenticated
from aliquot.platform.db import Database, Transaction

RECHECK_SECONDS = 2.0
PERMISSION = "chat.use"
RESULTS = frozenset({ToolCallEnd.kind, ApprovalRequired.kind})
"""Events that show what a tool gave: it may need a permission that a reader lacks."""


@dataclass(slots=True, eq=False)
class Seat:
    """One watcher of one run."""

    principal: Principal
    run_id: uuid.UUID
    own: bool = False
    """It is known to be a run in a conversation of one's own."""
    lost: Problem | None = None
    """Why this person may no longer watch."""
    unsure: bool = False
    """Somebody lost their part of a conversation since this person was looked up."""


class Audience:
    """The watchers of this process."""

    def __init__(self, db: Database, access: Access, identity: IdentityApi) -> None:
        self._db, self._access, self._identity = db, access, identity
        self._seats: set[Seat] = set()
        access.on_withdrawal.append(self._doubt)

    @contextmanager
    def seat(self, principal: Principal | None, run_id: uuid.UUID) -> Iterator[Seat | None]:
        """A place for a watcher whose right was just checked; None watches for the server itself."""
        if principal is None:
            yield None
            return
        seat = Seat(principal, run_id)
        self._seats.add(seat)
        try:
            yield seat
        finally:
            self._seats.discard(seat)

    async def admit(self, seat: Seat | None, events: Sequence[StoredEvent]) -> None:
        """Raise what this watcher lost the right by, before `events` are shown."""
        if seat is None:
            return
        look = seat.unsure or (not seat.own and any(event.kind in RESULTS for event in events))
        while look:
            seat.unsure = False  # before the look: what is withdrawn during it may be missed by it
            async with self._db.begin() as tx:
                seat.lost = await self._look(tx, seat.principal, seat.run_id)
            look = seat.unsure
        if seat.lost is not None:
            raise seat.lost

    def _doubt(self, _: uuid.UUID, but: uuid.UUID | None) -> None:
        """Seats do not know their conversation; withdrawals are rare, so everybody in other people's is looked up once."""
        for seat in self._seats:
            seat.unsure = seat.unsure or not (seat.own or seat.principal.id == but)

    async def recheck(self) -> None:
        """Look after everybody: one query for all runs, one per person, and for runs in other people's conversations theirs."""
        if not self._seats:
            return
        seats: dict[tuple[uuid.UUID, uuid.UUID | None], list[Seat]] = defaultdict(list)
        for seat in self._seats:
            seats[seat.principal.id, seat.principal.session_id].append(seat)
        async with self._db.begin() as tx:
            owners = await self._access.owners(tx, {seat.run_id for seat in self._seats})
            for of_one in seats.values():
                lost = await self._look(tx, of_one[0].principal, None)
                for seat in of_one:
                    seat.own = owners.get(seat.run_id) == seat.principal.id
                    seat.lost = lost if lost is not None or seat.own else await self._look(tx, seat.principal, seat.run_id)

    async def _look(self, tx: Transaction, principal: Principal, run_id: uuid.UUID | None) -> Problem | None:
        """Why this person may no longer chat at all, or watch this run."""
        try:
            now = await self._identity.principal(tx, principal.id, via=principal.via, session_id=principal.session_id, ip=principal.ip)
            if run_id is not None:
                await self._access.run(tx, now, run_id)
        except (Unauthenticated, Forbidden, NotFound) as problem:
            return problem
        return None if now.may(PERMISSION) else Forbidden(f"This needs the permission {PERMISSION}.")
