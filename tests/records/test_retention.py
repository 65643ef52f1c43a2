"""Retention: schedules, holds, refusals by the API and by the database, and the deletion of what is due."""

import io
import json
import zipfile
from typing import Any

import httpx2
import psycopg
import pytest

from tests.chat.conftest import ask
from tests.conftest import Urls
from tests.site import PASSWORD, Site, seeded, seeded_urls, site  # noqa: F401 - fixtures

WHY = {"reason": "a new rule", "password": PASSWORD}


async def put(client: httpx2.AsyncClient, kind: str, days: int | None, **more: Any) -> tuple[int, str]:
    answer = await client.put("/api/admin/retention", json={"kind": kind, "keep_days": days, **more})
    return answer.status_code, str(answer.json().get("code", ""))


@pytest.mark.rule("11.10(c)", "Annex 11 s.9")
async def test_schedules_are_changed_with_a_reason_and_a_secret(site: Site) -> None:  # noqa: F811
    admin, reviewer = await site.client("admin"), await site.client("reviewer")
    found = {s["kind"]: s["keep_days"] for s in (await admin.get("/api/admin/retention")).json()["items"]}
    assert found == {"conversation": 0, "instrument_run": 3653, "approval": 3653, "signature": None, "audit_event": None}
    assert await put(reviewer, "approval", 1, **WHY) == (403, "forbidden")
    assert await put(admin, "approval", 4000) == (200, "")  # longer
    assert await put(admin, "approval", 10) == (422, "reason_needed")
    assert (await put(admin, "approval", 10, reason="x"))[0] == 422
    assert await put(admin, "approval", 10, reason="x", password="wrong") == (403, "wrong_password")
    assert await put(admin, "approval", 10, **WHY) == (200, "")
    assert await put(admin, "approval", None) == (200, "")
    assert await put(admin, "audit_event", 1, **WHY) == (409, "fixed_schedule")
    assert await put(admin, "nothing", 1, **WHY) == (404, "not_found")
    events = (await admin.get("/api/audit", params={"action": "retention.changed"})).json()["items"]
    assert [e["reason"] for e in events] == ["10 days -> for ever", "4000 days -> 10 days", "3653 days -> 4000 days"]
    assert [[c["name"] for c in e["content"]] for e in events] == [
        ["archive", "keep_days"],
        ["archive", "keep_days", "reason"],
        ["archive", "keep_days"],
    ]


@pytest.mark.rule("11.10(c)", "ALCOA enduring")
async def test_a_deleted_conversation_goes_when_nothing_keeps_it(site: Site, seeded_urls: Urls) -> None:  # noqa: F811
    viewer, admin = await site.client("viewer"), await site.client("admin")
    file = (await viewer.post("/api/attachments", files={"file": ("a.txt", b"text")})).json()["id"]
    asked = {"message": "Is PCR-02 free?", "attachmentIds": [file]}
    conversation = (await viewer.post("/api/chat/completion", json=asked)).json()["conversation_id"]
    await viewer.post(f"/api/conversations/{conversation}/share", json={"users": ["reviewer@demo.lab"]})
    other = (await viewer.get(f"/api/runs/{(await ask(viewer, 'hello')).run_id}")).json()["conversation_id"]

    def refused_by_the_database() -> None:
        for url in (seeded_urls.app, seeded_urls.owner):
            for table, key in (("conversation", "id"), ("message", "conversation_id"), ("run", "conversation_id")):
                with psycopg.connect(url) as conn, pytest.raises(psycopg.errors.IntegrityConstraintViolation):
                    conn.execute(f"DELETE FROM {table} WHERE {key} = %s", [conversation])  # type: ignore[arg-type]

    def aged(days: int) -> None:
        with psycopg.connect(seeded_urls.superuser) as conn:
            for column in ("deleted_at", "last_message_at", "created_at"):
                statement = f"UPDATE conversation SET {column} = now() - make_interval(days => %s) WHERE id = %s AND {column} IS NOT NULL"
                conn.execute(statement, [days, conversation])  # type: ignore[arg-type]

    refused_by_the_database()
    assert (await viewer.delete(f"/api/conversations/{conversation}")).status_code == 204
    assert await site.services.retention.apply() == {}  # it can be restored for 30 days
    aged(31)
    assert await put(admin, "conversation", 60) == (200, "")
    refused_by_the_database()
    assert await site.services.retention.apply() == {}
    assert await put(admin, "conversation", 0, **WHY) == (200, "")
    for target in ({"person": "viewer@demo.lab"}, {"conversation_id": conversation}, {"kind": "conversation"}):
        answer = await admin.post("/api/admin/holds", json=target | {"reason": "a court asks"}, headers={"Idempotency-Key": str(target)})
        hold = answer.json()["id"]
        assert (answer.status_code, answer.json()["reason"]) == (201, "a court asks")
        refused_by_the_database()
        held = await viewer.delete(f"/api/attachments/{file}")
        assert (held.status_code, held.json()["code"]) == (409, "must_be_kept")
        with psycopg.connect(seeded_urls.app) as conn, pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            conn.execute("UPDATE attachment SET state = 'deleted', facts = NULL, deleted_at = now() WHERE id = %s", [file])
        assert await site.services.retention.apply() == {}
        erased = await admin.post("/api/admin/erasure", json={"subject": "viewer@demo.lab", **WHY})
        assert (erased.status_code, erased.json()["code"]) == (409, "must_be_kept")
        assert {o["because"] for o in erased.json()["obstacles"]} == {"hold"}
        let_go = f"/api/admin/holds/{hold}/release"
        assert (await admin.post(let_go, json={"reason": "over"})).status_code == 422
        assert (await admin.post(let_go, json={"reason": "over", "password": PASSWORD})).json()["release_reason"] == "over"
        assert (await admin.post(let_go, json={"reason": "over", "password": PASSWORD})).json()["code"] == "already_released"
    assert await site.services.retention.apply() == {"conversation": 1, "run": 1}
    assert (await viewer.get(f"/api/conversations/{other}")).status_code == 200
    with psycopg.connect(seeded_urls.superuser) as conn:
        for table in ("message", "run", "message_index", "conversation_share"):
            assert conn.execute(f"SELECT count(*) FROM {table} WHERE conversation_id = %s", [conversation]).fetchone() == (0,)  # type: ignore[arg-type]
        assert conn.execute("SELECT state, facts FROM attachment WHERE id = %s", [file]).fetchone() == ("deleted", None)
    assert (await site.services.rechecker.check()).differences == ()
    assert len((await admin.get("/api/admin/holds")).json()["items"]) == 3


@pytest.mark.rule("11.10(c)", "ALCOA enduring")
async def test_plans_are_kept_with_their_conversation(site: Site, seeded_urls: Urls) -> None:  # noqa: F811
    scientist = await site.client("scientist")
    heard = await ask(scientist, "Start PCR-STD-35 on PCR-02 and then start SEQ-PE150 on SEQ-01")
    plan = heard.of("approval_required")[0]["preview"]["plan"]["id"]
    conversation = heard.of("run_started")[0]["conversation_id"]

    def refused_by_the_database() -> None:
        for url in (seeded_urls.app, seeded_urls.owner):
            for statement in ("DELETE FROM plan_step WHERE plan_id = %s", "DELETE FROM plan WHERE id = %s"):
                with psycopg.connect(url) as conn, pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="must be kept"):
                    conn.execute(statement, [plan])
        for table in ("plan_step", "plan"):
            with psycopg.connect(seeded_urls.owner) as conn, pytest.raises(psycopg.Error, match="refused"):
                conn.execute(f"TRUNCATE {table} CASCADE")  # type: ignore[arg-type]

    refused_by_the_database()
    assert (await scientist.post(f"/api/plans/{plan}/stop")).status_code == 202
    admin = await site.client("admin")
    assert await put(admin, "conversation", 60) == (200, "")
    assert (await scientist.delete(f"/api/conversations/{conversation}")).status_code == 204
    refused_by_the_database()
    with psycopg.connect(seeded_urls.superuser) as conn:
        conn.execute("UPDATE conversation SET deleted_at = now() - interval '31 days' WHERE id = %s", [conversation])
    assert await put(admin, "conversation", 0, archive=True, **WHY) == (200, "")
    hold = (await admin.post("/api/admin/holds", json={"person": "scientist@demo.lab", "reason": "a court asks"})).json()["id"]
    refused_by_the_database()
    assert await site.services.retention.apply() == {}
    assert (await admin.post(f"/api/admin/holds/{hold}/release", json={"reason": "over", "password": PASSWORD})).status_code == 200
    assert await site.services.retention.apply() == {"plan": 1, "run": 1, "conversation": 1}
    assert (await scientist.get(f"/api/plans/{plan}")).status_code == 404
    [archive] = (await admin.get("/api/admin/archives")).json()["items"]
    taken = await admin.post(f"/api/admin/archives/{archive['id']}/download", json=WHY)
    with zipfile.ZipFile(io.BytesIO(taken.content)) as files:
        parts = {name: json.loads(files.read(name)) for name in files.namelist()}
    [kept] = [part["content"] for part in parts.values() if part.get("type") == "plan"]
    assert (kept["id"], kept["state"], [step["body"]["call"]["tool"]["name"] for step in kept["steps"]]) == (
        plan,
        "stopped",
        ["start_run"] * 2,
    )
    actions = [json.loads(proof["body"])["action"] for proof in parts["archive.json"]["document"]["proofs"]]
    assert {"plan.made", "plan.stopped"} <= set(actions)
    assert (await site.services.rechecker.check()).differences == ()


@pytest.mark.rule("11.10(c)", "ALCOA enduring")
async def test_laboratory_records_keep_their_people(site: Site, seeded_urls: Urls) -> None:  # noqa: F811
    admin, scientist = await site.client("admin"), await site.client("scientist")
    heard = await ask(scientist, "stop HPLC-03, the pressure is dropping")
    approval = heard.of("approval_required")[0]["approval_id"]
    refused = await admin.post("/api/admin/erasure", json={"subject": "scientist@demo.lab", **WHY})
    assert refused.status_code == 409
    kinds = {o["kind"]: o for o in refused.json()["obstacles"]}
    assert set(kinds) == {"instrument_run", "approval"}
    assert (kinds["approval"]["count"], kinds["instrument_run"]["until"] > "2036") == (1, True)
    assert (await scientist.get("/api/auth/me")).status_code == 200
    with psycopg.connect(seeded_urls.app) as conn, pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        conn.execute("DELETE FROM policy_approval")

    for kind in ("instrument_run", "approval"):
        assert await put(admin, kind, 0, **WHY) == (200, "")
    gone = await site.services.retention.apply()
    assert (gone["instrument_run"] > 5, "approval" in gone) == (True, False)  # it is still pending
    await scientist.post(f"/api/approvals/{approval}/decision", json={"decision": "reject", "reason": "no"})
    assert await site.services.retention.apply() == {"approval": 1}
    assert (await site.services.rechecker.check()).differences == ()
    left = (await scientist.get("/api/runs-of-instruments")).json()["items"]
    assert {run["state"] for run in left} <= {"running", "warming_up", "paused", "queued"}


async def test_holds_that_say_nothing_are_refused(site: Site) -> None:  # noqa: F811
    admin, early, late = await site.client("admin"), "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    bodies: list[dict[str, str]] = [
        {}, {"person": "viewer@demo.lab", "kind": "approval"}, {"person": "viewer@demo.lab", "since": early}, {"kind": "nothing"},
        {"person": "nobody@demo.lab"}, {"kind": "approval", "since": late, "until": early},
    ]  # fmt: skip
    for body in bodies:
        assert (await admin.post("/api/admin/holds", json=body | {"reason": "x"})).status_code in (404, 422), body
