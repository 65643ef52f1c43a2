"""Conversations under retention (`records.retention`): deleted by their owner, then purged with all that hangs on them."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, func, or_, select

from aliquot.chat.api import ChatApi
from aliquot.chat.archived import ArchivedConversations
from aliquot.chat.export.tables import export_delivery
from aliquot.chat.sharing.tables import conversation_share, conversation_share_person
from aliquot.chat.tables import conversation, message, run, run_event, run_step
from aliquot.kernel.clock import Clock
from aliquot.ledger.contracts import RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Vault
from aliquot.records.retention.contracts import ArchivedPart, Hold, Kept
from aliquot.tools.api import ToolsApi

_c = conversation.c


class RetainedConversations:
    """See `records.retention.contracts.RetainedKind`."""

    kind = "conversation"

    def __init__(self, chat: ChatApi, tools: ToolsApi, clock: Clock, settings: Settings, vault: Vault) -> None:
        self._archived = ArchivedConversations(vault, chat.attachments.storage)
        self._files, self._plans, self._tools, self._clock = chat.attachments.files, chat.plans, tools, clock
        self._restorable = timedelta(days=settings.limits.restore_days)

    async def kept(self, tx: Transaction, subject: uuid.UUID, before: Mapping[str, datetime | None]) -> Sequence[Kept]:
        moment = func.coalesce(_c.last_message_at, _c.created_at)
        start = before[self.kind]
        wanted = _of(subject) if start is None else and_(_of(subject), moment > start)
        row = await tx.row(select(func.count().label("n"), func.max(moment).label("newest")).where(wanted))
        return [] if row is None else [Kept(kind=self.kind, count=row.n, newest=row.newest)]

    async def held(self, tx: Transaction, subject: uuid.UUID, holds: Sequence[Hold]) -> int:
        named = [hold.conversation_id for hold in holds if hold.conversation_id is not None]
        kinds = [_made_in(hold) for hold in holds if hold.kind == self.kind]
        return int(await tx.scalar(select(func.count()).select_from(conversation).where(_of(subject), or_(_c.id.in_(named), *kinds))))

    async def due(self, tx: Transaction, limit: int) -> Sequence[uuid.UUID]:
        old = and_(_c.deleted_at <= self._clock.now() - self._restorable, func.aliquot_conversation_over(_c.id))
        rows = await tx.rows(select(_c.id).where(old).order_by(_c.id).limit(limit).with_for_update(skip_locked=True))
        return [row.id for row in rows]

    async def contents(self, tx: Transaction, ids: Sequence[uuid.UUID]) -> Sequence[ArchivedPart]:
        """Titles, messages of every branch with what they carry, runs, plans, and attached files. Runs are named so that their events come
        too."""
        return await self._archived.parts(tx, ids)

    async def purge(self, tx: Transaction, ids: Sequence[uuid.UUID]) -> Sequence[RecordRef]:
        """In the order of what hangs on what; files that no other message names go with their messages."""
        runs = [row.id for row in await tx.rows(select(run.c.id).where(run.c.conversation_id.in_(ids)))]
        messages = [row.id for row in await tx.rows(select(message.c.id).where(message.c.conversation_id.in_(ids)))]
        await self._files.forget_messages(tx, messages)
        await self._tools.purge(tx, runs)
        plans = await self._plans.purge(tx, ids)
        shares = select(conversation_share.c.id).where(conversation_share.c.conversation_id.in_(ids))
        for statement in (
            delete(conversation_share_person).where(conversation_share_person.c.share_id.in_(shares)),
            delete(conversation_share).where(conversation_share.c.conversation_id.in_(ids)),
            delete(export_delivery).where(export_delivery.c.conversation_id.in_(ids)),
            delete(run_event).where(run_event.c.run_id.in_(runs)),
            delete(run_step).where(run_step.c.run_id.in_(runs)),
            delete(message).where(message.c.conversation_id.in_(ids)),
            delete(run).where(run.c.id.in_(runs)),
            delete(conversation).where(_c.id.in_(ids)),
        ):
            await tx.execute(statement)
        gone = {"plan": plans, "run": runs, "conversation": ids}
        return [RecordRef(type=kind, id=str(one)) for kind, all_of in gone.items() for one in all_of]


def _of(subject: uuid.UUID) -> ColumnElement[bool]:
    """Conversations with words of the subject."""
    return or_(_c.owner_id == subject, _c.id.in_(select(message.c.conversation_id).where(message.c.author_id == subject)))


def _made_in(hold: Hold) -> ColumnElement[bool]:
    since = _c.created_at >= hold.since if hold.since is not None else _c.id.is_not(None)
    return and_(since, _c.created_at < hold.until) if hold.until is not None else since
