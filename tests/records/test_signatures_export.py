"""Signatures in an export: bound to the log, and every tampering with them found by the verifier."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aliquot.kernel.canonical import canonical_json, sha256_hex
from aliquot_verify.faults import Fault, Finding
from aliquot_verify.signatures import Signatures
from aliquot_verify.verify import verify
from tests.site import PASSWORD, Site, seeded, seeded_urls, site  # noqa: F401 - fixtures

PATH = "/api/records/protocol/PCR-STD-35/signatures"
WITH = {"password": PASSWORD}


@pytest.mark.rule("11.10(b)", "11.50", "11.70", "Annex 11 s.14")
async def test_an_export_holds_the_signatures_and_the_verifier_binds_them_to_the_log(site: Site, tmp_path: Path) -> None:  # noqa: F811
    scientist, reviewer = await site.client("scientist"), await site.client("reviewer")
    made = (await scientist.post(PATH, json={"meaning": "approval", "reason": "canary reason", **WITH})).json()
    assert (await reviewer.post(PATH, json={"meaning": "review", **WITH})).status_code == 201
    assert (await scientist.post(f"{PATH}/{made['id']}/revoke", json={"reason": "canary again", **WITH})).status_code == 200
    raw = (await reviewer.post("/api/audit/export")).content
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(raw)
    report = verify(bundle)
    assert (report.findings, report.signatures, report.revocations) == ([], 2, 1)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    lines = files["signatures.jsonl"].splitlines()
    said = [json.loads(line) for line in lines]
    assert [one["type"] for one in said] == ["signature", "signature", "revocation"]
    assert said[0]["signer"]["printed_name"] == "Sana Scientist (demo)"
    assert sha256_hex(lines[0]) == made["statement_sha256"]
    assert said[1]["previous"] == made["statement_sha256"], "each names the one before it on this record"
    assert b"canary" not in b"".join(files.values()), "reasons are contents: committed to, never in clear"

    for tampered in (lines[1:], [*lines, lines[0]], [lines[1], lines[0].replace(b"Sana", b"Saba"), lines[2]]):
        with zipfile.ZipFile(bundle, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, b"\n".join(tampered) + b"\n" if name == "signatures.jsonl" else data)
        assert {finding.fault for finding in verify(bundle).findings} == {Fault.SIGNATURE, Fault.MANIFEST}


def statement(**changes: object) -> dict[str, object]:
    whole: dict[str, object] = {
        "type": "signature", "id": "s-1", "record": {"type": "protocol", "id": "P-1", "version": 3}, "sha256": "00", "meaning": "review",
        "signer": {"id": "anna"},
    }  # fmt: skip
    return whole | changes


def event(line: bytes, **changes: object) -> bytes:
    """The event that honestly speaks of `line`, with changes."""
    said = json.loads(line)
    whole = {
        "action": {"signature": "signature.created", "revocation": "signature.revoked"}[said["type"]], "actor": "anna", "id": "e",
        "reason": "review",
        "record": {"type": "protocol", "id": "P-1", "version": 3}, "versions": {"statement": sha256_hex(line)},
    }  # fmt: skip
    return canonical_json(whole | changes)


def judged(events: list[bytes], lines: list[bytes]) -> list[Finding]:
    signatures, hashed = Signatures(), bytearray()
    signatures.add(events[:1])
    signatures.add(events[1:])
    whole = b"".join(line + b"\n" for line in lines)
    found = signatures.judge([whole[:7], whole[7:]], hashed.extend, 100)
    assert bytes(hashed) == whole
    return found


SIGNED = canonical_json(statement())
REVOKED = canonical_json(statement(type="revocation", id="r-1", signature="s-1", statement=sha256_hex(SIGNED)))


def test_honest_statements_hold() -> None:
    assert judged([event(SIGNED), event(REVOKED)], [SIGNED, REVOKED]) == []
    assert judged([b'{"action":"run.started"}'], []) == []
    assert judged([event(REVOKED)], [REVOKED]) == [], "a part of the log may hold a revocation without its signature"


FAULTS: dict[str, Callable[[], list[Finding]]] = {
    "pasted on another record": lambda: judged([event(SIGNED, record={"type": "protocol", "id": "P-2", "version": 3})], [SIGNED]),
    "on another version": lambda: judged([event(SIGNED, record={"type": "protocol", "id": "P-1", "version": 4})], [SIGNED]),
    "by another person": lambda: judged([event(SIGNED, actor="bert")], [SIGNED]),
    "with another meaning": lambda: judged([event(SIGNED, reason="approval")], [SIGNED]),
    "a revocation as a signature": lambda: judged([event(SIGNED, action="signature.revoked")], [SIGNED]),
    "removed": lambda: judged([event(SIGNED)], []),
    "twice": lambda: judged([event(SIGNED)], [SIGNED, SIGNED]),
    "unknown to the log": lambda: judged([], [SIGNED]),
    "not JSON": lambda: judged([event(SIGNED)], [SIGNED, b"\xff"]),
    "revoked before it was given": lambda: judged([event(SIGNED), event(REVOKED)], [REVOKED, SIGNED]),
    "revoked by somebody else": lambda: judged(
        [event(SIGNED), event(other := canonical_json(json.loads(REVOKED) | {"signer": {"id": "bert"}}), actor="bert")], [SIGNED, other]
    ),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.rule("11.70", "Annex 11 s.14")
def test_every_fault_of_a_signature_is_found(name: str) -> None:
    found = FAULTS[name]()
    assert len(found) == 1, found
    assert found[0].fault is Fault.SIGNATURE
    assert found[0].seq in (None, 100, 101)
