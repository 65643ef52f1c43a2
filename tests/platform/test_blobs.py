"""Sealed blobs on disk and in an S3 bucket (moto's server)."""

import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import obstore
import pytest
from moto.server import ThreadedMotoServer

from aliquot.platform.blobs import PIECE, BlobMissing, Blobs, StorageUnavailable
from aliquot.platform.vault import Damaged, Erased, Vault

PERSON = uuid.UUID(int=7)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    vault = Vault(bytes(32), tmp_path / "keys")
    vault.ensure_subject(PERSON)
    return vault


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """An S3 server with one bucket; its address is in the environment, as a site would have it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-central-1", "AWS_ALLOW_HTTP": "true",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        client = boto3.client("s3", region_name="eu-central-1", endpoint_url=values["AWS_ENDPOINT_URL"])
        client.create_bucket(Bucket="lab-files", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        yield "s3://lab-files/aliquot"
    server.stop()


async def content(blobs: Blobs, blob_id: uuid.UUID) -> bytes:
    return b"".join([piece async for piece in blobs.get(blob_id)])


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 11_000_000])
@pytest.mark.rule("HIPAA 164.312(a)(2)(iv)")
async def test_what_was_stored_comes_back_and_nothing_of_it_lies_in_clear(vault: Vault, tmp_path: Path, size: int) -> None:
    blobs, blob_id = Blobs(vault, tmp_path / "blobs"), uuid.uuid4()
    data = (b"canary-4711 " * (size // 12 + 1))[:size]
    await blobs.put(blob_id, PERSON, (data[at : at + 100_000] for at in range(0, size, 100_000)))
    assert await content(blobs, blob_id) == data
    stored = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert len(stored) == 1
    assert b"canary" not in stored[0].read_bytes()
    await blobs.delete(blob_id)
    await blobs.delete(blob_id)
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    with pytest.raises(BlobMissing):
        await content(blobs, blob_id)


async def test_pieces_cannot_be_cut_off_exchanged_or_moved_to_another_blob(vault: Vault, tmp_path: Path) -> None:
    blobs, one, two = Blobs(vault, tmp_path / "blobs"), uuid.uuid4(), uuid.uuid4()
    for blob_id in (one, two):
        await blobs.put(blob_id, PERSON, [bytes(PIECE * 3)])
    path, other = (tmp_path / "blobs" / i.hex[-2:] / i.hex for i in (one, two))
    whole, sealed = path.read_bytes(), PIECE + 45
    swapped = whole[sealed : 2 * sealed] + whole[:sealed] + whole[2 * sealed :]
    flipped = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
    for bad in (whole[: 2 * sealed], whole[:sealed], whole[:-1], swapped, flipped, other.read_bytes(), b"", whole + whole):
        path.write_bytes(bad)
        with pytest.raises(Damaged):
            await content(blobs, one)
    vault.erase(PERSON)
    with pytest.raises(Erased):
        await content(blobs, two)


async def test_a_bucket_holds_blobs_like_a_folder(vault: Vault, tmp_path: Path, bucket: str) -> None:
    blobs, small, large = Blobs(vault, tmp_path / "unused", bucket), uuid.uuid4(), uuid.uuid4()
    data = bytes(range(256)) * 43_000  # 11 MB: several parts
    await blobs.put(small, PERSON, [b"canary-4711"])
    await blobs.put(large, PERSON, [data])
    assert await content(blobs, small) == b"canary-4711"
    assert await content(blobs, large) == data
    raw = bytes(await (await obstore.get_async(blobs._opened(), f"{small.hex[-2:]}/{small.hex}")).bytes_async())
    assert b"canary" not in raw
    await blobs.delete(large)
    await blobs.delete(large)
    with pytest.raises(BlobMissing):
        await content(blobs, large)
    assert not (tmp_path / "unused").exists()


async def test_storage_that_is_away_is_said_so(vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-central-1", "AWS_ALLOW_HTTP": "true",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    blobs = Blobs(vault, tmp_path, "s3://lab-files")
    with pytest.raises(StorageUnavailable):
        await blobs.put(uuid.uuid4(), PERSON, [b"x"])
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnavailable):
        await Blobs(vault, tmp_path / "file").put(uuid.uuid4(), PERSON, [b"x"])


async def test_a_source_that_fails_half_way_leaves_nothing(vault: Vault, tmp_path: Path) -> None:
    def source() -> Iterator[bytes]:
        for _ in range(60):
            yield bytes(PIECE)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        await Blobs(vault, tmp_path / "blobs").put(uuid.uuid4(), PERSON, source())
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


async def test_what_a_dead_process_left_half_written_is_swept(vault: Vault, tmp_path: Path) -> None:
    """Fails when halves of files lie in the folder for ever, or one that is being written is taken away."""
    folder, blobs, kept = tmp_path / "blobs", Blobs(vault, tmp_path / "blobs"), uuid.uuid4()
    await blobs.put(kept, PERSON, [b"x"])
    old, new = (folder / kept.hex[-2:] / f"{name}#1" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    await blobs.sweep()
    assert (old.exists(), new.exists(), await content(blobs, kept)) == (False, True, b"x")
    await Blobs(vault, tmp_path / "never made").sweep()
