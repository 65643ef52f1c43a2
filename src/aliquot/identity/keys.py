"""API keys: credentials of programs that act for a person."""

import hmac
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from aliquot.identity import store
from aliquot.identity.contracts import Actor, ApiKey, NewApiKey, Principal
from aliquot.identity.errors import TooManyKeys
from aliquot.identity.service import People, checked_name
from aliquot.identity.tokens import KeyCredential, new_key, read_key
from aliquot.kernel.clock import Clock, rfc3339
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import InvalidInput, NotFound, Problem, Unauthenticated
from aliquot.ledger.contracts import RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Erased, Vault

_KEYS_MAX = 50
_NOTE_EVERY = timedelta(minutes=1)  # how finely use and refusal are recorded: a busy key must not write at every request


def key_statement(person_id: uuid.UUID, secret_sha256: bytes, expires_at: datetime | None) -> bytes:
    """What the event of a key commits to: whose it is, which secret, until when."""
    return f"{person_id} {secret_sha256.hex()} {rfc3339(expires_at) if expires_at else 'for ever'}".encode()


class Keys:
    """The API keys of people."""

    def __init__(self, people: People, vault: Vault, clock: Clock) -> None:
        self._people = people
        self._vault = vault
        self._clock = clock

    async def create(self, tx: Transaction, person_id: uuid.UUID, *, name: str, expires_at: datetime | None, by: Actor) -> NewApiKey:
        """Make a key for a person. Raises NotFound, InvalidInput, TooManyKeys."""
        name, now = checked_name(name), self._clock.now()
        if expires_at is not None and expires_at <= now:
            raise InvalidInput("expires_at lies in the past.")
        row = await self._people.find(tx, person_id, lock=True)  # the lock makes the count exact
        if not row.active:
            raise InvalidInput("This person is disabled.")
        if len(await store.live_keys(tx, person_id, now)) >= _KEYS_MAX:
            raise TooManyKeys
        key_id = new_id()
        prefix, secret = new_key()
        hashed = read_key(secret).secret_sha256
        values = {
            "id": key_id,
            "person_id": person_id,
            "prefix": prefix,
            "secret_sha256": hashed,
            "name": self._vault.seal(person_id, name.encode(), aad=f"api_key.name:{key_id}"),
            "created_at": now,
            "expires_at": expires_at,
        }
        await store.insert_key(tx, values)
        content = {"name": name.encode(), "key": key_statement(person_id, hashed, expires_at)}
        record = RecordRef(type="api_key", id=str(key_id))
        await self._people.audit(tx, by, "api_key.created", person_id, record=record, content=content)
        key = ApiKey(id=key_id, prefix=prefix, name=name, created_at=now, expires_at=expires_at, last_used_at=None)
        return NewApiKey(key=key, secret=secret)

    async def list(self, tx: Transaction, person_id: uuid.UUID) -> Sequence[ApiKey]:
        """A person's keys that work, newest first."""
        return [self._key(row) for row in await store.live_keys(tx, person_id, self._clock.now())]

    async def revoke(self, tx: Transaction, person_id: uuid.UUID, key_id: uuid.UUID, *, by: Actor) -> None:
        """End one of the person's keys at once. Raises NotFound, also for somebody else's."""
        if not await store.revoke_key(tx, person_id, key_id, self._clock.now()):
            raise NotFound
        await self._people.audit(tx, by, "api_key.revoked", person_id, record=RecordRef(type="api_key", id=str(key_id)))

    async def establish(self, tx: Transaction, credential: KeyCredential, address: str) -> Principal | Problem:
        """Who a key speaks for, or Unauthenticated; commit in either case.

        Misuse of a key that exists is audited, at most once a minute and key; guessed prefixes are only counted as a flood.
        """
        row = await store.person_of_key(tx, credential.prefix)
        if row is None:
            return Unauthenticated()
        reason = self._refusal(row, credential)
        if reason is not None:
            await self._note_refusal(tx, row, reason, address)
            return Unauthenticated()
        now = self._clock.now()
        if row.last_used_at is None or now - row.last_used_at >= _NOTE_EVERY:
            await store.note_key(tx, row.key_id, last_used_at=now)
        return self._people.principal(row, via="api_key", ip=address)

    def _refusal(self, row: Row[Any], credential: KeyCredential) -> str | None:
        if not hmac.compare_digest(bytes(row.secret_sha256), credential.secret_sha256):
            return "wrong_secret"
        if row.revoked_at is not None:
            return "revoked"
        if row.expires_at is not None and row.expires_at <= self._clock.now():
            return "expired"
        return None if row.active else "person_disabled"

    async def _note_refusal(self, tx: Transaction, row: Row[Any], reason: str, address: str) -> None:
        now = self._clock.now()
        if row.last_refused_at is not None and now - row.last_refused_at < _NOTE_EVERY:
            return
        await store.note_key(tx, row.key_id, last_refused_at=now)
        by = Actor(id="anonymous", via="api_key", ip=address)
        record = RecordRef(type="api_key", id=str(row.key_id))
        await self._people.audit(tx, by, "api_key.refused", row.id, outcome="failed", reason=reason, record=record)

    def _key(self, row: Row[Any]) -> ApiKey:
        try:
            name = self._vault.open(bytes(row.name), aad=f"api_key.name:{row.id}").decode()
        except Erased:
            name = "(erased)"
        return ApiKey(
            id=row.id, prefix=row.prefix, name=name, created_at=row.created_at, expires_at=row.expires_at, last_used_at=row.last_used_at
        )
