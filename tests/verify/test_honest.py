"""Honest logs raise no alarm, whatever they look like; consistency proofs hold exactly between a log and its continuation."""

import json
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aliquot.ledger.merkle import consistency_ranges
from aliquot_verify.merkle import HASH, leaf, root
from aliquot_verify.note import Head, NoteError
from aliquot_verify.verify import Known, verify
from aliquot_verify.witness import Memory, by_leaves, by_proof
from tests.faults.tamper.world import (
    KEY,
    NEW_KEY,
    OTHER_WITNESS,
    START,
    WITNESS,
    World,
    beat,
    cosigned,
    entry,
    rotation,
    signed,
)


@st.composite
def honest_logs(draw: st.DrawFn) -> tuple[World, Known]:
    """Any size, any rhythm within the heartbeat, transactions that overtake each other, perhaps a rotation, witnesses, a part."""
    every = draw(st.integers(1, 300))
    count = draw(st.integers(2, 40))
    when, entries = START, [beat(0, every=every)]
    turn = draw(st.none() | st.integers(1, count - 1))
    statement, chain = "", [KEY]
    for number in range(1, count):
        when += timedelta(seconds=draw(st.integers(0, every)))
        late = timedelta(seconds=draw(st.integers(0, min(250, every))))
        if number == turn:
            statement, event = rotation(number, KEY, NEW_KEY, when)
            entries.append(event)
            chain.append(NEW_KEY)
        else:
            entries.append(beat(number, every=every, when=when) if draw(st.booleans()) else entry(number, when=when - late))
    first = draw(st.integers(0, count))
    made = World(chain[-1], entries, first=first, count=draw(st.integers(0, count - first)))
    if turn is not None:
        made.keys(KEY, NEW_KEY, rotations=[(statement, turn, entries[turn])])
    witnesses = draw(st.lists(st.sampled_from([WITNESS, OTHER_WITNESS]), max_size=3))
    for witness in witnesses:
        size = draw(st.integers(1, count))
        key = NEW_KEY if turn is not None and size > turn else KEY
        seen = max(said(body) for body in entries[:size]) + timedelta(seconds=draw(st.integers(0, 30)))
        made.witnessed(cosigned(signed(key, entries[:size]), witness, seen))
    made.seal(made=when + timedelta(seconds=1))
    known = Known(vkey=draw(st.sampled_from(chain)).vkey, witnesses=sorted({w.key.vkey for w in witnesses}))
    return made, known


def said(body: bytes) -> datetime:
    return datetime.fromisoformat(json.loads(body)["at"])


@given(made=honest_logs())
@settings(max_examples=150, deadline=None)
def test_an_honest_log_raises_no_alarm(made: tuple[World, Known]) -> None:
    bundle, known = made
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        file.write(bundle.zip())
        file.flush()
        report = verify(Path(file.name), known, strict=True)
    assert (report.findings, report.notices) == ([], [])


@given(old=st.integers(1, 70), more=st.integers(0, 70), data=st.data())
@settings(max_examples=150, deadline=None)
def test_consistency_proofs(old: int, more: int, data: st.DataObject) -> None:
    """A witness is convinced by the log's proof, by its tiles, and by nothing else."""
    leaves = b"".join(leaf(bytes([n])) for n in range(old + more))
    kept = Memory(old, root(leaves[: old * HASH]), "")
    head = Head("log", old + more, root(leaves))
    proof = [root(leaves[r.start * HASH : r.end * HASH]) for r in consistency_ranges(old, old + more)] if more else []
    if more:
        by_proof(proof)(kept, head)
    by_leaves(leaves)(kept, head)
    other = bytearray(leaves)
    other[data.draw(st.integers(0, old - 1)) * HASH] ^= 1
    forked = Head("log", old + more, root(bytes(other)))
    with pytest.raises(NoteError):
        by_leaves(bytes(other))(kept, forked)
    if more:
        forged = [root(bytes(other)[r.start * HASH : r.end * HASH]) for r in consistency_ranges(old, old + more)]
        for attempt in (forged, proof, proof[:-1], [*proof, bytes(32)], proof[::-1] if len(set(proof)) > 1 else []):
            with pytest.raises(NoteError):
                by_proof(attempt)(kept, forked)
