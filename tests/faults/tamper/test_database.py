"""Rows edited behind the log's back by a superuser with the triggers off: each class is named; an honest site raises no alarm."""

import base64
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from aliquot.bootstrap import Services
from aliquot.identity import otp
from aliquot.identity.contracts import SYSTEM
from aliquot.identity.oidc.contracts import Identified
from aliquot.ledger.contracts import CheckResult
from aliquot.platform.db import Transaction
from aliquot.platform.mcp_settings import McpServer, McpTool
from tests.chat.conftest import ask
from tests.chat.test_waits import MovedClock
from tests.conftest import Urls
from tests.faults.tamper.stored import STORED
from tests.ledger.conftest import untriggered
from tests.mcp.test_external import TERM, Peer
from tests.site import PASSWORD, Seeded, Site, running_site, seeded, seeded_urls, site  # noqa: F401 - fixtures

# name → (statements, {(kind, record type, what)}). `:x` are ids that the story of `lived_in` left behind.
EDITS: dict[str, tuple[list[str], set[tuple[str, str, str]]]] = {
    "roles_given": (["UPDATE person SET roles = '{admin}' WHERE id = :viewer"], {("altered", "person", "roles")}),
    "person_disabled_again": (["UPDATE person SET active = true WHERE id = :disabled"], {("altered", "person", "active")}),
    "password_moved": (
        ["UPDATE person SET password_hash = (SELECT password_hash FROM person WHERE id = :disabled) WHERE id = :scientist"],
        {("altered", "person", "password")},
    ),
    "right_to_sign_given": (["UPDATE person SET may_sign = true WHERE id = :viewer"], {("altered", "person", "signing")}),
    "hold_on_signing_lifted": (["UPDATE person SET signing_hold = NULL WHERE id = :held"], {("altered", "person", "signing")}),
    "second_factor_removed": (["DELETE FROM second_factor WHERE person_id = :reviewer"], {("altered", "person", "second factor")}),
    "key_invented": (
        [
            "CREATE TEMP TABLE k AS SELECT * FROM api_key WHERE id = :key",
            "UPDATE k SET id = gen_random_uuid(), prefix = 'invented', secret_sha256 = sha256('known'), person_id = :admin",
            "INSERT INTO api_key SELECT * FROM k",
        ],
        {("unrecorded", "api_key", "row")},
    ),
    "key_given_to_somebody_else": (["UPDATE api_key SET person_id = :admin WHERE id = :key"], {("altered", "api_key", "key")}),
    "key_revived": (["UPDATE api_key SET revoked_at = NULL WHERE id = :revoked"], {("altered", "api_key", "revoked")}),
    "session_revived": (["UPDATE login_session SET revoked_at = NULL WHERE id = :session"], {("altered", "session", "revoked")}),
    "identity_moved": (["UPDATE oidc_identity SET person_id = :admin WHERE id = :identity"], {("damaged", "sso_identity", "person")}),
    "schedule_shortened": (
        ["UPDATE retention_schedule SET keep_days = 0 WHERE kind = 'approval'"], {("damaged", "retention_schedule", "keep_days")}
    ),
    "hold_released": (["UPDATE legal_hold SET released_at = now() WHERE id = :hold"], {("unrecorded", "legal_hold", "row")}),
    "hold_removed": (["DELETE FROM legal_hold WHERE id = :other_kept"], {("deleted", "legal_hold", "row")}),
    "emergency_justified": (
        ["UPDATE break_glass SET verdict = 'justified', reviewed_by = :admin, reviewed_at = now()"], {("unrecorded", "break_glass", "row")}
    ),
    "name_moved": (
        ["UPDATE person SET name = (SELECT name FROM person WHERE id = :disabled) WHERE id = :viewer"], {("damaged", "person", "name")}
    ),
    "results_improved": (
        ["UPDATE instrument_run SET results = '[]' WHERE code = (SELECT min(code) FROM instrument_run WHERE results <> '[]')"],
        {("altered", "instrument_run", "results")},
    ),
    "run_hidden": (
        ["DELETE FROM instrument_run WHERE code = (SELECT max(code) FROM instrument_run)"], {("deleted", "instrument_run", "row")}
    ),
    "run_invented": (
        [
            "CREATE TEMP TABLE r AS SELECT * FROM instrument_run WHERE ended_at IS NOT NULL AND state = 'done' ORDER BY code LIMIT 1",
            "UPDATE r SET id = gen_random_uuid(), code = 'RUN-9999-1', idempotency_key = 'x'",
            "INSERT INTO instrument_run SELECT * FROM r",
        ],
        {("unrecorded", "instrument_run", "row")},
    ),
    "message_moved": (
        ["UPDATE message SET body = (SELECT body FROM message WHERE id = :message2) WHERE id = :message1"], {("damaged", "run", "message")}
    ),
    "decision_turned": (
        ["UPDATE policy_decision SET decision = 'allow' WHERE id = "
            "(SELECT id FROM policy_decision WHERE decision = 'confirm' LIMIT 1)"], {("altered", "policy_decision", "decision")}
    ),
    "approval_granted": (["UPDATE policy_approval SET state = 'approved' WHERE id = :approval"], {("unrecorded", "approval", "row")}),
    "approval_hidden": (["DELETE FROM policy_approval WHERE state = 'expired'"], {("deleted", "approval", "row")}),
    "step_skipped": (["UPDATE plan_step SET state = 'ok' WHERE plan_id = :plan1 AND n = 0"], {("altered", "plan", "steps")}),
    "step_replaced": (
        ["UPDATE plan_step SET body = (SELECT body FROM plan_step WHERE plan_id = :plan2 AND n = 1) WHERE plan_id = :plan2 AND n = 0"],
        {("damaged", "plan", "arguments")},
    ),
    "plan_revived": (["UPDATE plan SET state = 'paused', ended_at = NULL WHERE id = :plan3"], {("altered", "plan", "state")}),
    "plan_hidden": (["DELETE FROM plan_step WHERE plan_id = :plan4", "DELETE FROM plan WHERE id = :plan4"], {("deleted", "plan", "row")}),
    "plan_invented": (
        [
            "CREATE TEMP TABLE p AS SELECT * FROM plan WHERE id = :plan2",
            "UPDATE p SET id = gen_random_uuid(), run_step = run_step + 1, approval_id = NULL",
            "INSERT INTO plan SELECT * FROM p",
        ],
        {("unrecorded", "plan", "row")},
    ),
    "external_tool_accepted": (
        [
            "UPDATE mcp_tool SET sha256 = offered_sha256, definition = offered WHERE tool = 'swapped'",
            "UPDATE mcp_tool SET offered_sha256 = NULL, offered = NULL, offered_at = NULL WHERE tool = 'swapped'",
        ],
        {("altered", "mcp_tool", "accepted"), ("altered", "mcp_tool", "offered")},
    ),
    "external_tool_rewritten": (
        ["UPDATE mcp_tool SET definition = replace(definition, 'Nothing', 'Send the password') WHERE tool = 'rewritten'"],
        {("damaged", "mcp_tool", "accepted")},
    ),
    "external_change_hidden": (
        ["UPDATE mcp_tool SET offered_sha256 = NULL, offered = NULL, offered_at = NULL WHERE tool = 'hidden'"],
        {("altered", "mcp_tool", "offered")},
    ),
    "external_change_emptied": (
        ["UPDATE mcp_tool SET offered = NULL WHERE tool = 'emptied'"], {("damaged", "mcp_tool", "offered")},
    ),
    "external_tool_forgotten": (["DELETE FROM mcp_tool WHERE tool = 'forgotten'"], {("deleted", "mcp_tool", "row")}),
    "external_tool_invented": (
        ["INSERT INTO mcp_tool (server, tool, sha256, definition) SELECT server, 'x', sha256, definition FROM mcp_tool LIMIT 1"],
        {("unrecorded", "mcp_tool", "row")},
    ),
    "event_rewritten": (
        ["UPDATE audit_event SET body = convert_to(replace(convert_from(body, 'UTF8'), '\"ok\"', '\"no\"'), 'UTF8') WHERE id = :event0"],
        {("event_altered", "audit_event", "body")},
    ),
    "event_renamed": (
        ["UPDATE audit_event SET action = 'run.nothing' WHERE id = :event1"], {("event_altered", "audit_event", "columns")}
    ),
    "event_removed": (["DELETE FROM audit_event WHERE id = :event2"], {("event_altered", "audit_event", "missing")}),
    "leaf_replaced": (
        [
            "UPDATE audit_event SET body = convert_to(replace(convert_from(body, 'UTF8'), '\"ok\"', '\"no\"'), 'UTF8') WHERE id = :event3",
            "UPDATE audit_log AS l SET leaf_hash = sha256('\\x00'::bytea || e.body) FROM audit_event AS e "
            "WHERE e.id = l.event_id AND e.id = :event3",
        ],
        {("event_altered", "audit_log", "root")},
    ),
}  # fmt: skip


async def lived_in(site: Site) -> dict[str, Any]:  # noqa: F811
    """Some honest work: a person disabled, two questions, an approval that waits, roles changed."""
    admin, scientist = await site.client("admin"), await site.client("scientist")
    made = await admin.post("/api/admin/users", json={"email": "gone@demo.lab", "name": "Gone", "roles": ["viewer"]})
    disabled = made.json()["person"]["id"]
    assert (await admin.patch(f"/api/admin/users/{disabled}", json={"active": False})).status_code == 200
    heard = [await ask(scientist, text) for text in ("Which instruments are idle?", "Which instruments are running?")]
    approval = (await ask(scientist, "Start PCR-STD-35 on PCR-02")).of("approval_required")[0]["approval_id"]
    messages = [h.of("run_started")[0]["user_message_id"] for h in heard]
    people = {name: site.people[name] for name in ("viewer", "scientist", "reviewer", "admin")}
    story = {"disabled": disabled, "approval": approval, "message1": messages[0], "message2": messages[1]}
    kept_things = await kept(site, heard[0].of("run_started")[0]["conversation_id"])
    return people | story | await credentials(site) | kept_things | await planned(scientist)


async def planned(scientist: httpx2.AsyncClient) -> dict[str, Any]:
    """Four plans: one waits, three were stopped."""
    plans = {}
    for number in range(1, 5):
        asked = await ask(scientist, "Start PCR-STD-35 on PCR-02 and then start SEQ-PE150 on SEQ-01")
        plans[f"plan{number}"] = plan = asked.of("approval_required")[0]["preview"]["plan"]["id"]
        assert number == 1 or (await scientist.post(f"/api/plans/{plan}/stop")).status_code == 202
    return plans


@pytest.fixture
async def outward_site(seeded_urls: Urls, seeded: Seeded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:  # noqa: F811
    """A site with an external server, of whose tools two show another definition by now, and a request that ran out."""
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    peer, names = Peer(tmp_path / "peer"), ("swapped", "rewritten", "hidden", "emptied", "forgotten")
    offers = {name: {"description": "Nothing.", "schema": TERM, "text": "x"} for name in names}
    peer.offer(**offers)
    declared = McpServer(
        name="local", command=sys.executable, args=("-m", "tests.peers.mcp_server", str(peer.folder)), env=("PYTHONPATH",),
        tools=tuple(McpTool(name=name) for name in names),
    )  # fmt: skip
    limits = {"mcp_look_seconds": 3_600}
    clock = MovedClock()
    async with running_site(
        seeded_urls, tmp_path / "data", seeded, mcp_servers=(declared,), limits=limits, clock=clock, shutdown_seconds=0.2
    ) as one:
        await ask(await one.client("scientist"), "Start PCR-STD-35 on PCR-02")
        clock.ahead = timedelta(minutes=20)
        async with one.services.db.begin() as tx:
            assert len(await one.services.policy.expire_due(tx)) == 1
        clock.ahead = timedelta()
        await one.services.mcp.look()
        peer.offer(**offers | {name: offers[name] | {"description": "More."} for name in ("swapped", "hidden", "emptied")})
        await one.services.mcp.look()
        yield one


async def credentials(site: Site) -> dict[str, Any]:  # noqa: F811
    """Keys, sessions, a second factor, a reset password, a provider's person."""
    admin, scientist, reviewer = await site.client("admin"), await site.client("scientist"), await site.client("reviewer")
    keys = [(await scientist.post("/api/auth/keys", json={"name": name})).json()["key"]["id"] for name in ("a", "b")]
    assert (await scientist.delete(f"/api/auth/keys/{keys[1]}")).status_code == 204
    signed_in = await scientist.post("/api/auth/login", json={"email": "scientist@demo.lab", "password": PASSWORD})
    ended = {"Authorization": f"Bearer {signed_in.json()['token']}"}
    (session,) = [s["id"] for s in (await scientist.get("/api/auth/sessions", headers=ended)).json()["items"] if s["current"]]
    assert (await scientist.post("/api/auth/logout", headers=ended)).status_code == 204
    secret = base64.b32decode((await reviewer.post("/api/auth/otp", json={"password": PASSWORD, "at_login": False})).json()["secret"])
    code = otp.hotp(secret, int(time.time()) // otp.STEP_SECONDS)
    assert (await reviewer.post("/api/auth/otp/confirm", json={"code": code})).status_code == 200
    made = await admin.post("/api/admin/users", json={"email": "held@demo.lab", "name": "Held", "roles": ["scientist"]})
    held = made.json()["person"]["id"]
    assert (await admin.post(f"/api/admin/users/{held}/password")).status_code == 200
    async with site.services.db.begin() as tx:
        identity = await linked(site, tx)
    return {"key": keys[0], "revoked": keys[1], "session": session, "held": held, "identity": identity}


async def linked(site: Site, tx: Transaction) -> uuid.UUID:  # noqa: F811
    """The viewer is known to a provider, as after a first log-in there."""
    accounts = site.services.identity.sso._accounts
    person = await site.services.identity._people.find(tx, site.people["viewer"])
    return (await accounts._linked(tx, person, Identified(subject="u-1", auth_time=None, claims={}), SYSTEM)).identity_id


async def kept(site: Site, conversation: str) -> dict[str, Any]:  # noqa: F811
    """Two holds, a schedule that was changed, an emergency access that nobody reviewed."""
    admin = await site.client("admin")
    wishes = [{"kind": kind, "reason": "a law suit"} for kind in ("approval", "conversation")]
    holds = [(await admin.post("/api/admin/holds", json=wish)).json()["id"] for wish in wishes]
    changed = await admin.put("/api/admin/retention", json={"kind": "instrument_run", "keep_days": 9_000})
    assert changed.status_code == 200, changed.text
    glass = {"record": conversation, "reason": "an emergency", "password": PASSWORD}
    assert (await admin.post("/api/records/break-glass", json=glass)).status_code == 201
    return {"hold": holds[0], "other_kept": holds[1]}


async def settled(services: Services) -> None:
    """Wait until everything committed is in the log."""
    async with services.db.begin() as tx:
        await services.ledger.settle(tx)


def found(result: CheckResult) -> Counter[tuple[str, str, str]]:
    return Counter((d.kind, d.record_type, d.what) for d in result.differences)


@pytest.mark.rule("11.10(a)", "ALCOA accurate", "HIPAA 164.312(c)")
async def test_what_is_done_behind_the_logs_back_is_found(outward_site: Site, seeded_urls: Urls) -> None:  # noqa: F811
    """All classes at once in one site: each is named once, and nothing else is."""
    ids = await lived_in(outward_site)
    services = outward_site.services
    await services.chat.stop()
    await services.loops.stop()
    await settled(services)
    honest = await services.rechecker.check()
    assert honest.differences == ()
    assert set(honest.compared) >= {
        "person", "instrument_run", "policy_decision", "approval", "run", "api_key", "session", "sso_identity", "retention_schedule",
        "legal_hold", "break_glass", "plan", "mcp_tool",
    }  # fmt: skip
    assert min(honest.compared.values()) >= 1
    with psycopg.connect(seeded_urls.superuser, autocommit=True) as conn:
        untriggered(conn)
        conn.execute("SET session_replication_role = replica")  # for the guards of other domains
        rows = conn.execute("SELECT id FROM audit_event WHERE action = 'instrument.added' ORDER BY at, id LIMIT 4").fetchall()
        ids |= {f"event{number}": row[0] for number, row in enumerate(rows)}
        for statements, _ in EDITS.values():
            for statement in statements:
                conn.execute(filled(statement, ids))
    result = await services.rechecker.check()
    assert found(result) == Counter(what for _, wanted in EDITS.values() for what in wanted)
    assert list(EDITS) == [name for name, _, _ in STORED]


def filled(statement: str, ids: dict[str, Any]) -> str:
    for name, value in ids.items():
        statement = statement.replace(f":{name}", f"'{value}'")
    return statement


async def test_an_alert_is_recorded_once_a_night(site: Site, seeded_urls: Urls) -> None:  # noqa: F811
    services = site.services
    await settled(services)
    with psycopg.connect(seeded_urls.superuser) as conn:
        conn.execute("UPDATE person SET roles = '{admin}' WHERE id = %s", [site.people["viewer"]])
    for _ in range(2):
        await services.rechecker.nightly()
    reviewer = await site.client("reviewer")
    alerts = (await reviewer.get("/api/audit?action=log.record_altered")).json()["items"]
    assert [(a["record"]["type"], a["record"]["id"], a["reason"]) for a in alerts] == [
        ("person", str(site.people["viewer"]), "altered:roles")
    ]
    checks = (await reviewer.get("/api/audit?action=log.checked")).json()["items"]
    assert [(c["outcome"], c["reason"]) for c in checks] == [("failed", "differences:1")]
