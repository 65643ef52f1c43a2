"""Archives: written, sealed and verified before retention deletes; nothing is deleted when one cannot be; erasures reach into them."""

import asyncio
import base64
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from aliquot.platform.blobs import StorageUnavailable
from aliquot_verify.archive import judge_archive
from tests.chat.conftest import ask
from tests.conftest import PATIENCE, Urls
from tests.site import PASSWORD, Site, seeded, seeded_urls, site  # noqa: F401 - fixtures

WHY = {"reason": "a new rule", "password": PASSWORD}
SECRET = "the buffer of Tuesday was cloudy"
VERIFY = str(Path(sys.executable).with_name("aliquot-verify"))


def verified(path: Path, vkey: str | None = None) -> tuple[int, str]:
    given = [VERIFY, "document", str(path), *(["--vkey", vkey] if vkey else [])]
    done = subprocess.run(given, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout + done.stderr


async def taken(admin: httpx2.AsyncClient, archive: str, to: Path) -> Path:
    answer = await admin.post(f"/api/admin/archives/{archive}/download", json=WHY)
    assert answer.status_code == 200, answer.text
    await asyncio.to_thread(to.write_bytes, answer.content)
    return to


def opened(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return {name: json.loads(archive.read(name)) for name in archive.namelist()}


def changed(path: Path, to: Path, change: dict[str, bytes | None]) -> Path:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for name in {**dict.fromkeys(old.namelist()), **change}:
            data = change.get(name, old.read(name) if name in old.namelist() else None)
            if data is not None:
                new.writestr(name, data)
    return to


async def archived(site: Site, admin: httpx2.AsyncClient, kind: str, days: int) -> None:  # noqa: F811
    answer = await admin.put("/api/admin/retention", json={"kind": kind, "keep_days": days, "archive": True, **WHY})
    assert (answer.status_code, answer.json()["archive"]) == (200, True)


@pytest.mark.rule("11.10(c)", "Annex 11 s.17")
async def test_a_conversation_is_archived_before_it_goes(site: Site, seeded_urls: Urls, tmp_path: Path) -> None:  # noqa: F811
    viewer, admin = await site.client("viewer"), await site.client("admin")
    file = (await viewer.post("/api/attachments", files={"file": ("a.txt", b"a file of theirs")})).json()["id"]
    asked = {"message": f"Is PCR-02 free? {SECRET}", "attachmentIds": [file]}
    conversation = (await viewer.post("/api/chat/completion", json=asked)).json()["conversation_id"]
    assert (await viewer.delete(f"/api/conversations/{conversation}")).status_code == 204
    with psycopg.connect(seeded_urls.superuser) as conn:
        for column in ("deleted_at", "last_message_at", "created_at"):
            conn.execute(f"UPDATE conversation SET {column} = now() - interval '31 days' WHERE id = %s", [conversation])  # type: ignore[arg-type]
    await archived(site, admin, "conversation", 0)

    blobs = site.services.chat.attachments.storage
    with pytest.MonkeyPatch.context() as patched:  # the storage is away: nothing is deleted
        patched.setattr(blobs, "put", _unavailable)
        with pytest.raises(StorageUnavailable):
            await site.services.retention.apply()
    assert (await admin.get("/api/admin/archives")).json()["items"] == []
    with pytest.MonkeyPatch.context() as patched:  # what was stored is not what was written
        patched.setattr("aliquot.records.retention.archive.judge_archive", _damaged)
        with pytest.raises(Exception, match="does not verify"):
            await site.services.retention.apply()
    with psycopg.connect(seeded_urls.superuser) as conn:
        assert conn.execute("SELECT count(*) FROM conversation WHERE id = %s", [conversation]).fetchone() == (1,)
        assert conn.execute("SELECT count(*) FROM retention_archive WHERE state = 'writing'").fetchone() == (1,)

    with pytest.MonkeyPatch.context() as patched:  # more events about a record than are read at once: all of them are kept
        patched.setattr("aliquot.records.retention.archive.EVENTS_AT_ONCE", 1)
        assert await site.services.retention.apply() == {"conversation": 1, "run": 1}
    [archive] = (await admin.get("/api/admin/archives")).json()["items"]
    with psycopg.connect(seeded_urls.superuser) as conn:
        assert conn.execute("SELECT count(*) FROM conversation WHERE id = %s", [conversation]).fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM retention_archive").fetchone() == (1,)  # what had failed was swept away
    for url in (seeded_urls.app, seeded_urls.owner):
        for statement in ("DELETE FROM retention_archive", "UPDATE retention_archive SET sha256 = ''"):
            with psycopg.connect(url) as conn, pytest.raises(psycopg.Error):
                conn.execute(statement)
    assert not _found_in(site.services.settings.data_dir / "blobs", SECRET)

    vkey = site.services.log_keys.current().vkey
    path = await taken(admin, archive["id"], tmp_path / "archive.zip")
    assert verified(path, vkey)[0] == 0, verified(path, vkey)
    held = opened(path)
    assert SECRET in json.dumps(held)
    assert base64.b64encode(b"a file of theirs").decode() in json.dumps(held)
    document = held["archive.json"]
    actions = {json.loads(proof["body"])["action"] for proof in document["document"]["proofs"]}
    assert {"run.started", "conversation.deleted"} <= actions
    assert document["sha256"] == archive["sha256"]
    written = (await admin.get("/api/audit", params={"action": "archive.written"})).json()["items"]
    gone = (await admin.get("/api/audit", params={"action": "conversation.purged"})).json()["items"]
    assert [e["versions"]["archive"] for e in (*written, *gone)] == [archive["sha256"]] * 2

    first = next(name for name in held if name != "archive.json")
    edited = changed(path, tmp_path / "edited.zip", {first: b"{}"})
    added = changed(path, tmp_path / "added.zip", {"records/999999.json": b"{}"})
    forged = dict(document, document=dict(document["document"], kind="approval"))
    signed = changed(
        path,
        tmp_path / "signed.zip",
        {"archive.json": json.dumps(forged, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()},
    )
    assert [verified(p, vkey)[0] for p in (edited, added, signed)] == [20, 22, 12]
    (tmp_path / "cut.zip").write_bytes(path.read_bytes()[:-40])
    assert verified(tmp_path / "cut.zip", vkey)[0] == 10
    assert verified(path, vkey[:-4] + "AAA=")[0] == 11

    erased = await admin.post("/api/admin/erasure", json={"subject": "viewer@demo.lab", **WHY})
    assert erased.status_code == 201, erased.text
    path = await taken(admin, archive["id"], tmp_path / "later.zip")
    code, said = verified(path, vkey)
    assert (code, SECRET in path.read_bytes().decode(errors="replace")) == (0, False)
    assert "parts are not here: erased since, or left out" in said
    assert SECRET not in json.dumps(opened(path))


@pytest.mark.rule("11.10(c)", "Annex 11 s.17")
async def test_runs_and_decisions_are_archived_and_taken_out_on_record(
    site: Site, seeded_urls: Urls, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    admin, scientist, reviewer = await site.client("admin"), await site.client("scientist"), await site.client("reviewer")
    heard = await ask(scientist, "stop HPLC-03, the pressure is dropping")
    approval = heard.of("approval_required")[0]["approval_id"]
    await scientist.post(f"/api/approvals/{approval}/decision", json={"decision": "reject", "reason": "not now"})
    for kind in ("instrument_run", "approval"):
        await archived(site, admin, kind, 0)
    gone = await site.services.retention.apply()
    assert (gone["approval"], gone["instrument_run"] > 5) == (1, True)
    archives = (await admin.get("/api/admin/archives")).json()["items"]
    assert {a["kind"] for a in archives} == {"approval", "instrument_run"}
    assert sum(a["records"] for a in archives) == gone["approval"] + gone["instrument_run"]
    for n, archive in enumerate(archives):
        path = await taken(admin, archive["id"], tmp_path / f"{n}.zip")
        assert verified(path, site.services.log_keys.current().vkey)[0] == 0
        if archive["kind"] == "approval":
            assert "not now" in json.dumps(opened(path))
    assert (await site.services.rechecker.check()).differences == ()
    with psycopg.connect(seeded_urls.superuser) as conn:
        conn.execute("ALTER TABLE retention_archive DISABLE TRIGGER keep")
        conn.execute("UPDATE retention_archive SET sha256 = repeat('0', 64) WHERE id = %s", [archives[0]["id"]])
        conn.execute("DELETE FROM retention_archive WHERE id = %s", [archives[1]["id"]])
    found = {(d.kind, d.record_type, d.record_id) for d in (await site.services.rechecker.check()).differences}
    assert found == {("altered", "archive", archives[0]["id"]), ("deleted", "archive", archives[1]["id"])}

    door = f"/api/admin/archives/{archives[0]['id']}/download"
    assert (await reviewer.post(door, json=WHY)).status_code == 403
    assert (await admin.post(door, json={"reason": "x", "password": "wrong"})).json()["code"] == "wrong_password"
    assert (await admin.post(door, json={"password": PASSWORD})).status_code == 422
    unknown = "/api/admin/archives/019a0000-0000-7000-8000-000000000000/download"
    assert (await admin.post(unknown, json=WHY)).status_code == 404
    reads = (await admin.get("/api/audit", params={"action": "archive.read"})).json()["items"]
    assert len(reads) == len(archives)
    off: dict[str, Any] = {"kind": "approval", "keep_days": 0, "archive": False}
    assert (await admin.put("/api/admin/retention", json=off)).json()["code"] == "reason_needed"
    assert (await admin.put("/api/admin/retention", json=off | WHY)).json()["archive"] is False


async def _unavailable(*_: Any) -> None:
    raise StorageUnavailable


def _damaged(file: io.BytesIO, vkey: str | None) -> Any:
    return judge_archive(io.BytesIO(file.getvalue()[:-30]), vkey)


def _found_in(folder: Path, word: str) -> bool:
    return any(word.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())
