"""Bundles made without a database, and the hands of somebody who alters them."""

import base64
import io
import json
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from aliquot.ledger.merkle import Tree, leaf_hash, levels, tile_path, tiles_between
from aliquot.ledger.note import LogKey, TreeHead, checkpoint_text
from aliquot_verify.verify import Known, Report, verify

ORIGIN = "aliquot/test"


def event(number: int) -> bytes:
    event_id = str(uuid.UUID(int=0x01900000_0000_7000_8000_000000000000 + number))
    return rfc8785.dumps({"v": 1, "id": event_id, "action": "run.started", "record": {"type": "run", "id": f"r-{number}", "version": 1}})


def event_id(number: int) -> str:
    return str(json.loads(event(number))["id"])


@dataclass
class Forge:
    """A log and its bundle as files in memory. Change `files` as an attacker would, then `write`."""

    key: LogKey
    entries: list[bytes]
    first: int = 0
    count: int | None = None
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tree()
        count = len(self.entries) - self.first if self.count is None else self.count
        self.lines(self.entries[self.first : self.first + count])
        self.files["keys.json"] = rfc8785.dumps({"vkeys": [self.key.vkey]})
        self.files["signatures.jsonl"] = b""
        self.files["report.pdf"] = b"%PDF-1.7 nothing"
        self.count = count
        self.sign_manifest()

    def tree(self) -> None:
        """Tiles and a signed checkpoint of `entries`."""
        by_level: dict[int, list[bytes]] = {0: []}
        tree = Tree()
        for entry in self.entries:
            by_level[0].append(leaf_hash(entry))
            for node in tree.append(by_level[0][-1]):
                by_level.setdefault(node.level, []).append(node.hash)
        self.files = {name: data for name, data in self.files.items() if not name.startswith("tile/")}
        for level in range(levels(tree.size)):
            for tile in tiles_between(0, tree.size, level):
                start = tile.n * 256
                self.files[tile_path(tile)] = b"".join(by_level[level][start : start + tile.width])
        self.files["checkpoint"] = self.key.sign(checkpoint_text(TreeHead(self.key.origin, tree.size, tree.root()))).encode()

    def lines(self, entries: list[bytes]) -> None:
        self.files["events.jsonl"] = b"".join(entry + b"\n" for entry in entries)

    def sign_manifest(self, **changes: Any) -> None:
        digests = {name: sha256(data).hexdigest() for name, data in self.files.items() if name != "manifest.json"}
        body: dict[str, Any] = {
            "v": 1, "origin": self.key.origin, "size": len(self.entries), "made_at": "2026-03-02T09:30:00.000Z",
            "events": {"first": self.first, "count": self.count}, "period": {"from": None, "to": None}, "files": digests,
        }  # fmt: skip
        body |= changes
        digest = base64.b64encode(sha256(rfc8785.dumps(body)).digest()).decode()
        signature = self.key.signature_line(f"aliquot manifest v1\n{self.key.origin}\n{digest}\n").split(" ")[2].strip()
        self.files["manifest.json"] = rfc8785.dumps(body | {"signature": signature})

    def zip(self) -> bytes:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in self.files.items():
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)  # a fixed date: the same files give the same bytes
        return target.getvalue()


@pytest.fixture(scope="session")
def key() -> LogKey:
    return LogKey(ORIGIN, b"\x01" * 32)


@pytest.fixture(scope="session")
def other_key() -> LogKey:
    """An attacker's key under the same name."""
    return LogKey(ORIGIN, b"\x02" * 32)


@pytest.fixture
def judge(tmp_path: Path, key: LogKey) -> Callable[..., Report]:
    """Verifies a forged bundle with the right key pinned."""

    def run(forge: Forge | bytes, **options: Any) -> Report:
        path = tmp_path / "bundle.zip"
        path.write_bytes(forge if isinstance(forge, bytes) else forge.zip())
        return verify(path, Known(**({"vkey": key.vkey} | options)))

    return run
