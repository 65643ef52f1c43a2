"""What access records ask of the chat: which conversations exist, and which messages are patient data."""

import uuid
from collections.abc import Collection

from sqlalchemy import func, select

from aliquot.chat.tables import conversation, message
from aliquot.platform.db import Transaction
from aliquot.records.access.contracts import Seen

_m = message.c


class ChatEmergency:
    """See `records.access.contracts.EmergencyRecords`."""

    async def exists(self, tx: Transaction, conversation_id: uuid.UUID) -> bool:
        wanted = (conversation.c.id == conversation_id, conversation.c.deleted_at.is_(None))
        return await tx.scalar(select(conversation.c.id).where(*wanted)) is not None

    async def patient_data(self, tx: Transaction, message_ids: Collection[uuid.UUID]) -> Seen | None:
        """A message nobody has looked at for patients yet counts as theirs."""
        subject = func.substring(_m.body, 2, 16).label("subject")  # as `Vault.seal` writes it
        query = select(_m.id, _m.conversation_id, subject).where(_m.id.in_(list(message_ids)), _m.patient_class != "none")
        rows = await tx.rows(query.order_by(_m.id))
        if not rows:
            return None
        return Seen(
            conversation_ids=tuple(sorted({row.conversation_id for row in rows})), message_ids=tuple(row.id for row in rows),
            subjects=tuple(sorted({uuid.UUID(bytes=bytes(row.subject)) for row in rows})),
        )  # fmt: skip
