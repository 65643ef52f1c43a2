"""How Aliquot talks to an instrument: the Driver protocol. One module per kind of driver.

A driver keeps no memory between calls: what it must remember about a run is its `Handle`, which the laboratory stores with
the run and hands back. So a restart loses nothing, and any process can ask.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from aliquot.lab.contracts import Result, RunState, Setting

Handle = dict[str, Any]
"""JSON that belongs to the driver: a schedule, or the number the device gave the job."""


class DriverError(Exception):
    """The device refused, failed or did not answer. The text is for the log and holds nothing personal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What the device is told."""

    run_id: str
    instrument: str
    kind: str
    protocol: str
    protocol_version: int
    warm_up_seconds: int
    run_seconds: int
    """The protocol's own time, before the driver's speed."""
    samples: tuple[str, ...]
    parameters: Mapping[str, float]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """The instrument's, as its driver checked them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """How a run stands at one moment."""

    state: RunState
    since: datetime
    progress: float
    ends_at: datetime | None
    """Expected, or actual once it is over; None while paused."""
    remaining_seconds: float | None
    free_at: datetime | None = None
    """When the device has cooled down after the end and is idle again."""
    error_code: str | None = None


class Driver(Protocol):
    """Every call may be repeated after a crash. `at` is the time of the laboratory's clock at the call."""

    simulated: bool

    def checked(self, settings: Mapping[str, Setting]) -> dict[str, Setting]:
        """The settings of an instrument, if this driver understands all of them. Raises ValueError with a sentence for a person."""
        ...

    async def estimate(self, spec: RunSpec) -> tuple[float, float]:
        """Expected seconds on the wall clock of warm-up and run. Touches nothing."""
        ...

    async def start(self, spec: RunSpec, *, idempotency_key: str, at: datetime) -> Handle:
        """Start. A second call with the same key gives the same run, never another one. Raises DriverError."""
        ...

    async def observe(self, handle: Handle, *, at: datetime) -> Observation:
        """How the run stands. Raises DriverError when the device does not answer."""
        ...

    async def pause(self, handle: Handle, *, at: datetime) -> Handle: ...

    async def resume(self, handle: Handle, *, at: datetime) -> Handle: ...

    async def stop(self, handle: Handle, *, at: datetime) -> None:
        """Abort now. Harmless when the run is already over."""
        ...

    async def results(self, spec: RunSpec, handle: Handle) -> tuple[Result, ...]:
        """The measured values of a finished run."""
        ...
