"""What other domains see of the laboratory: instruments, protocols, instrument runs, and what would happen on a start or stop."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Timestamp

InstrumentState = Literal["idle", "warming_up", "running", "paused", "done", "error", "offline"]
RunState = Literal["queued", "warming_up", "running", "paused", "done", "failed", "stopped"]
Kind = Literal["sequencer", "thermocycler", "hplc", "centrifuge", "plate_reader", "liquid_handler"]

INSTRUMENT_STATES: tuple[str, ...] = get_args(InstrumentState)
RUN_STATES: tuple[str, ...] = get_args(RunState)
KINDS: tuple[str, ...] = get_args(Kind)
ACTIVE: frozenset[str] = frozenset({"queued", "warming_up", "running", "paused"})
FREE: frozenset[str] = frozenset({"idle", "done"})
"""Instrument states from which a run may be started."""

Setting = str | int | float | bool
"""A value of an instrument's settings."""
SAMPLE_PATTERN = r"^[A-Z]{1,4}-[0-9]{1,8}$"
SAMPLES_MAX = 384
REASON_CHARS_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A set value of a protocol step: `denature 95 °C`. `set_by` names the parameter that replaces `value` when it is given."""

    name: str
    value: float
    unit: str
    set_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a protocol. It lasts `seconds` × `repeat`, and × the number of samples if `per_sample`."""

    name: str
    seconds: int
    where: str
    """An instrument kind, or `bench` for work by hand."""
    readings: tuple[Reading, ...] = ()
    repeat: int = 1
    repeat_by: str | None = None
    """The parameter that replaces `repeat`."""
    per_sample: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A number a person may set when starting a run, within `minimum` and `maximum` (inclusive)."""

    name: str
    unit: str
    default: float
    minimum: float
    maximum: float
    integer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolText:
    """The content of one protocol version. Versions are never changed, only followed by newer ones."""

    name: str
    summary: str
    kinds: tuple[Kind, ...]
    """Kinds of instrument that can run it."""
    steps: tuple[Step, ...]
    parameters: tuple[Parameter, ...] = ()
    warm_up_seconds: int = 60
    max_samples: int = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A protocol at one version (the newest unless asked otherwise)."""

    code: str
    version: int
    text: ProtocolText
    published_at: Timestamp
    retired_at: Timestamp | None = None
    """Of the protocol, all versions: no run of it can be started any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A measured value with its unit; `sample` is None when it is about the whole run. The unit `1` marks a plain count or ratio."""

    name: str
    value: float
    unit: str
    sample: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentRun:
    """One run of an instrument, as it is at the moment of asking."""

    id: uuid.UUID
    code: str
    """`R-2026-0007`."""
    instrument: str
    protocol: str
    protocol_version: int
    operator_id: uuid.UUID
    operator: str
    """The name at the time of the run; `erased person` when that person was erased."""
    samples: tuple[str, ...]
    parameters: Mapping[str, float]
    units: Mapping[str, str]
    """Unit by parameter name."""
    state: RunState
    progress: float
    """0 to 1, of warm-up and steps together."""
    started_at: Timestamp
    ends_at: Timestamp | None
    """Expected while the run is active (None while paused), actual afterwards."""
    remaining_seconds: float | None
    results: tuple[Result, ...]
    stop_reason: str | None
    """Written by the person who stopped it."""
    error_code: str | None
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """An instrument, as it is at the moment of asking."""

    code: str
    name: str
    kind: Kind
    location: str
    state: InstrumentState
    state_since: Timestamp
    error_code: str | None
    error: str | None
    """What is wrong, in a sentence; only in the states `error` and `offline`."""
    last_service_on: str | None
    """ISO date."""
    simulated: bool
    version: int
    run: InstrumentRun | None
    """The active run."""
    driver: str
    settings: Mapping[str, Setting]
    """The driver's."""
    retired_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentStatus:
    """The part of an instrument that changes by itself."""

    code: str
    state: InstrumentState
    state_since: Timestamp
    error_code: str | None
    error: str | None
    version: int
    run: InstrumentRun | None

    @classmethod
    def of(cls, instrument: Instrument) -> "InstrumentStatus":
        return cls(**{name: getattr(instrument, name) for name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInstrument:
    code: str
    name: str
    kind: Kind
    location: str
    driver: str = "simulated"
    last_service_on: str | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentChange:
    """What is to be different; None leaves it as it is. Code and kind never change: runs refer to them."""

    name: str | None = None
    location: str | None = None
    driver: str | None = None
    settings: Mapping[str, Setting] | None = None
    last_service_on: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """On whose account something is done in the laboratory, and through what."""

    principal: Principal
    run_id: uuid.UUID | None = None
    """The chat run."""
    tool: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun:
    """`instrument` may be a code, a name or a kind that is unambiguous; `parameters` replace the protocol's defaults."""

    instrument: str
    protocol: str
    idempotency_key: str
    samples: Sequence[str] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """A period, from `since` until before `until`: of runs that were going on in it, or (`by_end`) that ended in it."""

    since: datetime | None
    until: datetime | None
    by_end: bool

    def holds(self, run: InstrumentRun) -> bool:
        begun = run.started_at if not self.by_end else run.ends_at
        if self.until is not None and (begun is None or begun >= self.until):
            return False
        return self.since is None or run.state in ACTIVE or run.ends_at is None or run.ends_at >= self.since


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """A run that was made before this installation, or elsewhere. Without `ended_at` it is still going on."""

    instrument: str
    protocol: str
    operator_id: uuid.UUID
    operator: str
    started_at: datetime
    samples: Sequence[str] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)
    ended_at: datetime | None = None
    state: Literal["done", "failed", "stopped"] = "done"
    results: Sequence[Result] | None = None
    """None: as the instrument's driver gives them (a finished run only)."""
    error_code: str | None = None
    stop_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPlan:
    """What a start would do."""

    instrument: Instrument
    protocol: Protocol
    samples: tuple[str, ...]
    parameters: Mapping[str, float]
    """All of them, defaults included."""
    changed: frozenset[str]
    """Names of the parameters that differ from their default."""
    warm_up_seconds: float
    run_seconds: float
    """Both as the clock on the wall will show them."""
    ends_at: datetime
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopPlan:
    """What a stop would do."""

    run: InstrumentRun
    instrument: Instrument
    foreign: bool
    warnings: tuple[str, ...]
