"""Idempotency-Key: a POST repeated with the same key within 24 hours creates nothing twice.

A row holds hashes and the created resource's id, never a body. The claim is made inside the route's transaction: two
requests at once wait for each other, and a request that fails leaves no claim.

    async with db.begin() as tx:
        claim = await idempotency.claim(tx, key=header, owner=principal.id, route="POST /api/things", body=raw)
        if claim.resource_id is not None:
            return <the thing made before>
        thing = <make it>
        await claim.fulfil(thing.id)
"""

import hashlib
import uuid
from datetime import timedelta

from sqlalchemy import Column, Index, LargeBinary, Table, Text, select, update
from sqlalchemy.dialects.postgresql import insert

from aliquot.kernel.clock import Clock
from aliquot.kernel.problems import InvalidInput
from aliquot.platform.db import Transaction, metadata, time_column

KEY_CHARS = 255
_LIFETIME = timedelta(hours=24)

idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of owner, route and key
    Column("body_sha256", LargeBinary, nullable=False),
    Column("resource_id", Text),
    time_column("created_at"),
    Index("ix_idempotency_key_created_at", "created_at"),
)


class IdempotencyMismatch(InvalidInput):
    code, sentence = "idempotency_mismatch", "This Idempotency-Key was used with another request."


class Claim:
    """A key held by the running transaction, or one that was fulfilled before. Without a key it does nothing."""

    def __init__(self, tx: Transaction | None, digest: bytes, resource_id: str | None) -> None:
        self._tx = tx
        self._digest = digest
        self.resource_id = resource_id
        """What the first request created; None when this is the first."""

    async def fulfil(self, resource_id: uuid.UUID | str) -> None:
        """Remember what was created, in the transaction of the claim."""
        if self._tx is not None:
            statement = update(idempotency_key).where(idempotency_key.c.digest == self._digest).values(resource_id=str(resource_id))
            await self._tx.execute(statement)


class Idempotency:
    """Claims keys. One object per process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def claim(self, tx: Transaction, *, key: str | None, owner: uuid.UUID, route: str, body: bytes) -> Claim:
        """Claim `key` for `owner` on `route`; waits for a request with the same key that is under way.

        `route` is method and path template. Raises IdempotencyMismatch when the key came with another body, InvalidInput for a
        malformed key.
        """
        if key is None:
            return Claim(None, b"", None)
        if not 1 <= len(key) <= KEY_CHARS or not key.isprintable():
            raise InvalidInput(f"Idempotency-Key must be 1 to {KEY_CHARS} printable characters")
        digest = hashlib.sha256(b"\0".join([owner.bytes, route.encode(), key.encode()])).digest()
        body_sha256 = hashlib.sha256(body).digest()
        now = self._clock.now()
        t = idempotency_key
        values = {"body_sha256": body_sha256, "resource_id": None, "created_at": now}
        statement = (
            insert(t)
            .values(digest=digest, **values)
            .on_conflict_do_update(index_elements=[t.c.digest], set_=values, where=t.c.created_at <= now - _LIFETIME)
            .returning(t.c.digest)
        )
        if (await tx.execute(statement)).first() is not None:
            return Claim(tx, digest, None)
        row = await tx.row(select(t.c.body_sha256, t.c.resource_id).where(t.c.digest == digest))
        if row is None or row.body_sha256 != body_sha256:
            raise IdempotencyMismatch
        return Claim(tx, digest, row.resource_id)

    async def clean(self, tx: Transaction) -> int:
        """Delete what is older than 24 hours; how many. For a background loop."""
        result = await tx.execute(idempotency_key.delete().where(idempotency_key.c.created_at < self._clock.now() - _LIFETIME))
        return result.rowcount
