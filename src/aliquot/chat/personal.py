"""What the chat keeps about a person, for erasures and for the person's own export (`records.erasure`)."""

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, or_, select, update

from aliquot.chat.api import ChatApi
from aliquot.chat.attachments.tables import attachment
from aliquot.chat.export.portable import parents_first, portable
from aliquot.chat.feedback.store import FeedbackStore
from aliquot.chat.feedback.tables import feedback
from aliquot.chat.search.tables import message_index, title_index
from aliquot.chat.sharing.tables import conversation_share, conversation_share_person
from aliquot.chat.store import ChatStore
from aliquot.chat.tables import conversation, message, run
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Database, Transaction
from aliquot.platform.vault import Erased, Vault

_UNFINISHED = ("queued", "running")


class ChatPersonal:
    """See `records.erasure.contracts.PersonalData`."""

    name = "chat"

    def __init__(self, chat: ChatApi, db: Database, vault: Vault, ledger: LedgerApi, clock: Clock) -> None:
        self._db, self._ledger, self._clock, self._attachments = db, ledger, clock, chat.attachments.jobs
        self._chats, self._feedback, self._plans = ChatStore(vault), FeedbackStore(vault), chat.plans

    async def forget(self, tx: Transaction, subject: uuid.UUID) -> int:
        """Index entries, files, names of other clients for conversations, addresses, links for everybody; runs under way fail.
        Shares with named people stay: what those wrote themselves is theirs."""
        files = [row.id for row in await tx.rows(select(attachment.c.id).where(attachment.c.owner_id == subject))]
        await self._attachments.forget(tx, files)
        mine = select(conversation.c.id).where(conversation.c.owner_id == subject)
        at = self._clock.now()
        statements = (
            delete(message_index).where(or_(message_index.c.subject == subject, message_index.c.owner_id == subject)),
            delete(title_index).where(or_(title_index.c.subject == subject, title_index.c.conversation_id.in_(mine))),
            update(conversation).where(conversation.c.owner_id == subject).values(client_id_hash=None, client_id=None),
            update(run).where(run.c.person_id == subject, run.c.ip.is_not(None)).values(ip=None),
            update(conversation_share)
            .where(conversation_share.c.made_by == subject, conversation_share.c.public, conversation_share.c.revoked_at.is_(None))
            .values(revoked_at=at),
            delete(conversation_share_person).where(conversation_share_person.c.person_id == subject),
        )
        touched = [(await tx.execute(statement)).rowcount for statement in statements]
        return len(files) + sum(touched) + await self._fail_runs(tx, subject)

    async def _fail_runs(self, tx: Transaction, subject: uuid.UUID) -> int:
        stopped = (
            update(run)
            .where(run.c.person_id == subject, run.c.finished_at.is_(None), run.c.state.in_(_UNFINISHED))
            .values(state="failed", error_code=Erased.code, finished_at=self._clock.now(), lease_owner=None, lease_until=None)
            .returning(run.c.id)
        )
        rows = await tx.rows(stopped)
        events = [
            AuditEvent(
                action="run.failed", actor="system", on_behalf_of=str(subject), record=RecordRef(type="run", id=str(row.id)), run_id=row.id,
                outcome="failed", reason=Erased.code,
            )
            for row in rows
        ]  # fmt: skip
        await self._ledger.append_many(tx, events)
        return len(rows)

    async def mine(self, principal: Principal) -> AsyncIterator[tuple[str, Any]]:
        """Conversations I own (also deleted ones that are still kept), what I wrote in others, feedback, files."""
        c = conversation.c
        async with self._db.begin() as tx:
            owned = await tx.rows(select(c.id).where(c.owner_id == principal.id).order_by(c.id))
            files = await tx.rows(select(attachment).where(attachment.c.owner_id == principal.id).order_by(attachment.c.id))
            given = await tx.rows(select(feedback).where(feedback.c.person_id == principal.id).order_by(feedback.c.id))
        yield "feedback.json", [asdict(self._feedback.view(row)) for row in given]
        yield "attachments.json", [{"id": r.id, "state": r.state, "size": r.size, "created_at": r.created_at} for r in files]
        yield "plans.json", [plan async for plan in self._plans_of(principal)]
        for row in owned:
            async with self._db.begin() as tx:
                found = await tx.row(select(conversation).where(c.id == row.id))
                messages = await tx.rows(select(message).where(message.c.conversation_id == row.id))
            if found is not None:
                yield f"conversations/{row.id}.json", self._conversation(found, messages)
        elsewhere = message.join(conversation, c.id == message.c.conversation_id)
        async with self._db.begin() as tx:
            wrote = await tx.rows(
                select(message).select_from(elsewhere).where(message.c.author_id == principal.id, c.owner_id != principal.id)
            )
        yield "messages_in_other_conversations.json", [self._message(row) for row in wrote]

    async def _plans_of(self, principal: Principal) -> AsyncIterator[dict[str, Any]]:
        """Plans I asked for, with their steps and how these ended."""
        after: uuid.UUID | None = None
        while True:
            async with self._db.begin() as tx:
                plans, after = await self._plans.page(tx, principal, state=None, limit=100, after=after)
            for plan in plans:
                if plan.requester_id == principal.id:
                    yield asdict(plan)
            if after is None:
                return

    def _conversation(self, row: Any, messages: Sequence[Any]) -> dict[str, Any]:
        opened = asdict(self._chats.open_conversation(row)) | {"deleted_at": row.deleted_at}
        return opened | {"messages": [portable(m, None) for m in parents_first([self._chats.open_message(r) for r in messages])]}

    def _message(self, row: Any) -> dict[str, Any]:
        return portable(self._chats.open_message(row), None) | {"conversation_id": row.conversation_id}
