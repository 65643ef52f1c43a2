"""Schema and logins: bring the database to this code's version, or say clearly why it cannot be used.

Runs as the owner. The serving logins get exactly the rights the tables declare (`info` on a `Table`, see `platform.db`).
"""

from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy as sa
import structlog
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql

from aliquot.platform.db import libpq_url, metadata, sqlalchemy_url

log = structlog.get_logger(__name__)

_ADVISORY_LOCK = 0x616C6971  # "aliq": migrations run once, whoever starts first
_RIGHTS = {"write": "SELECT, INSERT, UPDATE, DELETE", "append": "SELECT, INSERT", "read": "SELECT", "none": ""}


class SchemaError(Exception):
    """The database cannot be used as it is; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """Passwords of the logins made by the owner."""

    app: str
    sequencer: str
    reader: str


def code_version() -> str:
    """The newest migration this code knows."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise SchemaError("this installation holds no migrations")
    return head


def database_version(url: str) -> str | None:
    """The migration the database is at; None for an empty one."""
    with _engine(url).connect() as conn:
        return MigrationContext.configure(conn).get_current_revision()


def upgrade(owner_url: str, logins: Logins) -> None:
    """Migrate to this code's version under an advisory lock, then make the logins and their grants. Raises SchemaError."""
    engine = _engine(owner_url)
    with engine.connect() as conn:
        conn.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY_LOCK})
        conn.commit()
        try:
            _require_vector(conn)
            _refuse_newer(MigrationContext.configure(conn).get_current_revision())
            conn.rollback()
            config = _config()
            config.attributes["connection"] = conn
            command.upgrade(config, "head")
            # After a logical restore into another cluster the ledger counts transactions anew (migration 0001); else does nothing.
            conn.execute(sa.text("SELECT aliquot_ledger_rebase()"))
            conn.commit()
        finally:
            conn.rollback()
            conn.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": _ADVISORY_LOCK})
            conn.commit()
    engine.dispose()
    _grant(owner_url, logins)


def require_current(url: str) -> None:
    """Refuse to start when schema and code disagree."""
    try:
        found = database_version(url)
    except sa.exc.ProgrammingError as error:
        raise SchemaError("the database is empty or not readable: run `aliquot db upgrade` with the owner's DATABASE_URL") from error
    expected = code_version()
    if found == expected:
        return
    _refuse_newer(found)
    raise SchemaError(f"the database schema is at version {found or 'none'}, this code needs {expected}: run `aliquot db upgrade`")


def differences(url: str) -> list[str]:
    """What `tables.py` and the migrated database disagree about; empty when they match (`make check`)."""
    with _engine(url).connect() as conn:
        options = {
            "compare_type": True,
            "include_name": lambda name, kind, _: not (kind == "table" and str(name).startswith("procrastinate_")),
        }
        return [str(difference) for difference in compare_metadata(MigrationContext.configure(conn, opts=options), metadata)]


def _refuse_newer(found: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise SchemaError(f"the database schema ({found}) is newer than this code ({code_version()}): update Aliquot")


def _require_vector(conn: sa.Connection) -> None:
    version = int(conn.execute(sa.text("SHOW server_version_num")).scalar_one())
    if version < 160000:
        raise SchemaError("PostgreSQL 16 or newer is needed")
    try:
        conn.execute(sa.text("CREATE EXTENSION IF NOT EXISTS vector"))
        conn.commit()
    except sa.exc.DBAPIError as error:
        raise SchemaError(
            "the extension pgvector is missing: install it on the database server and run CREATE EXTENSION vector as its superuser"
        ) from error


def _grant(owner_url: str, logins: Logins) -> None:
    with psycopg.connect(libpq_url(owner_url)) as conn:
        for login, password in (("app", logins.app), ("sequencer", logins.sequencer), ("reader", logins.reader)):
            _ensure_login(conn, f"aliquot_{login}", password)
        conn.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        conn.execute("GRANT USAGE ON SCHEMA public TO aliquot_app, aliquot_sequencer, aliquot_reader")
        for table in metadata.sorted_tables:
            for login, default in (("app", "write"), ("sequencer", "none"), ("reader", "none")):
                _set_rights(conn, table.name, f"aliquot_{login}", _RIGHTS[table.info.get(login, default)])
        names = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE 'procrastinate_%'").fetchall()
        for (name,) in names:
            _set_rights(conn, name, "aliquot_app", _RIGHTS["write"])
        conn.execute("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO aliquot_app, aliquot_sequencer")
        conn.execute("GRANT SELECT ON alembic_version TO aliquot_app, aliquot_sequencer, aliquot_reader")


def _ensure_login(conn: psycopg.Connection[tuple[object, ...]], name: str, password: str) -> None:
    exists = conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
    verb = "ALTER" if exists else "CREATE"
    try:
        with conn.transaction():
            conn.execute(sql.SQL(verb + " ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(password)))
    except psycopg.errors.InsufficientPrivilege as error:
        if exists:  # somebody with CREATEROLE made it: DATABASE_URL_APP and its siblings say how to log in
            return
        raise SchemaError(
            f"the owner may not create the login {name}: create it (LOGIN) yourself and set DATABASE_URL_APP/_SEQUENCER/_READER"
        ) from error


def _set_rights(conn: psycopg.Connection[tuple[object, ...]], table: str, login: str, rights: str) -> None:
    name, role = sql.Identifier(table), sql.Identifier(login)
    conn.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(name, role))
    if rights:
        conn.execute(sql.SQL("GRANT " + rights + " ON {} TO {}").format(name, role))


def _engine(url: str) -> sa.Engine:
    return sa.create_engine(sqlalchemy_url(url), poolclass=sa.pool.NullPool)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
