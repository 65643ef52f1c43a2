"""A yes or a no: which states of an instrument or a run say so, and that nothing else ever does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliquot.lab import answering
from aliquot.lab.contracts import ACTIVE, INSTRUMENT_STATES, RUN_STATES

RUN: dict[str, Any] = {
    "code": "R-2026-0012", "asked": "R-2026-0012", "instrument": "PCR-02", "protocol": "PCR-STD-35", "active": True, "state": "running",
    "progress_percent": 40.0, "ends_at": "2026-03-02T09:30:00.000Z", "remaining_seconds": 60.0, "error_code": None,
}  # fmt: skip


def instrument(state: str, code: str = "PCR-02") -> dict[str, Any]:
    going = state in {"warming_up", "running", "paused"}
    error = "Rotor imbalance." if state == "error" else None
    return {"code": code, "kind": "thermocycler", "state": state, "error": error, "run": RUN if going else None}


def of(*states: str, more: bool = False, **rest: Any) -> dict[str, Any]:
    items = [instrument(state, f"PCR-{n:02d}") for n, state in enumerate(states, 2)]
    return {"instruments": items, "all": len(items) != 1, "more": more} | rest


def word(sentence: str | None) -> str | None:
    return None if sentence is None else "yes" if sentence.startswith("Yes") else "no" if sentence.startswith("No") else sentence


# For each state of INSTRUMENT_STATES (idle, warming_up, running, paused, done, error, offline): yes, no, or nothing (-).
TABLE = """
is zinstrument ready? | y n n n y n n
is the zinstrument still free for a run | y n n n y n n
can zinstrument be used | y n n n y n n
is zinstrument idle | y n n n n n n
is zinstrument busy right now? | n y y y n n -
is anything running on zinstrument | n y y y n n -
is zinstrument running | n n y n n n -
is zinstrument warming up | n y n n n n -
has zinstrument finished yet? | - n n n y n -
did zinstrument finish | - n n n y n -
is the run on zinstrument done? | - n n n y - -
has the run on zinstrument finished yet? | - n n n y - -
is the run on zinstrument free | - - - - - - -
is zinstrument broken? | n n n n n y -
is zinstrument down | n n n n n y y
is zinstrument ok | y y y y y n n
is zinstrument working? | - y y - - n n
is zinstrument online | y y y y y y n
is zinstrument offline | n n n n n n y
"""


@pytest.mark.parametrize("line", TABLE.strip().splitlines())
def test_one_instrument(line: str) -> None:
    question, _, wanted = line.partition(" | ")
    given = [word(answering.about_instruments(of(state), question)) for state in INSTRUMENT_STATES]
    assert given == [{"y": "yes", "n": "no", "-": None}[letter] for letter in wanted.split()]


def test_sentences() -> None:
    assert answering.about_instruments(of("idle"), "is zinstrument ready?") == "Yes, PCR-02 is idle and ready for a run."
    assert answering.about_instruments(of("error"), "is zinstrument ready?") == "No, PCR-02 is in error: rotor imbalance."
    mixed = of("idle", "running", "error")
    for question, wanted in (
        ("are all instruments idle?", "No: PCR-03 is running R-2026-0012 until about 2026-03-02 09:30 UTC, for 1 min; PCR-04 is in error"),
        ("is any machine free?", "Yes: PCR-02 is idle."),
        ("is anything broken in the lab?", "Yes: PCR-04 is in error: rotor imbalance."),
        ("are there any idle instruments", "Yes: PCR-02 is idle."),
        ("is any instrument offline", "No: PCR-02 is idle; PCR-03 is running"),
    ):
        assert str(answering.about_instruments(mixed, question)).startswith(wanted), question
    assert word(answering.about_instruments(of("idle", "idle"), "are all machines idle")) == "yes"
    # What was not looked at may be otherwise: only what one of them settles is said.
    assert answering.about_instruments(of("idle", "idle", more=True), "are all machines idle") is None
    assert answering.about_instruments(of("running", "error", more=True), "is any machine free") is None
    assert word(answering.about_instruments(of("idle", "error", more=True), "is any machine free")) == "yes"


def test_whether_a_start_is_possible_is_no_promise() -> None:
    question = "can i start zprotocol on zinstrument now?"
    start = {"protocol": "PCR-STD-35", "kinds": ["thermocycler"], "fits": True, "role_allows": True, "retired": False}

    def said(state: str, **changes: Any) -> str:
        return str(answering.about_instruments(of(state, start=start | changes), question))

    assert said("idle") == (
        "Yes, as things stand: PCR-02 is idle, and PCR-STD-35 runs on a thermocycler. "
        "The policy still has to allow a start, and a person to confirm it."
    )
    assert said("running").startswith("No, PCR-02 is running R-2026-0012")
    assert said("idle", fits=False, kinds=["hplc"]) == "No, PCR-STD-35 runs on an HPLC; PCR-02 is a thermocycler."
    assert said("idle", retired=True) == "No, PCR-STD-35 is retired."
    assert said("idle", role_allows=False) == "No, your role may not start runs; PCR-02 is idle."
    assert answering.about_instruments(of("idle", start=start), "is zinstrument running zprotocol") is None
    assert answering.about_instruments(of("idle", start=start), "is zinstrument free") is None
    may, may_not = of("idle", may_start=True), of("idle", may_start=False)
    assert word(answering.about_instruments(may, "can i use zinstrument")) == "yes"
    assert answering.about_instruments(may_not, "can we use zinstrument?") == "No, your role may not start runs; PCR-02 is idle."
    assert word(answering.about_instruments(may_not, "is zinstrument free")) == "yes"


def test_runs() -> None:
    def said(state: str, question: str) -> str | None:
        return word(answering.about_run(RUN | {"state": state, "active": state in ACTIVE}, question))

    for question, yes, unsaid in (
        ("is zrun finished?", {"done"}, set()),
        ("has run zrun ended", {"done", "failed", "stopped"}, set()),
        ("did zrun fail", {"failed"}, set()),
        ("was zrun aborted", {"stopped"}, set()),
        ("is zrun still running", {"running"}, set()),
        ("is zrun in progress", ACTIVE, set()),
        ("was zrun successful", set(), {*ACTIVE, "done"}),
        ("was zrun running", set(), set(RUN_STATES)),  # a run that is over was running once; what it was is not kept
        ("was zrun paused", set(), set(RUN_STATES)),
        ("was zrun active", set(), set(RUN_STATES)),
        ("was zrun warming up", set(), set(RUN_STATES)),
    ):
        for state in RUN_STATES:
            assert said(state, question) == (None if state in unsaid else "yes" if state in yes else "no"), (question, state)
    assert answering.about_run(RUN | {"asked": "R-2026-0013"}, "is zrun running") is None
    going = {"instrument": None, "state": "running", "since": None, "until": None, "more": False, "runs": [], "other_active": []}
    assert answering.about_runs(going, "is anything running?") == "No, nothing is running."
    heating = RUN | {"state": "warming_up"}
    assert (
        answering.about_runs(going | {"other_active": [heating]}, "is anything running?") == "No, but R-2026-0012 on PCR-02 is warming up."
    )
    assert answering.about_runs(going | {"runs": [RUN]}, "is anything running") == "Yes, 1 run: R-2026-0012 on PCR-02 is running."
    for other in ({"since": "2026-03-01T00:00:00Z"}, {"state": "failed"}, {"instrument": "PCR-02"}):
        assert answering.about_runs(going | other, "is anything running") is None


UNKNOWN = ("calibrated", "free tomorrow", "busy or free", "not free", "better", "ready for zprotocol", "clean", "faulty by design", "safe")


@given(predicate=st.one_of(st.sampled_from(UNKNOWN), st.text("abcdefghijklmnopqrstuvwxyz ", min_size=1, max_size=30)))
def test_what_is_not_understood_is_not_answered(predicate: str) -> None:
    """Whatever is asked: an answer only ever follows from a predicate in the table, so a word more or less silences it."""
    for question in (f"is zinstrument {predicate} by chance", f"is zinstrument un{predicate}", f"why is zinstrument {predicate}"):
        if predicate.strip() not in {"", "used"}:
            assert answering.about_instruments(of("idle"), question) is None, question
    assert answering.about_instruments(of("idle"), "is zinstrument calibrated") is None
