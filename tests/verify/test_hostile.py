"""Archives made to break the reader: it answers with a fault, quickly, and never with a traceback."""

import io
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aliquot.ledger.note import LogKey
from aliquot_verify.faults import Fault
from aliquot_verify.verify import Report
from tests.conftest import PATIENCE
from tests.verify.conftest import Forge, event

Judge = Callable[..., Report]


def bundle(key: LogKey, count: int = 20) -> Forge:
    return Forge(key, [event(i) for i in range(count)])


def with_file(forge: Forge, name: str, data: bytes) -> bytes:
    target = io.BytesIO(forge.zip())
    with warnings.catch_warnings(), zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return target.getvalue()


@pytest.mark.parametrize("raw", [b"", b"PK", b"not a zip", b"PK\x05\x06" + bytes(18), b"PK\x03\x04" * 1_000, bytes(100_000)])
def test_what_is_no_archive(judge: Judge, raw: bytes) -> None:
    assert judge(raw).exit_code == Fault.DAMAGED == 10


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_a_cut_archive(judge: Judge, key: LogKey, part: float) -> None:
    raw = bundle(key).zip()
    assert judge(raw[: int(len(raw) * part)]).exit_code == Fault.DAMAGED


@pytest.mark.parametrize(
    "name",
    [
        "../events.jsonl",
        "/etc/passwd", "C:\\x", "tile/../../x", "tile/0/1", "tile/0/000/", "events.jsonl/",
        "EVENTS.JSONL", "tile/0/000.p/999/x",
        "checkpoint\x00.txt", "ｍanifest.json", "x" * 60_000, "tile/99/x001/x002/x003/x004/x005/x006/007",
    ],
)  # fmt: skip
def test_a_file_that_does_not_belong(judge: Judge, key: LogKey, name: str) -> None:
    assert judge(with_file(bundle(key), name, b"x")).exit_code == Fault.DAMAGED


@pytest.mark.parametrize("name", ["events.jsonl", "checkpoint", "manifest.json", "tile/0/000.p/20"])
def test_a_name_given_twice(judge: Judge, key: LogKey, name: str) -> None:
    assert judge(with_file(bundle(key), name, b"x")).exit_code == Fault.DAMAGED


@pytest.mark.parametrize(
    "name", ["checkpoint", "keys.json", "events.jsonl", "report.pdf", "signatures.jsonl", "manifest.json", "tile/0/000.p/20"]
)
def test_a_missing_file(judge: Judge, key: LogKey, name: str) -> None:
    forge = bundle(key)
    del forge.files[name]
    report = judge(forge)
    assert report.exit_code == Fault.DAMAGED
    assert report.findings[-1].file == name


@pytest.mark.parametrize("name", ["checkpoint", "keys.json", "tile/0/000.p/20"])
def test_a_file_far_too_large(judge: Judge, key: LogKey, name: str) -> None:
    forge = bundle(key)
    forge.files[name] = bytes(101_000_000)
    raw = forge.zip()
    assert len(raw) < 1_000_000
    assert judge(raw).exit_code == Fault.DAMAGED


@pytest.mark.parametrize("filling", [b"\x00", b"\n", b"a\n", b"{" * 1_000])
def test_a_bomb_of_events_is_read_no_further_than_it_can_be_true(judge: Judge, key: LogKey, filling: bytes) -> None:
    forge = bundle(key)
    forge.files["events.jsonl"] = filling * (60_000_000 // len(filling))
    raw = forge.zip()
    forge.files.clear()
    tracemalloc.start()
    started = time.monotonic()
    report = judge(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.exit_code in {Fault.DAMAGED, Fault.ADDED}
    assert peak < 100_000_000
    assert time.monotonic() - started < 60  # a bound against hanging, not a measurement


def test_an_archive_that_lies_about_sizes(judge: Judge, key: LogKey) -> None:
    """The directory says 10 bytes where the stream holds 5,000."""
    forge = bundle(key)
    forge.files["report.pdf"] = b"x" * 5_000
    raw = bytearray(forge.zip())
    at = raw.rindex(b"report.pdf") - 46
    assert raw[at : at + 4] == b"PK\x01\x02"
    raw[at + 24 : at + 28] = struct.pack("<I", 10)
    assert judge(bytes(raw)).exit_code == Fault.DAMAGED


@pytest.mark.parametrize(("offset", "value"), [(8, 1), (10, 99), (10, 12), (10, 14)])
def test_encrypted_or_strangely_packed_files(judge: Judge, key: LogKey, offset: int, value: int) -> None:
    raw = bytearray(bundle(key).zip())
    at = raw.rindex(b"events.jsonl") - 46
    raw[at + offset : at + offset + 2] = struct.pack("<H", value)
    assert judge(bytes(raw)).exit_code == Fault.DAMAGED


@pytest.mark.parametrize(
    "manifest",
    [
        b"", b"null", b"[]", b"{}", b"{" * 100_000, b'{"v":1}', b'{"v":"1"}', b"[" * 100_000 + b"]" * 100_000, b'{"v":1e999}', b"\xff",
        b'{"v":1,"v":1}', b'{"v":' + b"9" * 10_000 + b"}", b'{"files":[],"events":[],"origin":1,"size":-1,"v":1}',
    ],
)  # fmt: skip
def test_malformed_manifests(judge: Judge, key: LogKey, manifest: bytes) -> None:
    forge = bundle(key)
    forge.files["manifest.json"] = manifest
    assert judge(forge).exit_code in {Fault.DAMAGED, Fault.UNSUPPORTED}


@pytest.mark.parametrize(
    "changes",
    [
        {"events": {"first": 1, "count": 20}},
        {"events": {"first": -1, "count": 2}},
        {"events": {"first": 0, "count": True}},
        {"size": 2**52},
        {"v": 2},
    ],
)
def test_signed_manifests_that_cannot_be_true(judge: Judge, key: LogKey, changes: dict[str, object]) -> None:
    forge = bundle(key)
    forge.sign_manifest(**{"size": 20, "events": {"first": 0, "count": 20}} | changes)
    assert judge(forge).exit_code in {Fault.DAMAGED, Fault.UNSUPPORTED}


@pytest.mark.parametrize(
    "keys", [b"", b"{}", b"[]", b'{"vkeys":[]}', b'{"vkeys":["a","b"]}', b'{"vkeys":[1]}', b'{"vkeys":["x"]}', b"[" * 90_000]
)
def test_malformed_keys(judge: Judge, key: LogKey, keys: bytes) -> None:
    forge = bundle(key)
    forge.files["keys.json"] = keys
    assert judge(forge).exit_code in {Fault.DAMAGED, Fault.BAD_KEY}


@pytest.mark.parametrize(
    "line", [b"", b"null", b'{"id":', b'{"id":{}}', b"[" * 30_000, b"\xff\xfe", b'{"id":"\\u001b[31m' + b"x" * 3_000 + b'"}', b"x" * 32_768]
)
def test_strange_lines_are_edited_events(judge: Judge, key: LogKey, line: bytes) -> None:
    forge = bundle(key)
    forge.lines([*forge.entries[:7], line, *forge.entries[8:]])
    report = judge(forge)
    assert (report.findings[0].fault, report.findings[0].seq) == (Fault.EDITED, 7)
    assert all("\x1b" not in f.text and len(f.text) < 300 for f in report.findings)


def test_a_line_longer_than_an_event(judge: Judge, key: LogKey) -> None:
    forge = bundle(key)
    forge.lines([*forge.entries[:7], b"x" * 32_769, *forge.entries[8:]])
    assert judge(forge).exit_code == Fault.DAMAGED


@given(data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_anywhere_in_the_archive_is_answered(judge: Judge, key: LogKey, data: st.DataObject) -> None:
    forge = bundle(key)
    raw = bytearray(forge.zip())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    report = judge(bytes(raw))
    if report.ok:  # only what carries no content was hit: times, attributes, unused fields
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            assert {name: archive.read(name) for name in archive.namelist()} == forge.files


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """As installed, without network or database."""
    program = Path(sys.executable).with_name("aliquot-verify")
    return subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE)


def test_the_command(key: LogKey, tmp_path: Path) -> None:
    forge = bundle(key)
    good, bad = tmp_path / "good.zip", tmp_path / "bad.zip"
    good.write_bytes(forge.zip())
    anchor = tmp_path / "anchor"
    anchor.write_bytes(bundle(key, 5).files["checkpoint"])
    done = command(str(good))
    assert (done.returncode, done.stderr) == (0, "")
    assert "key not pinned" in done.stdout
    assert done.stdout.endswith("VERIFIED\n")
    done = command(str(good), "--vkey", key.vkey, "--anchor", str(anchor))
    assert done.returncode == 0
    assert "key not pinned" not in done.stdout
    assert "continues the anchor at 5 events" in done.stdout
    forge.lines([event(77), *forge.entries[1:]])
    bad.write_bytes(forge.zip())
    done = command(str(bad), "--vkey", key.vkey)
    assert done.returncode == 20
    assert "event 0 (01900000-0000-7000-8000-00000000004d) was edited" in done.stdout
    assert "NOT VERIFIED (exit code 20)" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["/nowhere.zip"], ["--frobnicate"], ["a", "b"]])
def test_wrong_usage(arguments: list[str]) -> None:
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_the_verifier_imports_nothing_of_aliquot() -> None:
    program = "import sys, aliquot_verify.cli; sys.exit(any(m == 'aliquot' or m.startswith('aliquot.') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
