"""The compliance report by HTTP: its facts are this site's, both formats carry the same, and neither says more than the record holds."""

import asyncio
import json
import uuid
from io import BytesIO
from typing import Any

import httpx2
import psycopg
import pytest
from pypdf import PdfReader
from sqlalchemy import text

from aliquot_verify.document import judge
from tests.chat.conftest import ask
from tests.conftest import Urls
from tests.site import PASSWORD, Site, seeded, seeded_urls, site  # noqa: F401 - fixtures

ROUTE = "/api/compliance/report"
WORDS = ("compliant", "certified", "guarantee")


async def report(client: httpx2.AsyncClient, **asked: str) -> tuple[dict[str, Any], bytes]:
    answer = await client.get(ROUTE, params=asked)
    assert answer.status_code == 200, answer.text
    whole = answer.json()
    assert answer.headers["x-document-sha256"] == whole["sha256"]
    return whole["document"], answer.content


def section(document: dict[str, Any], clause: str) -> dict[str, Any]:
    found: dict[str, Any] = next(section for section in document["sections"] if section["clause"] == clause)
    return found


def counts(document: dict[str, Any], clause: str) -> dict[str, int]:
    return {event["action"]: event["count"] for event in section(document, clause)["events"]}


def fact(document: dict[str, Any], clause: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(fact for fact in section(document, clause)["facts"] if fact["name"] == name)
    return found


async def in_use(site: Site) -> None:  # noqa: F811
    """A lock-out, a held and approved start, an erasure, an emergency access without a review, a row edited behind the log's back."""
    scientist, admin, clinician = await site.client("scientist"), await site.client("admin"), await site.client("clinician")
    stranger = await site.anonymous()
    for _ in range(6):
        await stranger.post("/api/auth/login", json={"email": "reviewer@demo.lab", "password": "wrong"})
    heard = await ask(scientist, "The patient Maria Muster, born 12.03.1961, MRN 4711234, has a fever")
    conversation = str((await scientist.get(f"/api/runs/{heard.run_id}")).json()["conversation_id"])
    why = {"reason": "she collapsed", "password": PASSWORD}
    assert (await clinician.post("/api/records/break-glass", json={"record": conversation, **why})).status_code == 201
    gone = await admin.post("/api/admin/erasure", json={"subject": "viewer@demo.lab", "reason": "asked to", "password": PASSWORD})
    assert gone.status_code in (200, 201), gone.text


def edit_a_row(urls: Urls) -> None:
    with psycopg.connect(urls.superuser, autocommit=True) as conn:
        conn.execute("UPDATE person SET roles = roles || '{admin}' WHERE 'scientist' = ANY(roles)")


@pytest.mark.rule("11.10(a)", "11.10(e)", "Annex 11 s.9", "HIPAA 164.312(b)")
async def test_the_report_tells_what_happened_here_and_both_formats_agree(site: Site, seeded_urls: Urls) -> None:  # noqa: F811
    """Fails when a count is not the log's, a fault is not on the list, a proof does not hold, or the PDF leaves something out."""
    await in_use(site)
    admin = await site.client("admin")
    before, _ = await report(admin)
    assert {found["code"] for found in before["attention"]} >= {
        "break_glass_unreviewed", "login_locked", "never_checked", "no_anchor", "no_backup", "policy_unsigned", "single_administrator",
    }  # fmt: skip
    assert "record_altered" not in {found["code"] for found in before["attention"]}
    await asyncio.to_thread(edit_a_row, seeded_urls)
    assert (await site.services.rechecker.check_and_record(via="system")).differences
    document, raw = await report(admin)
    assert [(f["code"], f["severity"]) for f in document["attention"]][:2] == [("check_failed", "fault"), ("record_altered", "fault")]
    assert fact(document, "11.10(a)", "last_check")["value"].startswith("FAILED")

    listed = (await admin.get("/api/audit", params={"action": "login.failed", "limit": 200})).json()["items"]
    assert counts(document, "11.10(d)")["login.failed"] == len(listed) > 4
    assert counts(document, "GDPR 17") == {"subject.erasure_ordered": 1, "subject.erased": 1, "subject.erasure_refused": 0}
    assert counts(document, "HIPAA 164.312(a)(2)(ii)") == {"break_glass.granted": 1, "break_glass.reviewed": 0}
    assert counts(document, "11.10(a)")["compliance.reported"] == 1  # the first one; this one is not in itself
    erased = fact(document, "GDPR 17", "erasures")
    assert erased["events"][0] in {proof["event_id"] for proof in document["proofs"]}
    assert section(document, "GDPR 15, 20")["evidence"] == "no evidence in this period"
    newest = next(event for event in section(document, "11.10(d)")["events"] if event["action"] == "login.failed")["newest"]
    assert (newest["id"], newest["seq"]) == (listed[0]["id"], listed[0]["seq"])

    vkey = site.services.log_keys.current().vkey
    judged = judge(raw, vkey)
    assert (judged.findings, judged.pinned, judged.proofs) == ([], True, len(document["proofs"]))
    assert not any(word in raw.decode().lower() for word in WORDS)
    assert "Muster" not in raw.decode()
    assert "collapsed" not in raw.decode()
    await the_pdf_says_the_same(admin, document, vkey)


async def the_pdf_says_the_same(admin: httpx2.AsyncClient, document: dict[str, Any], vkey: str) -> None:
    answer = await admin.get(ROUTE, params={"format": "pdf", "from": document["period"]["from"]})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    reader = PdfReader(BytesIO(answer.content))
    assert reader.trailer["/Root"]["/MarkInfo"]["/Marked"]  # tagged
    (attached,) = reader.attachments["report.json"]
    judged = judge(attached, vkey)
    assert (judged.findings, judged.sha256) == ([], answer.headers["x-document-sha256"])
    inner = json.loads(attached)["document"]
    text = " ".join("".join(page.extract_text() for page in reader.pages).split()).replace("\u200b", "")
    for found in inner["attention"]:
        assert found["code"] in text
    for one in inner["sections"]:
        assert f"{one['clause']}: " in text
        assert all(event["newest"] is None or event["newest"]["id"] in text for event in one["events"])
    for told in (inner["log"]["root_hash"], inner["log"]["origin"], judged.sha256, "No evidence in this period", "times are UTC", "1 / "):
        assert told in text.replace(" ", "") or told in text
    assert not any(word in text.lower() for word in WORDS)
    event = (await admin.get("/api/audit", params={"action": "compliance.reported"})).json()["items"][0]
    assert (event["versions"]["report"], event["reason"]) == (judged.sha256, "pdf")
    assert [entry["name"] for entry in event["content"]] == ["report"]


async def test_who_may_ask_for_which_period(site: Site) -> None:  # noqa: F811
    admin, reviewer, scientist = await site.client("admin"), await site.client("reviewer"), await site.client("scientist")
    assert (await (await site.anonymous()).get(ROUTE)).status_code == 401
    assert (await scientist.get(ROUTE)).status_code == 403
    quiet, _ = await report(reviewer, **{"from": "2001-01-01T00:00:00Z", "to": "2001-02-01T00:00:00Z"})
    assert quiet["events"] == 0
    assert {one["evidence"] for one in quiet["sections"]} == {"no evidence in this period"}
    assert quiet["proofs"] == []
    wrong = (
        {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, {"from": "1900-01-01T00:00:00Z"}, {"from": "2026-01-01"},
        {"to": "0001-01-01T00:00:00+14:00"}, {"format": "xml"}, {"from": "2999-01-01T00:00:00Z"}, {"from": "x" * 5_000},
    )  # fmt: skip
    for asked in wrong:
        answer = await admin.get(ROUTE, params=asked)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), asked
    before = len((await admin.get("/api/audit", params={"action": "compliance.reported"})).json()["items"])
    assert before == 1
    await site.services.reports._slots.acquire()
    try:
        busy = await admin.get(ROUTE)
    finally:
        site.services.reports._slots.release()
    assert (busy.status_code, busy.json()["code"]) == (503, "report_busy")
    assert len((await admin.get("/api/audit", params={"action": "compliance.reported"})).json()["items"]) == before


async def many_signers(site: Site) -> None:  # noqa: F811
    """250 people more who may sign, one of them held back after a reset; nobody has a second factor."""
    people = []
    for n in range(250):
        person = uuid.uuid4()
        site.services.vault.ensure_subject(person)
        name = site.services.vault.seal(person, f"Signer {n}".encode(), aad=f"person.name:{person}")
        people.append({"id": person, "name": name, "index": person.bytes, "hold": "system" if n == 1 else None})
    async with site.services.db.begin() as tx:
        for values in people:
            await tx.execute(
                text(
                    "INSERT INTO person (id, email_index, email, name, password_hash, roles, may_sign, must_change, active, version, "
                    "signing_hold, created_at, changed_at) "
                    "SELECT :id, :index, email, :name, password_hash, roles, true, false, true, 1, :hold, created_at, changed_at "
                    "FROM person WHERE 'scientist' = ANY(roles) AND email_index <> :index LIMIT 1"
                ),
                values,
            )


@pytest.mark.rule("11.300")
async def test_numbers_are_counted_not_taken_from_lists_that_end(site: Site, seeded_urls: Urls) -> None:  # noqa: F811
    admin = await site.client("admin")
    before, _ = await report(admin)
    signers = int(fact(before, "11.300", "signers")["value"].split()[0])
    await many_signers(site)
    document, _ = await report(admin)
    assert fact(document, "11.300", "signers")["value"] == f"{signers + 249} active people, 0 of them with a second factor"
    (told,) = [found["text"] for found in document["attention"] if found["code"] == "signers_without_second_factor"]
    with psycopg.connect(seeded_urls.superuser, autocommit=True) as conn:  # a name is no name any more: the report says so
        conn.execute("UPDATE person SET name = set_byte(name, 40, 1 - get_byte(name, 40) % 2) WHERE 'scientist' = ANY(roles)")
    damaged, _ = await report(admin)
    assert ("content_damaged", "fault") in {(found["code"], found["severity"]) for found in damaged["attention"]}
    assert fact(damaged, "11.300", "signers")["value"].startswith("cannot be told")
    assert told.startswith(f"{signers + 249} people who may sign have no second factor")


async def test_a_report_that_cannot_be_recorded_is_not_given(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    reviewer = await site.client("reviewer")

    async def fails(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(site.services.ledger, "append", fails)
    assert (await reviewer.get(ROUTE)).status_code == 500
