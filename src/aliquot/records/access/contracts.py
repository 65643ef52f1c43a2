"""What is recorded of reads of patient data, and emergency access."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol

from aliquot.kernel.clock import Timestamp
from aliquot.platform.db import Transaction

Way = Literal["read", "search", "export", "share", "context"]
"""How it was seen: a list of messages, hits of a search, an exported file, a shared link, or given to a model as context."""
Verdict = Literal["justified", "unjustified"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Patient data that one request gave to somebody."""

    conversation_ids: tuple[uuid.UUID, ...]
    message_ids: tuple[uuid.UUID, ...]
    subjects: tuple[uuid.UUID, ...]
    """Under whose keys the messages lie: the patients, else the authors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientRead:
    """One read as reported. The event `patient.read` holds the SHA-256 of these ids."""

    event_id: uuid.UUID
    at: Timestamp
    person_id: uuid.UUID
    name: str
    way: str
    conversation_ids: list[uuid.UUID]
    message_ids: list[uuid.UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakGlass:
    """Access to a conversation that somebody took in an emergency, and what a reviewer said of it."""

    id: uuid.UUID
    person_id: uuid.UUID
    conversation_id: uuid.UUID
    reason: str
    granted_at: Timestamp
    expires_at: Timestamp
    event_id: uuid.UUID
    verdict: Verdict | None
    note: str | None
    reviewed_by: uuid.UUID | None
    reviewed_at: Timestamp | None


class EmergencyRecords(Protocol):
    """The domain whose records can be opened in an emergency."""

    async def exists(self, tx: Transaction, conversation_id: uuid.UUID) -> bool: ...

    async def patient_data(self, tx: Transaction, message_ids: Collection[uuid.UUID]) -> Seen | None:
        """Which of these messages are, or may be, patient data; None when none is."""
        ...
