"""The door to erasures and to people's own export."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import structlog

from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Actor, Person, Principal
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import InvalidInput, NotFound, Problem
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, Outcome, RecordRef
from aliquot.platform.db import Database, Transaction
from aliquot.platform.jobs import Jobs
from aliquot.platform.vault import SITE, Vault
from aliquot.records import proving
from aliquot.records.erasure import store
from aliquot.records.erasure.contracts import Erasure, Obstacles, PersonalData
from aliquot.records.erasure.errors import AlreadyErased, MustBeKept
from aliquot.records.erasure.export import OwnRecords, zipped
from aliquot.records.signatures.contracts import Secrets

log = structlog.get_logger(__name__)

ERASE = "records.erase"
REASON_CHARS = 2_000


class ErasureApi:
    """Orders erasures and carries them out; gives people what is kept about them."""

    def __init__(
        self, *, identity: IdentityApi, ledger: LedgerApi, vault: Vault, clock: Clock, db: Database, jobs: Jobs,
        obstacles: Sequence[Obstacles],
    ) -> None:  # fmt: skip
        self._identity, self._ledger, self._vault, self._clock, self._db, self._jobs = identity, ledger, vault, clock, db, jobs
        self._obstacles = obstacles
        self._domains: list[PersonalData] = []
        self._own = OwnRecords(db, identity, ledger, vault)
        jobs.register(ERASE, self._erase, attempts=20)

    def register(self, domain: PersonalData) -> None:
        """Let erasures and exports reach a domain."""
        self._domains.append(domain)

    async def order(self, tx: Transaction, principal: Principal, subject: str, *, reason: str, secrets: Secrets) -> uuid.UUID | Problem:
        """Disable the person and order their erasure; its id. Commit in either case, then call `carry_out`.

        Raises InvalidInput, NotFound, SessionRequired, SecretRequired; returns WrongPassword and its like, AlreadyErased, MustBeKept,
        LastAdmin.
        """
        if not 1 <= len(reason.strip()) <= REASON_CHARS:
            raise InvalidInput(f"reason: 1 to {REASON_CHARS} characters")
        refused = await proving.refusal(self._identity, tx, principal, secrets)
        if refused is not None:
            return refused
        person = await self._identity.person(tx, subject)
        try:
            return await self._ordered(tx, principal, person, reason)
        except (AlreadyErased, MustBeKept) as problem:
            await self._audit(tx, "subject.erasure_refused", Actor.of(principal), person.id, reason=problem.code, outcome="denied")
            return problem

    async def _ordered(self, tx: Transaction, principal: Principal, person: Person, reason: str) -> uuid.UUID:
        found = [obstacle for source in self._obstacles for obstacle in await source.obstacles(tx, person.id)]
        if await store.of_subject(tx, person.id) is not None:  # asked behind the obstacles' lock: two orders at once are one
            raise AlreadyErased
        if found:
            raise MustBeKept(obstacles=[_shown(obstacle) for obstacle in found])
        by, erasure_id = Actor.of(principal), new_id()
        await self._identity.set_active(tx, person.id, False, by=by)
        event_id = await self._audit(tx, "subject.erasure_ordered", by, person.id, content={"reason": reason.encode()})
        values = {
            "id": erasure_id, "subject": person.id, "ordered_by": principal.id, "ordered_at": self._clock.now(),
            "reason": self._vault.seal(SITE, reason.encode(), aad=_aad(erasure_id)), "order_event_id": event_id,
        }  # fmt: skip
        await store.add(tx, values)
        await self._jobs.defer(tx, ERASE, {"erasure_id": str(erasure_id)})
        return erasure_id

    async def carry_out(self, erasure_id: uuid.UUID) -> None:
        """Destroy the key, then what is in clear. A crash anywhere is made good by the job; repeating it does nothing.

        As long as a hold stands that was made after the order, nothing is destroyed.
        """
        async with self._db.begin() as tx:
            row = await store.get(tx, erasure_id)
            if row is None or row.done_at is not None or await self._held(tx, row.subject):
                return
            await asyncio.to_thread(self._vault.erase, row.subject)  # in the transaction: no hold is made meanwhile
        async with self._db.begin() as tx:
            row = await store.get(tx, erasure_id, lock=True)
            if row is None or row.done_at is not None:
                return
            removed = {"identity": await self._identity.forget(tx, row.subject)}
            for domain in self._domains:
                removed[domain.name] = await domain.forget(tx, row.subject)
            versions = {"removed": canonical_json(removed).decode(), "key_id": str(row.subject)}
            by = Actor(id=str(row.ordered_by), via="system")
            event_id = await self._audit(tx, "subject.erased", by, row.subject, versions=versions)
            await store.done(tx, erasure_id, at=self._clock.now(), event_id=event_id, removed=removed)

    async def _held(self, tx: Transaction, subject: uuid.UUID) -> bool:
        """Whether a hold keeps what the subject's key still opens."""
        found = [obstacle for source in self._obstacles for obstacle in await source.obstacles(tx, subject)]
        held = self._vault.knows(subject) and any(obstacle.because == "hold" for obstacle in found)
        if held:
            log.warning("erasure_held", subject=str(subject))
        return held

    async def resume(self) -> None:
        """Loop: carry out what was ordered and not finished, and forget keys that other processes destroyed."""
        self._vault.forget_erased()
        async with self._db.begin() as tx:
            waiting = await store.waiting(tx)
        for erasure_id in waiting:
            await self.carry_out(erasure_id)

    async def get(self, tx: Transaction, erasure_id: uuid.UUID) -> Erasure:
        """Raises NotFound."""
        row = await store.get(tx, erasure_id)
        if row is None:
            raise NotFound
        return await self._view(tx, row)

    async def page(self, tx: Transaction, *, limit: int, after: uuid.UUID | None) -> tuple[list[Erasure], uuid.UUID | None]:
        """Newest first, and the cursor of the next page."""
        rows = await store.page(tx, limit + 1, after)
        return [await self._view(tx, row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None

    async def unfinished(self, tx: Transaction) -> int:
        """How many were ordered and are not carried out."""
        return len(await store.waiting(tx))

    async def export(self, principal: Principal) -> AsyncIterator[bytes]:
        """A zip with everything about this person, piece by piece. The event is committed before the first byte."""
        async with self._db.begin() as tx:
            await self._audit(tx, "person.exported", Actor.of(principal), principal.id)
        return zipped([self._own.mine(principal), *(domain.mine(principal) for domain in self._domains)])

    async def _erase(self, *, erasure_id: str) -> None:
        await self.carry_out(uuid.UUID(erasure_id))

    async def _view(self, tx: Transaction, row: Any) -> Erasure:
        return Erasure(
            id=row.id, subject=row.subject, ordered_by=row.ordered_by, ordered_at=row.ordered_at, key_id=str(row.subject),
            reason=self._vault.open(bytes(row.reason), aad=_aad(row.id)).decode(), state="ordered" if row.done_at is None else "done",
            done_at=row.done_at, event_id=row.event_id, removed=row.removed or {},
            final=row.event_id is not None and await self._ledger.is_final(tx, row.event_id),
        )  # fmt: skip

    async def _audit(
        self, tx: Transaction, action: str, by: Actor, subject: uuid.UUID, *, content: dict[str, bytes] | None = None,
        versions: dict[str, str] | None = None, reason: str | None = None, outcome: Outcome = "ok",
    ) -> uuid.UUID:  # fmt: skip
        event = AuditEvent(
            action=action, actor=by.id, via=by.via, ip=by.ip, record=RecordRef(type="person", id=str(subject)), outcome=outcome,
            reason=reason, content=content or {}, subject=SITE, versions=versions or {},
        )  # fmt: skip
        return await self._ledger.append(tx, event)


def _aad(erasure_id: uuid.UUID) -> str:
    return f"erasure.reason:{erasure_id}"


def _shown(obstacle: Any) -> dict[str, Any]:
    until = None if obstacle.until is None else obstacle.until.date().isoformat()
    return {"because": obstacle.because, "kind": obstacle.kind, "count": obstacle.count, "until": until}
