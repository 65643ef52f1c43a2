"""An approval from the request to its end, through the door other domains use."""

import uuid
from collections.abc import Callable
from dataclasses import replace

import pytest

from aliquot.kernel.problems import InvalidInput, NotFound
from aliquot.platform.db import Transaction
from aliquot.policy.api import PolicyApi
from aliquot.policy.contracts import Preview, Signature
from aliquot.policy.errors import (
    AlreadyDecided,
    ApprovalExpired,
    IllegalTransition,
    MayNotSign,
    OwnRequest,
    ReasonRequired,
    SignatureRefused,
    SignatureRequired,
)
from tests.policy.conftest import ARGUMENTS, PASSWORD, PREVIEW, START_RUN, STOP_RUN, World, query

FOREIGN = {"foreign_run": True}


@pytest.mark.rule("11.10(f)")
async def test_a_confirmed_call_is_executed_with_the_stored_arguments(world: World) -> None:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist))
    assert (asked.state, asked.may_decide, asked.arguments, asked.preview) == ("pending", True, ARGUMENTS, PREVIEW)
    assert (asked.expires_at - asked.created_at).total_seconds() == 900

    approved = await world.decide(scientist, asked)
    assert (approved.state, approved.decided_by, approved.may_decide) == ("approved", scientist.id, False)
    assert world.continued == [approved.next_run_id]
    async with world.tx() as tx:
        found = await world.policy.by_next_run(tx, world.continued[0])
    assert found is not None
    assert found.id == asked.id

    executing = await world.begin(asked, query(scientist))
    assert (executing.state, executing.arguments) == ("executing", ARGUMENTS)
    async with world.tx() as tx:
        done = await world.policy.finish_execution(tx, asked.id, "ok")
    assert done.state == "done"
    for action in ("requested", "approved", "executing", "executed"):
        assert len(await world.events(f"approval.{action}")) == 1


async def test_a_rejection_continues_the_run_and_executes_nothing(world: World) -> None:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist))
    rejected = await world.decide(scientist, asked, "reject", reason="wrong plate")
    assert (rejected.state, rejected.reason) == ("rejected", "wrong plate")
    assert world.continued == [rejected.next_run_id]
    with pytest.raises(IllegalTransition):
        await world.begin(asked, query(scientist))
    assert [event[1] for event in await world.events("approval.refused")] == ["illegal_transition"]


async def test_a_decision_that_cannot_continue_its_run_leaves_the_request_pending(world: World) -> None:
    async def broken(_: Transaction, run_id: uuid.UUID) -> None:
        raise LookupError(run_id)

    scientist = world.person("scientist")
    asked = await world.ask(query(scientist))
    world.policy.continue_run = broken
    with pytest.raises(LookupError):
        await world.decide(scientist, asked)
    assert await world.state(asked) == "pending"
    assert await world.events("approval.approved") == []


async def test_a_policy_that_nobody_bound_to_chat_decides_nothing(world: World, make_policy: Callable[..., PolicyApi]) -> None:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist))
    world.policy = make_policy()
    with pytest.raises(RuntimeError, match="not bound"):
        await world.decide(scientist, asked)
    assert await world.state(asked) == "pending"


@pytest.mark.rule("11.10(g)")
async def test_a_signature_is_given_by_somebody_else_with_the_right_to_sign(world: World) -> None:
    scientist, reviewer = world.person("scientist"), world.person("reviewer")
    asked = await world.ask(query(scientist, STOP_RUN, facts=FOREIGN))
    assert asked.decision.obligations == ("sign", "confirm")
    assert not asked.may_decide

    with pytest.raises(SignatureRequired):
        await world.decide(reviewer, asked)
    with pytest.raises(SignatureRequired):
        await world.decide(reviewer, asked, signature=Signature(meaning="approval"))
    with pytest.raises(SignatureRequired):
        await world.decide(reviewer, asked, signature=Signature(meaning="rejection", password=PASSWORD))
    with pytest.raises(SignatureRefused) as refused:
        await world.decide(reviewer, asked, signature=Signature(meaning="approval", password="guess"))
    assert refused.value.members == {"cause": "wrong_password"}
    with pytest.raises(MayNotSign):
        await world.decide(world.person("reviewer", may_sign=False), asked, signature=Signature(meaning="approval", password=PASSWORD))

    approved = await world.decide(reviewer, asked, signature=Signature(meaning="approval", password=PASSWORD))
    assert (approved.state, approved.decided_by) == ("approved", reviewer.id)
    assert await world.events("approval.approved") == [("ok", "approval", str(reviewer.id))]
    assert [event[1] for event in await world.events("approval.refused")] == ["signature_refused:wrong_password", "may_not_sign"]


async def test_a_rejection_needs_no_signature(world: World) -> None:
    asked = await world.ask(query(world.person("scientist"), STOP_RUN, facts=FOREIGN))
    rejected = await world.decide(world.person("reviewer", may_sign=False), asked, "reject")
    assert rejected.state == "rejected"


async def test_the_requester_is_excluded_where_somebody_else_must_decide(world: World) -> None:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist, STOP_RUN, facts=FOREIGN))
    with pytest.raises(OwnRequest):
        await world.decide(scientist, asked, signature=Signature(meaning="approval", password=PASSWORD))
    with pytest.raises(OwnRequest):
        await world.decide(scientist, asked, "reject")
    assert await world.state(asked) == "pending"


async def test_expiry_is_seen_on_reading_deciding_and_executing_before_any_job_ran(world: World) -> None:
    scientist = world.person("scientist")
    first, second, third = [await world.ask(query(scientist)) for _ in range(3)]
    await world.decide(scientist, second)
    world.clock.advance(900)
    async with world.tx() as tx:
        assert (await world.policy.get(tx, scientist, first.id)).state == "expired"
        found, _ = await world.policy.list(tx, scientist, state="expired")
        assert {approval.id for approval in found} == {first.id, second.id, third.id}
        assert await world.policy.list(tx, scientist, state="pending") == ([], None)
    assert await world.state(first) == "pending"
    with pytest.raises(ApprovalExpired):
        await world.decide(scientist, first)
    with pytest.raises(ApprovalExpired):
        await world.begin(second, query(scientist))
    async with world.tx() as tx:
        due = await world.policy.expire_due(tx)
        assert await world.policy.expire_due(tx) == []
    assert [expired.approval_id for expired in due] == [third.id]
    assert [await world.state(approval) for approval in (first, second, third)] == ["expired"] * 3
    assert len(await world.events("approval.expired")) == 3
    with pytest.raises(ApprovalExpired):
        await world.decide(scientist, third)


async def test_withdrawing_is_the_requesters_right_and_final(world: World) -> None:
    scientist, reviewer = world.person("scientist"), world.person("reviewer")
    asked = await world.ask(query(scientist, STOP_RUN, facts=FOREIGN))
    with pytest.raises(NotFound):
        async with world.tx() as tx:
            await world.policy.withdraw(tx, reviewer, asked.id)
    async with world.tx() as tx:
        assert (await world.policy.withdraw(tx, scientist, asked.id)).state == "withdrawn"
    with pytest.raises(AlreadyDecided):
        await world.decide(reviewer, asked, "reject")
    with pytest.raises(AlreadyDecided):
        async with world.tx() as tx:
            await world.policy.withdraw(tx, scientist, asked.id)


async def test_an_interrupted_execution_becomes_unknown_once(world: World) -> None:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist))
    await world.decide(scientist, asked)
    async with world.tx() as tx:
        assert (await world.policy.mark_unknown(tx, asked.id)).state == "approved"  # it had not begun
    await world.begin(asked, query(scientist))
    async with world.tx() as tx:
        assert await world.policy.resolve_in_flight(tx) == []
    world.clock.advance(600)
    async with world.tx() as tx:
        assert await world.policy.resolve_in_flight(tx) == [asked.id]
        assert (await world.policy.mark_unknown(tx, asked.id)).state == "unknown"
    with pytest.raises(IllegalTransition):
        async with world.tx() as tx:
            await world.policy.finish_execution(tx, asked.id, "ok")
    assert await world.events("approval.executed") == [("unknown", None, "system")]


async def test_lists_show_what_i_requested_or_may_decide_page_by_page(world: World) -> None:
    scientist, other, reviewer, viewer = (world.person(role) for role in ("scientist", "scientist", "reviewer", "viewer"))
    mine = [await world.ask(query(scientist)) for _ in range(3)]
    signed = await world.ask(query(other, STOP_RUN, facts=FOREIGN))
    async with world.tx() as tx:
        page, following = await world.policy.list(tx, scientist, limit=2)
        rest, end = await world.policy.list(tx, scientist, limit=2, after=following)
        assert [approval.id for approval in (*page, *rest)] == [signed.id, *(approval.id for approval in reversed(mine))]
        assert end is None
        shown = {approval.id: approval.may_decide for approval in (*page, *rest)}
        assert shown == {signed.id: True} | {approval.id: True for approval in mine}
        assert [approval.id for approval in (await world.policy.list(tx, reviewer))[0]] == [signed.id]
        assert (await world.policy.list(tx, viewer))[0] == []
        by_key = replace(reviewer, via="api_key", session_id=None)
        assert [approval.may_decide for approval in (await world.policy.list(tx, by_key))[0]] == [False]


async def test_a_reason_is_demanded_where_the_policy_says_so(world: World) -> None:
    scientist = world.person("scientist")
    async with world.tx() as tx:
        decision = await world.policy.decide(tx, query(scientist))
        decision = replace(decision, obligations=("confirm", "reason_required"))
        asked = await world.policy.request_approval(tx, query=query(scientist), decision=decision, call_id="c", preview=PREVIEW)
    for reason in (None, "", "  \n"):
        with pytest.raises(ReasonRequired):
            await world.decide(scientist, asked, reason=reason)
    assert (await world.decide(scientist, asked, reason="asked by QA")).reason == "asked by QA"


async def test_what_has_no_canonical_form_is_refused_not_stored(world: World) -> None:
    scientist = world.person("scientist")
    async with world.tx() as tx:
        decision = await world.policy.decide(tx, query(scientist))
    for value in (float("nan"), 2**60, {1, 2}, 1e16):
        preview = Preview(summary="x", changes=({"after": value},))
        with pytest.raises(InvalidInput):
            async with world.tx() as tx:
                await world.policy.request_approval(tx, query=query(scientist), decision=decision, call_id="c", preview=preview)
    assert await world.rows("SELECT id FROM policy_approval") == []


async def test_a_reason_that_cannot_be_stored_is_refused(world: World) -> None:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist))
    with pytest.raises(InvalidInput):
        await world.decide(scientist, asked, reason="\ud800")
    assert await world.state(asked) == "pending"


async def test_an_unknown_approval_is_not_found(world: World) -> None:
    scientist = world.person("scientist")
    missing = replace(await world.ask(query(scientist)), id=uuid.uuid4())
    with pytest.raises(NotFound):
        await world.decide(scientist, missing)
    with pytest.raises(NotFound):
        await world.begin(missing, query(scientist))
    async with world.tx() as tx:
        assert await world.policy.by_next_run(tx, uuid.uuid4()) is None
        with pytest.raises(NotFound):
            await world.policy.finish_execution(tx, missing.id, "ok")


async def test_nothing_a_person_wrote_is_in_the_tables_in_clear(world: World) -> None:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist, START_RUN, {"instrument": "CANARY-7f3a"}), Preview(summary="CANARY-7f3a would run"))
    await world.decide(scientist, asked, reason="CANARY-7f3a because")
    for table in ("policy_approval", "policy_decision", "audit_event"):
        rows = await world.rows(f"SELECT * FROM {table}")
        assert rows
        assert all(b"CANARY-7f3a" not in bytes(cell) for row in rows for cell in row if isinstance(cell, bytes | memoryview))
        assert "CANARY-7f3a" not in repr(rows)
