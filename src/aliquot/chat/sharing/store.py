"""SQL of shares."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, delete, func, insert, or_, select, update

from aliquot.chat.sharing.tables import conversation_share, conversation_share_person
from aliquot.chat.tables import conversation, message
from aliquot.guard.contracts import PatientClass
from aliquot.platform.db import Transaction

_share, _person = conversation_share.c, conversation_share_person.c
_people = conversation_share.join(conversation_share_person, _person.share_id == _share.id)


def standing(at: datetime) -> ColumnElement[bool]:
    """Shares that are neither revoked nor expired."""
    return and_(_share.revoked_at.is_(None), or_(_share.expires_at.is_(None), _share.expires_at > at))


def title_of(share: Any, row: Any) -> bytes | None:
    """The sealed title a share shows of the conversation `row`: of the moment of sharing, unless it follows."""
    return row.title if share.message_id is None else share.title  # type: ignore[no-any-return]


class ShareStore:
    """Rows of shares."""

    async def right(self, tx: Transaction, conversation_id: uuid.UUID, person_id: uuid.UUID, at: datetime) -> bool | None:
        """What shares that follow the conversation give a person: True to write, False to read, None for nothing."""
        mine = (_share.conversation_id == conversation_id, _person.person_id == person_id, _share.message_id.is_(None), standing(at))
        found: Any = await tx.scalar(select(func.bool_or(_share.may_write)).select_from(_people).where(*mine))
        return None if found is None else bool(found)

    async def add(self, tx: Transaction, values: dict[str, Any], people: Collection[uuid.UUID]) -> Row[Any]:
        made = await tx.row(insert(conversation_share).values(values).returning(conversation_share))
        assert made is not None  # noqa: S101 - inserted
        if people:
            await tx.execute(insert(conversation_share_person).values([{"share_id": made.id, "person_id": person} for person in people]))
        return made

    async def of_conversation(self, tx: Transaction, conversation_id: uuid.UUID) -> Sequence[Row[Any]]:
        """Shares that were not revoked, newest first."""
        mine = (_share.conversation_id == conversation_id, _share.revoked_at.is_(None))
        return await tx.rows(select(conversation_share).where(*mine).order_by(_share.id.desc()))

    async def people(self, tx: Transaction, share_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, list[uuid.UUID]]:
        found: dict[uuid.UUID, list[uuid.UUID]] = {}
        for row in await tx.rows(select(_person.share_id, _person.person_id).where(_person.share_id.in_(list(share_ids)))):
            found.setdefault(row.share_id, []).append(row.person_id)
        return found

    async def opened_by(self, tx: Transaction, token_hash: bytes, share_id: uuid.UUID | None) -> Row[Any] | None:
        """The share with this token, or this id, revoked or not."""
        which = _share.token_hash == token_hash if share_id is None else _share.id == share_id
        return await tx.row(select(conversation_share).where(which))

    async def names(self, tx: Transaction, share_id: uuid.UUID, person_id: uuid.UUID) -> bool:
        """Whether the share is for this person."""
        mine = (_person.share_id == share_id, _person.person_id == person_id)
        return await tx.scalar(select(_person.person_id).where(*mine)) is not None

    async def revoke(self, tx: Transaction, share_ids: Collection[uuid.UUID], at: datetime) -> None:
        await tx.execute(update(conversation_share).where(_share.id.in_(list(share_ids))).values(revoked_at=at))

    async def remove_person(self, tx: Transaction, share_ids: Collection[uuid.UUID], person_id: uuid.UUID) -> list[uuid.UUID]:
        """Take a person out of these shares; the shares it was in."""
        of_these = (_person.share_id.in_(list(share_ids)), _person.person_id == person_id)
        return [row.share_id for row in await tx.rows(delete(conversation_share_person).where(*of_these).returning(_person.share_id))]

    async def with_person(self, tx: Transaction, person_id: uuid.UUID, at: datetime, limit: int) -> Sequence[Row[Any]]:
        """Standing shares with a person, newest first, of conversations that are not deleted; `shown_title` as for `title_of`."""
        c = conversation.c
        shown_title = case((_share.message_id.is_(None), c.title), else_=_share.title).label("shown_title")
        columns = (conversation_share, shown_title, c.owner_id)
        joined = select(*columns).select_from(_people.join(conversation, c.id == _share.conversation_id))
        mine = (_person.person_id == person_id, standing(at), c.deleted_at.is_(None))
        return await tx.rows(joined.where(*mine).order_by(_share.id.desc()).limit(limit))

    async def patient_class(self, tx: Transaction, conversation_id: uuid.UUID) -> PatientClass:
        """`patient` when a message of the conversation is, else `undecided` when one is."""
        m = message.c
        found = {row.patient_class for row in await tx.rows(select(m.patient_class).where(m.conversation_id == conversation_id).distinct())}
        return "patient" if "patient" in found else "undecided" if "undecided" in found else "none"

    async def undecided(self, tx: Transaction, after: uuid.UUID, limit: int) -> Sequence[Row[Any]]:
        """Messages without a class, in the order of their ids."""
        m = message.c
        return await tx.rows(
            select(message).where(m.patient_class == "undecided", m.id > after).order_by(m.id).limit(limit).with_for_update()
        )

    async def decide(self, tx: Transaction, message_id: uuid.UUID, found: PatientClass) -> None:
        await tx.execute(update(message).where(message.c.id == message_id).values(patient_class=found))

    async def sealed(self, tx: Transaction, message_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, tuple[bytes, PatientClass]]:
        """Sealed bodies and classes of messages, for a copy of them."""
        m = message.c
        rows = await tx.rows(select(m.id, m.body, m.patient_class).where(m.id.in_(list(message_ids))))
        return {row.id: (bytes(row.body), row.patient_class) for row in rows}
