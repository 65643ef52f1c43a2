"""All SQL of policy bundles and their activations."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from aliquot.platform.db import Transaction
from aliquot.policy.administration.contracts import BundleState
from aliquot.policy.tables import policy_activation, policy_bundle, policy_decision, policy_endorsement

_b, _e, _a = policy_bundle.c, policy_endorsement.c, policy_activation.c
_LOCK = int.from_bytes(b"plcy-act", "big", signed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRow:
    """A row of `policy_bundle` as it is stored."""

    id: uuid.UUID
    version: str
    state: BundleState
    created_by: uuid.UUID
    created_at: datetime
    texts: bytes
    replay: dict[str, Any] | None
    replayed_on: int | None
    effective_at: datetime | None
    withdrawal: bytes | None


async def lock(tx: Transaction) -> None:
    """One change of what is active at a time, on the whole site, until the transaction ends."""
    await tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


async def newest_serial(tx: Transaction) -> int:
    """0 when nothing was ever activated."""
    return int(await tx.scalar(sa.select(sa.func.coalesce(sa.func.max(_a.serial), 0))))


async def activations(tx: Transaction, *, upto: int, limit: int) -> Sequence[Any]:
    """(serial, bundle_id, record), newest first."""
    return await tx.rows(sa.select(policy_activation).where(_a.serial <= upto).order_by(_a.serial.desc()).limit(limit))


async def activation(tx: Transaction, serial: int) -> Any:
    return await tx.row(sa.select(policy_activation).where(_a.serial == serial))


async def insert_activation(tx: Transaction, values: Mapping[str, Any]) -> None:
    await tx.execute(policy_activation.insert().values(**values))


async def insert_bundle(tx: Transaction, values: Mapping[str, Any]) -> BundleRow:
    row = await tx.row(policy_bundle.insert().values(**values).returning(policy_bundle))
    assert row is not None  # noqa: S101 - RETURNING of an insert
    return BundleRow(**row._mapping)


async def bundle(tx: Transaction, bundle_id: uuid.UUID, *, lock: bool = False) -> BundleRow | None:
    query = sa.select(policy_bundle).where(_b.id == bundle_id)
    row = await tx.row(query.with_for_update() if lock else query)
    return None if row is None else BundleRow(**row._mapping)


async def open_bundle(tx: Transaction, version: str) -> BundleRow | None:
    """The bundle of this content that is active or may become so."""
    row = await tx.row(sa.select(policy_bundle).where(_b.version == version, _b.state.not_in(("superseded", "withdrawn"))))
    return None if row is None else BundleRow(**row._mapping)


async def bundles(tx: Transaction, *, state: str | None, limit: int, after: uuid.UUID | None) -> list[BundleRow]:
    """Newest first."""
    query = sa.select(policy_bundle).order_by(_b.id.desc()).limit(limit)
    if state is not None:
        query = query.where(_b.state == state)
    if after is not None:
        query = query.where(_b.id < after)
    return [BundleRow(**row._mapping) for row in await tx.rows(query)]


async def change(tx: Transaction, bundle_id: uuid.UUID, values: Mapping[str, Any]) -> BundleRow:
    """Change a row that was locked before."""
    row = await tx.row(policy_bundle.update().where(_b.id == bundle_id).values(**values).returning(policy_bundle))
    assert row is not None  # noqa: S101 - locked by the caller; rows are not deleted
    return BundleRow(**row._mapping)


async def due(tx: Transaction, now: datetime) -> list[uuid.UUID]:
    """Signed bundles whose waiting time is over."""
    rows = await tx.rows(sa.select(_b.id).where(_b.state == "signed", _b.effective_at <= now).order_by(_b.effective_at).limit(20))
    return [row.id for row in rows]


async def endorsements(tx: Transaction, bundle_ids: Collection[uuid.UUID]) -> Sequence[Any]:
    """Oldest first."""
    return await tx.rows(sa.select(policy_endorsement).where(_e.bundle_id.in_(bundle_ids)).order_by(_e.id))


async def insert_endorsement(tx: Transaction, values: Mapping[str, Any]) -> None:
    await tx.execute(policy_endorsement.insert().values(**values))


async def decisions_with_input(tx: Transaction, limit: int) -> Sequence[Any]:
    """The newest logged decisions with what went in."""
    return await tx.rows(sa.select(policy_decision).order_by(policy_decision.c.id.desc()).limit(limit))
