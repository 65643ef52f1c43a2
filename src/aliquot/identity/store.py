"""All SQL of identity."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, insert, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as pg_insert

from aliquot.identity.tables import api_key, login_session, person, socket_ticket
from aliquot.identity.tables import second_factor as factor
from aliquot.platform.db import Database, Transaction

_ADMIN_LOCK = 0x61646D6E  # "admn"
_WHO = (
    person.c.id,
    person.c.email,
    person.c.name,
    person.c.roles,
    person.c.may_sign,
    person.c.must_change,
    person.c.active,
    person.c.signing_hold,
)

# Built once: every request runs one of these two.
_OF_SESSION = (
    select(*_WHO, login_session.c.expires_at, login_session.c.revoked_at)
    .join_from(login_session, person, login_session.c.person_id == person.c.id)
    .where(login_session.c.id == bindparam("session_id"), person.c.id == bindparam("person_id"))
)
_OF_KEY = (
    select(
        *_WHO,
        api_key.c.id.label("key_id"),
        api_key.c.secret_sha256,
        api_key.c.expires_at,
        api_key.c.revoked_at,
        api_key.c.last_used_at,
        api_key.c.last_refused_at,
    )
    .join_from(api_key, person, api_key.c.person_id == person.c.id)
    .where(api_key.c.prefix == bindparam("prefix"))
)


async def person_of_session(tx: Transaction, session_id: uuid.UUID, person_id: uuid.UUID) -> Row[Any] | None:
    """Who a session belongs to, with the session's state."""
    return await tx.row(_OF_SESSION, {"session_id": session_id, "person_id": person_id})


async def person_of_session_alone(db: Database, session_id: uuid.UUID, person_id: uuid.UUID) -> Row[Any] | None:
    """`person_of_session` in a transaction of its own, in one round trip."""
    return (await db.alone(_OF_SESSION, {"session_id": session_id, "person_id": person_id})).one_or_none()


async def person_of_key(tx: Transaction, prefix: str) -> Row[Any] | None:
    """Who an API key belongs to, with the key's state."""
    return await tx.row(_OF_KEY, {"prefix": prefix})


async def person_by_id(tx: Transaction, person_id: uuid.UUID, *, lock: bool = False) -> Row[Any] | None:
    statement = select(person).where(person.c.id == person_id)
    return await tx.row(statement.with_for_update() if lock else statement)


async def person_by_index(tx: Transaction, email_index: bytes) -> Row[Any] | None:
    return await tx.row(select(person).where(person.c.email_index == email_index))


async def people(tx: Transaction, *, limit: int, after: uuid.UUID | None) -> Sequence[Row[Any]]:
    """People in the order they were made."""
    statement = select(person).order_by(person.c.id).limit(limit)
    return await tx.rows(statement.where(person.c.id > after) if after is not None else statement)


async def people_by_ids(tx: Transaction, ids: Collection[uuid.UUID]) -> Sequence[Row[Any]]:
    return await tx.rows(select(person).where(person.c.id.in_(ids)))


async def insert_person(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(person).values(values))


async def update_person(tx: Transaction, person_id: uuid.UUID, at: datetime, values: dict[str, Any]) -> Row[Any]:
    """Change a person, counting the version up; the row as it is then."""
    statement = (
        update(person).where(person.c.id == person_id).values(version=person.c.version + 1, changed_at=at, **values).returning(person)
    )
    return (await tx.execute(statement)).one()


async def set_password_hash(tx: Transaction, person_id: uuid.UUID, password_hash: str) -> None:
    """Store the same password hashed with newer parameters: not a change of the person."""
    await tx.execute(update(person).where(person.c.id == person_id).values(password_hash=password_hash))


async def hold_signing(tx: Transaction, person_id: uuid.UUID, by: str) -> None:
    await tx.execute(update(person).where(person.c.id == person_id).values(signing_hold=by))


async def forget_person(tx: Transaction, person_id: uuid.UUID, values: dict[str, Any]) -> int:
    """Overwrite a person's row with `values`; delete their second factor and tickets, and the addresses of their log-ins."""
    statements = (
        update(person).where(person.c.id == person_id).values(values),
        delete(factor).where(factor.c.person_id == person_id),
        delete(socket_ticket).where(socket_ticket.c.person_id == person_id),
        update(login_session).where(login_session.c.person_id == person_id, login_session.c.ip.is_not(None)).values(ip=None),
    )
    return sum([(await tx.execute(statement)).rowcount for statement in statements])


async def lock_admins(tx: Transaction) -> None:
    """One transaction at a time decides who is administrator: two of them removing each other cannot both succeed."""
    await tx.execute(select(func.pg_advisory_xact_lock(_ADMIN_LOCK)))


async def count_active_admins(tx: Transaction, *, without: uuid.UUID | None = None) -> int:
    statement = select(func.count()).select_from(person).where(person.c.active, person.c.roles.contains(["admin"]))
    return int(await tx.scalar(statement.where(person.c.id != without) if without is not None else statement))


_ACCOUNTS = text(
    "SELECT count(*) FILTER (WHERE active) AS active, count(*) FILTER (WHERE NOT active) AS disabled, "
    "count(*) FILTER (WHERE active AND may_sign AND signing_hold IS NULL) AS may_sign, "
    "count(*) FILTER (WHERE active AND must_change) AS must_change, "
    "count(*) FILTER (WHERE active AND signing_hold IS NOT NULL) AS signing_held FROM person"
)
_ROLES = text("SELECT role, count(*) AS people FROM person, unnest(roles) AS role WHERE active GROUP BY role ORDER BY role")
_BARE_SIGNERS = text(
    "SELECT id, count(*) OVER () AS total FROM person WHERE active AND may_sign AND signing_hold IS NULL AND NOT EXISTS ("
    "SELECT FROM second_factor AS f WHERE f.person_id = person.id AND f.confirmed_at IS NOT NULL) ORDER BY id LIMIT :limit"
)
_KEYS = text(
    "SELECT count(*) AS live, count(*) FILTER (WHERE expires_at IS NULL) AS for_ever FROM api_key "
    "WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :at)"
)


async def accounts(tx: Transaction, at: datetime, limit: int) -> dict[str, Any]:
    """Counts of people and keys, and the ids of signers without a second factor."""
    people, keys = await tx.row(_ACCOUNTS), await tx.row(_KEYS, {"at": at})
    assert people is not None and keys is not None  # noqa: S101, PT018 - aggregates give one row
    bare = await tx.rows(_BARE_SIGNERS, {"limit": limit})
    return {
        **people._mapping, "api_keys": keys.live, "api_keys_for_ever": keys.for_ever,
        "roles": {row.role: row.people for row in await tx.rows(_ROLES)},
        "without_otp": bare[0].total if bare else 0, "signers_without_otp": tuple(row.id for row in bare),
    }  # fmt: skip


async def insert_session(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(login_session).values(values))


async def session_by_id(tx: Transaction, session_id: uuid.UUID) -> Row[Any] | None:
    return await tx.row(select(login_session).where(login_session.c.id == session_id))


async def live_sessions(tx: Transaction, person_id: uuid.UUID, at: datetime) -> Sequence[Row[Any]]:
    """Newest first; bounded."""
    s = login_session.c
    statement = select(login_session).where(s.person_id == person_id, s.revoked_at.is_(None), s.expires_at > at)
    return await tx.rows(statement.order_by(s.id.desc()).limit(200))


async def extend_session(tx: Transaction, session_id: uuid.UUID, expires_at: datetime) -> None:
    await tx.execute(update(login_session).where(login_session.c.id == session_id).values(expires_at=expires_at))


async def revoke_session(tx: Transaction, person_id: uuid.UUID, session_id: uuid.UUID, at: datetime) -> bool:
    """True when it was this person's and stood."""
    s = login_session.c
    statement = update(login_session).where(s.id == session_id, s.person_id == person_id, s.revoked_at.is_(None), s.expires_at > at)
    return (await tx.execute(statement.values(revoked_at=at))).rowcount == 1


async def revoke_sessions(tx: Transaction, person_id: uuid.UUID, at: datetime, *, but: uuid.UUID | None = None) -> int:
    """End all log-ins of a person (but one) and their tickets; how many sessions ended."""
    await tx.execute(delete(socket_ticket).where(socket_ticket.c.person_id == person_id))
    s = login_session.c
    statement = update(login_session).where(s.person_id == person_id, s.revoked_at.is_(None), s.expires_at > at).values(revoked_at=at)
    return (await tx.execute(statement.where(s.id != but) if but is not None else statement)).rowcount


async def insert_key(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(api_key).values(values))


async def live_keys(tx: Transaction, person_id: uuid.UUID, at: datetime) -> Sequence[Row[Any]]:
    k = api_key.c
    statement = select(api_key).where(k.person_id == person_id, k.revoked_at.is_(None), or_(k.expires_at.is_(None), k.expires_at > at))
    return await tx.rows(statement.order_by(k.id.desc()))


async def revoke_key(tx: Transaction, person_id: uuid.UUID, key_id: uuid.UUID, at: datetime) -> bool:
    """True when it was this person's and not revoked."""
    k = api_key.c
    statement = update(api_key).where(k.id == key_id, k.person_id == person_id, k.revoked_at.is_(None)).values(revoked_at=at)
    return (await tx.execute(statement)).rowcount == 1


async def revoke_keys(tx: Transaction, person_id: uuid.UUID, at: datetime) -> Sequence[uuid.UUID]:
    """Which ones."""
    k = api_key.c
    statement = update(api_key).where(k.person_id == person_id, k.revoked_at.is_(None)).values(revoked_at=at).returning(k.id)
    return [row.id for row in (await tx.execute(statement)).all()]


async def note_key(tx: Transaction, key_id: uuid.UUID, **times: datetime) -> None:
    """Record the last use or refusal."""
    await tx.execute(update(api_key).where(api_key.c.id == key_id).values(**times))


async def key_by_id(tx: Transaction, key_id: uuid.UUID) -> Row[Any] | None:
    return await tx.row(select(api_key).where(api_key.c.id == key_id))


async def insert_ticket(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.execute(insert(socket_ticket).values(values))


async def take_ticket(tx: Transaction, digest: bytes) -> Row[Any] | None:
    """The ticket, gone from the table: of two who bring the same one, the second finds nothing."""
    return (await tx.execute(delete(socket_ticket).where(socket_ticket.c.digest == digest).returning(socket_ticket))).one_or_none()


async def second_factor(tx: Transaction, person_id: uuid.UUID, *, lock: bool = False) -> Row[Any] | None:
    statement = select(factor).where(factor.c.person_id == person_id)
    return await tx.row(statement.with_for_update() if lock else statement)


async def put_second_factor(tx: Transaction, person_id: uuid.UUID, values: dict[str, Any]) -> None:
    """Insert, or replace one that was never confirmed."""
    statement = pg_insert(factor).values(person_id=person_id, **values)
    await tx.execute(
        statement.on_conflict_do_update(index_elements=[factor.c.person_id], set_=values, where=factor.c.confirmed_at.is_(None))
    )


async def update_second_factor(tx: Transaction, person_id: uuid.UUID, values: dict[str, Any]) -> None:
    await tx.execute(update(factor).where(factor.c.person_id == person_id).values(values))


async def use_step(tx: Transaction, person_id: uuid.UUID, step: int) -> bool:
    """Spend a time step: of two who bring the same code at once, one gets True."""
    f = factor.c
    statement = update(factor).where(f.person_id == person_id, or_(f.last_step.is_(None), f.last_step < step)).values(last_step=step)
    return (await tx.execute(statement)).rowcount == 1


async def delete_second_factor(tx: Transaction, person_id: uuid.UUID) -> bool:
    return (await tx.execute(delete(factor).where(factor.c.person_id == person_id))).rowcount == 1


async def clean(tx: Transaction, *, tickets_before: datetime, sessions_before: datetime) -> None:
    """Delete what expired before the given times."""
    await tx.execute(delete(socket_ticket).where(socket_ticket.c.expires_at < tickets_before))
    await tx.execute(delete(login_session).where(login_session.c.expires_at < sessions_before))
