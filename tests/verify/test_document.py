"""`aliquot-verify document`: a signed report holds, or what is wrong with it is said; nothing hostile breaks the verifier."""

import base64
import copy
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from aliquot.ledger.documents import signed_document
from aliquot.ledger.note import LogKey, TreeHead, checkpoint_text
from aliquot_verify.cli import main
from aliquot_verify.document import judge

KEY, OTHER = (LogKey(f"aliquot/000000000000000{n}", bytes([n]) * 32) for n in (7, 8))


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def a_report() -> dict[str, Any]:
    """With proofs of two events in a log of three, written by hand."""
    a, b, c = (sha256(b"\x00" + event).digest() for event in (b"first", b"second", b"third"))
    root = node(node(a, b), c)
    note = KEY.sign(checkpoint_text(TreeHead(KEY.origin, 3, root)))
    paths = ((0, a, [b, c]), (2, c, [node(a, b)]))
    proofs = [
        {
            "event_id": str(seq), "seq": seq, "leaf_hash": base64.b64encode(leaf).decode(),
            "path": [base64.b64encode(part).decode() for part in path],
        }
        for seq, leaf, path in paths
    ]  # fmt: skip
    log = {"origin": KEY.origin, "size": 3, "root_hash": root.hex(), "checkpoint": note, "vkey": KEY.vkey}
    return {"title": "Compliance report", "generated_by": "Zoë Ångström \u2028 \u007f \t", "log": log, "proofs": proofs}


def faults(raw: bytes, vkey: str | None = None) -> list[str]:
    return [finding.fault.name for finding in judge(raw, vkey).findings]


@pytest.mark.rule("11.10(a)", "11.30")
def test_every_changed_byte_of_a_report_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = signed_document(KEY, "compliance report", a_report()).file
    judged = judge(raw, KEY.vkey)
    assert (judged.findings, judged.proofs, judged.pinned) == ([], 2, True)
    assert faults(raw, OTHER.vkey) == ["BAD_KEY"]
    assert faults(raw, "nonsense") == ["BAD_KEY"]
    for at in range(len(raw)):
        for bit in (1, 128):
            assert faults(raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :], KEY.vkey), (at, bit)
    path = tmp_path / "report.json"
    path.write_bytes(raw)
    assert main(["document", str(path), "--vkey", KEY.vkey]) == 0
    assert main(["document", str(path)]) == 0
    assert "key not pinned" in capsys.readouterr().out
    path.write_bytes(signed_document(OTHER, "compliance report", a_report()).file)
    assert main(["document", str(path), "--vkey", KEY.vkey]) == 11
    assert main(["document", str(path)]) == 12  # signed by another key than its checkpoint


def test_what_is_no_document_is_refused_and_breaks_nothing() -> None:
    whole = json.loads(signed_document(KEY, "compliance report", a_report()).file)
    for hostile in (b"", b"[]", b"{", b"null", b"\xff", b'{"v":1}', b"[" * 100_000, b'{"v":1e400}', json.dumps(whole, indent=1).encode()):
        assert faults(hostile)
    pdf = judge(b"%PDF-1.7\n", None).findings[0]
    assert "the file attached to it" in pdf.text
    for change in ({"v": 2}, {"kind": 4}, {"document": []}, {"signature": "!"}, {"kind": "a\nb"}, {"more": 1}, {"sha256": "0" * 64}):
        assert faults(json.dumps(whole | change, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()), change


def test_events_that_do_not_lie_under_the_checkpoint_are_found_although_the_report_is_signed() -> None:
    """Whoever holds the key could have named an event that is not in the log."""
    first = a_report()["proofs"][0]
    wrong: tuple[dict[str, Any], ...] = (
        {"seq": 1}, {"seq": 3}, {"seq": -1}, {"seq": True}, {"seq": "0"}, {"path": []}, {"path": first["path"] * 2}, {"path": None},
        {"path": first["path"][:1]}, {"leaf_hash": "AAAA"}, {"leaf_hash": 4}, {"path": ["!"]},
    )  # fmt: skip
    for change in wrong:
        document = copy.deepcopy(a_report())
        document["proofs"][0] |= change
        assert faults(signed_document(KEY, "compliance report", document).file), change
    for change in ({"size": 4}, {"root_hash": "00"}, {"checkpoint": "nothing"}, {"checkpoint": None}):
        document = a_report()
        document["log"] |= change
        assert faults(signed_document(KEY, "compliance report", document).file), change
