"""What people write is nowhere in clear: planted through every door, then looked for in every file the site leaves behind."""

import base64
import re
import secrets
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from psycopg import sql

from tests.chat.conftest import ask
from tests.conftest import Cluster, Urls
from tests.site import PASSWORD, Seeded, Site, running_site, seeded, seeded_urls  # noqa: F401 - fixtures

DOORS = (
    "message", "title", "client_id", "folder", "comment", "argument", "decision", "file", "file_name", "signature", "query", "upload_name",
)  # fmt: skip


class Canaries:
    """One unguessable word per door."""

    def __init__(self) -> None:
        self.of = {door: f"canary{secrets.token_hex(8)}" for door in DOORS}
        forms = {word: door for door, word in self.of.items()}
        forms |= {word.encode().hex(): door for door, word in self.of.items()}
        forms |= {_inner_base64(word, at): door for door, word in self.of.items() for at in range(3)}
        self._forms = {form.encode(): door for form, door in forms.items()}
        self._pattern = re.compile(b"|".join(map(re.escape, self._forms)))
        self._stems = [b"canary", b"canary".hex().encode(), *(_inner_base64("canary", at).encode() for at in range(3))]

    def __getitem__(self, door: str) -> str:
        return self.of[door]

    def found(self, data: bytes) -> set[str]:
        """Doors whose word is in `data`: as it is, in hexadecimal or in base64."""
        if not any(stem in data for stem in self._stems):  # a quick look, for there are some hundred megabytes
            return set()
        return {self._forms[form] for form in self._pattern.findall(data)}


def _inner_base64(word: str, at: int) -> str:
    """What base64 makes of the word wherever it stands: without the characters that depend on its neighbours."""
    return base64.b64encode(b" " * at + word.encode()).decode()[4:-4]


async def plant(client: httpx2.AsyncClient, words: Canaries) -> None:
    """Through every door a person has."""

    def done(answer: httpx2.Response) -> Any:
        assert answer.status_code < 300, answer.text
        return answer.json()

    attached = done(await client.post("/api/attachments", files={"file": (f"{words['file_name']}.txt", words["file"].encode())}))
    body = {"message": words["message"], "conversation_id": words["client_id"], "attachmentIds": [attached["id"]]}
    conversation = str(done(await client.post("/api/chat/completion", json=body))["conversation_id"])
    items = done(await client.get(f"/api/conversations/{conversation}/messages"))["items"]
    answer = next(m["id"] for m in items if m["role"] == "assistant")
    done(await client.post("/api/chat/feedback", json={"message_id": answer, "rating": "down", "comment": words["comment"]}))
    done(await client.patch(f"/api/conversations/{conversation}", json={"title": words["title"]}))
    done(await client.post("/api/folders", json={"name": words["folder"]}))
    done(await client.post(f"/api/conversations/{conversation}/share", json={"users": ["reviewer@demo.lab"]}))
    done(await client.get("/api/conversations", params={"q": words["query"]}))
    heard = await ask(client, f"stop HPLC-03, the pressure is dropping {words['argument']}")
    approval = heard.of("approval_required")[0]["approval_id"]
    done(await client.post(f"/api/approvals/{approval}/decision", json={"decision": "reject", "reason": words["decision"]}))
    wish = {"meaning": "responsibility", "reason": words["signature"], "password": PASSWORD}
    done(await client.post(f"/api/records/conversation/{conversation}/signatures", json=wish))
    for form in ("json", "markdown"):
        assert (await client.post(f"/api/conversations/{conversation}/export", json={"format": form})).status_code == 200
    await client.post("/api/attachments", files={"file": (f"{words['upload_name']}.exe", b"MZ\x90\x00")})  # refused


def rows(url: str) -> Iterator[bytes]:
    """Every row of every table as text: what a dump holds, also where the files hold it compressed."""
    with psycopg.connect(url) as conn:
        names = conn.execute("SELECT schemaname, tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for schema, name in names:
            for row in conn.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, name))):
                yield row[0].encode()


def files(cluster: Cluster, urls: Urls, data: Path) -> Iterator[bytes]:
    """The database's files, the log of its changes, its own log, and the data folder without the keys."""
    with psycopg.connect(urls.superuser, autocommit=True) as conn:
        conn.execute("CHECKPOINT")
        found = conn.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
        assert found is not None
    folder = cluster.postgres.folder
    for part in (folder / "base" / str(found[0]), folder / "pg_wal", data / "blobs", data / "tlog", data / "keys"):
        for path in part.rglob("*"):
            if path.is_file():
                yield path.read_bytes()
    for path in (p for p in folder.parent.glob("*.log") if p.is_file()):
        yield path.read_bytes()


@pytest.mark.rule("HIPAA 164.312(a)(2)(iv)", "11.30", "GDPR 17")
async def test_nothing_a_person_wrote_is_anywhere_in_clear(
    cluster: Cluster,
    seeded_urls: Urls,  # noqa: F811
    seeded: Seeded,  # noqa: F811
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    words, data = Canaries(), tmp_path / "data"
    for at in range(3):  # the search itself finds
        assert words.found(base64.b64encode(b"x" * at + words["file"].encode() + b"c")) == {"file"}
    assert words.found(b"\0" + words["title"].encode() + words["query"].encode().hex().encode()) == {"title", "query"}
    async with running_site(seeded_urls, data, seeded, shutdown_seconds=0.2) as site:
        client, admin = await site.client("scientist"), await site.client("admin")
        await plant(client, words)

        async def leaks() -> set[str]:
            bundle = (await admin.post("/api/audit/export")).content
            told = "".join(capfd.readouterr()).encode() + (await admin.get("/metrics")).content + bundle
            found = words.found(told)
            for part in (rows(seeded_urls.superuser), files(cluster, seeded_urls, data)):
                found = found.union(*(words.found(piece) for piece in part))
            return found

        assert await leaks() == set()
        own = site.people["scientist"]
        await erased(site, admin, own)
        assert await leaks() == set()
        assert own.bytes not in (data / "keys" / "subjects").read_bytes()
        assert not site.services.vault.knows(own)
        with psycopg.connect(seeded_urls.superuser) as conn:
            for table in ("message_index", "title_index"):
                assert conn.execute(f"SELECT count(*) FROM {table} WHERE subject = %s", [own]).fetchone() == (0,)  # type: ignore[arg-type]
        with psycopg.connect(seeded_urls.superuser) as conn:
            gone = conn.execute("SELECT id FROM attachment WHERE deleted_at IS NOT NULL").fetchall()
        for (attachment_id,) in gone:  # as the deferred jobs do
            await site.services.chat.attachments.jobs.delete_blobs(attachment_id=str(attachment_id), tries=0)
        assert [path for path in (data / "blobs").rglob("*") if path.is_file()] == []
        assert (await site.services.rechecker.check()).differences == ()


async def erased(site: Site, admin: httpx2.AsyncClient, subject: uuid.UUID) -> None:
    """With no duty to keep anything left."""
    site.services.erasure._obstacles = ()
    body = {"subject": str(subject), "reason": "a test", "password": PASSWORD}
    answer = await admin.post("/api/admin/erasure", json=body)
    assert (answer.status_code, answer.json()["state"]) == (201, "done"), answer.text
