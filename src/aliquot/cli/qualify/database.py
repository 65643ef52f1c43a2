"""The database: version, logins, rights, triggers, and that changes of the record are refused when they are tried."""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from aliquot.cli.installation import Installation
from aliquot.cli.qualify.steps import Seen, Unmet
from aliquot.platform import migrate
from aliquot.platform.db import libpq_url, metadata

_VERSION_MIN = 160_000
_RIGHTS_ALONE = {"installation", "protocol_version"}
"""Append-only by rights; the owner may change them (see their migrations)."""
_ATTEMPTS = (
    "UPDATE audit_event SET actor = actor WHERE id = (SELECT id FROM audit_event ORDER BY at LIMIT 1)",
    "DELETE FROM audit_event WHERE id = (SELECT id FROM audit_event ORDER BY at LIMIT 1)",
    "TRUNCATE audit_event",
    "UPDATE audit_log SET leaf_hash = leaf_hash WHERE seq = 0",
    "DELETE FROM audit_log WHERE seq = 0",
    "TRUNCATE audit_log",
)
_TRIGGERS = """
SELECT c.relname, t.tgtype FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_proc AS p ON p.oid = t.tgfoid
WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND p.proname = 'aliquot_append_only'
"""
_ROW_CHANGE, _TRUNCATE = 1 | 2 | 8 | 16, 2 | 32
"""tgtype (pg_trigger.h): row, before, delete, update; before, truncate."""


def append_only() -> list[str]:
    """The tables to which the serving login only adds."""
    return sorted(table.name for table in metadata.sorted_tables if table.info.get("app") == "append")


def version(installation: Installation) -> Seen:
    with psycopg.connect(libpq_url(installation.urls.app)) as conn:
        number, full, encoding, checksums = _one(conn, _ABOUT)
    found = migrate.database_version(installation.urls.app)
    evidence = (f"{full}, encoding {encoding}, page checksums {checksums}", f"schema version {found}, of the code {migrate.code_version()}")
    if int(str(number)) < _VERSION_MIN or encoding != "UTF8":
        raise Unmet("The server is older than 16 or not in UTF-8.", *evidence)
    if found != migrate.code_version():
        raise Unmet("The schema is not the code's: run `aliquot db upgrade`.", *evidence)
    return Seen(f"PostgreSQL {int(str(number)) // 10_000}, schema {found}", evidence)


_ABOUT = "SELECT current_setting('server_version_num'), version(), current_setting('server_encoding'), current_setting('data_checksums')"


def logins(installation: Installation) -> Seen:
    found = []
    for url in (installation.urls.app, installation.urls.sequencer):
        with psycopg.connect(libpq_url(url)) as conn:
            row = _one(conn, _LOGIN)
            if any(row[1:]):
                raise Unmet(f"The login {row[0]} is superuser, owner of the record, or may make roles, databases or copies.")
            found.append(str(row[0]))
    return Seen(f"{' and '.join(found)} have no such right.")


_LOGIN = """
SELECT current_user, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolbypassrls, r.rolreplication,
pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = 'audit_event'::regclass), 'USAGE')
FROM pg_roles AS r WHERE r.rolname = current_user
"""


def rights(installation: Installation) -> Seen:
    tables = append_only()
    wrong = []
    with psycopg.connect(libpq_url(installation.urls.app)) as conn:
        for table in tables:
            row = _one(
                conn, "SELECT " + ", ".join(f"has_table_privilege({sql.Literal(table).as_string()}, '{right}')" for right in _CHANGES)
            )
            wrong += [f"{right} on {table}" for right, given in zip(_CHANGES, row, strict=True) if given]
    if wrong:
        raise Unmet(f"The serving login has {len(wrong)} rights too many.", *wrong)
    return Seen(f"It may only read and add to {len(tables)} tables.", (", ".join(tables),))


_CHANGES = ("UPDATE", "DELETE", "TRUNCATE")


def triggers(installation: Installation) -> Seen:
    with psycopg.connect(libpq_url(installation.urls.app)) as conn:
        found = {(str(table), int(kind)) for table, kind in conn.execute(_TRIGGERS).fetchall()}
    tables = [table for table in (*append_only(), "audit_log", "audit_node") if table not in _RIGHTS_ALONE]
    missing = [table for table in tables if not {(table, _ROW_CHANGE), (table, _TRUNCATE)} <= found]
    if missing:
        raise Unmet(f"{len(missing)} tables lack an enabled trigger.", *missing)
    return Seen(f"{len(tables)} tables have both triggers, enabled.", (", ".join(tables),))


def refusals(installation: Installation) -> Seen:
    """Tries to change the record, in transactions that are rolled back whatever happens."""
    told = []
    for who, url in (
        ("serving login", installation.urls.app),
        ("sequencer", installation.urls.sequencer),
        ("owner", installation.owner_url),
    ):
        if url is None:
            told.append("owner: its login is not known here")
            continue
        told += [f"{who}: {attempt.partition(' WHERE')[0]}: {_refused(url, attempt)}" for attempt in _ATTEMPTS]
    return Seen(f"All {sum('SQLSTATE' in line for line in told)} attempts were refused.", tuple(told))


def _refused(url: str, attempt: str) -> str:
    """The SQLSTATE of the refusal. Raises Unmet when there was none."""
    with psycopg.connect(libpq_url(url)) as conn:
        conn.execute("SET LOCAL lock_timeout = '5s'")
        if any(conn.execute(f"SELECT FROM {table} LIMIT 1".encode()).fetchone() is None for table in ("audit_event", "audit_log")):
            raise Unmet("The log holds no event: start the server once.")
        try:
            changed = conn.execute(attempt.encode()).rowcount
        except psycopg.Error as error:
            if isinstance(error, psycopg.errors.LockNotAvailable):
                raise Unmet(f"Not decided, the table was busy: {attempt}") from error
            return f"refused, SQLSTATE {error.sqlstate}"
        finally:
            conn.rollback()
    raise Unmet(f"Not refused ({changed} rows, rolled back): {attempt}")


def _one(conn: psycopg.Connection[tuple[object, ...]], query: str) -> Sequence[object]:
    row = conn.execute(query.encode()).fetchone()
    if row is None:
        raise Unmet("The database gave no answer.")
    return row
