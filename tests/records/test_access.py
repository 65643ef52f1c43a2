"""Access records: every way by which patient data is seen, the report over them, and emergency access with its review."""

from datetime import timedelta
from typing import Any

import httpx2
import pytest

from tests.chat.conftest import ask
from tests.conftest import Urls
from tests.site import PASSWORD, Site, seeded, seeded_urls, site  # noqa: F401 - fixtures

PATIENT = "The patient Maria Muster, born 12.03.1961, MRN 4711234, has a fever"
WHY = {"reason": "she collapsed", "password": PASSWORD}


async def report(client: httpx2.AsyncClient, **asked: str) -> list[dict[str, Any]]:
    answer = await client.get("/api/admin/access-report", params=asked)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def asked_about_a_patient(client: httpx2.AsyncClient) -> str:
    heard = await ask(client, PATIENT)
    return str((await client.get(f"/api/runs/{heard.run_id}")).json()["conversation_id"])


@pytest.mark.rule("HIPAA 164.312(b)", "ALCOA attributable")
async def test_every_way_of_seeing_patient_data_is_recorded(site: Site, seeded_urls: Urls) -> None:  # noqa: F811
    clinician, reviewer, admin = await site.client("clinician"), await site.client("reviewer"), await site.client("admin")
    me = str(site.people["clinician"])
    await ask(clinician, "Is PCR-02 free?", "other")  # nothing of a patient
    await clinician.get("/api/conversations/other/messages")
    assert await report(admin, person=me) == []
    conversation = await asked_about_a_patient(clinician)
    await clinician.get(f"/api/conversations/{conversation}/messages")
    await clinician.get("/api/conversations", params={"q": "fever"})
    await clinician.post(f"/api/conversations/{conversation}/export", json={"format": "json"})
    await ask(clinician, "and now?", conversation)
    found = await report(admin, person=me)
    assert [read["way"] for read in found] == ["context", "export", "search", "read"]
    assert {tuple(read["conversation_ids"]) for read in found} == {(conversation,)}
    assert len({tuple(read["message_ids"][:1]) for read in found}) == 1
    assert [read["event_id"] for read in await report(admin, patient=me)] == [read["event_id"] for read in found]
    event = (await admin.get("/api/audit", params={"action": "patient.read"})).json()["items"][0]
    assert (event["id"], event["actor"], event["reason"], event["content"]) == (found[0]["event_id"], me, "context", [])
    assert "Muster" not in str(event)
    first = (await admin.get("/api/admin/access-report", params={"person": me, "limit": 3})).json()
    rest = await report(admin, person=me, after=first["next"])
    assert [read["way"] for read in rest] == ["read"]
    assert (await admin.get("/api/admin/access-report")).status_code == 422
    assert (await admin.get("/api/admin/access-report", params={"person": me, "patient": me})).status_code == 422
    assert (await clinician.get("/api/admin/access-report", params={"person": me})).status_code == 403
    assert len((await reviewer.get("/api/audit", params={"action": "access.reported"})).json()["items"]) == 5


@pytest.mark.rule("HIPAA 164.312(a)(2)(ii)")
async def test_in_an_emergency_a_conversation_opens_for_a_while_and_is_reviewed(site: Site) -> None:  # noqa: F811
    clinician, admin, viewer = await site.client("clinician"), await site.client("admin"), await site.client("viewer")
    conversation = await asked_about_a_patient(await site.client("scientist"))
    path = f"/api/conversations/{conversation}/messages"
    assert (await clinician.get(path)).status_code == 404
    body = {"record": conversation, **WHY}
    assert (await viewer.post("/api/records/break-glass", json=body)).status_code == 403
    assert (await clinician.post("/api/records/break-glass", json=body | {"password": "wrong"})).json()["code"] == "wrong_password"
    assert (await clinician.post("/api/records/break-glass", json={"record": conversation, "reason": "x"})).status_code == 422
    unknown = await clinician.post("/api/records/break-glass", json=body | {"record": str(site.people["viewer"])})
    assert unknown.status_code == 404
    assert (await clinician.get(path)).status_code == 404
    opened = await clinician.post("/api/records/break-glass", json=body, headers={"Idempotency-Key": "k"})
    assert opened.status_code == 201, opened.text
    glass = opened.json()
    assert (await clinician.post("/api/records/break-glass", json=body, headers={"Idempotency-Key": "k"})).json()["id"] == glass["id"]
    assert "Muster" in (await clinician.get(path)).text
    assert (await admin.get(path)).status_code == 404  # for the one who asked
    said = {"message": "and now?", "conversation_id": conversation}
    assert (await clinician.post("/api/chat/completion", json=said)).status_code in (403, 404)  # reading only
    assert [read["way"] for read in await report(admin, person=str(site.people["clinician"]))] == ["read"]

    waiting = (await admin.get("/api/admin/break-glass", params={"unreviewed": True})).json()["items"]
    assert [(g["id"], g["reason"]) for g in waiting] == [(glass["id"], "she collapsed")]
    review = f"/api/admin/break-glass/{glass['id']}/review"
    assert (await clinician.post(review, json={"verdict": "justified"})).status_code == 403
    judged = (await admin.post(review, json={"verdict": "unjustified", "note": "no emergency"})).json()
    assert (judged["verdict"], judged["note"]) == ("unjustified", "no emergency")
    assert (await admin.post(review, json={"verdict": "justified"})).json()["code"] == "already_reviewed"
    own = (await admin.post("/api/records/break-glass", json=body)).json()
    assert (await admin.post(f"/api/admin/break-glass/{own['id']}/review", json={"verdict": "justified"})).json()["code"] == "own_review"
    actions = [e["action"] for e in (await admin.get("/api/audit", params={"record": conversation})).json()["items"]]
    assert actions.count("break_glass.granted") == 2

    site.services.access._clock = Later(site.services.clock)  # type: ignore[assignment]
    assert (await clinician.get(path)).status_code == 404


class Later:
    """Two hours on."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    def now(self) -> Any:
        return self._clock.now() + timedelta(hours=2)
