"""The pure parts under arbitrary input: planning, naming, rendering, the simulated schedule."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliquot.lab import naming, planning, rendering
from aliquot.lab.contracts import ProtocolText, Step
from aliquot.lab.declared import every
from aliquot.lab.drivers import DriverError, RunSpec
from aliquot.lab.drivers.simulated import SimulatedDriver
from aliquot.lab.errors import AmbiguousInstrument, UnknownInstrument, WrongParameters, WrongSamples
from tests.lab.bench import SHORT

_SCHEDULE = {"key": "k", "started_at": "2026-03-02T09:30:00+00:00", "warm_up_s": 1, "run_s": 1, "cool_down_s": 1}

AT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


@dataclass
class Thing:
    code: str
    name: str
    kind: str


THINGS = [
    Thing("PCR-02", "Gradient cycler", "thermocycler"),
    Thing("PCR-05", "Fast cycler", "thermocycler"),
    Thing("SEQ-01", "Big one", "sequencer"),
]


@given(st.text(max_size=90))
def test_any_text_names_one_instrument_or_is_refused(said: str) -> None:
    try:
        found = naming.resolve(said, THINGS)
    except (UnknownInstrument, AmbiguousInstrument):
        return
    assert found in THINGS


@given(st.sampled_from(THINGS), st.sampled_from(["", "the ", "Our "]), st.booleans(), st.sampled_from(["-", " ", "_", ""]))
def test_codes_are_found_however_they_are_written(thing: Thing, article: str, loud: bool, joint: str) -> None:
    said = thing.code.replace("-", joint)
    assert naming.resolve(article + (said.upper() if loud else said.lower()), THINGS) is thing


@given(
    st.dictionaries(
        st.sampled_from(["cycles", "annealing", "lid"]), st.one_of(st.integers(), st.floats(), st.text(), st.none(), st.booleans())
    )
)
def test_parameters_are_within_their_range_or_refused(given_values: dict[str, Any]) -> None:
    try:
        values = planning.checked_parameters(given_values, SHORT)
    except WrongParameters:
        return
    assert values.keys() == {"cycles", "annealing"}
    assert 1 <= values["cycles"] <= 40
    assert isinstance(values["cycles"], int)
    assert 45.5 <= values["annealing"] <= 72
    assert planning.run_seconds(SHORT, values, 3) == 10 * values["cycles"]


def test_a_plain_count_out_of_its_range_is_refused_without_a_unit() -> None:
    with pytest.raises(WrongParameters, match=r"^cycles must be between 1 and 40\.$"):
        planning.checked_parameters({"cycles": 99}, SHORT)


@given(st.lists(st.one_of(st.from_regex(r"[A-Z]{1,4}-[0-9]{1,8}", fullmatch=True), st.text(max_size=8)), max_size=6))
def test_samples_are_codes_or_refused(codes: list[str]) -> None:
    try:
        samples = planning.checked_samples(codes, SHORT)
    except WrongSamples:
        return
    assert len(set(samples)) == len(samples) == len(codes) <= SHORT.max_samples
    assert all(code.isascii() and code == code.upper() and "-" in code for code in samples)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": ()},
        {"kinds": ()},
        {"max_samples": 0},
        {"max_samples": 385},
        {"steps": (Step(name="x", seconds=-1, where="thermocycler"),)},
        {"steps": (Step(name="x", seconds=1, where="hplc"),)},
        {"steps": (Step(name="x", seconds=1, where="thermocycler", repeat=0),)},
        {"steps": (Step(name="x", seconds=1, where="thermocycler", repeat_by="nothing"),)},
        {"steps": (Step(name="x", seconds=0, where="thermocycler"),)},
        {"steps": (Step(name="x", seconds=31 * 24 * 3600, where="thermocycler"),)},
        {"parameters": (*SHORT.parameters, SHORT.parameters[0])},
    ],
)
def test_protocols_that_cannot_be_run(changes: dict[str, Any]) -> None:
    text: ProtocolText = replace(SHORT, **changes)
    with pytest.raises(ValueError, match=r"protocol|step|parameters"):
        planning.checked_text(text)


@given(st.floats(0.01, 1000), st.integers(0, 10_000), st.integers(1, 100_000), st.lists(st.integers(-500, 5_000), max_size=12))
def test_a_schedule_only_goes_forward(speed: float, warm_up: int, run: int, passing: list[int]) -> None:
    """Whatever the clock does, progress stays within 0 to 1 and the end never comes before the work is done."""
    driver, order = SimulatedDriver(speed), ["warming_up", "running", "done"]
    spec = RunSpec(
        run_id="r",
        instrument="I",
        kind="hplc",
        protocol="P",
        protocol_version=1,
        warm_up_seconds=warm_up,
        run_seconds=run,
        samples=(),
        parameters={},
    )

    async def watch() -> None:
        handle = await driver.start(spec, idempotency_key="k", at=AT)
        at, reached, highest = AT, 0, AT
        for seconds in passing:
            at += timedelta(seconds=seconds)
            seen = await driver.observe(handle, at=at)
            assert 0 <= seen.progress <= 1
            assert seen.ends_at is not None
            assert (seen.state == "done") == (seen.ends_at <= max(at, AT)) or abs((seen.ends_at - at).total_seconds()) < 1e-3
            if at >= highest:
                assert order.index(seen.state) >= reached
                reached, highest = order.index(seen.state), at
            paused = await driver.pause(handle, at=at)
            assert (await driver.observe(paused, at=at + timedelta(days=1))).progress == seen.progress

    asyncio.run(watch())


@pytest.mark.parametrize(
    "handle",
    [{}, {"key": "k"}, {"nonsense": 1}, _SCHEDULE | {"started_at": 5}, _SCHEDULE | {"started_at": "noon"}, _SCHEDULE | {"run_s": "x"}],
)
async def test_a_damaged_schedule_is_a_driver_error(handle: dict[str, Any]) -> None:
    with pytest.raises(DriverError):
        await SimulatedDriver().observe(handle, at=AT)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3599, "1 h"),
        (3600, "1 h"),
        (5520, "1 h 32 min"),
        (90_000, "25 h"),
        (None, "–"),
        (-5, "0 s"),
    ],
)
def test_durations(seconds: float | None, said: str) -> None:
    assert rendering.duration(seconds) == said


def test_cells_cannot_break_a_table() -> None:
    drawn = rendering.table(("a", "b"), [("x|y", "line\nbreak"), ("back\\slash|", "")])
    assert drawn.splitlines()[2:] == ["| x\\|y | line break |", "| back\\\\slash\\| |  |"]


@pytest.mark.parametrize("said", ["PCR-02", "pcr 02", "PCR02", "the PCR-02"])
def test_a_code_that_nothing_has_is_not_found_in_another_ones_name(said: str) -> None:
    spare = Thing("CENT-09", "Spare rotor for PCR-02, bench 4", "centrifuge")
    with pytest.raises(UnknownInstrument):
        naming.resolve(said, [spare])
    assert naming.resolve("spare rotor", [spare]) is spare


async def test_names_are_read_to_the_last_page() -> None:
    """Fails when a laboratory with more protocols than fit on a page is told that the others do not exist."""
    pages: dict[str | None, tuple[list[int], str | None]] = {None: ([1, 2], "2"), "2": ([3, 4], "4"), "4": ([5], None)}

    async def page(after: str | None) -> tuple[list[int], str | None]:
        return list(pages[after][0]), pages[after][1]

    assert await every(page) == [1, 2, 3, 4, 5]
