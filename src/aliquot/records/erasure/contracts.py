"""What domains implement to be reached by an erasure and an export, and what others see of erasures."""

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Timestamp
from aliquot.platform.db import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why somebody cannot be erased now."""

    because: Literal["retention", "hold"]
    kind: str
    """Of the records that must be kept; `person` for a hold on all of them."""
    count: int
    until: Timestamp | None
    """When the last of them may go; None: not known, or never."""


class Obstacles(Protocol):
    """Knows duties to keep what an erasure would destroy."""

    async def obstacles(self, tx: Transaction, subject: uuid.UUID) -> Sequence[Obstacle]: ...


class PersonalData(Protocol):
    """A domain that keeps something about people. Registered by bootstrap; the domain stands above records."""

    name: str

    async def forget(self, tx: Transaction, subject: uuid.UUID) -> int:
        """Delete what is in clear about the subject, whose key is gone already; how many rows. Repeating it does nothing."""
        ...

    def mine(self, principal: Principal) -> AsyncIterator[tuple[str, Any]]:
        """Everything about this person: names of files and what they hold as JSON. Opens transactions of its own."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """One erasure and its proof."""

    id: uuid.UUID
    subject: uuid.UUID
    ordered_by: uuid.UUID
    reason: str
    ordered_at: Timestamp
    state: Literal["ordered", "done"]
    key_id: str
    """Of the key that was destroyed, as events name it."""
    done_at: Timestamp | None
    event_id: uuid.UUID | None
    """The event `subject.erased`: its inclusion proof is at `/api/audit/proof/{event_id}` once it is final."""
    removed: dict[str, int]
    """What was in clear and is gone, per domain."""
    final: bool
    """A signed checkpoint covers the event."""
