"""Fixtures every test may use: one embedded PostgreSQL cluster per test run, one fresh migrated database per test.

The cluster is shared by the xdist workers; a migrated template database makes a new database cost some ten milliseconds.
"""

import gc
import importlib
import json
import os
import pkgutil
import secrets
import shutil
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import fasteners
import psycopg
import pytest
from pwdlib.hashers.argon2 import Argon2Hasher

import aliquot
from aliquot.identity import passwords
from aliquot.platform import migrate
from aliquot.platform.db import Database
from aliquot.platform.memory import settle
from aliquot.platform.postgres import EmbeddedPostgres
from aliquot.platform.vault import Vault
from tests.rule_matrix import pytest_configure, pytest_itemcollected, pytest_runtest_logreport, pytest_sessionfinish

__all__ = ["pytest_configure", "pytest_itemcollected", "pytest_runtest_logreport", "pytest_sessionfinish"]

TEMPLATE = "aliquot_template"
# Whoever is started in the background ignores Ctrl-C, and so would every process the tests start: theirs have to hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)
PATIENCE = 300.0
"""Seconds for what takes a moment: a machine that does ten other things at once is no fault of what is tested."""
LOGINS = migrate.Logins(app="app-secret", sequencer="sequencer-secret", reader="reader-secret")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays to the end: the search for garbage neither interrupts the collection nor looks through it ever after."""
    gc.disable()
    found = yield
    settle()
    gc.enable()
    return found


def import_all_tables() -> None:
    """Every `tables.py` (and platform modules with tables) adds itself to the metadata when imported."""
    for module in pkgutil.walk_packages(aliquot.__path__, "aliquot."):
        if module.name.endswith(".tables") or module.name in {"aliquot.platform.limits", "aliquot.platform.idempotency"}:
            importlib.import_module(module.name)


@dataclass
class Cluster:
    postgres: EmbeddedPostgres

    def url(self, login: str, password: str, database: str) -> str:
        return self.postgres.url(login, password, database)

    def create(self, name: str, template: str) -> None:
        with psycopg.connect(self.postgres.superuser_url("postgres"), autocommit=True) as conn:
            conn.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" OWNER aliquot_owner STRATEGY FILE_COPY')

    def drop(self, name: str) -> None:
        with psycopg.connect(self.postgres.superuser_url("postgres"), autocommit=True) as conn:
            conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @contextmanager
    def database(self, template: str) -> "Iterator[Urls]":
        """A clone of `template`, dropped at the end."""
        name = f"t_{secrets.token_hex(6)}"
        self.create(name, template)
        yield Urls(
            owner=self.url("aliquot_owner", "owner-secret", name),
            app=self.url("aliquot_app", LOGINS.app, name),
            sequencer=self.url("aliquot_sequencer", LOGINS.sequencer, name),
            reader=self.url("aliquot_reader", LOGINS.reader, name),
            superuser=self.postgres.superuser_url(name),
            name=name,
        )
        self.drop(name)


def _memory(needed_bytes: int) -> str | None:
    """Memory as a folder, where there is enough of it: a clone of a database is 650 files, a tenth of the time there."""
    folder = "/dev/shm"
    try:
        return folder if os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > needed_bytes else None
    except OSError:
        return None


if (_folder := _memory(6 * 2**30)) is not None:  # temporary folders of tests, data folders of whole servers among them
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _folder)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The test run's PostgreSQL. The first worker makes it, the last one to leave stops it."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    folder = Path(_memory(2 * 2**30) or tempfile.gettempdir()) / f"aliquot-test-{run[:12]}"
    lock = fasteners.InterProcessLock(f"{folder}.lock")
    users = Path(f"{folder}.users")
    postgres = EmbeddedPostgres(folder / "pg", superuser_password="test-superuser", durable=False)
    with lock:
        count = json.loads(users.read_text()) if users.exists() else 0
        if count == 0:
            postgres.start()
            owner = postgres.ensure_database("owner-secret", TEMPLATE)
            import_all_tables()
            migrate.upgrade(owner, LOGINS)
        users.write_text(json.dumps(count + 1))
    yield Cluster(postgres)
    with lock:
        count = json.loads(users.read_text()) - 1
        users.write_text(json.dumps(count))
        if count == 0:
            postgres.stop()
            shutil.rmtree(folder)
            users.unlink()


@dataclass
class Urls:
    """The four logins of one test database."""

    owner: str
    app: str
    sequencer: str
    reader: str
    superuser: str
    name: str


@pytest.fixture
def urls(cluster: Cluster) -> Iterator[Urls]:
    """A fresh, migrated, empty database."""
    with cluster.database(TEMPLATE) as urls:
        yield urls


@pytest.fixture
async def database(urls: Urls) -> AsyncIterator[Database]:
    """The serving login's pool on a fresh database."""
    db = Database(urls.app, pool_size=30)
    yield db
    await db.close()


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(secrets.token_bytes(32), tmp_path / "keys")


class ManualClock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """Argon2 at its smallest: hashing at full strength is tested where processes of their own are, and would take minutes here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "Argon2Hasher", partial(Argon2Hasher, time_cost=1, memory_cost=64, parallelism=1))
        yield
