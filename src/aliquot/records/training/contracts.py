"""What others see of training records."""

import uuid
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol

from aliquot.kernel.clock import Timestamp
from aliquot.platform.db import Transaction

TrainingKind = Literal["tool", "protocol", "instrument", "topic"]
CODE_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What a training is about: the name of a tool, the printed code of a protocol or instrument, or a topic's code of the site's own."""


def training_key(kind: str, code: str) -> str:
    """`protocol:pcr-std-35`: printed codes are compared without regard to case, as the laboratory does."""
    return f"{kind}:{code.strip().casefold()}"


class Trainings(Protocol):
    """Tells which trainings of a person are in date today: keys as `training_key` makes them."""

    def __call__(self, tx: Transaction, person_id: uuid.UUID) -> Awaitable[frozenset[str]]: ...


class Subjects(Protocol):
    """Tells whether the site has the tool, protocol or instrument of this code. Comes from bootstrap: they stand above records."""

    def __call__(self, tx: Transaction, kind: TrainingKind, code: str) -> Awaitable[bool]: ...


async def no_subjects(tx: Transaction, kind: TrainingKind, code: str) -> bool:
    """Where nothing is known nobody can be trained in it."""
    return False


async def nobody_trained(tx: Transaction, person_id: uuid.UUID) -> frozenset[str]:
    """Where no records are kept nothing is in date."""
    return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTraining:
    """What an administrator records."""

    kind: TrainingKind
    code: str
    completed_on: date
    valid_until: date | None
    """The last day on which it counts, by the site's clocks; None: it does not run out."""
    trainer: str | None
    """Who gave the training."""
    evidence: str | None
    """Where its evidence lies: the number of a certificate, of a document, of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRevocation:
    by: uuid.UUID
    at: Timestamp
    reason: str | None
    """None once the person was erased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One version of a person's training in one thing."""

    id: uuid.UUID
    person_id: uuid.UUID
    kind: TrainingKind
    code: str
    version: int
    completed_on: date
    valid_until: date | None
    trainer: str | None
    evidence: str | None
    recorded_by: uuid.UUID
    recorded_at: Timestamp
    state: Literal["valid", "expired", "revoked", "superseded"]
    """Only the newest version counts. When it is revoked nothing does, until the training is recorded anew."""
    revocation: TrainingRevocation | None = None
