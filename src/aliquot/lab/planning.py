"""What a protocol means for given samples and parameters: which values hold, what is done, how long it takes. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from aliquot.kernel.problems import InvalidInput
from aliquot.lab.contracts import SAMPLE_PATTERN, SAMPLES_MAX, Parameter, ProtocolText, Reading, Step
from aliquot.lab.errors import WrongParameters, WrongSamples

_SAMPLE = re.compile(SAMPLE_PATTERN)
_RUN_SECONDS_MAX = 30 * 24 * 3600


def checked_samples(given: Sequence[str], text: ProtocolText) -> tuple[str, ...]:
    """The sample codes, in capitals. Raises WrongSamples: malformed, repeated, or more than the protocol takes."""
    if isinstance(given, str) or len(given) > SAMPLES_MAX:
        raise WrongSamples(f"Samples are a list of at most {SAMPLES_MAX} codes.")
    samples = tuple(code.strip().upper() if isinstance(code, str) else "" for code in given)
    for position, code in enumerate(samples, start=1):
        if not _SAMPLE.fullmatch(code):
            raise WrongSamples(f"Sample {position} is not a sample code such as S-0001.")
    if len(set(samples)) != len(samples):
        repeated = next(code for code in samples if samples.count(code) > 1)
        raise WrongSamples(f"Sample {repeated} is listed twice.")
    if len(samples) > text.max_samples:
        raise WrongSamples(f"This protocol takes at most {text.max_samples} samples; {len(samples)} are listed.")
    return samples


def checked_parameters(given: Mapping[str, float], text: ProtocolText) -> dict[str, float]:
    """All parameters of the protocol, the given values in place of their defaults. Raises WrongParameters."""
    known = {parameter.name: parameter for parameter in text.parameters}
    unknown = sorted(str(name) for name in given if name not in known)
    if unknown:
        allowed = ", ".join(known) or "none"
        raise WrongParameters(f"This protocol has no parameter of that name ({len(unknown)} unknown). It has: {allowed}.")
    return {name: _value(parameter, given.get(name, parameter.default)) for name, parameter in known.items()}


def _value(parameter: Parameter, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongParameters(f"{parameter.name} must be a number.")
    if not parameter.minimum <= value <= parameter.maximum:  # also refuses NaN and the infinities
        unit = "" if parameter.unit == "1" else f" {parameter.unit}"
        raise WrongParameters(f"{parameter.name} must be between {parameter.minimum:g} and {parameter.maximum:g}{unit}.")
    if parameter.integer and value != int(value):
        raise WrongParameters(f"{parameter.name} must be a whole number.")
    return int(value) if parameter.integer else float(value)


def period(since: str | None, until: str | None, zone: tzinfo) -> tuple[datetime | None, datetime | None]:
    """What a person or a model named, as moments: a date begins and ends in `zone`. Raises InvalidInput."""
    first, last = _moment(since, zone, after=0), _moment(until, zone, after=1)
    if first is not None and last is not None and last <= first:
        raise InvalidInput("A period ends after it begins.")
    return first, last


def _moment(text: str | None, zone: tzinfo, *, after: int) -> datetime | None:
    if text is None:
        return None
    try:
        if len(text) == len("2026-11-21"):
            return datetime.combine(date.fromisoformat(text) + timedelta(days=after), time(), zone).astimezone(UTC)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput("A time is written 2026-11-21 or 2026-11-21T08:30:00Z.") from error


def effective_steps(text: ProtocolText, parameters: Mapping[str, float]) -> tuple[Step, ...]:
    """The steps with the parameters put in."""
    return tuple(
        replace(
            step,
            repeat=int(parameters.get(step.repeat_by, step.repeat)) if step.repeat_by else step.repeat,
            readings=tuple(_reading(reading, parameters) for reading in step.readings),
        )
        for step in text.steps
    )


def _reading(reading: Reading, parameters: Mapping[str, float]) -> Reading:
    if reading.set_by is None or reading.set_by not in parameters:
        return reading
    return replace(reading, value=parameters[reading.set_by])


def run_seconds(text: ProtocolText, parameters: Mapping[str, float], samples: int) -> int:
    """Seconds of work on the instrument, without warm-up and without the steps by hand. No samples count as one."""
    steps = [step for step in effective_steps(text, parameters) if step.where != "bench"]
    return sum(step.seconds * step.repeat * (max(1, samples) if step.per_sample else 1) for step in steps)


def default_seconds(text: ProtocolText, samples: int = 1) -> int:
    """Seconds of a run with its defaults for `samples`, as the instrument takes them: warm-up and steps, none by hand."""
    return text.warm_up_seconds + run_seconds(text, {parameter.name: parameter.default for parameter in text.parameters}, samples)


def bench_seconds(text: ProtocolText, samples: int = 1) -> int:
    """Seconds of the steps by hand, beside the instrument's."""
    steps = [s for s in effective_steps(text, {p.name: p.default for p in text.parameters}) if s.where == "bench"]
    return sum(step.seconds * step.repeat * (max(1, samples) if step.per_sample else 1) for step in steps)


def checked_text(text: ProtocolText) -> ProtocolText:
    """A protocol that can be run, or ValueError: who publishes one is a program or an administrator."""
    names = {parameter.name for parameter in text.parameters}
    wanted = {step.repeat_by for step in text.steps} | {reading.set_by for step in text.steps for reading in step.readings}
    if not text.steps or not text.kinds or len(text.steps) > 200:
        raise ValueError("a protocol has 1 to 200 steps and at least one kind of instrument")
    if wanted - {None} - names:
        raise ValueError("a step names a parameter the protocol does not have")
    if len(names) != len(text.parameters) or len(names) > 20:
        raise ValueError("parameters have different names and are at most 20")
    if any(p.integer and not all(float(n).is_integer() for n in (p.minimum, p.default, p.maximum)) for p in text.parameters):
        raise ValueError("a parameter that is a whole number has a range and a default that are")
    if any(not (p.minimum <= p.default <= p.maximum) for p in text.parameters):
        raise ValueError("a default lies outside its range")
    if any(step.seconds < 0 or step.repeat < 1 or (step.where not in {*text.kinds, "bench"}) for step in text.steps):
        raise ValueError("a step has a negative duration, no repetition, or a place the protocol does not name")
    longest = {parameter.name: parameter.maximum for parameter in text.parameters}
    if not 1 <= text.max_samples <= SAMPLES_MAX or not 0 < run_seconds(text, longest, text.max_samples) <= _RUN_SECONDS_MAX:
        raise ValueError("a protocol takes 1 to 384 samples and between a second and 30 days on the instrument")
    return text
