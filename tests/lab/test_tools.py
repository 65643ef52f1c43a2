"""The six tools through their Tool methods, on a real database."""

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from aliquot.identity.contracts import SYSTEM
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.problems import InvalidInput
from aliquot.lab import planning
from aliquot.lab.contracts import InstrumentRun, Result
from aliquot.lab.errors import InstrumentBusy, InstrumentInError, RunNotActive, UnknownInstrument, UnknownInstrumentRun
from aliquot.lab.rendering import exact
from aliquot.lab.shapes import history_shape, run_shape
from aliquot.lab.tools import lab_tools
from aliquot.policy.contracts import Preview
from aliquot.tools.contracts import Tool, ToolContext, ToolResult
from aliquot.tools.registry import Registry
from tests.lab.bench import PER_SAMPLE, Bench

START = {"instrument": "PCR-02", "protocol": "PCR-SHORT"}


@pytest.fixture
def tools(bench: Bench) -> dict[str, Tool]:
    return {tool.name: tool for tool in lab_tools(bench.lab)}


async def execute(bench: Bench, tool: Tool, arguments: dict[str, Any], context: ToolContext | None = None) -> ToolResult:
    async with bench.db.begin() as tx:
        result = await tool.execute(tx, context or bench.context(), arguments)
    assert len(canonical_json(result.data)) < 60_000
    return result


async def look(bench: Bench, tool: Tool, arguments: dict[str, Any], context: ToolContext | None = None) -> tuple[dict[str, Any], Preview]:
    """Facts and preview in a transaction that PostgreSQL itself keeps from writing."""
    given = context or bench.context()
    async with bench.db.begin() as tx:
        await tx.execute(text("SET TRANSACTION READ ONLY"))
        facts = await tool.facts(tx, given, arguments)
        return facts, await tool.preview(tx, given, arguments)


async def ask(bench: Bench, tool: Tool, **arguments: Any) -> str:
    return tool.render(await execute(bench, tool, arguments))


def test_the_registry_takes_them_and_every_example_fits(bench: Bench) -> None:
    registry = Registry(lab_tools(bench.lab))
    assert registry.names() == {"get_instrument_status", "get_run_history", "get_run", "get_protocols", "start_run", "stop_run"}
    arguments = {
        known.facts.name: (set(known.tool.parameters["properties"]), known.tool.parameters["required"]) for known in registry.all()
    }
    assert arguments == {
        "get_instrument_status": ({"instrument", "protocol"}, ["instrument"]),
        "get_run_history": ({"instrument", "state", "since", "until", "limit"}, []),
        "get_run": ({"run", "earlier"}, ["run"]),
        "get_protocols": ({"instrument", "query", "sample_count"}, []),
        "start_run": ({"instrument", "protocol", "samples", "parameters"}, ["instrument", "protocol"]),
        "stop_run": ({"run", "reason"}, ["run", "reason"]),
    }
    questions = [example.text.casefold() for known in registry.all() for example in known.tool.examples]
    assert len(questions) == len(set(questions))  # one question never leads to two tools
    for known in registry.all():
        assert len({example.text for example in known.tool.examples}) >= 15
        assert known.facts.permissions == (("lab.operate",) if known.facts.effect == "instrument" else ("lab.read",))


BAD_ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    ("get_instrument_status", {}),
    ("get_instrument_status", {"instrument": ""}),
    ("get_instrument_status", {"instrument": 7}),
    ("get_instrument_status", {"instrument": ["PCR-02"]}),
    ("get_instrument_status", {"instrument": "x" * 81}),
    ("get_instrument_status", {"instrument": "a\x00"}),
    ("get_instrument_status", {"instrument": "PCR-02", "run": "x"}),
    ("get_run_history", {"limit": 0}),
    ("get_run_history", {"limit": 51}),
    ("get_run_history", {"limit": "3"}),
    ("get_run_history", {"state": "asleep"}),
    ("get_run", {}),
    ("get_run", {"run": "R-26-1"}),
    ("get_run", {"run": "R-2026-0001' OR 1=1"}),
    ("get_run", {"run": "R-2026-0001", "earlier": -1}),
    ("get_run", {"run": "R-2026-0001", "earlier": 51}),
    ("get_protocols", {"query": ""}),
    ("get_protocols", {"query": "x" * 201}),
    ("start_run", {"instrument": "PCR-02"}),
    ("start_run", START | {"protocol": "a b"}),
    ("start_run", START | {"samples": ["John Smith"]}),
    ("start_run", START | {"samples": "S-0001"}),
    ("start_run", START | {"samples": ["S-0001", "S-0001"]}),
    ("start_run", START | {"samples": [f"S-{n}" for n in range(385)]}),
    ("start_run", START | {"parameters": {"cycles": "30"}}),
    ("start_run", START | {"parameters": {"Cycles!": 30}}),
    ("start_run", START | {"parameters": {f"p{n}": 1 for n in range(21)}}),
    ("start_run", START | {"force": True}),
    ("stop_run", {"run": "R-2026-0001"}),
    ("stop_run", {"run": "R-2026-0001", "reason": "  "}),
    ("stop_run", {"run": "R-2026-0001", "reason": "x" * 1001}),
    ("stop_run", {"run": "all", "reason": "x"}),
]


def test_schemas_refuse_bad_arguments(bench: Bench) -> None:
    registry = Registry(lab_tools(bench.lab))
    for name, arguments in BAD_ARGUMENTS:
        assert not registry.get(name).validator.is_valid(arguments), (name, arguments)


async def test_status(bench: Bench, tools: dict[str, Tool]) -> None:
    status = tools["get_instrument_status"]
    assert "PCR-02 (Gradient cycler) has been idle since 2026-03-02 09:30 UTC." in await ask(bench, status, instrument="pcr-02")
    run = await bench.start(samples=["S-0001"])
    bench.clock.advance(90)
    said = await ask(bench, status, instrument="Gradient cycler")
    assert f"Run {run.code} (PCR-SHORT, started by Ann Analyst) is 75 % done and ends about 2026-03-02 09:32 UTC, in 30 s." in said
    assert "| Samples | S-0001 |" in said
    async with bench.db.begin() as tx:
        await bench.lab.report_fault(tx, SYSTEM, "HPLC-03", error_code="leak", error="Leak at | pump B.")
    assert "HPLC-03 (Chromatography tower) has been in error" in await ask(bench, status, instrument="HPLC")
    everything = await ask(bench, status, instrument=" ALL ")
    assert everything.startswith("3 instruments; 1 free: PCR-05. HPLC-03 is in error. PCR-02 is running.")
    assert "Leak at \\| pump B." in everything
    with pytest.raises(UnknownInstrument, match="PCR-02, PCR-05"):
        await ask(bench, status, instrument="microscope")


async def test_one_run_by_its_number(bench: Bench, tools: dict[str, Tool]) -> None:
    one = tools["get_run"]
    first = await bench.start(samples=["S-0001", "S-0002"])
    bench.clock.advance(90)
    said = await ask(bench, one, run=first.code.lower())
    assert said.startswith(
        f"{first.code} (PCR-SHORT version 1 on PCR-02, started by Ann Analyst) is running, 75 % done, and ends about "
        "2026-03-02 09:32 UTC, in 30 s."
    )
    assert "| Samples | S-0001, S-0002 |" in said
    assert said.endswith("No results yet.")
    bench.clock.advance(400)
    await bench.advance()
    said = await ask(bench, one, run=first.code)
    assert "was finished at 2026-03-02 09:32 UTC. It took 2 min." in said
    assert "| lid temperature, mean | 10" in said
    assert " °C |" in said
    second = await bench.start()
    await bench.stop(second.code, "a private reason")
    whole = await execute(bench, one, {"run": second.code})
    assert one.render(whole).startswith(f"{second.code} (PCR-SHORT version 1 on PCR-02, started by Ann Analyst) was stopped at 0 %")
    assert "private" not in canonical_json(whole.data).decode()  # another person's words are no matter for a model
    before = await ask(bench, one, run=second.code, earlier=1)
    assert before.startswith(f"Before {second.code} came {first.code}. {first.code} (PCR-SHORT")
    for arguments, sentence in (
        ({"run": "R-2026-0012"}, "There is no run R-2026-0012. Did you mean R-2026-000"),
        ({"run": "R-1999-7345"}, "There is no run R-1999-7345.$"),
        ({"run": first.code, "earlier": 1}, f"There are not that many runs before {first.code}."),
    ):
        with pytest.raises(UnknownInstrumentRun, match=sentence):
            await ask(bench, one, **arguments)


async def test_history(bench: Bench, tools: dict[str, Tool]) -> None:
    history = tools["get_run_history"]
    assert await ask(bench, history) == "There are no runs."
    assert await ask(bench, history, instrument="HPLC-03", state="failed") == "There are no failed runs on HPLC-03."
    run = await bench.start(samples=[f"S-{n:04d}" for n in range(4)])
    bench.clock.advance(500)
    await bench.advance()
    said = await ask(bench, history, instrument="PCR-02")
    assert said.startswith("1 run on PCR-02.")
    assert f"| {run.code} | PCR-02 | PCR-SHORT | Ann Analyst | done | 2026-03-02 09:30 UTC | 2 min | 4 |" in said
    assert "lid temperature, mean 10" in said
    assert "°C/s" in said
    period = " from 2026-03-02 00:00 UTC until 2026-03-03 00:00 UTC"
    today = {"since": "2026-03-02", "until": "2026-03-02"}
    assert (await ask(bench, history, state="completed", **today)).startswith(f"1 completed run that ended{period}.")
    assert (await ask(bench, history, **today)).startswith(f"1 run that were going on{period}.".replace("were", "was"))
    later = "2026-03-02T10:00:00+00:00"
    assert await ask(bench, history, since=later) == "There are no runs that were going on from 2026-03-02 10:00 UTC until now."
    assert await ask(bench, history, until="2026-03-02T10:30:00+01:00") != await ask(bench, history, until="2026-03-02T10:31:00+01:00")
    with pytest.raises(InvalidInput, match="2026-11-21"):
        await ask(bench, history, since="yesterday!")
    await bench.start()
    assert (await ask(bench, history, limit=1)).startswith("1 run; there are more.")


async def test_protocols(bench: Bench, tools: dict[str, Tool]) -> None:
    protocols = tools["get_protocols"]
    assert "2 protocols: GRAD, PCR-SHORT." in await ask(bench, protocols)
    said = await ask(bench, protocols, instrument="PCR-05")
    assert "PCR-SHORT version 1 for PCR-05: Short PCR." in said
    assert "| 2 | Cycle | thermocycler | block 60 °C | 10 s | × 6 |" in said
    assert "| annealing | 60 °C | 45.5 to 72 °C |" in said
    assert await ask(bench, protocols, query="western blot") == "No protocol fits."
    assert "Duration for one sample" in await ask(bench, protocols)
    text = PER_SAMPLE
    one, many = (text.warm_up_seconds + planning.run_seconds(text, {p.name: p.default for p in text.parameters}, n) for n in (1, 8))
    assert f"takes {exact(one)} on the instrument for one sample" in await ask(bench, protocols, query="GRAD")
    assert f"takes {exact(many)} on the instrument for 8 samples" in await ask(bench, protocols, query="GRAD", sample_count=8)
    assert "384 samples do not fit" in await ask(bench, protocols, query="GRAD", sample_count=384)
    assert [exact(n) for n in (255, 86_640, 0, 3_600)] == ["4 min 15 s", "24 h 4 min", "0 s", "1 h"]


async def test_starting(bench: Bench, tools: dict[str, Tool]) -> None:
    start, context = tools["start_run"], bench.context()
    wish = START | {"samples": ["S-0001", "S-0002"], "parameters": {"cycles": 30}}
    facts, preview = await look(bench, start, wish, context)
    assert facts == {"instrument": "PCR-02", "instrument_state": "idle"}
    assert preview.summary == (
        "Start PCR-SHORT version 1 on PCR-02 with 2 samples: about 6 min (1 min of it warm-up), ending about 2026-03-02 09:36 UTC."
    )
    assert preview.resource_versions == {"instrument:PCR-02": 1, "protocol:PCR-SHORT": 1}
    assert preview.changes[0] == {"record": "instrument:PCR-02", "field": "state", "before": "idle", "after": "warming_up"}
    assert {"record": "instrument_run:new", "field": "cycles", "before": "6 (default)", "after": "30"} in preview.changes
    assert any("simulated" in warning for warning in preview.warnings)
    assert any("no register of samples" in warning for warning in preview.warnings)
    assert any("by hand" in warning for warning in preview.warnings)
    result = await execute(bench, start, wish, context)
    assert "Run R-2026-0001 was started on PCR-02" in start.render(result)
    assert "| annealing | 60 °C |" in start.render(result)
    assert (await execute(bench, start, wish, context)).data["code"] == "R-2026-0001"  # the same call again, after a crash
    (event,) = await bench.events("instrument_run.started")
    assert (event["tool"], event["run_id"], event["actor"]) == ("start_run", str(context.run_id), str(bench.ann.id))
    assert [content["name"] for content in event["content"]] == ["parameters", "samples"]
    with pytest.raises(InstrumentBusy, match="R-2026-0001"):
        await look(bench, start, START)


async def test_a_preview_is_out_of_date_once_something_happened(bench: Bench, tools: dict[str, Tool]) -> None:
    start, stop = tools["start_run"], tools["stop_run"]
    _, before = await look(bench, start, START)
    run = await bench.start()
    _, stop_before = await look(bench, stop, {"run": run.code, "reason": "x"})
    bench.clock.advance(30)
    _, stop_later = await look(bench, stop, {"run": run.code, "reason": "x"})
    assert stop_later.resource_versions == stop_before.resource_versions  # time alone does not make an approval stale
    await bench.stop(run.code)
    _, after = await look(bench, start, START)
    assert after.resource_versions["instrument:PCR-02"] > before.resource_versions["instrument:PCR-02"]


async def test_parallel_starts_by_tool(bench: Bench, tools: dict[str, Tool]) -> None:
    answers = await asyncio.gather(*(execute(bench, tools["start_run"], START) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(answer, ToolResult) for answer in answers) == 1
    assert sum(isinstance(answer, InstrumentBusy) for answer in answers) == 4


async def test_stopping(bench: Bench, tools: dict[str, Tool]) -> None:
    stop, run = tools["stop_run"], await bench.start(samples=["S-0001"])
    bench.clock.advance(60)
    wish = {"run": run.code, "reason": "The plate was mixed up"}
    facts, preview = await look(bench, stop, wish)
    assert facts == {"foreign_run": False, "instrument": "PCR-02", "instrument_state": "running"}
    assert preview.resource_versions == {f"instrument_run:{run.code}": 1, "instrument:PCR-02": 2}
    facts, preview = await look(bench, stop, wish, bench.context(bench.bob))
    assert facts["foreign_run"] is True
    assert preview.warnings[0] == "This is not your run: Ann Analyst started it."
    assert "at 50 %" in preview.summary
    result = await execute(bench, stop, wish, bench.context(bench.bob))
    assert f"Run {run.code} on PCR-02 was stopped at 50 %" in stop.render(result)
    with pytest.raises(RunNotActive):
        await look(bench, stop, wish)


async def test_what_does_not_exist_is_foreign_and_refused(bench: Bench, tools: dict[str, Tool]) -> None:
    stop, start = tools["stop_run"], tools["start_run"]
    async with bench.db.begin() as tx:
        facts = await stop.facts(tx, bench.context(), {"run": "R-2026-0404", "reason": "x"})
        assert facts == {"foreign_run": True, "instrument_state": "unknown"}
        with pytest.raises(UnknownInstrumentRun):
            await stop.preview(tx, bench.context(), {"run": "R-2026-0404", "reason": "x"})
        for name in ("nowhere", "thermocycler"):
            assert await start.facts(tx, bench.context(), START | {"instrument": name}) == {"instrument_state": "unknown"}
        await bench.lab.report_fault(tx, SYSTEM, "PCR-02", error_code="lid", error="The lid does not close.")
        with pytest.raises(InstrumentInError, match="lid does not close"):
            await start.preview(tx, bench.context(), START)


async def test_reading_writes_nothing(bench: Bench, tools: dict[str, Tool]) -> None:
    run = await bench.start()
    bench.clock.advance(100_000)
    async with bench.db.begin() as tx:
        await tx.execute(text("SET TRANSACTION READ ONLY"))
        for name, arguments in (
            ("get_instrument_status", {"instrument": "all"}), ("get_run_history", {"state": "done"}), ("get_protocols", {}),
        ):  # fmt: skip
            result = await tools[name].execute(tx, bench.context(), arguments)
            assert tools[name].render(result)
            assert await tools[name].facts(tx, bench.context(), arguments) == {}
            assert (await tools[name].preview(tx, bench.context(), arguments)).resource_versions == {}
    assert (await bench.run(run.code)).state == "done"
    assert await bench.events("instrument_run.finished") == []


async def test_every_word_of_the_vocabulary_is_understood(bench: Bench, tools: dict[str, Tool]) -> None:
    await bench.start()
    async with bench.db.begin() as tx:
        known = {name: await tool.vocabulary(tx) for name, tool in tools.items()}
    assert {"PCR-02", "Fast cycler", "thermocycler", "all"} <= set(known["get_instrument_status"]["instrument"])
    assert known["start_run"]["protocol"] == ("GRAD", "PCR-SHORT")
    assert known["stop_run"]["run"] == ("R-2026-0001",)
    registry = Registry(tools.values())
    for word in known["get_run_history"]["state"]:
        assert registry.get("get_run_history").validator.is_valid({"state": word})
        assert await ask(bench, tools["get_run_history"], state=word)
    for word in known["get_protocols"]["query"]:
        assert (await execute(bench, tools["get_protocols"], {"query": word})).data["protocols"]
    for word in set(known["get_instrument_status"]["instrument"]) - {"PCR", "thermocycler", "thermal cycler", "cycler", "PCR machine"}:
        assert registry.get("get_instrument_status").validator.is_valid({"instrument": word})
        assert await ask(bench, tools["get_instrument_status"], instrument=word)


def test_the_largest_answers_stay_within_bounds() -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    run = InstrumentRun(
        id=uuid.uuid4(), code="R-2026-00000001", instrument="X" * 32, protocol="X" * 32, protocol_version=1000, operator_id=uuid.uuid4(),
        operator="X" * 120, samples=tuple(f"ABCD-{n:08d}" for n in range(384)), parameters={f"parameter_{n:029d}": 1.5 for n in range(20)},
        units={}, state="stopped", progress=0.123456, started_at=at, ends_at=at, remaining_seconds=0.0,
        results=tuple(Result(name="x" * 40, value=1 / 3, unit="× g", sample=None) for _ in range(400)), stop_reason="x" * 1000,
        error_code="x" * 64, version=1000,
    )  # fmt: skip
    assert len(canonical_json({"runs": [history_shape(run)] * 50})) < 60_000
    assert len(canonical_json(run_shape(run))) < 10_000
