"""Rows edited behind the log's back by a superuser with the triggers off: each class is named; an honest site raises no alarm."""

from typing import Any

import psycopg
import pytest

from aliquot.bootstrap import Services
from aliquot.ledger.contracts import CheckResult
from tests.chat.conftest import ask
from tests.conftest import Urls
from tests.faults.tamper.stored import STORED
from tests.ledger.conftest import untriggered
from tests.site import Site, seeded, seeded_urls, site  # noqa: F401 - fixtures

# name → (statements, {(kind, record type, what)}). `:x` are ids that the story of `lived_in` left behind.
EDITS: dict[str, tuple[list[str], set[tuple[str, str, str]]]] = {
    "roles_given": (["UPDATE person SET roles = '{admin}' WHERE id = :viewer"], {("altered", "person", "roles")}),
    "person_disabled_again": (["UPDATE person SET active = true WHERE id = :disabled"], {("altered", "person", "active")}),
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
        ["UPDATE policy_decision SET decision = 'allow' WHERE decision = 'confirm'"], {("altered", "policy_decision", "decision")}
    ),
    "approval_granted": (["UPDATE policy_approval SET state = 'approved' WHERE id = :approval"], {("unrecorded", "approval", "row")}),
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
    return {"viewer": site.people["viewer"], "disabled": disabled, "approval": approval, "message1": messages[0], "message2": messages[1]}


async def settled(services: Services) -> None:
    """Wait until everything committed is in the log."""
    async with services.db.begin() as tx:
        await services.ledger._settle(tx)


def found(result: CheckResult) -> set[tuple[str, str, str]]:
    return {(d.kind, d.record_type, d.what) for d in result.differences}


@pytest.mark.rule("11.10(a)", "ALCOA accurate", "HIPAA 164.312(c)")
async def test_what_is_done_behind_the_logs_back_is_found(site: Site, seeded_urls: Urls) -> None:  # noqa: F811
    """All classes at once in one site: each is named once, and nothing else is."""
    ids = await lived_in(site)
    services = site.services
    await services.chat.stop()
    await services.loops.stop()
    await settled(services)
    honest = await services.rechecker.check()
    assert honest.differences == ()
    assert set(honest.compared) == {"person", "instrument_run", "policy_decision", "approval", "run"}
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
    assert found(result) == set().union(*(wanted for _, wanted in EDITS.values()))
    assert len(result.differences) == len(EDITS)
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
