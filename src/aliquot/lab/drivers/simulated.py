"""The simulated device: a schedule read off the clock.

idle → warming_up → running → done → idle (after a cool-down); paused in between. Nothing runs in the background: how a run
stands follows from when it was started, so a restart in the middle changes nothing. It never fails by itself.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from aliquot.lab.contracts import Result, Setting
from aliquot.lab.drivers import DriverError, Handle, Observation, RunSpec

_COOL_DOWN_SECONDS = 300.0
SPEED_MIN, SPEED_MAX = 0.01, 100_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Schedule:
    """All durations are seconds on the wall clock: the speed is applied once, at the start, and stays with the run."""

    key: str
    started_at: str
    warm_up_s: float
    run_s: float
    cool_down_s: float
    paused_s: float = 0.0
    paused_at: str | None = None

    @classmethod
    def of(cls, handle: Handle) -> "_Schedule":
        try:
            plan = cls(**handle)
            plan.elapsed(plan.when(plan.warm_up_s + plan.run_s + plan.cool_down_s))
        except (TypeError, ValueError, OverflowError) as error:
            raise DriverError("the stored schedule cannot be read") from error
        return plan

    @property
    def start(self) -> datetime:
        return datetime.fromisoformat(self.started_at)

    def elapsed(self, at: datetime) -> float:
        """Working seconds since the start, pauses left out; never negative, whatever the clock does."""
        if self.paused_at is not None:
            at = datetime.fromisoformat(self.paused_at)
        return max(0.0, (at - self.start).total_seconds() - self.paused_s)

    def when(self, elapsed: float) -> datetime:
        """The moment at which `elapsed` working seconds have passed, all pauses so far being over."""
        return self.start + timedelta(seconds=elapsed + self.paused_s)


class SimulatedDriver:
    """Runs protocols in real time × `speed`."""

    simulated = True

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed

    def checked(self, settings: Mapping[str, Setting]) -> dict[str, Setting]:
        """`speed`: how many times as fast as real time this instrument runs, in place of the site's `simulation_speed`."""
        if unknown := sorted(set(settings) - {"speed"}):
            raise ValueError(f"the simulated driver knows the setting speed only, not {', '.join(unknown)}")
        speed = settings.get("speed", self._speed)
        if isinstance(speed, bool) or not isinstance(speed, int | float) or not SPEED_MIN <= speed <= SPEED_MAX:
            raise ValueError(f"speed is a number from {SPEED_MIN:g} to {SPEED_MAX:g}")
        return dict(settings)

    def _speed_of(self, spec: RunSpec) -> float:
        return float(spec.settings.get("speed", self._speed))

    async def estimate(self, spec: RunSpec) -> tuple[float, float]:
        speed = self._speed_of(spec)
        return spec.warm_up_seconds / speed, spec.run_seconds / speed

    async def start(self, spec: RunSpec, *, idempotency_key: str, at: datetime) -> Handle:
        warm_up, run = await self.estimate(spec)
        schedule = _Schedule(
            key=idempotency_key, started_at=at.isoformat(), warm_up_s=warm_up, run_s=run,
            cool_down_s=_COOL_DOWN_SECONDS / self._speed_of(spec),
        )  # fmt: skip
        return asdict(schedule)

    async def observe(self, handle: Handle, *, at: datetime) -> Observation:
        plan = _Schedule.of(handle)
        total, elapsed = plan.warm_up_s + plan.run_s, plan.elapsed(at)
        progress = 1.0 if total <= 0 else min(1.0, elapsed / total)
        if plan.paused_at is not None:
            since = datetime.fromisoformat(plan.paused_at)
            return Observation(state="paused", since=since, progress=progress, ends_at=None, remaining_seconds=max(0.0, total - elapsed))
        end = plan.when(total)
        if elapsed >= total:
            free = plan.when(total + plan.cool_down_s)
            return Observation(state="done", since=end, progress=1.0, ends_at=end, remaining_seconds=0.0, free_at=free)
        left = total - elapsed
        if elapsed < plan.warm_up_s:
            return Observation(state="warming_up", since=plan.start, progress=progress, ends_at=end, remaining_seconds=left)
        return Observation(state="running", since=plan.when(plan.warm_up_s), progress=progress, ends_at=end, remaining_seconds=left)

    async def pause(self, handle: Handle, *, at: datetime) -> Handle:
        plan = _Schedule.of(handle)
        return asdict(plan) | {"paused_at": plan.paused_at or at.isoformat()}

    async def resume(self, handle: Handle, *, at: datetime) -> Handle:
        plan = _Schedule.of(handle)
        if plan.paused_at is None:
            return handle
        pause = max(0.0, (at - datetime.fromisoformat(plan.paused_at)).total_seconds())
        return asdict(plan) | {"paused_at": None, "paused_s": plan.paused_s + pause}

    async def stop(self, handle: Handle, *, at: datetime) -> None:
        _Schedule.of(handle)

    async def results(self, spec: RunSpec, handle: Handle) -> tuple[Result, ...]:
        return simulated_results(spec)


def simulated_results(spec: RunSpec) -> tuple[Result, ...]:
    """Plausible values that follow from the run's id alone: asked twice, they are the same."""
    draw = _Draw(spec.run_id)
    make = _RESULTS.get(spec.kind)
    return make(spec, draw) if make else ()


class _Draw:
    """Numbers in a range, drawn from SHA-256 of the run id and the value's name."""

    def __init__(self, seed: str) -> None:
        self._seed = seed

    def __call__(self, name: str, low: float, high: float, digits: int = 2) -> float:
        word = hashlib.sha256(f"{self._seed}/{name}".encode()).digest()
        return round(low + (high - low) * int.from_bytes(word[:6]) / (1 << 48), digits)


def _thermocycler(spec: RunSpec, draw: _Draw) -> tuple[Result, ...]:
    cycles = next((value for name, value in spec.parameters.items() if name.endswith("cycles")), 1)
    whole = (
        Result(name="cycles completed", value=float(cycles), unit="1"),
        Result(name="lid temperature, mean", value=draw("lid", 104.6, 105.3), unit="°C"),
        Result(name="block uniformity at 60 °C", value=draw("block", 0.1, 0.3), unit="°C"),
        Result(name="heating rate, mean", value=draw("ramp", 3.8, 4.2), unit="°C/s"),
    )
    yields = (Result(name="amplicon yield", value=draw(f"yield/{s}", 18, 64, 1), unit="ng/µL", sample=s) for s in spec.samples)
    return whole + tuple(yields)


def _sequencer(spec: RunSpec, draw: _Draw) -> tuple[Result, ...]:
    whole = (
        Result(name="cluster density", value=draw("density", 190, 235, 0), unit="k/mm²"),
        Result(name="clusters passing filter", value=draw("pf", 82, 93, 1), unit="%"),
        Result(name="bases at or above Q30", value=draw("q30", 84, 94, 1), unit="%"),
        Result(name="yield", value=draw("yield", 32, 41, 1), unit="Gb"),
        Result(name="PhiX error rate", value=draw("phix", 0.2, 0.6), unit="%"),
    )
    reads = (Result(name="reads passing filter", value=draw(f"reads/{s}", 6.5, 14.5, 1), unit="M", sample=s) for s in spec.samples)
    return whole + tuple(reads)


def _hplc(spec: RunSpec, draw: _Draw) -> tuple[Result, ...]:
    whole = (
        Result(name="system pressure, mean", value=draw("pressure", 168, 214, 0), unit="bar"),
        Result(name="injections completed", value=float(len(spec.samples)), unit="1"),
        Result(name="retention time drift", value=draw("drift", 0.05, 0.4), unit="%"),
    )
    content = (Result(name="main peak purity", value=draw(f"purity/{s}", 94.5, 99.6, 1), unit="area %", sample=s) for s in spec.samples)
    return whole + tuple(content)


def _centrifuge(spec: RunSpec, draw: _Draw) -> tuple[Result, ...]:
    return (
        Result(name="peak relative centrifugal force", value=draw("rcf", 276, 284, 0), unit="× g"),
        Result(name="rotor temperature, mean", value=draw("rotor", 3.6, 4.4, 1), unit="°C"),
        Result(name="imbalance, peak", value=draw("imbalance", 0.4, 2.1, 1), unit="g"),
    )


_RESULTS: dict[str, Callable[[RunSpec, _Draw], tuple[Result, ...]]] = {
    "thermocycler": _thermocycler,
    "sequencer": _sequencer,
    "hplc": _hplc,
    "centrifuge": _centrifuge,
}
