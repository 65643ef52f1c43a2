"""Training records by their routes; what asks for them: the policy's obligation and signing rules."""

import io
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from aliquot.policy.bundles import BundleSource, default_source
from tests.conftest import Urls
from tests.site import PASSWORD, Seeded, Site, running_site, seeded, seeded_urls, site  # noqa: F401 - fixtures

TODAY = datetime.now(UTC).date()
START = {"name": "start_run", "arguments": {"instrument": "PCR-02", "protocol": "PCR-STD-35"}}
ASKS = """
@id("trained-tool") @reason("Trained people only.") @obligation("training_valid")
permit (principal, action, resource == Tool::"start_run");
@id("trained-protocol") @reason("Trained in this protocol.") @obligation("training_valid") @training("protocol")
permit (principal, action, resource == Tool::"start_run");
@id("trained-bsl") @reason("Laser safety.") @obligation("training_valid") @training("topic:LASER-1")
permit (principal, action, resource == Tool::"start_run")
when { context.args has instrument && context.args.instrument == "SEQ-01" };
"""


def a_training(code: str, kind: str = "tool", **more: Any) -> dict[str, Any]:
    return {"kind": kind, "code": code, "completed_on": str(TODAY), **more}


def asking() -> BundleSource:
    """The shipped bundle, and trainings for `start_run`. Its own golden cases about `start_run` promise what no longer holds."""
    source = default_source()
    kept = tuple(case for case in source.golden if case["tool"]["name"] != "start_run")
    return BundleSource(
        schema=source.schema, authz=source.authz, obligations=source.obligations + ASKS, risk=source.risk, golden=kept, rules=source.rules
    )


async def problem(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json().get("code", ""))


@pytest.mark.rule("11.10(i)")
async def test_starting_a_run_needs_trainings_that_are_in_date(site: Site) -> None:  # noqa: F811
    site.services.policy.use_bundle(asking())
    admin, scientist = await site.client("admin"), await site.client("scientist")
    people = f"/api/admin/users/{site.people['scientist']}/training"

    async def start(**arguments: str) -> tuple[int, str, str]:
        answer = await scientist.post("/api/chat/tools", json={**START, "arguments": START["arguments"] | arguments})
        return answer.status_code, answer.json().get("code", ""), answer.json().get("detail", "")

    async def explained(**arguments: str) -> str:
        asked = {"user": "scientist@demo.lab", "tool": "start_run", "arguments": START["arguments"] | arguments}
        return str((await admin.post("/api/policy/explain", json=asked)).json()["decision"])

    status, code, sentence = await start()
    assert (status, code) == (403, "training_expired")
    assert "Missing or expired: protocol pcr-std-35, tool start_run." in sentence
    yesterday = str(TODAY - timedelta(days=1))
    made = await admin.post(people, json=a_training("start_run", evidence="CERT-7", trainer="Grace"), headers={"Idempotency-Key": "a"})
    again = await admin.post(people, json=a_training("start_run", evidence="CERT-7", trainer="Grace"), headers={"Idempotency-Key": "a"})
    assert (made.status_code, made.json()["state"], again.json()["id"]) == (201, "valid", made.json()["id"])
    expired = {"completed_on": "2020-01-01", "valid_until": yesterday}
    assert (await admin.post(people, json=a_training("pcr-std-35", "protocol") | expired)).json()["state"] == "expired"
    assert "expired: protocol pcr-std-35." in (await start())[2]
    assert await explained() == "deny"
    renewed = await admin.post(people, json=a_training("PCR-STD-35", "protocol", valid_until=str(TODAY)))
    assert (renewed.json()["version"], renewed.json()["state"]) == (2, "valid")
    assert (await start())[0] == 202
    assert await explained() == "confirm"
    assert "expired: topic laser-1." in (await start(instrument="SEQ-01"))[2]

    # What was in date when it was asked for is asked again when it is done.
    approval = (await scientist.get("/api/approvals?role=mine")).json()["items"][0]["id"]
    assert (await admin.request("DELETE", f"{people}/{renewed.json()['id']}", json={"reason": "wrong person"})).json()["state"] == "revoked"
    decided = await scientist.post(f"/api/approvals/{approval}/decision", json={"decision": "approve"})
    await scientist.get(f"/api/runs/{decided.json()['run_id']}/events", headers={"Accept": "application/json"})
    assert (await start())[1] == "training_expired"
    mine = (await scientist.get("/api/users/me/training")).json()["items"]
    assert [(t["code"], t["version"], t["state"]) for t in mine] == [
        ("PCR-STD-35", 2, "revoked"), ("pcr-std-35", 1, "superseded"), ("start_run", 1, "valid")
    ]  # fmt: skip
    assert (mine[0]["revocation"]["reason"], mine[2]["evidence"]) == ("wrong person", "CERT-7")


@pytest.mark.rule("11.10(i)")
async def test_records_of_training_are_kept_and_guarded(site: Site, seeded_urls: Urls) -> None:  # noqa: F811
    admin, scientist, viewer = await site.client("admin"), await site.client("scientist"), await site.client("viewer")
    people, own = (f"/api/admin/users/{site.people[who]}/training" for who in ("viewer", "admin"))
    key = (await admin.post("/api/auth/keys", json={"name": "k"})).json()["secret"]
    assert (await admin.post(people, json=a_training("x"), headers={"Authorization": f"Bearer {key}"})).json()["code"] == "session_required"
    assert await problem(await scientist.post(people, json=a_training("x"))) == (403, "forbidden")
    assert await problem(await scientist.get(people)) == (403, "forbidden")
    assert await problem(await admin.post(own, json=a_training("x"))) == (403, "own_training")
    nobody = "/api/admin/users/019a0000-0000-7000-8000-000000000000/training"
    assert (await problem(await admin.post(nobody, json=a_training("x"))))[0] == 404
    tomorrow = str(TODAY + timedelta(days=2))
    for wrong in (
        a_training("x" * 65), a_training("two words"), a_training("start_run", "skill"), a_training("start_run", completed_on=tomorrow),
        a_training("start_run", valid_until="2001-01-01"), a_training("start_run", evidence="e" * 501),
        a_training("start_run") | {"state": "valid"},
        {"kind": "tool", "code": "start_run"}, a_training("start_run", completed_on="soon"),
    ):  # fmt: skip
        assert (await admin.post(people, json=wrong)).status_code == 422, wrong

    for kind, code in (("protocol", "PCR-STD-36"), ("instrument", "thermocycler"), ("instrument", "PCR-20"), ("tool", "sudo")):
        refused = (await admin.post(people, json=a_training(code, kind))).json()
        assert (refused["code"], refused["detail"]) == (
            "unknown_training_subject", f"There is no {kind} {code} here, so nobody can be trained in it.",
        )  # fmt: skip
    assert (await admin.post(people, json=a_training("pcr-02", "instrument"))).status_code == 201

    first = (await admin.post(people, json=a_training("GMP", "topic", trainer="An Expert"))).json()
    second = (await admin.post(people, json=a_training("gmp", "topic"))).json()
    revoke = f"{people}/{first['id']}"
    assert await problem(await admin.request("DELETE", revoke, json={"reason": "x"})) == (409, "training_superseded")
    newest = f"{people}/{second['id']}"
    assert (await admin.request("DELETE", newest, json={})).status_code == 422
    assert (await problem(await admin.request("DELETE", f"{own}/{second['id']}", json={"reason": "x"})))[0] == 403
    assert (await admin.request("DELETE", newest, json={"reason": "no"})).status_code == 200
    assert await problem(await admin.request("DELETE", newest, json={"reason": "no"})) == (409, "training_revoked")
    events = (await admin.get("/api/audit", params={"record": f"training:{second['id']}"})).json()["items"]
    assert [e["action"] for e in events] == ["training.revoked", "training.recorded"]
    assert "An Expert" not in str(events)
    assert "training.json" in _names((await viewer.get("/api/users/me/export")).content)

    for url in (seeded_urls.app, seeded_urls.owner):
        for statement in ("UPDATE training_record SET valid_until = NULL", "DELETE FROM training_revocation"):
            with psycopg.connect(url) as conn, pytest.raises(psycopg.Error):
                conn.execute(statement)
    assert (await site.services.rechecker.check()).differences == ()
    with psycopg.connect(seeded_urls.superuser) as conn:
        conn.execute("ALTER TABLE training_record DISABLE TRIGGER refuse_change")
        conn.execute("ALTER TABLE training_revocation DISABLE TRIGGER refuse_change")
        conn.execute("UPDATE training_record SET valid_until = '2099-01-01' WHERE id = %s", [first["id"]])
        conn.execute("DELETE FROM training_revocation")
    found = (await site.services.rechecker.check()).differences
    assert {(d.record_type, d.record_id, d.what) for d in found} == {
        ("training", first["id"], "training"), ("training", second["id"], "state")
    }  # fmt: skip


@pytest.mark.rule("11.10(i)", "11.10(g)")
async def test_a_signature_can_need_a_training(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> None:  # noqa: F811
    rules = [{"meaning": "review", "author": "never", "training": ["topic:GMP"]}]
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, signing_rules=rules) as running:
        admin, reviewer = await running.client("admin"), await running.client("reviewer")
        wish = {"meaning": "review", "password": PASSWORD}
        path = "/api/records/protocol/PCR-STD-35"
        refused = await reviewer.post(f"{path}/signatures", json=wish)
        assert (refused.status_code, refused.json()["code"], refused.json()["missing"]) == (403, "training_expired", ["topic:gmp"])
        shown = {m["meaning"]: m["refusal"] for m in (await reviewer.get(path)).json()["meanings"]}
        assert (shown["review"], shown["approval"]) == ("training_expired", None)
        trained = f"/api/admin/users/{running.people['reviewer']}/training"
        assert (await admin.post(trained, json=a_training("GMP", "topic"))).status_code == 201
        assert (await reviewer.post(f"{path}/signatures", json=wish)).status_code == 201


def _names(archive: bytes) -> set[str]:
    return {name.rsplit("/", 1)[-1] for name in zipfile.ZipFile(io.BytesIO(archive)).namelist()}
