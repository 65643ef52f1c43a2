"""What can be done to a log and its export, one class each, with what the verifiers must say and what that takes besides the bundle.

Every class is a function that returns the tampered bundle and what the verifying person knows; `expected` are (fault, seq) pairs, all of
which must be found, and no event must be named that was not touched.
"""

import base64
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any

import rfc8785

from aliquot_verify.merkle import leaf
from tests.faults.tamper.world import (
    KEY,
    NEW_KEY,
    OTHER_LOG,
    OTHER_WITNESS,
    START,
    STEP,
    STRANGER,
    WITNESS,
    World,
    at,
    beat,
    cosigned,
    entry,
    honest,
    rotated,
    rotation,
    signed,
    world,
)  # fmt: skip

HOUR = timedelta(hours=1)


@dataclass
class Case:
    """A tampered bundle, and what the verifying person knows from elsewhere."""

    bundle: World | bytes
    vkey: str | None = KEY.vkey
    anchor: str | None = None
    witnesses: list[str] = field(default_factory=list)
    strict: bool = True

    def zip(self) -> bytes:
        return self.bundle if isinstance(self.bundle, bytes) else self.bundle.zip()


@dataclass(frozen=True)
class Class:
    name: str
    what: str
    needs: str
    expected: frozenset[tuple[str, int | None]]
    build: Callable[[], Case]


CLASSES: list[Class] = []
NOTHING, PIN, OLD, SEEN, TIME = "", "the log's key", "an earlier checkpoint", "a witness", "a time stamp"


def tamper(*expected: tuple[str, int | None], needs: str = NOTHING) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def register(build: Callable[[], Any]) -> Callable[[], Any]:
        def case() -> Case:
            made = build()
            return made if isinstance(made, Case) else Case(made)

        what = " ".join((build.__doc__ or "").split())
        CLASSES.append(Class(build.__name__, what, needs, frozenset(expected), case))
        return build

    return register


def lines(changed: World, entries: list[bytes]) -> World:
    changed.lines(entries)
    return changed


# --- the list of events


@tamper(("edited", 7), ("manifest", None))
def event_edited() -> World:
    """A word of an event is changed."""
    made = world()
    return lines(made, [*made.entries[:7], made.entries[7].replace(b"anonymous", b"anonymouz"), *made.entries[8:]])


@tamper(("edited", 7))
def event_edited_and_manifest_signed_anew() -> World:
    """An event is changed by somebody with the key, who signs the manifest again."""
    return event_edited().seal()


@tamper(("removed", 7), ("manifest", None))
def event_deleted() -> World:
    """An event is left out."""
    made = world()
    return lines(made, made.entries[:7] + made.entries[8:])


@tamper(("added", 7), ("manifest", None))
def event_inserted() -> World:
    """An event that never happened is put in."""
    made = world()
    return lines(made, [*made.entries[:7], entry(999, when=at(7)), *made.entries[7:]])


@tamper(("added", 9), ("manifest", None))
def event_duplicated() -> World:
    """An event is given twice."""
    made = world()
    return lines(made, [*made.entries[:9], made.entries[3], *made.entries[9:]])


@tamper(("moved", 7), ("moved", 8), ("manifest", None))
def events_swapped() -> World:
    """Two neighbouring events change places."""
    made = world()
    return lines(made, [*made.entries[:7], made.entries[8], made.entries[7], *made.entries[9:]])


@tamper(("moved", 4), ("removed", 19), ("manifest", None))
def event_moved_and_another_deleted() -> World:
    """An event is moved far away, and the last one is left out."""
    made = world()
    rest = made.entries[:4] + made.entries[5:]
    return lines(made, [*rest[:12], made.entries[4], *rest[12:-1]])


@tamper(*(("removed", n) for n in range(15, 20)), ("manifest", None))
def list_cut_at_the_end() -> World:
    """The last five events are cut off the list."""
    made = world()
    return lines(made, made.entries[:15])


@tamper(*(("removed", n) for n in range(3)), ("manifest", None))
def list_cut_at_the_beginning() -> World:
    """The first three events are cut off."""
    made = world()
    return lines(made, made.entries[3:])


@tamper(("edited", 7), ("manifest", None))
def event_encoded_otherwise() -> World:
    """An event says the same in other bytes: a space and another order of members."""
    made = world()
    other = json.dumps(dict(reversed(json.loads(made.entries[7]).items()))).encode()
    return lines(made, [*made.entries[:7], other, *made.entries[8:]])


@tamper(*(("edited", n) for n in range(20)), ("manifest", None))
def line_ends_converted() -> World:
    """Every line ends in CRLF, as a mail gateway would have it."""
    made = world()
    made.files["events.jsonl"] = made.files["events.jsonl"].replace(b"\n", b"\r\n")
    return made


@tamper(("manifest", None), ("edited", 7))
def event_of_another_log() -> World:
    """An event is replaced by the one in the same place of another log."""
    made = world()
    return lines(made, [*made.entries[:7], entry(7, actor="somebody"), *made.entries[8:]])


# --- the tree


@tamper(("tree", 7), ("manifest", None))
def tile_edited() -> World:
    """A hash in a tile is changed; the event is intact."""
    made = world()
    tile = made.files["tile/0/000.p/20"]
    made.files["tile/0/000.p/20"] = tile[: 7 * 32] + bytes(32) + tile[8 * 32 :]
    return made


@tamper(("tree", 0), ("manifest", None))
def upper_tile_edited() -> World:
    """A hash in a tile of the second level is changed."""
    made = world(honest(300))
    made.files["tile/1/000.p/1"] = bytes(32)
    return made


@tamper(("tree", 0))
def event_and_tile_edited_together() -> World:
    """An event of the first 256 and its hash are changed together, the manifest is signed anew: its tile is named."""
    made = world(honest(300))
    changed = entry(900, when=at(7))
    tile = made.files["tile/0/000"]
    made.files["tile/0/000"] = tile[: 7 * 32] + leaf(changed) + tile[8 * 32 :]
    return lines(made, [*made.entries[:7], changed, *made.entries[8:]]).seal()


@tamper(("tree", None), ("manifest", None))
def log_rewritten_under_the_old_checkpoint() -> World:
    """Events, tiles and manifest are made anew, without the key: the checkpoint and its signature stay."""
    good, made = world(), world([beat(0), entry(800, when=at(1)), *honest()[2:]])
    for name in ("checkpoint", "manifest.json"):
        made.files[name] = good.files[name]
    return made


# --- checkpoint, manifest, files


@tamper(("bad_signature", None), ("manifest", None), ("damaged", None))
def checkpoint_size_changed() -> World:
    """The checkpoint says one event less."""
    made = world()
    made.files["checkpoint"] = made.files["checkpoint"].replace(b"\n20\n", b"\n19\n")
    return made


@tamper(("bad_signature", None), ("tree", None))
def checkpoint_root_changed() -> World:
    """The checkpoint names another root, the manifest is signed anew."""
    made = world()
    text = made.files["checkpoint"].split(b"\n")
    text[2] = b"A" * 43 + b"="
    made.files["checkpoint"] = b"\n".join(text)
    return made.seal()


@tamper(("bad_signature", None), ("manifest", None))
def signatures_swapped() -> World:
    """The checkpoint carries the signature of another checkpoint."""
    made = world()
    other = signed(KEY, honest(19)).rpartition("\n\n")[2].encode()
    made.files["checkpoint"] = made.files["checkpoint"].rpartition(b"\n\n")[0] + b"\n\n" + other
    return made


@tamper(("bad_signature", None))
def manifest_signed_with_another_key() -> World:
    """The report is replaced and the manifest signed with a key of somebody else."""
    made = world()
    made.files["report.pdf"] = b"%PDF-1.7 all is well"
    made.key = STRANGER
    return made.seal()


@tamper(("bad_signature", None))
def manifest_edited() -> World:
    """The manifest tells another time of its making."""
    made = world()
    made.files["manifest.json"] = made.files["manifest.json"].replace(b'"made_at":"2026-03-02T09:03:20', b'"made_at":"2026-03-02T09:03:21')
    return made


@tamper(("manifest", None))
def report_replaced() -> World:
    """The PDF report is another one."""
    made = world()
    made.files["report.pdf"] = b"%PDF-1.7 all is well"
    return made


@tamper(("signature", None))
def signature_added() -> World:
    """An electronic signature that the log does not know is slipped in, the manifest is signed anew."""
    made = world()
    made.files["signatures.jsonl"] = statement(7)
    return made.seal()


@tamper(("signature", 7))
def signature_left_out() -> World:
    """An electronic signature is missing from its file."""
    made = signed_record()
    made.files["signatures.jsonl"] = b""
    return made.seal()


@tamper(("signature", 7), ("signature", None))
def signature_altered() -> World:
    """The meaning of an electronic signature is changed."""
    made = signed_record()
    made.files["signatures.jsonl"] = statement(7, meaning="rejection")
    return made.seal()


@tamper(("signature", 7))
def signature_of_another_record() -> World:
    """The event of a signature is about another record than its statement."""
    return signed_record(about="r-8")


def statement(number: int, **changes: Any) -> bytes:
    value: dict[str, Any] = {
        "id": "s-1", "meaning": "approval", "record": {"id": f"r-{number}", "type": "run", "version": 1}, "sha256": "0" * 64,
        "signer": {"id": "p-1", "name": "Ada"}, "type": "signature",
    }  # fmt: skip
    return rfc8785.dumps(value | changes) + b"\n"


def signed_record(about: str = "r-7") -> World:
    """A log in which event 7 records an electronic signature."""
    entries = honest()
    digest = sha256(statement(7)[:-1]).hexdigest()
    record = {"id": about, "type": "run", "version": 1}
    entries[7] = entry(7, action="signature.created", actor="p-1", reason="approval", record=record, versions={"statement": digest})
    made = world(entries)
    made.files["signatures.jsonl"] = statement(7)
    return made.seal()


@tamper(("damaged", None))
def file_removed() -> World:
    """A file of the bundle is missing."""
    made = world()
    del made.files["tile/0/000.p/20"]
    return made


@tamper(("damaged", None))
def foreign_file_added() -> World:
    """A file that belongs to no bundle is put in."""
    made = world()
    made.files["readme.txt"] = b"trust me"
    return made


@tamper(("damaged", None))
def file_given_twice() -> bytes | Case:
    """The archive holds two files of one name: which one is read depends on the reader."""
    raw = io.BytesIO(world().zip())
    with zipfile.ZipFile(raw, "a", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo("eventt.jsonl")
        archive.writestr(info, b"x", zipfile.ZIP_DEFLATED)
    return Case(raw.getvalue().replace(b"eventt.jsonl", b"events.jsonl"))


# --- keys


@tamper(("bad_key", None), needs=PIN)
def log_signed_with_another_key() -> World:
    """Everything is made anew with another key of the same name."""
    return world(key=STRANGER)


@tamper(("bad_key", None), needs=PIN)
def key_swapped_without_a_rotation() -> World:
    """From some day on the log is signed with a new key that the old one never vouched for."""
    return world([*honest(), entry(20)], NEW_KEY)


@tamper(("bad_key", 9))
def rotation_forged() -> World:
    """The statement of a rotation is signed by the new key only."""
    made = rotated()
    statement, event = rotation(9, STRANGER, NEW_KEY)
    return made.keys(KEY, NEW_KEY, rotations=[(statement, 9, event)]).seal()


@tamper(("bad_key", 9))
def rotation_not_in_the_log() -> World:
    """Both keys signed a rotation, but the log does not record it: the old key was stolen."""
    statement, event = rotation(9, KEY, NEW_KEY)
    return world(key=NEW_KEY).keys(KEY, NEW_KEY, rotations=[(statement, 9, event)]).seal()


@tamper(("bad_key", 9))
def retired_key_used_again() -> World:
    """After a rotation somebody goes on with the old key and leaves the rotation out of the keys."""
    return world(rotated().entries, KEY)


@tamper(("bad_signature", None))
def checkpoint_from_before_the_rotation() -> Case:
    """The anchor was signed with the retired key, for a log longer than it ever signed."""
    return Case(rotated(), anchor=signed(KEY, rotated().entries[:15]))


@tamper(("bad_key", 9))
def rotation_of_another_log() -> World:
    """The statement of a rotation belongs to another log."""
    made = rotated()
    statement, event = rotation(9, OTHER_LOG, NEW_KEY)
    return made.keys(KEY, NEW_KEY, rotations=[(statement, 9, event)]).seal()


# --- time


@tamper(("silent", 12))
def log_disabled_for_a_while() -> World:
    """For an hour nothing was recorded, not even the heartbeat that was promised every minute."""
    return world([*honest(12), *(entry(n, when=at(n) + HOUR) for n in range(12, 20))])


@tamper(("silent", 19))
def log_disabled_until_the_export() -> World:
    """The log has been silent since an hour before the export."""
    return world().seal(made=at(20) + HOUR)


@tamper(("silent", 12))
def heartbeat_slowed() -> World:
    """The heartbeat is set to once a day, so that a silence would not show."""
    made = honest()
    made[12] = beat(12, every=86_400)
    return world(made)


@tamper(("clock", 12))
def clock_set_back() -> World:
    """The server's clock was set back by an hour."""
    return world([*honest(12), *(entry(n, when=at(n) - HOUR) for n in range(12, 20))])


@tamper(("clock", 15), needs=SEEN)
def event_back_dated() -> Case:
    """Events are dated before a time at which a witness saw a log without them, together with a clock that crept."""
    entries = [beat(0, every=3_600), *(entry(n) for n in range(1, 15)), *(entry(n, when=at(n)) for n in range(15, 20))]
    note = cosigned(signed(KEY, entries[:15]), WITNESS, at(15) + HOUR)
    return Case(world(entries).witnessed(note), witnesses=[WITNESS.key.vkey])


@tamper(("clock", 0), needs=SEEN)
def events_dated_in_the_future() -> Case:
    """Events claim a time after the one at which a witness saw them."""
    note = cosigned(signed(KEY, honest(15)), WITNESS, START - HOUR)
    return Case(world().witnessed(note), witnesses=[WITNESS.key.vkey])


# --- what only somebody outside can tell


def rewritten() -> list[bytes]:
    return [beat(0), entry(800, when=at(1)), *honest()[2:]]


@tamper(("forked", None), needs=OLD)
def log_rewritten_with_the_key() -> Case:
    """The owner changes an old event and signs everything anew with the right key."""
    return Case(world(rewritten()), anchor=signed(KEY, honest(10)))


@tamper(("truncated", 15), needs=OLD)
def log_cut_and_signed_anew() -> Case:
    """The owner cuts the last events off and signs the shorter log."""
    return Case(world(honest(15)), anchor=signed(KEY, honest()))


@tamper(("truncated", 10), needs=OLD)
def old_backup_replayed() -> Case:
    """An old back-up is restored and exported as if it were the log of today."""
    return Case(world(honest(10)), anchor=signed(KEY, honest(20)))


@tamper(("forked", None), needs=OLD)
def old_backup_replayed_and_grown() -> Case:
    """An old back-up is restored and grows past the size that was published."""
    entries = [*honest(10), *(entry(700 + n, when=at(n)) for n in range(10, 25))]
    return Case(world(entries), anchor=signed(KEY, honest(20)))


@tamper(("forked", None), needs=OLD)
def split_view() -> Case:
    """Two parties are shown two logs of one key; one party gives its checkpoint to the other."""
    return Case(world([*honest(19), entry(600, when=at(19))]), anchor=signed(KEY, honest(20)))


@tamper(("unwitnessed", None), needs=SEEN)
def rewritten_log_without_its_witness() -> Case:
    """The log was rewritten with the key; no witness would cosign it."""
    return Case(world(rewritten()), witnesses=[WITNESS.key.vkey])


@tamper(("forked", None), ("unwitnessed", None), needs=SEEN)
def rewritten_log_with_old_cosignatures() -> Case:
    """The log was rewritten with the key; the cosignatures of the old one are kept in the bundle."""
    note = cosigned(signed(KEY, honest(15)), WITNESS, at(15))
    return Case(world(rewritten()).witnessed(note), witnesses=[WITNESS.key.vkey])


@tamper(("truncated", 15), ("unwitnessed", None), needs=SEEN)
def cut_log_with_old_cosignatures() -> Case:
    """The log was cut below the size that its own witness cosigned."""
    note = cosigned(signed(KEY, honest(20)), WITNESS, at(20))
    return Case(world(honest(15)).witnessed(note), witnesses=[WITNESS.key.vkey])


@tamper(("bad_signature", None), ("unwitnessed", None), needs=SEEN)
def cosignature_of_another_log() -> Case:
    """The cosigned checkpoint is one of another log."""
    note = cosigned(signed(OTHER_LOG, honest(15)), WITNESS, at(15))
    return Case(world().witnessed(note), witnesses=[WITNESS.key.vkey])


@tamper(("bad_signature", None), ("unwitnessed", None), needs=SEEN)
def cosignature_moved_to_another_checkpoint() -> Case:
    """A witness's line is cut from one checkpoint and pasted under another."""
    line = cosigned(signed(KEY, honest(10)), WITNESS, at(10)).splitlines(keepends=True)[-1]
    return Case(world().witnessed(signed(KEY, honest(15)) + line), witnesses=[WITNESS.key.vkey])


@tamper(("bad_signature", None), ("unwitnessed", None), needs=SEEN)
def cosignature_with_another_time() -> Case:
    """The time in a cosignature is changed."""
    note = cosigned(signed(KEY, honest(15)), WITNESS, at(15))
    body, _, last = note.rstrip("\n").rpartition(" ")
    raw = bytearray(base64.b64decode(last))
    raw[11] ^= 1
    return Case(world().witnessed(f"{body} {base64.b64encode(raw).decode()}\n"), witnesses=[WITNESS.key.vkey])


@tamper(("unwitnessed", None), needs=SEEN)
def cosigned_by_another_witness() -> Case:
    """The bundle carries the cosignature of a witness that nobody asked for."""
    note = cosigned(signed(KEY, honest(15)), OTHER_WITNESS, at(15))
    return Case(world().witnessed(note), witnesses=[WITNESS.key.vkey])


@tamper(("bad_timestamp", None))
def time_stamp_of_another_checkpoint() -> World:
    """A time stamp is laid beside a checkpoint that it does not stamp."""
    return world().stamped(signed(KEY, honest(15)), b"stands for a response over another checkpoint")


@tamper(("forked", None), needs=TIME)
def rewritten_log_with_old_time_stamps() -> World:
    """The log was rewritten with the key; the stamped checkpoint of the old one is kept in the bundle."""
    return world(rewritten()).stamped(signed(KEY, honest(15)), b"any token")


@tamper(("bad_signature", None), needs=OLD)
def anchor_edited() -> Case:
    """The earlier checkpoint was itself altered."""
    return Case(world(), anchor=signed(KEY, honest(9)).replace("\n9\n", "\n8\n"))


@tamper(("bad_signature", None), needs=OLD)
def anchor_of_another_log() -> Case:
    """The earlier checkpoint belongs to another log."""
    return Case(world(), anchor=signed(OTHER_LOG, honest(9)))


HONEST: dict[str, Callable[[], Case]] = {
    "honest": lambda: Case(world(), anchor=signed(KEY, honest(9))),
    "honest_300": lambda: Case(world(honest(300))),
    "honest_empty": lambda: Case(world([])),
    "honest_part": lambda: Case(World(KEY, honest(), first=5, count=7)),
    "honest_rotated": lambda: Case(rotated(), anchor=signed(KEY, honest(9))),
    "honest_rotated_new_pin": lambda: Case(rotated(), vkey=NEW_KEY.vkey),
    "honest_witnessed": lambda: Case(
        world()
        .witnessed(cosigned(signed(KEY, honest(15)), WITNESS, at(15)))
        .witnessed(cosigned(signed(KEY, honest(18)), OTHER_WITNESS, at(18) + STEP)),
        witnesses=[WITNESS.key.vkey, OTHER_WITNESS.key.vkey],
    ),
    "honest_signed": lambda: Case(signed_record()),
    "honest_unordered_clocks": lambda: Case(world([beat(0), *(entry(n, when=at(n ^ 1)) for n in range(1, 21))])),
}
