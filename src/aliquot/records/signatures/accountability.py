"""The text a person accepts once before the first signature (21 CFR 11.10(j)). Another text has to be accepted anew."""

import uuid
from importlib import resources

from aliquot.identity.contracts import SYSTEM, Actor, Principal
from aliquot.kernel.canonical import sha256_hex
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.settings import Settings
from aliquot.records.signatures import store
from aliquot.records.signatures.contracts import Accountability
from aliquot.records.signatures.errors import AccountabilityRequired, VersionChanged


class AccountabilityTexts:
    """The text in force and who accepted it."""

    def __init__(self, ledger: LedgerApi, clock: Clock, settings: Settings) -> None:
        self._ledger, self._clock = ledger, clock
        self.text = settings.accountability_text or (resources.files(__package__) / "accountability.txt").read_text("utf-8")
        self.version = sha256_hex(self.text.encode())

    async def shown(self, tx: Transaction, principal: Principal) -> Accountability:
        return Accountability(version=self.version, text=self.text, accepted_at=await store.acceptance(tx, principal.id, self.version))

    async def require(self, tx: Transaction, person_id: uuid.UUID) -> None:
        """Raises AccountabilityRequired."""
        if await store.acceptance(tx, person_id, self.version) is None:
            raise AccountabilityRequired

    def require_version(self, version: str) -> None:
        """What was read is what is accepted. Raises VersionChanged."""
        if version != self.version:
            raise VersionChanged("The accountability text is another one by now. Please read it again.", version=self.version)

    async def accept(self, tx: Transaction, person_id: uuid.UUID, *, by: Actor = SYSTEM) -> None:
        """Record the acceptance, once."""
        if await store.acceptance(tx, person_id, self.version) is not None:
            return
        event = AuditEvent(
            action="accountability.accepted", actor=by.id, via=by.via, ip=by.ip, record=RecordRef(type="person", id=str(person_id)),
            on_behalf_of=str(person_id) if by.id != str(person_id) else None, versions={"text": self.version},
        )  # fmt: skip
        values = {"id": new_id(), "person_id": person_id, "text_sha256": self.version, "accepted_at": self._clock.now()}
        await store.insert_acceptance(tx, values | {"event_id": await self._ledger.append(tx, event)}, self.text)
