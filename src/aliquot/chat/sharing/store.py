"""SQL of shares."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select

from aliquot.chat.sharing.tables import conversation_share, conversation_share_person
from aliquot.platform.db import Transaction

_share, _person = conversation_share.c, conversation_share_person.c


def standing(at: datetime) -> ColumnElement[bool]:
    """Shares that are neither revoked nor expired."""
    return and_(_share.revoked_at.is_(None), or_(_share.expires_at.is_(None), _share.expires_at > at))


class ShareStore:
    """Rows of shares."""

    async def right(self, tx: Transaction, conversation_id: uuid.UUID, person_id: uuid.UUID, at: datetime) -> bool | None:
        """What shares that follow the conversation give a person: True to write, False to read, None for nothing."""
        mine = (_share.conversation_id == conversation_id, _person.person_id == person_id, _share.message_id.is_(None), standing(at))
        joined = conversation_share.join(conversation_share_person, _person.share_id == _share.id)
        found: Any = await tx.scalar(select(func.bool_or(_share.may_write)).select_from(joined).where(*mine))
        return None if found is None else bool(found)
