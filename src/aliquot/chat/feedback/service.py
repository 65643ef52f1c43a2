"""Feedback on answers: given, changed and withdrawn by people who may read them; read and exported by administrators."""

import csv
import io
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Literal

from aliquot.chat.conversations import Conversations
from aliquot.chat.errors import UnknownConversation
from aliquot.chat.feedback.contracts import Feedback, FeedbackFilter
from aliquot.chat.feedback.errors import NoFeedback, NotAnAnswer, UnknownMessage
from aliquot.chat.feedback.store import FeedbackStore
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock, rfc3339
from aliquot.kernel.problems import InvalidInput
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Database, Transaction
from aliquot.platform.limits import Limiter
from aliquot.platform.settings import Limits

ExportFormat = Literal["jsonl", "csv"]
FlagBad = Callable[[Transaction, Principal, uuid.UUID, str | None], Awaitable[None]]

_PAGE = 500
_BAD = ("down", "1", "2")
_COLUMNS = ("id", "message_id", "conversation_id", "run_id", "person_id", "rating", "comment", "created_at", "updated_at")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # what spreadsheets take for a formula, wide forms too


class FeedbackService:
    """One rating per person and answer."""

    def __init__(
        self,
        store: FeedbackStore,
        conversations: Conversations,
        db: Database,
        ledger: LedgerApi,
        limiter: Limiter,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._store, self._conversations, self._db, self._ledger = store, conversations, db, ledger
        self._limiter, self._limits, self._clock = limiter, limits, clock
        self.flag_bad: FlagBad | None = None
        """Set by bootstrap where a bad rating puts an answer into the review queue."""

    async def give(
        self, tx: Transaction, principal: Principal, message_id: uuid.UUID, rating: str, comment: str | None
    ) -> tuple[Feedback, bool]:
        """Rate an answer, or rate it anew; the second value is True the first time. Raises UnknownMessage, NotAnAnswer, RateLimited."""
        await self._limiter.hit(tx, f"feedback:{principal.id}", self._limits.feedback_per_minute, 60)
        comment = (comment or "").strip() or None
        if comment is not None and len(comment) > self._limits.feedback_comment_chars:
            raise InvalidInput(f"comment: at most {self._limits.feedback_comment_chars:,} characters")
        row = await self._store.message(tx, message_id)
        if row is None:
            raise UnknownMessage
        try:
            await self._conversations.by_id(tx, principal, row.conversation_id, "read")
        except UnknownConversation:
            raise UnknownMessage from None
        if row.role != "assistant":
            raise NotAnAnswer
        given, first = await self._store.put(tx, principal.id, message_id, row, rating, comment, self._clock.now())
        content = {"rating": rating.encode()} | ({"comment": comment.encode()} if comment else {})
        await self._audit(tx, principal, "feedback.given" if first else "feedback.changed", str(given.id), content)
        if self.flag_bad is not None and rating in _BAD:
            await self.flag_bad(tx, principal, message_id, comment)
        return given, first

    async def mine(self, tx: Transaction, principal: Principal, message_id: uuid.UUID) -> Feedback:
        """What this person said of an answer. Raises NoFeedback."""
        found = await self._store.get(tx, principal.id, message_id)
        if found is None:
            raise NoFeedback
        return found

    async def withdraw(self, tx: Transaction, principal: Principal, message_id: uuid.UUID) -> None:
        """Take one's own feedback back. Raises NoFeedback."""
        feedback_id = await self._store.withdraw(tx, principal.id, message_id)
        if feedback_id is None:
            raise NoFeedback
        await self._audit(tx, principal, "feedback.withdrawn", str(feedback_id))

    async def page(
        self, tx: Transaction, principal: Principal, wanted: FeedbackFilter, limit: int, after: tuple[datetime, uuid.UUID] | None
    ) -> Sequence[Feedback]:
        """Everybody's feedback, newest first, for administrators. Reading people's comments is itself on the record."""
        await self._audit(tx, principal, "feedback.read", "list")
        return await self._store.page(tx, wanted, limit, after)

    async def export(self, principal: Principal, wanted: FeedbackFilter, form: ExportFormat) -> AsyncIterator[bytes]:
        """All of it as JSON lines or CSV, at most `feedback_export_rows`, in pieces of one short transaction each."""
        async with self._db.begin() as tx:
            await self._audit(tx, principal, "feedback.exported", form)
        return self._pieces(wanted, form)

    async def _pieces(self, wanted: FeedbackFilter, form: ExportFormat) -> AsyncIterator[bytes]:
        if form == "csv":
            yield _csv([_COLUMNS])
        after, left = None, self._limits.feedback_export_rows
        while left > 0:
            async with self._db.begin() as tx:
                items = await self._store.page(tx, wanted, min(left, _PAGE), after)
            if not items:
                return
            rows = [_row(item) for item in items]
            yield _csv([[_cell(row[name]) for name in _COLUMNS] for row in rows]) if form == "csv" else _lines(rows)
            after, left = (items[-1].created_at, items[-1].id), left - len(items)

    async def _audit(
        self, tx: Transaction, principal: Principal, action: str, record: str, content: dict[str, bytes] | None = None
    ) -> None:
        await self._ledger.append(
            tx,
            AuditEvent(
                action=action, actor=str(principal.id), via=principal.via, ip=principal.ip, content=content or {}, subject=principal.id,
                record=RecordRef(type="feedback", id=record),
            ),
        )  # fmt: skip


def _row(item: Feedback) -> dict[str, str | int | None]:
    ids = {name: str(value) if (value := getattr(item, name)) is not None else None for name in _COLUMNS[:5]}
    times = {"created_at": rfc3339(item.created_at), "updated_at": rfc3339(item.updated_at)}
    return {**ids, "rating": item.rating, "comment": item.comment, **times}


def _lines(rows: list[dict[str, str | int | None]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _cell(value: str | int | None) -> str | int:
    """A cell that no spreadsheet takes for a formula: an apostrophe in front makes it text (OWASP, CSV injection)."""
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA):
        return "'" + value
    return "" if value is None else value


def _csv(rows: Sequence[Sequence[str | int]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
