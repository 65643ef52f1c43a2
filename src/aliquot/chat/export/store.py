"""SQL and sealing of exports: all messages of a conversation, and deliveries by e-mail."""

import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select, update
from sqlalchemy.dialects.postgresql import insert

from aliquot.chat.export.tables import export_delivery
from aliquot.chat.tables import message
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Vault

_d = export_delivery.c


class ExportStore:
    """Rows in, opened contents out."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def count(self, tx: Transaction, conversation_id: uuid.UUID) -> int:
        return int(await tx.scalar(select(func.count()).select_from(message).where(message.c.conversation_id == conversation_id)))

    async def rows(self, tx: Transaction, conversation_id: uuid.UUID) -> Sequence[Row[Any]]:
        """Every message of every branch."""
        return await tx.rows(select(message).where(message.c.conversation_id == conversation_id))

    async def authors(self, tx: Transaction, conversation_id: uuid.UUID) -> dict[uuid.UUID, uuid.UUID]:
        """Message → person who wrote it."""
        c = message.c
        rows = await tx.rows(select(c.id, c.author_id).where(c.conversation_id == conversation_id, c.author_id.is_not(None)))
        return {row.id: row.author_id for row in rows}

    async def queue(
        self, tx: Transaction, delivery_id: uuid.UUID, conversation_id: uuid.UUID, person_id: uuid.UUID, via: str, wanted: dict[str, Any],
        at: datetime,
    ) -> None:  # fmt: skip
        sealed = self._vault.seal(person_id, json.dumps(wanted).encode(), aad=f"export_delivery:{delivery_id}")
        values = {"id": delivery_id, "conversation_id": conversation_id, "person_id": person_id, "via": via, "wanted": sealed}
        await tx.send(insert(export_delivery).values(**values, state="queued", created_at=at))

    async def take(self, tx: Transaction, delivery_id: uuid.UUID) -> tuple[Row[Any], dict[str, Any]] | None:
        """Mark a queued delivery as being sent. One found in that state was in flight when its process died: it becomes
        `unknown`, because sending it again might send it twice."""
        row = await tx.row(select(export_delivery).where(_d.id == delivery_id).with_for_update())
        if row is None or row.state not in ("queued", "sending"):
            return None
        state = "sending" if row.state == "queued" else "unknown"
        await tx.send(update(export_delivery).where(_d.id == delivery_id).values(state=state))
        if state == "unknown":
            return None
        return row, json.loads(self._vault.open(row.wanted, aad=f"export_delivery:{delivery_id}"))

    async def settle(
        self, tx: Transaction, delivery_id: uuid.UUID, state: str, *, error: str | None = None, sent_at: datetime | None = None
    ) -> None:
        values = {"state": state, "error_code": error, "sent_at": sent_at}
        await tx.send(update(export_delivery).where(_d.id == delivery_id, _d.state == "sending").values(**values))

    async def deliveries(self, tx: Transaction, conversation_id: uuid.UUID, person_id: uuid.UUID) -> Sequence[Row[Any]]:
        """The newest fifty of this person."""
        mine = select(export_delivery).where(_d.conversation_id == conversation_id, _d.person_id == person_id)
        return await tx.rows(mine.order_by(_d.created_at.desc()).limit(50))
