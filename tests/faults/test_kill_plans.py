"""kill -9 at each boundary of a plan's steps: nothing is done twice, what was in flight waits for a person, the rest goes on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx2
import psycopg

from aliquot.platform.postgres import SUPERUSER, EmbeddedPostgres
from aliquot.platform.vault import Vault, load_root_key
from tests.conftest import PATIENCE
from tests.faults.conftest import ServerProcess
from tests.faults.test_kill_server import ended, events

_GATE = 4713
START = "Start PCR-STD-35 on PCR-02 and then start SEQ-PE150 on SEQ-01"
STOP = "Stop the run on PCR-02 because of a test, then stop the run on SEQ-01 because of a test"
POINTS = (
    (START, "plan", "UPDATE", "NEW.state = 'running'"),  # the decision
    (STOP, "instrument_run", "UPDATE", "NEW.state = 'stopped'"),  # in the middle of the effect of a step
    (START, "plan_step", "UPDATE", "NEW.state = 'ok' AND NEW.n = 0"),  # done, and not noted yet
    (STOP, "policy_approval", "UPDATE", "NEW.tool = 'stop_run' AND NEW.state = 'approved'"),  # a step is being covered
    (START, "plan_step", "UPDATE", "NEW.state = 'current' AND NEW.n = 1"),  # between two steps
    (STOP, "plan", "UPDATE", "NEW.state = 'done'"),  # the end
)
"""What is asked, and the write in which the server is killed."""


@contextmanager
def superuser(server: ServerProcess) -> Iterator[psycopg.Connection[Any]]:
    keys = server.folder / "keys"
    password = Vault(load_root_key(None, keys), keys).derive(f"postgres/{SUPERUSER}").hex()
    with psycopg.connect(EmbeddedPostgres(server.folder / "pg", superuser_password=password).superuser_url(), autocommit=True) as conn:
        yield conn


def until(done: Any, what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if (found := done()) is not None:
            return found
        time.sleep(0.02)  # polling a process
    raise AssertionError(f"never came: {what}")


def begun(client: httpx2.Client) -> tuple[int, int]:
    """How many runs ever began on the two instruments, and how many of them go on."""
    runs = [run for code in ("PCR-02", "SEQ-01") for run in client.get(f"/api/instruments/{code}/runs").json()["items"]]
    return len(runs), sum(run["state"] in ("warming_up", "running") for run in runs)


def planned(client: httpx2.Client, text: str) -> dict[str, Any]:
    run = client.post(f"/api/conversations/{time.monotonic_ns()}/messages", json={"content": text}).json()["run_id"]
    heard = events(client, run, ended)
    plan = next(e["preview"]["plan"] for e in heard if e["type"] == "approval_required")
    return dict(client.get(f"/api/plans/{plan['id']}").json())


def settled(client: httpx2.Client, plan_id: str) -> dict[str, Any]:
    """The plan when nothing goes on with it by itself."""

    def look() -> dict[str, Any] | None:
        plan: dict[str, Any] = client.get(f"/api/plans/{plan_id}").json()
        return plan if plan["state"] != "running" else None

    found: dict[str, Any] = until(look, f"the end of {plan_id}")
    return found


def decide(client: httpx2.Client, plan: dict[str, Any], timeout: float = PATIENCE) -> httpx2.Response:
    body = {"decision": "approve", "approval_id": plan["approval"]["id"]}
    return client.post(f"/api/plans/{plan['id']}/decision", json=body, timeout=timeout)


def finish(client: httpx2.Client, plan: dict[str, Any], took_effect: bool) -> dict[str, Any]:
    """What a person does after a crash: look, say what happened, decide what is asked again."""
    for _ in range(4):
        if plan["state"] == "done":
            return plan
        if plan["state"] == "waiting":
            assert decide(client, plan).status_code == 202
        else:
            assert (plan["state"], plan["reason"]) == ("paused", "step_unknown"), plan
            assert client.post(f"/api/plans/{plan['id']}/resume", json={}).json()["code"] == "outcome_needed"
            assert client.post(f"/api/plans/{plan['id']}/resume", json={"took_effect": took_effect}).status_code == 202
        plan = settled(client, plan["id"])
    raise AssertionError(plan)


def test_killed_at_each_boundary_a_plan_repeats_nothing(server: ServerProcess) -> None:
    server.start()
    client = server.client()
    with superuser(server) as database:
        body = f"BEGIN PERFORM pg_advisory_xact_lock({_GATE}); RETURN NEW; END"
        database.execute(f"CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        for text, table, write, condition in POINTS:
            plan, before = planned(client, text), begun(client)
            database.execute("SELECT pg_advisory_lock(%s)", [_GATE])
            database.execute(f"CREATE TRIGGER gate BEFORE {write} ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION gate()")
            with suppress(httpx2.TimeoutException):  # the decision itself may stand at the gate
                decide(client, plan, timeout=2)
            waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
            until(lambda w=waiting: database.execute(w, [_GATE]).fetchone(), f"{table} {condition}")
            server.kill()
            database.execute(f"SET lock_timeout = '20s'; SELECT pg_advisory_unlock({_GATE}); DROP TRIGGER gate ON {table}")
            server.start()
            client = server.client()
            plan = settled(client, plan["id"])
            if plan["state"] == "paused":
                assert [step["state"] for step in plan["steps"]].count("unknown") == 1, plan
            plan = finish(client, plan, took_effect=False)  # what was being written when the server died was rolled back
            assert [step["state"] for step in plan["steps"]] == ["ok", "ok"], (table, condition)
            after = begun(client)
            wanted = (before[0] + 2, 2) if text == START else (before[0], 0)
            assert after == wanted, (table, condition)
            spent = decide(client, plan | {"approval": {"id": plan["id"]}})
            assert spent.status_code == 409
    reviewer = server.client("reviewer")
    assert reviewer.get("/api/health").json()["status"] == "ok"
