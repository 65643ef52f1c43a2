"""Every class of tampering has its exit code and names the event; what is untouched raises no alarm."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aliquot.ledger.note import LogKey, TreeHead, checkpoint_text
from aliquot_verify.faults import Fault
from aliquot_verify.merkle import leaf
from aliquot_verify.verify import Report, as_json
from tests.verify.conftest import ORIGIN, Forge, event, event_id

Judge = Callable[..., Report]


def bundle(key: LogKey, count: int = 600) -> Forge:
    return Forge(key, [event(i) for i in range(count)])


def named(report: Report, fault: Fault) -> list[tuple[int | None, str | None]]:
    return [(f.seq, f.id) for f in report.findings if f.fault is fault]


def faults(report: Report) -> set[Fault]:
    return {f.fault for f in report.findings}


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 512, 600, 65_537])
def test_an_untouched_bundle_verifies(judge: Judge, key: LogKey, count: int) -> None:
    report = judge(bundle(key, count))
    assert report.findings == []
    assert (report.exit_code, report.size, report.count, report.pinned) == (0, count, count, True)


@pytest.mark.parametrize(("first", "count"), [(0, 10), (200, 300), (255, 1), (599, 1), (7, 0)])
def test_an_untouched_part_verifies(judge: Judge, key: LogKey, first: int, count: int) -> None:
    report = judge(Forge(key, [event(i) for i in range(600)], first=first, count=count))
    assert (report.findings, report.first, report.count) == ([], first, count)


@pytest.mark.parametrize("seq", [0, 5, 255, 256, 599])
def test_an_edited_event(judge: Judge, key: LogKey, seq: int) -> None:
    forge = bundle(key)
    forge.lines([e if i != seq else e.replace(b"started", b"stopped") for i, e in enumerate(forge.entries)])
    report = judge(forge)
    assert named(report, Fault.EDITED) == [(seq, event_id(seq))]
    assert report.exit_code == Fault.EDITED == 20
    assert faults(report) == {Fault.EDITED, Fault.MANIFEST}


@pytest.mark.parametrize("seq", [0, 5, 256, 599])
def test_a_removed_event(judge: Judge, key: LogKey, seq: int) -> None:
    forge = bundle(key)
    forge.lines(forge.entries[:seq] + forge.entries[seq + 1 :])
    report = judge(forge)
    assert named(report, Fault.REMOVED) == [(seq, None)]
    assert faults(report) == {Fault.REMOVED, Fault.MANIFEST}
    assert report.exit_code == 21


@pytest.mark.parametrize("seq", [0, 5, 256, 600])
def test_an_added_event(judge: Judge, key: LogKey, seq: int) -> None:
    forge = bundle(key)
    forge.lines([*forge.entries[:seq], event(9_999), *forge.entries[seq:]])
    report = judge(forge)
    assert named(report, Fault.ADDED) == [(seq, event_id(9_999))]
    assert faults(report) == {Fault.ADDED, Fault.MANIFEST}
    assert report.exit_code == 22


def test_a_repeated_event_is_an_addition(judge: Judge, key: LogKey) -> None:
    forge = bundle(key)
    forge.lines([*forge.entries[:9], event(3), *forge.entries[9:]])
    assert named(judge(forge), Fault.ADDED) == [(9, event_id(3))]


@pytest.mark.parametrize(("a", "b"), [(0, 1), (3, 7), (255, 256), (0, 599)])
def test_swapped_events(judge: Judge, key: LogKey, a: int, b: int) -> None:
    forge = bundle(key)
    lines = list(forge.entries)
    lines[a], lines[b] = lines[b], lines[a]
    forge.lines(lines)
    report = judge(forge)
    assert named(report, Fault.MOVED) == [(a, event_id(a)), (b, event_id(b))]
    assert report.exit_code == 23


def test_a_moved_event(judge: Judge, key: LogKey) -> None:
    forge = bundle(key)
    lines = [e for i, e in enumerate(forge.entries) if i != 10]
    forge.lines([*lines[:400], forge.entries[10], *lines[400:-1]])  # and the last one is gone: the order is judged apart from it
    report = judge(forge)
    assert named(report, Fault.MOVED) == [(10, event_id(10))]
    assert named(report, Fault.REMOVED) == [(599, None)]


def test_a_reversed_log_is_named_up_to_a_hundred(judge: Judge, key: LogKey) -> None:
    forge = bundle(key)
    forge.lines(forge.entries[::-1])
    report = judge(forge)
    assert len(named(report, Fault.MOVED)) == 100
    assert report.unnamed == 500


def test_several_changes_at_once(judge: Judge, key: LogKey) -> None:
    forge = bundle(key)
    lines = list(forge.entries)
    lines[500] = event(7_777)
    del lines[100]
    lines.insert(50, event(8_888))
    forge.lines(lines)
    report = judge(forge)
    found = {fault: named(report, fault) for fault in (Fault.EDITED, Fault.REMOVED, Fault.ADDED, Fault.MOVED)}
    assert found == {
        Fault.EDITED: [(500, event_id(7_777))], Fault.REMOVED: [(100, None)], Fault.ADDED: [(50, event_id(8_888))], Fault.MOVED: []
    }  # fmt: skip


@pytest.mark.parametrize("kept", [0, 10, 599])
def test_a_truncated_list(judge: Judge, key: LogKey, kept: int) -> None:
    forge = bundle(key)
    forge.lines(forge.entries[:kept])
    report = judge(forge)
    assert [seq for seq, _ in named(report, Fault.REMOVED)] == list(range(kept, 600))[:100]
    assert report.unnamed == max(0, 500 - kept)


@pytest.mark.rule("11.10(a)")
def test_a_log_truncated_by_the_holder_of_the_key_needs_the_anchor(judge: Judge, key: LogKey, tmp_path: Path) -> None:
    anchor = tmp_path / "anchor"
    anchor.write_bytes(bundle(key, 600).files["checkpoint"])
    shorter = bundle(key, 590)
    assert judge(shorter).exit_code == 0
    report = judge(shorter, anchor=anchor)
    assert report.exit_code == Fault.TRUNCATED == 30
    assert named(report, Fault.TRUNCATED) == [(590, None)]


@pytest.mark.parametrize("anchored", [1, 100, 256, 599, 600])
def test_a_log_rewritten_by_the_holder_of_the_key_needs_the_anchor(judge: Judge, key: LogKey, tmp_path: Path, anchored: int) -> None:
    anchor = tmp_path / "anchor"
    anchor.write_bytes(bundle(key, anchored).files["checkpoint"])
    assert judge(bundle(key), anchor=anchor).findings == []
    rewritten = Forge(key, [event(10_000), *(event(i) for i in range(1, 600))])
    assert judge(rewritten).exit_code == 0
    assert judge(rewritten, anchor=anchor).exit_code == Fault.FORKED == 31


def test_an_edited_anchor(judge: Judge, key: LogKey, other_key: LogKey, tmp_path: Path) -> None:
    anchor = tmp_path / "anchor"
    for content in (
        bundle(other_key, 9).files["checkpoint"],
        bundle(key, 9).files["checkpoint"].replace(b"9\n", b"8\n"),
        b"",
        b"\xff" * 200_000,
    ):
        anchor.write_bytes(content)
        assert judge(bundle(key), anchor=anchor).exit_code == Fault.BAD_SIGNATURE


def test_an_edited_checkpoint(judge: Judge, key: LogKey) -> None:
    forge = bundle(key)
    forge.files["checkpoint"] = forge.files["checkpoint"].replace(b"600", b"599")
    report = judge(forge)
    assert report.exit_code in {Fault.BAD_SIGNATURE, Fault.DAMAGED}
    forge = bundle(key)
    head = forge.files["checkpoint"].split(b"\n")
    head[2] = base64.b64encode(bytes(32))
    forge.files["checkpoint"] = b"\n".join(head)
    forge.sign_manifest()
    assert judge(forge).exit_code == Fault.BAD_SIGNATURE == 12


def test_a_checkpoint_that_claims_a_huge_log(judge: Judge, key: LogKey) -> None:
    forge = bundle(key, 10)
    forge.files["checkpoint"] = key.sign(checkpoint_text(TreeHead(ORIGIN, 10**14, bytes(32)))).encode()
    assert judge(forge).exit_code == Fault.DAMAGED


def test_a_log_signed_with_another_key(judge: Judge, other_key: LogKey) -> None:
    report = judge(bundle(other_key))
    assert report.exit_code == Fault.BAD_KEY == 11
    assert judge(bundle(other_key), vkey=None).exit_code == 0  # nothing to compare with: "key not pinned"


def test_a_checkpoint_signed_with_another_key(judge: Judge, key: LogKey, other_key: LogKey) -> None:
    forge = bundle(key)
    forge.files["checkpoint"] = bundle(other_key).files["checkpoint"]
    forge.sign_manifest()
    assert judge(forge).exit_code == Fault.BAD_SIGNATURE


@pytest.mark.parametrize(
    "vkey", ["", "x", "aliquot/test+00000000+AAAA", "a b+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "ü" * 50]
)
def test_a_malformed_pinned_key(judge: Judge, key: LogKey, vkey: str) -> None:
    assert judge(bundle(key, 3), vkey=vkey).exit_code == Fault.BAD_KEY


def test_an_edited_manifest(judge: Judge, key: LogKey, other_key: LogKey) -> None:
    forge = bundle(key)
    forge.files["manifest.json"] = forge.files["manifest.json"].replace(b"2026-03-02", b"2025-03-02")
    report = judge(forge)
    assert faults(report) == {Fault.BAD_SIGNATURE}
    assert [f.file for f in report.findings] == ["manifest.json"]
    forge.files["manifest.json"] = bundle(other_key).files["manifest.json"]
    assert judge(forge).exit_code == Fault.BAD_SIGNATURE


def test_a_manifest_of_another_bundle_of_the_same_log(judge: Judge, key: LogKey) -> None:
    forge = bundle(key)
    forge.files["manifest.json"] = bundle(key, 601).files["manifest.json"]
    assert not judge(forge).ok


def test_a_replaced_report(judge: Judge, key: LogKey) -> None:
    forge = bundle(key)
    forge.files["report.pdf"] = b"%PDF-1.7 all is well"
    report = judge(forge)
    assert report.exit_code == Fault.MANIFEST == 40
    assert [f.file for f in report.findings] == ["report.pdf"]


@pytest.mark.parametrize(("tile", "seq"), [("tile/0/000", 7), ("tile/0/001", 300), ("tile/0/002.p/88", 520)])
def test_an_edited_leaf_tile_is_told_from_an_edited_event(judge: Judge, key: LogKey, tile: str, seq: int) -> None:
    forge = bundle(key)
    at = seq % 256 * 32
    forge.files[tile] = forge.files[tile][:at] + bytes(32) + forge.files[tile][at + 32 :]
    report = judge(forge)
    assert named(report, Fault.TREE) == [(seq, None)]
    assert faults(report) == {Fault.TREE, Fault.MANIFEST}
    assert report.exit_code == 24


@pytest.mark.parametrize("n", [0, 1])
def test_an_edited_upper_tile(judge: Judge, key: LogKey, n: int) -> None:
    forge = bundle(key)
    name = "tile/1/000.p/2"
    forge.files[name] = forge.files[name][: n * 32] + bytes(32) + forge.files[name][n * 32 + 32 :]
    report = judge(forge)
    assert named(report, Fault.TREE) == [(256 * n, None)]
    assert faults(report) == {Fault.TREE, Fault.MANIFEST}


def test_an_event_edited_together_with_its_tile(judge: Judge, key: LogKey) -> None:
    """The hash of one event among 256 cannot be had back: the tile's range is named."""
    forge = bundle(key)
    changed = event(5_000)
    forge.lines([e if i != 300 else changed for i, e in enumerate(forge.entries)])
    tile = forge.files["tile/0/001"]
    forge.files["tile/0/001"] = tile[: 44 * 32] + leaf(changed) + tile[45 * 32 :]
    report = judge(forge)
    assert named(report, Fault.TREE) == [(256, None)]
    assert "events 256 to 511" in report.findings[0].text


def test_a_whole_log_rewritten_without_the_key(judge: Judge, key: LogKey) -> None:
    forge = bundle(key)
    signed = forge.files["checkpoint"]
    rewritten = Forge(key, [event(10_000), *forge.entries[1:]])
    rewritten.files["checkpoint"] = signed
    rewritten.files["manifest.json"] = forge.files["manifest.json"]
    report = judge(rewritten)
    assert report.exit_code == Fault.TREE
    assert Fault.MANIFEST in faults(report)


def test_electronic_signatures_the_log_does_not_know_are_not_passed(judge: Judge, key: LogKey) -> None:
    forge = bundle(key, 3)
    forge.files["signatures.jsonl"] = b"{}\n"
    forge.sign_manifest()
    assert judge(forge).exit_code == Fault.SIGNATURE == 41


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.rule("11.10(a)", "11.30")
def test_no_single_byte_of_any_file_can_be_changed(judge: Judge, key: LogKey, data: st.DataObject) -> None:
    forge = bundle(key, 300)
    name = data.draw(st.sampled_from(sorted(n for n, content in forge.files.items() if content)))
    content = bytearray(forge.files[name])
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    forge.files[name] = bytes(content)
    report = judge(forge)
    assert not report.ok
    if name == "events.jsonl" and content[at] != 10 and forge.files[name].count(b"\n") == 300:
        seq = bytes(content[:at]).count(b"\n")
        assert [f.seq for f in report.findings if f.fault is Fault.EDITED] == [seq]


@given(data=st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_said_to_have_changed_explains_the_list(judge: Judge, key: LogKey, data: st.DataObject) -> None:
    """Any shuffle, removal, addition or edit: events not named are those that are still there in their order."""
    forge = bundle(key, 40)
    numbers = list(range(40))
    for step in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(numbers) - 1))
        kind = data.draw(st.sampled_from(["edit", "remove", "add", "move"]))
        if kind == "edit":
            numbers[at] = 1_000 + step
        elif kind == "add":
            numbers.insert(at, 2_000 + step)
        elif kind == "move":
            numbers.insert(data.draw(st.integers(0, len(numbers) - 1)), numbers.pop(at))
        elif len(numbers) > 1:
            del numbers[at]
    forge.lines([event(n) for n in numbers])
    report = judge(forge)
    if numbers == list(range(40)):
        assert report.ok
        return
    gone = {f.seq for f in report.findings if f.fault in {Fault.EDITED, Fault.REMOVED}}
    assert gone == set(range(40)) - set(numbers)
    strangers = sorted(f.id or "" for f in report.findings if f.fault in {Fault.EDITED, Fault.ADDED})
    assert strangers == sorted(event_id(n) for n in numbers if n >= 40)
    moved = {f.seq for f in report.findings if f.fault is Fault.MOVED}
    rest = [n for n in numbers if n < 40 and n not in moved]
    assert rest == sorted(rest)


def test_the_json_of_a_report_can_be_read(judge: Judge, key: LogKey) -> None:
    forge = bundle(key, 3)
    forge.lines(forge.entries[:2])
    value = json.loads(json.dumps(as_json(judge(forge))))
    assert value["findings"][0] == {
        "fault": "removed", "seq": 2, "id": None, "file": "events.jsonl", "text": f"event 2 was removed (about after {event_id(1)})"
    }  # fmt: skip
