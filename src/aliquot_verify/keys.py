"""`keys.json`: the key a log is signed with, and how it came from the log's first key.

A rotation is a note signed by the old and the new key. It takes effect at the place of its event: the old key signs checkpoints
of up to `seq` events, the new one those that hold the event. The bundle repeats the event, so its leaf proves the place.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from aliquot_verify.faults import Fault, Finding, Unusable
from aliquot_verify.merkle import HASH, leaf
from aliquot_verify.note import Head, Key, NoteError, SignatureError, open_note, parse_checkpoint, parse_key
from aliquot_verify.strict import items, strict_json

_NAME = "keys.json"
_HEADER = "aliquot key rotation v1"
_ROTATIONS_MAX = 100


@dataclass(frozen=True, slots=True)
class Rotation:
    """As the bundle claims it: the statement, the event that recorded it and the event's place."""

    note: str
    seq: int
    event: str


@dataclass(frozen=True, slots=True)
class Chain:
    """The log's keys, oldest first, and the rotation from each to the next."""

    keys: tuple[Key, ...]
    rotations: tuple[Rotation, ...]

    @property
    def current(self) -> Key:
        return self.keys[-1]

    def open(self, note: bytes) -> Head:
        """The checkpoint in a note that one of the keys signed while it was in force. Raises NoteError."""
        for number, key in enumerate(self.keys):
            try:
                head = parse_checkpoint(open_note(note, key))
            except SignatureError as error:
                if number == len(self.keys) - 1:
                    raise SignatureError("not signed by a key of this log") from error
                continue
            self._check_term(number, head)
            return head
        raise SignatureError("not signed by a key of this log")

    def _check_term(self, number: int, head: Head) -> None:
        if number < len(self.rotations) and head.size > self.rotations[number].seq:
            raise SignatureError(f"signed with a key that was retired at event {self.rotations[number].seq}")
        if number and head.size <= self.rotations[number - 1].seq:
            raise SignatureError(f"signed with a key that was not in force before event {self.rotations[number - 1].seq}")


def read_chain(raw: bytes, pinned: Key | None) -> tuple[Chain, list[Finding]]:
    """The keys of a bundle and what is wrong with them; the rest is judged by the last of them all the same. Raises Unusable."""
    try:
        value = strict_json(raw)
        vkeys, rotations = value["vkeys"], [_rotation(item) for item in items(value.get("rotations", []))]
        if not isinstance(vkeys, list) or not vkeys or len(rotations) != len(vkeys) - 1 or len(rotations) > _ROTATIONS_MAX:
            raise ValueError
        keys = tuple(parse_key(_text(vkey)) for vkey in vkeys)
    except NoteError as error:
        raise Unusable(Fault.BAD_KEY, f"keys.json: {error}", _NAME) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unusable(Fault.DAMAGED, "keys.json does not hold the log's key", _NAME) from error
    chain = Chain(keys, tuple(rotations))
    return chain, [_finding(text, seq) for text, seq in _wrong(chain, pinned)]


def _wrong(chain: Chain, pinned: Key | None) -> Iterator[tuple[str, int | None]]:
    if pinned is not None and pinned not in chain.keys:
        yield f"this bundle is signed by {chain.current.vkey}, not by the pinned key, and no rotation leads there from it", None
    before = -1
    for old, new, rotation in zip(chain.keys, chain.keys[1:], chain.rotations, strict=False):
        try:
            text = open_note(rotation.note.encode(), old)
            open_note(rotation.note.encode(), new)
        except NoteError as error:
            yield f"the rotation of the key at event {rotation.seq} is forged: {error}", rotation.seq
            continue
        header, origin, *vkeys = text.split("\n")[:4]
        if (header, origin, vkeys) != (_HEADER, old.name, [old.vkey, new.vkey]) or new.name != old.name or rotation.seq <= before:
            yield f"the rotation of the key at event {rotation.seq} is not one of these keys", rotation.seq
        before = rotation.seq


def check_places(chain: Chain, leaves: bytes) -> list[Finding]:
    """Whether each rotation's event is where the bundle says, and records that statement."""
    found = []
    for rotation in chain.rotations:
        body = rotation.event.encode()
        statement = sha256(rotation.note.rpartition("\n\n")[0].encode() + b"\n").hexdigest()
        if leaves[rotation.seq * HASH : (rotation.seq + 1) * HASH] != leaf(body) or not _records(rotation.event, statement):
            found.append(_finding(f"the rotation of the key is not recorded as event {rotation.seq}", rotation.seq))
    return found


def _records(event: str, statement: str) -> bool:
    try:
        value = strict_json(event.encode())
        return bool(value["action"] == "log_key.rotated" and value["versions"]["statement"] == statement)
    except (ValueError, KeyError, TypeError):
        return False


def _rotation(item: Any) -> Rotation:
    seq = item["seq"]
    if not isinstance(seq, int) or isinstance(seq, bool) or not 0 <= seq < 1 << 50:
        raise TypeError
    return Rotation(_text(item["note"]), seq, _text(item["event"]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _finding(text: str, seq: int | None) -> Finding:
    return Finding(fault=Fault.BAD_KEY, text=text, seq=seq, file=_NAME)
