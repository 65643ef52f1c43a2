"""`aliquot doctor`: looks at the installation and says what to mend. It changes nothing."""

import asyncio
import os
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx2
import psycopg
import typer

from aliquot.cli.common import EXPECTED
from aliquot.cli.installation import open_vault, require_reachable
from aliquot.ledger.note import load_log_key
from aliquot.models.config import key_variables, load_models
from aliquot.platform import migrate
from aliquot.platform.blobs import StorageUnavailable, probe
from aliquot.platform.fingerprint import require_same_keys
from aliquot.platform.postgres import DataFolderLock, EmbeddedPostgres
from aliquot.platform.settings import Settings, SettingsError, load_settings, unknown_variables


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, whether it is well, and what to do when it is not."""

    what: str
    ok: bool
    detail: str


def diagnose() -> int:
    """Print every finding; the exit code."""
    try:
        settings = load_settings()
    except SettingsError as error:
        typer.echo(f"✗ settings: {error}")
        return 1
    failed = 0
    for finding in _findings(settings):
        typer.echo(f"{'✓' if finding.ok else '✗'} {finding.what}: {finding.detail}")
        failed += not finding.ok
    typer.echo("Everything is in order." if not failed else f"{failed} thing{'s' if failed > 1 else ''} to mend.")
    return 1 if failed else 0


def _findings(settings: Settings) -> Iterator[Finding]:
    yield Finding("Python", sys.version_info >= (3, 11), f"{sys.version_info.major}.{sys.version_info.minor} (3.11 or newer is needed)")
    for what, check in checks():
        try:
            yield Finding(what, True, check(settings))
        except (*EXPECTED, psycopg.Error, OSError) as error:
            yield Finding(what, False, str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__)


def checks() -> list[tuple[str, Callable[[Settings], str]]]:
    """What is looked at, by name. A check gives what it found, or raises one of `EXPECTED`, psycopg.Error or OSError."""
    return [
        ("environment", _environment), ("data folder", _data_folder), ("free space", _free_space), ("keys", _keys),
        ("models file", _models), ("database", _database), ("storage of files", _storage), ("server", _server),
    ]  # fmt: skip


def _environment(settings: Settings) -> str:
    try:
        declared = key_variables(load_models(settings.models))
    except SettingsError:  # said of the models file itself
        declared = set()
    if unknown := unknown_variables(declared):
        raise SettingsError("; ".join(unknown))
    return "every ALIQUOT_ variable is a setting"


def _data_folder(settings: Settings) -> str:
    folder = settings.data_dir
    place = next(p for p in (folder, *folder.parents) if p.exists())
    if not place.is_dir():
        raise SettingsError(f"{place} is a file, not a folder: set ALIQUOT_DATA_DIR to a folder")
    if place != folder:
        if not os.access(place, os.W_OK):
            raise SettingsError(f"{folder} does not exist and cannot be made by this user: make it, or set ALIQUOT_DATA_DIR")
        return f"{folder} does not exist yet; the first start makes it"
    if not os.access(folder, os.W_OK):
        raise SettingsError(f"{folder} cannot be written by this user: change its owner or set ALIQUOT_DATA_DIR")
    return str(folder)


def _free_space(settings: Settings) -> str:
    place = next(p for p in (settings.data_dir, *settings.data_dir.parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free < settings.limits.disk_low_bytes:
        raise SettingsError(f"only {free / 1e9:.1f} GB are free at {place}: make room, a full disk stops all writes")
    return f"{free / 1e9:.0f} GB free"


def _keys(settings: Settings) -> str:
    folder = settings.keys_dir
    if not folder.exists():
        return "none yet; the first start makes them"
    loose = [p.name for p in folder.iterdir() if p.is_file() and stat.S_IMODE(p.stat().st_mode) & 0o077 and p.name != "subjects.lock"]
    if loose:
        raise SettingsError(f"{folder / loose[0]} can be read by others: chmod 600 it")
    if not (folder / ("root" if settings.kms is None else "root.wrapped")).exists() and settings.root_key is None:
        return "no root key yet; the first start makes it"
    open_vault(settings)
    return "the root key opens the subject keys"


def _models(settings: Settings) -> str:
    models = load_models(settings.models)
    if not models:
        return "none declared: questions are answered by the tools alone (see docs/models.md)"
    missing = [m.name for m in models if m.api_key_env and not os.environ.get(m.api_key_env)]
    if missing:
        raise SettingsError(f"the environment variable with the key of model {missing[0]!r} is not set")
    return ", ".join(m.name for m in models)


def _database(settings: Settings) -> str:
    if external := settings.database_url or settings.database_url_app:
        url = external.get_secret_value()
    elif not (settings.data_dir / "pg" / "PG_VERSION").exists():
        return "not made yet; the first start makes it"
    else:
        postgres = EmbeddedPostgres(settings.data_dir / "pg", superuser_password=open_vault(settings).derive("postgres/postgres").hex())
        if not postgres.running():
            return "embedded, not running (it runs while `aliquot serve` does)"
        url = postgres.superuser_url()
    require_reachable(url)
    found, expected = migrate.database_version(url), migrate.code_version()
    if found != expected:
        raise migrate.SchemaError(f"the schema is at version {found or 'none'}, the code needs {expected}: run `aliquot db upgrade`")
    if (settings.keys_dir / "subjects").exists() and (settings.keys_dir / "log").exists():
        require_same_keys(url, open_vault(settings), load_log_key(settings.keys_dir).origin, claim=False)
    return f"{'embedded' if settings.embedded else 'external'}, schema version {found}"


def _storage(settings: Settings) -> str:
    try:
        asyncio.run(probe(None if settings.blob_url else settings.data_dir / "blobs", settings.blob_url))
    except StorageUnavailable as problem:
        raise SettingsError(f"{settings.blob_url or settings.data_dir / 'blobs'}: {problem.detail}") from problem
    return settings.blob_url or "a folder in the data folder"


def _server(settings: Settings) -> str:
    scheme = "https" if settings.tls_cert else "http"
    url = f"{scheme}://{settings.host}:{settings.port}/api/health"
    try:
        answer = httpx2.get(url, timeout=3, verify=False)
        document = answer.json()
    except (httpx2.HTTPError, ValueError):
        if _port_taken(settings):
            raise SettingsError(f"port {settings.port} is used by another program: stop it or set ALIQUOT_PORT") from None
        if (process := DataFolderLock(settings.data_dir).holder()) is not None:
            raise SettingsError(
                f"process {process} uses this data folder, but no server of it answers on port {settings.port}: set ALIQUOT_PORT to the "
                "port it was started with, or see its log"
            ) from None
        return f"not running; port {settings.port} is free"
    if not isinstance(document, dict) or "parts" not in document:
        raise SettingsError(f"port {settings.port} is used by another program: stop it or set ALIQUOT_PORT")
    if not (settings.keys_dir / "log").is_file() or document.get("log") != load_log_key(settings.keys_dir).origin:
        raise SettingsError(
            f"the server on port {settings.port} is not that of this data folder: stop it, or set ALIQUOT_PORT or ALIQUOT_DATA_DIR"
        )
    if document.get("status") != "ok":
        troubles = [f"{name} is {part['status']}" for name, part in document["parts"].items() if part["status"] != "ok"]
        raise SettingsError(f"running, but {', '.join(troubles)}: see its log")
    return f"running, version {document['version']}"


def _port_taken(settings: Settings) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        return probe.connect_ex((settings.host, settings.port)) == 0
