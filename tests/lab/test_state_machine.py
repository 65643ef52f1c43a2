"""An instrument under any sequence of commands and passing time, against a model that only counts working seconds."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from aliquot.identity.contracts import SYSTEM
from aliquot.kernel.problems import Problem
from aliquot.lab.contracts import Caller, NewInstrument, StartRun
from aliquot.lab.errors import (
    InstrumentBusy,
    InstrumentInError,
    InstrumentOffline,
    RunNotActive,
    UnknownInstrumentRun,
    WrongInstrumentState,
)
from aliquot.platform.db import Database, Transaction
from aliquot.platform.vault import Vault
from tests.conftest import ManualClock, Urls
from tests.lab.bench import CYCLE, WARM_UP, Bench

COOL_DOWN = 300
ACTIVE = {"warming_up", "running", "paused"}


class Model:
    """What should be: no time stamps, only seconds worked in this run and seconds since its end."""

    def __init__(self) -> None:
        self.frame = "idle"  # idle | run | error | offline
        self.worked = self.total = self.rested = 0
        self.paused = False

    def pass_time(self, seconds: int) -> None:
        if self.frame == "run" and not self.paused:
            working = min(seconds, self.total - self.worked)
            self.worked += working
            self.rested += seconds - working

    @property
    def state(self) -> str:
        if self.frame != "run":
            return self.frame
        if self.worked >= self.total:
            return "idle" if self.rested >= COOL_DOWN else "done"
        if self.paused:
            return "paused"
        return "warming_up" if self.worked < WARM_UP else "running"

    @property
    def active(self) -> bool:
        return self.state in ACTIVE


class Machine(RuleBasedStateMachine):
    """Commands go through LabApi on the real database; a restart gives a new API object."""

    runner: asyncio.Runner
    bench: Bench
    serial = 0

    @initialize()
    def begin(self) -> None:
        Machine.serial += 1
        self.code = f"X-{Machine.serial}"
        self.model = Model()
        self.last: str | None = None
        self.version = 1
        self.expected: dict[str, int] = {}
        self.do(
            lambda tx: self.bench.lab.add_instrument(
                tx, SYSTEM, NewInstrument(code=self.code, name=self.code, kind="thermocycler", location="T")
            )
        )

    def do(self, work: Callable[[Transaction], Awaitable[Any]]) -> Any:
        async def within() -> Any:
            async with self.bench.db.begin() as tx:
                return await work(tx)

        return self.runner.run(within())

    def attempt(self, work: Callable[[Transaction], Awaitable[Any]], allowed: bool, *refusals: type[Problem]) -> Any:
        if allowed:
            return self.do(work)
        with pytest.raises(refusals):
            self.do(work)
        return None

    @rule(seconds=st.sampled_from([1, 9, 59, 60, 61, 120, 299, 300, 301, 1000]))
    def time_passes(self, seconds: int) -> None:
        self.bench.clock.advance(seconds)
        self.model.pass_time(seconds)

    @rule(seconds=st.sampled_from([-1, 0, 1, COOL_DOWN]))
    def time_passes_to_about_the_end(self, seconds: int) -> None:
        if self.model.active and not self.model.paused:
            self.time_passes(max(0, self.model.total - self.model.worked + seconds))

    @rule()
    def restart(self) -> None:
        self.bench.lab = self.bench.restarted()

    @rule()
    def settle(self) -> None:
        self.do(self.bench.lab.advance)

    @rule(cycles=st.integers(1, 40))
    def start(self, cycles: int) -> None:
        state = self.model.state
        busy = {"error": InstrumentInError, "offline": InstrumentOffline}.get(state, InstrumentBusy)
        command = {"protocol": "PCR-SHORT", "parameters": {"cycles": cycles}}
        run = self.attempt(
            lambda tx: self.bench.lab.start_run(tx, self.caller, _start(self.code, **command)), state in {"idle", "done"}, busy
        )
        if run is not None:
            self.last = run.code
            self.model = Model()
            self.model.frame, self.model.total = "run", WARM_UP + cycles * CYCLE

    @rule()
    def stop(self) -> None:
        if self.attempt(lambda tx: self.bench.lab.stop_run(tx, self.caller, self.known, "enough"), self.model.active, *self.over):
            self.model.frame = "idle"

    @rule()
    def pause(self) -> None:
        refused = (*self.over, WrongInstrumentState)
        if self.attempt(lambda tx: self.bench.lab.pause_run(tx, self.caller, self.known), self.model.state == "running", *refused):
            self.model.paused = True

    @rule()
    def resume(self) -> None:
        refused = (*self.over, WrongInstrumentState)
        if self.attempt(lambda tx: self.bench.lab.resume_run(tx, self.caller, self.known), self.model.state == "paused", *refused):
            self.model.paused = False

    @rule()
    def fault(self) -> None:
        report = {"error_code": "jam", "error": "It is jammed."}
        allowed = self.model.state != "offline"
        if self.attempt(lambda tx: self.bench.lab.report_fault(tx, SYSTEM, self.code, **report), allowed, WrongInstrumentState):
            self.model.frame = "error"

    @rule()
    def clear(self) -> None:
        if self.attempt(lambda tx: self.bench.lab.clear_fault(tx, SYSTEM, self.code), self.model.state == "error", WrongInstrumentState):
            self.model.frame = "idle"

    @rule()
    def take_offline(self) -> None:
        allowed = self.model.state in {"idle", "done", "error"}
        if self.attempt(lambda tx: self.bench.lab.take_offline(tx, SYSTEM, self.code), allowed, WrongInstrumentState):
            self.model.frame = "offline"

    @rule()
    def bring_online(self) -> None:
        allowed = self.model.state == "offline"
        if self.attempt(lambda tx: self.bench.lab.bring_online(tx, SYSTEM, self.code), allowed, WrongInstrumentState):
            self.model.frame = "idle"

    @property
    def caller(self) -> Caller:
        return Caller(principal=self.bench.ann)

    @property
    def known(self) -> str:
        return self.last or "R-2026-99999999"

    @property
    def over(self) -> tuple[type[Problem], ...]:
        return (RunNotActive,) if self.last else (UnknownInstrumentRun,)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "model"):
            return
        seen = self.do(lambda tx: self.bench.lab.instrument(tx, self.code))
        assert seen.state == self.model.state
        assert seen.state_since <= self.bench.clock.now()
        assert seen.version >= self.version
        self.version = seen.version
        assert (seen.run is not None) == self.model.active
        assert (seen.error is not None) == (seen.state == "error")
        if seen.run is not None:
            assert seen.run.state == self.model.state
            assert seen.run.progress == pytest.approx(self.model.worked / self.model.total)
            assert seen.run.remaining_seconds == pytest.approx(self.model.total - self.model.worked)
            assert (seen.run.ends_at is None) == self.model.paused


def _start(instrument: str, **given: Any) -> StartRun:
    return StartRun(instrument=instrument, idempotency_key=uuid.uuid4().hex, **given)


@pytest.mark.rule("11.10(f)")
def test_an_instrument_does_what_the_model_does(urls: Urls, vault: Vault, clock: ManualClock) -> None:
    with asyncio.Runner() as runner:

        async def furnished() -> Bench:
            bench = Bench(Database(urls.app, pool_size=2), clock, vault)
            await bench.furnish()
            return bench

        Machine.runner, Machine.bench = runner, runner.run(furnished())
        given = settings(max_examples=8, stateful_step_count=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        try:
            run_state_machine_as_test(Machine, settings=given)
        finally:
            runner.run(Machine.bench.db.close())
