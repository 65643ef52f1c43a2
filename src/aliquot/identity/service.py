"""People: made, found, changed, disabled; their sealed names; what they may do."""

import asyncio
import hmac
import re
import secrets
import unicodedata
import uuid
from collections.abc import Collection, Sequence
from typing import Any

from psycopg import IntegrityError
from sqlalchemy import Row

from aliquot.identity import store
from aliquot.identity.contracts import ROLES, Actor, NewPerson, Person, Principal, Via
from aliquot.identity.errors import HoldStands, LastAdmin, PersonExists
from aliquot.identity.passwords import Passwords, one_time_password
from aliquot.identity.rights import SIGNING_ROLES, permissions_of
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id, parse_id
from aliquot.kernel.problems import InvalidInput, NotFound
from aliquot.kernel.visible import plain_line
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, Outcome, RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Erased, Vault

NAME_CHARS = 200
_EMAIL_CHARS = 254
_EMAIL = re.compile(r"[^\s@,;:<>()\[\]\"\\]{1,64}@[^\s@,;:<>()\[\]\"\\]{1,253}")
_ERASED = "(erased)"


class People:
    """The people of this site. Every change appends its audit event."""

    def __init__(self, vault: Vault, ledger: LedgerApi, clock: Clock, passwords: Passwords) -> None:
        self._vault = vault
        self._ledger = ledger
        self._clock = clock
        self._passwords = passwords
        self._index_key = vault.derive("email-index")

    def index(self, email: str) -> bytes:
        """The keyed hash by which an address is found; any text has one."""
        return hmac.digest(self._index_key, normalise_email(email).encode("utf-8", "replace"), "sha256")

    def principal(self, row: Row[Any], *, via: Via, session_id: uuid.UUID | None = None, ip: str | None = None) -> Principal:
        """The rights of a person's row, now."""
        return Principal(
            id=row.id,
            email=self._open(row.email, f"person.email:{row.id}"),
            name=self._open(row.name, f"person.name:{row.id}"),
            roles=frozenset(row.roles),
            permissions=permissions_of(row.roles, may_sign=_may_sign(row)),
            via=via,
            session_id=session_id,
            ip=ip,
            # A key is a credential of its own, so only log-ins are held up by a one-time password.
            must_change=row.must_change and session_id is not None,
        )

    def person(self, row: Row[Any]) -> Person:
        """A row as shown to clients."""
        return Person(
            id=row.id,
            email=self._open(row.email, f"person.email:{row.id}"),
            name=self._open(row.name, f"person.name:{row.id}"),
            roles=tuple(row.roles),
            permissions=tuple(sorted(permissions_of(row.roles, may_sign=_may_sign(row)))),
            active=row.active,
            created_at=row.created_at,
            may_sign=_may_sign(row),
            must_change=row.must_change,
            version=row.version,
        )

    async def find(self, tx: Transaction, who: uuid.UUID | str, *, lock: bool = False) -> Row[Any]:
        """The row of a person by id or e-mail address. Raises NotFound."""
        person_id = who if isinstance(who, uuid.UUID) else parse_id(who)
        if person_id is not None:
            row = await store.person_by_id(tx, person_id, lock=lock)
        else:
            row = await store.person_by_index(tx, self.index(str(who)))
        if row is None:
            raise NotFound("There is no such person.")
        return row

    async def names(self, tx: Transaction, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
        """Names by id; unknown ids are left out."""
        if not ids:
            return {}
        return {row.id: self._open(row.name, f"person.name:{row.id}") for row in await store.people_by_ids(tx, ids)}

    async def create(
        self,
        tx: Transaction,
        *,
        email: str,
        name: str,
        roles: Sequence[str],
        password: str | None,
        must_change: bool,
        may_sign: bool | None,
        by: Actor,
    ) -> NewPerson:
        """Make a person and their key. Without `password` a one-time one is made. Raises InvalidInput, PersonExists."""
        email, name, roles = checked_email(email), checked_name(name), checked_roles(roles)
        if await store.person_by_index(tx, self.index(email)) is not None:
            raise PersonExists
        person_id, at = new_id(), self._clock.now()
        given = password if password is not None else one_time_password()
        # It waits for the disk, and must be durable before anything is sealed with it.
        await asyncio.to_thread(self._vault.ensure_subject, person_id)
        values = self._sealed(person_id, email=email, name=name) | {
            "id": person_id,
            "password_hash": await self._passwords.hash(given),
            "roles": list(roles),
            "may_sign": may_sign if may_sign is not None else bool(SIGNING_ROLES.intersection(roles)),
            "must_change": must_change,
            "active": True,
            "version": 1,
            "created_at": at,
            "changed_at": at,
        }
        try:
            await store.insert_person(tx, values)
        except IntegrityError as error:  # somebody else made the same person at the same time
            raise PersonExists from error
        row = await self.find(tx, person_id)
        content = {"email": email.encode(), "name": name.encode(), **password_content(row), **signing_content(row)}
        await self.audit(tx, by, "person.created", person_id, version=1, reason="roles:" + ",".join(roles), content=content)
        return NewPerson(person=self.person(row), password=given if password is None else None)

    async def change(
        self, tx: Transaction, person_id: uuid.UUID, *, name: str | None, email: str | None, may_sign: bool | None, by: Actor,
        hold: bool = False,
    ) -> Person:  # fmt: skip
        """Change what is given; `hold`: another address takes the right to sign away. Raises NotFound, InvalidInput, PersonExists,
        HoldStands."""
        found = await self.find(tx, person_id, lock=True)
        values: dict[str, Any] = {}
        content: dict[str, bytes] = {}
        if email is not None:
            email = checked_email(email)
            other = await store.person_by_index(tx, self.index(email))
            if other is not None and other.id != person_id:
                raise PersonExists
            if hold and bytes(found.email_index) != self.index(email):
                values["signing_hold"] = by.id
            values |= self._sealed(person_id, email=email)
            content["email"] = email.encode()
        if name is not None:
            name = checked_name(name)
            values |= self._sealed(person_id, name=name)
            content["name"] = name.encode()
        if may_sign is not None:
            values["may_sign"] = may_sign
            if may_sign and found.signing_hold is not None:
                await self._require_another(tx, found, by)
                values.setdefault("signing_hold", None)
        if not values:
            raise InvalidInput("There is nothing to change.")
        try:
            row = await store.update_person(tx, person_id, self._clock.now(), values)
        except IntegrityError as error:
            raise PersonExists from error
        changed = sorted(content) + ([f"may_sign:{'yes' if may_sign else 'no'}"] if may_sign is not None else [])
        content |= signing_content(row)
        await self.audit(tx, by, "person.changed", person_id, version=row.version, reason=",".join(changed), content=content)
        return self.person(row)

    async def set_roles(self, tx: Transaction, person_id: uuid.UUID, roles: Sequence[str], *, by: Actor) -> Person:
        """Replace a person's roles; they hold from the next request on. Raises NotFound, InvalidInput, LastAdmin."""
        roles = checked_roles(roles)
        await store.lock_admins(tx)
        found = await self.find(tx, person_id, lock=True)
        if "admin" not in roles:
            await self._keep_an_admin(tx, found)
        row = await store.update_person(tx, person_id, self._clock.now(), {"roles": list(roles)})
        await self.audit(tx, by, "roles.changed", person_id, version=row.version, reason="roles:" + ",".join(roles))
        return self.person(row)

    async def take_roles(self, tx: Transaction, person_id: uuid.UUID, *, by: Actor) -> None:
        """Leave a person without any role; their sessions end, their keys are revoked. Raises NotFound, LastAdmin."""
        await store.lock_admins(tx)
        await self._keep_an_admin(tx, await self.find(tx, person_id, lock=True))
        at = self._clock.now()
        await self._end_all(tx, person_id, by)
        row = await store.update_person(tx, person_id, at, {"roles": []})
        await self.audit(tx, by, "roles.changed", person_id, version=row.version, reason="roles:")

    async def set_active(self, tx: Transaction, person_id: uuid.UUID, active: bool, *, by: Actor) -> Person:
        """Disable (ending sessions, revoking keys) or enable a person. Raises NotFound, LastAdmin."""
        await store.lock_admins(tx)
        found = await self.find(tx, person_id, lock=True)
        if found.active == active:
            return self.person(found)
        at = self._clock.now()
        if not active:
            await self._keep_an_admin(tx, found)
            await self._end_all(tx, person_id, by)
        row = await store.update_person(tx, person_id, at, {"active": active})
        await self.audit(tx, by, "person.enabled" if active else "person.disabled", person_id, version=row.version)
        return self.person(row)

    async def _end_all(self, tx: Transaction, person_id: uuid.UUID, by: Actor) -> None:
        """End the person's sessions and keys."""
        at = self._clock.now()
        await store.revoke_sessions(tx, person_id, at)
        for key_id in await store.revoke_keys(tx, person_id, at):
            await self.audit(tx, by, "api_key.revoked", person_id, record=RecordRef(type="api_key", id=str(key_id)))

    async def set_password(self, tx: Transaction, person_id: uuid.UUID, password: str, *, must_change: bool) -> Row[Any]:
        """Replace the password; the caller audits and ends sessions."""
        values = {"password_hash": await self._passwords.hash(password), "must_change": must_change}
        return await store.update_person(tx, person_id, self._clock.now(), values)

    async def forget(self, tx: Transaction, person_id: uuid.UUID) -> int:
        """Delete what is in clear about an erased person; how many rows."""
        await self.find(tx, person_id, lock=True)
        values = {"email_index": secrets.token_bytes(32), "password_hash": ""}
        return await store.forget_person(tx, person_id, values)

    async def audit(
        self, tx: Transaction, by: Actor, action: str, person_id: uuid.UUID, *, version: int = 1, outcome: Outcome = "ok",
        reason: str | None = None, content: dict[str, bytes] | None = None, record: RecordRef | None = None,
    ) -> None:  # fmt: skip
        """Append an event about a person (or another record of theirs)."""
        event = AuditEvent(
            action=action, actor=by.id, via=by.via, ip=by.ip, outcome=outcome, reason=reason, content=content or {}, subject=person_id,
            record=record or RecordRef(type="person", id=str(person_id), version=version),
        )  # fmt: skip
        await self._ledger.append(tx, event)

    async def audit_unknown(self, tx: Transaction, email: str, ip: str, action: str) -> None:
        """Append an event about an address nobody has; equal addresses have equal record ids."""
        record = RecordRef(type="account", id=self.index(email).hex()[:24])
        await self._ledger.append(tx, AuditEvent(action=action, actor="anonymous", via="session", ip=ip, outcome="failed", record=record))

    async def has_admin(self, tx: Transaction) -> bool:
        """Whether somebody administers this site. Holds the lock on that question until the transaction ends."""
        await store.lock_admins(tx)
        return await store.count_active_admins(tx) > 0

    async def hold_signing(self, tx: Transaction, person_id: uuid.UUID, by: Actor) -> Row[Any]:
        """After `by` reset the person's credentials: no signing until another administrator gives the right back. The person then."""
        await store.hold_signing(tx, person_id, by.id)
        return await self.find(tx, person_id)

    async def _require_another(self, tx: Transaction, row: Row[Any], by: Actor) -> None:
        """Raise HoldStands for the one who reset the credentials and for the person; a lone administrator has nobody else to ask."""
        if by.id in {row.signing_hold, str(row.id)} and await store.count_active_admins(tx) > 1:
            raise HoldStands

    async def _keep_an_admin(self, tx: Transaction, row: Row[Any]) -> None:
        if row.active and "admin" in row.roles and await store.count_active_admins(tx, without=row.id) == 0:
            raise LastAdmin

    def _sealed(self, person_id: uuid.UUID, *, email: str | None = None, name: str | None = None) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if email is not None:
            values["email_index"] = self.index(email)
            values["email"] = self._vault.seal(person_id, email.encode(), aad=f"person.email:{person_id}")
        if name is not None:
            values["name"] = self._vault.seal(person_id, name.encode(), aad=f"person.name:{person_id}")
        return values

    def _open(self, sealed: bytes, aad: str) -> str:
        try:
            return self._vault.open(bytes(sealed), aad=aad).decode()
        except Erased:
            return _ERASED


def _may_sign(row: Row[Any]) -> bool:
    return bool(row.may_sign) and row.signing_hold is None


def password_content(row: Row[Any]) -> dict[str, bytes]:
    """What an event commits to of a password: its hash. A hash that somebody writes into the row is found (`identity.restated`)."""
    return {"password": row.password_hash.encode()}


def signing_content(row: Row[Any]) -> dict[str, bytes]:
    """What an event commits to of the right to sign, and of what holds it."""
    return {"signing": f"{'yes' if row.may_sign else 'no'} hold:{row.signing_hold or ''}".encode()}


def normalise_email(email: str) -> str:
    """The form in which addresses are compared."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", email).casefold()).strip()


def checked_email(email: str) -> str:
    """The normalised address. Raises InvalidInput."""
    email = normalise_email(email)
    if len(email) > _EMAIL_CHARS or not _EMAIL.fullmatch(email) or not email.isprintable() or not plain_line(email):
        raise InvalidInput("This is not an e-mail address.")
    return email


def checked_name(name: str) -> str:
    """The name without outer or double space. Raises InvalidInput: it is printed under signatures, so it must not look like another one."""
    name = re.sub(" +", " ", unicodedata.normalize("NFC", name).strip())
    if not 1 <= len(name) <= NAME_CHARS or not name.isprintable() or not plain_line(name):
        raise InvalidInput(f"A name has 1 to {NAME_CHARS} visible characters, and each word of it one script.")
    return name


def checked_roles(roles: Sequence[str]) -> tuple[str, ...]:
    """Known roles, each once, in the order of the table. Raises InvalidInput."""
    unknown = sorted(set(roles) - set(ROLES))
    if unknown or not roles:
        raise InvalidInput("Roles are: " + ", ".join(ROLES) + "; at least one is needed.")
    return tuple(role for role in ROLES if role in roles)
