"""The command line."""

import asyncio
import sys
from typing import Annotated

import typer

import aliquot
from aliquot.cli.backup import backup, restore
from aliquot.cli.chat.command import chat
from aliquot.cli.common import read_settings, sentences
from aliquot.cli.keys import app as keys
from aliquot.cli.lab import app as lab
from aliquot.cli.log import app as log
from aliquot.cli.models import app as models
from aliquot.cli.policy import app as policy
from aliquot.cli.qualify.command import app as qualify
from aliquot.cli.user import app as user
from aliquot.platform.settings import SettingsError
from aliquot.platform.telemetry import configure_logs

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
db = typer.Typer(help="The database schema.", no_args_is_help=True)
app.add_typer(db, name="db")
app.add_typer(user, name="user")
app.add_typer(log, name="log")
app.add_typer(keys, name="keys")
app.add_typer(models, name="models")
app.add_typer(policy, name="policy")
app.add_typer(lab, name="lab")
app.add_typer(qualify, name="qualify")
app.command()(chat)
app.command()(backup)
app.command()(restore)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"aliquot {aliquot.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave")] = False,
) -> None:
    """Aliquot: a self-hosted assistant server for laboratories and clinics."""


@app.command()
def serve(
    demo: Annotated[
        bool | None, typer.Option("--demo/--no-demo", help="Seed the invented laboratory (default: into an empty embedded database)")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (ALIQUOT_HOST)")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (ALIQUOT_PORT)")] = None,
) -> None:
    """Serve: database, worker and HTTP on this machine."""
    from aliquot.cli.serve import serve as run  # noqa: PLC0415 - short commands need not import the server

    configure_logs(json_lines=not sys.stderr.isatty(), level="INFO" if not sys.stderr.isatty() else "WARNING")
    with sentences():
        given = {"host": host, "port": port}
        run(read_settings(**{k: v for k, v in given.items() if v is not None}), demo=demo)


@app.command()
def worker() -> None:
    """Execute background jobs and runs beside one or more servers (external PostgreSQL)."""
    from aliquot.cli.common import open_services  # noqa: PLC0415
    from aliquot.worker.main import work  # noqa: PLC0415

    async def run() -> None:
        async with open_services(level="INFO", new=True) as services:
            if services.settings.embedded:
                raise SettingsError("the embedded database has its worker inside `aliquot serve`: set DATABASE_URL for separate workers")
            await work(services)

    with sentences():
        asyncio.run(run())


@app.command()
def doctor() -> None:
    """Check the installation and say what to mend. Exit 1 when something is wrong."""
    from aliquot.cli.doctor import diagnose  # noqa: PLC0415

    configure_logs(json_lines=True, level="ERROR")
    raise typer.Exit(diagnose())


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the schema to this code's version, with the owner's login (DATABASE_URL, or the embedded database)."""
    from aliquot.cli.installation import open_installation, upgrade  # noqa: PLC0415
    from aliquot.platform.migrate import code_version  # noqa: PLC0415

    configure_logs(json_lines=not sys.stderr.isatty(), level="WARNING")
    with sentences():
        installation = open_installation(read_settings(), exclusive=False)
        try:
            upgrade(installation)
        finally:
            installation.close()
        typer.echo(f"The schema is at version {code_version()}.")


if __name__ == "__main__":
    app()
