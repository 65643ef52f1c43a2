"""Numbered steps of a qualification: expected, actual, result."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from aliquot.kernel.clock import Clock, rfc3339
from aliquot.kernel.problems import Problem

Result = Literal["pass", "fail", "not executed"]


class Unmet(Exception):
    """The expectation was not met; the text is what was found instead."""

    def __init__(self, actual: str, *evidence: str) -> None:
        super().__init__(actual)
        self.evidence = evidence


@dataclass(frozen=True, slots=True)
class Seen:
    """What a step that met its expectation found."""

    actual: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. When an `essential` one fails, those after it are not executed: they would tell nothing."""

    title: str
    expected: str
    run: Callable[[], Seen]
    essential: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A step as it was executed."""

    number: str
    title: str
    expected: str
    actual: str
    result: Result
    evidence: Sequence[str]
    at: str
    ms: int


def execute(prefix: str, steps: Iterable[Step], clock: Clock, told: Callable[[Outcome], None]) -> list[Outcome]:
    """Execute all steps in their order; `told` hears of each."""
    outcomes: list[Outcome] = []
    stopped: str | None = None
    for count, step in enumerate(steps, 1):
        number = f"{prefix}-{count:02d}"
        outcome = _not_executed(number, step, stopped, clock) if stopped else _executed(number, step, clock)
        if step.essential and outcome.result == "fail":
            stopped = number
        outcomes.append(outcome)
        told(outcome)
    return outcomes


def _executed(number: str, step: Step, clock: Clock) -> Outcome:
    at, started = rfc3339(clock.now()), time.perf_counter()
    result: Result = "pass"
    try:
        seen = step.run()
        actual, evidence = seen.actual, seen.evidence
    except Unmet as unmet:
        result, actual, evidence = "fail", str(unmet), unmet.evidence
    except Problem as problem:
        result, actual, evidence = "fail", problem.detail, ()
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in a step is its result, and the next ones are executed
        said = " ".join(str(error).split())[:400]
        result, actual, evidence = "fail", f"{type(error).__name__}: {said}" if said else type(error).__name__, ()
    return Outcome(
        number=number, title=step.title, expected=step.expected, actual=actual, result=result, evidence=list(evidence), at=at,
        ms=round((time.perf_counter() - started) * 1_000),
    )  # fmt: skip


def _not_executed(number: str, step: Step, because: str, clock: Clock) -> Outcome:
    actual = f"Not executed: {because} failed."
    return Outcome(
        number=number, title=step.title, expected=step.expected, actual=actual, result="not executed", evidence=[],
        at=rfc3339(clock.now()), ms=0,
    )  # fmt: skip
