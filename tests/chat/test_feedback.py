"""Feedback on answers: given, changed, withdrawn; read and exported by administrators."""

import csv
import json

import psycopg

from tests.site import Site


async def test_feedback_is_given_changed_withdrawn_and_read_by_administrators(site: Site) -> None:
    scientist, viewer, admin = await site.client("scientist"), await site.client("viewer"), await site.client("admin")
    made = (await scientist.post("/api/chat/completion", json={"message": "Is PCR-02 ready?", "conversation_id": "c"})).json()
    answer = made["message"]["id"]
    question = made["message"]["parent_id"]
    body = {"message_id": answer, "rating": "down", "comment": "=cmd|' /C calc'!A0 canary-fb-77"}
    first = await scientist.post("/api/chat/feedback", json=body, headers={"Idempotency-Key": "k"})
    assert (first.status_code, first.json()["rating"], first.json()["comment"]) == (201, "down", body["comment"])
    again = await scientist.post("/api/chat/feedback", json=body, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    changed = await scientist.post("/api/chat/feedback", json=body | {"rating": 4})
    assert (changed.status_code, changed.json()["rating"], changed.json()["id"]) == (200, 4, first.json()["id"])
    assert (await scientist.get(f"/api/chat/feedback/{answer}")).json()["rating"] == 4

    for wrong in (
        {"rating": 0},
        {"rating": 6},
        {"rating": "5"},
        {"rating": "great"},
        {"rating": True},
        {"rating": 2.5},
        {"comment": "x" * 4_001},
        {"message_id": "x"},
    ):
        assert (await scientist.post("/api/chat/feedback", json=body | wrong)).status_code == 422, wrong
    on_question = await scientist.post("/api/chat/feedback", json=body | {"message_id": question})
    assert (on_question.status_code, on_question.json()["code"]) == (422, "not_an_answer")
    # Not readable, even under a conversation of one's own that bears the other one's id as its name.
    await viewer.post("/api/conversations", json={"client_id": made["conversation_id"]})
    for message in (answer, made["run_id"]):
        stranger = await viewer.post("/api/chat/feedback", json=body | {"message_id": message})
        assert (stranger.status_code, stranger.json()["code"]) == (404, "unknown_message")
    assert (await viewer.get(f"/api/chat/feedback/{answer}")).status_code == 404
    assert (await viewer.delete(f"/api/chat/feedback/{answer}")).status_code == 404
    assert (await viewer.get("/api/chat/feedback")).status_code == 403
    assert (await viewer.get("/api/chat/feedback/export")).status_code == 403

    second = (await scientist.post("/api/chat/completion", json={"message": "and HPLC-03?", "conversation_id": "c"})).json()["message"][
        "id"
    ]
    await scientist.post("/api/chat/feedback", json={"message_id": second, "rating": "up"})
    page = (await admin.get("/api/chat/feedback", params={"limit": 1})).json()
    assert [f["message_id"] for f in page["items"]] == [second]
    rest = (await admin.get("/api/chat/feedback", params={"limit": 1, "after": page["next"]})).json()
    assert [(f["message_id"], f["person_id"]) for f in rest["items"]] == [(answer, str(site.people["scientist"]))]
    for params, count in (
        ({"rating": "4"}, 1), ({"rating": "down"}, 0), ({"commented": "true"}, 1), ({"person": str(site.people["viewer"])}, 0),
        ({"message": second}, 1), ({"since": "2000-01-01T00:00:00Z", "until": "2001-01-01T00:00:00Z"}, 0),
    ):  # fmt: skip
        assert len((await admin.get("/api/chat/feedback", params=params)).json()["items"]) == count, params
    for params in ({"rating": "great"}, {"after": "x"}, {"since": "yesterday"}, {"limit": "0"}):
        assert (await admin.get("/api/chat/feedback", params=params)).status_code == 422, params

    lines = [json.loads(line) for line in (await admin.get("/api/chat/feedback/export")).text.splitlines()]
    assert [(line["rating"], line["comment"]) for line in lines] == [("up", None), (4, body["comment"])]
    table = list(csv.DictReader((await admin.get("/api/chat/feedback/export", params={"format": "csv"})).text.splitlines()))
    assert [row["comment"] for row in table] == ["", "'" + body["comment"]]

    assert (await scientist.delete(f"/api/chat/feedback/{answer}")).status_code == 204
    assert (await scientist.delete(f"/api/chat/feedback/{answer}")).status_code == 404
    await scientist.post("/api/chat/feedback", json={"message_id": second, "rating": 1, "comment": "gone with the person"})
    actions = [e["action"] for e in (await admin.get("/api/audit", params={"limit": 200})).json()["items"]]
    assert {"feedback.given", "feedback.changed", "feedback.withdrawn", "feedback.read", "feedback.exported"} <= set(actions)
    with psycopg.connect(site.services.db.url) as conn:
        assert "canary-fb-77" not in str(conn.execute("SELECT string_agg(f::text, ' ') FROM feedback f").fetchone())
    site.services.vault.erase(site.people["scientist"])
    assert [(f["rating"], f["comment"]) for f in (await admin.get("/api/chat/feedback")).json()["items"]] == [(1, None)]
