"""What ties the log to the outside: cosignatures, time stamps, rotations of its key. Used through `LedgerApi.anchors`."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import Clock
from aliquot.ledger import anchor_store, store
from aliquot.ledger.anchor_store import Cosigned, Stamp
from aliquot.ledger.contracts import Anchored
from aliquot.ledger.cosignature import WitnessKey
from aliquot.ledger.errors import CosignatureRefused, LogForked, NoCheckpoint, NoLogKey, NoSuchTree
from aliquot.ledger.keys import KeySource, key_in_force, keys_document, vkeys
from aliquot.ledger.merkle import Range, consistency_ranges
from aliquot.ledger.note import NoteError, TreeHead, parse_checkpoint, verify_note
from aliquot.platform.db import Transaction

_COSIGNED_PER_WITNESS = 200
_STAMPS = 500


class Anchors:
    """Keeps what others say about the log, and proves the log to them."""

    def __init__(self, clock: Clock, key: KeySource | None, witnesses: Sequence[WitnessKey]) -> None:
        self._clock, self._key, self.witnesses = clock, key, tuple(witnesses)

    async def keys_document(self, tx: Transaction) -> bytes:
        """`keys.json`: the keys of the log and the rotations between them. Raises NoLogKey."""
        placed = await anchor_store.rotations(tx)
        return keys_document(key_in_force(self._held(), placed).vkey, placed)

    async def consistency(self, tx: Transaction, old: int, new: int) -> list[bytes]:
        """RFC 6962 proof that the log of `new` events continues the one of `old`. Raises NoSuchTree."""
        size = (await store.state(tx)).size
        if not 0 <= old <= new <= size:
            raise NoSuchTree
        if old in {0, new}:
            return []
        return await store.hashes_of(tx, consistency_ranges(old, new), new)

    async def accept(self, tx: Transaction, note: str) -> list[str]:
        """Keep a cosigned checkpoint of this log; the names of the witnesses whose lines were new. Raises CosignatureRefused."""
        head = await self._head(tx, note)
        kept = []
        for witness in self.witnesses:
            if (line := witness.line_of(note)) is not None:
                one = _only(note, head.origin, line)
                if await anchor_store.keep_cosigned(tx, Cosigned(head.size, witness.name, one, self._clock.now())):
                    kept.append(witness.name)
        if not kept and not any(witness.line_of(note) for witness in self.witnesses):
            raise CosignatureRefused("No configured witness cosigned this checkpoint.")
        return kept

    async def _head(self, tx: Transaction, note: str) -> TreeHead:
        """The checkpoint in a note, if it is one of this log as it stands."""
        state, placed = await store.state(tx), await anchor_store.rotations(tx)
        key = key_in_force(self._held(), placed)
        for vkey in vkeys(key.vkey, placed):
            try:
                head = parse_checkpoint(verify_note(note, vkey))
            except NoteError:
                continue
            if head.origin == key.origin and head.size:
                if head.size <= state.size and (await store.hashes_of(tx, [Range(0, head.size)], head.size))[0] == head.root_hash:
                    return head
                raise LogForked
        raise CosignatureRefused("This is not a checkpoint of this log.")

    async def checkpoint(self, tx: Transaction) -> str:
        """The newest checkpoint with the cosignatures it has. Raises NoCheckpoint."""
        state = await store.state(tx)
        if state.note is None:
            raise NoCheckpoint(retry_after=1)
        own = await anchor_store.newest_cosigned(tx, per_witness=1, up_to=state.size)
        lines = [found.note.splitlines(keepends=True)[-1] for found in own if found.size == state.size]
        return state.note + "".join(lines)

    async def document(self, tx: Transaction, size: int) -> bytes:
        """`anchors.json` of an export of the first `size` events."""
        cosigned = await anchor_store.newest_cosigned(tx, per_witness=_COSIGNED_PER_WITNESS, up_to=size)
        stamps = await anchor_store.newest_stamps(tx, _STAMPS, up_to=size)
        value: dict[str, Any] = {
            "v": 1,
            "cosigned": [found.note for found in cosigned],
            "timestamps": [{"note": stamp.note, "token": base64.b64encode(stamp.token).decode()} for stamp in stamps],
        }
        return canonical_json(value)

    async def newest(self, tx: Transaction) -> list[Anchored]:
        """Up to where each witness and the time-stamping authority have seen the log, and when."""
        size = (await store.state(tx)).size
        found = [
            Anchored(by=c.witness, kind="witness", size=c.size, at=c.at)
            for c in await anchor_store.newest_cosigned(tx, per_witness=1, up_to=size)
        ]
        return found + [
            Anchored(by="tsa", kind="timestamp", size=s.size, at=s.at) for s in await anchor_store.newest_stamps(tx, 1, up_to=size)
        ]

    async def keep_stamp(self, tx: Transaction, *, size: int, note: str, token: bytes) -> None:
        await anchor_store.keep_stamp(tx, Stamp(size, note, token, self._clock.now()))

    async def due_for_stamp(self, tx: Transaction, every_seconds: float) -> tuple[int, str] | None:
        """(size, note) of the newest checkpoint, when the last stamp is older than `every_seconds` and of a smaller log."""
        state = await store.state(tx)
        last = await anchor_store.newest_stamps(tx, 1, up_to=state.size)
        if state.note is None or (last and (last[0].size == state.size or self._age(last[0].at) < every_seconds)):
            return None
        return state.size, state.note

    def _age(self, at: datetime) -> float:
        return (self._clock.now() - at).total_seconds()

    def _held(self) -> KeySource:
        if self._key is None:
            raise NoLogKey
        return self._key


def _only(note: str, origin: str, line: str) -> str:
    """The note with the log's own signatures and one witness's line."""
    text, _, signatures = note.rpartition("\n\n")
    own = [given for given in signatures.splitlines(keepends=True) if given.startswith(f"— {origin} ")]
    return f"{text}\n\n{''.join(own)}{line}"
