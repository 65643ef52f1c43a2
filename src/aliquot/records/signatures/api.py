"""The door to electronic signatures."""

import uuid
from collections.abc import Collection

import structlog
from sqlalchemy import Row

from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import SYSTEM, Actor, Principal
from aliquot.kernel.clock import Clock
from aliquot.kernel.problems import InvalidInput, NotFound, Problem
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Damaged, Erased, Vault
from aliquot.records.signatures import store
from aliquot.records.signatures.accountability import AccountabilityTexts
from aliquot.records.signatures.authentication import Authentication
from aliquot.records.signatures.contracts import (
    SIGN,
    Accountability,
    Proof,
    Secrets,
    Signable,
    SignableKind,
    SignableRecord,
    Signature,
    Wish,
)
from aliquot.records.signatures.errors import UnknownKind, UnknownMeaning
from aliquot.records.signatures.rules import Rules
from aliquot.records.signatures.service import Signing, content_aad, found, open_content
from aliquot.records.signatures.statement import statement_aad
from aliquot.records.signatures.views import Views
from aliquot.records.training.contracts import Trainings, nobody_trained

log = structlog.get_logger(__name__)

_ID_CHARS = 255


class SignaturesApi:
    """Signs whatever registered itself as signable.

    Functions that return a `Problem` beside their result must have their transaction committed in either case: the refusal is
    counted and audited. The caller raises it afterwards.
    """

    def __init__(
        self, *, identity: IdentityApi, ledger: LedgerApi, vault: Vault, clock: Clock, settings: Settings,
        trainings: Trainings = nobody_trained,
    ) -> None:  # fmt: skip
        self._ledger, self._vault, self._reason_chars = ledger, vault, settings.limits.signature_reason_chars
        self._rules = Rules(meanings=settings.signature_meanings, rules=settings.signing_rules)
        self._texts = AccountabilityTexts(ledger, clock, settings)
        self._authentication = Authentication(identity, clock, settings)
        self._signing = Signing(
            ledger=ledger, vault=vault, clock=clock, settings=settings, rules=self._rules, texts=self._texts,
            authentication=self._authentication, trainings=trainings,
        )  # fmt: skip
        self._views = Views(ledger, vault)
        self._kinds: dict[str, SignableKind] = {}

    def register(self, kind: SignableKind) -> None:
        """Make a kind of record signable. Raises ValueError when the name is taken."""
        if kind.name in self._kinds:
            raise ValueError(f"the signable kind {kind.name} is registered twice")
        self._kinds[kind.name] = kind

    # Reading

    async def signable(self, tx: Transaction, principal: Principal, kind: str, reference: str, part: str | None = None) -> Signable:
        """What would be signed now. Raises NotFound, NotSignable."""
        door, record_id = await self._located(tx, principal, kind, reference)
        record = await door.current(tx, principal, record_id, part)
        given, may_sign = await self._signing.standing(tx, record), door.direct and principal.may(SIGN)
        components, continued = await self._authentication.period(tx, principal)
        return Signable(
            record_type=record.kind, record_id=record.id, version=record.version, part=record.part or None, sha256=record.sha256,
            title=record.title, bytes=len(record.content), components=components, continued=continued,
            meanings=self._rules.requirements(
                record, given, signer_id=principal.id, roles=principal.roles, may_sign=may_sign,
                trainings=await self._signing.trainings(tx, principal.id),
            ),
            accountability_accepted=(await self._texts.shown(tx, principal)).accepted_at is not None,
        )  # fmt: skip

    async def page(
        self, tx: Transaction, principal: Principal, kind: str, reference: str, *, limit: int = 50, after: uuid.UUID | None = None
    ) -> tuple[list[Signature], uuid.UUID | None]:
        """The signatures of a record, revoked ones too, newest first, and the cursor of the next page. Raises NotFound."""
        door, record_id = await self._located(tx, principal, kind, reference)
        rows = await store.page(tx, kind, record_id, limit=limit + 1, after=after)
        standing = await self._views.standing(tx, principal, door, record_id, None) if rows else "superseded"
        shown = [await self._views.signature(tx, row, standing) for row in rows[:limit]]
        return shown, rows[limit - 1].id if len(rows) > limit else None

    async def signature(self, tx: Transaction, principal: Principal, kind: str, reference: str, signature_id: uuid.UUID) -> Signature:
        """One signature. The part it is bound to is read again: `altered` is found however old it is. Raises NotFound."""
        door, record_id = await self._located(tx, principal, kind, reference)
        return await self._shown(tx, principal, door, await found(tx, kind, record_id, signature_id))

    async def content(self, tx: Transaction, principal: Principal, kind: str, reference: str, signature_id: uuid.UUID) -> bytes:
        """The canonical bytes that were signed: their SHA-256 is in the signature. Raises NotFound, Erased, Damaged."""
        door, record_id = await self._located(tx, principal, kind, reference)
        row = await found(tx, kind, record_id, signature_id)
        await door.current(tx, principal, record_id, row.part or None)  # who may not read that part may not read it here
        kept = await store.kept_version(tx, kind, record_id, row.part, row.version)
        if kept is None:
            raise NotFound
        event = AuditEvent(
            action="signature.content_read", actor=str(principal.id), via=principal.via, ip=principal.ip,
            record=RecordRef(type=kind, id=record_id, version=row.version),
        )  # fmt: skip
        await self._ledger.append(tx, event)
        return open_content(self._vault, bytes(kept.content), content_aad(kind, record_id, row.part, row.version))

    async def complete(self, tx: Transaction, record: SignableRecord, meaning: str) -> bool:
        """Whether as many persons as the rules want have signed this version for `meaning`."""
        return self._rules.complete(record.kind, await self._signing.standing(tx, record), meaning)

    async def signers(self, tx: Transaction, record: SignableRecord, meaning: str) -> set[uuid.UUID]:
        """Who signed this version for `meaning` and did not revoke it."""
        return {one.signer_id for one in await self._signing.standing(tx, record) if one.meaning == meaning}

    async def locked_parts(self, tx: Transaction, kind: str, record_id: str) -> set[str]:
        """Which parts of a record were ever signed: whoever would change one in place must refuse.

        Takes the lock of signing this record, so that nobody signs what is about to change.
        """
        await store.lock_record(tx, kind, record_id)
        return await store.parts(tx, kind, record_id)

    # Signing

    async def sign(self, tx: Transaction, principal: Principal, wish: Wish) -> Signature | Problem:
        """Sign a record's current version. Raises NotFound, InvalidInput (UnknownMeaning, SecretRequired); returns all other refusals."""
        self.check(wish.meaning, wish.reason)
        door, record_id = await self._located(tx, principal, wish.kind, wish.reference)
        try:
            made = await self._signing.sign(tx, principal, wish, door, record_id)
        except Problem as problem:
            return await self._refused(tx, principal, RecordRef(type=wish.kind, id=record_id), problem)
        return await self._shown(tx, principal, door, await found(tx, wish.kind, record_id, made))

    async def revoke(
        self, tx: Transaction, principal: Principal, kind: str, reference: str, signature_id: uuid.UUID, *, reason: str, secrets: Secrets
    ) -> Signature | Problem:
        """Take one's own signature back; it stays, marked. Raises and returns as `sign`."""
        self.check(None, reason)
        door, record_id = await self._located(tx, principal, kind, reference)
        row = await found(tx, kind, record_id, signature_id)
        try:
            await self._signing.revoke(tx, principal, row, reason=reason, secrets=secrets)
        except Problem as problem:
            return await self._refused(tx, principal, RecordRef(type=kind, id=record_id, version=row.version), problem)
        return await self._shown(tx, principal, door, await found(tx, kind, record_id, signature_id))

    async def prove(self, tx: Transaction, principal: Principal, secrets: Secrets) -> tuple[Principal, Proof]:
        """For acts that leave a signature themselves: right to sign, accountability and secrets, checked now. Raises every refusal;
        what it counted must be committed all the same."""
        self._authentication.require_right(principal)
        await self._texts.require(tx, principal.id)
        return await self._authentication.prove(tx, principal, secrets)

    async def leave(
        self, tx: Transaction, principal: Principal, record: SignableRecord, *, meaning: str, proof: Proof, reason: str | None
    ) -> uuid.UUID:
        """The signature of an act that was proven by `prove` in the same transaction; its id. The act's own rules say who may."""
        return await self._signing.leave(tx, principal, record, meaning=meaning, proof=proof, reason=reason)

    def check(self, meaning: str | None, reason: str | None) -> None:
        """Raises UnknownMeaning, InvalidInput."""
        if meaning is not None and meaning not in self._rules.meanings:
            raise UnknownMeaning(meanings=list(self._rules.meanings))
        if reason is not None and not 1 <= len(reason.strip()) <= self._reason_chars:
            raise InvalidInput(f"reason: 1 to {self._reason_chars} characters")

    # Accountability

    async def accountability(self, tx: Transaction, principal: Principal) -> Accountability:
        """The text in force, and when this person accepted it."""
        return await self._texts.shown(tx, principal)

    async def accept(self, tx: Transaction, principal: Principal, *, version: str, secrets: Secrets) -> Accountability | Problem:
        """Accept the text that was read, with one's secrets. Raises and returns as `sign`."""
        try:
            self._texts.require_version(version)
            self._authentication.require_right(principal)
            await self._authentication.prove(tx, principal, secrets)
        except Problem as problem:
            return await self._refused(tx, principal, RecordRef(type="person", id=str(principal.id)), problem)
        await self._texts.accept(tx, principal.id, by=Actor.of(principal))
        return await self._texts.shown(tx, principal)

    async def accept_for(self, tx: Transaction, person_id: uuid.UUID) -> None:
        """Note the acceptance of people who are made together with the site (the demo people)."""
        await self._texts.accept(tx, person_id, by=SYSTEM)

    # Export

    async def lines(self, tx: Transaction, event_ids: Collection[uuid.UUID]) -> list[bytes]:
        """The statements these events of the log are about, in the events' order: the lines of `signatures.jsonl`."""
        opened: dict[uuid.UUID, bytes] = {}
        for event_id, statement_id, sealed in await store.statements_of_events(tx, event_ids):
            try:
                opened[event_id] = self._vault.open(sealed, aad=statement_aad(statement_id))
            except (Damaged, Erased):
                log.error("signature_damaged", signature=str(statement_id))  # its line is missing, which the verifier says
        return [opened[event_id] for event_id in event_ids if event_id in opened]

    async def _located(self, tx: Transaction, principal: Principal, kind: str, reference: str) -> tuple[SignableKind, str]:
        door = self._kinds.get(kind)
        if door is None:
            raise UnknownKind
        if not 1 <= len(reference) <= _ID_CHARS or not reference.isprintable():
            raise NotFound
        return door, await door.locate(tx, principal, reference)

    async def _shown(self, tx: Transaction, principal: Principal, door: SignableKind, row: Row[tuple[object, ...]]) -> Signature:
        standing = await self._views.standing(tx, principal, door, row.record_id, None)
        shown = await self._views.signature(tx, row, standing)
        if shown.content == "superseded" and row.part:
            again = await self._views.standing(tx, principal, door, row.record_id, row.part)
            if (await self._views.signature(tx, row, again)).content == "altered":
                return await self._views.signature(tx, row, again)
        return shown

    async def _refused(self, tx: Transaction, principal: Principal, record: RecordRef, problem: Problem) -> Problem:
        """The refusal with its audit event; what is no refusal but a wrong request is raised."""
        if isinstance(problem, NotFound | InvalidInput | Erased | Damaged):
            raise problem
        event = AuditEvent(
            action="signature.refused", actor=str(principal.id), via=principal.via, ip=principal.ip, record=record, outcome="denied",
            reason=problem.code,
        )  # fmt: skip
        await self._ledger.append(tx, event)
        return problem
