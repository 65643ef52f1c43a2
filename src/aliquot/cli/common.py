"""Shared by the commands: failures as sentences, services for short commands."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import typer

from aliquot.bootstrap import Services, build
from aliquot.cli.installation import Installation, open_existing, open_installation, require_serviceable
from aliquot.kernel.problems import Problem
from aliquot.ledger.note import LogKeyError
from aliquot.models.config import key_variables, load_models
from aliquot.platform.fingerprint import ForeignKeys
from aliquot.platform.migrate import SchemaError
from aliquot.platform.postgres import PostgresError
from aliquot.platform.settings import Settings, SettingsError, load_settings, unknown_variables
from aliquot.platform.telemetry import configure_logs
from aliquot.platform.vault import RootKeyError
from aliquot.policy.bundles import BundleRefused

EXPECTED = (SettingsError, PostgresError, SchemaError, RootKeyError, LogKeyError, ForeignKeys, BundleRefused, Problem)


@contextmanager
def sentences() -> Iterator[None]:
    """Print an expected failure as one sentence and exit with 2."""
    try:
        yield
    except EXPECTED as error:
        detail = error.detail if isinstance(error, Problem) else str(error)
        typer.echo(f"aliquot: {detail}", err=True)
        raise typer.Exit(2) from error


def read_settings(**given: Any) -> Settings:
    """The settings of a command that opens the installation; names in the environment that set nothing are warned of."""
    settings = load_settings(**given)
    for sentence in unknown_variables(key_variables(load_models(settings.models))):
        typer.echo(f"aliquot: warning: {sentence}", err=True)
    return settings


@asynccontextmanager
async def open_services(*, level: str = "WARNING", new: bool = False) -> AsyncIterator[Services]:
    """The services of this installation, for a command that does one thing and leaves. `new` makes one where there is none."""
    configure_logs(json_lines=not sys.stderr.isatty(), level=level)
    settings = read_settings()
    installation = open_installation(settings, exclusive=False) if new else open_existing(settings)
    try:
        require_serviceable(installation)
        async with services_of(installation) as services:
            yield services
    finally:
        installation.close()


@asynccontextmanager
async def services_of(installation: Installation) -> AsyncIterator[Services]:
    """The services of an opened installation, without what runs in the background."""
    services = build(installation.settings, installation.vault, installation.urls)
    try:
        yield services
    finally:
        await services.models.close()
        await services.db.close()
        await services.sequencer_db.close()
