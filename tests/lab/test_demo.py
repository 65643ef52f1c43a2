"""The demo laboratory is what the contract promises."""

import uuid
from collections.abc import Callable

import pytest

from aliquot.demo.laboratory import seed_laboratory
from aliquot.lab.contracts import InstrumentRun
from aliquot.lab.planning import checked_text, run_seconds
from tests.lab.bench import Bench

PEOPLE = {role: uuid.uuid4() for role in ("scientist", "reviewer", "clinician", "viewer")}


@pytest.fixture
async def demo(make_bench: Callable[..., Bench]) -> Bench:
    made = make_bench()
    async with made.db.begin() as tx:
        await seed_laboratory(tx, made.lab, PEOPLE)
    return made


async def test_the_demo_laboratory(demo: Bench) -> None:
    async with demo.db.begin() as tx:
        found, _ = await demo.lab.instruments(tx)
        protocols, _ = await demo.lab.protocols(tx)
        pcr, _ = await demo.lab.protocols(tx, instrument="PCR-02")
        runs, _ = await demo.lab.runs(tx, limit=200)
    states = {instrument.code: instrument.state for instrument in found}
    assert states == {"SEQ-01": "idle", "PCR-02": "idle", "HPLC-03": "running", "CENT-04": "error"}
    by_code = {instrument.code: instrument for instrument in found}
    assert "imbalance" in (by_code["CENT-04"].error or "")
    assert {"PCR-STD-35", "LIB-PREP-DNA", "BEAD-CLEANUP", "HPLC-GRAD-10"} <= {protocol.code for protocol in protocols}
    assert "PCR-STD-35" in {protocol.code for protocol in pcr}
    for protocol in protocols:
        assert checked_text(protocol.text)
    assert {"done", "failed"} <= {run.state for run in runs if run.instrument == "SEQ-01"}
    assert 10 <= len(runs) <= 20
    assert [run.code for run in runs] == sorted((run.code for run in runs), reverse=True)
    assert all(_plausible(run) for run in runs)


def _plausible(run: InstrumentRun) -> bool:
    """Finished runs lasted about as long as their protocol says and have results; the others have none but a cause."""
    if run.state == "done":
        return len(run.results) > 0 and run.ends_at is not None
    cause = run.error_code or run.stop_reason or run.state == "running"
    return not run.results and bool(cause)


async def test_finished_demo_runs_lasted_as_long_as_their_protocol_takes(demo: Bench) -> None:
    async with demo.db.begin() as tx:
        protocols = {protocol.code: protocol.text for protocol in (await demo.lab.protocols(tx))[0]}
        runs, _ = await demo.lab.runs(tx, state="done", limit=200)
    for run in runs:
        text = protocols[run.protocol]
        expected = text.warm_up_seconds + run_seconds(text, run.parameters, len(run.samples))
        assert run.ends_at is not None
        assert (run.ends_at - run.started_at).total_seconds() == pytest.approx(expected, rel=0.05), run.code


async def test_the_hplc_goes_on_for_hours_in_real_time(demo: Bench) -> None:
    demo.clock.advance(12 * 3600)
    assert await demo.state("HPLC-03") == "running"
    demo.clock.advance(24 * 3600)
    assert await demo.state("HPLC-03") == "idle"


async def test_seeding_twice_adds_nothing(demo: Bench) -> None:
    async with demo.db.begin() as tx:
        await seed_laboratory(tx, demo.lab, PEOPLE)
        runs, _ = await demo.lab.runs(tx, limit=200)
    assert len({run.code for run in runs}) == len(runs) == 12
