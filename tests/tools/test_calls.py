"""Calls of tools under policy: what is executed, what is refused, and what is on record."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from aliquot.kernel.problems import NotFound
from aliquot.tools.contracts import CallReport, ReadyCall
from aliquot.tools.errors import CallInFlight, CallMismatch, ToolDenied, UnknownTool
from tests.tools.tool_world import Busy, FakeTool, World, start_tool, write_tool

Make = Callable[..., World]


@pytest.mark.rule("Annex 11 s.12.4", "ALCOA attributable")
async def test_an_allowed_call_is_executed_and_on_record(world: Make) -> None:
    w = world(FakeTool())
    context = w.context()
    report = await w.call(context=context, arguments='{"instrument": "PCR-02"}')
    assert (report.outcome, report.summary) == ("ok", "**PCR-02** is idle.")
    assert report.result is not None
    assert report.result.data == {"instrument": "PCR-02", "state": "idle"}
    assert report.rendered is not None
    assert report.rendered.endswith("|---|\n")
    (event,) = await w.events()
    person = context.principal.id
    expected = {
        name: w.vault.commit(person, data)[0]
        for name, data in {"arguments": b'{"instrument":"PCR-02"}', "result": b'{"instrument":"PCR-02","state":"idle"}'}.items()
    }
    assert {c["name"]: c["hmac"] for c in event["content"]} == expected
    assert (event["actor"], event["tool"], event["outcome"], event["via"]) == (str(person), "get_status", "ok", "session")
    assert event["versions"] == {"policy": w.policy.policy_version, "tool_schema": w.tools.facts("get_status").schema_sha256}


async def test_nothing_said_is_stored_in_clear(world: Make) -> None:
    w = world(FakeTool(data={"instrument": "canary-result", "state": "idle"}))
    await w.call(arguments={"instrument": "canary-argument"})
    await w.call(tool="canary-tool", arguments="canary-text")
    dump = str(await w.rows("SELECT t::text FROM tool_call t")) + str(await w.rows("SELECT convert_from(body, 'UTF8') FROM audit_event"))
    assert "canary" not in dump
    hexed = b"canary".hex()
    assert hexed not in dump


async def test_the_same_key_is_answered_from_the_record(world: Make) -> None:
    tool = FakeTool()
    w = world(tool)
    context = w.context()
    first = await w.call(context=context)
    again = await w.make().call(context, "get_status", {"instrument": "PCR-02"})  # another process
    assert again == first
    assert len(tool.calls) == 1
    assert len(await w.events()) == 1


@pytest.mark.parametrize("change", ["arguments", "tool", "person"])
async def test_a_key_is_not_good_for_another_call(world: Make, change: str) -> None:
    w = world(FakeTool(), FakeTool(name="other"))
    context = w.context()
    await w.call(context=context)
    if change == "person":
        context = w.context(key=context.idempotency_key)
    with pytest.raises(CallMismatch):
        await w.tools.call(
            context, "other" if change == "tool" else "get_status", {"instrument": "X" if change == "arguments" else "PCR-02"}
        )


async def test_executing_twice_executes_once(world: Make) -> None:
    tool = FakeTool(go=asyncio.Event())
    w = world(tool)
    context = w.context()
    ready = await w.ready("get_status", context)
    first = asyncio.create_task(w.tools.execute(ready))
    await tool.started.wait()
    with pytest.raises(CallInFlight):
        await w.make().execute(ready)
    with pytest.raises(CallInFlight):
        await w.ready("get_status", context)
    assert tool.go is not None
    tool.go.set()
    assert (await first).outcome == "ok"
    assert (await w.tools.execute(ready)).outcome == "ok"
    assert len(tool.calls) == 1


async def test_a_ready_call_is_good_for_its_person_only(world: Make) -> None:
    w = world(FakeTool())
    ready = await w.ready("get_status", w.context())
    stolen = ReadyCall(id=ready.id, context=w.context(), tool=ready.tool, arguments=ready.arguments, decision=ready.decision)
    with pytest.raises(NotFound):
        await w.tools.execute(stolen)


async def test_the_stored_arguments_are_executed_not_those_handed_in(world: Make) -> None:
    tool = FakeTool()
    w = world(tool)
    context = w.context()
    ready = await w.ready("get_status", context)
    await w.tools.execute(
        ReadyCall(id=ready.id, context=context, tool=ready.tool, arguments={"instrument": "SEQ-01"}, decision=ready.decision)
    )
    assert tool.calls == [{"instrument": "PCR-02"}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be one JSON object"),
        ('{"instrument": "A", "instrument": "B"}', "instrument is given twice"),
        ("{}", "instrument is missing"),
        ("", "instrument is missing"),
        ('{"instrument": 5}', "must be of type string"),
        ('{"instrument": "A", "limit": 99}', "limit: must be at most 50, not 99"),
        ('{"instrument": "A", "colour": "red"}', "colour is not known here; allowed: instrument, limit"),
        ('{"instrument": "A", "limit": NaN}', "NaN is not a JSON number"),
        ('{"instrument": "A", "limit": 1e999}', "too large"),
        ('{"instrument": "A", "limit": ' + "9" * 5000 + "}", "too long"),
        ('{"instrument": "A", "limit": 9007199254740993}', "cannot represent exactly"),
        ('{"instrument": "a\\u0000b"}', "NUL"),
        ('{"instrument": "\\ud800"}', "cannot represent"),
        ("[" * 100_000, "longer than"),
        ("[" * 20_000, "nested too deeply"),
        ('{"instrument": ' + "[" * 20 + "]" * 20 + "}", "nested deeper than"),
    ],
)
async def test_wrong_arguments_are_explained_and_nothing_is_executed(world: Make, arguments: str, said: str) -> None:
    tool = FakeTool()
    w = world(tool)
    report = await w.call(arguments=arguments)
    assert (report.outcome, report.error_code) == ("failed", "arguments_invalid")
    assert said in (report.error_text or "")
    assert tool.calls == []
    (event,) = await w.events()
    assert event["outcome"] == "failed"


async def test_an_unknown_tool_is_named_as_such_with_what_there_is(world: Make) -> None:
    w = world(FakeTool(), start_tool())
    report = await w.call("get_sttus", context=w.context(w.person("viewer")))
    assert (report.outcome, report.error_code) == ("failed", "unknown_tool")
    assert report.error_text == "There is no such tool here. There are: get_status."
    assert (await w.call("start_run", only={"get_status"})).error_code == "unknown_tool"
    assert all("tool" not in event for event in await w.events())


@pytest.mark.rule("11.10(g)")
async def test_who_lacks_the_permission_is_denied_and_not_told_what_exists(world: Make) -> None:
    tool = start_tool(refuses_preview=Busy())
    w = world(tool)
    report = await w.call("start_run", context=w.context(w.person("viewer")))
    assert report.outcome == "denied"
    assert "lab.operate" in report.summary
    assert "busy" not in (report.error_text or "")
    assert [event["outcome"] for event in await w.events()] == ["denied"]
    assert w.tools.for_person(w.person("viewer")) == []
    assert [tool.name for tool in w.tools.specs(w.person("scientist"))] == ["start_run"]
    assert w.tools.specs(w.person("scientist"), only=()) == ()


@pytest.mark.parametrize("fake", [FakeTool(writes=True), FakeTool(data={"instrument": {1, 2}}), FakeTool(failures=[KeyError("secret")])])
async def test_a_tool_that_breaks_its_word_fails_without_detail(world: Make, fake: FakeTool) -> None:
    fake.failures = fake.failures * 4
    w = world(fake)
    report = await w.call()
    assert report.outcome == "failed"
    assert "secret" not in repr(report)
    assert await w.effects() == 0


async def test_a_preview_cannot_write(world: Make) -> None:
    w = world(start_tool(writes_in_preview=True))
    report = await w.call("start_run")
    assert (report.outcome, report.error_code) == ("failed", "tool_failed")
    assert await w.effects() == 0
    assert await w.rows("SELECT 1 FROM policy_approval") == []


async def test_a_read_is_retried_with_growing_pauses_and_says_so(world: Make) -> None:
    tool = FakeTool(failures=[KeyError(), ConnectionError(), KeyError()])
    w = world(tool)
    report = await w.call()
    assert (report.outcome, report.attempts, w.slept) == ("ok", 4, [1, 2, 4])
    assert len(await w.events()) == 1


async def test_a_read_that_never_works_says_so(world: Make) -> None:
    w = world(FakeTool(failures=[KeyError()] * 9))
    report = await w.call()
    assert report.summary == "Unable to fetch data from get_status, please try again"
    assert (report.attempts, report.error_code) == (4, "tool_failed")


async def test_an_expected_refusal_is_not_retried_and_keeps_its_words(world: Make) -> None:
    w = world(FakeTool(failures=[Busy()]))
    report = await w.call()
    assert (report.summary, report.error_code, w.slept) == ("The instrument is busy.", "instrument_busy", [])


async def test_three_failures_in_a_row_skip_the_tool_for_a_while(world: Make, clock: Any) -> None:
    tool, healthy = FakeTool(failures=[KeyError()] * 12), FakeTool(name="other")
    w = world(tool, healthy)
    for _ in range(3):
        await w.call()
    seen = len(tool.calls)
    report = await w.call()
    assert (report.error_code, report.summary) == ("tool_unavailable", "Unable to fetch data from get_status, please try again")
    assert len(tool.calls) == seen
    assert (await w.call("other")).outcome == "ok"
    clock.advance(31)
    assert (await w.call()).outcome == "ok"
    assert (await w.call()).outcome == "ok"


async def test_refusals_do_not_open_the_breaker(world: Make) -> None:
    w = world(FakeTool(failures=[Busy() for _ in range(5)]))
    outcomes = [(await w.call()).error_code for _ in range(6)]
    assert outcomes == ["instrument_busy"] * 5 + [None]


async def test_a_tool_that_hangs_is_ended_by_its_limit(world: Make) -> None:
    w = world(FakeTool(go=asyncio.Event()), tool_seconds=0.05)
    report = await w.call()
    assert (report.outcome, report.error_code, report.attempts) == ("failed", "tool_timeout", 1)


async def test_a_result_that_is_too_large_is_refused_in_words(world: Make) -> None:
    w = world(FakeTool(data={"x": "y" * 2000}), tool_result_chars=1000)
    report = await w.call()
    assert report.error_code == "tool_result_too_large"
    assert "limit" in report.summary


async def test_a_broken_renderer_does_not_lose_the_result(world: Make) -> None:
    w = world(FakeTool(data={"value": 5}))
    report = await w.call()
    assert report.outcome == "ok"
    assert report.rendered is not None
    assert '{"value":5}' in report.rendered


async def test_a_cancelled_read_ends_on_the_record(world: Make) -> None:
    tool = FakeTool(go=asyncio.Event())
    w = world(tool)
    context = w.context()
    task = asyncio.create_task(w.call(context=context))
    await tool.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await w.tools.drain(5)
    report = await w.call(context=context)
    assert (report.outcome, report.error_code) == ("failed", "cancelled")


async def test_a_person_makes_only_so_many_calls_a_minute(world: Make, clock: Any) -> None:
    w = world(FakeTool(), tool_calls_per_minute=2)
    person = w.person("scientist")
    codes = [(await w.call(context=w.context(person))).error_code for _ in range(3)]
    assert codes == [None, None, "rate_limited"]
    assert (await w.call()).outcome == "ok"  # somebody else
    clock.advance(61)
    assert (await w.call(context=w.context(person))).outcome == "ok"


@pytest.mark.rule("11.10(e)")
async def test_without_audit_nothing_happens(world: Make, urls: Any) -> None:
    tool = write_tool()
    w = world(tool)
    person = w.person("scientist")
    approval = await w.waiting(w.context(person), "note")
    approved = await w.approve(approval, person)
    owner = sa.create_engine(urls.superuser.replace("postgresql://", "postgresql+psycopg://"))
    with owner.begin() as conn:
        conn.execute(sa.text("ALTER TABLE audit_event ADD CONSTRAINT full_disk CHECK (action <> 'tool_call.finished') NOT VALID"))
    owner.dispose()
    with pytest.raises(Exception, match="full_disk"):
        await w.tools.execute_approved(approved, person)
    assert await w.effects() == 0


async def test_a_dry_run_changes_nothing(world: Make) -> None:
    tool = start_tool()
    w = world(tool)
    found = await w.tools.dry_run(w.context(), "start_run", {"instrument": "PCR-02"})
    assert (found.decision.decision, found.preview.summary) == ("confirm", "PCR-02 would start.")
    assert await w.rows("SELECT 1 FROM policy_approval UNION ALL SELECT 1 FROM tool_call UNION ALL SELECT 1 FROM audit_event") == []
    with pytest.raises(ToolDenied):
        await w.tools.dry_run(w.context(w.person("viewer")), "start_run", {"instrument": "PCR-02"})
    with pytest.raises(UnknownTool):
        await w.tools.dry_run(w.context(), "start_run", {"instrument": "PCR-02"}, only=["other"])


async def test_a_lost_answer_of_the_commit_is_not_taken_for_a_failure(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks after PostgreSQL committed the effect: the stored result counts, nothing is done twice."""
    tool = start_tool()
    w = world(tool)
    person = w.person("scientist")
    approved = await w.approve(await w.waiting(w.context(person)), person)
    real = w.db.begin
    import contextlib  # noqa: PLC0415 - only here

    from aliquot.platform.db import DatabaseUnavailable  # noqa: PLC0415

    @contextlib.asynccontextmanager
    async def begin() -> Any:
        async with real() as tx:
            yield tx
        if tool.calls and not broken:
            broken.append(True)
            raise DatabaseUnavailable

    broken: list[bool] = []
    monkeypatch.setattr(w.db, "begin", begin)
    report = await w.tools.execute_approved(approved, person)
    assert isinstance(report, CallReport)
    assert report.outcome == "ok"
    assert (len(tool.calls), await w.effects(), await w.approval_state(approved)) == (1, 1, "done")
