"""People and their credentials as the log knows them: what somebody writes past the server into their rows is found."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import select

from aliquot.identity.keys import key_statement
from aliquot.identity.oidc.tables import oidc_identity
from aliquot.identity.service import password_content, signing_content
from aliquot.identity.tables import api_key, login_session, person, second_factor
from aliquot.ledger.contracts import Claim, Restated
from aliquot.platform.db import Transaction
from aliquot.platform.rows import RowsById
from aliquot.platform.vault import Damaged, Erased, Vault

_CONTENT = ("person.created", "person.changed")
_PASSWORD = ("person.created", "password.changed", "password.reset", "password.rehashed", "password.replaced")
_SIGNING = ("person.created", "person.changed", "password.reset", "otp.removed")


class RestatedPeople(RowsById):
    """Address, name, roles, whether active, the right to sign, password and second factor. See `ledger.contracts.RestatedRecords`."""

    record_type = "person"
    made_by: tuple[str, ...] = ("person.created",)
    table = person

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        wanted = [uuid.UUID(i) for i in ids]
        confirmed = select(second_factor.c.person_id).where(
            second_factor.c.person_id.in_(wanted), second_factor.c.confirmed_at.is_not(None)
        )
        with_factor = {row.person_id for row in await tx.rows(confirmed)}
        rows = await tx.rows(select(person).where(person.c.id.in_(wanted)))
        return [self._restated(row, row.id in with_factor) for row in rows]

    def _restated(self, row: Any, with_factor: bool) -> Restated:
        claims = [
            Claim(actions=("person.created",), required=True),
            Claim(actions=("person.created", "roles.changed"), fields={"reason": "roles:" + ",".join(row.roles)}, what="roles"),
            Claim(actions=("person.changed",), token=("may_sign:", "yes" if row.may_sign else "no")),
            Claim(
                actions=("person.enabled", "person.disabled"),
                fields={"action": "person.enabled" if row.active else "person.disabled"},
                what="active",
            ),
            *(self._credentials(row, with_factor) if self._vault.knows(row.id) else ()),
        ]
        damaged = []
        for name in ("email", "name"):
            try:
                opened = self._vault.open(bytes(getattr(row, name)), aad=f"person.{name}:{row.id}")
                claims.append(Claim(actions=_CONTENT, content=(name, opened)))
            except Damaged:
                damaged.append(name)
            except Erased:
                continue
        return Restated(id=str(row.id), claims=tuple(claims), damaged=tuple(damaged))

    def _credentials(self, row: Any, with_factor: bool) -> list[Claim]:
        """Of people who were not erased: an erasure removes the second factor without a word of its own."""
        factor = "otp.confirmed" if with_factor else "otp.removed"
        return [
            Claim(actions=_PASSWORD, content=("password", password_content(row)["password"])),
            Claim(actions=_SIGNING, content=("signing", signing_content(row)["signing"])),
            Claim(actions=("otp.confirmed", "otp.removed"), fields={"action": factor}, what="second factor"),
        ]


class RestatedKeys(RowsById):
    """API keys: one that no event made, one that speaks for somebody else or has another secret, one that was revoked and works again."""

    record_type = "api_key"
    made_by: tuple[str, ...] = ("api_key.created",)
    table = api_key

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        rows = await tx.rows(select(api_key).where(api_key.c.id.in_([uuid.UUID(i) for i in ids])))
        return [Restated(id=str(row.id), claims=tuple(self._claims(row))) for row in rows]

    def _claims(self, row: Any) -> Iterator[Claim]:
        yield Claim(actions=self.made_by, required=True)
        yield Claim(actions=self.made_by, content=("key", key_statement(row.person_id, bytes(row.secret_sha256), row.expires_at)))
        if row.revoked_at is None:
            yield Claim(actions=("api_key.revoked",), fields={"action": "none"}, what="revoked")


class RestatedSessions(RowsById):
    """Log-ins: whose they are, and that one that was ended stays so. Rows of long expired ones are deleted."""

    record_type = "session"
    made_by: tuple[str, ...] = ()
    table = login_session

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        rows = await tx.rows(select(login_session).where(login_session.c.id.in_([uuid.UUID(i) for i in ids])))
        return [Restated(id=str(row.id), claims=tuple(self._claims(row))) for row in rows]

    def _claims(self, row: Any) -> Iterator[Claim]:
        yield Claim(actions=("login.succeeded",), fields={"actor": str(row.person_id)}, required=True, what="person")
        if row.revoked_at is None:
            yield Claim(actions=("session.ended", "session.revoked"), fields={"action": "none"}, what="revoked")


class RestatedIdentities(RowsById):
    """Whom a provider's person is here."""

    record_type = "sso_identity"
    made_by: tuple[str, ...] = ()
    table = oidc_identity

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        rows = await tx.rows(select(oidc_identity).where(oidc_identity.c.id.in_([uuid.UUID(i) for i in ids])))
        return [self._restated(row) for row in rows]

    def _restated(self, row: Any) -> Restated:
        linked = Claim(actions=("sso.linked",), required=True)
        moved = self._vault.subject_of(bytes(row.subject)) != row.person_id
        return Restated(id=str(row.id), claims=(linked,), damaged=("person",) if moved else ())
