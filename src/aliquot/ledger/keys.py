"""Rotation of the log's key.

The new key waits in `log.next` until the event that records the rotation is placed; the checkpoint that covers it is the first signed by
the new key, in the same transaction. Then `log.next` takes the place of `log`, and the old secret is gone. A crash between the two
is made good at the next start, from the statement in the database.
"""

import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import rfc3339
from aliquot.ledger.errors import LogRefused
from aliquot.ledger.note import LogKey, NoteError, load_log_key, read_secret, verify_note, write_secret

NEXT = "log.next"
_HEADER = "aliquot key rotation v1"


class KeySource(Protocol):
    """Where the key in force is found. A `LogKey` is one that never changes."""

    def current(self) -> LogKey: ...
    def staged(self) -> LogKey | None: ...
    def promote(self) -> None: ...


class LogKeys:
    """The keys in a folder. Other processes of the host notice a rotation by the file being another one."""

    def __init__(self, folder: Path) -> None:
        """Makes the first key of a new log. Raises LogKeyError."""
        self._folder, self._path = folder, folder / "log"
        self._key, self._inode = load_log_key(folder), 0
        self._inode = self._path.stat().st_ino

    def current(self) -> LogKey:
        inode = self._path.stat().st_ino
        if inode != self._inode:
            self._key, self._inode = load_log_key(self._folder), inode
        return self._key

    def staged(self) -> LogKey | None:
        """The key that waits for its rotation to be placed."""
        path = self._folder / NEXT
        return read_secret(path) if path.exists() else None

    def stage(self) -> LogKey:
        """Make the next key, durably. One left by a rotation that was never recorded is replaced."""
        key = LogKey(self.current().origin, secrets.token_bytes(32))
        (self._folder / NEXT).unlink(missing_ok=True)
        write_secret(self._folder / NEXT, key)
        return key

    def promote(self) -> None:
        """The staged key is the log's from now on; the old secret is destroyed by its replacement."""
        (self._folder / NEXT).rename(self._path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A recorded rotation; `seq` and `event` are None until its event is placed."""

    old_vkey: str
    new_vkey: str
    statement: str
    seq: int | None
    event: bytes | None

    def check(self) -> None:
        """Raises NoteError unless both keys signed the statement and it names them."""
        text = verify_note(self.statement, self.old_vkey)
        verify_note(self.statement, self.new_vkey)
        if text.split("\n")[0] != _HEADER or text.split("\n")[2:4] != [self.old_vkey, self.new_vkey]:
            raise NoteError("the statement is about other keys")


def rotation_statement(old: LogKey, new: LogKey, at: datetime) -> str:
    """That `new` follows `old`, signed by both. Its first line is no log's origin, so it can never pass as a checkpoint."""
    text = f"{_HEADER}\n{old.origin}\n{old.vkey}\n{new.vkey}\n{rfc3339(at)}\n"
    return f"{text}\n{old.signature_line(text)}{new.signature_line(text)}"


def statement_hash(statement: str) -> str:
    """What the event records: SHA-256 of the signed text."""
    return hashlib.sha256(statement.rpartition("\n\n")[0].encode() + b"\n").hexdigest()


def valid(rotations: Sequence[Rotation]) -> list[Rotation]:
    """Those that both keys signed. Others have no effect: whoever may write to the database cannot stop the log with them, and verifiers
    name their events."""
    found = []
    for rotation in rotations:
        with suppress(NoteError, ValueError):
            rotation.check()
            found.append(rotation)
    return found


def key_in_force(keys: KeySource, rotations: Sequence[Rotation]) -> LogKey:
    """The key that signs after these placed rotations: for a moment, and after a crash, it is still the staged one."""
    placed, staged = valid(rotations), keys.staged()
    return staged if placed and staged is not None and staged.vkey == placed[-1].new_vkey else keys.current()


def vkeys(current: str, rotations: Sequence[Rotation]) -> list[str]:
    """The log's verifier keys, oldest first, proven by the placed rotations (in log order). Raises LogRefused."""
    chain = [current]
    for rotation in reversed(valid(rotations)):
        if rotation.new_vkey != chain[0]:
            raise LogRefused(f"the log was rotated to the key {rotation.new_vkey}, which this server does not hold: restore it")
        chain.insert(0, rotation.old_vkey)
    return chain


def keys_document(current: str, rotations: Sequence[Rotation]) -> bytes:
    """`keys.json` as `aliquot-verify` reads it."""
    value: dict[str, Any] = {"vkeys": vkeys(current, rotations)}
    placed = [(r.statement, r.seq, r.event) for r in valid(rotations) if r.event is not None]
    if placed:
        value["rotations"] = [{"note": note, "seq": seq, "event": event.decode()} for note, seq, event in placed]
    return canonical_json(value)
