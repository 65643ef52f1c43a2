"""Attempts to make an approval carry something that was not approved, or to be approved by somebody who may not."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import ProgrammingError

from aliquot.identity.contracts import Principal, Via
from aliquot.kernel.canonical import content_hash
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import NotFound
from aliquot.ledger.api import LedgerApi
from aliquot.platform.db import Database, Transaction
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Erased
from aliquot.policy import approvals, store
from aliquot.policy.api import PolicyApi
from aliquot.policy.bundles import default_source
from aliquot.policy.contracts import Approval, Preview, Query, Signature, Signed
from aliquot.policy.errors import (
    AlreadyDecided,
    ApprovalDamaged,
    ApprovalExpired,
    ApprovalStale,
    IllegalTransition,
    SessionRequired,
    TooManyDecisions,
    TooManyPending,
)
from tests.conftest import PATIENCE
from tests.policy.conftest import ARGUMENTS, PASSWORD, PREVIEW, START_RUN, STOP_RUN, World, query, verify

FOREIGN = {"foreign_run": True}


async def approved(world: World) -> tuple[Principal, Approval]:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist))
    await world.decide(scientist, asked)
    return scientist, asked


async def refused_as_stale(world: World, asked: Approval, now: Query, *changed: str, preview: Any = PREVIEW) -> None:
    """Nothing is executed, the approval is spent, and the record says why."""
    with pytest.raises(ApprovalStale) as stale:
        await world.begin(asked, now, preview)
    assert stale.value.members["changed"] == list(changed)
    assert await world.rows("SELECT state, failure FROM policy_approval WHERE id = :id", id=asked.id) == [("failed", " ".join(changed))]
    stale_events = "SELECT count(*) FROM audit_event WHERE action = 'approval.stale' AND record_id = :id"
    assert await world.rows(stale_events, id=str(asked.id)) == [(1,)]
    assert (await world.events("approval.stale"))[-1][:2] == ("denied", " ".join(changed))
    with pytest.raises(IllegalTransition):
        await world.begin(asked, now, preview)


# What was approved is no longer what would happen


async def test_other_arguments_are_not_executed(world: World) -> None:
    for arguments in (
        {**ARGUMENTS, "instrument": "SEQ-01"},
        {**ARGUMENTS, "samples": []},
        {**ARGUMENTS, "extra": None},
        {"instrument": "PCR-02", "protocol": "PCR-STD-35"},
        {**ARGUMENTS, "instrument": "pcr-02"},
        {**ARGUMENTS, "samples": ["S-0001", "S-0001"]},
    ):
        scientist, asked = await approved(world)
        await refused_as_stale(world, asked, query(scientist, arguments=arguments), "arguments")


async def test_arguments_without_canonical_form_are_not_executed(world: World) -> None:
    scientist, asked = await approved(world)
    await refused_as_stale(world, asked, query(scientist, arguments={**ARGUMENTS, "n": float("inf")}), "damaged")


async def test_another_schema_is_not_executed(world: World) -> None:
    scientist, asked = await approved(world)
    await refused_as_stale(world, asked, query(scientist, replace(START_RUN, schema_sha256=content_hash({"type": "array"}))), "tool_schema")


async def test_another_tool_is_not_executed(world: World) -> None:
    scientist, asked = await approved(world)
    await refused_as_stale(world, asked, query(scientist, replace(START_RUN, name="discard_samples")), "tool")


async def test_a_changed_resource_is_not_acted_on(world: World) -> None:
    scientist, asked = await approved(world)
    later = replace(PREVIEW, resource_versions={"instrument:PCR-02": 5})
    await refused_as_stale(world, asked, query(scientist), "resources", "preview", preview=later)


async def test_a_forged_preview_is_not_acted_on(world: World) -> None:
    for forged in (
        replace(PREVIEW, warnings=()),
        replace(PREVIEW, warnings=(*PREVIEW.warnings, "The calibration ran out.")),
        replace(PREVIEW, changes=()),
        replace(PREVIEW, changes=({**PREVIEW.changes[0], "before": "error"},)),
        replace(PREVIEW, changes=(*PREVIEW.changes, PREVIEW.changes[0])),
    ):
        scientist, asked = await approved(world)
        await refused_as_stale(world, asked, query(scientist), "preview", preview=forged)


async def test_what_changed_is_said_to_who_asked(world: World) -> None:
    moved = replace(PREVIEW, resource_versions={"instrument:PCR-02": 5}, summary="PCR-02 would be stopped.", changes=())
    gone = Preview(summary="PCR-02 is being serviced.", warnings=("instrument_busy",))
    schema = replace(START_RUN, schema_sha256=content_hash({"type": "array"}))
    start, end = "Since this was approved, ", " changed, so nothing was done. Please ask again."
    other = world.person("scientist")
    for now, preview, words in (
        ({}, moved, f"{start}the state of instrument PCR-02 and what would happen{end} Now: PCR-02 would be stopped."),
        ({}, gone, f"{start}what would happen{end} Now: PCR-02 is being serviced."),
        ({"tool": schema, "arguments": {"instrument": "SEQ-01"}}, PREVIEW, f"{start}the definition of the tool and the arguments{end}"),
        ({"person": other, "arguments": {"instrument": "SEQ-01"}}, moved, "This was approved for somebody else, so nothing was done."),
    ):
        scientist, asked = await approved(world)
        given = {"person": scientist, "tool": START_RUN} | now
        with pytest.raises(ApprovalStale) as stale:
            await world.begin(asked, query(given.pop("person"), given.pop("tool"), **given), preview)
        assert stale.value.detail == words


async def test_sentences_that_speak_of_the_moment_do_not_hinder(world: World) -> None:
    scientist, asked = await approved(world)
    later = replace(PREVIEW, summary="PCR-02 would run PCR-STD-35 until 11:05.", warnings=("The block is still cold.",))
    executing = await world.begin(asked, query(scientist), later)
    assert (executing.state, executing.preview) == ("executing", PREVIEW)


async def test_somebody_elses_call_does_not_use_the_approval(world: World) -> None:
    _, asked = await approved(world)
    await refused_as_stale(world, asked, query(world.person("scientist")), "requester")


async def test_another_run_does_not_use_the_approval(world: World) -> None:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist, run_id=new_id()))
    decided = await world.decide(scientist, asked)
    await refused_as_stale(world, asked, query(scientist, run_id=new_id()), "run")
    again = await world.ask(query(scientist, run_id=new_id()))
    decided = await world.decide(scientist, again)
    assert (await world.begin(again, query(scientist, run_id=decided.next_run_id))).state == "executing"


@pytest.mark.rule("11.10(g)")
async def test_a_role_lost_meanwhile_counts(world: World) -> None:
    scientist, asked = await approved(world)
    demoted = replace(world.person("viewer"), id=scientist.id)
    await refused_as_stale(world, asked, query(demoted), "policy")


async def test_a_policy_that_now_denies_counts(world: World) -> None:
    scientist, asked = await approved(world)
    world.policy.use_bundle(_with(authz='@id("freeze") @reason("Frozen.") forbid (principal, action, resource == Tool::"start_run");'))
    await refused_as_stale(world, asked, query(scientist), "policy")


async def test_a_policy_that_now_demands_more_counts(world: World) -> None:
    scientist, asked = await approved(world)
    more = '@id("four-eyes") @reason("Two persons.") @obligation("two_person") permit (principal, action, resource == Tool::"start_run");'
    world.policy.use_bundle(_with(obligations=more))
    await refused_as_stale(world, asked, query(scientist), "policy")


async def test_another_policy_with_the_same_answer_does_not_hinder(world: World) -> None:
    scientist, asked = await approved(world)
    before = world.policy.policy_version
    world.policy.use_bundle(_with(authz='@id("other") @reason("Other.") forbid (principal, action, resource == Tool::"unrelated");'))
    assert world.policy.policy_version != before
    assert (await world.begin(asked, query(scientist))).state == "executing"


async def test_facts_that_now_demand_a_signature_count(world: World) -> None:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist, STOP_RUN, facts={"foreign_run": False}))
    await world.decide(scientist, asked)
    await refused_as_stale(world, asked, query(scientist, STOP_RUN, facts=FOREIGN), "policy")


async def test_taint_of_the_request_is_not_forgotten_at_execution(world: World) -> None:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist, tainted=True))
    await world.decide(scientist, asked)
    stricter = '@id("t") @reason("t") @obligation("two_person") permit (principal, action, resource) when { context.tainted };'
    world.policy.use_bundle(_with(obligations=stricter, drop_tainted_reads=True))
    await refused_as_stale(world, asked, query(scientist), "policy")


async def test_what_nobody_named_is_bound_and_not_forgotten_at_execution(world: World) -> None:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist, unnamed=("S-0001",)))
    assert asked.preview.warnings == ("S-0001 was not named in this conversation: the assistant added it.", *PREVIEW.warnings)
    async with world.tx() as tx:
        row = await store.approval(tx, asked.id)
    assert row is not None
    request = approvals.open_request(world.vault, row)
    others = [replace(request, unnamed=unnamed) for unnamed in (None, (), ("S-0002",), ("S-0001", "S-0002"))]
    assert len({asked.binding_sha256, *(other.binding() for other in others)}) == 5, "another set is another approval"
    async with world.tx() as tx:
        forged = approvals.seal_request(world.vault, others[1])
        await tx.execute(sa.text("UPDATE policy_approval SET request = :r WHERE id = :id"), {"r": forged, "id": asked.id})
    with pytest.raises(ApprovalDamaged):
        await world.decide(scientist, asked)

    asked = await world.ask(query(scientist, unnamed=("S-0001",)))
    await world.decide(scientist, asked)
    assert (await world.begin(asked, query(scientist))).state == "executing"  # as it was shown, by who does not know the conversation
    asked = await world.ask(query(scientist, unnamed=("S-0001",)))
    await world.decide(scientist, asked)
    stricter = """@id("u") @reason("u") @obligation("two_person") permit (principal, action, resource)
    when { context.facts has unnamed_values && context.facts.unnamed_values > 0 };"""
    source = default_source()
    golden = tuple(case for case in source.golden if "unnamed" not in case)
    world.policy.use_bundle(replace(source, obligations=source.obligations + stricter, golden=golden))
    await refused_as_stale(world, asked, query(scientist), "policy")


async def test_expiry_between_approval_and_execution(world: World) -> None:
    scientist, asked = await approved(world)
    world.clock.advance(900)
    with pytest.raises(ApprovalExpired):
        await world.begin(asked, query(scientist))
    assert await world.state(asked) == "expired"


async def test_expiry_while_the_password_is_checked(world: World, make_policy: Callable[..., PolicyApi]) -> None:
    async def slow(tx: Transaction, principal: Principal, signature: Signature) -> Signed:
        world.clock.advance(900)
        return await verify(tx, principal, signature)

    asked = await world.ask(query(world.person("scientist"), STOP_RUN, facts=FOREIGN))
    world.policy = make_policy(verify_signature=slow, continue_run=world.policy.continue_run)
    with pytest.raises(ApprovalExpired):
        await world.decide(world.person("reviewer"), asked, signature=Signature(meaning="approval", password=PASSWORD))
    assert (await world.state(asked), world.continued) == ("expired", [])


# Used twice


@pytest.mark.rule("11.10(f)")
async def test_an_approval_is_executed_once(world: World) -> None:
    scientist, asked = await approved(world)
    await world.begin(asked, query(scientist))
    with pytest.raises(IllegalTransition):
        await world.begin(asked, query(scientist))
    async with world.tx() as tx:
        await world.policy.finish_execution(tx, asked.id, "ok")
    with pytest.raises(IllegalTransition):
        await world.begin(asked, query(scientist))
    assert len(await world.events("approval.executing")) == 1


async def test_resetting_the_state_in_the_database_does_not_allow_a_second_execution(world: World) -> None:
    scientist, asked = await approved(world)
    await world.begin(asked, query(scientist))
    await _edit(world, asked, "state = 'approved', executing_at = NULL")
    await refused_as_stale(world, asked, query(scientist), "executed_before")


async def test_the_note_that_it_was_executed_cannot_be_removed(world: World, urls: Any) -> None:
    scientist, asked = await approved(world)
    await world.begin(asked, query(scientist))
    with pytest.raises(ProgrammingError):
        await world.rows("DELETE FROM policy_execution RETURNING 1")
    with psycopg.connect(urls.owner) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("DELETE FROM policy_execution")


async def test_of_many_parallel_executions_one_begins(world: World) -> None:
    scientist, asked = await approved(world)
    results = await asyncio.gather(*(world.begin(asked, query(scientist)) for _ in range(30)), return_exceptions=True)
    assert [result.state for result in results if isinstance(result, Approval)] == ["executing"]
    assert sum(isinstance(result, IllegalTransition) for result in results) == 29


@pytest.mark.rule("11.10(f)")
async def test_of_a_thousand_parallel_decisions_one_wins(world: World, urls: Any) -> None:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist))
    world.db = Database(urls.app, pool_size=30, wait_seconds=PATIENCE)  # a thousand waiters, on a busy test machine
    choices = ["approve", "reject"]
    results = await asyncio.gather(*(world.decide(scientist, asked, choices[n % 2]) for n in range(1_000)), return_exceptions=True)
    winners = [result for result in results if isinstance(result, Approval)]
    assert len(winners) == 1
    assert sum(isinstance(result, AlreadyDecided) for result in results) == 999
    assert await world.state(asked) == winners[0].state
    assert len(await world.events("approval.approved")) + len(await world.events("approval.rejected")) == 1
    stored = await world.rows("SELECT next_run_id FROM policy_approval")
    assert stored == [(winners[0].next_run_id,)]
    await world.db.close()


async def test_deciding_and_withdrawing_at_once_has_one_winner(world: World) -> None:
    scientist = world.person("scientist")

    async def withdraw(asked: Approval) -> Approval:
        async with world.tx() as tx:
            return await world.policy.withdraw(tx, scientist, asked.id)

    for _ in range(10):
        asked = await world.ask(query(scientist))
        results = await asyncio.gather(world.decide(scientist, asked), withdraw(asked), return_exceptions=True)
        assert [type(result) for result in results if not isinstance(result, Approval)] == [AlreadyDecided]
        assert len([result for result in results if isinstance(result, Approval)]) == 1


# Decided by whom


async def test_other_peoples_confirmations_do_not_exist(world: World) -> None:
    asked = await world.ask(query(world.person("scientist")))
    for role in ("scientist", "reviewer", "admin", "viewer", "clinician"):
        stranger = world.person(role)
        with pytest.raises(NotFound):
            await world.decide(stranger, asked)
        async with world.tx() as tx:
            with pytest.raises(NotFound):
                await world.policy.get(tx, stranger, asked.id)
            with pytest.raises(NotFound):
                await world.policy.withdraw(tx, stranger, asked.id)
            assert await world.policy.list(tx, stranger) == ([], None)
    assert await world.state(asked) == "pending"


async def test_only_a_login_session_decides(world: World) -> None:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist))
    vias: tuple[Via, ...] = ("api_key", "cli", "system")
    for via in vias:
        for program in (replace(scientist, via=via, session_id=None), replace(scientist, via=via)):
            for choice in ("approve", "reject"):
                with pytest.raises(SessionRequired):
                    await world.decide(program, asked, choice)
    with pytest.raises(SessionRequired):
        await world.decide(replace(scientist, session_id=None), asked)
    assert await world.state(asked) == "pending"
    assert {event[1] for event in await world.events("approval.refused")} == {"session_required"}


async def test_a_key_of_a_second_person_does_not_sign(world: World) -> None:
    asked = await world.ask(query(world.person("scientist"), STOP_RUN, facts=FOREIGN))
    key = world.person("reviewer", via="api_key")
    with pytest.raises(SessionRequired):
        await world.decide(key, asked, signature=Signature(meaning="approval", password=PASSWORD))
    assert await world.state(asked) == "pending"


async def test_without_the_permission_nobody_signs_for_others(world: World) -> None:
    asked = await world.ask(query(world.person("scientist"), STOP_RUN, facts=FOREIGN))
    for role in ("viewer", "admin", "service"):
        with pytest.raises(NotFound):
            await world.decide(world.person(role), asked, signature=Signature(meaning="approval", password=PASSWORD))
    assert await world.state(asked) == "pending"


# Somebody writes into the database


async def test_a_ciphertext_moved_from_another_approval_does_not_open(world: World) -> None:
    scientist = world.person("scientist")
    harmless, wanted = await world.ask(query(scientist)), await world.ask(query(scientist, arguments={"instrument": "SEQ-01"}))
    await world.decide(scientist, harmless)
    moved = "(request, binding_sha256) = (SELECT request, binding_sha256 FROM policy_approval WHERE id = :other)"
    await _edit(world, harmless, moved, other=wanted.id)
    await refused_as_stale(world, harmless, query(scientist, arguments={"instrument": "SEQ-01"}), "damaged")


async def test_an_edited_row_is_not_executed(world: World) -> None:
    for edit in (
        "binding_sha256 = repeat('0', 64)",
        "expires_at = expires_at + interval '1 day'",
        "created_at = created_at - interval '1 day'",
        "tool = 'discard_samples'",
        "call_id = 'call-2'",
        "requester_id = gen_random_uuid()",
        "run_id = gen_random_uuid()",
        "next_run_id = gen_random_uuid()",
        "other_person = NOT other_person",
        "decided_by = gen_random_uuid()",
        "decided_at = decided_at - interval '1 minute'",
        "request = set_byte(request, 60, get_byte(request, 60) # 1)",
        "verdict = set_byte(verdict, 60, get_byte(verdict, 60) # 1)",
        "request = ''",
    ):
        scientist, asked = await approved(world)
        await _edit(world, asked, edit)
        await refused_as_stale(world, asked, query(scientist), "damaged")


async def test_setting_the_state_to_approved_is_not_an_approval(world: World) -> None:
    scientist = world.person("scientist")
    pending, rejected = await world.ask(query(scientist)), await world.ask(query(scientist))
    await world.decide(scientist, rejected, "reject")
    for asked in (pending, rejected):
        await _edit(world, asked, "state = 'approved'")
        with pytest.raises(ApprovalStale) as stale:
            await world.begin(asked, query(scientist))
        assert stale.value.members["changed"] == ["decision"]
        assert await world.state(asked) == "failed"


async def test_a_verdict_taken_from_another_approval_is_not_an_approval(world: World) -> None:
    scientist, good = await approved(world)
    wanted = await world.ask(query(scientist, arguments={"instrument": "SEQ-01"}))
    copied = (
        "(state, verdict, decided_by, decided_at) = (SELECT state, verdict, decided_by, decided_at FROM policy_approval WHERE id = :other)"
    )
    await _edit(world, wanted, copied, other=good.id)
    await refused_as_stale(world, wanted, query(scientist, arguments={"instrument": "SEQ-01"}), "damaged")


async def test_an_edited_row_is_neither_shown_nor_decided(world: World) -> None:
    scientist = world.person("scientist")
    untouched = await world.ask(query(scientist))
    for edit in ("other_person = true", "expires_at = expires_at + interval '1 hour'", "binding_sha256 = ''"):
        asked = await world.ask(query(scientist))
        await _edit(world, asked, edit)
        with pytest.raises(ApprovalDamaged):
            await world.decide(scientist, asked)
        with pytest.raises(ApprovalDamaged):
            async with world.tx() as tx:
                await world.policy.get(tx, scientist, asked.id)
        assert await world.state(asked) == "pending"
    async with world.tx() as tx:
        assert [approval.id for approval in (await world.policy.list(tx, scientist))[0]] == [untouched.id]
    assert [event[1] for event in await world.events("approval.refused")] == ["approval_damaged"] * 6


async def test_a_signature_obligation_edited_away_does_not_let_the_requester_decide(world: World) -> None:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist, STOP_RUN, facts=FOREIGN))
    await _edit(world, asked, "other_person = false")
    with pytest.raises(ApprovalDamaged):
        await world.decide(scientist, asked)
    assert await world.state(asked) == "pending"


async def test_erasing_the_requester_ends_the_approval(world: World) -> None:
    scientist, asked = await approved(world)
    world.vault.erase(scientist.id)
    await refused_as_stale(world, asked, query(scientist), "damaged")
    with pytest.raises(Erased):
        async with world.tx() as tx:
            await world.policy.get(tx, scientist, asked.id)


async def test_a_rolled_back_refusal_still_never_executes(world: World) -> None:
    scientist, asked = await approved(world)
    changed = query(scientist, arguments={"instrument": "SEQ-01"})
    for _ in range(2):
        with pytest.raises(ApprovalStale):
            async with world.db.begin() as tx:  # not `kept_refusals`
                await world.policy.begin_execution(tx, asked.id, query_now=changed, preview_now=PREVIEW)
        assert await world.state(asked) == "approved"


def _with(*, authz: str = "", obligations: str = "", drop_tainted_reads: bool = False) -> Any:
    source = default_source()
    golden = tuple(case for case in source.golden if not (drop_tainted_reads and case.get("tainted")))
    golden = tuple(case for case in golden if case["tool"]["name"] != "start_run")
    return replace(source, authz=source.authz + authz, obligations=source.obligations + obligations, golden=golden)


async def _edit(world: World, asked: Approval, assignments: str, **values: Any) -> None:
    await world.rows(f"UPDATE policy_approval SET {assignments} WHERE id = :id RETURNING 1", id=asked.id, **values)


# Tiring people


async def test_nobody_piles_up_requests(world: World, settings: Settings) -> None:
    bounded = settings.model_copy(update={"limits": settings.limits.model_copy(update={"approvals_pending": 3})})
    world.policy = PolicyApi(
        LedgerApi(world.vault, world.clock), world.vault, world.clock, bounded, verify_signature=verify,
        continue_run=world.policy.continue_run,
    )  # fmt: skip
    scientist = world.person("scientist")
    asked = await asyncio.gather(*(world.ask(query(scientist)) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(one, Approval) for one in asked) == 3
    assert sum(isinstance(one, TooManyPending) for one in asked) == 5
    await world.ask(query(world.person("scientist")))
    first = next(one for one in asked if isinstance(one, Approval))
    await world.decide(scientist, first, "reject")
    await world.ask(query(scientist))


async def test_nobody_approves_without_looking(world: World, settings: Settings) -> None:
    scientist = world.person("scientist")
    asked = [await world.ask(query(scientist)) for _ in range(settings.limits.approvals_per_minute + 2)]
    for one in asked[:-2]:
        await world.decide(scientist, one)
    for _ in range(2):
        with pytest.raises(TooManyDecisions) as refused:
            await world.decide(scientist, asked[-1])
        assert 0 < (refused.value.retry_after or 0) <= 60
    assert await world.state(asked[-1]) == "pending"
    assert (await world.decide(scientist, asked[-2], "reject")).state == "rejected"
    assert len(world.continued) == len(asked) - 1
    world.clock.advance(60)
    assert (await world.decide(scientist, asked[-1])).state == "approved"


async def test_an_edited_request_takes_the_place_of_one_that_waits_and_of_no_other(world: World) -> None:
    scientist, stranger = world.person("scientist"), world.person("scientist")
    asked = await world.ask(query(scientist, tainted=True))
    for person in (stranger, replace(scientist, via="api_key", session_id=None)):
        with pytest.raises((NotFound, SessionRequired)):
            async with world.tx() as tx:
                await world.policy.editable(tx, person, asked.id)
    async with world.tx() as tx:
        assert (await world.policy.editable(tx, scientist, asked.id))[1].tainted is True, "what led to it is not forgotten"
    await world.decide(scientist, asked)
    edited = query(scientist, arguments={**ARGUMENTS, "instrument": "SEQ-01"})
    with pytest.raises(AlreadyDecided):
        await _edited(world, edited, asked)
    await refused_as_stale(world, asked, edited, "arguments")


async def test_a_run_of_the_old_request_does_not_execute_the_new_one(world: World) -> None:
    scientist = world.person("scientist")
    asked = await world.ask(query(scientist))
    edited = query(scientist, arguments={**ARGUMENTS, "instrument": "SEQ-01"})
    new = await _edited(world, edited, asked)
    async with world.tx() as tx:
        assert await world.policy.state(tx, asked.id) == "pending", "its run waits for the request that took its place"
    await world.decide(scientist, new)
    with pytest.raises(IllegalTransition):
        await world.begin(asked, query(scientist))
    await refused_as_stale(world, new, query(scientist), "arguments")


async def _edited(world: World, edited: Query, asked: Approval) -> Approval:
    async with world.tx() as tx:
        decision = await world.policy.decide(tx, edited)
        return await world.policy.request_approval(
            tx, query=edited, decision=decision, call_id="call-1", preview=PREVIEW, instead_of=asked.id
        )
