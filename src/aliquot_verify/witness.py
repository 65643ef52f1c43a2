"""A witness: remembers the newest checkpoint it saw of each log, cosigns what continues it, refuses forks and roll-backs.

The state is one small JSON file, replaced durably before a cosignature leaves (C2SP tlog-witness).
"""

import base64
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from aliquot_verify.cosign import Cosigner
from aliquot_verify.merkle import HASH, node, root
from aliquot_verify.note import Head, Key, NoteError, SignatureError, open_note, parse_checkpoint

EMPTY = sha256(b"").digest()


class Refused(Exception):
    """Not cosigned: the log lied or the request is wrong. `status` is what C2SP tlog-witness answers."""

    def __init__(self, status: int, kind: str, text: str) -> None:
        super().__init__(text)
        self.status, self.kind = status, kind


@dataclass(frozen=True, slots=True)
class Memory:
    """The newest checkpoint cosigned."""

    size: int
    root: bytes
    note: str


class Witness:
    """`keys` are the keys of the logs it watches: several of one origin while a key is being rotated."""

    def __init__(self, cosigner: Cosigner, keys: Sequence[Key], state: Path, now: Callable[[], float]) -> None:
        self._cosigner, self._keys, self._state, self._now = cosigner, keys, state, now

    def remembered(self, origin: str) -> Memory | None:
        """Raises Refused when the state cannot be read: a witness without its memory must not sign."""
        return self._read().get(origin)

    def add(self, note: bytes, prove: Callable[[Memory, Head], None], *, old: int | None = None) -> str:
        """The cosignature line on a checkpoint that continues the remembered one.

        `prove` raises NoteError unless the head continues the memory. `old` is the size the log believes is remembered. Raises Refused.
        """
        text, head = self._opened(note)
        with self._locked():
            states = self._read()
            kept = states.get(head.origin, Memory(0, EMPTY, ""))
            if old is not None and old != kept.size:
                raise Refused(409, "conflict", str(kept.size))
            self._compare(kept, head, prove)
            states[head.origin] = Memory(head.size, head.root, note.decode())
            self._write(states)
        return self._cosigner.sign(text, int(self._now()))

    def _opened(self, note: bytes) -> tuple[str, Head]:
        origin = note.partition(b"\n")[0].decode("utf-8", "replace")
        keys = [key for key in self._keys if key.name == origin]
        if not keys:
            raise Refused(404, "unknown", f"this witness does not watch the log {origin[:100]!r}")
        for key in keys:
            try:
                text = open_note(note, key)
                return text, parse_checkpoint(text)
            except SignatureError:
                continue
            except NoteError as error:
                raise Refused(400, "malformed", str(error)) from error
        raise Refused(403, "bad signature", "the checkpoint is not signed by the log's key")

    def _compare(self, kept: Memory, head: Head, prove: Callable[[Memory, Head], None]) -> None:
        if head.size < kept.size:
            text = f"ROLLED BACK: this witness saw {kept.size} events, the log now shows {head.size}"
            raise Refused(400, "rolled back", text)
        if head.size == kept.size and head.root != kept.root:
            raise Refused(422, "forked", f"FORKED: two different logs of {head.size} events are signed by one key")
        if head.size > kept.size > 0:
            try:
                prove(kept, head)
            except NoteError as error:
                raise Refused(422, "forked", f"FORKED: the log does not continue the {kept.size} events seen before ({error})") from error

    def _read(self) -> dict[str, Memory]:
        try:
            value = json.loads(self._state.read_text("utf-8"))
            return {o: Memory(int(s["size"]), base64.b64decode(s["root"]), str(s["note"])) for o, s in value["logs"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refused(500, "state", f"{self._state} cannot be read: a witness without its memory does not sign") from error

    def _write(self, states: dict[str, Memory]) -> None:
        logs = {o: {"size": s.size, "root": base64.b64encode(s.root).decode(), "note": s.note} for o, s in states.items()}
        draft = self._state.with_name(f".{self._state.name}.new")
        with draft.open("w", encoding="utf-8") as file:
            json.dump({"v": 1, "logs": logs}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._state)
        descriptor = os.open(self._state.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._state.with_name(f".{self._state.name}.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def by_leaves(leaves: bytes) -> Callable[[Memory, Head], None]:
    """Proof from all leaf hashes, as a bundle or the log's tiles hold them."""

    def prove(kept: Memory, head: Head) -> None:
        if len(leaves) != head.size * HASH or root(leaves) != head.root:
            raise NoteError("the tiles do not hash to the checkpoint")
        if root(leaves[: kept.size * HASH]) != kept.root:
            raise NoteError("its first events are others")

    return prove


def by_proof(proof: Sequence[bytes]) -> Callable[[Memory, Head], None]:
    """Proof by RFC 6962 §2.1.2 consistency hashes (verified as RFC 9162 §2.1.4.2 says)."""

    def prove(kept: Memory, head: Head) -> None:
        path = list(proof)
        if kept.size & (kept.size - 1) == 0:
            path.insert(0, kept.root)
        if not path:
            raise NoteError("the consistency proof is empty")
        f, s = kept.size - 1, head.size - 1
        while f & 1:
            f, s = f >> 1, s >> 1
        old = new = path[0]
        for part in path[1:]:
            if s == 0:
                raise NoteError("the consistency proof is too long")
            if f & 1 or f == s:
                old, new = node(part, old), node(part, new)
                while f and not f & 1:
                    f, s = f >> 1, s >> 1
            else:
                new = node(new, part)
            f, s = f >> 1, s >> 1
        if s or old != kept.root or new != head.root:
            raise NoteError("the consistency proof does not hold")

    return prove
