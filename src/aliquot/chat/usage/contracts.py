"""What others see of the use of the chat."""

import uuid
from dataclasses import dataclass

from aliquot.kernel.clock import Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCount:
    """Runs of a period that share kind, state and dashboard."""

    kind: str
    state: str
    dashboard: str | None
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowRun:
    """A run and how long it took, or has taken so far. Whose it was and what it said is not told."""

    run_id: uuid.UUID
    kind: str
    state: str
    model: str | None
    started_at: Timestamp
    duration_ms: int
    steps: int
    error_code: str | None
