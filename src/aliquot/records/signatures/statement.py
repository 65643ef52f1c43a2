"""The signed statements: RFC 8785 JSON that says everything a signature means. Pure.

The event of the log holds the SHA-256 of a statement, so nothing of it can change later. The nonce keeps the hash from being
guessed once the statement is gone. A line of `signatures.jsonl` in an export is a statement, byte for byte.
"""

import json
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json, sha256_hex
from aliquot.kernel.clock import rfc3339
from aliquot.ledger.contracts import SIGNATURE_ACTIONS
from aliquot.platform.vault import Damaged, Vault
from aliquot.records.signatures.contracts import Proof, SignableRecord

SIGNED, REVOKED = SIGNATURE_ACTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Who signs or revokes, when, and how it was proven."""

    id: uuid.UUID
    person: Principal
    proof: Proof
    at: datetime
    time_zone: str
    reason: tuple[str, str] | None
    """HMAC of the reason under the signer's key, and the key's id."""


def signature_statement(act: Act, record: SignableRecord, *, meaning: str, accountability: str, previous: str | None) -> bytes:
    about: dict[str, Any] = {"type": record.kind, "id": record.id, "version": record.version}
    if record.part:
        about["part"] = record.part
    return canonical_json(
        _common(act, "signature") | {
            "record": about, "sha256": record.sha256, "meaning": meaning, "accountability": accountability, "previous": previous,
        }
    )  # fmt: skip


def revocation_statement(act: Act, row: Row[Any]) -> bytes:
    return canonical_json(
        _common(act, "revocation") | {
            "record": {"type": row.record_type, "id": row.record_id, "version": row.version},
            "signature": str(row.id), "statement": row.statement_sha256,
        }
    )  # fmt: skip


def _common(act: Act, kind: str) -> dict[str, Any]:
    reason = None if act.reason is None else {"hmac": act.reason[0], "key_id": act.reason[1]}
    return {
        "v": 1, "type": kind, "id": str(act.id), "signed_at": rfc3339(act.at), "time_zone": act.time_zone, "reason": reason,
        "signer": {"id": str(act.person.id), "printed_name": act.person.name, "roles": sorted(act.person.roles)},
        "auth": {"given": list(act.proof.given), "continued": act.proof.continued, "session": str(act.person.session_id)},
        "nonce": secrets.token_hex(32),
    }  # fmt: skip


def statement_aad(statement_id: uuid.UUID) -> str:
    return f"record_signature.statement:{statement_id}"


def reason_aad(statement_id: uuid.UUID) -> str:
    return f"record_signature.reason:{statement_id}"


def open_signature(vault: Vault, row: Row[Any]) -> dict[str, Any]:
    """The statement of a row. Raises Damaged when it is not the one its columns, and the event of the log, speak of."""
    value = _opened(vault, bytes(row.statement), row.id, row.statement_sha256)
    about = value["record"]
    said = (
        about["type"], about["id"], about["version"], about.get("part", ""), value["sha256"], value["meaning"], value["signer"]["id"],
        value["signed_at"], value["id"],
    )  # fmt: skip
    stored = (
        row.record_type, row.record_id, row.version, row.part, row.sha256, row.meaning, str(row.signer_id), rfc3339(row.signed_at),
        str(row.id),
    )  # fmt: skip
    if said != stored:
        raise Damaged
    return value


def open_revocation(vault: Vault, row: Row[Any]) -> dict[str, Any]:
    """The statement by which the signature of `row` was revoked. Raises Damaged."""
    value = _opened(vault, bytes(row.revocation), row.revocation_id, row.revocation_sha256)
    if (value["signature"], value["statement"]) != (str(row.id), row.statement_sha256):
        raise Damaged
    return value


def _opened(vault: Vault, sealed: bytes, statement_id: uuid.UUID, sha256: str) -> dict[str, Any]:
    plain = vault.open(sealed, aad=statement_aad(statement_id))
    if sha256_hex(plain) != sha256:
        raise Damaged
    value: dict[str, Any] = json.loads(plain)
    return value
