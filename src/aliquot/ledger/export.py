"""Writes the bundle that `aliquot-verify` reads (CONTRACT §4). Rows are read in the caller's transaction, piece by piece."""

import asyncio
import base64
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import rfc3339
from aliquot.ledger import queries, store
from aliquot.ledger.contracts import SIGNATURE_ACTIONS, Export, SignatureLines
from aliquot.ledger.merkle import WIDTH, levels, tile_path, tiles_between
from aliquot.ledger.note import LogKey
from aliquot.platform.db import Transaction
from aliquot.platform.pdf import typeset

_PIECE = 4 * WIDTH
_TEMPLATE = Path(__file__).with_name("report.typ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to export: the log of `state`, the events from `first` on, and the period that was asked for."""

    state: store.State
    note: str
    first: int
    count: int
    since: datetime | None
    until: datetime | None
    made_at: datetime


class _Archive:
    """A zip being written, and the SHA-256 of each of its files. Blocking."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self.digests: dict[str, str] = {}

    def add(self, name: str, data: bytes) -> None:
        """A small file or a tile: hashes do not compress."""
        self._zip.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_STORED)
        self.digests[name] = sha256(data).hexdigest()

    def stream(self, name: str) -> "_Stream":
        """A compressed file that is written piece by piece."""
        return _Stream(self._zip.open(name, "w", force_zip64=True), name, self.digests)

    def close(self) -> None:
        self._zip.close()


class _Stream:
    def __init__(self, file: IO[bytes], name: str, digests: dict[str, str]) -> None:
        self._file, self._name, self._digests = file, name, digests
        self._hash = sha256()

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        self._file.write(data)

    def close(self) -> None:
        self._file.close()
        self._digests[self._name] = self._hash.hexdigest()


async def write_bundle(
    tx: Transaction, order: Order, key: LogKey, extras: Mapping[str, bytes], signatures: SignatureLines | None = None
) -> Export:
    """The bundle, with `extras` by name, in an unnamed temporary file: nothing is left behind by a crash. Compression runs in threads."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller streams and closes it
    try:
        archive = _Archive(file)
        archive.add("checkpoint", order.note.encode())
        for name, data in extras.items():
            archive.add(name, data)
        await _signatures(tx, order, archive, signatures)
        await _events(tx, order, archive)
        await _tiles(tx, order, archive)
        report = await asyncio.to_thread(_report, order, key, await queries.counts(tx, order.first, order.first + order.count))
        archive.add("report.pdf", report)
        archive.add("manifest.json", _manifest(order, key, archive.digests))
        archive.close()
        length = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    name = f"audit-{order.made_at:%Y%m%dT%H%M%SZ}.zip"
    return Export(file=file, bytes=length, name=name, first=order.first, count=order.count)


async def _events(tx: Transaction, order: Order, archive: _Archive) -> None:
    stream = archive.stream("events.jsonl")
    try:
        end = order.first + order.count
        for start in range(order.first, end, _PIECE):
            rows = await store.entries(tx, start, min(start + _PIECE, end))
            await asyncio.to_thread(stream.write, b"".join([body + b"\n" for _, body in rows]))
    finally:
        stream.close()


async def _signatures(tx: Transaction, order: Order, archive: _Archive, lines_of: SignatureLines | None) -> None:
    """One line for each event about an electronic signature, in the log's order."""
    stream, start, end = archive.stream("signatures.jsonl"), order.first, order.first + order.count
    try:
        while lines_of is not None and (found := await queries.events_of(tx, SIGNATURE_ACTIONS, start, end, _PIECE)):
            lines = await lines_of(tx, [event_id for _, event_id in found])
            await asyncio.to_thread(stream.write, b"".join([line + b"\n" for line in lines]))
            start = found[-1][0] + 1
    finally:
        stream.close()


async def _tiles(tx: Transaction, order: Order, archive: _Archive) -> None:
    for level in range(levels(order.state.size)):
        for tile in tiles_between(0, order.state.size, level):
            archive.add(tile_path(tile), b"".join(await store.tile(tx, tile)))


def _manifest(order: Order, key: LogKey, digests: dict[str, str]) -> bytes:
    """Canonical JSON with the log key's signature over a text that names the hash of the rest."""
    body: dict[str, Any] = {
        "v": 1,
        "origin": key.origin,
        "size": order.state.size,
        "made_at": rfc3339(order.made_at),
        "events": {"first": order.first, "count": order.count},
        "period": {
            "from": None if order.since is None else rfc3339(order.since),
            "to": None if order.until is None else rfc3339(order.until),
        },
        "files": digests,
    }
    digest = base64.b64encode(sha256(canonical_json(body)).digest()).decode()
    line = key.signature_line(f"aliquot manifest v1\n{key.origin}\n{digest}\n")
    return canonical_json(body | {"signature": line.split(" ")[2].strip()})


def _report(order: Order, key: LogKey, counts: list[tuple[str, int]]) -> bytes:
    last = order.first + order.count - 1
    since, until = ("…" if at is None else rfc3339(at) for at in (order.since, order.until))
    data = {
        "origin": key.origin,
        "made_at": rfc3339(order.made_at),
        "period": "everything" if order.since is None and order.until is None else f"{since} to {until}",
        "size": order.state.size,
        "events": f"{order.count} (number {order.first} to {last})" if order.count else "none",
        "root_hash": order.state.root_hash.hex(),
        "vkey": key.vkey,
        "checkpoint": order.note,
        "counts": counts,
    }
    return typeset(_TEMPLATE, data, standard=None)
