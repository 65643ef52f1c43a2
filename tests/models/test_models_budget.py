"""Caps on money and tokens hold under concurrency and across processes, and every call leaves one usage row."""

import asyncio
import uuid
from contextlib import aclosing
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from aliquot.models import batches, store
from aliquot.models.budget import Budget, Estimate, Ticket
from aliquot.models.config import Price
from aliquot.models.contracts import Notice, TextDelta, Usage
from aliquot.models.errors import BudgetExceeded, ProviderBusy, TokensExceeded
from aliquot.models.tables import model_call, model_meter
from aliquot.platform.db import Database, DatabaseUnavailable
from aliquot.platform.settings import Limits
from tests.models.asking import ask, done_of, events_of, notices
from tests.models.conftest import Bench
from tests.peers.models_server import Turn

PERSON = uuid.UUID("01930000-0000-7000-8000-000000000001")
RUN = uuid.UUID("01930000-0000-7000-8000-000000000002")
PRICE = Price(input=Decimal(1_000), output=Decimal(1_000))


def estimate(**values: Any) -> Estimate:
    defaults: dict[str, Any] = {"model": "m", "provider": "openai", "price": PRICE, "person_id": None, "run_id": None, "call_key": None}
    return Estimate(**{**defaults, "input_tokens": 500, "max_output_tokens": 500, "longest_seconds": 60, **values})


def used(input_tokens: int = 500, output_tokens: int = 500) -> Usage:
    return Usage(input_tokens=input_tokens, output_tokens=output_tokens, cost=PRICE.cost(input_tokens, output_tokens))


def budget(bench: Bench, **limits: Any) -> Budget:
    return Budget(bench.database, bench.api()._ledger, bench.clock, Limits(**{"cost_per_call": 100, "cost_per_run": 100, **limits}))


async def calls(bench: Bench) -> list[Any]:
    async with bench.database.begin() as tx:
        return list(await tx.rows(sa.select(model_call).order_by(model_call.c.id)))


async def actions(bench: Bench) -> list[str]:
    async with bench.database.begin() as tx:
        rows = await tx.rows(sa.text("select convert_from(body, 'UTF8') from audit_event"))
    return [row[0] for row in rows]


async def test_a_call_leaves_one_row_with_counts_cost_and_no_content(bench: Bench) -> None:
    bench.server.script(Turn(text="CANARY-ANSWER", input_tokens=100, output_tokens=50))
    api = bench.api(bench.model(price_per_million_tokens={"input": 3, "output": 15}))
    await events_of(api, ask("CANARY-QUESTION", person_id=PERSON, run_id=RUN, call_key="step-1"))
    [row] = await calls(bench)
    assert (row.state, row.outcome, row.input_tokens, row.output_tokens) == ("settled", "ok", 100, 50)
    assert row.cost == Decimal("0.00105")
    assert (row.person_id, row.run_id, row.model) == (PERSON, RUN, "fake")
    assert "CANARY" not in str(row)
    async with bench.database.begin() as tx:
        spending = await api.spending(tx, PERSON)
        usage = await api.usage(tx, bench.clock.now() - timedelta(hours=1), bench.clock.now() + timedelta(hours=1))
    assert (spending.day_spent, spending.day_reserved, spending.hour_tokens) == (Decimal("0.00105"), 0, 150)
    assert [(u.model, u.calls, u.failed, u.input_tokens) for u in usage] == [("fake", 1, 0, 100)]


@pytest.mark.parametrize("processes", [2, 20])
async def test_forty_calls_at_once_in_several_processes_never_pass_the_daily_cap(bench: Bench, processes: int) -> None:
    many = [budget(bench, cost_per_day=10) for _ in range(processes)]
    one, two = many[0], many[1]
    results = await asyncio.gather(*(b.reserve(estimate()) for b in many * (40 // processes)), return_exceptions=True)
    tickets = [r for r in results if isinstance(r, Ticket)]
    assert len(tickets) == 10  # each may cost 1
    assert {type(r) for r in results} == {Ticket, BudgetExceeded}
    await asyncio.gather(*(one.settle(t, used(250, 250), "ok", 1) for t in tickets))
    again = await asyncio.gather(*(two.reserve(estimate()) for _ in range(9)), return_exceptions=True)
    assert sum(isinstance(r, Ticket) for r in again) == 5


async def test_a_run_has_a_cap_of_its_own(bench: Bench) -> None:
    b = budget(bench, cost_per_run=2)
    for _ in range(2):
        await b.settle(await b.reserve(estimate(run_id=RUN)), used(), "ok", 1)
    with pytest.raises(BudgetExceeded) as caught:
        await b.reserve(estimate(run_id=RUN))
    assert (caught.value.status, caught.value.members["scope"]) == (429, "run")
    assert await b.reserve(estimate(run_id=uuid.uuid4()))


async def test_a_call_gets_only_the_output_its_cap_can_pay(bench: Bench) -> None:
    b = budget(bench, cost_per_call=Decimal("0.8"))
    assert (await b.reserve(estimate())).max_output_tokens == 300
    with pytest.raises(BudgetExceeded):
        await b.reserve(estimate(input_tokens=790))
    api = bench.api(bench.model(price_per_million_tokens={"input": 0, "output": 1_000}), cost_per_call=Decimal("0.1"))
    await events_of(api, ask())
    assert bench.server.requests[0].body["max_tokens"] == 100


@pytest.mark.parametrize("processes", [2, 20])
async def test_tokens_of_a_sliding_hour_are_exact_under_concurrency(bench: Bench, processes: int) -> None:
    many = [budget(bench, model_tokens_per_hour=5_000) for _ in range(processes)]
    one, two = many[0], many[1]
    free = {"price": Price(input=Decimal(0), output=Decimal(0)), "person_id": PERSON}
    results = await asyncio.gather(*(b.reserve(estimate(**free)) for b in many * (20 // processes)), return_exceptions=True)
    assert sum(isinstance(r, Ticket) for r in results) == 5
    refusals = [r for r in results if isinstance(r, TokensExceeded)]
    assert len(refusals) == 15
    assert 0 < (refusals[0].retry_after or 0) <= 3_660
    assert await one.reserve(estimate(**{**free, "person_id": uuid.uuid4()}))
    for ticket in results:
        if isinstance(ticket, Ticket):
            await one.settle(ticket, used(), "ok", 1)
    bench.clock.advance(3_500)
    with pytest.raises(TokensExceeded):
        await two.reserve(estimate(**free))
    bench.clock.advance(200)
    assert await two.reserve(estimate(**free))


async def test_reservations_of_a_dead_process_expire_and_do_not_block(bench: Bench) -> None:
    b = budget(bench, cost_per_day=1)
    lost = await b.reserve(estimate(run_id=RUN, person_id=PERSON))
    with pytest.raises(BudgetExceeded):
        await b.reserve(estimate())
    bench.clock.advance(600)
    assert await b.reserve(estimate())
    [row] = [r for r in await calls(bench) if r.id == lost.id]
    assert (row.state, row.outcome) == ("expired", "lost")
    # It was alive after all: what it used is counted, once.
    await b.settle(lost, used(100, 100), "ok", 1)
    await b.settle(lost, used(100, 100), "ok", 1)
    async with bench.database.begin() as tx:
        spent, reserved = await store.day_totals(tx, bench.clock.now())
    assert (spent, reserved) == (Decimal("0.2"), Decimal(1))


async def test_a_repeated_call_key_is_counted_once(bench: Bench) -> None:
    b = budget(bench)
    first = await b.reserve(estimate(call_key="run-7/step-2", run_id=RUN, person_id=PERSON))
    second = await b.reserve(estimate(call_key="run-7/step-2", run_id=RUN, person_id=PERSON))
    assert first.id == second.id
    await b.settle(second, used(), "ok", 1)
    await b.settle(first, used(), "ok", 1)
    third = await b.reserve(estimate(call_key="run-7/step-2", run_id=RUN, person_id=PERSON))
    await b.settle(third, used(), "ok", 1)
    assert len(await calls(bench)) == 1
    async with bench.database.begin() as tx:
        meters = {(r.scope, r.spent, r.reserved) for r in await tx.rows(sa.select(model_meter))}
    assert meters == {("hour", 1_000, 0), ("run", 1, 0), ("day", 1, 0)}


async def test_crossing_50_80_and_100_percent_is_told_once_and_audited(bench: Bench) -> None:
    bench.server.default = lambda body: Turn(text="x", input_tokens=0, output_tokens=100_000)
    api = bench.api(bench.model(price_per_million_tokens={"input": 0, "output": 10}, max_output_tokens=1_000), cost_per_day=4)
    told = [notices(await events_of(api, ask())) for _ in range(4)]
    assert told == [[], ["cap_50"], [], ["cap_80", "cap_100"]]
    with pytest.raises(BudgetExceeded) as caught:
        await events_of(api, ask())
    assert "midnight" in caught.value.detail
    assert len([a for a in await actions(bench) if "model_budget.crossed" in a]) == 3
    bench.clock.advance(24 * 3_600)
    assert notices(await events_of(api, ask())) == []


@pytest.mark.parametrize("processes", [1, 5])
async def test_fifty_calls_at_once_cross_each_part_of_the_cap_once(bench: Bench, processes: int) -> None:
    many = [budget(bench, cost_per_day=50) for _ in range(processes)]
    tickets = await asyncio.gather(*(b.reserve(estimate(run_id=uuid.uuid4())) for b in many * (50 // processes)))
    settled = [b.settle(t, used(), "ok", 1) for b, t in zip(many * (50 // processes), tickets, strict=True)]
    told = [notice.code for found in await asyncio.gather(*settled) for notice in found]
    assert sorted(told) == ["cap_100", "cap_50", "cap_80"]
    assert len([a for a in await actions(bench) if "model_budget.crossed" in a]) == 3


async def test_what_began_before_midnight_is_spent_on_its_own_day(bench: Bench) -> None:
    b, now = budget(bench, cost_per_day=10), bench.clock.now()
    bench.clock.advance((store.day_slot(now) + timedelta(days=1) - now).total_seconds() - 5)
    tickets = [await b.reserve(estimate()) for _ in range(6)]
    bench.clock.advance(10)
    late = [await b.settle(ticket, used(), "ok", 10) for ticket in tickets]
    assert late == [()] * 6  # of today's limit nothing is used
    [noted] = [a for a in await actions(bench) if "model_budget.crossed" in a]
    assert store.day_slot(now).date().isoformat() in noted


async def test_a_count_that_cannot_be_is_estimated_and_spoils_no_other_call(bench: Bench) -> None:
    absurd = [10**30, -1_000_000, 2**63]
    turns = [Turn(text="some words", input_tokens=count, output_tokens=count) for count in absurd]
    bench.server.script(*turns, Turn(text="fine", input_tokens=7, output_tokens=3))
    api = bench.api(bench.model(price_per_million_tokens={"input": 3, "output": 15}))
    for _ in range(4):
        await events_of(api, ask(person_id=PERSON))
    rows = await calls(bench)
    assert [(r.state, r.estimated) for r in rows] == [("settled", True)] * 3 + [("settled", False)]
    assert all(0 < r.input_tokens < 100 and 0 < r.output_tokens < 100 for r in rows)


async def test_a_refusal_by_reservations_alone_tells_administrators_once(bench: Bench) -> None:
    b = budget(bench, cost_per_day=1)
    await b.reserve(estimate())
    for _ in range(2):
        with pytest.raises(BudgetExceeded):
            await b.reserve(estimate())
    assert len([a for a in await actions(bench) if "100_percent" in a]) == 1


async def test_a_failed_call_costs_nothing_and_a_cancelled_one_what_had_arrived(bench: Bench) -> None:
    api = bench.api(bench.model(price_per_million_tokens={"input": 3, "output": 15}))
    bench.server.default = lambda body: Turn(status=500)
    with pytest.raises(ProviderBusy):
        await events_of(api, ask(person_id=PERSON, call_key="k"))
    bench.server.default = lambda body: Turn(text="some words and more", hang_after=4)
    async with aclosing(api.stream(ask(person_id=PERSON, call_key="k"))) as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    failed, cancelled = await calls(bench)
    assert (failed.outcome, failed.cost, failed.call_key) == ("failed", 0, None)
    assert (cancelled.outcome, cancelled.estimated) == ("cancelled", True)
    assert cancelled.cost > 0
    async with bench.database.begin() as tx:
        assert (await store.day_totals(tx, bench.clock.now()))[1] == 0


async def test_fallback_leaves_a_row_for_each_model(bench: Bench) -> None:
    api = bench.api(bench.model("first", timeout_seconds=1), bench.model("second"))
    bench.server.script(Turn(status=401), Turn(text="ok"))
    events = await events_of(api, ask(call_key="k", person_id=PERSON))
    assert done_of(events).model == "second"
    assert [(r.model, r.outcome, r.call_key) for r in await calls(bench)] == [("first", "failed", None), ("second", "ok", "k")]
    assert any(isinstance(e, Notice) for e in events)


async def test_no_transaction_is_open_while_the_provider_answers(bench: Bench) -> None:
    bench.server.script(Turn(text="a b c", hang_after=3))
    api = bench.api(bench.model(idle_seconds=30))
    async with aclosing(api.stream(ask(person_id=PERSON))) as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
        async with bench.database.begin() as tx:
            others = "datname = current_database() and pid <> pg_backend_pid()"  # whatever their state: it says `active` (ADR 10)
            query = f"select count(*) from pg_stat_activity where xact_start is not null and {others}"
            assert await tx.scalar(sa.text(query)) == 0


async def test_a_database_that_is_away_refuses_before_anything_is_sent(bench: Bench) -> None:
    away = Bench(Database("postgresql://nobody@127.0.0.1:9/none"), bench.vault, bench.clock, bench.server, bench.folder)
    with pytest.raises(DatabaseUnavailable):
        await events_of(away.api(), ask())
    assert bench.server.requests == []
    await away.database.close()


async def test_a_settlement_that_meets_a_lost_connection_is_made_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    settle, lost = batches.settle_all, [True, False]  # the answer, the statement

    async def cut(*args: Any) -> Any:
        if not lost:
            return await settle(*args)
        if lost.pop():
            await settle(*args)
        raise DatabaseUnavailable

    monkeypatch.setattr(batches, "settle_all", cut)
    api = bench.api(bench.model(price_per_million_tokens={"input": 3, "output": 15}))
    await events_of(api, ask(person_id=PERSON))
    [row] = await calls(bench)
    assert row.state == "settled"
    async with bench.database.begin() as tx:
        assert await store.day_totals(tx, bench.clock.now()) == (row.cost, 0)


async def test_a_cancelled_reservation_is_given_back(bench: Bench) -> None:
    b = budget(bench)
    task = asyncio.create_task(b.reserve(estimate(person_id=PERSON, call_key="k")))
    await asyncio.sleep(0)  # the transaction has begun, for all this task can do about it
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ticket = await b.reserve(estimate(person_id=PERSON, call_key="other"))
    for _ in range(2):  # settlements run one after the other: after ours the given-back one is done
        await b.settle(ticket, used(), "ok", 1)
    rows = {r.call_key: r.state for r in await calls(bench)}
    assert rows in ({None: "settled", "other": "settled"}, {"other": "settled"})
    async with bench.database.begin() as tx:
        assert await store.day_totals(tx, bench.clock.now()) == (1, 0)


async def test_settlements_at_once_count_each_call_once(bench: Bench) -> None:
    b = budget(bench)
    tickets = await asyncio.gather(*(b.reserve(estimate(person_id=PERSON, run_id=RUN)) for _ in range(10)))
    await asyncio.gather(*(b.settle(t, used(100, 100), "ok", 1) for t in [*tickets, *tickets]))
    async with bench.database.begin() as tx:
        meters = {(r.scope, r.spent, r.reserved) for r in await tx.rows(sa.select(model_meter))}
    assert meters == {("hour", 2_000, 0), ("run", 2, 0), ("day", 2, 0)}


async def test_one_call_too_many_in_a_batch_is_refused_alone(bench: Bench) -> None:
    b = budget(bench, cost_per_run=2)
    wishes = [*[estimate(run_id=RUN)] * 3, estimate(person_id=PERSON), estimate(call_key="k"), estimate()]
    results = await asyncio.gather(*(b.reserve(w) for w in wishes), return_exceptions=True)
    assert [isinstance(r, Ticket) for r in results] == [True, True, False, True, True, True]
    assert isinstance(results[2], BudgetExceeded)
    async with bench.database.begin() as tx:
        assert (await store.day_totals(tx, bench.clock.now()))[1] == 5
