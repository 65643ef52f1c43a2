"""Files attached to messages, over HTTP: uploaded, bound, listed, downloaded, deleted, refused."""

import asyncio
import hashlib
import socket
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx2
import pytest
from sqlalchemy import select, text

from aliquot.chat.attachments.tables import attachment
from tests.chat.conftest import seeded, seeded_urls, site  # noqa: F401 - fixtures
from tests.conftest import PATIENCE, Urls
from tests.documents import files
from tests.site import Seeded, Site, running_site

PDF = files.pdf("canary-4711 Lysis buffer")


async def upload(client: httpx2.AsyncClient, name: str, content: bytes, path: str = "/api/attachments", **headers: str) -> httpx2.Response:
    return await client.post(path, files={"file": (name, content)}, headers=headers)


def blobs(site: Site) -> list[Path]:  # noqa: F811
    return [path for path in (site.services.settings.data_dir / "blobs").rglob("*") if path.is_file()]


async def rows(site: Site) -> list[Any]:  # noqa: F811
    async with site.services.db.begin() as tx:
        return list(await tx.rows(select(attachment).where(attachment.c.deleted_at.is_(None))))


async def actions(site: Site, record_id: str) -> list[str]:  # noqa: F811
    async with site.services.db.begin() as tx:
        found = await tx.rows(
            text("SELECT convert_from(body, 'UTF8')::jsonb->>'action' AS action FROM audit_event WHERE record_id = :id ORDER BY id"),
            {"id": record_id},
        )
    return [row.action for row in found]


async def until_no_blobs(site: Site) -> None:  # noqa: F811
    """The job deletes them within seconds."""
    async with asyncio.timeout(PATIENCE):
        while blobs(site):  # noqa: ASYNC110 - the job runs in the server's worker
            await asyncio.sleep(0.05)


@pytest.mark.rule("ALCOA original")
async def test_a_file_lives_from_its_upload_to_its_deletion(site: Site) -> None:  # noqa: F811
    scientist, viewer = await site.client("scientist"), await site.client("viewer")
    digest = hashlib.sha256(PDF).hexdigest()
    name = '../../etc/pass\u202ewd \u0007\n<b>Büro</b>".pdf'
    made = await upload(scientist, name, PDF, **{"X-Content-SHA256": digest, "Idempotency-Key": "u1"})
    assert made.status_code == 201, made.text
    file = made.json()
    assert (file["sha256"], file["file_size"], file["file_type"], file["pages"]) == (digest, len(PDF), "pdf", 1)
    assert (file["state"], file["phase"], file["reading"]) == ("not_scanned", "done", "read")
    assert not set(file["file_name"]) & set('/\\<>"\u202e\u0007\n')
    assert file["file_name"].endswith(".pdf")
    again = await upload(scientist, name, PDF, **{"Idempotency-Key": "u1"})
    assert again.json()["id"] == file["id"]
    assert (await upload(scientist, name, PDF + b"\n", **{"Idempotency-Key": "u1"})).json()["code"] == "idempotency_mismatch"
    assert len(await rows(site)) == 1
    stored = b"".join(path.read_bytes() for path in blobs(site))
    assert stored
    assert b"canary-4711" not in stored
    assert b"Lysis" not in stored

    asked = {"message": "What is in it?", "attachments": [file["id"]]}
    answer = (await scientist.post("/api/chat/completion", json=asked)).json()
    assert "I received this file" in answer["message"]["content"]
    assert "Lysis" not in answer["message"]["content"]
    listed = (await scientist.get(f"/api/conversations/{answer['conversation_id']}/messages")).json()["items"]
    question = listed[-1]
    assert question["metadata"]["attachments"] == [file["id"]]
    more = await upload(scientist, "notes.md", b"# Notes", f"/api/messages/{question['id']}/attachments")
    of_message = (await scientist.get(f"/api/messages/{question['id']}/attachments")).json()["items"]
    assert [item["id"] for item in of_message] == [file["id"], more.json()["id"]]

    got = await scientist.get(f"/api/attachments/{file['id']}/download")
    assert got.content == PDF
    assert got.headers["content-disposition"].startswith("attachment; ")
    assert unquote(got.headers["content-disposition"].split("''")[1]) == file["file_name"]
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-security-policy"].startswith("sandbox")
    for method, path in (
        ("GET", f"/api/attachments/{file['id']}"), ("GET", f"/api/attachments/{file['id']}/download"),
        ("POST", f"/api/attachments/{file['id']}/link"), ("DELETE", f"/api/attachments/{file['id']}"),
        ("GET", f"/api/messages/{question['id']}/attachments"),
    ):  # fmt: skip
        assert (await viewer.request(method, path)).status_code == 404, path
    assert (await upload(viewer, "a.txt", b"x", f"/api/messages/{question['id']}/attachments")).status_code == 404
    stolen = await viewer.post("/api/chat/completion", json=asked)
    assert (stolen.status_code, stolen.json()["code"]) == (404, "unknown_attachment")

    assert (await scientist.delete(f"/api/attachments/{file['id']}")).status_code == 204
    assert (await scientist.delete(f"/api/attachments/{file['id']}")).status_code == 204
    gone = await scientist.get(f"/api/attachments/{file['id']}/download")
    assert (gone.status_code, gone.json()["code"]) == (410, "file_gone")
    assert (await scientist.delete(f"/api/attachments/{more.json()['id']}")).status_code == 204
    await until_no_blobs(site)
    assert await actions(site, file["id"]) == ["attachment.uploaded", "attachment.downloaded", "attachment.deleted"]


async def test_a_link_opens_one_file_for_one_person_for_a_while(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> None:  # noqa: F811
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2) as site:  # noqa: F811
        scientist, anonymous = await site.client("scientist"), await site.anonymous()
        file = (await upload(scientist, "a.txt", b"for you")).json()
        link = (await scientist.post(f"/api/attachments/{file['id']}/link")).json()
        got = await anonymous.get(link["url"])
        assert (got.status_code, got.content) == (200, b"for you")
        other = (await upload(scientist, "b.txt", b"not for you")).json()
        url = link["url"]
        viewer, me = str(site.people["viewer"]), str(site.people["scientist"])
        for wrong in (url.replace(file["id"], other["id"]), url.replace(me, viewer), url[:-1] + ("0" if url[-1] != "0" else "1"),
                      url.replace("until=", "until=9"), urlsplit(url).path, url[:-1] + "é"):  # fmt: skip
            refused = await anonymous.get(wrong)
            assert (refused.status_code, refused.json()["code"]) == (401, "link_invalid"), wrong
        links = site.services.chat.attachments.files._links
        old = links.sign(uuid.UUID(file["id"]), site.people["scientist"], site.services.clock.now().replace(year=2020))
        expired = await anonymous.get(old.url)
        assert (expired.status_code, expired.json()["code"]) == (410, "link_expired")
        strangers = links.sign(uuid.UUID(file["id"]), site.people["viewer"], site.services.clock.now())
        assert (await anonymous.get(strangers.url)).status_code == 404  # signed, but that person may not see the file
        await scientist.delete(f"/api/attachments/{file['id']}")
        assert (await anonymous.get(url)).status_code == 410


async def test_what_is_not_to_be_kept_leaves_nothing(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> None:  # noqa: F811
    from aliquot.platform.settings import Limits  # noqa: PLC0415

    limits = Limits(attachment_bytes=100_000, attachment_quota_bytes=250_000, attachments_per_message=2, upload_idle_seconds=3)
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, limits=limits) as site:  # noqa: F811
        scientist = await site.client("scientist")
        for name, content, status, code in (
            ("a.txt", b"", 422, "empty_file"), ("a.txt", b"x" * 100_001, 413, "file_too_large"),
            ("a.exe", b"MZ" + bytes(99), 415, "type_not_allowed"),
            ("a.png", PDF, 422, "type_mismatch"), ("\u202e", b"x", 422, "bad_file_name"),
            ("x" * 5_000 + ".txt", b"x", 422, "not_an_upload"), ("x" * 1_000 + ".exe", b"x", 422, "type_mismatch"),
            ("a.pdf", PDF[:300], 422, "broken_file"),
        ):  # fmt: skip
            refused = await upload(scientist, name, content)
            assert (refused.status_code, refused.json()["code"]) == (status, code), name
        wrong = await upload(scientist, "a.txt", b"x", **{"X-Content-SHA256": "0" * 64})
        assert wrong.json()["code"] == "checksum_mismatch"
        two = await scientist.post("/api/attachments", files=[("file", ("a.txt", b"x")), ("file", ("b.txt", b"y"))])
        none = await scientist.post("/api/attachments", json={"file": "x"})
        field = await scientist.post("/api/attachments", files={"file": ("a.txt", b"x")}, data={"sha256": "f" * 64})
        assert [r.json()["code"] for r in (two, none, field)] == ["not_an_upload", "not_an_upload", "checksum_mismatch"]
        head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        cut = await scientist.post("/api/attachments", content=head + b"half", headers={"Content-Type": "multipart/form-data; boundary=B"})
        assert (cut.status_code, cut.json()["code"]) == (400, "upload_cut")
        await _hang_up(site, scientist.headers["Authorization"], head)
        assert (await rows(site), blobs(site)) == ([], [])
        # Four at once, of which the quota takes two, in whatever order they come.
        answers = await asyncio.gather(*(upload(scientist, f"{n}.txt", b"x" * 99_000) for n in range(4)))
        assert sorted(a.status_code for a in answers) == [201, 201, 413, 413]
        assert {a.json()["code"] for a in answers if a.status_code == 413} == {"quota_exceeded"}
        kept = [a.json()["id"] for a in answers if a.status_code == 201]
        assert len(await rows(site)) == 2
        await _binding_is_bounded(scientist, kept)
        await _two_do_not_block_a_third(site, head)


async def _hang_up(site: Site, token: str, head: bytes) -> None:  # noqa: F811
    """A client that promises more than it sends and goes away."""
    address = urlsplit(site.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0))) as connection:
        lines = f"POST /api/attachments HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: 90000\r\n"
        connection.sendall(lines.encode() + b"Content-Type: multipart/form-data; boundary=B\r\n\r\n" + head + b"half")
        await asyncio.sleep(0.05)


async def _two_do_not_block_a_third(site: Site, head: bytes) -> None:  # noqa: F811
    """Two people who begin as many uploads as they may, and one more, and send nothing else; their places are taken back."""
    address, waiting, writers = urlsplit(site.url), set[asyncio.Task[bytes]](), []
    for client in [await site.client("clinician"), await site.client("viewer")]:
        token = client.headers["Authorization"]
        start = f"POST /api/attachments HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: 90000\r\n"
        for _ in range(5):
            reader, writer = await asyncio.open_connection(str(address.hostname), int(address.port or 0))
            writer.write(start.encode() + b"Content-Type: multipart/form-data; boundary=B\r\n\r\n" + head + b"half")
            waiting.add(asyncio.create_task(reader.readline()))
            writers.append(writer)
        refused, waiting = await asyncio.wait(waiting, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert [b" 429 " in task.result() for task in refused] == [True]
    assert (await upload(await site.client("reviewer"), "a.txt", b"x")).status_code == 201
    ended = await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE)
    assert [b" 408 " in line for line in ended] == [True] * 8
    assert (await upload(client, "a.txt", b"x")).status_code == 201
    for writer in writers:
        writer.close()


async def _binding_is_bounded(client: httpx2.AsyncClient, kept: list[str]) -> None:
    for ids, status, code in (
        ([*kept, str(uuid.uuid4())], 422, "too_many_attachments"), ([kept[0], kept[0]], 422, "too_many_attachments"),
        ([str(uuid.uuid4())], 404, "unknown_attachment"), (["x"], 422, "invalid_input"),
    ):  # fmt: skip
        refused = await client.post("/api/chat/completion", json={"message": "x", "attachmentIds": ids})
        assert (refused.status_code, refused.json()["code"]) == (status, code), ids
    posted = (await client.post("/api/conversations", json={"clientId": "c1"})).json()
    started = await client.post(f"/api/conversations/{posted['id']}/messages", json={"content": "see", "attachment_ids": kept})
    assert started.status_code == 202
    message = (await client.get("/api/conversations/c1/messages")).json()["items"][-1]
    full = await upload(client, "c.txt", b"x", f"/api/messages/{message['id']}/attachments")
    assert full.json()["code"] == "too_many_attachments"


async def test_people_a_conversation_is_shared_with_may_download_but_not_delete(site: Site) -> None:  # noqa: F811
    scientist, reviewer = await site.client("scientist"), await site.client("reviewer")
    file = (await upload(scientist, "a.txt", b"shared words")).json()
    answer = (
        await scientist.post("/api/chat/completion", json={"message": "Which instruments are there?", "attachments": [file["id"]]})
    ).json()
    where = f"/api/conversations/{answer['conversation_id']}/share"
    path = f"/api/attachments/{file['id']}"
    assert (await reviewer.get(path)).status_code == 404
    shared = await scientist.post(where, json={"users": ["reviewer@demo.lab"], "live": True})
    assert shared.status_code in (200, 201), shared.text
    assert (await reviewer.get(f"{path}/download")).content == b"shared words"
    refused = await reviewer.delete(path)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_the_uploader")
    theirs = await reviewer.post("/api/chat/completion", json={"message": "x", "attachments": [file["id"]]})
    assert theirs.json()["code"] == "unknown_attachment"
    assert (await scientist.delete(where)).status_code in (200, 204)
    assert (await reviewer.get(f"{path}/download")).status_code == 404


async def test_what_is_never_attached_is_swept_and_what_nobody_names_any_more_too(site: Site) -> None:  # noqa: F811
    scientist = await site.client("scientist")
    lost, kept = [(await upload(scientist, f"{name}.txt", b"words")).json()["id"] for name in ("lost", "kept")]
    await scientist.post("/api/chat/completion", json={"message": "see", "attachments": [kept]})
    half = uuid.uuid4()  # what a process leaves that dies while it stores
    async with site.services.db.begin() as tx:
        await tx.execute(
            attachment.insert().values(
                id=half, owner_id=site.people["scientist"], state="storing", size=5, facts=b"", created_at=site.services.clock.now()
            )
        )
        await tx.execute(text("UPDATE attachment SET created_at = created_at - interval '25 hours'"))
    await site.services.chat.attachments.jobs.sweep()
    assert [str(row.id) for row in await rows(site)] == [kept]
    assert (await scientist.get(f"/api/attachments/{lost}")).status_code == 410
    message_id = (await scientist.get("/api/conversations")).json()["items"][0]["head_id"]
    messages = (await scientist.get("/api/conversations")).json()["items"][0]["id"]
    question = (await scientist.get(f"/api/conversations/{messages}/messages")).json()["items"][-1]["id"]
    assert message_id != question
    async with site.services.db.begin() as tx:
        await site.services.chat.attachments.files.forget_messages(tx, [uuid.UUID(question)])
    assert await rows(site) == []
    await until_no_blobs(site)


@pytest.mark.parametrize("reserved", ["CON.txt", "nul.md", "COM1.csv", "a" * 400 + ".pdf", "\u200b.\u200b./x.txt", "tab\tname.txt"])
def test_names_are_made_harmless(reserved: str) -> None:
    from aliquot.documents.names import clean_name, content_disposition, kind_of_name  # noqa: PLC0415

    name = clean_name(reserved)
    assert len(name) <= 200
    assert name.split(".")[0].upper() not in {"CON", "NUL", "COM1"}
    assert kind_of_name(name) is not None
    header = content_disposition(name)
    assert header.isascii()
    assert "\n" not in header
