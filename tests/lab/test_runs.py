"""Runs on the real database: once, safely, across restarts, on the record."""

import asyncio
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from psycopg import IntegrityError, ProgrammingError
from sqlalchemy import text

from aliquot.identity.contracts import SYSTEM
from aliquot.kernel.problems import InvalidInput, Problem
from aliquot.lab import views
from aliquot.lab.contracts import Caller, InstrumentRun, NewInstrument, PastRun, Result, StartRun
from aliquot.lab.drivers import DriverError, Handle, Observation, RunSpec
from aliquot.lab.drivers.simulated import SimulatedDriver
from aliquot.lab.errors import (
    AmbiguousInstrument,
    InstrumentBusy,
    InstrumentExists,
    InstrumentOffline,
    InstrumentUnreachable,
    KeyReused,
    ProtocolExists,
    ProtocolMismatch,
    RunNotActive,
    UnknownInstrument,
    UnknownInstrumentRun,
    UnknownProtocol,
    WrongParameters,
    WrongSamples,
)
from aliquot.platform import migrate
from aliquot.platform.vault import Vault
from tests.conftest import Urls
from tests.lab.bench import PER_SAMPLE, SHORT, Bench, counts, person

TOTAL = 60 + 6 * 10


async def test_a_run_warms_up_runs_and_ends_with_results(bench: Bench) -> None:
    run = await bench.start(samples=["S-0001", "s-0002 "], parameters={"annealing": 58.5})
    assert (run.state, run.code, run.samples) == ("warming_up", "R-2026-0001", ("S-0001", "S-0002"))
    assert run.parameters == {"cycles": 6, "annealing": 58.5}
    assert run.operator == "Ann Analyst"
    assert run.ends_at == bench.clock.now() + timedelta(seconds=TOTAL)
    bench.clock.advance(60)
    assert await bench.state() == "running"
    bench.clock.advance(60)
    assert await bench.state() == "done"
    assert (await bench.run(run.code)).results == ()
    assert await bench.advance() == 1
    ended = await bench.run(run.code)
    assert (ended.state, ended.progress, ended.ends_at) == ("done", 1.0, run.ends_at)
    assert {(r.name, r.unit, r.sample) for r in ended.results} >= {("cycles completed", "1", None), ("amplicon yield", "ng/µL", "S-0002")}
    assert await bench.state() == "done"
    bench.clock.advance(300)
    assert await bench.state() == "idle"
    assert await bench.advance() == 0


async def test_a_restart_in_the_middle_changes_nothing(bench: Bench) -> None:
    run = await bench.start()
    bench.clock.advance(90)
    bench.lab = bench.restarted()
    assert (await bench.run(run.code)).progress == pytest.approx(90 / TOTAL)
    bench.clock.advance(100_000)
    bench.lab = bench.restarted()
    assert (await bench.run(run.code)).state == "done"
    assert await bench.advance() == 1
    assert (await bench.run(run.code)).ends_at == run.ends_at  # when it ended, not when somebody looked


async def test_the_next_run_needs_no_sweep_in_between(bench: Bench) -> None:
    first = await bench.start()
    bench.clock.advance(TOTAL)
    second = await bench.start()
    assert [(await bench.run(run.code)).state for run in (first, second)] == ["done", "warming_up"]
    assert [event["record"]["id"] for event in await bench.events("instrument_run.finished")] == [first.code]


async def test_pauses_add_up(bench: Bench) -> None:
    run, caller = await bench.start(), Caller(principal=bench.ann)
    bench.clock.advance(70)
    for pause in (1_000, 500):
        async with bench.db.begin() as tx:
            assert (await bench.lab.pause_run(tx, caller, run.code)).ends_at is None
        bench.clock.advance(pause)
        bench.lab = bench.restarted()
        assert await bench.state() == "paused"
        async with bench.db.begin() as tx:
            await bench.lab.resume_run(tx, caller, run.code)
        bench.clock.advance(10)
    assert run.ends_at is not None
    assert (await bench.run(run.code)).ends_at == run.ends_at + timedelta(seconds=1_500)
    assert (await bench.run(run.code)).progress == pytest.approx(90 / TOTAL)


async def test_results_follow_from_the_run_alone(bench: Bench) -> None:
    spec = RunSpec(
        run_id=str(uuid.uuid4()), instrument="I", kind="sequencer", protocol="P", protocol_version=1, warm_up_seconds=1, run_seconds=1,
        samples=("S-0001",), parameters={},
    )  # fmt: skip
    driver = SimulatedDriver()
    first = await driver.results(spec, {})
    assert first == await SimulatedDriver(50).results(spec, {})
    assert all(result.unit for result in first)
    assert {result.unit for result in first} >= {"%", "Gb", "k/mm²"}


async def test_of_parallel_starts_exactly_one_wins(bench: Bench) -> None:
    answers = await asyncio.gather(*(bench.start(who=person(f"P{n}")) for n in range(8)), return_exceptions=True)
    won = [answer for answer in answers if isinstance(answer, InstrumentRun)]
    lost = [answer for answer in answers if not isinstance(answer, InstrumentRun)]
    assert len(won) == 1
    assert len(lost) == 7
    assert all(isinstance(answer, InstrumentBusy) for answer in lost)
    assert won[0].code in str(lost[0])
    assert len(await bench.events("instrument_run.started")) == 1


async def test_starts_on_different_instruments_do_not_hinder_each_other(bench: Bench) -> None:
    runs = await asyncio.gather(bench.start("PCR-02"), bench.start("PCR-05"), bench.start("HPLC-03", "GRAD"))
    assert sorted(run.code for run in runs) == ["R-2026-0001", "R-2026-0002", "R-2026-0003"]


async def test_a_repeated_start_gives_the_same_run(bench: Bench) -> None:
    first = await bench.start(key="k1", samples=["S-0001"])
    bench.lab = bench.restarted()
    assert (await bench.start(key="k1", samples=["S-0001"])).id == first.id
    bench.clock.advance(10_000)
    await bench.advance()
    assert (await bench.start(key="k1", samples=["S-0001"])).id == first.id  # also when it is long over
    both = await asyncio.gather(*(bench.start(key="k2") for _ in range(4)))
    assert len({run.id for run in both}) == 1
    assert len(await bench.events("instrument_run.started")) == 2


async def test_a_key_is_for_one_run_only(bench: Bench) -> None:
    await bench.start(key="k1")
    for changed in ({"samples": ["S-0009"]}, {"parameters": {"cycles": 7}}, {"who": bench.bob}):
        with pytest.raises(KeyReused):
            await bench.start(key="k1", **changed)
    with pytest.raises(KeyReused):
        await bench.start("PCR-05", key="k1")
    for key in ("a b", "x" * 201, "é", "\x00"):
        with pytest.raises(InvalidInput):
            await bench.start(key=key)


async def test_a_start_that_is_rolled_back_leaves_nothing_and_can_be_repeated(bench: Bench) -> None:
    command = StartRun(instrument="PCR-02", protocol="PCR-SHORT", idempotency_key="crash")

    async def crash_after_the_start() -> None:
        async with bench.db.begin() as tx:
            await bench.lab.start_run(tx, Caller(principal=bench.ann), command)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await crash_after_the_start()
    assert await bench.state() == "idle"
    assert await bench.events("instrument_run.started") == []
    assert (await bench.start(key="crash")).code == "R-2026-0001"


@pytest.mark.rule("11.10(e)")
async def test_no_audit_no_start(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("the log is full")

    monkeypatch.setattr("aliquot.ledger.api.LedgerApi.append", fail)
    with pytest.raises(RuntimeError):
        await bench.start()
    assert await bench.state() == "idle"


async def test_the_database_itself_allows_one_active_run_per_instrument(bench: Bench) -> None:
    await bench.start()
    with pytest.raises(IntegrityError, match="uq_instrument_run_active"):
        async with bench.db.begin() as tx:
            await tx.execute(
                text(
                    "INSERT INTO instrument_run SELECT gen_random_uuid(), 'R-X', instrument_id, protocol_version_id, operator_id,"
                    " operator_name, samples, parameters, state, started_at, ended_at, progress, handle, results, stop_reason, stop_key,"
                    " error_code, 'other', version FROM instrument_run"
                )
            )


@pytest.mark.rule("11.10(k)")
async def test_protocol_versions_cannot_be_changed_by_the_server(bench: Bench) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with bench.db.begin() as tx:
            await tx.execute(text("UPDATE protocol_version SET summary = 'other'"))


async def test_tables_and_migration_agree(urls: Urls) -> None:
    mine = ("instrument", "protocol")
    assert [d for d in migrate.differences(urls.owner) if any(name in d for name in mine)] == []


async def test_stopping(bench: Bench) -> None:
    run = await bench.start()
    bench.clock.advance(90)
    stopped = await bench.stop(run.code.lower(), "  the plate was wrong ", key="s1")
    assert (stopped.state, stopped.stop_reason, stopped.progress) == ("stopped", "the plate was wrong", pytest.approx(90 / TOTAL))
    assert stopped.ends_at == bench.clock.now()
    assert await bench.state() == "idle"
    assert (await bench.stop(run.code, "x", key="s1")).version == stopped.version  # the same call again
    with pytest.raises(RunNotActive):
        await bench.stop(run.code, key="s2")
    assert len(await bench.events("instrument_run.stopped")) == 1


async def test_of_a_stop_and_the_natural_end_only_one_counts(bench: Bench) -> None:
    run = await bench.start()
    bench.clock.advance(TOTAL)
    with pytest.raises(RunNotActive):
        await bench.stop(run.code)
    await bench.advance()
    assert (await bench.run(run.code)).state == "done"


async def test_parallel_stops_and_sweeps(bench: Bench) -> None:
    run = await bench.start()
    bench.clock.advance(30)
    answers = await asyncio.gather(*(bench.stop(run.code) for _ in range(4)), *(bench.advance() for _ in range(2)), return_exceptions=True)
    assert sum(isinstance(answer, InstrumentRun) for answer in answers) == 1
    assert sum(isinstance(answer, RunNotActive) for answer in answers) == 3
    other = await bench.start()
    bench.clock.advance(TOTAL)
    assert sum(await asyncio.gather(*(bench.advance() for _ in range(5)))) == 1
    assert [event["record"]["id"] for event in await bench.events("instrument_run.finished")] == [other.code]


async def test_a_stop_needs_a_reason_that_can_be_kept(bench: Bench) -> None:
    run = await bench.start()
    for reason in ("", "   ", "x" * 1001, "a\x00b", "a\ud800"):
        with pytest.raises(InvalidInput):
            await bench.stop(run.code, reason)
    assert await bench.state() == "warming_up"


@pytest.mark.rule("11.10(e)", "Annex 11 s.12.4", "ALCOA attributable")
async def test_every_change_is_on_the_record_without_its_contents(bench: Bench) -> None:
    run = await bench.start(samples=["S-0001"])
    bench.clock.advance(70)
    caller = Caller(principal=bench.ann, run_id=uuid.uuid4(), tool="pause_run")
    async with bench.db.begin() as tx:
        await bench.lab.pause_run(tx, caller, run.code)
        await bench.lab.resume_run(tx, caller, run.code)
    await bench.stop(run.code, "CANARY-REASON", who=bench.bob)
    async with bench.db.begin() as tx:
        await bench.lab.report_fault(tx, SYSTEM, "PCR-02", error_code="jam", error="CANARY-FAULT")
    events = [event for event in await bench.events() if event["record"]["id"] in {run.code, "PCR-02"}]
    assert [(e["action"], e["record"]["version"]) for e in events] == [
        ("instrument.added", 1), ("instrument_run.started", 1), ("instrument_run.paused", 2), ("instrument_run.resumed", 3),
        ("instrument_run.stopped", 4), ("instrument.fault_reported", 6),
    ]  # fmt: skip
    assert events[2]["run_id"] == str(caller.run_id)
    assert events[2]["tool"] == "pause_run"
    assert events[4]["actor"] == str(bench.bob.id)
    assert [content["name"] for content in events[4]["content"]] == ["reason"]
    async with bench.db.begin() as tx:
        for table in ("instrument_run", "instrument", "audit_event"):
            rows = await tx.rows(text(f"SELECT t::text AS whole FROM {table} t"))
            whole = "".join(row.whole for row in rows) + "".join(
                bytes.fromhex(w).decode("latin-1") for row in rows for w in _hexes(row.whole)
            )
            assert "CANARY" not in whole
            assert "Ann Analyst" not in whole


def _hexes(text_of_row: str) -> list[str]:
    return [part.split('"')[0].split(",")[0].split(")")[0] for part in text_of_row.split("\\x")[1:]]


async def test_an_erased_operator_leaves_the_run(bench: Bench) -> None:
    run = await bench.start()
    bench.clock.advance(TOTAL)
    bench.vault.erase(bench.ann.id)
    assert (await bench.run(run.code)).operator == "erased person"
    assert await bench.advance() == 1


async def test_speed_shortens_the_wall_clock_only(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(speed=10.0)
    await bench.furnish()
    run = await bench.start()
    assert run.ends_at == bench.clock.now() + timedelta(seconds=TOTAL / 10)
    bench.speed = 1.0
    bench.lab = bench.restarted()
    assert (await bench.run(run.code)).ends_at == run.ends_at  # a run keeps the speed it began with


async def test_duration_counts_samples_and_cycles(bench: Bench) -> None:
    run = await bench.start("HPLC-03", "GRAD", samples=["S-0001", "S-0002", "S-0003"])
    assert (run.remaining_seconds or 0) == pytest.approx(30 + 300)
    assert ((await bench.start(parameters={"cycles": 40})).remaining_seconds or 0) == pytest.approx(60 + 400)


BAD_STARTS: list[tuple[dict[str, Any], type[Problem]]] = [
    ({"instrument": "PCR-99"}, UnknownInstrument),
    ({"instrument": ""}, UnknownInstrument),
    ({"instrument": "the"}, UnknownInstrument),
    ({"instrument": "'; DROP TABLE instrument; --"}, UnknownInstrument),
    ({"instrument": "\x00"}, UnknownInstrument),
    ({"instrument": "thermocycler"}, AmbiguousInstrument),
    ({"protocol": "NOPE"}, UnknownProtocol),
    ({"protocol": ""}, UnknownProtocol),
    ({"protocol": "PCR-SHORT\x00"}, UnknownProtocol),
    ({"protocol": "X" * 5000}, UnknownProtocol),
    ({"protocol": "GRAD"}, ProtocolMismatch),
    ({"samples": ["S-0001", "S-0001"]}, WrongSamples),
    ({"samples": ["John Smith"]}, WrongSamples),
    ({"samples": ["S-١"]}, WrongSamples),
    ({"samples": [None]}, WrongSamples),
    ({"samples": "S-0001"}, WrongSamples),
    ({"samples": [f"S-{n:04d}" for n in range(5)]}, WrongSamples),
    ({"samples": [f"S-{n:04d}" for n in range(1000)]}, WrongSamples),
    ({"parameters": {"cycles": 0}}, WrongParameters),
    ({"parameters": {"cycles": 41}}, WrongParameters),
    ({"parameters": {"cycles": 6.5}}, WrongParameters),
    ({"parameters": {"cycles": True}}, WrongParameters),
    ({"parameters": {"cycles": "6"}}, WrongParameters),
    ({"parameters": {"cycles": 10**400}}, WrongParameters),
    ({"parameters": {"annealing": float("nan")}}, WrongParameters),
    ({"parameters": {"annealing": float("inf")}}, WrongParameters),
    ({"parameters": {"annealing": None}}, WrongParameters),
    ({"parameters": {"lid": 100}}, WrongParameters),
]


async def test_bad_starts_are_refused_and_change_nothing(bench: Bench) -> None:
    tables = ["instrument_run", "audit_event", "instrument_run_number"]
    async with bench.db.begin() as tx:
        before = await counts(tx, tables)
    for changes, problem in BAD_STARTS:
        wish: dict[str, Any] = {"instrument": "PCR-02", "protocol": "PCR-SHORT"} | changes
        with pytest.raises(problem):
            await bench.start(**wish)
        async with bench.db.begin() as tx:  # the preview refuses what the start refuses
            with pytest.raises(problem):
                await bench.lab.preview_start(tx, StartRun(**wish, idempotency_key="k"))
    async with bench.db.begin() as tx:
        assert await counts(tx, tables) == before


async def test_unknown_runs(bench: Bench) -> None:
    for code in ("", "R-2026-9999", "R-2026-0001' OR 1=1", "\x00", "R-٢٠٢٦-0001", "x" * 10_000):
        with pytest.raises(UnknownInstrumentRun):
            await bench.run(code)
        with pytest.raises(UnknownInstrumentRun):
            await bench.stop(code)


async def test_ambiguity_names_the_candidates(bench: Bench) -> None:
    with pytest.raises(AmbiguousInstrument) as caught:
        await bench.state("the thermocycler")
    assert caught.value.document()["candidates"] == ["PCR-02", "PCR-05"]
    async with bench.db.begin() as tx:
        for said in ("pcr 05", "PCR05", "Fast cycler", "the fast cycler", "fast"):
            assert (await bench.lab.instrument(tx, said)).code == "PCR-05"
        for said in ("HPLC", "our chromatograph", "hplcs", "tower"):
            assert (await bench.lab.instrument(tx, said)).code == "HPLC-03"


class Stubborn(SimulatedDriver):
    """A device that stops answering."""

    simulated = False

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.silent = False
        self.started: list[str] = []

    async def _answer(self) -> None:
        if self.broken:
            raise DriverError("no")
        if self.silent:
            await asyncio.Event().wait()

    async def start(self, spec: RunSpec, *, idempotency_key: str, at: datetime) -> Handle:
        await self._answer()
        self.started.append(idempotency_key)
        return await super().start(spec, idempotency_key=idempotency_key, at=at)

    async def observe(self, handle: Handle, *, at: datetime) -> Observation:
        await self._answer()
        return await super().observe(handle, at=at)


@pytest.mark.rule("11.10(h)")
async def test_a_device_that_does_not_answer(make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Stubborn()
    bench = make_bench(drivers={"simulated": driver})
    await bench.furnish()
    driver.broken = True
    with pytest.raises(InstrumentUnreachable):
        await bench.start(key="k")
    assert await bench.state() == "idle"
    driver.broken = False
    run = await bench.start(key="k")
    driver.broken = True
    assert await bench.state() == "offline"
    assert (await bench.run(run.code)).state == "warming_up"
    bench.clock.advance(TOTAL)
    assert await bench.advance() == 0
    driver.broken, driver.silent = False, True
    monkeypatch.setattr(views, "DRIVER_SECONDS", 0.01)
    assert await bench.state() == "offline"
    with pytest.raises(InstrumentUnreachable):
        await bench.start("PCR-05")
    driver.silent = False
    assert await bench.advance() == 1
    assert driver.started == ["k"]


class Withholding(SimulatedDriver):
    """A device that keeps the results of one instrument to itself."""

    async def results(self, spec: RunSpec, handle: Handle) -> tuple[Result, ...]:
        if spec.instrument == "PCR-02":
            raise DriverError("no results")
        return await super().results(spec, handle)


async def test_one_device_without_results_does_not_hold_up_the_others(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(drivers={"simulated": Withholding()})
    await bench.furnish()
    await bench.start("PCR-02")
    good = await bench.start("PCR-05")
    bench.clock.advance(TOTAL)
    assert await bench.advance() == 1
    assert (await bench.run(good.code)).results


async def test_a_missing_driver_is_offline_not_a_crash(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    await bench.furnish()
    run = await bench.start("PCR-05")
    bench.drivers = {}
    bench.lab = bench.restarted()
    assert await bench.state() == "offline"
    with pytest.raises(InstrumentOffline):
        await bench.start()
    assert await bench.advance() == 0
    assert (await bench.run(run.code)).state == "warming_up"


async def test_an_unreadable_schedule_does_not_hold_up_the_others(bench: Bench) -> None:
    bad, good = await bench.start("PCR-02"), await bench.start("PCR-05")
    async with bench.db.begin() as tx:
        await tx.execute(text("UPDATE instrument_run SET handle = '{\"wrong\": 1}' WHERE code = :code"), {"code": bad.code})
    bench.clock.advance(TOTAL)
    assert await bench.advance() == 1
    assert (await bench.run(good.code)).state == "done"
    async with bench.db.begin() as tx:
        failed = await bench.lab.report_fault(tx, SYSTEM, "PCR-02", error_code="controller", error="Controller replaced.")
    assert failed.state == "error"
    assert (await bench.run(bad.code)).state == "failed"


async def test_history_by_state_instrument_and_page(bench: Bench) -> None:
    codes = []
    for n in range(5):
        codes.append((await bench.start("PCR-02")).code)
        bench.clock.advance(TOTAL)
        if n % 2:
            await bench.advance()
    stopped = await bench.start("PCR-05")
    await bench.stop(stopped.code)
    bench.clock.advance(1)
    running = await bench.start("HPLC-03", "GRAD")
    newest = [running.code, stopped.code, *reversed(codes)]

    async def ask(**given: Any) -> list[str]:
        async with bench.db.begin() as tx:
            found, _ = await bench.lab.runs(tx, **given)
        return [run.code for run in found]

    assert await ask() == newest
    assert await ask(state="done") == list(reversed(codes))  # the one not yet written down is among them
    assert await ask(state="completed", instrument="pcr-02", limit=2) == list(reversed(codes))[:2]
    assert await ask(state="active") == [running.code]
    assert await ask(state="stopped") == await ask(state="aborted") == [stopped.code]
    assert await ask(state="failed") == []
    for limit in (1, 2, 3):
        pages, after = [], None
        async with bench.db.begin() as tx:
            while True:
                found, after = await bench.lab.runs(tx, limit=limit, after=after)
                assert 0 < len(found) <= limit
                pages += [run.code for run in found]
                if after is None:
                    break
        assert pages == newest
    async with bench.db.begin() as tx:
        for bad in (
            {"limit": 0},
            {"limit": 201},
            {"state": "sleeping"},
            {"after": "%%%"},
            {"after": "bm90IGE"},
            {"after": "é"},
            {"after": "/w"},
        ):
            with pytest.raises(InvalidInput):
                await bench.lab.runs(tx, **bad)  # type: ignore[arg-type]


async def test_protocols_by_instrument_and_words(bench: Bench) -> None:
    async def ask(**given: Any) -> list[str]:
        async with bench.db.begin() as tx:
            found, _ = await bench.lab.protocols(tx, **given)
        return [protocol.code for protocol in found]

    assert await ask() == ["GRAD", "PCR-SHORT"]
    assert await ask(instrument="PCR-05") == ["PCR-SHORT"]
    assert await ask(query="short heat") == ["PCR-SHORT"]
    assert await ask(query="100 %") == ["PCR-SHORT"]
    assert await ask(query="100%") == []
    assert await ask(query="_") == []
    assert await ask(query="\x00 \ud800") == ["GRAD", "PCR-SHORT"]
    with pytest.raises(InvalidInput):
        await ask(query="x" * 201)


async def test_protocol_versions_follow_each_other(bench: Bench) -> None:
    async with bench.db.begin() as tx:
        second = await bench.lab.publish_protocol(tx, SYSTEM, "GRAD", PER_SAMPLE, version=2)
    assert second.version == 2
    for version in (1, 2, 4, 0, -1):
        with pytest.raises((ProtocolExists, InvalidInput)):
            async with bench.db.begin() as tx:
                await bench.lab.publish_protocol(tx, SYSTEM, "GRAD", PER_SAMPLE, version=version)
    assert (await bench.start("HPLC-03", "grad")).protocol_version == 2


@pytest.mark.rule("11.10(k)")
async def test_a_changed_protocol_does_not_change_a_started_run(bench: Bench) -> None:
    run = await bench.start("HPLC-03", "GRAD")
    async with bench.db.begin() as tx:
        await bench.lab.publish_protocol(tx, SYSTEM, "GRAD", PER_SAMPLE, version=2)
    assert (await bench.run(run.code)).protocol_version == 1


@pytest.mark.rule("11.10(h)")
async def test_the_catalogue_refuses_what_cannot_be_used(bench: Bench) -> None:
    good = {"code": "NEW-1", "name": "New", "kind": "hplc", "location": "Room"}
    for bad in (
        {"code": "pcr"},
        {"code": "A" * 33},
        {"name": " "},
        {"name": "a\nb"},
        {"location": "x" * 121},
        {"last_service_on": "soon"},
        {"kind": "oven"},
    ):
        with pytest.raises(InvalidInput):
            async with bench.db.begin() as tx:
                await bench.lab.add_instrument(tx, SYSTEM, NewInstrument(**(good | bad)))  # type: ignore[arg-type]
    with pytest.raises(InstrumentExists):
        async with bench.db.begin() as tx:
            await bench.lab.add_instrument(tx, SYSTEM, NewInstrument(**(good | {"code": "PCR-02"})))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        async with bench.db.begin() as tx:
            await bench.lab.publish_protocol(tx, SYSTEM, "EMPTY", type(SHORT)(name="x", summary="x", kinds=("hplc",), steps=()))


async def test_past_runs(bench: Bench, vault: Vault) -> None:
    now = bench.clock.now()
    past: dict[str, Any] = {"instrument": "PCR-02", "protocol": "PCR-SHORT", "operator_id": uuid.uuid4(), "operator": "Old Hand"}
    async with bench.db.begin() as tx:
        failed = await bench.lab.import_run(
            tx,
            SYSTEM,
            PastRun(**past, started_at=now - timedelta(days=400), ended_at=now - timedelta(days=399), state="failed", error_code="jam"),
        )
        going = await bench.lab.import_run(tx, SYSTEM, PastRun(**past, started_at=now - timedelta(seconds=70)))
    assert (failed.code, failed.operator, failed.error_code) == ("R-2025-0001", "Old Hand", "jam")
    assert (going.code, going.state) == ("R-2026-0001", "running")
    for wrong in ({"started_at": now + timedelta(1)}, {"started_at": now, "ended_at": now - timedelta(1)}, {"started_at": now}):
        with pytest.raises((InvalidInput, InstrumentBusy)):
            async with bench.db.begin() as tx:
                await bench.lab.import_run(tx, SYSTEM, PastRun(**(past | wrong)))
