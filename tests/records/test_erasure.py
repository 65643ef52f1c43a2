"""Erasure of a person by HTTP: what it destroys, what stays, what refuses it; and the export of one's own records."""

import asyncio
import io
import json
import uuid
import zipfile

import pytest

from tests.chat.conftest import ask
from tests.site import PASSWORD, Seeded, Site, seeded, seeded_urls, site  # noqa: F401 - fixtures

ERASED = "This content was erased."
REASON = {"reason": "asked for by letter"}


async def erase(site: Site, subject: str, **body: str):  # type: ignore[no-untyped-def]  # noqa: F811
    admin = await site.client("admin")
    return await admin.post("/api/admin/erasure", json={"subject": subject, "password": PASSWORD} | REASON | body)


async def shared_conversation(site: Site) -> tuple[str, str]:  # noqa: F811
    """The viewer's, with the reviewer writing in it."""
    viewer, reviewer = await site.client("viewer"), await site.client("reviewer")
    heard = await ask(viewer, "violet words")
    run = (await viewer.get(f"/api/runs/{heard.run_id}")).json()
    conversation = run["conversation_id"]
    share = await viewer.post(f"/api/conversations/{conversation}/share", json={"users": ["reviewer@demo.lab"], "may_write": True})
    assert share.status_code == 201, share.text
    await ask(reviewer, "rowan words", conversation)
    answer = (await viewer.get(f"/api/conversations/{conversation}/messages")).json()["items"]
    rated = next(m for m in answer if m["role"] == "assistant")
    given = await viewer.post("/api/chat/feedback", json={"message_id": rated["id"], "rating": "down", "comment": "violet comment"})
    assert given.status_code == 201, given.text
    return conversation, rated["id"]


@pytest.mark.rule("GDPR 17", "GDPR 15, 20")
async def test_an_erased_person_is_gone_everywhere_and_nothing_breaks(site: Site) -> None:  # noqa: F811
    conversation, _ = await shared_conversation(site)
    own = site.people["viewer"]
    admin, viewer, reviewer = await site.client("admin"), await site.client("viewer"), await site.client("reviewer")
    archive = zipfile.ZipFile(io.BytesIO((await viewer.get("/api/users/me/export")).content))
    mine = {name: archive.read(name).decode() for name in archive.namelist()}
    assert json.loads(mine["profile.json"])["email"] == "viewer@demo.lab"
    assert "violet words" in mine[f"conversations/{conversation}.json"]
    assert "run.started" in mine["acts/00000.json"]

    wanted = {"subject": "viewer@demo.lab", "password": PASSWORD} | REASON
    assert (await erase(site, "viewer@demo.lab", password="wrong")).json()["code"] == "wrong_password"
    assert (await admin.post("/api/admin/erasure", json={"subject": "viewer@demo.lab"} | REASON)).status_code == 422
    assert (await viewer.get("/api/auth/me")).status_code == 200  # nothing was done yet
    first = await admin.post("/api/admin/erasure", json=wanted, headers={"Idempotency-Key": "k"})
    assert (first.status_code, first.json()["state"], first.json()["subject"]) == (201, "done", str(own)), first.text
    again = await admin.post("/api/admin/erasure", json=wanted, headers={"Idempotency-Key": "k"})
    assert again.json()["id"] == first.json()["id"]
    assert (await erase(site, str(own))).json()["code"] == "already_erased"

    assert (await viewer.get("/api/auth/me")).status_code == 401
    anonymous = await site.anonymous()
    assert (await anonymous.post("/api/auth/login", json={"email": "viewer@demo.lab", "password": PASSWORD})).status_code == 401
    listed = (await admin.get("/api/admin/users")).json()["items"]
    assert [p["name"] for p in listed if p["id"] == str(own)] == ["(erased)"]
    anew = await admin.post("/api/admin/users", json={"email": "viewer@demo.lab", "name": "Another", "roles": ["viewer"]})
    assert (anew.status_code, anew.json()["person"]["id"] != str(own)) == (201, True)

    await reads_of_others(site, reviewer, admin, conversation)
    await the_log_still_holds(site, first.json())


async def reads_of_others(site: Site, reviewer, admin, conversation: str) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    """No read of the others fails, and none shows a word of the erased person."""
    for path in (
        "/api/conversations", "/api/conversations?q=words", "/api/shared", f"/api/conversations/{conversation}",
        f"/api/conversations/{conversation}/messages", "/api/approvals",
        f"/api/records/conversation/{conversation}", f"/api/records/conversation/{conversation}/signatures",
    ):  # fmt: skip
        answer = await reviewer.get(path)
        assert answer.status_code < 500, (path, answer.text)
        assert "violet words" not in answer.text
        assert answer.status_code in (200, 404, 405) or answer.json()["detail"] == ERASED, (path, answer.text)
    exported = await reviewer.post(f"/api/conversations/{conversation}/export", json={"format": "json"})
    assert (exported.status_code, "violet words" in exported.text, "rowan words" in exported.text) == (200, False, True)
    told = await ask(reviewer, "and now?", conversation)
    assert told.kinds()[-1] == "done", told.events
    for path in ("/api/chat/feedback", "/api/chat/feedback/export", "/api/admin/erasure"):
        answer = await admin.get(path)
        assert answer.status_code in (200, 404), (path, answer.text)
        assert "violet comment" not in answer.text


async def the_log_still_holds(site: Site, erasure: dict[str, str]) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    admin = await site.client("admin")
    for _ in range(200):
        proof = await admin.get(f"/api/audit/proof/{erasure['event_id']}")
        if proof.status_code == 200:
            break
        await asyncio.sleep(0.02)
    assert (await admin.get(f"/api/admin/erasure/{erasure['id']}")).json()["final"] is True
    assert [e["id"] for e in (await admin.get("/api/admin/erasure")).json()["items"]] == [erasure["id"]]
    result = await site.services.rechecker.check()
    assert (result.differences, result.erased > 0 or result.compared["run"] > 0) == ((), True)


@pytest.mark.rule("GDPR 17")
async def test_what_refuses_an_erasure(site: Site) -> None:  # noqa: F811
    admin, scientist = await site.client("admin"), await site.client("scientist")
    assert (await erase(site, "admin@demo.lab")).json()["code"] == "last_admin"
    assert (await admin.get("/api/auth/me")).status_code == 200
    assert (await erase(site, "nobody@demo.lab")).status_code == 404
    assert (await erase(site, str(uuid.uuid4()))).status_code == 404
    body = {"subject": "viewer@demo.lab", "password": PASSWORD} | REASON
    assert (await scientist.post("/api/admin/erasure", json=body)).status_code == 403
    key = (await admin.post("/api/auth/keys", json={"name": "k"})).json()["secret"]
    program = await site.anonymous()
    program.headers["Authorization"] = f"Bearer {key}"
    refused = await program.post("/api/admin/erasure", json=body)
    assert refused.json()["code"] == "session_required"
    assert (await program.get("/api/users/me/export")).json()["code"] == "session_required"


@pytest.mark.rule("GDPR 17")
async def test_an_erasure_that_was_interrupted_is_finished_by_the_next_process(site: Site) -> None:  # noqa: F811
    services, own = site.services, site.people["viewer"]
    forgotten = services.erasure._domains
    services.erasure._domains = [Broken()]  # type: ignore[list-item]
    answer = await erase(site, str(own))
    assert answer.status_code == 500  # after the order was committed and the key was destroyed
    assert not services.vault.knows(own)
    admin = await site.client("admin")
    assert (await admin.get("/api/admin/erasure")).json()["items"][0]["state"] == "ordered"
    services.erasure._domains = forgotten
    await asyncio.gather(services.erasure.resume(), services.erasure.resume())
    assert (await admin.get("/api/admin/erasure")).json()["items"][0]["state"] == "done"
    events = (await admin.get("/api/audit", params={"action": "subject.erased"})).json()["items"]
    assert len(events) == 1


async def test_a_hold_made_after_the_order_keeps_what_is_not_destroyed_yet(site: Site) -> None:  # noqa: F811
    services, own, admin = site.services, site.people["viewer"], await site.client("admin")
    carry_out = services.erasure.carry_out
    services.erasure.carry_out = nothing  # type: ignore[method-assign] - the process dies between the order and the destruction
    assert (await erase(site, str(own))).json()["state"] == "ordered"
    made = await admin.post("/api/admin/holds", json={"person": str(own), "reason": "a law suit"})
    assert made.status_code == 201, made.text
    services.erasure.carry_out = carry_out  # type: ignore[method-assign]
    await services.erasure.resume()
    assert services.vault.knows(own)
    released = await admin.post(f"/api/admin/holds/{made.json()['id']}/release", json={"reason": "settled", "password": PASSWORD})
    assert released.status_code == 200, released.text
    await services.erasure.resume()
    assert not services.vault.knows(own)


async def test_orders_and_holds_at_once_do_not_pass_each_other(site: Site) -> None:  # noqa: F811
    """Of a hold and an order one comes first; of many orders one is carried out."""
    services, own, admin = site.services, site.people["viewer"], await site.client("admin")
    hold = admin.post("/api/admin/holds", json={"person": str(own), "reason": "a law suit"})
    answers = await asyncio.gather(*(erase(site, str(own)) for _ in range(8)), hold, *(erase(site, str(own)) for _ in range(4)))
    codes = {a.json().get("code", a.json().get("state", "hold")) for a in answers}
    assert {a.status_code for a in answers} <= {201, 409}, codes
    assert services.vault.knows(own) == ("must_be_kept" in codes and "done" not in codes)
    assert codes <= {"done", "ordered", "already_erased", "must_be_kept", "hold"}


async def nothing(_: uuid.UUID) -> None:
    return


class Broken:
    name = "broken"

    async def forget(self, *_: object) -> int:
        raise RuntimeError("the process died here")
