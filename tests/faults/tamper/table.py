"""`python -m tests.faults.tamper.table`: writes docs/tamper.md and the published test vectors."""

import json
import shutil
from pathlib import Path

from aliquot_verify.faults import Fault
from tests.faults.tamper.classes import CLASSES, HONEST, Class
from tests.faults.tamper.judging import ROOT, by_python, laid_out
from tests.faults.tamper.stored import STORED

TEXTS = Path(__file__).with_name("tamper.md.in").read_text("utf-8").split("@@@\n")


def rendered() -> str:
    rows = [_row(number, known) for number, known in enumerate(CLASSES, 1)]
    stored = [f"| {n} | {name.replace('_', ' ')} | {what} | {found} |" for n, (name, what, found) in enumerate(STORED, len(CLASSES) + 1)]
    head, middle, tail = TEXTS
    return head + "\n".join(rows) + "\n" + middle + "\n".join(stored) + "\n" + tail


def _row(number: int, known: Class) -> str:
    faults = sorted({fault for fault, _ in known.expected}, key=lambda fault: Fault[fault.upper()])
    shown = ", ".join(f"{fault.replace('_', ' ')} ({Fault[fault.upper()]:d})" for fault in faults)
    places = sorted({seq for _, seq in known.expected if seq is not None})
    where = f"{places[0]} to {places[-1]}" if len(places) > 3 else ", ".join(map(str, places))
    return f"| {number} | {known.name.replace('_', ' ')} | {known.what} | {shown} | {where} | {known.needs} |"


def main() -> None:
    (ROOT / "docs" / "tamper.md").write_text(rendered())
    folder = ROOT / "tests" / "verify" / "vectors"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    published = {}
    for name, build in {known.name: known.build for known in CLASSES}.items() | HONEST.items():
        given = laid_out(build(), name, folder)
        expected = by_python(Path(given["bundle"]), given)
        shown = {"bundle": f"{name}.zip", "anchor": f"{name}.anchor" if given["anchor"] else None}
        published[name] = {"given": given | shown, "expected": expected}
    (folder / "expected.json").write_text(json.dumps(dict(sorted(published.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
