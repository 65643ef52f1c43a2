"""Steps about what a third party can verify: the export and the compliance report, whole and altered."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx2

from aliquot.cli.qualify.scratch import Scratch, expect
from aliquot.cli.qualify.steps import Seen, Unmet
from aliquot.ledger.note import load_log_key

_SECONDS = 120


class RecordChecks:
    """Uses the verifier as a third party does: its own command, with nothing but the file and the key."""

    def __init__(self, scratch: Scratch, session: Callable[[str], httpx2.Client]) -> None:
        self._scratch, self._as = scratch, session
        self._bundle = scratch.folder / "audit.zip"

    def export(self) -> Seen:
        answer = self._as("reviewer").post("/api/audit/export", json={})
        expect(answer, 200)
        self._bundle.write_bytes(answer.content)
        code, told = _verify(str(self._bundle), "--vkey", self._vkey())
        if code != 0:
            raise Unmet(f"aliquot-verify ended with {code}.", *told)
        return Seen("VERIFIED", tuple(told))

    def altered(self) -> Seen:
        changes: dict[str, Callable[[list[bytes]], list[bytes]]] = {
            "edited": lambda lines: [*lines[:3], lines[3].replace(b'"actor":"', b'"actor":"x', 1), *lines[4:]],
            "removed": lambda lines: [*lines[:3], *lines[4:]],
            "added": lambda lines: [*lines[:4], lines[3], *lines[4:]],
        }
        told = []
        for name, change in changes.items():
            path = self._scratch.folder / f"audit-{name}.zip"
            _rewrite(self._bundle, path, change)
            code, lines = _verify(str(path), "--vkey", self._vkey())
            if code == 0:
                raise Unmet(f"A copy with an event {name} was found whole.")
            told.append(f"event {name}: exit code {code}, {lines[1].strip() if len(lines) > 1 else ''}")
        return Seen("All three were refused.", tuple(told))

    def report(self) -> Seen:
        answer = self._as("reviewer").get("/api/compliance/report")
        document = expect(answer, 200)
        path = self._scratch.folder / "report.json"
        path.write_bytes(answer.content)
        code, told = _verify("document", str(path), "--vkey", self._vkey())
        document["document"]["attention"] = []
        path.write_text(json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
        changed, _ = _verify("document", str(path), "--vkey", self._vkey())
        if code != 0 or changed == 0:
            raise Unmet(f"aliquot-verify ended with {code} for the report and with {changed} for an altered one.", *told)
        return Seen(f"VERIFIED; the altered one was refused with exit code {changed}.", tuple(told))

    def _vkey(self) -> str:
        """As this machine knows it, not as the file says."""
        return load_log_key(self._scratch.settings.keys_dir).vkey


def _verify(*arguments: str) -> tuple[int, list[str]]:
    """Exit code and output of the verifier, in a process of its own."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "aliquot_verify", *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    return done.returncode, done.stdout.splitlines()


def _rewrite(source: Path, target: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, b"\n".join(change(data.split(b"\n"))) if name == "events.jsonl" else data)
