"""A whole site whose files lie in a bucket: the life of a file, a server killed half-way, and storage that is wrong or away."""

import logging
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy import update

from aliquot.chat.attachments.tables import attachment
from tests.chat.test_attachments import upload
from tests.conftest import PATIENCE, Urls
from tests.documents import files
from tests.faults.conftest import ServerProcess
from tests.site import PASSWORD, Seeded, running_site

REGION = "eu-central-1"
BUCKET = "s3://site-files/aliquot"
LARGE = files.pdf("canary-4711 Lysis buffer") + bytes(9_000_000)


class Bucket:
    """An S3 server (moto) and what lies in it."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        host, port = self.server.get_host_and_port()
        self.env = {
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION, "AWS_ALLOW_HTTP": "true",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }  # fmt: skip
        self.client: Any = boto3.client(
            "s3", region_name=REGION, endpoint_url=self.env["AWS_ENDPOINT_URL"], aws_access_key_id="test", aws_secret_access_key="test"
        )
        self.client.create_bucket(Bucket="site-files", CreateBucketConfiguration={"LocationConstraint": REGION})

    def objects(self) -> list[str]:
        return [found["Key"] for found in self.client.list_objects_v2(Bucket="site-files").get("Contents", ())]

    def empty(self) -> None:
        for key in self.objects():
            self.client.delete_object(Bucket="site-files", Key=key)


@pytest.fixture(scope="module")
def s3() -> Iterator[Bucket]:
    bucket = Bucket()
    yield bucket
    bucket.server.stop()


@pytest.fixture
def bucket(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    s3.empty()
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return s3


class Broken(ThreadingHTTPServer):
    """An S3 endpoint that answers everything with one error, or holds every request until it is closed."""

    def __init__(self, status: int = 0, code: str = "") -> None:
        self.status, self.code, self.asked, self.closing = status, code, threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), _Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self.shutdown()
        super().__exit__(*error)


class _Answer(BaseHTTPRequestHandler):
    server: Broken

    def do_GET(self) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{self.server.code}</Code><Message>secret-detail</Message></Error>".encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        length = int(self.headers["Content-Length"])
        self.rfile.read(length // 2 if not self.server.status else length)
        self.server.asked.set()
        if self.server.status:
            self.do_GET()
        else:
            self.server.closing.wait(PATIENCE)

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, *parts: object) -> None:
        pass


async def test_a_file_lives_in_the_bucket_from_its_upload_to_the_erasure_of_its_owner(
    seeded_urls: Urls, seeded: Seeded, tmp_path: Path, bucket: Bucket
) -> None:
    """Fails when a whole site does not keep its files in the bucket, keeps them in clear, or leaves them behind."""
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, BLOB_URL=BUCKET) as site:
        viewer = await site.client("viewer")
        before = (await upload(viewer, "large.pdf", LARGE)).json()
        asked = await viewer.post("/api/chat/completion", json={"message": "see the file", "attachments": [before["id"]]})
        conversation = asked.json()["conversation_id"]
        question = (await viewer.get(f"/api/conversations/{conversation}/tree")).json()["items"][0]["id"]
        after = (await upload(viewer, "later.txt", b"canary-4711 later", f"/api/messages/{question}/attachments")).json()
        assert (await viewer.get(before["file_url"])).content == LARGE
        assert (await viewer.get(after["file_url"])).content == b"canary-4711 later"
        link = (await viewer.post(f"/api/attachments/{after['id']}/link")).json()["url"]
        assert (await (await site.anonymous()).get(link)).content == b"canary-4711 later"
        stored = bucket.objects()
        assert {key.rsplit("/", 1)[1] for key in stored} >= {uuid.UUID(file["id"]).hex for file in (before, after)}
        assert all(key.startswith("aliquot/") for key in stored)
        for key in stored:
            assert b"canary" not in bucket.client.get_object(Bucket="site-files", Key=key)["Body"].read()
        assert not list((tmp_path / "data").glob("blobs/**/*"))
        exported = await viewer.post(f"/api/conversations/{conversation}/export", json={"format": "json"})
        assert exported.json()["messages"][0]["metadata"]["attachments"] == [before["id"], after["id"]]
        assert (await viewer.get("/api/health")).json()["parts"]["files"] == {"status": "ok"}

        assert (await viewer.delete(f"/api/attachments/{before['id']}")).status_code == 204
        await site.services.chat.attachments.jobs.delete_blobs(attachment_id=before["id"], tries=0)
        assert not any(uuid.UUID(before["id"]).hex in key for key in bucket.objects())
        assert (await viewer.get(before["file_url"])).status_code == 410

        left = (await upload(viewer, "abandoned.txt", b"never sent")).json()
        async with site.services.db.begin() as tx:
            old = {"created_at": site.services.clock.now() - timedelta(days=2)}
            await tx.execute(update(attachment).where(attachment.c.id == uuid.UUID(left["id"])).values(old))
        await site.services.chat.attachments.jobs.sweep()
        await site.services.chat.attachments.jobs.delete_blobs(attachment_id=left["id"], tries=0)
        assert not any(uuid.UUID(left["id"]).hex in key for key in bucket.objects())

        admin = await site.client("admin")
        body = {"subject": "viewer@demo.lab", "reason": "asked for it", "password": PASSWORD}
        erased = await admin.post("/api/admin/erasure", json=body)
        assert erased.status_code in (200, 201, 202), erased.text
        await site.services.chat.attachments.jobs.delete_blobs(attachment_id=after["id"], tries=0)
        assert bucket.objects() == []


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "InvalidAccessKeyId", "credentials"), (403, "SignatureDoesNotMatch", "credentials"), (404, "NoSuchBucket", "no such bucket"),
        (503, "SlowDown", "not reachable"), (0, "", "not reachable"),
    ],
)  # fmt: skip
async def test_storage_that_is_wrong_or_away_is_said_by_the_upload_the_download_health_and_doctor(
    status: int, code: str, told: str, seeded_urls: Urls, seeded: Seeded, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Fails when a wrong bucket or key is a bug (500) or a lost file, or a file counts as deleted that is not."""
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, BLOB_URL=BUCKET) as site:
        scientist = await site.client("scientist")
        kept = (await upload(scientist, "a.txt", b"good words")).json()
        with Broken(status or 500, code) as broken:
            address = broken.url if status else "http://127.0.0.1:9"
            monkeypatch.setenv("AWS_ENDPOINT_URL", address)
            storage = site.services.chat.attachments.storage
            storage._store = None  # as a server that is started with these settings
            await storage.look()  # the loop that runs twice a minute
            expected = "storage_unavailable" if told == "not reachable" else "storage_refused"
            for answer in (await upload(scientist, "b.txt", b"more words"), await scientist.get(kept["file_url"])):
                assert (answer.status_code, answer.json()["code"]) == (503, expected), answer.text
                assert told in answer.json()["detail"]
                assert "secret-detail" not in answer.text
                assert "127.0.0.1" not in answer.text
            health = (await scientist.get("/api/health")).json()
            assert (health["status"], health["parts"]["files"]["status"], health["parts"]["files"]["code"]) == (
                "degraded",
                "down",
                expected,
            )
            assert (await scientist.post("/api/chat/completion", json={"message": "Is PCR-02 ready?"})).status_code == 200
            assert (await scientist.delete(f"/api/attachments/{kept['id']}")).status_code == 204
            await site.services.chat.attachments.jobs.delete_blobs(attachment_id=kept["id"], tries=0)
            assert any(uuid.UUID(kept["id"]).hex in key for key in bucket.objects())  # not taken for deleted
            process = ServerProcess(tmp_path / "doctor" / "data", BLOB_URL=BUCKET)
            process.folder.parent.mkdir()
            found = process.run("doctor")
            assert found.returncode == 1
            (line,) = [line for line in found.stdout.splitlines() if "storage of files" in line]
            assert line.startswith("✗")
            assert told in line
        monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.env["AWS_ENDPOINT_URL"])
        storage._store = None
        await storage.look()
        assert (await scientist.get("/api/health")).json()["parts"]["files"] == {"status": "ok"}
        await site.services.chat.attachments.jobs.delete_blobs(attachment_id=kept["id"], tries=1)
        assert bucket.objects() == []


def test_killed_while_a_file_goes_into_the_bucket_nothing_of_it_is_left(seeded_urls: Urls, seeded: Seeded, bucket: Bucket) -> None:
    """Fails when half a file can be downloaded, or parts of it lie in the bucket that nobody sees and nobody sweeps."""
    with tempfile.TemporaryDirectory(prefix="aliquot-s3-") as folder, Broken() as broken:
        data = Path(folder) / "data"
        shutil.copytree(seeded.keys, data / "keys")
        environment = {
            "DATABASE_URL_APP": seeded_urls.app, "DATABASE_URL_SEQUENCER": seeded_urls.sequencer,
            "DATABASE_URL_READER": seeded_urls.reader, "BLOB_URL": BUCKET, "ALIQUOT_LIMIT_DOCUMENT_SECONDS": str(PATIENCE),
        }  # fmt: skip
        server = ServerProcess(data, **environment)
        server.env |= bucket.env | {"AWS_ENDPOINT_URL": broken.url}
        server.start()
        client = server.client()
        sending = threading.Thread(target=_until_killed, args=(client,))
        sending.start()
        assert broken.asked.wait(PATIENCE)
        server.kill()
        sending.join(PATIENCE)
        server.env["AWS_ENDPOINT_URL"] = bucket.env["AWS_ENDPOINT_URL"]
        server.start()
        again = client.post("/api/attachments", files={"file": ("large.pdf", LARGE)}, headers={"Idempotency-Key": "k"})
        assert again.status_code == 201, again.text
        assert client.get(again.json()["file_url"]).content == LARGE
        assert "Uploads" not in bucket.client.list_multipart_uploads(Bucket="site-files")
        assert sum(uuid.UUID(again.json()["id"]).hex in key for key in bucket.objects()) == 1
        assert len(bucket.objects()) == 2  # the file and its text
        assert server.stop() == 0


def _until_killed(client: httpx2.Client) -> None:
    with pytest.raises(httpx2.HTTPError):
        client.post("/api/attachments", files={"file": ("large.pdf", LARGE)}, headers={"Idempotency-Key": "k"})
