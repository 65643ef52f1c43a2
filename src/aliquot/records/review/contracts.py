"""What others see of the review queue, and what it needs of messages."""

import uuid
from dataclasses import dataclass, field
from typing import Literal, Protocol

from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Timestamp
from aliquot.platform.db import Transaction

Reason = Literal["wrong", "unsafe", "citation", "privacy", "policy", "other"]
DecisionWord = Literal["upheld", "dismissed", "corrected"]
State = Literal["open", "upheld", "dismissed", "corrected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """An answer as the queue must know it."""

    message_id: uuid.UUID
    subject: uuid.UUID
    """Whose key the answer lies under; what is said of it lies there too."""
    asked_by: frozenset[uuid.UUID]
    """Owner of the conversation and author of the question: they do not judge their own answer."""
    patient: bool
    """It holds, or may hold, data of a patient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a reviewer reads."""

    question: str | None = field(repr=False)
    answer: str | None = field(repr=False)
    """None when its author was erased."""


class Messages(Protocol):
    """Where answers come from. Registered by bootstrap; its domain stands above records."""

    async def readable(self, tx: Transaction, principal: Principal, message_id: uuid.UUID) -> Reviewed:
        """An answer this person may read. Raises NotFound; InvalidInput for what is no answer."""
        ...

    async def known(self, tx: Transaction, message_id: uuid.UUID) -> Reviewed | None:
        """An answer, whoever may read it; None when it is gone."""
        ...

    async def contents(self, tx: Transaction, principal: Principal, message_id: uuid.UUID) -> Contents:
        """Question and answer, for a reviewer. Raises NotFound, Forbidden (what the conversation used is closed to them)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """Somebody or something thinks that an answer should be looked at."""

    id: uuid.UUID
    source: str
    """`person`, `feedback` (a bad rating) or `check:<name>`."""
    person_id: uuid.UUID | None
    reason: str
    comment: str | None
    """None when none was given or its writer was erased."""
    created_at: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Flagged:
    """What a person who flagged is told."""

    item_id: uuid.UUID
    message_id: uuid.UUID
    state: State
    flag: Flag


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a reviewer found. The message itself stays as it was."""

    decision: DecisionWord
    comment: str | None
    correction: str | None
    decided_by: uuid.UUID
    decided_by_name: str
    decided_at: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An answer in the queue."""

    id: uuid.UUID
    message_id: uuid.UUID
    state: State
    created_at: Timestamp
    flags: tuple[Flag, ...]
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedItem:
    """An item with what it is about."""

    item: Item
    contents: Contents | None
    withheld: Literal["patient", "permission", "gone"] | None = None
    """Why the contents are not shown to this reviewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReview:
    """What the readers of an answer see of its review."""

    message_id: uuid.UUID
    state: Literal["none", "open", "upheld", "dismissed", "corrected"]
    """Of the newest round."""
    flags: int
    outcomes: tuple[Outcome, ...]
    """Newest first."""
