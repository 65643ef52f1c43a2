"""`aliquot-verify bundle.zip [--vkey K] [--anchor FILE] [--json]`."""

import argparse
import json
import sys
from pathlib import Path

from aliquot_verify.faults import Fault
from aliquot_verify.verify import Report, as_json, verify

_CODES = "\n".join(f"  {fault.value}  {fault.name.lower().replace('_', ' ')}" for fault in Fault)


def main(arguments: list[str] | None = None) -> int:
    """Verify one bundle; the exit code (0 only if everything holds)."""
    parser = argparse.ArgumentParser(
        prog="aliquot-verify",
        description="Verify an export of an Aliquot audit log. Needs no database and no network.",
        epilog=f"exit codes:\n  0  everything holds\n  2  wrong usage\n{_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, help="the exported zip file")
    parser.add_argument("--vkey", help="the log's verifier key, known from elsewhere: <name>+<id>+<base64>")
    parser.add_argument("--anchor", type=Path, help="a checkpoint of this log, kept from another time")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    if not options.bundle.is_file():
        parser.error(f"there is no file {options.bundle}")
    if options.anchor is not None and not options.anchor.is_file():
        parser.error(f"there is no file {options.anchor}")
    report = verify(options.bundle, vkey=options.vkey, anchor=options.anchor)
    print(json.dumps(as_json(report), indent=2) if options.json else _text(report))
    return report.exit_code


def _text(report: Report) -> str:
    lines = [f"{'SEQ':>8}  FAULT"] if report.findings else []
    for finding in report.findings:
        seq = "" if finding.seq is None else str(finding.seq)
        lines.append(f"{seq:>8}  {finding.fault.name.lower().replace('_', ' ')}: {finding.text}")
    if report.unnamed:
        lines.append(f"          … and {report.unnamed} more events")
    if report.origin:
        last = report.first + report.count - 1
        covered = f"events {report.first} to {last}" if report.count else "no events"
        lines.append(f"log {report.origin}: {report.size} events signed, {covered} in this bundle")
    if report.anchored is not None and report.ok:
        lines.append(f"continues the anchor at {report.anchored} events")
    if report.vkey:
        lines.append(f"key {report.vkey}" if report.pinned else f"key not pinned: compare with a copy from elsewhere: {report.vkey}")
    lines.append("VERIFIED" if report.ok else f"NOT VERIFIED (exit code {report.exit_code})")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
