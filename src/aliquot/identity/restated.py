"""People as the log knows them: address, name, roles, whether active, whether they may sign."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from aliquot.identity.tables import person
from aliquot.ledger.contracts import Claim, Restated
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Damaged, Erased, Vault

_CONTENT = ("person.created", "person.changed")


class RestatedPeople:
    """See `ledger.contracts.RestatedRecords`. Passwords and second factors are not committed to by events, so not covered."""

    record_type = "person"
    made_by: tuple[str, ...] = ("person.created",)

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def ids(self, tx: Transaction, after: str | None, limit: int) -> list[str]:
        query = select(person.c.id).order_by(person.c.id).limit(limit)
        if after is not None:
            query = query.where(person.c.id > uuid.UUID(after))
        return [str(row.id) for row in await tx.rows(query)]

    async def restate(self, tx: Transaction, ids: Sequence[str]) -> list[Restated]:
        rows = await tx.rows(select(person).where(person.c.id.in_([uuid.UUID(i) for i in ids])))
        return [self._restated(row) for row in rows]

    async def existing(self, tx: Transaction, ids: Sequence[str]) -> set[str]:
        return {str(row.id) for row in await tx.rows(select(person.c.id).where(person.c.id.in_([uuid.UUID(i) for i in ids])))}

    def _restated(self, row: Any) -> Restated:
        claims = [
            Claim(actions=("person.created",), required=True),
            Claim(actions=("person.created", "roles.changed"), fields={"reason": "roles:" + ",".join(row.roles)}, what="roles"),
            Claim(actions=("person.changed",), token=("may_sign:", "yes" if row.may_sign else "no")),
            Claim(
                actions=("person.enabled", "person.disabled"),
                fields={"action": "person.enabled" if row.active else "person.disabled"},
                what="active",
            ),
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
