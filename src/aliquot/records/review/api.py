"""The door to the review queue."""

import uuid
from collections.abc import Sequence
from typing import Any, Literal, cast

from sqlalchemy import Row

from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import Forbidden, InvalidInput, NotFound
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.limits import Limiter
from aliquot.platform.settings import Limits
from aliquot.platform.vault import Damaged, Erased, Vault
from aliquot.records.review import store
from aliquot.records.review.contracts import (
    Contents,
    DecisionWord,
    Flag,
    Flagged,
    Item,
    MessageReview,
    Messages,
    OpenedItem,
    Outcome,
    Reason,
    Reviewed,
    State,
)
from aliquot.records.review.errors import (
    AlreadyFlagged,
    CorrectionMismatch,
    NotReadable,
    ReviewDecided,
    SelfReview,
    UnknownItem,
)

_PATIENTS = "clinical.read"
_Withheld = Literal["patient", "permission", "gone"]


class ReviewApi:
    """Flags on answers, and what reviewers decide about them. Registering `messages` is bootstrap's."""

    def __init__(
        self, *, identity: IdentityApi, ledger: LedgerApi, vault: Vault, limiter: Limiter, clock: Clock, limits: Limits
    ) -> None:  # fmt: skip
        self._identity, self._ledger, self._vault, self._limiter, self._clock = identity, ledger, vault, limiter, clock
        self._limits = limits
        self.messages: Messages

    # Flagging

    async def flag(self, tx: Transaction, principal: Principal, message_id: uuid.UUID, reason: Reason, comment: str | None) -> Flagged:
        """Flag an answer one may read. Raises NotFound, InvalidInput, RateLimited, AlreadyFlagged."""
        await self._limiter.hit(tx, f"review:{principal.id}", self._limits.review_flags_per_minute, 60)
        comment = self._checked("comment", comment)
        about = await self.messages.readable(tx, principal, message_id)
        return await self._flag(tx, about, "person", principal, reason, comment)

    async def flag_for_feedback(self, tx: Transaction, principal: Principal, message_id: uuid.UUID, comment: str | None) -> None:
        """Somebody rated an answer as bad. Flagging it twice changes nothing. Raises NotFound."""
        about = await self.messages.readable(tx, principal, message_id)
        try:
            await self._flag(tx, about, "feedback", principal, "other", comment)
        except AlreadyFlagged:
            return

    async def flag_by_check(self, tx: Transaction, check: str, message_id: uuid.UUID, reason: Reason, comment: str | None = None) -> None:
        """A check inside the product found something. Repeating it changes nothing; nothing happens when the answer is gone."""
        about = await self.messages.known(tx, message_id)
        if about is None:
            return
        try:
            await self._flag(tx, about, f"check:{check}", None, reason, comment)
        except AlreadyFlagged:
            return

    async def flagged(self, tx: Transaction, principal: Principal, flag_id: uuid.UUID) -> Flagged:
        """What was answered to a flag of this person. Raises UnknownItem."""
        row = await store.flag(tx, flag_id)
        found = None if row is None or row.person_id != principal.id else await store.item(tx, row.item_id)
        if row is None or found is None:
            raise UnknownItem
        return Flagged(item_id=found.id, message_id=found.message_id, state=found.state, flag=self._shown_flag(row))

    async def of_message(self, tx: Transaction, principal: Principal, message_id: uuid.UUID) -> MessageReview:
        """What its readers see of the review of an answer: that it was flagged, and what was found; not by whom, nor their words.

        Raises NotFound, InvalidInput.
        """
        about = await self.messages.readable(tx, principal, message_id)
        rows = await store.items_of_message(tx, about.message_id)
        given = await store.flags(tx, [row.id for row in rows]) if rows else ()
        outcomes = [found for row in rows if (found := await self._outcome(tx, row)) is not None]
        return MessageReview(
            message_id=about.message_id, state=rows[0].state if rows else "none", flags=len(given), outcomes=tuple(outcomes)
        )  # fmt: skip

    # Reviewing

    async def page(
        self, tx: Transaction, principal: Principal, *, state: State | None, reason: Reason | None, limit: int, after: uuid.UUID | None
    ) -> list[Item]:
        """The queue, oldest first. Reading people's comments is itself on the record."""
        rows = await store.page(tx, state=state, reason=reason, limit=limit, after=after)
        await self._audit(tx, principal, "review.read", "list", None)
        return await self._items(tx, rows)

    async def opened(self, tx: Transaction, principal: Principal, item_id: uuid.UUID) -> OpenedItem:
        """An item with question and answer. Raises UnknownItem."""
        row = await store.item(tx, item_id)
        if row is None:
            raise UnknownItem
        contents, withheld = await self._contents(tx, principal, row.message_id)
        await self._audit(tx, principal, "review.opened", str(item_id), f"message:{row.message_id}" + (f" {withheld}" if withheld else ""))
        return OpenedItem(item=(await self._items(tx, [row]))[0], contents=contents, withheld=withheld)

    async def item(self, tx: Transaction, item_id: uuid.UUID) -> Item:
        """Raises UnknownItem."""
        row = await store.item(tx, item_id)
        if row is None:
            raise UnknownItem
        return (await self._items(tx, [row]))[0]

    async def decide(
        self,
        tx: Transaction,
        principal: Principal,
        item_id: uuid.UUID,
        decision: DecisionWord,
        *,
        comment: str | None,
        correction: str | None,
    ) -> Item:
        """Decide an item, once. Raises UnknownItem, ReviewDecided, SelfReview, NotReadable, CorrectionMismatch, InvalidInput."""
        comment, correction = self._checked("comment", comment), self._checked("correction", correction)
        if (decision == "corrected") != (correction is not None):
            raise CorrectionMismatch
        row = await store.item(tx, item_id, lock=True)
        if row is None:
            raise UnknownItem
        if row.state != "open":
            raise ReviewDecided
        _, withheld = await self._contents(tx, principal, row.message_id)
        about = None if withheld else await self.messages.known(tx, row.message_id)
        if about is None:
            raise NotReadable(withheld=withheld or "gone")
        given = await store.flags(tx, [item_id])
        if principal.id in about.asked_by or any(flag.person_id == principal.id for flag in given):
            raise SelfReview
        values = {
            "state": decision, "decided_at": self._clock.now(), "decided_by": principal.id,
            "comment": self._sealed(about.subject, comment, _aad("comment", item_id)),
            "correction": self._sealed(about.subject, correction, _aad("correction", item_id)),
        }  # fmt: skip
        decided = await store.decide(tx, item_id, values)
        content = {name: text.encode() for name, text in (("comment", comment), ("correction", correction)) if text is not None}
        await self._audit(
            tx, principal, "review.decided", str(item_id), f"message:{row.message_id} {decision}", content=content, subject=about.subject
        )  # fmt: skip
        return (await self._items(tx, [decided]))[0]

    # Inside

    async def _flag(
        self, tx: Transaction, about: Reviewed, source: str, principal: Principal | None, reason: Reason, comment: str | None
    ) -> Flagged:
        now, flag_id = self._clock.now(), new_id()
        item = await store.open_item(tx, {"id": new_id(), "message_id": about.message_id, "state": "open", "created_at": now})
        subject = about.subject if principal is None else principal.id
        values = {
            "id": flag_id, "item_id": item.id, "source": source, "person_id": None if principal is None else principal.id, "reason": reason,
            "comment": self._sealed(subject, comment, _aad("flag", flag_id)), "created_at": now,
        }  # fmt: skip
        if not await store.insert_flag(tx, values):
            raise AlreadyFlagged
        content = {} if comment is None else {"comment": comment.encode()}
        told = f"message:{about.message_id} {source} {reason}"
        await self._audit(tx, principal, "review.flagged", str(item.id), told, content=content, subject=subject)
        shown = Flag(id=flag_id, source=source, person_id=values["person_id"], reason=reason, comment=comment, created_at=now)
        return Flagged(item_id=item.id, message_id=about.message_id, state="open", flag=shown)

    async def _contents(
        self, tx: Transaction, principal: Principal, message_id: uuid.UUID
    ) -> tuple[Contents | None, _Withheld | None]:  # fmt: skip
        """What this reviewer may read, or why not: data of patients is for those who may read it, and so is what tools gave."""
        about = await self.messages.known(tx, message_id)
        if about is None:
            return None, "gone"
        if about.patient and not principal.may(_PATIENTS):
            return None, "patient"
        try:
            return await self.messages.contents(tx, principal, message_id), None
        except Forbidden:
            return None, "permission"
        except NotFound:
            return None, "gone"

    async def _items(self, tx: Transaction, rows: Sequence[Row[Any]]) -> list[Item]:
        given: dict[uuid.UUID, list[Flag]] = {row.id: [] for row in rows}
        for flag in await store.flags(tx, list(given)) if given else ():
            given[flag.item_id].append(self._shown_flag(flag))
        return [
            Item(
                id=row.id, message_id=row.message_id, state=row.state, created_at=row.created_at, flags=tuple(given[row.id]),
                outcome=await self._outcome(tx, row),
            )
            for row in rows
        ]  # fmt: skip

    async def _outcome(self, tx: Transaction, row: Row[Any]) -> Outcome | None:
        if row.state == "open":
            return None
        names = await self._identity.names(tx, [row.decided_by])
        return Outcome(
            decision=cast(DecisionWord, row.state), decided_by=row.decided_by, decided_by_name=names.get(row.decided_by, ""),
            decided_at=row.decided_at, comment=self._opened(row.comment, _aad("comment", row.id)),
            correction=self._opened(row.correction, _aad("correction", row.id)),
        )  # fmt: skip

    def _shown_flag(self, row: Row[Any]) -> Flag:
        return Flag(
            id=row.id, source=row.source, person_id=row.person_id, reason=row.reason, created_at=row.created_at,
            comment=self._opened(row.comment, _aad("flag", row.id)),
        )  # fmt: skip

    def _checked(self, name: str, text: str | None) -> str | None:
        text = (text or "").strip() or None
        if text is not None and len(text) > self._limits.review_comment_chars:
            raise InvalidInput(f"{name}: at most {self._limits.review_comment_chars:,} characters")
        return text

    def _sealed(self, subject: uuid.UUID, text: str | None, aad: str) -> bytes | None:
        return None if text is None else self._vault.seal(subject, text.encode(), aad=aad)

    def _opened(self, sealed: bytes | None, aad: str) -> str | None:
        try:
            return None if sealed is None else self._vault.open(bytes(sealed), aad=aad).decode()
        except (Erased, Damaged):  # one person's erasure must not close the queue
            return None

    async def _audit(
        self, tx: Transaction, principal: Principal | None, action: str, record: str, reason: str | None, *,
        content: dict[str, bytes] | None = None, subject: uuid.UUID | None = None,
    ) -> None:  # fmt: skip
        who: dict[str, Any] = {"actor": "system"}
        if principal is not None:
            who = {"actor": str(principal.id), "via": principal.via, "ip": principal.ip}
        event = AuditEvent(
            action=action, record=RecordRef(type="review", id=record), reason=reason, content=content or {}, subject=subject, **who
        )  # fmt: skip
        await self._ledger.append(tx, event)


def _aad(what: str, row_id: uuid.UUID) -> str:
    return f"review.{what}:{row_id}"
