"""Shared by the commands: failures as sentences, services for short commands."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import typer

from aliquot.bootstrap import Services, build
from aliquot.cli.installation import open_installation, require_serviceable
from aliquot.kernel.problems import Problem
from aliquot.ledger.note import LogKeyError
from aliquot.platform.migrate import SchemaError
from aliquot.platform.postgres import PostgresError
from aliquot.platform.settings import SettingsError, load_settings
from aliquot.platform.telemetry import configure_logs
from aliquot.platform.vault import RootKeyError

EXPECTED = (SettingsError, PostgresError, SchemaError, RootKeyError, LogKeyError, Problem)


@contextmanager
def sentences() -> Iterator[None]:
    """Print an expected failure as one sentence and exit with 2."""
    try:
        yield
    except EXPECTED as error:
        detail = error.detail if isinstance(error, Problem) else str(error)
        typer.echo(f"aliquot: {detail}", err=True)
        raise typer.Exit(2) from error


@asynccontextmanager
async def open_services(*, level: str = "WARNING") -> AsyncIterator[Services]:
    """The services of this installation, for a command that does one thing and leaves."""
    configure_logs(json_lines=not sys.stderr.isatty(), level=level)
    installation = open_installation(load_settings(), exclusive=False)
    try:
        require_serviceable(installation)
        services = build(installation.settings, installation.vault, installation.urls)
        try:
            yield services
        finally:
            await services.models.close()
            await services.db.close()
            await services.sequencer_db.close()
    finally:
        installation.close()
