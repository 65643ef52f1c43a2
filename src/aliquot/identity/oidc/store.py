"""All SQL of single sign-on."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert

from aliquot.identity.oidc.tables import oidc_flow, oidc_identity, oidc_link_grant, oidc_pass, oidc_session
from aliquot.platform.db import Transaction

_i, _f, _p, _g = oidc_identity.c, oidc_flow.c, oidc_pass.c, oidc_link_grant.c


async def lock_subject(tx: Transaction, subject_index: bytes) -> None:
    """One log-in of a subject at a time: two first ones at once make one person."""
    await tx.execute(select(func.pg_advisory_xact_lock(int.from_bytes(subject_index[:8], "big", signed=True))))


async def identity_of_subject(tx: Transaction, subject_index: bytes) -> Row[Any] | None:
    return await tx.row(select(oidc_identity).where(_i.subject_index == subject_index))


async def has_identity(tx: Transaction, person_id: uuid.UUID) -> bool:
    return await tx.row(select(_i.id).where(_i.person_id == person_id).limit(1)) is not None


async def insert_identity(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(oidc_identity).values(values))


async def note_authentication(tx: Transaction, identity_id: uuid.UUID, values: dict[str, Any]) -> None:
    await tx.execute(update(oidc_identity).where(_i.id == identity_id).values(values))


async def newer_authentication(tx: Transaction, identity_id: uuid.UUID, auth_time: datetime) -> bool:
    """Note it if it is newer than the last one known: of two answers with one authentication, the second gets False."""
    known = (_i.auth_time.is_(None)) | (_i.auth_time < auth_time)
    return (await tx.execute(update(oidc_identity).where(_i.id == identity_id, known).values(auth_time=auth_time))).rowcount == 1


async def delete_identities(tx: Transaction, person_id: uuid.UUID) -> int:
    """How many there were. Their passes and marks of sessions go with them."""
    return (await tx.execute(delete(oidc_identity).where(_i.person_id == person_id))).rowcount


async def insert_flow(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(oidc_flow).values(values))


async def take_flow(tx: Transaction, state_sha256: bytes, browser_sha256: bytes) -> Row[Any] | None:
    """The flow of this state in this browser, gone from the table: of two who bring it, the second finds nothing."""
    mine = (_f.state_sha256 == state_sha256, _f.browser_sha256 == browser_sha256)
    return (await tx.execute(delete(oidc_flow).where(*mine).returning(oidc_flow))).one_or_none()


async def insert_pass(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(oidc_pass).values(values))


async def take_pass(tx: Transaction, kind: str, digest: bytes) -> Row[Any] | None:
    """The pass, used up."""
    return (await tx.execute(delete(oidc_pass).where(_p.digest == digest, _p.kind == kind).returning(oidc_pass))).one_or_none()


async def mark_session(tx: Transaction, session_id: uuid.UUID, identity_id: uuid.UUID) -> None:
    await tx.execute(insert(oidc_session).values(session_id=session_id, identity_id=identity_id))


async def opened_session(tx: Transaction, session_id: uuid.UUID) -> bool:
    return await tx.row(select(oidc_session.c.session_id).where(oidc_session.c.session_id == session_id)) is not None


async def allow_link(tx: Transaction, person_id: uuid.UUID, expires_at: datetime) -> None:
    statement = pg_insert(oidc_link_grant).values(person_id=person_id, expires_at=expires_at)
    await tx.execute(statement.on_conflict_do_update(index_elements=[_g.person_id], set_={"expires_at": expires_at}))


async def take_link_grant(tx: Transaction, person_id: uuid.UUID, at: datetime) -> bool:
    """Whether an administrator allowed it, which is used up."""
    return (await tx.execute(delete(oidc_link_grant).where(_g.person_id == person_id, _g.expires_at > at))).rowcount == 1


async def clean(tx: Transaction, at: datetime) -> None:
    """Delete what has expired."""
    for table in (oidc_flow, oidc_pass, oidc_link_grant):
        await tx.execute(delete(table).where(table.c.expires_at <= at))
