"""The installation on this machine: data folder, root key, PostgreSQL (embedded or external), schema, logins."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import structlog

from aliquot.bootstrap import DatabaseUrls
from aliquot.ledger.note import load_log_key
from aliquot.platform import migrate
from aliquot.platform.db import libpq_url
from aliquot.platform.fingerprint import require_same_keys
from aliquot.platform.postgres import LOGINS, OWNER, SUPERUSER, DataFolderLock, EmbeddedPostgres
from aliquot.platform.root_keys import RootKeyError, root_keys
from aliquot.platform.settings import Settings, SettingsError
from aliquot.platform.vault import Vault

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Installation:
    """An opened data folder. `close` releases what `open_installation` took."""

    settings: Settings
    vault: Vault
    urls: DatabaseUrls
    owner_url: str | None
    """The owner's login, when this process knows it; never used to serve."""
    postgres: EmbeddedPostgres | None
    lock: DataFolderLock | None
    empty_before: bool
    """The database held no schema until now."""

    def close(self) -> None:
        if self.postgres is not None and self.lock is not None:
            self.postgres.stop()
        if self.lock is not None:
            self.lock.release()


def open_installation(settings: Settings, *, exclusive: bool, migrate_empty: bool = True) -> Installation:
    """Open the data folder and bring the database up.

    `exclusive` takes the folder's lock (a server does); without it a running server's PostgreSQL is used, or the lock is taken
    too if there is none. `migrate_empty` gives an empty database its schema. Raises SettingsError, RootKeyError, PostgresError or
    SchemaError with a sentence that says what to mend.
    """
    folder = _data_folder(settings)
    vault = open_vault(settings)
    if settings.embedded:
        return _open_embedded(settings, folder, vault, exclusive, migrate_empty)
    lock = DataFolderLock(folder) if exclusive else None
    if lock is not None:
        lock.acquire()
    try:
        owner = settings.database_url.get_secret_value() if settings.database_url else None
        return _opened(Installation(settings, vault, _external_urls(settings, vault), owner, None, lock, False), migrate_empty)
    except BaseException:
        if lock is not None:
            lock.release()
        raise


def open_existing(settings: Settings) -> Installation:
    """Open what is there already, with a database that has its schema: a command that reads or changes an installation makes none.

    Raises what `open_installation` raises, and SettingsError when there is nothing.
    """
    require_existing(settings)
    installation = open_installation(settings, exclusive=False, migrate_empty=False)
    if installation.empty_before:
        installation.close()
        raise SettingsError(
            f"the database of {settings.data_dir.absolute()} is empty: set DATABASE_URL or ALIQUOT_DATA_DIR to those of the installation "
            "that is meant (`aliquot db upgrade` makes the schema of a new one)"
        )
    return installation


def require_existing(settings: Settings) -> None:
    """Refuse a folder that holds no keys or, where the database belongs into it, no database."""
    require_keys(settings)
    if settings.embedded and not _is_there(settings.data_dir / "pg" / "PG_VERSION"):
        raise _nothing_in(settings)


def require_keys(settings: Settings) -> None:
    """Refuse a folder without a folder of keys. With an external database that is all of an installation on this machine."""
    if not _is_there(settings.keys_dir):
        raise _nothing_in(settings)


def _nothing_in(settings: Settings) -> SettingsError:
    return SettingsError(
        f"there is no installation in {settings.data_dir.absolute()}: set ALIQUOT_DATA_DIR to its data folder "
        "(`aliquot serve` makes a new one)"
    )


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError:
        return True  # opening it says what is wrong with its rights
    except OSError:
        return False
    return True


def _open_embedded(settings: Settings, folder: Path, vault: Vault, exclusive: bool, migrate_empty: bool) -> Installation:
    postgres = EmbeddedPostgres(folder / "pg", superuser_password=_password(vault, SUPERUSER))
    lock: DataFolderLock | None = None
    if exclusive or not postgres.running():
        lock = DataFolderLock(folder)
        lock.acquire()  # refused: the database belongs to whoever holds the folder, and is left alone
    try:
        postgres.start()
        owner_url = postgres.ensure_database(_password(vault, OWNER))
        app, sequencer = (postgres.url(login, _password(vault, login)) for login in LOGINS[:2])
        urls = DatabaseUrls(app=app, sequencer=sequencer)
        return _opened(Installation(settings, vault, urls, owner_url, postgres, lock, False), migrate_empty)
    except BaseException:
        if lock is not None:
            postgres.stop()
            lock.release()
        raise


def upgrade(installation: Installation) -> None:
    """Migrate the schema with the owner's login."""
    if installation.owner_url is None:
        raise SettingsError("DATABASE_URL (the owner's login) is needed to change the schema")
    vault = installation.vault
    app, sequencer, reader = (_password(vault, login) for login in LOGINS)
    migrate.upgrade(installation.owner_url, migrate.Logins(app=app, sequencer=sequencer, reader=reader))


def _opened(installation: Installation, migrate_empty: bool) -> Installation:
    owner = installation.owner_url
    require_reachable(owner or installation.urls.app)
    installation.empty_before = owner is not None and migrate.database_version(owner) is None
    if installation.empty_before and migrate_empty:
        upgrade(installation)
    return installation


def require_serviceable(installation: Installation) -> None:
    """Refuse to serve when schema and code disagree, with a login that could rewrite the record, or with keys of another database."""
    migrate.require_current(installation.urls.app)
    with psycopg.connect(libpq_url(installation.urls.app)) as conn:
        row = conn.execute(
            "SELECT current_user, r.rolsuper OR has_table_privilege('audit_event', 'UPDATE') FROM pg_roles r WHERE r.rolname = current_user"
        ).fetchone()
    if row is None or row[1]:
        raise SettingsError(
            f"serving with the login {row[0] if row else '?'} is refused: it could rewrite the audit log. "
            "Leave DATABASE_URL_APP unset or give it the login aliquot_app"
        )
    origin = load_log_key(installation.settings.keys_dir).origin
    require_same_keys(installation.urls.app, installation.vault, origin, claim=True)


def _data_folder(settings: Settings) -> Path:
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.keys_dir.mkdir(mode=0o700, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError
    except OSError as error:
        raise SettingsError(
            f"the data folder {folder} cannot be written ({type(error).__name__}): set ALIQUOT_DATA_DIR to one that can"
        ) from error
    return folder


def open_vault(settings: Settings) -> Vault:
    """The keys of the data folder. Raises RootKeyError for those that are missing, damaged or cannot be read."""
    configured, following = (key.get_secret_value() if key else None for key in (settings.root_key, settings.root_key_next))
    try:
        roots = root_keys(settings.keys_dir, configured=configured, following=following, kms=settings.kms)
        return Vault(roots, settings.keys_dir)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        where = getattr(error, "filename", None) or settings.keys_dir / "root"
        raise RootKeyError(f"{where} cannot be read ({reason}): restore it from the keys back-up, or mend its rights") from error


def _password(vault: Vault, login: str) -> str:
    """Passwords of our own logins are derived from the root key: the same on every host, stored nowhere."""
    return vault.derive(f"postgres/{login}").hex()


def _external_urls(settings: Settings, vault: Vault) -> DatabaseUrls:
    def url(configured: object, login: str) -> str:
        if configured is not None:
            return str(configured.get_secret_value())  # type: ignore[attr-defined]  # a SecretStr
        if settings.database_url is None:
            raise SettingsError("DATABASE_URL_SEQUENCER is needed beside DATABASE_URL_APP when DATABASE_URL is not set")
        info = psycopg.conninfo.conninfo_to_dict(libpq_url(settings.database_url.get_secret_value()))
        return _as_url(info, login, _password(vault, login))

    return DatabaseUrls(app=url(settings.database_url_app, LOGINS[0]), sequencer=url(settings.database_url_sequencer, LOGINS[1]))


def _as_url(info: Mapping[str, object], user: str, password: str) -> str:
    """The same server and database under another login, as a libpq URL."""
    rest = {k: str(v) for k, v in info.items() if k not in ("user", "password", "dbname") and v is not None}
    query = "&".join(f"{k}={_quoted(v)}" for k, v in rest.items())
    return f"postgresql://{user}:{password}@/{_quoted(str(info.get('dbname', '')))}?{query}"


def _quoted(text: str) -> str:
    return quote(text, safe="")


def require_reachable(url: str) -> None:
    """Raises SettingsError with the database's own reason."""
    try:
        psycopg.connect(libpq_url(url), connect_timeout=5).close()
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split()) or "no answer"
        raise SettingsError(f"the database cannot be reached: {reason}") from error
