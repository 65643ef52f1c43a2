"""`aliquot lab`: instruments and protocols of this installation as one file, on its own machine."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from aliquot.cli.common import open_services, sentences
from aliquot.identity.contracts import CLI
from aliquot.lab.inventory import BYTES_MAX, Difference

app = typer.Typer(help="Instruments and protocols: import, export (docs/laboratory.md).", no_args_is_help=True)


class _NotKept(Exception):
    """Undoes the transaction of a dry run."""


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="A TOML file; - for the standard input", allow_dash=True)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing")] = False,
) -> None:
    """Make instruments and protocols what FILE says: all of it or, after an error, nothing. What it does not name stays."""
    with sentences():
        changes = asyncio.run(_import(_read(file), keep=not dry_run))
    for change in changes:
        typer.echo(str(change))
    typer.echo(f"{len(changes)} changes{'; nothing was changed: this was a dry run' if dry_run else ''}." if changes else "No changes.")


def _read(file: Path) -> bytes:
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as stream:
            return stream.read(BYTES_MAX + 1)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from error


async def _import(raw: bytes, *, keep: bool) -> list[Difference]:
    changes: list[Difference] = []
    async with open_services() as services:
        try:
            async with services.db.begin() as tx:
                changes = await services.lab.import_inventory(tx, CLI, raw)
                if not keep:
                    raise _NotKept
        except _NotKept:
            pass
    return changes


@app.command("export")
def export_file(
    file: Annotated[Path | None, typer.Argument(help="Where to write; the standard output when left out")] = None,
) -> None:
    """Write all instruments and protocols, retired ones too, as a file that `aliquot lab import` reads."""
    with sentences():
        text = asyncio.run(_export())
    if file is None:
        typer.echo(text, nl=False)
        return
    partial = file.with_name(file.name + ".part")
    try:
        partial.write_text(text, "utf-8")
        partial.replace(file)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}") from error
    typer.echo(f"Written to {file}.")


async def _export() -> str:
    async with open_services() as services, services.db.begin() as tx:
        return await services.lab.export_inventory(tx)
