"""Attempts to make the approval of a whole plan carry a step that was not approved, or that needs more than was given."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import content_hash
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import NotFound
from aliquot.policy.bundles import default_source
from aliquot.policy.contracts import Approval, PlannedCall, Preview, Query, Signature
from aliquot.policy.errors import (
    ApprovalExpired,
    IllegalTransition,
    OwnRequest,
    SignatureRequired,
    TooManyDecisions,
    TooManyPending,
)
from tests.policy.conftest import ARGUMENTS, PASSWORD, PREVIEW, READ, START_RUN, STOP_RUN, World, query

OTHER = {**ARGUMENTS, "instrument": "SEQ-01"}
SECOND = Preview(
    summary="SEQ-01 would run.", resource_versions={"instrument:SEQ-01": 7, "instrument:PCR-02": 4},
    changes=({"record": "instrument:SEQ-01", "field": "state", "before": "idle", "after": "running"},),
)  # fmt: skip


async def planned(
    world: World, *queries: tuple[Query, Preview | None], touches: tuple[str, ...] = ("instrument:PCR-02",)
) -> list[PlannedCall]:
    calls = []
    for n, (asked, preview) in enumerate(queries):
        async with world.tx() as tx:
            decision = await world.policy.foresee(tx, asked)
        calls.append(
            PlannedCall(
                tool=asked.tool, arguments=asked.arguments, decision=decision, preview=preview, after=(0,) if n else (),
                touches=touches if n == 0 else (),
            )
        )  # fmt: skip
    return calls


async def ask_whole(world: World, person: Principal, calls: list[PlannedCall]) -> Approval:
    async with world.tx() as tx:
        return await world.policy.request_whole(tx, person, calls, run_id=new_id(), call_id="plan_1", tainted=False, intent="multi_step")


async def begun(world: World, person: Principal, *, by: Principal | None = None, **second: Any) -> Approval:
    """A whole of two steps, approved and begun."""
    calls = await planned(world, (query(person), PREVIEW), (query(person, arguments=OTHER, **second), SECOND))
    whole = await ask_whole(world, person, calls)
    await world.decide(by or person, whole)
    async with world.tx() as tx:
        await world.policy.begin_whole(tx, person, whole.id)
    return whole


async def cover(world: World, step: Approval, whole: Approval, n: int) -> tuple[str, list[str]]:
    async with world.tx() as tx:
        approval, codes = await world.policy.cover(tx, step.id, whole.id, n)
    return approval.state, codes


async def test_a_step_that_is_still_what_was_approved_is_covered_once_and_executed_like_any_other(world: World) -> None:
    scientist = world.person("scientist")
    whole = await begun(world, scientist)
    step = await world.ask(query(scientist))
    assert await cover(world, step, whole, 0) == ("approved", [])
    assert (await world.begin(step, query(scientist))).state == "executing"
    again = await world.ask(query(scientist))
    assert await cover(world, again, whole, 0) == ("pending", ["executed_before"])
    touched = replace(SECOND, resource_versions={"instrument:SEQ-01": 7, "instrument:PCR-02": 5})  # by step 1 itself
    second = await world.ask(query(scientist, arguments=OTHER), touched)
    assert await cover(world, second, whole, 1) == ("approved", [])
    assert [reason for _, reason, _ in await world.events("approval.not_covered")] == ["executed_before"]
    stored = await world.rows("SELECT decided_by FROM policy_approval WHERE id = :id", id=second.id)
    assert stored == [(scientist.id,)]


async def test_a_step_that_is_not_what_was_approved_waits_for_a_person(world: World) -> None:
    scientist = world.person("scientist")
    cases: list[tuple[Query, Preview, int, list[str]]] = [
        (query(scientist, arguments={**ARGUMENTS, "samples": []}), PREVIEW, 0, ["arguments"]),
        (query(scientist, arguments=OTHER), SECOND, 0, ["arguments", "resources", "preview"]),
        (query(scientist, replace(START_RUN, name="discard_samples")), PREVIEW, 0, ["tool"]),
        (query(scientist, replace(START_RUN, schema_sha256=content_hash({"type": "array"}))), PREVIEW, 0, ["tool_schema"]),
        (query(scientist), replace(PREVIEW, resource_versions={"instrument:PCR-02": 5}), 0, ["resources"]),
        (query(scientist), replace(PREVIEW, warnings=()), 0, ["preview"]),
        (query(scientist), replace(PREVIEW, changes=(*PREVIEW.changes, PREVIEW.changes[0])), 0, ["preview"]),
        (query(scientist, facts={"foreign_run": True}), PREVIEW, 0, ["policy"]),  # needs a signature now
        (query(scientist, tainted=True), PREVIEW, 0, ["origin"]),
        (query(scientist, unnamed=("S-0001",)), replace(PREVIEW, warnings=()), 0, ["unnamed"]),  # as many warnings as before
        (query(scientist, arguments=OTHER), replace(SECOND, resource_versions={"instrument:SEQ-01": 8}), 1, ["resources"]),
        (query(scientist), PREVIEW, 2, ["decision"]),
        (query(scientist), PREVIEW, -1, ["decision"]),
    ]  # fmt: skip
    whole = await begun(world, scientist)
    for asked, preview, n, codes in cases:
        step = await world.ask(asked, preview)
        assert await cover(world, step, whole, n) == ("pending", codes), codes
        with pytest.raises(IllegalTransition):
            await world.begin(step, asked, preview)


async def test_only_a_whole_of_the_same_person_that_was_approved_and_begun_covers(world: World) -> None:
    scientist, somebody = world.person("scientist"), world.person("scientist")
    calls = await planned(world, (query(scientist), PREVIEW), (query(scientist, arguments=OTHER), SECOND))
    pending = await ask_whole(world, scientist, calls)
    step = await world.ask(query(scientist))
    assert await cover(world, step, pending, 0) == ("pending", ["decision"])
    with pytest.raises(IllegalTransition):
        async with world.tx() as tx:
            await world.policy.begin_whole(tx, scientist, pending.id)
    await world.decide(scientist, pending, "reject")
    assert await cover(world, step, pending, 0) == ("pending", ["decision"])
    whole = await begun(world, scientist)
    theirs = await world.ask(query(somebody))
    with pytest.raises(NotFound):
        await cover(world, theirs, whole, 0)
    with pytest.raises(NotFound):
        async with world.tx() as tx:
            await world.policy.begin_whole(tx, somebody, whole.id)
    single = await world.ask(query(scientist))
    await world.decide(scientist, single)
    assert await cover(world, step, single, 0) == ("pending", ["decision"]), "an approval of one call is no whole"
    late = await ask_whole(world, scientist, calls)
    await world.decide(scientist, late)
    world.clock.advance(901)
    with pytest.raises(ApprovalExpired):
        async with world.tx() as tx:
            await world.policy.begin_whole(tx, scientist, late.id)


async def test_the_whole_demands_what_its_strictest_step_demands_and_hides_none(world: World) -> None:
    scientist, reviewer = world.person("scientist"), world.person("reviewer")
    foreign = query(scientist, STOP_RUN, facts={"foreign_run": True})
    whole = await ask_whole(world, scientist, await planned(world, (query(scientist), PREVIEW), (foreign, SECOND)))
    assert {"sign", "confirm"} <= set(whole.decision.obligations)
    assert whole.decision.risk == max(70, whole.decision.risk)
    with pytest.raises(OwnRequest):
        await world.decide(scientist, whole)
    with pytest.raises(SignatureRequired):
        await world.decide(reviewer, whole)
    await world.decide(reviewer, whole, signature=Signature(meaning="approval", password=PASSWORD))
    async with world.tx() as tx:
        await world.policy.begin_whole(tx, scientist, whole.id)
    assert await cover(world, await world.ask(foreign, SECOND), whole, 1) == ("approved", [])
    # A GMP-critical step, or one the policy wants decided by itself, is in no whole, whatever was signed for the others.
    critical = query(scientist, replace(START_RUN, gmp_critical=True))
    mixed = await ask_whole(world, scientist, await planned(world, (foreign, PREVIEW), (critical, SECOND), (foreign, PREVIEW)))
    assert any(reason.policy_id == "own_decision" for reason in mixed.decision.reasons)
    await world.decide(reviewer, mixed, signature=Signature(meaning="approval", password=PASSWORD))
    async with world.tx() as tx:
        await world.policy.begin_whole(tx, scientist, mixed.id)
    assert await cover(world, await world.ask(critical, SECOND), mixed, 1) == ("pending", ["own_decision"])


async def test_a_bundle_can_keep_a_step_out_of_every_whole(world: World) -> None:
    scientist = world.person("scientist")
    alone = '@id("alone") @reason("By itself.") @obligation("own_decision") permit (principal, action, resource == Tool::"stop_run");'
    source = default_source()
    mine = query(scientist, STOP_RUN, facts={"foreign_run": False})
    whole = await ask_whole(world, scientist, await planned(world, (mine, PREVIEW), (query(scientist), SECOND)))
    await world.decide(scientist, whole)
    golden = tuple(case for case in source.golden if case["tool"]["name"] != "stop_run")
    world.policy.use_bundle(replace(source, obligations=source.obligations + alone, golden=golden))
    async with world.tx() as tx:
        await world.policy.begin_whole(tx, scientist, whole.id)
    assert await cover(world, await world.ask(mine), whole, 0) == ("pending", ["own_decision"]), "also one approved before"
    (call,) = await planned(world, (mine, PREVIEW))
    assert call.own_decision


async def test_every_step_counts_against_the_limits_on_asking_and_approving(world: World) -> None:
    scientist = world.person("scientist")
    many = await planned(world, *[(query(scientist), PREVIEW) for _ in range(8)])
    wholes = [await ask_whole(world, scientist, many) for _ in range(6)]
    with pytest.raises(TooManyPending):  # 48 wait already
        await ask_whole(world, scientist, many)
    await world.decide(scientist, wholes[0])
    await world.decide(scientist, wholes[1])
    with pytest.raises(TooManyDecisions):  # 16 approved within the minute
        await world.decide(scientist, wholes[2])


async def test_of_many_at_once_one_is_covered(world: World) -> None:
    scientist = world.person("scientist")
    whole = await begun(world, scientist)
    steps = [await world.ask(query(scientist)) for _ in range(12)]
    results = await asyncio.gather(*(cover(world, step, whole, 0) for step in steps))
    assert sorted(results) == sorted([("approved", []), *([("pending", ["executed_before"])] * 11)])


async def test_rows_written_past_the_server_cover_nothing(world: World) -> None:
    scientist = world.person("scientist")
    whole = await begun(world, scientist)
    step = await world.ask(query(scientist))
    forged = await ask_whole(
        world, scientist, await planned(world, (query(scientist), PREVIEW), (query(scientist, arguments=OTHER), SECOND))
    )
    await world.rows("UPDATE policy_approval SET state = 'executing' WHERE id = :id RETURNING 1", id=forged.id)
    assert await cover(world, step, forged, 0) == ("pending", ["decision"])
    await world.rows("UPDATE policy_approval SET calls = 1 WHERE id = :id RETURNING 1", id=whole.id)
    assert await cover(world, step, whole, 0) == ("pending", ["damaged"])


async def test_reading_steps_need_no_decision_and_weigh_nothing(world: World) -> None:
    scientist = world.person("scientist")
    calls = await planned(
        world, (query(scientist), PREVIEW), (query(scientist, READ, {"instrument": "PCR-02"}), PREVIEW), (query(scientist), SECOND)
    )
    whole = await ask_whole(world, scientist, calls)
    assert whole.decision.obligations == ("confirm",)
    assert len(whole.arguments["steps"]) == 3
