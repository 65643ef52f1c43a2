"""The review queue over HTTP: who may flag, who may read, who may decide, and that the answer stays as it was."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from tests.conftest import Urls
from tests.site import Seeded, Site, running_site, seeded, seeded_urls, site  # noqa: F401 - fixtures


def refused(answer: httpx2.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text


async def answered(client: httpx2.AsyncClient, text: str = "Is PCR-02 free?") -> tuple[str, str, str]:
    """Conversation, question and answer."""
    conversation = (await client.post("/api/chat/completion", json={"message": text})).json()["conversation_id"]
    messages = (await client.get(f"/api/conversations/{conversation}/messages")).json()["items"]
    ids = {message["role"]: message["id"] for message in messages}
    return conversation, ids["user"], ids["assistant"]


async def flag(client: httpx2.AsyncClient, message: str, key: str | None = None, **more: Any) -> httpx2.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await client.post("/api/review/flags", json={"messageId": message, "reason": "wrong", **more}, headers=headers)


async def events(site: Site, action: str) -> list[dict[str, Any]]:  # noqa: F811
    async with site.services.db.begin() as tx:
        rows = await tx.rows(sa.text("SELECT body FROM audit_event WHERE action = :action ORDER BY id"), {"action": action})
    return [json.loads(bytes(row.body)) for row in rows]


@pytest.mark.rule("ALCOA original", "ALCOA accurate")
async def test_an_answer_is_flagged_looked_at_and_corrected_beside_itself(site: Site) -> None:  # noqa: F811
    scientist, reviewer, viewer = [await site.client(role) for role in ("scientist", "reviewer", "viewer")]
    conversation, question, answer = await answered(scientist)
    refused(await flag(viewer, answer), 404, "unknown_message")
    refused(await flag(scientist, question), 422, "not_an_answer")
    refused(await flag(scientist, answer, comment="x" * 4_001), 422, "invalid_input")
    assert (await flag(scientist, answer, reason="boring")).status_code == 422
    first = await flag(scientist, answer, "k", comment="CANARY-flag it was busy")
    assert first.status_code == 201, first.text
    assert (await flag(scientist, answer, "k", comment="CANARY-flag it was busy")).json() == first.json()
    refused(await flag(scientist, answer, reason="unsafe"), 409, "already_flagged")
    item = first.json()["item_id"]
    for check in (1, 2):  # a check repeats itself without harm
        async with site.services.db.begin() as tx:
            await site.services.review.flag_by_check(tx, "citations", uuid.UUID(answer), "citation", f"quote missing {check}")

    for path in ("/api/review", f"/api/review/{item}"):
        refused(await scientist.get(path), 403, "forbidden")
    queue = (await reviewer.get("/api/review", params={"state": "open", "reason": "citation"})).json()["items"]
    assert [one["id"] for one in queue] == [item]
    assert [(f["source"], f["reason"], f["comment"]) for f in queue[0]["flags"]] == [
        ("person", "wrong", "CANARY-flag it was busy"), ("check:citations", "citation", "quote missing 1"),
    ]  # fmt: skip
    assert (await reviewer.get("/api/review", params={"state": "open", "reason": "unsafe"})).json()["items"] == []
    opened = (await reviewer.get(f"/api/review/{item}")).json()
    assert opened["contents"]["question"] == "Is PCR-02 free?"
    before = (await scientist.get(f"/api/conversations/{conversation}/messages")).json()
    assert opened["contents"]["answer"] == before["items"][0]["content"]
    seen = (await scientist.get(f"/api/messages/{answer}/review")).json()
    assert seen == {"message_id": answer, "state": "open", "flags": 2, "outcomes": []}

    async def decide(client: httpx2.AsyncClient, key: str | None = None, **body: Any) -> httpx2.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return await client.post(f"/api/review/{item}/decision", json=body, headers=headers)

    refused(await decide(scientist, decision="upheld"), 403, "forbidden")
    refused(await decide(reviewer, decision="corrected"), 422, "correction_mismatch")
    refused(await decide(reviewer, decision="upheld", correction="x"), 422, "correction_mismatch")
    body = {"decision": "corrected", "comment": "CANARY-because", "correction": "CANARY-correction PCR-02 was busy until noon."}
    both = await asyncio.gather(decide(reviewer, **body), decide(await site.client("admin"), decision="dismissed"))
    assert sorted(a.status_code for a in both) == [200, 409]
    if both[0].status_code == 409:  # the administrator was quicker: a new round
        item = (await flag(scientist, answer)).json()["item_id"]
        assert (await decide(reviewer, "d", **body)).status_code == 200
    refused(await decide(reviewer, decision="upheld"), 409, "review_decided")

    seen = (await scientist.get(f"/api/messages/{answer}/review")).json()
    assert seen["state"] == "corrected"
    assert seen["outcomes"][0]["correction"] == body["correction"]
    assert seen["outcomes"][0]["decided_by_name"] == "Ravi Reviewer (demo)"
    assert (await scientist.get(f"/api/conversations/{conversation}/messages")).json() == before, "the answer itself stays"
    refused(await viewer.get(f"/api/messages/{answer}/review"), 404, "unknown_message")
    again = (await flag(scientist, answer)).json()
    assert again["item_id"] != item, "flagged anew, it waits anew"
    decided = (await events(site, "review.decided"))[-1]
    assert decided["reason"].endswith(" corrected")
    assert {c["name"] for c in decided["content"]} == {"comment", "correction"}
    async with site.services.db.begin() as tx:
        stored = await tx.scalar(
            sa.text("SELECT string_agg(i::text, '') || (SELECT string_agg(f::text, '') FROM review_flag f) FROM review_item i")
        )
    assert b"CANARY".hex() not in stored
    assert "CANARY" not in stored


@pytest.mark.rule("HIPAA 164.312(a)(1)")
async def test_nobody_decides_about_their_own_and_patients_are_for_clinicians(site: Site) -> None:  # noqa: F811
    reviewer, admin = await site.client("reviewer"), await site.client("admin")
    _, _, own = await answered(reviewer)
    item = (await flag(reviewer, own)).json()["item_id"]
    refused(await reviewer.post(f"/api/review/{item}/decision", json={"decision": "upheld"}), 403, "self_review")
    assert (await admin.post(f"/api/review/{item}/decision", json={"decision": "upheld"})).status_code == 200

    clinician = await site.client("clinician")
    _, _, about = await answered(clinician, "Patient John Smith, MRN 12345678, born 03/04/1961: is PCR-02 free?")
    held = (await flag(clinician, about, reason="privacy")).json()["item_id"]
    opened = (await reviewer.get(f"/api/review/{held}")).json()
    assert (opened["contents"], opened["withheld"]) == (None, "patient")
    refused(await reviewer.post(f"/api/review/{held}/decision", json={"decision": "upheld"}), 403, "review_not_readable")
    assert (await events(site, "review.opened"))[-1]["reason"].endswith(" patient")

    page = (await reviewer.get("/api/review", params={"limit": 1})).json()
    rest = (await reviewer.get("/api/review", params={"limit": 1, "after": page["next"]})).json()
    assert [page["items"][0]["id"], rest["items"][0]["id"]] == [item, held], "who waits longest comes first"
    refused(await reviewer.get("/api/review", params={"after": "x"}), 422, "invalid_input")
    refused(await reviewer.get("/api/review/nonsense"), 404, "not_found")
    key = (await reviewer.post("/api/auth/keys", json={"name": "k"})).json()["secret"]
    by_key = await site.anonymous()
    by_key.headers["Authorization"] = f"Bearer {key}"
    refused(await by_key.post(f"/api/review/{held}/decision", json={"decision": "upheld"}), 403, "session_required")
    assert (await by_key.get("/api/review")).status_code == 200


async def test_a_bad_rating_is_a_flag_where_the_setting_says_so(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> None:  # noqa: F811
    options: dict[str, Any] = {"review_bad_feedback": True, "shutdown_seconds": 0.2}
    async with running_site(seeded_urls, tmp_path / "data", seeded, **options) as running:
        scientist, reviewer = await running.client("scientist"), await running.client("reviewer")
        _, _, answer = await answered(scientist)
        for rating, waiting in (("up", 0), (3, 0), ("down", 1), (1, 1)):
            given = await scientist.post("/api/chat/feedback", json={"message_id": answer, "rating": rating, "comment": "bad"})
            assert given.status_code in (200, 201), given.text
            assert len((await reviewer.get("/api/review")).json()["items"]) == waiting, rating
        flags = (await reviewer.get("/api/review")).json()["items"][0]["flags"]
        assert [(f["source"], f["comment"]) for f in flags] == [("feedback", "bad")]
