"""A consistent copy of a running database, and back: the wheel's pg_dump and pg_restore (PostgreSQL 18).

They read servers of their own version and older ones. Owners and rights are left out: `platform.migrate.upgrade` gives them anew.
"""

import os
import subprocess
from pathlib import Path

from psycopg import conninfo

from aliquot.platform.db import libpq_url
from aliquot.platform.postgres import PostgresError, binaries

_PLAIN = ("--no-owner", "--no-privileges")


def dump(owner_url: str, path: Path) -> None:
    """Write the database, as it is at one moment, to `path` while others go on. Raises PostgresError."""
    # The extension belongs to a superuser and is made by `ensure_database` or by hand.
    _run("pg_dump", owner_url, "--format=custom", "--exclude-extension=vector", *_PLAIN, f"--file={path}")


def restore(owner_url: str, path: Path) -> None:
    """Fill an empty database from a dump, all of it or nothing. Raises PostgresError."""
    _run("pg_restore", owner_url, "--single-transaction", "--exit-on-error", *_PLAIN, str(path))


def _run(program: str, url: str, *arguments: str) -> None:
    info = {name: str(value) for name, value in conninfo.conninfo_to_dict(libpq_url(url)).items() if value is not None}
    password = info.pop("password", None)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"}
    if password is not None:  # never an argument: everybody on the machine can read those
        environment["PGPASSWORD"] = password
    command = [str(binaries() / program), "--no-password", f"--dbname={conninfo.make_conninfo('', **info)}", *arguments]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=environment, check=False)  # noqa: S603 - ours
    if result.returncode != 0:
        lines = result.stderr.decode(errors="replace").strip().splitlines()
        raise PostgresError(f"{program} failed: {lines[0] if lines else 'no output'}")
