"""Signing and revoking. Everything happens in the caller's transaction, under a lock per record."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import sha256_hex
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import NotFound
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.settings import Settings
from aliquot.platform.vault import SITE, Vault
from aliquot.records.signatures import store
from aliquot.records.signatures.accountability import AccountabilityTexts
from aliquot.records.signatures.authentication import Authentication
from aliquot.records.signatures.contracts import Proof, Secrets, SignableKind, SignableRecord, Wish
from aliquot.records.signatures.errors import AlreadyRevoked, NotSignable, NotTheSigner, RecordAltered, VersionChanged
from aliquot.records.signatures.rules import Given, Rules
from aliquot.records.signatures.statement import (
    REVOKED,
    SIGNED,
    Act,
    reason_aad,
    revocation_statement,
    signature_statement,
    statement_aad,
)
from aliquot.records.training.contracts import Trainings


class Signing:
    """Makes signatures and revocations."""

    def __init__(
        self, *, ledger: LedgerApi, vault: Vault, clock: Clock, settings: Settings, rules: Rules, texts: AccountabilityTexts,
        authentication: Authentication, trainings: Trainings,
    ) -> None:  # fmt: skip
        self._ledger, self._vault, self._clock, self._settings = ledger, vault, clock, settings
        self._rules, self._texts, self._authentication, self.trainings = rules, texts, authentication, trainings

    async def sign(self, tx: Transaction, principal: Principal, wish: Wish, kind: SignableKind, record_id: str) -> uuid.UUID:
        """The id of the new signature. What needs no secret is judged first; the rules once more under the record's lock."""
        self._authentication.require_right(principal)
        await self._texts.require(tx, principal.id)
        if not kind.direct:
            raise NotSignable("This is signed by deciding it.")
        record = await kind.current(tx, principal, record_id, wish.part)
        if (wish.version or record.version, wish.sha256 or record.sha256) != (record.version, record.sha256):
            raise VersionChanged(version=record.version, sha256=record.sha256)
        await self._judge(tx, principal, record, wish.meaning)
        principal, proof = await self._authentication.prove(tx, principal, wish.secrets)
        await store.lock_record(tx, record.kind, record.id)
        if (now := await kind.current(tx, principal, record_id, record.part or None)).content != record.content:
            raise VersionChanged(version=now.version, sha256=now.sha256)
        await self._judge(tx, principal, record, wish.meaning)
        return await self.leave(tx, principal, record, meaning=wish.meaning, proof=proof, reason=wish.reason)

    async def leave(
        self, tx: Transaction, principal: Principal, record: SignableRecord, *, meaning: str, proof: Proof, reason: str | None
    ) -> uuid.UUID:
        """Store a signature that was proven. Raises RecordAltered, NotSignable (too large)."""
        await store.lock_record(tx, record.kind, record.id)
        act = self._act(principal, proof, reason)
        await self._keep(tx, record)
        previous = await store.newest_statement(tx, record.kind, record.id)
        statement = signature_statement(act, record, meaning=meaning, accountability=self._texts.version, previous=previous)
        event_id = await self._append(
            tx, SIGNED, principal, RecordRef(type=record.kind, id=record.id, version=record.version), statement, meaning,
            content={"record": record.content}, subject=record.subjects[0],
        )  # fmt: skip
        before = await store.signatures_of_version(tx, record.kind, record.id, record.part, record.version)
        ordinal = sum(row.signer_id == principal.id and row.meaning == meaning for row in before)
        values = {
            "id": act.id, "record_type": record.kind, "record_id": record.id, "part": record.part, "version": record.version,
            "sha256": record.sha256, "meaning": meaning, "ordinal": ordinal, "signer_id": principal.id,
            "session_id": principal.session_id, "signed_at": act.at, "event_id": event_id, **self._sealed(act, statement, reason),
        }  # fmt: skip
        await store.insert_signature(tx, values)
        return act.id

    async def revoke(self, tx: Transaction, principal: Principal, row: Row[Any], *, reason: str, secrets: Secrets) -> None:
        """Take one's signature back by a further record. Raises NotTheSigner, AlreadyRevoked, and as `Authentication.prove`."""
        self._authentication.require_right(principal)
        if row.signer_id != principal.id:
            raise NotTheSigner
        if row.revocation_id is not None:
            raise AlreadyRevoked
        principal, proof = await self._authentication.prove(tx, principal, secrets)
        await store.lock_record(tx, row.record_type, row.record_id)
        now = await store.signature(tx, row.record_type, row.record_id, row.id)
        if now is None or now.revocation_id is not None:
            raise AlreadyRevoked
        act = self._act(principal, proof, reason)
        statement = revocation_statement(act, row)
        record = RecordRef(type=row.record_type, id=row.record_id, version=row.version)
        event_id = await self._append(tx, REVOKED, principal, record, statement, row.meaning, content={}, subject=principal.id)
        values = {
            "id": act.id, "signature_id": row.id, "session_id": principal.session_id, "revoked_at": act.at, "event_id": event_id,
            **self._sealed(act, statement, reason),
        }  # fmt: skip
        await store.insert_revocation(tx, values)

    async def standing(self, tx: Transaction, record: SignableRecord) -> list[Given]:
        """The signatures on this version that were not revoked."""
        return _standing(await store.signatures_of_version(tx, record.kind, record.id, record.part, record.version))

    async def _judge(self, tx: Transaction, principal: Principal, record: SignableRecord, meaning: str) -> None:
        given = await self.standing(tx, record)
        trained = await self.trainings(tx, principal.id)
        refusal = self._rules.refusal(record, given, meaning, signer_id=principal.id, roles=principal.roles, trainings=trained)
        if refusal is not None:
            raise refusal

    async def _keep(self, tx: Transaction, record: SignableRecord) -> None:
        """Keep the signed bytes: from now on this version is what it is, whatever the record's own table says."""
        if len(record.content) > self._settings.limits.signed_record_bytes:
            raise NotSignable(f"More than {self._settings.limits.signed_record_bytes} bytes cannot be signed.")
        aad = content_aad(record.kind, record.id, record.part, record.version)
        values = {
            "record_type": record.kind, "record_id": record.id, "part": record.part, "version": record.version, "sha256": record.sha256,
            "content": seal_content(self._vault, record, aad),
            "created_at": self._clock.now(),
        }  # fmt: skip
        if await store.keep_version(tx, values) != record.sha256:
            raise RecordAltered

    def _act(self, principal: Principal, proof: Proof, reason: str | None) -> Act:
        commitment = None if reason is None else self._vault.commit(principal.id, reason.encode())
        return Act(
            id=new_id(), person=principal, proof=proof, at=self._clock.now(), time_zone=self._settings.time_zone, reason=commitment
        )  # fmt: skip

    def _sealed(self, act: Act, statement: bytes, reason: str | None) -> dict[str, Any]:
        sealed = None if reason is None else self._vault.seal(act.person.id, reason.encode(), aad=reason_aad(act.id))
        return {
            "statement": self._vault.seal(SITE, statement, aad=statement_aad(act.id)),
            "statement_sha256": sha256_hex(statement),
            "reason": sealed,
        }

    async def _append(
        self, tx: Transaction, action: str, principal: Principal, record: RecordRef, statement: bytes, meaning: str, *,
        content: dict[str, bytes], subject: uuid.UUID,
    ) -> uuid.UUID:  # fmt: skip
        event = AuditEvent(
            action=action, actor=str(principal.id), via=principal.via, ip=principal.ip, record=record, reason=meaning, content=content,
            subject=subject, versions={"statement": sha256_hex(statement)},
        )  # fmt: skip
        return await self._ledger.append(tx, event)


def seal_content(vault: Vault, record: SignableRecord, aad: str) -> bytes:
    """Under every subject's key, one around the other."""
    content = record.content
    for subject in record.subjects:
        content = vault.seal(subject, content, aad=aad)
    return content


def open_content(vault: Vault, sealed: bytes, aad: str) -> bytes:
    """Raises Erased when one of the keys is gone, Damaged."""
    content = vault.open(sealed, aad=aad)
    while not content.startswith(b"{"):  # a JSON object, or sealed once more
        content = vault.open(content, aad=aad)
    return content


def content_aad(kind: str, record_id: str, part: str, version: int) -> str:
    return f"signed_version.content:{kind}:{record_id}:{part}:{version}"


def _standing(rows: Sequence[Row[Any]]) -> list[Given]:
    return [Given(signer_id=row.signer_id, meaning=row.meaning) for row in rows if row.revocation_id is None]


async def found(tx: Transaction, kind: str, record_id: str, signature_id: uuid.UUID) -> Row[Any]:
    """A signature of this record. Raises NotFound."""
    row = await store.signature(tx, kind, record_id, signature_id)
    if row is None:
        raise NotFound
    return row
