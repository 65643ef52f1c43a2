"""Plans: shown first, decided as a whole or step by step, executed one by one, stopped and resumed by people."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx2
import psycopg
import pytest
from sqlalchemy import text

from aliquot.identity.contracts import SYSTEM
from aliquot.policy.bundles import default_source
from tests.chat.conftest import Heard, ask, hear
from tests.conftest import Urls
from tests.peers.models_server import ModelServer, ToolCall, Turn
from tests.site import PASSWORD, Site

_GATE = 4712
PLAN = "Start PCR-STD-35 on PCR-02 and then start SEQ-PE150 on SEQ-01"
SWAP = "Stop the run on HPLC-03 because of pressure, then start HPLC-GRAD-10 on it with samples S-1 and S-2"


async def agreeing(site: Site) -> AsyncIterator[Site]:
    """Whatever a test does, the rows of its plans end up as the log says they are."""
    yield site
    found = (await site.services.rechecker.check()).differences
    assert [difference for difference in found if difference.record_type == "plan"] == []


@pytest.fixture(name="site")
async def agreeing_site(site: Site) -> AsyncIterator[Site]:
    async for one in agreeing(site):
        yield one


@pytest.fixture(name="model_site")
async def agreeing_model_site(model_site: Site) -> AsyncIterator[Site]:
    async for one in agreeing(model_site):
        yield one


async def plan_of(client: httpx2.AsyncClient, heard: Heard) -> dict[str, Any]:
    """The plan a run asked about, as `GET /api/plans/{id}` shows it."""
    document = heard.of("approval_required")[0]["preview"]["plan"]
    return await shown(client, document["id"])


async def shown(client: httpx2.AsyncClient, plan_id: str) -> dict[str, Any]:
    answer = await client.get(f"/api/plans/{plan_id}")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def decide(client: httpx2.AsyncClient, plan: dict[str, Any], decision: str = "approve", **more: Any) -> httpx2.Response:
    body = {"decision": decision} | ({} if decision == "step_by_step" else {"approval_id": plan["approval"]["id"]}) | more
    return await client.post(f"/api/plans/{plan['id']}/decision", json=body)


async def state(client: httpx2.AsyncClient, instrument: str) -> str:
    return str((await client.get(f"/api/instruments/{instrument}/status")).json()["state"])


def states(plan: dict[str, Any]) -> list[str]:
    return [step["state"] for step in plan["steps"]]


async def test_a_plan_is_shown_and_approved_as_a_whole(site: Site) -> None:
    scientist = await site.client("scientist")
    heard = await ask(scientist, PLAN)
    assert heard.of("done")[0]["state"] == "waiting_approval"
    assert "| 1 | Start PCR-STD-35" in heard.text
    assert "| 2 | Start SEQ-PE150" in heard.text
    plan = await plan_of(scientist, heard)
    assert (plan["state"], plan["mode"], plan["whole_offered"], states(plan)) == ("waiting", "whole", True, ["waiting", "waiting"])
    assert [step["preview"] is not None for step in plan["steps"]] == [True, True]
    assert (await state(scientist, "PCR-02"), await state(scientist, "SEQ-01")) == ("idle", "idle")
    decided = await decide(scientist, plan)
    assert decided.status_code == 202, decided.text
    followed = await hear(scientist, decided.json()["run_id"])
    assert [end["outcome"] for end in followed.of("tool_call_end")] == ["ok", "ok"], followed.text
    plan = await shown(scientist, plan["id"])
    assert (plan["state"], states(plan)) == ("done", ["ok", "ok"])
    assert "The plan is done." in followed.text
    assert (await state(scientist, "PCR-02")) in ("warming_up", "running")
    assert (await state(scientist, "SEQ-01")) in ("warming_up", "running")


async def test_a_step_whose_preview_has_to_wait_says_so_and_the_whole_needs_what_its_strictest_step_needs(site: Site) -> None:
    admin, other, reviewer = await site.client("admin"), await site.client("clinician"), await site.client("reviewer")
    made = await admin.put(f"/api/admin/users/{site.people['clinician']}/roles", json={"roles": ["scientist"]})
    assert made.is_success, made.text
    heard = await ask(other, SWAP)
    plan = await plan_of(other, heard)
    first, second = plan["steps"]
    assert (first["tool"], first["arguments"]["reason"], first["after"]) == ("stop_run", "pressure", [])
    assert (second["arguments"]["instrument"], second["arguments"]["samples"]) == ("HPLC-03", ["S-1", "S-2"])
    assert (second["preview"], second["after"]) == (None, [1])
    assert "HPLC-03 is" in second["deferred"]
    assert "what exactly it changes is known after step 1" in heard.text
    assert "sign" in plan["approval"]["decision"]["obligations"], "the run is somebody else's"
    own = await decide(other, plan)
    assert (own.status_code, own.json()["code"]) == (403, "own_request")
    unsigned = await decide(reviewer, plan)
    assert (unsigned.status_code, unsigned.json()["code"]) == (422, "signature_required")
    signed = await decide(reviewer, plan, signature={"meaning": "approval", "password": PASSWORD})
    assert signed.status_code == 202, signed.text
    followed = await hear(other, signed.json()["run_id"])
    assert [end["outcome"] for end in followed.of("tool_call_end")] == ["ok", "ok"], followed.text
    assert (await shown(other, plan["id"]))["state"] == "done"
    assert (await state(other, "HPLC-03")) in ("warming_up", "running")
    steps = (await shown(reviewer, plan["id"]))["steps"]
    approvals = [(await reviewer.get(f"/api/approvals/{step['approval_id']}")).json() for step in steps]
    assert approvals[0]["state"] == "done"
    assert "approved as a whole" in approvals[0]["reason"]


async def test_step_by_step_each_step_is_asked_for_in_its_turn(site: Site) -> None:
    scientist = await site.client("scientist")
    plan = await plan_of(scientist, await ask(scientist, PLAN))
    chosen = await decide(scientist, plan, "step_by_step")
    assert chosen.status_code == 202, chosen.text
    first = await hear(scientist, chosen.json()["run_id"])
    assert first.of("approval_required")[0]["preview"]["tool"] == "start_run"
    again = await decide(scientist, await shown(scientist, plan["id"]), "step_by_step")
    assert (again.status_code, again.json()["code"]) == (409, "whole_not_offered")
    withdrawn = (await scientist.get(f"/api/approvals/{plan['approval']['id']}")).json()
    assert withdrawn["state"] == "withdrawn"
    plan = await shown(scientist, plan["id"])
    assert (plan["state"], plan["mode"], states(plan)) == ("waiting", "steps", ["current", "waiting"])
    old = await scientist.post(f"/api/plans/{plan['id']}/decision", json={"decision": "approve", "approval_id": withdrawn["id"]})
    assert (old.status_code, old.json()["code"]) == (409, "plan_moved_on"), "nobody decides what they did not see"
    edited = await scientist.post(f"/api/approvals/{plan['approval']['id']}/edit", json={"arguments": plan["steps"][1]["arguments"]})
    assert (edited.status_code, edited.json()["code"]) == (409, "step_fixed")
    followed = await hear(scientist, (await decide(scientist, plan)).json()["run_id"])
    assert [end["outcome"] for end in followed.of("tool_call_end")] == ["ok"]
    assert (await state(scientist, "SEQ-01")) == "idle"
    plan = await shown(scientist, plan["id"])
    assert (plan["state"], states(plan), plan["approval"]["arguments"]["instrument"]) == ("waiting", ["ok", "current"], "SEQ-01")
    rejected = await decide(scientist, plan, "reject", reason="not today")
    last = await hear(scientist, rejected.json()["run_id"])
    assert [end["outcome"] for end in last.of("tool_call_end")] == ["denied"]
    plan = await shown(scientist, plan["id"])
    assert (plan["state"], plan["reason"], states(plan)) == ("stopped", "rejected", ["ok", "denied"])
    assert (await state(scientist, "SEQ-01")) == "idle"
    refused = await scientist.post(f"/api/plans/{plan['id']}/resume")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_resumable")


async def test_a_step_that_asks_does_not_repeat_what_the_steps_before_it_have_cleared(site: Site) -> None:
    scientist = await site.client("scientist")
    heard = await ask(scientist, "Stop the run on HPLC-03 because of pressure, then start HPLC-GRAD-10 on it")
    assert "known after step 1. When the plan was made: HPLC-03 is running" in heard.text
    plan = await plan_of(scientist, heard)
    await hear(scientist, (await decide(scientist, plan, "step_by_step")).json()["run_id"])
    followed = await hear(scientist, (await decide(scientist, await shown(scientist, plan["id"]))).json()["run_id"])
    assert "| 2 | start_run (instrument: HPLC-03, protocol: HPLC-GRAD-10) | 1 | your confirmation | asks now |" in followed.text


async def test_what_changed_since_the_whole_was_approved_is_asked_for_again(site: Site) -> None:
    scientist = await site.client("scientist")
    plan = await plan_of(scientist, await ask(scientist, PLAN))
    await disturb(site, "SEQ-01", "report_fault", "clear_fault")
    followed = await hear(scientist, (await decide(scientist, plan)).json()["run_id"])
    assert [end["outcome"] for end in followed.of("tool_call_end")] == ["ok"]
    assert "Something changed since the plan was approved" in followed.text
    plan = await shown(scientist, plan["id"])
    assert (plan["state"], plan["mode"], plan["reason"], states(plan)) == ("waiting", "steps", "stale", ["ok", "current"])
    await hear(scientist, (await decide(scientist, plan)).json()["run_id"])
    assert (await shown(scientist, plan["id"]))["state"] == "done"


async def test_a_step_that_could_not_be_previewed_uses_what_was_there_when_it_was_approved(site: Site) -> None:
    """Fails when a protocol is changed under an approved plan and the new version is started without anybody having seen it."""
    scientist, admin = await site.client("scientist"), await site.client("admin")
    plan = await plan_of(scientist, await ask(scientist, SWAP))
    assert plan["steps"][1]["preview"] is None
    old = (await admin.get("/api/protocols/HPLC-GRAD-10")).json()
    made = await admin.post("/api/protocols", json={"code": "HPLC-GRAD-10", **old["text"], "summary": "Another gradient."})
    assert (made.status_code, made.json()["version"]) == (201, old["version"] + 1), made.text
    followed = await hear(scientist, (await decide(scientist, plan)).json()["run_id"])
    assert [end["outcome"] for end in followed.of("tool_call_end")] == ["ok"]
    plan = await shown(scientist, plan["id"])
    assert (plan["state"], plan["reason"], states(plan)) == ("waiting", "stale", ["ok", "current"])
    assert f"version {old['version'] + 1}" in plan["approval"]["preview"]["summary"]
    await hear(scientist, (await decide(scientist, plan)).json()["run_id"])
    assert (await shown(scientist, plan["id"]))["state"] == "done"


async def test_a_name_means_the_instrument_it_meant_when_it_was_approved(model_site: Site, model_server: ModelServer) -> None:
    """Fails when an instrument that was added since is started because it has the name a model wrote."""
    stop = ToolCall(id="a", name="stop_run", arguments={"run": "R-2026-0012", "reason": "pressure"})
    start = ToolCall(id="b", name="start_run", arguments={"instrument": "HPLC", "protocol": "HPLC-GRAD-10", "samples": ["S-1"]})
    model_server.script(Turn(tool_calls=(stop, start)))
    scientist, admin = await model_site.client("scientist"), await model_site.client("admin")
    plan = await plan_of(scientist, await ask(scientist, "Swap them, please", "swap"))
    assert [step["preview"] is None for step in plan["steps"]] == [False, True]
    new = {"code": "HPLC-04", "name": "HPLC", "kind": "hplc", "location": "Room 1"}
    assert (await admin.post("/api/instruments", json=new)).status_code == 201
    followed = await hear(scientist, (await decide(scientist, plan)).json()["run_id"])
    assert [end["outcome"] for end in followed.of("tool_call_end")] == ["ok"]
    plan = await shown(scientist, plan["id"])
    assert (plan["state"], plan["reason"]) == ("waiting", "stale")
    assert "on HPLC-04" in plan["approval"]["preview"]["summary"]
    assert await state(scientist, "HPLC-04") == "idle"


async def test_a_failing_step_stops_the_plan_until_a_person_resumes_or_stops_it(site: Site) -> None:
    scientist = await site.client("scientist")
    await disturb(site, "CENT-04", "clear_fault")
    plan = await plan_of(scientist, await ask(scientist, PLAN + " and start BEAD-CLEANUP on CENT-04"))
    await disturb(site, "PCR-02", "report_fault")
    followed = await hear(scientist, (await decide(scientist, plan)).json()["run_id"])
    plan = await shown(scientist, plan["id"])
    assert (plan["state"], plan["reason"], states(plan)) == ("failed", "step_failed", ["failed", "skipped", "skipped"])
    assert "can be resumed from the failed step" in followed.text
    assert (await state(scientist, "SEQ-01")) == "idle"
    await disturb(site, "PCR-02", "clear_fault")
    resumed = await scientist.post(f"/api/plans/{plan['id']}/resume")
    assert resumed.status_code == 202, resumed.text
    asked = await hear(scientist, resumed.json()["run_id"])
    assert asked.of("approval_required")[0]["preview"]["arguments"]["instrument"] == "PCR-02"
    plan = await shown(scientist, plan["id"])
    assert (plan["state"], plan["mode"], plan["steps"][0]["attempt"]) == ("waiting", "steps", 2)
    stopped = await scientist.post(f"/api/plans/{plan['id']}/stop")
    assert (stopped.status_code, stopped.json()["plan"]["state"]) == (202, "stopped"), stopped.text
    assert (await scientist.get(f"/api/runs/{asked.run_id}")).json()["state"] == "cancelled"
    again = await scientist.post(f"/api/plans/{plan['id']}/stop")
    assert (again.status_code, again.json()["code"]) == (409, "plan_ended")
    decided = await scientist.post(f"/api/approvals/{plan['approval']['id']}/decision", json={"decision": "approve"})
    assert (decided.status_code, decided.json()["code"]) == (409, "already_decided")
    assert (await state(scientist, "PCR-02")) == "idle"


async def disturb(site: Site, instrument: str, *what: str) -> None:
    """Faults behind the plan's back, by the laboratory's own door."""
    for name in what:
        async with site.services.db.begin() as tx:
            if name == "report_fault":
                await site.services.lab.report_fault(tx, SYSTEM, instrument, error_code="lid_open", error="The lid is open.")
            else:
                await site.services.lab.clear_fault(tx, SYSTEM, instrument)


@contextmanager
def gate(urls: Urls) -> Iterator[psycopg.Connection[Any]]:
    """While the lock is held, a run of an instrument cannot be written: the step stands in the middle of its effect."""
    with psycopg.connect(urls.superuser, autocommit=True) as conn:
        conn.execute(
            f"CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN PERFORM pg_advisory_xact_lock({_GATE}); RETURN NEW; END $$"
        )
        conn.execute("CREATE TRIGGER gate BEFORE INSERT ON instrument_run FOR EACH ROW EXECUTE FUNCTION gate()")
        conn.execute("SELECT pg_advisory_lock(%s)", [_GATE])
        yield conn


async def reached(conn: psycopg.Connection[Any]) -> None:
    """Wait until somebody stands at the gate."""
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
    while conn.execute(waiting, [_GATE]).fetchone() != (1,):  # noqa: ASYNC110 - another session's lock
        await asyncio.sleep(0.01)  # polling a run


async def test_stopped_while_a_step_is_under_way_that_step_ends_and_no_other_begins(site: Site, seeded_urls: Urls) -> None:
    scientist = await site.client("scientist")
    plan = await plan_of(scientist, await ask(scientist, PLAN))
    with gate(seeded_urls) as conn:
        run = (await decide(scientist, plan)).json()["run_id"]
        await reached(conn)
        stopped = await scientist.post(f"/api/plans/{plan['id']}/stop")
        assert (stopped.status_code, stopped.json()["plan"]["stopping"]) == (202, True), stopped.text
        conn.execute("SELECT pg_advisory_unlock(%s)", [_GATE])
    followed = await hear(scientist, run)
    assert [end["outcome"] for end in followed.of("tool_call_end")] == ["ok"]
    plan = await shown(scientist, plan["id"])
    assert (plan["state"], plan["reason"], states(plan)) == ("stopped", "stopped", ["ok", "skipped"])
    assert (await state(scientist, "PCR-02")) in ("warming_up", "running")
    assert (await state(scientist, "SEQ-01")) == "idle"


async def test_a_model_that_asks_for_several_actions_makes_a_plan(model_site: Site, model_server: ModelServer) -> None:
    scientist = await model_site.client("scientist")
    first = ToolCall(id="a", name="start_run", arguments={"instrument": "PCR-02", "protocol": "PCR-STD-35"})
    second = ToolCall(id="b", name="start_run", arguments={"instrument": "SEQ-01", "protocol": "SEQ-PE150"})
    look = ToolCall(id="c", name="get_instrument_status", arguments={"instrument": "PCR-02"})
    model_server.script(Turn(tool_calls=(look, first, second)), Turn(text="Both run."), Turn(text="Both run, as I said."))
    heard = await ask(scientist, "Please get both going", "both")
    assert [end["outcome"] for end in heard.of("tool_call_end")] == ["ok"], "what only reads needs no plan"
    plan = await plan_of(scientist, heard)
    assert [step["tool"] for step in plan["steps"]] == ["start_run", "start_run"]
    followed = await hear(scientist, (await decide(scientist, plan)).json()["run_id"])
    assert [end["outcome"] for end in followed.of("tool_call_end")] == ["ok", "ok"]
    assert len(model_server.requests) == 1
    later = await ask(scientist, "Do they run?", "both")
    assert later.text == "Both run."
    assert "PCR-STD-35" in str(model_server.requests[-1].body), "the model hears what became of it"
    wrong = ToolCall(id="d", name="start_run", arguments={"instrument": "NOPE-9", "protocol": "PCR-STD-35"})
    model_server.script(Turn(tool_calls=(wrong, second)), Turn(text="There is no NOPE-9."))
    failed = await ask(scientist, "Again, elsewhere", "more")
    assert {end["outcome"] for end in failed.of("tool_call_end")} <= {"failed", "denied"}
    assert failed.of("approval_required") == []
    assert (await scientist.get("/api/plans")).json()["items"][0]["id"] == plan["id"], "no plan was made of half of it"


async def test_without_a_model_a_plan_is_made_only_when_every_step_is_clear_and_allowed(site: Site) -> None:
    scientist, viewer = await site.client("scientist"), await site.client("viewer")
    unclear = await ask(
        scientist, "Start PCR-STD-35 on PCR-02 and then start the dishwasher protocol on SEQ-01 and stop HPLC-03 because it leaks"
    )
    assert unclear.of("approval_required") == []
    impossible = await ask(scientist, "Start PCR-STD-35 on PCR-02 and then start BEAD-CLEANUP on CENT-04")
    assert "Step 2 (start run)" in impossible.text
    assert impossible.text.endswith("Nothing was done.")
    never = await ask(scientist, "Stop the run on HPLC-03 because of pressure, then start PCR-STD-35 on it")
    assert never.text.count("PCR-STD-35 runs on a thermocycler; HPLC-03 is an HPLC."), "stopping the run makes no way for that"
    assert never.of("approval_required") == []
    refused = await ask(viewer, PLAN)
    assert "Viewers may only read." in refused.text
    assert refused.of("approval_required") == []
    for client in (scientist, viewer):
        assert (await client.get("/api/plans")).json()["items"] == []
    assert (await state(scientist, "PCR-02"), await state(scientist, "SEQ-01")) == ("idle", "idle")


async def test_other_people_s_plans_and_keys_that_are_no_session(site: Site) -> None:
    scientist, reviewer, viewer = await site.client("scientist"), await site.client("reviewer"), await site.client("viewer")
    plan = await plan_of(scientist, await ask(scientist, PLAN))
    for other in (reviewer, viewer):  # nobody asks for the reviewer's decision: it is confirmed by who asked for it
        for method, path, body in (
            ("GET", "", None), ("POST", "/stop", None), ("POST", "/resume", {}), ("POST", "/decision", {"decision": "step_by_step"}),
            ("POST", "/decision", {"decision": "approve", "approval_id": plan["approval"]["id"]}),
        ):  # fmt: skip
            answer = await other.request(method, f"/api/plans/{plan['id']}{path}", json=body)
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_plan"), (method, path)
        assert (await other.get("/api/plans")).json()["items"] == []
    for wrong in ("x", "00000000-0000-7000-8000-000000000000"):
        assert (await scientist.get(f"/api/plans/{wrong}")).status_code == 404
    key = (await scientist.post("/api/auth/keys", json={"name": "script"})).json()
    program = await site.anonymous()
    program.headers["Authorization"] = f"Bearer {key['secret']}"
    for body in ({"decision": "approve", "approval_id": plan["approval"]["id"]}, {"decision": "step_by_step"}):
        answer = await program.post(f"/api/plans/{plan['id']}/decision", json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "session_required"), answer.text
    for body in (
        {"decision": "approve"},
        {"decision": "maybe"},
        {"decision": "approve", "approval_id": "x"},
        {"decision": "reject", "extra": 1},
    ):
        assert (await scientist.post(f"/api/plans/{plan['id']}/decision", json=body)).status_code == 422
    moved = await scientist.post(f"/api/plans/{plan['id']}/decision", json={"decision": "approve", "approval_id": plan["id"]})
    assert (moved.status_code, moved.json()["code"]) == (409, "plan_moved_on")
    assert (await scientist.get("/api/plans", params={"state": "waiting"})).json()["items"][0]["id"] == plan["id"]
    assert (await scientist.get("/api/plans", params={"state": "done"})).json()["items"] == []
    assert (await state(scientist, "PCR-02")) == "idle"


async def test_of_fifty_decisions_and_stops_at_once_one_wins(site: Site) -> None:
    scientist = await site.client("scientist")
    plan = await plan_of(scientist, await ask(scientist, PLAN))
    kinds = ("approve", "step_by_step", "reject", "stop")
    stop = f"/api/plans/{plan['id']}/stop"
    tries = [scientist.post(stop) if kind == "stop" else decide(scientist, plan, kind) for _ in range(13) for kind in kinds]
    answers = await asyncio.gather(*tries)
    assert {answer.status_code for answer in answers} <= {202, 409}, [a.text for a in answers if a.status_code not in (202, 409)]
    assert any(answer.status_code == 202 for answer in answers)
    for _ in range(500):
        plan = await shown(scientist, plan["id"])
        if plan["state"] != "running":
            break
        await asyncio.sleep(0.01)  # polling a run
    runs = [r for code in ("PCR-02", "SEQ-01") for r in (await scientist.get(f"/api/instruments/{code}/runs")).json()["items"]]
    assert sum(r["state"] in ("warming_up", "running") for r in runs) == states(plan).count("ok")
    assert plan["state"] in ("stopped", "waiting", "done")
    async with site.services.db.begin() as tx:
        done = await tx.rows(text("SELECT state, count(*) AS n FROM policy_approval WHERE tool = 'plan' GROUP BY state"))
    assert [row.n for row in done] == [1]


async def test_a_step_that_is_decided_by_itself_asks_although_the_whole_was_approved(site: Site) -> None:
    scientist = await site.client("scientist")
    source = default_source()
    alone = """
    @id("alone") @reason("The sequencer is decided by itself.") @obligation("own_decision") permit (principal, action, resource)
    when { context.args has instrument && context.args.instrument == "SEQ-01" && resource.effect != "read" };
    """
    site.services.policy.use_bundle(replace(source, obligations=source.obligations + alone))
    await disturb(site, "CENT-04", "clear_fault")
    plan = await plan_of(scientist, await ask(scientist, PLAN + " and start BEAD-CLEANUP on CENT-04"))
    assert [step["own_decision"] for step in plan["steps"]] == [False, True, False]
    followed = await hear(scientist, (await decide(scientist, plan)).json()["run_id"])
    assert [end["outcome"] for end in followed.of("tool_call_end")] == ["ok"]
    assert followed.of("approval_required")[0]["preview"]["arguments"]["instrument"] == "SEQ-01"
    plan = await shown(scientist, plan["id"])
    assert (plan["state"], plan["mode"], plan["reason"]) == ("waiting", "whole", "own_decision")
    last = await hear(scientist, (await decide(scientist, plan)).json()["run_id"])
    assert [end["outcome"] for end in last.of("tool_call_end")] == ["ok", "ok"], "the decision about the whole stands for the third"
    plan = await shown(scientist, plan["id"])
    assert (plan["state"], states(plan)) == ("done", ["ok", "ok", "ok"])
    async with site.services.db.begin() as tx:
        spent = await tx.rows(text("SELECT state FROM policy_approval WHERE tool = 'plan'"))
    assert [row.state for row in spent] == ["done"]


async def test_a_run_cancelled_in_the_middle_pauses_the_plan_and_nothing_is_repeated(site: Site, seeded_urls: Urls) -> None:
    scientist = await site.client("scientist")
    plan = await plan_of(scientist, await ask(scientist, PLAN))
    with gate(seeded_urls) as conn:
        run = (await decide(scientist, plan)).json()["run_id"]
        await reached(conn)
        assert (await scientist.post(f"/api/runs/{run}/cancel")).is_success
        conn.execute("SELECT pg_advisory_unlock(%s)", [_GATE])
    await hear(scientist, run)
    plan = await shown(scientist, plan["id"])
    assert (plan["state"], plan["reason"]) == ("paused", "interrupted")
    while (await state(scientist, "PCR-02")) == "idle":  # noqa: ASYNC110 - the step under way comes to its end
        await asyncio.sleep(0.01)
    resumed = await scientist.post(f"/api/plans/{plan['id']}/resume", headers={"Idempotency-Key": "again"})
    assert resumed.status_code == 202, resumed.text
    asked = await hear(scientist, resumed.json()["run_id"])
    again = await scientist.post(f"/api/plans/{plan['id']}/resume", headers={"Idempotency-Key": "again"})
    assert again.status_code == 202
    assert asked.of("tool_call_end")[0]["outcome"] == "ok", "what became of the first step is said, not done again"
    plan = await shown(scientist, plan["id"])
    assert (plan["state"], states(plan), plan["approval"]["arguments"]["instrument"]) == ("waiting", ["ok", "current"], "SEQ-01")
    active = await scientist.get("/api/instruments/PCR-02/runs", params={"state": "active"})
    assert len(active.json()["items"]) == 1
    exported = await scientist.get("/api/users/me/export")
    assert exported.is_success
    assert b"plans.json" in exported.content
    events = await (await site.client("admin")).get("/api/audit", params={"record": f"plan:{plan['id']}", "limit": 100})
    actions = [event["action"] for event in events.json()["items"]]
    assert {"plan.made", "plan.paused", "plan.resumed", "plan.step_ended", "plan.asks"} <= set(actions)
