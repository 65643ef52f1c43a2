"""Blobs: contents too large for a row, sealed piece by piece, in a local folder or an S3 bucket (obstore).

A blob is a row of pieces of PIECE bytes, each AES-256-GCM under the subject's key with the blob's id, the piece's number and
whether it is the last one as associated data: pieces can be neither reordered, exchanged between blobs nor cut off. Reading takes
the memory of a few pieces. Erasing the subject makes its blobs unreadable.

A bucket gets a blob in one request, so that it is there whole or not at all: a multipart upload of a process that died would lie
there unseen and be paid for. In a folder a blob is written beside its place and moved there; what a dead process left is swept.
"""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import obstore
import structlog
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, S3Store

from aliquot.kernel.problems import NotFound, Unavailable
from aliquot.platform.vault import Damaged, Vault

log = structlog.get_logger(__name__)

PIECE = 262_144
_OVERHEAD = 45
"""What `Vault.seal` adds."""
_ONE_WRITE_BYTES, _ONE_REQUEST_BYTES = 4_000_000, 64_000_000
"""Up to here whole, in a folder and in a bucket; beyond, parts of 5 MiB, the smallest S3 takes."""
_LEFT_SECONDS = 3_600
_PROBE_SECONDS = 5.0
_PROBE, _NO_BUCKET = "probe", "NoSuchBucket"


class BlobMissing(NotFound):
    code, status, sentence = "blob_missing", 410, "The stored content is no longer there."


class StorageUnavailable(Unavailable):
    code, sentence = "storage_unavailable", "The storage of files is not reachable at the moment. Please try again."


class StorageRefused(StorageUnavailable):
    code, sentence = "storage_refused", "The storage of files refuses this server; `aliquot doctor` says why."
    retryable = False


class Blobs:
    """Stores, gives and deletes sealed blobs by id."""

    def __init__(self, vault: Vault, folder: Path, url: str | None = None) -> None:
        """`url` `s3://bucket/prefix` takes credentials, region and endpoint from the AWS_ variables; None uses `folder`."""
        self._vault, self._folder = vault, folder if url is None else None
        self._store: Any = None
        self._url = url
        self.trouble: StorageUnavailable | None = None

    async def put(self, blob_id: uuid.UUID, subject: uuid.UUID, pieces: Iterable[bytes]) -> None:
        """Store `pieces` (any sizes) as one blob; durable when it returns. Raises StorageUnavailable, Erased."""
        key, sealed = _key(blob_id), self._sealed(blob_id, subject, pieces)
        try:
            first, whole = await _first(sealed, _ONE_REQUEST_BYTES if self._folder is None else _ONE_WRITE_BYTES)
            body: Any = first if whole else _chained(first, sealed)
            await obstore.put_async(self._opened(), key, body, use_multipart=not whole, chunk_size=5 << 20, max_concurrency=2)
        except (BaseError, OSError) as error:
            raise _fault("blob_not_stored", error) from error
        if self._folder is not None:
            await asyncio.to_thread(_fsync, self._folder / key)

    async def get(self, blob_id: uuid.UUID) -> AsyncGenerator[bytes, None]:
        """The content, piece by piece. Raises BlobMissing, Erased, Damaged, StorageUnavailable; also after the first piece."""
        try:
            found = await obstore.get_async(self._opened(), _key(blob_id))
            number, waiting = 0, bytearray()
            async for data in found.stream(min_chunk_size=PIECE + _OVERHEAD):
                waiting += data
                while len(waiting) > PIECE + _OVERHEAD:  # more follows, so this one is not the last
                    yield self._open(blob_id, number, bytes(waiting[: PIECE + _OVERHEAD]), last=False)
                    del waiting[: PIECE + _OVERHEAD]
                    number += 1
            yield self._open(blob_id, number, bytes(waiting), last=True)
        except (BaseError, OSError) as error:
            if _not_found(error):
                raise BlobMissing from error
            raise _fault("blob_not_read", error) from error

    async def read(self, blob_id: uuid.UUID, most: int) -> bytes:
        """The whole content of a small blob. Raises as `get`, and Damaged for more than `most` bytes."""
        data = bytearray()
        async for piece in self.get(blob_id):
            data += piece
            if len(data) > most:
                raise Damaged
        return bytes(data)

    async def delete(self, blob_id: uuid.UUID) -> None:
        """Delete it; one that is not there is deleted already. Raises StorageUnavailable."""
        try:
            await obstore.delete_async(self._opened(), _key(blob_id))
        except (BaseError, OSError) as error:
            if not _not_found(error):
                raise _fault("blob_not_deleted", error) from error

    async def look(self) -> None:
        """Loop: see whether the storage answers; `trouble` holds what is wrong with it."""
        try:
            await probe(self._folder, self._url)
        except StorageUnavailable as found:
            self.trouble = found
        else:
            self.trouble = None

    async def sweep(self) -> None:
        """Take away what processes that died left of blobs half written to a folder."""
        if self._folder is not None:
            await asyncio.to_thread(_sweep, self._folder)

    def _opened(self) -> Any:
        if self._store is None:
            if self._folder is not None:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._store = LocalStore(self._folder)
            else:
                self._store = _bucket(self._url or "")
        return self._store

    def _sealed(self, blob_id: uuid.UUID, subject: uuid.UUID, pieces: Iterable[bytes]) -> Iterator[bytes]:
        waiting, number = bytearray(), 0
        for data in pieces:
            waiting += data
            while len(waiting) > PIECE:
                yield self._vault.seal(subject, bytes(waiting[:PIECE]), aad=_aad(blob_id, number, last=False))
                del waiting[:PIECE]
                number += 1
        yield self._vault.seal(subject, bytes(waiting), aad=_aad(blob_id, number, last=True))

    def _open(self, blob_id: uuid.UUID, number: int, sealed: bytes, *, last: bool) -> bytes:
        return self._vault.open(sealed, aad=_aad(blob_id, number, last=last))


def _not_found(error: Exception) -> bool:
    """The blob is not there. A bucket that is not there is another matter: nothing in it may count as deleted or lost."""
    return isinstance(error, NotFoundError | FileNotFoundError) and _NO_BUCKET not in str(error)


def _fault(event: str, error: Exception) -> StorageUnavailable:
    """What people are told of a failure; the text of the error may hold addresses and answers, and goes nowhere."""
    log.warning(event, error=type(error).__name__)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError):
        return StorageRefused("The storage of files refuses this server's credentials, or does not let them do this.")
    if isinstance(error, NotFoundError | FileNotFoundError):
        return StorageRefused("The storage of files has no such bucket or folder: see BLOB_URL.")
    if "redirect" in str(error):
        return StorageRefused("The bucket lies in another region than AWS_REGION says.")
    return StorageUnavailable()


def _sweep(folder: Path) -> None:
    """Half-written blobs are called `<name>#<number>` (obstore)."""
    for path in folder.glob("*/*#*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _LEFT_SECONDS:
                path.unlink()


async def probe(folder: Path | None, url: str | None) -> None:
    """Look whether the storage answers this server, without changing anything. Raises StorageUnavailable, StorageRefused."""
    if folder is not None:
        place = next(path for path in (folder, *folder.parents) if path.exists())
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            raise StorageRefused(f"{place} is no folder that this server may write to.")
        return
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await obstore.get_async(_bucket(url or ""), _PROBE)
    except (BaseError, OSError, TimeoutError) as error:
        if not _not_found(error):
            raise _fault("storage_not_reached", error) from error


def _bucket(url: str) -> Any:
    # Options given here replace those of the environment, so the one that a site may need is passed on.
    plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
    options: Any = {"client_options": {"timeout": "60s", "allow_http": plain}, "retry_config": {"max_retries": 2}}
    return S3Store.from_url(url, **options)


def _aad(blob_id: uuid.UUID, number: int, *, last: bool) -> str:
    return f"blob:{blob_id}:{number}:{int(last)}"


def _key(blob_id: uuid.UUID) -> str:
    return f"{blob_id.hex[-2:]}/{blob_id.hex}"


async def _first(sealed: Iterator[bytes], most: int) -> tuple[bytes, bool]:
    """Pieces up to `most` bytes, and whether that was all."""
    data = bytearray()
    for piece in sealed:
        data += piece
        if len(data) >= most:
            return bytes(data), False
        await asyncio.sleep(0)  # others have their turn between two pieces
    return bytes(data), True


async def _chained(first: bytes, rest: Iterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    for piece in rest:
        yield piece


def _fsync(path: Path) -> None:
    for place in (path, path.parent, path.parent.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
