"""Calls a person has to confirm, and what a crash leaves behind."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from aliquot.identity.contracts import Principal
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import NotFound
from aliquot.tools.errors import CallInFlight
from tests.tools.tool_world import Busy, FakeTool, World, start_tool, write_tool

Make = Callable[..., World]


async def test_a_confirmed_call_is_executed_once_with_what_was_stored(world: Make) -> None:
    tool = start_tool()
    w = world(tool)
    person = w.person("scientist")
    context = w.context(person, run_id=new_id())
    approval = await w.waiting(context)
    assert (tool.calls, await w.effects(), await w.state(context.idempotency_key)) == ([], 0, "waiting")
    assert (await w.call("start_run", context=context)).approval == approval  # asked again after a crash: the same approval
    approved = await w.approve(approval, person)
    report = await w.tools.execute_approved(approved, person)
    assert (report.outcome, report.call_id) == ("ok", context.call_id)
    assert tool.calls == [{"instrument": "PCR-02"}]
    again = await w.make().execute_approved(approved, person)
    assert again == report
    assert (len(tool.calls), await w.effects(), await w.approval_state(approval)) == (1, 1, "done")
    (event,) = await w.events()
    assert event["outcome"] == "ok"


async def test_what_is_not_approved_is_not_executed(world: Make) -> None:
    tool = start_tool()
    w = world(tool)
    person = w.person("scientist")
    pending = await w.waiting(w.context(person))
    report = await w.tools.execute_approved(pending, person)
    assert (report.outcome, tool.calls) == ("failed", [])


@pytest.mark.parametrize("how", ["rejected", "expired"])
async def test_a_declined_call_ends_as_denied(world: Make, clock: Any, how: str) -> None:
    tool = start_tool()
    w = world(tool)
    person = w.person("scientist")
    context = w.context(person)
    approval = await w.waiting(context)
    if how == "rejected":
        await w.approve(approval, person, "reject")
    else:
        clock.advance(901)
    report = await w.tools.execute_approved(approval, person)
    assert (report.outcome, report.error_code, tool.calls) == ("denied", f"approval_{how}", [])
    assert await w.state(context.idempotency_key) == "denied"


@pytest.mark.parametrize("change", ["resource", "rights", "impossible", "schema", "gone"])
async def test_what_changed_since_is_not_executed(world: Make, change: str) -> None:
    tool = start_tool()
    w = world(tool)
    person = w.person("scientist")
    context = w.context(person)
    approved = await w.approve(await w.waiting(context), person)
    tools = w.tools
    if change == "resource":
        tool.version = 5
    elif change == "impossible":
        tool.refuses_preview = Busy()
    elif change == "schema":
        changed = start_tool(calls=tool.calls)
        changed.parameters["properties"]["speed"] = {"type": "integer"}
        tools = w.make(changed)
    elif change == "gone":
        tools = w.make(FakeTool())
    else:
        person = Principal(id=person.id, email="", name="", roles=frozenset({"viewer"}), permissions=frozenset({"lab.read"}), via="session")
    report = await tools.execute_approved(approved, person)
    assert report.outcome == "failed"
    assert (tool.calls, await w.effects()) == ([], 0)
    assert await w.state(context.idempotency_key) == "failed"
    assert len(await w.events()) == 1


async def test_an_approval_is_carried_out_for_its_requester_only(world: Make) -> None:
    w = world(start_tool())
    person = w.person("scientist")
    approved = await w.approve(await w.waiting(w.context(person)), person)
    with pytest.raises(NotFound):
        await w.tools.execute_approved(approved, w.person("scientist"))


async def test_a_failing_write_is_undone_and_its_approval_closed(world: Make) -> None:
    tool = write_tool(failures=[Busy()])
    w = world(tool)
    person = w.person("scientist")
    approved = await w.approve(await w.waiting(w.context(person), "note"), person)
    report = await w.tools.execute_approved(approved, person)
    assert (report.outcome, report.error_code, report.summary) == ("failed", "instrument_busy", "The instrument is busy.")
    assert (len(tool.calls), w.slept, await w.effects(), await w.approval_state(approved)) == (1, [], 0, "failed")


async def test_an_action_that_breaks_in_the_middle_is_unknown_and_never_repeated(world: Make) -> None:
    tool = start_tool(failures=[KeyError()])
    w = world(tool)
    person = w.person("scientist")
    context = w.context(person)
    report = await w.call("start_run", context=context)
    assert report.approval is not None
    approved = await w.approve(report.approval, person)
    report = await w.tools.execute_approved(approved, person)
    assert (report.outcome, report.error_code) == ("unknown", "outcome_unknown")
    assert (await w.tools.execute_approved(approved, person)).outcome == "unknown"
    assert (len(tool.calls), await w.approval_state(approved)) == (1, "unknown")


async def test_a_write_that_breaks_says_that_nothing_changed(world: Make) -> None:
    tool = write_tool(failures=[KeyError()])
    w = world(tool)
    person = w.person("scientist")
    approved = await w.approve(await w.waiting(w.context(person), "note"), person)
    report = await w.tools.execute_approved(approved, person)
    assert report.outcome == "failed"
    assert report.summary.startswith("note failed and changed nothing.")
    assert await w.effects() == 0


async def test_cancelling_whoever_waits_does_not_stop_an_action(world: Make) -> None:
    tool = start_tool(go=asyncio.Event())
    w = world(tool)
    person = w.person("scientist")
    context = w.context(person)
    approved = await w.approve(await w.waiting(context), person)
    task = asyncio.create_task(w.tools.execute_approved(approved, person))
    await tool.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tool.go is not None
    tool.go.set()
    await w.tools.drain(5)
    assert (await w.state(context.idempotency_key), await w.effects()) == ("ok", 1)


async def crashed(w: World, tool: FakeTool, context: Any, approved: Any) -> asyncio.Task[Any]:
    """A process that stopped in the middle of an action: committed as executing, effect not committed."""
    work = w.tools.execute_approved(approved, context.principal) if approved else w.tools.call(context, tool.name, {"instrument": "PCR-02"})
    task = asyncio.create_task(work)
    await tool.started.wait()
    return task


async def test_after_a_crash_an_action_in_flight_is_unknown_and_its_late_twin_is_undone(world: Make) -> None:
    tool = start_tool(go=asyncio.Event())
    w = world(tool)
    person = w.person("scientist")
    context = w.context(person, run_id=new_id())
    approved = await w.approve(await w.waiting(context), person)
    task = await crashed(w, tool, context, approved)
    assert await w.state(context.idempotency_key) == "executing"
    other = w.make()
    assert approved.next_run_id is not None
    (report,) = await other.recover(approved.next_run_id)
    assert (report.outcome, await w.state(context.idempotency_key), await w.approval_state(approved)) == ("unknown", "unknown", "unknown")
    (event,) = await w.events()
    assert (event["actor"], event["on_behalf_of"], event["outcome"]) == ("system", str(person.id), "unknown")
    assert tool.go is not None
    tool.go.set()  # the process was not dead after all: it must not act on what was declared unknown
    with pytest.raises(CallInFlight):
        await task
    assert await w.effects() == 0
    assert await other.recover(approved.next_run_id) == []
    assert len(tool.calls) == 1


async def test_after_a_crash_a_read_is_executed_again(world: Make) -> None:
    tool = FakeTool(go=asyncio.Event())
    w = world(tool)
    context = w.context(run_id=new_id())
    task = await crashed(w, tool, context, None)
    assert context.run_id is not None
    assert await w.make().recover(context.run_id) == []
    assert await w.state(context.idempotency_key) == "proposed"
    assert tool.go is not None
    tool.go.set()
    report = await w.make().call(context, "get_status", {"instrument": "PCR-02"})
    assert report.outcome == "ok"
    await asyncio.gather(task, return_exceptions=True)
    assert len(await w.events()) == 1


async def test_recovery_leaves_other_runs_alone(world: Make) -> None:
    tool = FakeTool(go=asyncio.Event())
    w = world(tool)
    context = w.context(run_id=new_id())
    task = await crashed(w, tool, context, None)
    assert await w.tools.recover(new_id()) == []
    assert await w.state(context.idempotency_key) == "executing"
    assert tool.go is not None
    tool.go.set()
    assert (await task).outcome == "ok"
