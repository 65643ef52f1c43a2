"""All SQL of signatures. Rows are added, never changed."""

import hashlib
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, func, insert, select
from sqlalchemy.dialects.postgresql import insert as pg_insert

from aliquot.platform.db import Transaction
from aliquot.records.signatures.tables import (
    accountability_acceptance,
    accountability_text,
    record_signature,
    signature_revocation,
    signed_version,
)

_s, _r, _v = record_signature.c, signature_revocation.c, signed_version.c
_REVOCATION = (
    _r.id.label("revocation_id"), _r.revoked_at, _r.statement.label("revocation"), _r.reason.label("revocation_reason"),
    _r.statement_sha256.label("revocation_sha256"), _r.event_id.label("revocation_event_id"),
)  # fmt: skip
_WHOLE = select(record_signature, *_REVOCATION).outerjoin_from(record_signature, signature_revocation, _r.signature_id == _s.id)


async def lock_record(tx: Transaction, kind: str, record_id: str) -> None:
    """One signing of a record at a time, until the transaction ends."""
    digest = hashlib.sha256(f"signature\0{kind}\0{record_id}".encode()).digest()
    await tx.execute(select(func.pg_advisory_xact_lock(int.from_bytes(digest[:8], "big", signed=True))))


async def signatures_of_version(tx: Transaction, kind: str, record_id: str, part: str, version: int) -> Sequence[Row[Any]]:
    """All of one version, revoked ones too (`revocation_id` is set), oldest first."""
    wanted = and_(_s.record_type == kind, _s.record_id == record_id, _s.part == part, _s.version == version)
    return await tx.rows(_WHOLE.where(wanted).order_by(_s.id))


async def parts(tx: Transaction, kind: str, record_id: str) -> set[str]:
    """The parts of a record that anybody ever signed, revoked or not."""
    rows = await tx.rows(select(_s.part).distinct().where(_s.record_type == kind, _s.record_id == record_id))
    return {row.part for row in rows}


async def newest_statement(tx: Transaction, kind: str, record_id: str) -> str | None:
    """Hash of the record's newest statement: each names the one before."""
    query = select(_s.statement_sha256).where(_s.record_type == kind, _s.record_id == record_id).order_by(_s.id.desc()).limit(1)
    found: str | None = await tx.scalar(query)
    return found


async def page(tx: Transaction, kind: str, record_id: str, *, limit: int, after: uuid.UUID | None) -> Sequence[Row[Any]]:
    """Newest first."""
    query = _WHOLE.where(_s.record_type == kind, _s.record_id == record_id)
    return await tx.rows((query.where(_s.id < after) if after is not None else query).order_by(_s.id.desc()).limit(limit))


async def signature(tx: Transaction, kind: str, record_id: str, signature_id: uuid.UUID) -> Row[Any] | None:
    return await tx.row(_WHOLE.where(_s.id == signature_id, _s.record_type == kind, _s.record_id == record_id))


async def insert_signature(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(record_signature).values(values))


async def insert_revocation(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(signature_revocation).values(values))


async def keep_version(tx: Transaction, values: dict[str, Any]) -> str:
    """Keep what is signed unless this version was kept before; the SHA-256 of what is kept."""
    await tx.execute(pg_insert(signed_version).values(values).on_conflict_do_nothing())
    row = await kept_version(tx, values["record_type"], values["record_id"], values["part"], values["version"])
    assert row is not None  # noqa: S101 - inserted or found above; rows cannot be deleted
    return str(row.sha256)


async def kept_version(tx: Transaction, kind: str, record_id: str, part: str, version: int) -> Row[Any] | None:
    wanted = and_(_v.record_type == kind, _v.record_id == record_id, _v.part == part, _v.version == version)
    return await tx.row(select(signed_version).where(wanted))


async def last_use(tx: Transaction, session_id: uuid.UUID) -> datetime | None:
    """When a session signed or revoked last."""
    signed = await tx.scalar(select(func.max(_s.signed_at)).where(_s.session_id == session_id))
    revoked = await tx.scalar(select(func.max(_r.revoked_at)).where(_r.session_id == session_id))
    return max((at for at in (signed, revoked) if at is not None), default=None)


async def statements_of_events(tx: Transaction, event_ids: Collection[uuid.UUID]) -> Sequence[tuple[uuid.UUID, uuid.UUID, bytes]]:
    """(event id, id of signature or revocation, sealed statement) for those of the events that are about signatures."""
    signed = await tx.rows(select(_s.event_id, _s.id, _s.statement).where(_s.event_id.in_(event_ids)))
    revoked = await tx.rows(select(_r.event_id, _r.id, _r.statement).where(_r.event_id.in_(event_ids)))
    return [(row.event_id, row.id, bytes(row.statement)) for row in (*signed, *revoked)]


async def acceptance(tx: Transaction, person_id: uuid.UUID, text_sha256: str) -> datetime | None:
    """When the person accepted this text."""
    a = accountability_acceptance.c
    query = select(a.accepted_at).where(a.person_id == person_id, a.text_sha256 == text_sha256)
    found: datetime | None = await tx.scalar(query)
    return found


async def insert_acceptance(tx: Transaction, values: dict[str, Any], text: str) -> bool:
    """Keep the text and that it was accepted. False when it was accepted before."""
    kept = pg_insert(accountability_text).values(sha256=values["text_sha256"], text=text, created_at=values["accepted_at"])
    await tx.execute(kept.on_conflict_do_nothing())
    once = pg_insert(accountability_acceptance).values(values).on_conflict_do_nothing().returning(accountability_acceptance.c.id)
    return (await tx.execute(once)).first() is not None
