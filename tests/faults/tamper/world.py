"""An honest log with times, heartbeats, rotations, witnesses and time stamps, made without a database and always the same."""

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import rfc8785

from aliquot.kernel.clock import rfc3339
from aliquot.ledger.keys import rotation_statement, statement_hash
from aliquot.ledger.merkle import Tree, leaf_hash
from aliquot.ledger.note import LogKey, TreeHead, checkpoint_text
from aliquot_verify.cosign import Cosigner
from tests.verify.conftest import ORIGIN, Forge, event_id

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
STEP = timedelta(seconds=10)
KEY, NEW_KEY, STRANGER = (LogKey(ORIGIN, bytes([n]) * 32) for n in (1, 3, 2))
OTHER_LOG = LogKey("aliquot/other", b"\x04" * 32)
WITNESS, OTHER_WITNESS = Cosigner("witness.example/a", b"\x05" * 32), Cosigner("witness.example/b", b"\x06" * 32)


def at(number: int) -> datetime:
    return START + STEP * number


def entry(number: int, *, when: datetime | None = None, **changes: Any) -> bytes:
    """The canonical bytes of event `number`, as the ledger writes them."""
    value: dict[str, Any] = {
        "v": 1, "id": event_id(number), "at": rfc3339(when or at(number)), "actor": "anonymous", "via": "system", "action": "run.started",
        "record": {"type": "run", "id": f"r-{number}", "version": 1}, "outcome": "ok", "content": [], "versions": {},
    }  # fmt: skip
    return rfc8785.dumps(value | changes)


def beat(number: int, every: int = 60, **changes: Any) -> bytes:
    return entry(number, action="log.heartbeat", reason=f"every:{every}s", **changes)


def honest(count: int = 20) -> list[bytes]:
    return [beat(0), *(entry(n) for n in range(1, count))]


def signed(key: LogKey, entries: list[bytes]) -> str:
    """The checkpoint of these entries."""
    tree = Tree()
    for body in entries:
        tree.append(leaf_hash(body))
    return key.sign(checkpoint_text(TreeHead(key.origin, tree.size, tree.root())))


def cosigned(note: str, cosigner: Cosigner, when: datetime) -> str:
    return note + cosigner.sign(note.rpartition("\n\n")[0] + "\n", int(when.timestamp()))


def rotation(number: int, old: LogKey, new: LogKey, when: datetime | None = None) -> tuple[str, bytes]:
    """(statement, event) of a rotation that is event `number`."""
    statement = rotation_statement(old, new, when or at(number))
    versions = {"old_key": old.vkey, "new_key": new.vkey, "statement": statement_hash(statement)}
    return statement, entry(number, when=when, action="log_key.rotated", versions=versions)


@dataclass
class World(Forge):
    """A bundle of a log; change `files` or the parts, then `seal`."""

    anchors: dict[str, list[Any]] = field(default_factory=lambda: {"cosigned": [], "timestamps": []})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seal()

    def seal(self, *, made: datetime | None = None, sign: bool = True) -> "World":
        """Write the anchors and sign the manifest anew, as somebody with the key would."""
        if any(self.anchors.values()):
            self.files["anchors.json"] = rfc8785.dumps({"v": 1, **self.anchors})
        if sign:
            self.sign_manifest(made_at=rfc3339(made or self.last + STEP))
        return self

    @property
    def last(self) -> datetime:
        lines = self.files["events.jsonl"].split(b"\n")
        try:
            return datetime.fromisoformat(json.loads(lines[-2])["at"])
        except (IndexError, ValueError):
            return START

    def keys(self, *chain: LogKey, rotations: list[tuple[str, int, bytes]]) -> "World":
        value = {
            "vkeys": [key.vkey for key in chain],
            "rotations": [{"note": note, "seq": seq, "event": event.decode()} for note, seq, event in rotations],
        }
        self.files["keys.json"] = rfc8785.dumps(value)
        return self

    def witnessed(self, note: str) -> "World":
        self.anchors["cosigned"].append(note)
        return self.seal()

    def stamped(self, note: str, token: bytes) -> "World":
        self.anchors["timestamps"].append({"note": note, "token": base64.b64encode(token).decode()})
        return self.seal()


def world(entries: list[bytes] | None = None, key: LogKey = KEY) -> World:
    return World(key, honest() if entries is None else entries)


def rotated(count: int = 20, where: int = 9) -> World:
    """A log whose key was rotated by event `where`."""
    statement, event = rotation(where, KEY, NEW_KEY)
    entries = honest(count)
    entries[where] = event
    return world(entries, NEW_KEY).keys(KEY, NEW_KEY, rotations=[(statement, where, event)]).seal()
