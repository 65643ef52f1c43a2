"""Who a provider's person is here: found by issuer and subject, linked or made at the first log-in, with the roles of today.

An address alone never finds anybody: it links only when the provider verified it and an administrator allowed it.
"""

import asyncio
import hmac
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Row

from aliquot.identity import store as people_store
from aliquot.identity.contracts import ROLES, Actor
from aliquot.identity.oidc import store
from aliquot.identity.oidc.contracts import Identified
from aliquot.identity.oidc.errors import SsoDisabled, SsoEmailUnverified, SsoNobody, SsoNoRole, SsoNotLinked
from aliquot.identity.oidc.rules import mapped_roles, new_secret
from aliquot.identity.service import NAME_CHARS, People, checked_email, checked_name, password_content
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import InvalidInput
from aliquot.ledger.contracts import RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.oidc_settings import OidcSettings
from aliquot.platform.settings import SettingsError
from aliquot.platform.vault import Vault

_GRANT = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person and their identity at the provider."""

    person: Row[Any]
    identity_id: uuid.UUID


class Accounts:
    """People who come through the provider."""

    def __init__(self, people: People, vault: Vault, clock: Clock, settings: OidcSettings) -> None:
        """Raises SettingsError when a role is mapped that does not exist."""
        if unknown := sorted(set(settings.roles.values()) - set(ROLES)):
            raise SettingsError(f"setting oidc.roles: there is no role {unknown[0]!r}")
        self._people, self._vault, self._clock, self._settings = people, vault, clock, settings
        self._index_key = vault.derive("oidc-subject")

    async def known(self, tx: Transaction, who: Identified) -> Account | None:
        """The account of a subject, if there is one; holds the lock on that question."""
        index = self._index(who.subject)
        await store.lock_subject(tx, index)
        identity = await store.identity_of_subject(tx, index)
        if identity is None:
            return None
        if self._vault.subject_of(bytes(identity.subject)) != identity.person_id:
            raise SsoNotLinked  # the row was given to somebody else behind the server's back
        return Account(person=await self._people.find(tx, identity.person_id, lock=True), identity_id=identity.id)

    async def admit(self, tx: Transaction, who: Identified, by: Actor) -> Account:
        """The account of a log-in: known, linked or made, with the roles the claims give now.

        Raises SsoDisabled, SsoNoRole, SsoNobody, SsoEmailUnverified, SsoNotLinked, LastAdmin, InvalidInput (address).
        """
        roles = self._roles(who)
        account = await self.known(tx, who)
        if account is None:
            account = await self._first(tx, who, roles, by)
        if not account.person.active:
            raise SsoDisabled
        if roles is not None and not roles:
            raise SsoNoRole
        if roles is not None and roles != set(account.person.roles):
            await self._people.set_roles(tx, account.person.id, sorted(roles), by=by)
        values: dict[str, Any] = {"last_login_at": self._clock.now()} | ({"auth_time": who.auth_time} if who.auth_time else {})
        await store.note_authentication(tx, account.identity_id, values)
        return Account(person=await self._people.find(tx, account.person.id), identity_id=account.identity_id)

    async def shut_out(self, tx: Transaction, who: Identified, by: Actor) -> None:
        """The provider gives somebody no role any more: neither do we, and what they have open ends. Raises LastAdmin."""
        account = await self.known(tx, who)
        if account is not None and account.person.roles:
            await self._people.take_roles(tx, account.person.id, by=by)

    async def allow_link(self, tx: Transaction, person_id: uuid.UUID, by: Actor) -> None:
        """For seven days the provider's person with this person's verified address may become this person. Raises NotFound."""
        await self._people.find(tx, person_id)
        await store.allow_link(tx, person_id, self._clock.now() + _GRANT)
        await self._people.audit(tx, by, "sso.link_allowed", person_id)

    async def unlink(self, tx: Transaction, person_id: uuid.UUID, by: Actor) -> None:
        """The provider's person is nobody here any more; all sessions of this person end. Raises NotFound."""
        await self._people.find(tx, person_id)
        await store.take_link_grant(tx, person_id, self._clock.now())
        await people_store.revoke_sessions(tx, person_id, self._clock.now())
        await store.delete_identities(tx, person_id)
        await self._people.audit(tx, by, "sso.unlinked", person_id)

    def _roles(self, who: Identified) -> frozenset[str] | None:
        """None where roles are given here, by hand."""
        claim = self._settings.roles_claim
        return None if claim is None else mapped_roles(who.claims, claim, self._settings.roles)

    async def _first(self, tx: Transaction, who: Identified, roles: frozenset[str] | None, by: Actor) -> Account:
        """The first log-in of a subject."""
        email = who.claims.get("email")
        if not isinstance(email, str) or (who.claims.get("email_verified") is not True and not self._settings.trust_email):
            raise SsoEmailUnverified
        found = await people_store.person_by_index(tx, self._people.index(checked_email(email)))
        if found is not None:
            return await self._link(tx, found, email, who, by)
        if roles is None or not self._settings.create_people:
            raise SsoNobody
        if not roles:
            raise SsoNoRole
        # Nobody knows this password. The right to sign is an administrator's to give, once who it is was verified (21 CFR 11.100(b)).
        made = await self._people.create(
            tx, email=email, name=_name(who.claims, email), roles=sorted(roles), password=new_secret(), must_change=False, may_sign=False,
            by=by,
        )  # fmt: skip
        return await self._linked(tx, await self._people.find(tx, made.person.id), who, by)

    async def _link(self, tx: Transaction, found: Row[Any], email: str, who: Identified, by: Actor) -> Account:
        # Folding finds more than one address under one person (`ß` and `ss`, the Kelvin sign and `k`): the provider verified only this one.
        verified = "".join(c if not c.isascii() and c.lower().isascii() else c.lower() for c in email.strip())
        if verified != self._people.person(found).email:
            raise SsoNotLinked
        granted = await store.take_link_grant(tx, found.id, self._clock.now())
        if not (granted or self._settings.link_by_email) or await store.has_identity(tx, found.id):
            raise SsoNotLinked
        if found.must_change:  # the one-time password they were given is not needed any more, and may lie about
            row = await self._people.set_password(tx, found.id, new_secret(), must_change=False)
            await self._people.audit(tx, by, "password.replaced", found.id, version=row.version, content=password_content(row))
        return await self._linked(tx, found, who, by)

    async def _linked(self, tx: Transaction, person: Row[Any], who: Identified, by: Actor) -> Account:
        identity_id = new_id()
        await asyncio.to_thread(self._vault.ensure_subject, person.id)
        values = {
            "id": identity_id, "person_id": person.id, "subject_index": self._index(who.subject), "auth_time": None, "last_login_at": None,
            "subject": self._vault.seal(person.id, who.subject.encode(), aad=f"oidc_identity.subject:{identity_id}"),
            "created_at": self._clock.now(),
        }  # fmt: skip
        await store.insert_identity(tx, values)
        record = RecordRef(type="sso_identity", id=str(identity_id))
        await self._people.audit(tx, by, "sso.linked", person.id, record=record, content={"subject": who.subject.encode()})
        return Account(person=await self._people.find(tx, person.id, lock=True), identity_id=identity_id)

    def _index(self, subject: str) -> bytes:
        """The keyed hash by which a subject of this issuer is found: another issuer's same subject is somebody else."""
        return hmac.digest(self._index_key, f"{self._settings.issuer}\n{subject}".encode(), "sha256")


def _name(claims: dict[str, Any], email: str) -> str:
    """The name to begin with: what the provider says, if it can be a name here."""
    given = claims.get("name")
    try:
        return checked_name(given.strip()[:NAME_CHARS] if isinstance(given, str) else "")
    except InvalidInput:
        return email.partition("@")[0]
