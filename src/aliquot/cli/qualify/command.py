"""`aliquot qualify installation` and `aliquot qualify operation`."""

import asyncio
import getpass
import os
import platform
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from aliquot.cli.common import open_services, read_settings, sentences
from aliquot.cli.qualify.installation import InstallationQualification
from aliquot.cli.qualify.operation import OperationQualification
from aliquot.cli.qualify.report import Order, document, write
from aliquot.cli.qualify.scratch import Scratch
from aliquot.cli.qualify.steps import Outcome, execute
from aliquot.kernel.clock import SystemClock, rfc3339
from aliquot.ledger.contracts import AuditEvent, RecordRef, SignedDocument
from aliquot.ledger.note import LogKey, load_log_key
from aliquot.platform.settings import Settings, SettingsError
from aliquot.platform.telemetry import configure_logs

app = typer.Typer(help="Qualification on this machine, with a report signed by the log's key.", no_args_is_help=True)

By = Annotated[str, typer.Option("--by", help="Name of whoever executes it", show_default=False)]
Reviewer = Annotated[str, typer.Option("--reviewer", help="Name of whoever will review the report")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the report (JSON and PDF)")]
_NAME_CHARS = 200


@app.command()
def installation(by: By, reviewer: Reviewer = "", out: Out = Path()) -> None:
    """Check what is installed and set up here: files, settings, keys, database, log. Exit 1 when a step does not pass."""
    with sentences():
        settings, key = _begin(by, reviewer)
        qualification = InstallationQualification(settings)
        order = _order("installation", f"the installation with the data folder {settings.data_dir}", by, reviewer)
        try:
            outcomes = execute("IQ", qualification.steps(), SystemClock(), _tell)
        finally:
            qualification.close()
        _finish(order, outcomes, out, key)


@app.command()
def operation(by: By, reviewer: Reviewer = "", out: Out = Path()) -> None:
    """Try the controls on an instance of its own, on a loopback port and a temporary folder. Exit 1 when a step does not pass."""
    with sentences():
        _, key = _begin(by, reviewer)
        # Short and below the system's own folder: PostgreSQL's socket lies in it.
        with tempfile.TemporaryDirectory(prefix="aliquot-oq-") as folder:
            qualification = OperationQualification(Scratch(Path(folder)))
            order = _order("operation", "this software on this machine, on a temporary instance with invented data", by, reviewer)
            try:
                outcomes = execute("OQ", qualification.steps(), SystemClock(), _tell)
            finally:
                qualification.close()
        _finish(order, outcomes, out, key)


def _begin(by: str, reviewer: str) -> tuple[Settings, LogKey]:
    """Raises SettingsError before anything is tried: a report that nobody can sign is of no use."""
    configure_logs(json_lines=True, level="ERROR")
    if not by.strip() or max(len(by), len(reviewer)) > _NAME_CHARS:
        raise SettingsError(f"--by takes the name of whoever executes the qualification (at most {_NAME_CHARS} characters)")
    settings = read_settings()
    if not (settings.keys_dir / "log").is_file():
        raise SettingsError(f"{settings.keys_dir} holds no key of an audit log to sign the report with: start `aliquot serve` once")
    return settings, load_log_key(settings.keys_dir)


def _order(kind: str, subject: str, by: str, reviewer: str) -> Order:
    started = rfc3339(SystemClock().now())
    return Order(
        kind=kind, subject=subject, executor=by.strip(), reviewer=reviewer.strip(), host=platform.node(), login=_login(), started_at=started
    )  # fmt: skip


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.geteuid())


def _tell(outcome: Outcome) -> None:
    typer.echo(f"{'✓' if outcome.result == 'pass' else '✗'} {outcome.number} {outcome.title}: {outcome.actual}")


def _finish(order: Order, outcomes: list[Outcome], out: Path, key: LogKey) -> None:
    value = document(order, outcomes, SystemClock())
    stamp = value["ended_at"][:19].replace("-", "").replace(":", "")
    name = f"{order.kind}-qualification-{stamp}Z"
    try:
        signed = write(out, name, value, key)
    except OSError as error:
        raise SettingsError(f"the report cannot be written to {out} ({type(error).__name__})") from error
    typer.echo(f"{value['title']}: {value['result']} ({value['passed']} of {len(outcomes)} steps passed).")
    typer.echo(f"{out / name}.json and .pdf, SHA-256 of the document {signed.sha256}")
    asyncio.run(_record(order, value["result"], signed))
    if value["result"] != "pass":
        raise typer.Exit(1)


async def _record(order: Order, result: str, signed: SignedDocument) -> None:
    """The event in the log of this site. Raises what opening the installation raises: an unrecorded qualification is no success."""
    record = RecordRef(type="qualification", id=signed.sha256)
    event = AuditEvent(
        action="qualification.recorded", actor="system", via="cli", record=record, reason=order.kind, versions={"report": signed.sha256},
        outcome="ok" if result == "pass" else "failed",
    )  # fmt: skip
    async with open_services(level="ERROR") as services, services.db.begin() as tx:
        await services.ledger.append(tx, event)
