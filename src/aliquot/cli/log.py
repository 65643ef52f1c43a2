"""`aliquot log`: the audit log on the server's own machine: its keys, its anchors, and whether stored rows still say what it says."""

import asyncio

import typer
from rich.console import Console
from rich.table import Table

from aliquot.bootstrap import Services
from aliquot.cli.common import open_services, sentences
from aliquot.ledger.contracts import CheckResult
from aliquot.ledger.errors import NotYetInLog

app = typer.Typer(help="The audit log: key, rotate-key, check.", no_args_is_help=True)

_TRIES, _PAUSE_SECONDS = 40, 0.25


@app.command()
def key() -> None:
    """Print the log's verifier key: give it to whoever is to verify or witness the log."""

    async def work() -> str:
        async with open_services() as services:
            return services.log_keys.current().vkey

    with sentences():
        typer.echo(asyncio.run(work()))


@app.command("rotate-key")
def rotate_key() -> None:
    """Give the log a new key, vouched for by the old one; prints the new verifier key. The old secret is destroyed."""

    async def work() -> str:
        async with open_services() as services:
            async with services.db.begin() as tx:
                event = await services.ledger.rotate_key(tx, services.log_keys)
            for _ in range(_TRIES):
                await services.sequencer.run_once()  # does nothing while a running server holds that office
                async with services.db.begin() as tx:
                    if await services.ledger.is_final(tx, event) and services.log_keys.staged() is None:
                        return services.log_keys.current().vkey
                await asyncio.sleep(_PAUSE_SECONDS)
            raise NotYetInLog("The rotation is recorded, but no server has placed it in the log yet: it holds from then on.")

    with sentences():
        typer.echo(asyncio.run(work()))


@app.command()
def check() -> None:
    """Compare the log with its signed root and stored rows with the log; exit 1 when something was altered behind its back."""

    async def work(services: Services) -> CheckResult:
        await services.sequencer.run_once()
        return await services.rechecker.check_and_record(via="cli")

    async def run() -> CheckResult:
        async with open_services() as services:
            return await work(services)

    with sentences():
        result = asyncio.run(run())
    typer.echo("Compared: " + ", ".join(f"{count} {name}" for name, count in result.compared.items()))
    if result.erased:
        typer.echo(f"{result.erased} contents were erased and cannot be compared.")
    if result.differences:
        table = Table("what", "record", "id", "where")
        for found in result.differences:
            table.add_row(found.kind, found.record_type, found.record_id, found.what)
        Console(markup=False, highlight=False).print(table)
        raise typer.Exit(1)
    typer.echo("Nothing was altered.")
