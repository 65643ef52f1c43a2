"""Rows into what people see: whether a signature is final, and how the record stands to what was signed."""

import uuid
from typing import Any

import structlog
from sqlalchemy import Row

from aliquot.identity.contracts import Principal
from aliquot.ledger.api import LedgerApi
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Damaged, Erased, Vault
from aliquot.records.signatures.contracts import ContentState, Revocation, SignableKind, SignableRecord, Signature, SignatureState
from aliquot.records.signatures.errors import NotSignable
from aliquot.records.signatures.statement import open_revocation, open_signature, reason_aad

log = structlog.get_logger(__name__)

Standing = SignableRecord | ContentState
"""The record as it would be signed now, or why that cannot be said."""


class Views:
    """Opens what is stored."""

    def __init__(self, ledger: LedgerApi, vault: Vault) -> None:
        self._ledger, self._vault = ledger, vault

    async def standing(self, tx: Transaction, principal: Principal, kind: SignableKind, record_id: str, part: str | None) -> Standing:
        """Raises NotFound."""
        try:
            return await kind.current(tx, principal, record_id, part)
        except NotSignable:
            return "superseded"
        except Erased:
            return "erased"
        except Damaged:
            return "damaged"

    async def signature(self, tx: Transaction, row: Row[Any], standing: Standing) -> Signature:
        """A row as shown. One that does not hold together is shown as damaged: it must not hide the others."""
        zone, name, reason = "UTC", "", None
        content: ContentState
        try:
            said = open_signature(self._vault, row)
            zone, name, content = said["time_zone"], said["signer"]["printed_name"], _content(row, standing)
            reason = self._reason(row.reason, row.id)
            revoked = None if row.revocation_id is None else await self._revocation(tx, row)
        except (Damaged, Erased, ValueError, KeyError, TypeError):
            log.error("signature_damaged", signature=str(row.id))
            content, revoked = "damaged", None
        return Signature(
            id=row.id, record_type=row.record_type, record_id=row.record_id, version=row.version, part=row.part or None, sha256=row.sha256,
            meaning=row.meaning, signer_id=row.signer_id, printed_name=name, signed_at=row.signed_at, time_zone=zone, reason=reason,
            state=await self._state(tx, row.event_id), content=content, event_id=row.event_id, statement_sha256=row.statement_sha256,
            revoked=revoked,
        )  # fmt: skip

    async def _revocation(self, tx: Transaction, row: Row[Any]) -> Revocation:
        said = open_revocation(self._vault, row)
        return Revocation(
            id=row.revocation_id, printed_name=said["signer"]["printed_name"], revoked_at=row.revoked_at, event_id=row.revocation_event_id,
            reason=self._reason(row.revocation_reason, row.revocation_id), state=await self._state(tx, row.revocation_event_id),
        )  # fmt: skip

    async def _state(self, tx: Transaction, event_id: uuid.UUID) -> SignatureState:
        return "final" if await self._ledger.is_final(tx, event_id) else "pending"

    def _reason(self, sealed: bytes | None, statement_id: uuid.UUID) -> str | None:
        try:
            return None if sealed is None else self._vault.open(bytes(sealed), aad=reason_aad(statement_id)).decode()
        except Erased:
            return None


def _content(row: Row[Any], standing: Standing) -> ContentState:
    if not isinstance(standing, SignableRecord):
        return standing
    if (row.version, row.part) != (standing.version, standing.part):
        return "superseded"
    return "current" if row.sha256 == standing.sha256 else "altered"
