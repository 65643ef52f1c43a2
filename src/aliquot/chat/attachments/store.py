"""SQL and sealing of attachments."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row, delete, exists, func, insert, or_, select, update

from aliquot.chat.attachments.contracts import Facts
from aliquot.chat.attachments.tables import attachment, message_attachment
from aliquot.chat.tables import message
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Vault

_a, _m = attachment.c, message_attachment.c
_SWEPT_AT_ONCE = 100


class AttachmentStore:
    """Rows of attachments and of what they are bound to."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def lock(self, tx: Transaction, owner_id: uuid.UUID) -> None:
        """Uploads of one person are counted one after the other, so that the quota is exact."""
        await tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"attachments:{owner_id}", 0))))

    async def stored_bytes(self, tx: Transaction, owner_id: uuid.UUID) -> int:
        return int(await tx.scalar(select(func.coalesce(func.sum(_a.size), 0)).where(_a.owner_id == owner_id, _a.deleted_at.is_(None))))

    async def insert(self, tx: Transaction, values: Mapping[str, Any], facts: Facts) -> None:
        await tx.execute(insert(attachment).values(facts=self._seal(values["owner_id"], values["id"], facts), **values))

    async def set_state(self, tx: Transaction, attachment_id: uuid.UUID, before: str, state: str) -> bool:
        """Move from `before` to `state`; False when it was not in `before` any more."""
        statement = update(attachment).where(_a.id == attachment_id, _a.state == before).values(state=state).returning(_a.id)
        return await tx.scalar(statement) is not None

    async def forget(self, tx: Transaction, attachment_ids: Sequence[uuid.UUID], at: datetime, state: str = "deleted") -> list[uuid.UUID]:
        """Delete what the rows hold and what binds them; which of them were not deleted before. Their blobs are a job's matter."""
        rows = await tx.rows(
            update(attachment)
            .where(_a.id.in_(attachment_ids), _a.deleted_at.is_(None))
            .values(state=state, facts=None, deleted_at=at)
            .returning(_a.id)
        )
        return [row.id for row in rows]

    async def blobs_gone(self, tx: Transaction, attachment_id: uuid.UUID, at: datetime) -> None:
        await tx.execute(update(attachment).where(_a.id == attachment_id).values(blobs_deleted_at=at))

    async def get(self, tx: Transaction, attachment_id: uuid.UUID | None, *, lock: bool = False) -> Row[Any] | None:
        """Also one that is deleted; not one that is still being stored."""
        statement = select(attachment).where(_a.id == attachment_id, _a.state != "storing")
        return await tx.row(statement.with_for_update() if lock else statement)

    async def raw(self, tx: Transaction, attachment_id: uuid.UUID) -> Row[Any] | None:
        return await tx.row(select(attachment).where(_a.id == attachment_id))

    async def many(self, tx: Transaction, attachment_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Row[Any]]:
        rows = await tx.rows(select(attachment).where(_a.id.in_(attachment_ids), _a.state != "storing"))
        return {row.id: row for row in rows}

    async def of_message(self, tx: Transaction, message_id: uuid.UUID) -> Sequence[Row[Any]]:
        joined = attachment.join(message_attachment, _m.attachment_id == _a.id)
        return await tx.rows(
            select(attachment).select_from(joined).where(_m.message_id == message_id, _a.deleted_at.is_(None)).order_by(_m.n, _a.id)
        )

    async def of_messages(self, tx: Transaction, message_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[Row[Any]]]:
        """The same of several messages at once."""
        joined = attachment.join(message_attachment, _m.attachment_id == _a.id)
        of_these = select(attachment, _m.message_id).select_from(joined).where(_m.message_id.in_(message_ids), _a.deleted_at.is_(None))
        found: dict[uuid.UUID, list[Row[Any]]] = {}
        for row in await tx.rows(of_these.order_by(_m.n, _a.id)):
            found.setdefault(row.message_id, []).append(row)
        return found

    async def conversations_of(self, tx: Transaction, attachment_id: uuid.UUID) -> list[uuid.UUID]:
        """Where it is bound."""
        joined = message_attachment.join(message, message.c.id == _m.message_id)
        rows = await tx.rows(
            select(message.c.conversation_id).distinct().select_from(joined).where(_m.attachment_id == attachment_id).limit(200)
        )
        return [row.conversation_id for row in rows]

    async def messages_of(self, tx: Transaction, attachment_id: uuid.UUID) -> Sequence[Row[Any]]:
        """The messages it is bound to (id, conversation_id), in the order in which their conversations are locked."""
        joined = message_attachment.join(message, message.c.id == _m.message_id)
        bound = select(message.c.id, message.c.conversation_id).select_from(joined).where(_m.attachment_id == attachment_id)
        return await tx.rows(bound.order_by(message.c.conversation_id, message.c.id))

    # --- messages

    async def message(self, tx: Transaction, message_id: uuid.UUID | None, *, lock: bool = False) -> Row[Any] | None:
        statement = select(message).where(message.c.id == message_id)
        return await tx.row(statement.with_for_update() if lock else statement)

    async def bind(self, tx: Transaction, message_id: uuid.UUID, attachment_ids: Sequence[uuid.UUID], first: int = 0) -> None:
        for n, attachment_id in enumerate(attachment_ids, first):
            await tx.send(insert(message_attachment).values(message_id=message_id, attachment_id=attachment_id, n=n))
        if attachment_ids:  # nothing has looked for patients in the files
            unseen = (message.c.id == message_id, message.c.patient_class == "none")
            await tx.send(update(message).where(*unseen).values(patient_class="undecided"))

    async def add_to_meta(self, tx: Transaction, row: Row[Any], attachment_id: uuid.UUID) -> None:
        """Name a file bound later in the message's metadata, by which histories know of it."""
        aad = f"message.meta:{row.id}"
        meta = json.loads(self._vault.open(bytes(row.meta), aad=aad)) if row.meta is not None else {}
        meta["attachments"] = [*meta.get("attachments", []), str(attachment_id)]
        sealed = self._vault.seal(self._vault.subject_of(bytes(row.body)), msgspec.json.encode(meta), aad=aad)
        await tx.execute(update(message).where(message.c.id == row.id).values(meta=sealed))

    async def unbind(self, tx: Transaction, message_ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
        """Unbind everything from these messages; which files are bound to none now."""
        rows = await tx.rows(delete(message_attachment).where(_m.message_id.in_(message_ids)).returning(_m.attachment_id))
        freed = {row.attachment_id for row in rows}
        bound = await tx.rows(select(_m.attachment_id).distinct().where(_m.attachment_id.in_(freed)))
        return sorted(freed - {row.attachment_id for row in bound})

    # --- sweeping

    async def abandoned(self, tx: Transaction, at: datetime, unbound: timedelta, storing: timedelta) -> list[uuid.UUID]:
        """Never bound for too long, or left half stored by a process that died; a bounded number of them."""
        never_bound = ~exists().where(_m.attachment_id == _a.id)
        statement = select(_a.id).where(
            _a.deleted_at.is_(None),
            or_((_a.created_at < at - unbound) & never_bound, (_a.created_at < at - storing) & (_a.state == "storing")),
        )
        return [row.id for row in await tx.rows(statement.limit(_SWEPT_AT_ONCE).with_for_update(skip_locked=True))]

    async def purge(self, tx: Transaction, before: datetime) -> None:
        """Take away the rows of files deleted long ago whose blobs are gone and that no message names."""
        old = (_a.deleted_at < before, _a.blobs_deleted_at.is_not(None), ~exists().where(_m.attachment_id == _a.id))
        await tx.execute(delete(attachment).where(*old))

    # --- sealing

    def facts(self, row: Row[Any]) -> Facts:
        return Facts(**json.loads(self._vault.open(bytes(row.facts), aad=_aad(row.id))))

    def _seal(self, subject: uuid.UUID, attachment_id: uuid.UUID, facts: Facts) -> bytes:
        return self._vault.seal(subject, msgspec.json.encode(asdict(facts)), aad=_aad(attachment_id))


def _aad(attachment_id: uuid.UUID) -> str:
    return f"attachment.facts:{attachment_id}"
