"""The door to training records."""

import json
import uuid
from collections.abc import AsyncIterator
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import InvalidInput, NotFound
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Database, Transaction
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Erased, Vault
from aliquot.records.training import store
from aliquot.records.training.contracts import NewTraining, Subjects, Training, TrainingRevocation, no_subjects, training_key
from aliquot.records.training.errors import OwnTraining, TrainingRevoked, TrainingSuperseded, UnknownSubject

_LIST_MAX = 200


class TrainingApi:
    """Records trainings and tells which are in date. Nothing is changed or deleted: a newer version or a revocation is added.

    Of a person and a thing only the newest version counts; when that is revoked, none does.
    """

    def __init__(self, *, identity: IdentityApi, ledger: LedgerApi, vault: Vault, clock: Clock, settings: Settings) -> None:
        self._identity, self._ledger, self._vault, self._clock = identity, ledger, vault, clock
        self._zone = ZoneInfo(settings.time_zone)
        self.subjects: Subjects = no_subjects

    async def record(self, tx: Transaction, principal: Principal, person_id: uuid.UUID, wanted: NewTraining) -> Training:
        """Add a training, or a newer version of it. Raises NotFound, OwnTraining, UnknownSubject, InvalidInput."""
        await self._other(tx, principal, person_id)
        if wanted.kind != "topic" and not await self.subjects(tx, wanted.kind, wanted.code):
            raise UnknownSubject(f"There is no {wanted.kind} {wanted.code} here, so nobody can be trained in it.")
        if wanted.completed_on > self._today():
            raise InvalidInput("completed_on: must not be in the future.")
        if wanted.valid_until is not None and wanted.valid_until < wanted.completed_on:
            raise InvalidInput("valid_until: must not be before `completed_on`.")
        await store.lock_person(tx, person_id)
        training_id, key = new_id(), training_key(wanted.kind, wanted.code)
        version = await store.newest_version(tx, person_id, key) + 1
        details = canonical_json({"trainer": wanted.trainer, "evidence": wanted.evidence})
        values = {
            "id": training_id, "person_id": person_id, "kind": wanted.kind, "code": wanted.code, "key": key, "version": version,
            "completed_on": wanted.completed_on, "valid_until": wanted.valid_until, "recorded_by": principal.id,
            "recorded_at": self._clock.now(), "details": self._vault.seal(person_id, details, aad=_aad(training_id, "details")),
        }  # fmt: skip
        await store.add(tx, values)
        said = stated(person_id, key, wanted.completed_on, wanted.valid_until)
        await self._audit(tx, principal, "training.recorded", training_id, version, said, person_id, {"details": details})
        return await self.get(tx, person_id, training_id)

    async def revoke(
        self, tx: Transaction, principal: Principal, person_id: uuid.UUID, training_id: uuid.UUID, *, reason: str
    ) -> Training:  # fmt: skip
        """Take a training back by a further record. Raises NotFound, OwnTraining, TrainingRevoked, TrainingSuperseded."""
        await self._other(tx, principal, person_id)
        await store.lock_person(tx, person_id)
        row = await store.one(tx, person_id, training_id)
        if row is None:
            raise NotFound
        if row.revoked_at is not None:
            raise TrainingRevoked
        if row.version != row.newest:
            raise TrainingSuperseded
        sealed = self._vault.seal(person_id, reason.encode(), aad=_aad(training_id, "reason"))
        await store.revoke(
            tx, {"training_id": training_id, "reason": sealed, "revoked_by": principal.id, "revoked_at": self._clock.now()}
        )  # fmt: skip
        content = {"reason": reason.encode()}
        await self._audit(tx, principal, "training.revoked", training_id, row.version, None, person_id, content)
        return await self.get(tx, person_id, training_id)

    async def get(self, tx: Transaction, person_id: uuid.UUID, training_id: uuid.UUID) -> Training:
        """Raises NotFound."""
        row = await store.one(tx, person_id, training_id)
        if row is None:
            raise NotFound
        return self._shown(row)

    async def page(
        self, tx: Transaction, person_id: uuid.UUID, *, limit: int, after: uuid.UUID | None = None
    ) -> tuple[list[Training], uuid.UUID | None]:  # fmt: skip
        """A person's trainings, all versions, newest first, and the cursor of the next page. Raises NotFound."""
        await self._identity.person(tx, person_id)
        rows = await store.of_person(tx, person_id, limit=limit + 1, after=after)
        return [self._shown(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None

    async def valid(self, tx: Transaction, person_id: uuid.UUID) -> frozenset[str]:
        """Keys of the trainings that are in date today, by the site's clocks. See `contracts.Trainings`."""
        return frozenset(await store.valid(tx, person_id, self._today()))

    async def _other(self, tx: Transaction, principal: Principal, person_id: uuid.UUID) -> None:
        """Who certifies is never who is certified."""
        await self._identity.person(tx, person_id)
        if principal.id == person_id:
            raise OwnTraining

    def _today(self) -> date:
        return self._clock.now().astimezone(self._zone).date()

    def _shown(self, row: Any) -> Training:
        opened = self._opened(row.person_id, row.details, _aad(row.id, "details"))
        details = json.loads(opened) if opened is not None else {"trainer": None, "evidence": None}
        return Training(
            id=row.id, person_id=row.person_id, kind=row.kind, code=row.code, version=row.version, completed_on=row.completed_on,
            valid_until=row.valid_until, recorded_by=row.recorded_by, recorded_at=row.recorded_at, state=self._state(row),
            revocation=self._revocation(row), **details,
        )  # fmt: skip

    def _state(self, row: Any) -> Any:
        if row.revoked_at is not None:
            return "revoked"
        if row.version != row.newest:
            return "superseded"
        return "expired" if row.valid_until is not None and row.valid_until < self._today() else "valid"

    def _revocation(self, row: Any) -> TrainingRevocation | None:
        if row.revoked_at is None:
            return None
        reason = self._opened(row.person_id, row.reason, _aad(row.id, "reason"))
        return TrainingRevocation(by=row.revoked_by, at=row.revoked_at, reason=None if reason is None else reason.decode())

    def _opened(self, person_id: uuid.UUID, sealed: bytes, aad: str) -> bytes | None:
        try:
            return self._vault.open(bytes(sealed), aad=aad)
        except Erased:
            return None

    async def _audit(
        self, tx: Transaction, principal: Principal, action: str, training_id: uuid.UUID, version: int, said: str | None,
        person_id: uuid.UUID, content: dict[str, bytes],
    ) -> None:  # fmt: skip
        event = AuditEvent(
            action=action, actor=str(principal.id), via=principal.via, ip=principal.ip, reason=said, content=content, subject=person_id,
            record=RecordRef(type="training", id=str(training_id), version=version),
        )  # fmt: skip
        await self._ledger.append(tx, event)


class TrainingPersonal:
    """See `records.erasure.contracts.PersonalData`."""

    name = "training"

    def __init__(self, training: TrainingApi, db: Database) -> None:
        self._training, self._db = training, db

    async def forget(self, tx: Transaction, subject: uuid.UUID) -> int:
        """Nothing that names the person is in clear; that somebody was trained stays, as what they did stays."""
        return 0

    async def mine(self, principal: Principal) -> AsyncIterator[tuple[str, Any]]:
        found: list[Training] = []
        after: uuid.UUID | None = None
        while True:
            async with self._db.begin() as tx:
                items, after = await self._training.page(tx, principal.id, limit=_LIST_MAX, after=after)
            found += items
            if after is None:
                break
        yield "training.json", found


def stated(person_id: uuid.UUID, key: str, completed_on: date, valid_until: date | None) -> str:
    """What the event of a training says of it in clear: ids, codes and dates."""
    return f"{person_id} {key} {completed_on.isoformat()}/{'' if valid_until is None else valid_until.isoformat()}"


def _aad(training_id: uuid.UUID, name: str) -> str:
    return f"training_record.{name}:{training_id}"
