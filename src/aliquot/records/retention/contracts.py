"""Schedules and holds as others see them, and what a domain implements whose records are kept by them."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from aliquot.kernel.clock import Timestamp
from aliquot.ledger.contracts import RecordRef
from aliquot.platform.db import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long records of a kind are kept, counted from the moment that `since` names."""

    kind: str
    keep_days: int | None
    """None: for ever."""
    since: str
    fixed: bool
    """Nobody can change it."""
    archive: bool
    """Whether an archive is written, and verified, before records are deleted."""
    version: int
    changed_at: Timestamp | None
    changed_by: uuid.UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Keeps records beyond their time: all of a person, a conversation, or a kind made in a period (since <= made < until)."""

    id: uuid.UUID
    person_id: uuid.UUID | None
    conversation_id: uuid.UUID | None
    kind: str | None
    since: Timestamp | None
    until: Timestamp | None
    reason: str
    made_by: uuid.UUID
    made_at: Timestamp
    released_by: uuid.UUID | None
    released_at: Timestamp | None
    release_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHold:
    """A hold that is wanted; exactly one of person, conversation and kind."""

    person: str | None = None
    conversation_id: uuid.UUID | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Records that lie under a person's key and must be kept. `newest` is the moment the last one's time counts from."""

    kind: str
    count: int
    newest: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedPart:
    """A piece of a record as an archive holds it."""

    record: RecordRef
    subject: uuid.UUID
    """Under whose key it lies there: erasing them makes it unreadable."""
    content: Mapping[str, Any]
    """What is written as JSON; ids, times and amounts become texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An archive that was written before records were deleted."""

    id: uuid.UUID
    kind: str
    records: int
    bytes: int
    sha256: str
    """Of its signed document; the event `archive.written` names it."""
    made_at: Timestamp
    event_id: uuid.UUID


class RetainedKind(Protocol):
    """A domain with records under a schedule. Registered by bootstrap; it stands above records."""

    kind: str

    async def kept(self, tx: Transaction, subject: uuid.UUID, before: Mapping[str, datetime | None]) -> Sequence[Kept]:
        """What an erasure of the subject would destroy before its time: all counted from after `before[kind]` (None: everything)."""
        ...

    async def held(self, tx: Transaction, subject: uuid.UUID, holds: Sequence[Hold]) -> int:
        """How many records of the subject these holds (on conversations or kinds) keep."""
        ...

    async def due(self, tx: Transaction, limit: int) -> Sequence[uuid.UUID]:
        """Ids of at most `limit` records that are due and held by nothing, their rows locked. The database judges by
        `aliquot_retention_over`."""
        ...

    async def contents(self, tx: Transaction, ids: Sequence[uuid.UUID]) -> Sequence[ArchivedPart]:
        """What an archive holds of these records."""
        ...

    async def purge(self, tx: Transaction, ids: Sequence[uuid.UUID]) -> Sequence[RecordRef]:
        """Delete these records, which are due, with all that hangs on them. The database refuses anything else."""
        ...
