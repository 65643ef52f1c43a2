"""The door to access records: reads of patient data, their report, and emergency access with its review."""

import uuid
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import structlog

from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json, sha256_hex
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import NotFound, Problem
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.vault import SITE, Vault
from aliquot.records import proving
from aliquot.records.access import store
from aliquot.records.access.contracts import BreakGlass, EmergencyRecords, PatientRead, Verdict, Way
from aliquot.records.access.errors import AlreadyReviewed, OneOfTwo, OwnReview
from aliquot.records.signatures.contracts import Secrets

log = structlog.get_logger(__name__)

REASON_CHARS = 2_000


class AccessApi:
    """Records who saw what; opens conversations in an emergency."""

    def __init__(
        self, *, identity: IdentityApi, ledger: LedgerApi, vault: Vault, clock: Clock, records: EmergencyRecords, minutes: int
    ) -> None:
        self._identity, self._ledger, self._vault, self._clock = identity, ledger, vault, clock
        self._records, self._time_box = records, timedelta(minutes=minutes)

    async def saw(self, tx: Transaction, principal: Principal, way: Way, message_ids: Collection[uuid.UUID]) -> None:
        """Record that these messages were given to the person, if any of them is patient data: one event for all of them."""
        seen = await self._records.patient_data(tx, message_ids) if message_ids else None
        if seen is None:
            return
        values = {"conversation_ids": seen.conversation_ids, "message_ids": seen.message_ids, "subjects": seen.subjects}
        ids = {name: [str(i) for i in found] for name, found in values.items()}
        event = AuditEvent(
            action="patient.read", actor=str(principal.id), via=principal.via, ip=principal.ip, reason=way,
            record=RecordRef(type="conversation", id=str(seen.conversation_ids[0])),
            versions={"records": sha256_hex(canonical_json(ids))},
        )  # fmt: skip
        event_id = await self._ledger.append(tx, event)
        row: dict[str, Any] = {"event_id": event_id, "at": self._clock.now(), "person_id": principal.id, "way": way}
        await store.add_read(tx, row | {name: list(found) for name, found in values.items()})

    async def report(
        self, tx: Transaction, principal: Principal, *, patient: uuid.UUID | None, person: uuid.UUID | None, limit: int,
        after: uuid.UUID | None,
    ) -> tuple[list[PatientRead], uuid.UUID | None]:  # fmt: skip
        """Who saw a patient's data, or what a person saw; newest first, and the cursor of the next page. Raises OneOfTwo."""
        if (patient is None) == (person is None):
            raise OneOfTwo
        rows = await store.reads(tx, patient=patient, person=person, limit=limit + 1, after=after)
        about = RecordRef(type="person", id=str(patient or person))
        await self._audit(tx, principal, "access.reported", about, reason="patient" if patient is not None else "person")
        names = await self._identity.names(tx, {row.person_id for row in rows[:limit]})
        shown = [
            PatientRead(
                event_id=row.event_id, at=row.at, person_id=row.person_id, name=names.get(row.person_id, ""), way=row.way,
                conversation_ids=list(row.conversation_ids), message_ids=list(row.message_ids),
            )
            for row in rows[:limit]
        ]  # fmt: skip
        return shown, rows[limit - 1].event_id if len(rows) > limit else None

    # Emergency

    async def granted(self, tx: Transaction, principal: Principal, conversation_id: uuid.UUID) -> bool:
        """Whether the person opened the conversation in an emergency that still lasts, and may still do such a thing."""
        return principal.may("records.break_glass") and await store.granted(tx, principal.id, conversation_id, self._clock.now())

    async def break_glass(
        self, tx: Transaction, principal: Principal, conversation_id: uuid.UUID, *, reason: str, secrets: Secrets
    ) -> BreakGlass | Problem:
        """Open a conversation for reading for a while. Commit in either case. Raises NotFound, and as `proving.refusal`."""
        refused = await proving.refusal(self._identity, tx, principal, secrets)
        if refused is not None:
            return refused
        if not await self._records.exists(tx, conversation_id):
            raise NotFound
        glass_id, now = new_id(), self._clock.now()
        record = RecordRef(type="conversation", id=str(conversation_id))
        event_id = await self._audit(tx, principal, "break_glass.granted", record, content={"reason": reason.encode()})
        values = {
            "id": glass_id, "person_id": principal.id, "conversation_id": conversation_id, "granted_at": now, "event_id": event_id,
            "expires_at": now + self._time_box, "reason": self._vault.seal(SITE, reason.encode(), aad=_aad(glass_id, "reason")),
        }  # fmt: skip
        await store.add_glass(tx, values)
        tx.after_commit(lambda: log.warning("break_glass", person=str(principal.id), conversation=str(conversation_id)))
        return await self.get_glass(tx, glass_id)

    async def get_glass(self, tx: Transaction, glass_id: uuid.UUID) -> BreakGlass:
        """Raises NotFound."""
        row = await store.glass(tx, glass_id)
        if row is None:
            raise NotFound
        return self._shown(row)

    async def glasses(
        self, tx: Transaction, *, unreviewed: bool, limit: int, after: uuid.UUID | None
    ) -> tuple[list[BreakGlass], uuid.UUID | None]:
        """Newest first, and the cursor of the next page."""
        rows = await store.glasses(tx, unreviewed=unreviewed, limit=limit + 1, after=after)
        return [self._shown(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None

    async def review(self, tx: Transaction, principal: Principal, glass_id: uuid.UUID, *, verdict: Verdict, note: str | None) -> BreakGlass:
        """Say whether the access was justified. Raises NotFound, OwnReview, AlreadyReviewed."""
        row = await store.glass(tx, glass_id, lock=True)
        if row is None:
            raise NotFound
        if row.person_id == principal.id:
            raise OwnReview
        if row.verdict is not None:
            raise AlreadyReviewed
        sealed = None if note is None else self._vault.seal(SITE, note.encode(), aad=_aad(glass_id, "note"))
        values = {"verdict": verdict, "note": sealed, "reviewed_by": principal.id, "reviewed_at": self._clock.now()}
        await store.review(tx, glass_id, values)
        content = {} if note is None else {"note": note.encode()}
        record = RecordRef(type="break_glass", id=str(glass_id))
        await self._audit(tx, principal, "break_glass.reviewed", record, content=content, reason=verdict)
        return await self.get_glass(tx, glass_id)

    def _shown(self, row: Any) -> BreakGlass:
        note = None if row.note is None else self._vault.open(bytes(row.note), aad=_aad(row.id, "note")).decode()
        return BreakGlass(
            id=row.id, person_id=row.person_id, conversation_id=row.conversation_id, granted_at=row.granted_at, expires_at=row.expires_at,
            reason=self._vault.open(bytes(row.reason), aad=_aad(row.id, "reason")).decode(), event_id=row.event_id, verdict=row.verdict,
            note=note, reviewed_by=row.reviewed_by, reviewed_at=row.reviewed_at,
        )  # fmt: skip

    async def _audit(
        self, tx: Transaction, principal: Principal, action: str, record: RecordRef, *, reason: str | None = None,
        content: dict[str, bytes] | None = None,
    ) -> uuid.UUID:  # fmt: skip
        event = AuditEvent(
            action=action, actor=str(principal.id), via=principal.via, ip=principal.ip, record=record, reason=reason, content=content or {},
            subject=SITE,
        )  # fmt: skip
        return await self._ledger.append(tx, event)


def _aad(glass_id: uuid.UUID, name: str) -> str:
    return f"break_glass.{name}:{glass_id}"
