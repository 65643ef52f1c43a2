"""What others see of feedback."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from aliquot.kernel.clock import Timestamp

RATINGS = ("up", "down", "1", "2", "3", "4", "5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What one person thinks of one answer. `rating` is `up`, `down` or a number from 1 to 5; `comment` is None when there is none, or
    when it was erased."""

    id: uuid.UUID
    message_id: uuid.UUID
    conversation_id: uuid.UUID
    run_id: uuid.UUID | None
    person_id: uuid.UUID
    rating: str | int
    comment: str | None
    created_at: Timestamp
    updated_at: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackFilter:
    """Which feedback; None does not restrict. `since` <= time it was first given < `until`."""

    rating: str | None = None
    person_id: uuid.UUID | None = None
    message_id: uuid.UUID | None = None
    commented: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
