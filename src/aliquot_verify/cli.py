"""`aliquot-verify bundle.zip [--vkey K] [--anchor FILE] [--witness K] [--tsa FILE] [--json]`, and `… document`, `… witness`."""

import argparse
import json
import sys
from pathlib import Path

from aliquot_verify import document, witness_cli
from aliquot_verify.faults import Fault, Finding
from aliquot_verify.times import shown
from aliquot_verify.verify import Known, Report, as_json, verify

_CODES = "\n".join(f"  {fault.value}  {fault.name.lower().replace('_', ' ')}" for fault in Fault)


def main(arguments: list[str] | None = None) -> int:
    """Verify one bundle; the exit code (0 only if everything holds)."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["witness"]:
        return witness_cli.main(given[1:])
    if given[:1] == ["document"]:
        return document.main(given[1:])
    options, parser = _options(given)
    for file in (options.bundle, options.anchor, options.tsa):
        if file is not None and not file.is_file():
            parser.error(f"there is no file {file}")
    known = Known(vkey=options.vkey, anchor=options.anchor, witnesses=options.witness, tsa=options.tsa, heartbeat=options.heartbeat)
    report = verify(options.bundle, known, strict=options.strict)
    print(json.dumps(as_json(report), indent=2) if options.json else _text(report, known))
    return report.exit_code


def _options(given: list[str]) -> tuple[argparse.Namespace, argparse.ArgumentParser]:
    parser = argparse.ArgumentParser(
        prog="aliquot-verify",
        description="Verify an export of an Aliquot audit log. Needs no database and no network. `aliquot-verify witness --help` "
        "shows how to witness a log, `aliquot-verify document --help` how to verify a signed report.",
        epilog=f"exit codes:\n  0  everything holds\n  2  wrong usage\n{_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, help="the exported zip file")
    parser.add_argument("--vkey", help="the log's verifier key (or an older one), known from elsewhere: <name>+<id>+<base64>")
    parser.add_argument("--anchor", type=Path, help="a checkpoint of this log, kept from another time")
    parser.add_argument("--witness", action="append", default=[], help="a witness's key: it must have cosigned; may be given several times")
    parser.add_argument("--tsa", type=Path, help="root certificates (PEM) of the time-stamping authority; else stamps are not checked")
    parser.add_argument("--heartbeat", type=float, help="seconds between heartbeats, instead of what the log says itself")
    parser.add_argument("--strict", action="store_true", help="silences and clocks that were set count as faults")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser.parse_args(given), parser


def _text(report: Report, known: Known) -> str:
    lines = [f"{'SEQ':>8}  FAULT"] if report.findings or report.notices else []
    lines += [_line(finding, "") for finding in report.findings] + [_line(finding, "notice, ") for finding in report.notices]
    if report.unnamed:
        lines.append(f"          … and {report.unnamed} more")
    if report.origin:
        last = report.first + report.count - 1
        covered = f"events {report.first} to {last}" if report.count else "no events"
        lines.append(f"log {report.origin}: {report.size} events signed, {covered} in this bundle")
    if report.signatures or report.revocations:
        lines.append(f"{report.signatures} electronic signatures hold, {report.revocations} revocations")
    if report.anchored is not None and report.ok:
        lines.append(f"continues the anchor at {report.anchored} events")
    lines += _outside(report, known)
    if report.vkey:
        lines.append(f"key {report.vkey}" if report.pinned else f"key not pinned: compare with a copy from elsewhere: {report.vkey}")
    verdict = "VERIFIED" if report.ok else f"NOT VERIFIED (exit code {report.exit_code})"
    lines.append(verdict + (f", with {len(report.notices)} notices to explain" if report.ok and report.notices else ""))
    return "\n".join(lines)


def _line(finding: Finding, kind: str) -> str:
    seq = "" if finding.seq is None else str(finding.seq)
    return f"{seq:>8}  {kind}{finding.fault.name.lower().replace('_', ' ')}: {finding.text}"


def _outside(report: Report, known: Known) -> list[str]:
    lines = [
        f"witness {name} cosigned {seen.size} of {report.size} events at {shown(seen.at)}"
        for name, seen in report.outside.witnessed.items()
    ]
    if report.outside.held and known.tsa is None:
        lines.append(f"{report.outside.held} time stamps NOT CHECKED: give the authority's certificates with --tsa")
    elif report.outside.stamped_at is not None:
        lines.append(f"{report.outside.checked} time stamps hold, the newest of {shown(report.outside.stamped_at)}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
