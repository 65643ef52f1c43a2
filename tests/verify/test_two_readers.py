"""What two readers could take differently: both verifiers refuse it, or judge it alike. Found by fuzzing them against each other; all of it
is signed anew, as somebody with the log's key could."""

import base64
import io
import struct
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import rfc8785

from aliquot_verify.witness import Refused
from aliquot_verify.witness_http import _parse
from tests.faults.tamper.classes import Case, signed_record, statement
from tests.faults.tamper.judging import by_javascript, by_python, laid_out
from tests.faults.tamper.world import KEY, WITNESS, World, at, cosigned, entry, honest, rotated, signed, world

ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group of Ed25519: S and S + ORDER would both sign, for a verifier that does not look."""


def text(name: str, change: Callable[[str], str], made: World | None = None) -> World:
    """A file of the bundle as changed text, in a manifest that names it."""
    made = made or witnessed()
    made.files[name] = change(made.files[name].decode()).encode("utf-8", "surrogatepass")
    if name != "manifest.json":
        made.sign_manifest(made_at="2026-03-02T09:03:20.000Z")
    return made


def witnessed() -> World:
    return world().witnessed(cosigned(signed(KEY, honest(15)), WITNESS, at(15)))


def raw(name: str, change: Callable[[bytes], bytes]) -> World:
    made = witnessed()
    made.files[name] = change(made.files[name])
    made.sign_manifest(made_at="2026-03-02T09:03:20.000Z")
    return made


def signature_line(change: Callable[[bytes], bytes]) -> World:
    """The checkpoint with another encoding of its signature."""
    made = world()
    head, _, encoded = made.files["checkpoint"].decode().rstrip("\n").rpartition(" ")
    made.files["checkpoint"] = f"{head} {base64.b64encode(change(base64.b64decode(encoded))).decode()}\n".encode()
    return made.seal()


def malleable(signature: bytes) -> bytes:
    return signature[:36] + (int.from_bytes(signature[36:], "little") + ORDER).to_bytes(32, "little")


def signature(line: bytes, record: object = None, **said: object) -> World:
    """A log whose event 7 speaks of `line` as an electronic signature."""
    entries = honest()
    about = record if record is not None else {"id": "r-7", "type": "run", "version": 1}
    values = {"action": "signature.created", "actor": "p-1", "reason": "approval", "record": about}
    entries[7] = entry(7, versions={"statement": sha256(line).hexdigest()}, **values | said)
    made = world(entries)
    made.files["signatures.jsonl"] = line + b"\n"
    return made.seal()


def revoked_without_agreement() -> World:
    """A revocation of a statement that its own event contradicts: the reader must not stumble over members that are not there."""
    line = rfc8785.dumps({"type": "signature"})
    made = signature(line)
    back = rfc8785.dumps(
        {"id": "v-1", "record": {"id": "r-7", "type": "run", "version": 1}, "signature": "s-1", "signer": {"id": "p-1"},
         "statement": sha256(line).hexdigest(), "type": "revocation"}
    )  # fmt: skip
    about = {"id": "r-7", "type": "run", "version": 1}
    event = entry(8, action="signature.revoked", actor="p-1", record=about, versions={"statement": sha256(back).hexdigest()})
    entries = [*made.entries[:8], event, *made.entries[9:]]
    again = world(entries)
    again.files["signatures.jsonl"] = line + b"\n" + back + b"\n"
    return again.seal()


def repacked(change: Callable[[bytearray], bytes | bytearray]) -> Case:
    return Case(bytes(change(bytearray(world().zip()))))


def central(archive: bytearray, name: bytes) -> int:
    return archive.rindex(name) - 46


def patched(offset: int, value: bytes, name: bytes = b"report.pdf") -> Callable[[bytearray], bytearray]:
    def change(archive: bytearray) -> bytearray:
        place = central(archive, name) + offset
        archive[place : place + len(value)] = value
        return archive

    return change


def overlapping(archive: bytearray) -> bytearray:
    """Two names over the same bytes: how an archive of some kilobytes unpacks to petabytes."""
    one, other = central(archive, b"report.pdf"), central(archive, b"checkpoint")
    archive[one + 42 : one + 46] = archive[other + 42 : other + 46]
    return archive


def after_the_data(archive: bytearray) -> bytearray:
    """The packed size takes in two bytes that belong to nobody."""
    source, target = zipfile.ZipFile(io.BytesIO(archive)), io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        for name in source.namelist():
            made.writestr(name, source.read(name))
    found = bytearray(target.getvalue())
    place = central(found, b"report.pdf")
    packed = struct.unpack_from("<L", found, place + 20)[0]
    found[place + 20 : place + 24] = struct.pack("<L", packed - 1)
    return found


UNICODE_PATH = struct.pack("<2HBL", 0x7075, 17, 1, 0) + b"events.jsonl"

ALIKE: dict[str, tuple[int, Callable[[], World | Case]]] = {
    # one JSON text, one meaning
    "byte order mark": (10, lambda: raw("keys.json", lambda data: b"\xef\xbb\xbf" + data)),
    "utf-16": (10, lambda: raw("keys.json", lambda data: data.decode().encode("utf-16"))),
    "space behind": (10, lambda: raw("anchors.json", lambda data: data + b" ")),
    "not a number": (10, lambda: text("keys.json", lambda t: '{"a":NaN,' + t[1:])),
    "endless": (10, lambda: text("keys.json", lambda t: '{"a":1E400,' + t[1:])),
    "number too large": (10, lambda: text("keys.json", lambda t: '{"a":9007199254740993,' + t[1:])),
    "fraction of nothing": (10, lambda: text("keys.json", lambda t: t.replace('"seq":9', '"seq":9.0'), rotated())),
    "member twice": (10, lambda: text("keys.json", lambda t: '{"vkeys":["x"],' + t[1:])),
    "nested deeply": (10, lambda: text("keys.json", lambda t: '{"a":' + "[" * 900 + "]" * 900 + "," + t[1:])),
    "lone surrogate": (10, lambda: text("keys.json", lambda t: '{"a":"\\ud800",' + t[1:])),
    "member without ascii": (10, lambda: text("keys.json", lambda t: '{"\uffff":1,"\U0001f600":2,' + t[1:])),
    "yes for one": (50, lambda: text("anchors.json", lambda t: t.replace('"v":1', '"v":true'))),
    "no list": (10, lambda: text("anchors.json", lambda t: t.replace('"timestamps":[]', '"timestamps":{}'))),
    "prototype": (0, lambda: text("keys.json", lambda t: '{"__proto__":{},' + t[1:])),
    # one encoding of a key and of a signature
    "signature malleable": (12, lambda: signature_line(malleable)),
    "signature longer": (12, lambda: signature_line(lambda s: s + b"\0")),
    "spare bits": (10, lambda: text("checkpoint", lambda t: t[:-3] + chr(ord(t[-3]) + 1) + "=\n" if t.endswith("=\n") else t[:-2] + "=\n")),
    "space in the key's id": (11, lambda: Case(world(), vkey=KEY.vkey.replace("+", "+ ", 1))),
    "key in capitals": (11, lambda: Case(world(), vkey=KEY.vkey.replace("48c591a4", "48C591A4"))),
    "key behind a mark": (11, lambda: Case(world(), vkey="\ufeff" + KEY.vkey)),
    "witness behind a separator": (11, lambda: Case(witnessed(), witnesses=["\x1f" + WITNESS.key.vkey])),
    # signatures of people
    "statement not canonical": (41, lambda: signature(statement(7)[:-1] + b" ")),
    "statement with a member twice": (41, lambda: signature(b'{"meaning":"rejection",' + statement(7)[1:-1])),
    "version yes": (41, lambda: signature(statement(7)[:-1], {"id": "r-7", "type": "run", "version": True})),
    "meaning a list": (41, lambda: signature(statement(7, meaning=[])[:-1], reason=[])),
    "revoked without agreement": (41, revoked_without_agreement),
    # times
    "a thirtieth of february": (0, lambda: world([*honest(7), entry(7, at="2026-02-30T09:00:00.000Z"), *honest()[8:]])),
    "midnight as 24": (0, lambda: world([*honest(7), entry(7, at="2026-03-01T24:00:00.000Z"), *honest()[8:]])),
    # the archive
    "something before": (10, lambda: repacked(lambda a: b"#!/bin/sh\n" + a)),
    "something behind": (10, lambda: repacked(lambda a: a + b"\0")),
    "an archive behind": (10, lambda: repacked(lambda a: a + a)),
    "comment": (10, lambda: repacked(lambda a: a[:-2] + b"\x05\0hello")),
    "files overlap": (10, lambda: repacked(overlapping)),
    "data ends early": (10, lambda: repacked(after_the_data)),
    "another name inside": (10, lambda: repacked(lambda a: a.replace(b"report.pdf", b"REPORT.PDF", 1))),
    "other flags": (10, lambda: repacked(patched(8, struct.pack("<H", 0x8000)))),
    "checksum": (10, lambda: repacked(patched(16, bytes(4)))),
    "name in a field": (0, lambda: repacked(lambda a: field(a, UNICODE_PATH))),
    "field cut": (10, lambda: repacked(lambda a: field(a, struct.pack("<2H", 9, 500)))),
    "count": (10, lambda: repacked(lambda a: a[:-12] + struct.pack("<H", 3) + a[-10:])),
}  # fmt: skip


def field(archive: bytearray, extra: bytes) -> bytearray:
    """An extra field in the directory's entry of the report, its name in another way (Info-ZIP Unicode Path) among them."""
    place = central(archive, b"report.pdf")
    archive[place + 30 : place + 32] = struct.pack("<H", len(extra))
    archive[place + 56 : place + 56] = extra
    end = archive.rindex(b"PK\x05\x06")
    size = struct.unpack_from("<L", archive, end + 12)[0]
    archive[end + 12 : end + 16] = struct.pack("<L", size + len(extra))
    return archive


def test_both_verifiers_take_strange_bundles_alike(tmp_path: Path) -> None:
    cases = []
    for number, (_, build) in enumerate(ALIKE.values()):
        made = build()
        cases.append(laid_out(made if isinstance(made, Case) else Case(made, strict=False), f"c{number}", tmp_path))
    by_node = by_javascript(cases, tmp_path)
    judged = {name: (by_python(Path(case["bundle"]), case), other) for name, case, other in zip(ALIKE, cases, by_node, strict=True)}
    assert {name: pair for name, pair in judged.items() if pair[0] != pair[1]} == {}
    assert {name: pair[0]["exit_code"] for name, pair in judged.items()} == {name: code for name, (code, _) in ALIKE.items()}


@pytest.mark.parametrize("line", [base64.b64encode(bytes(31)), base64.b64encode(bytes(64)), b"A" * 42 + b"B=", b"\xff"])
def test_a_witness_takes_hashes_and_nothing_else_as_a_proof(line: bytes) -> None:
    """Pieces of other lengths would let one node be read as another."""
    note = signed(KEY, honest(3)).encode()
    assert len(_parse(b"old 2\n" + base64.b64encode(bytes(32)) + b"\n\n" + note)[1]) == 1
    with pytest.raises(Refused, match="malformed"):
        _parse(b"old 2\n" + line + b"\n\n" + note)


@pytest.mark.parametrize("name", ["events.jsonl", "report.pdf"])
def test_a_bundle_packed_anew_by_an_ordinary_program_is_read(tmp_path: Path, name: str) -> None:
    """Another order, everything packed, one file stored: as unpacking and packing leaves it."""
    source, target = zipfile.ZipFile(io.BytesIO(signed_record().zip())), tmp_path / "again.zip"
    with zipfile.ZipFile(target, "w") as made:
        for one in sorted(source.namelist(), reverse=True):
            made.writestr(one, source.read(one), zipfile.ZIP_STORED if one == name else zipfile.ZIP_DEFLATED)
    case = {"bundle": str(target), "vkey": KEY.vkey, "anchor": None, "witnesses": [], "strict": True}
    assert by_python(target, case) == by_javascript([case], tmp_path)[0]
    assert by_python(target, case)["ok"]
