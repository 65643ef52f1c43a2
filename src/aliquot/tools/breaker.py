"""One circuit breaker per tool and process: three failures in a row stop calls for 30 s, then one call tries."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from aliquot.kernel.clock import Clock

FAILURES = 3
OPEN_SECONDS = 30


@dataclass(slots=True)
class _State:
    failures: int = 0
    retry_at: datetime | None = None


class Breakers:
    """Counts failed calls, not failed attempts; an expected refusal of the tool (unknown code, …) is no failure."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._states: dict[str, _State] = {}

    def admit(self, tool: str) -> bool:
        """Whether `tool` may be called now. When the wait is over, exactly one caller is let through until it reports."""
        state = self._states.setdefault(tool, _State())
        if state.failures < FAILURES:
            return True
        now = self._clock.now()
        if state.retry_at is not None and now < state.retry_at:
            return False
        # A trial that never reports (its task died) frees the place after the same wait.
        state.retry_at = now + timedelta(seconds=OPEN_SECONDS)
        return True

    def succeeded(self, tool: str) -> None:
        self._states[tool] = _State()

    def failed(self, tool: str) -> None:
        state = self._states.setdefault(tool, _State())
        state.failures += 1
        if state.failures >= FAILURES:
            state.retry_at = self._clock.now() + timedelta(seconds=OPEN_SECONDS)
