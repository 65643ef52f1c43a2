"""Installation qualification: that what stands on this machine is what was delivered, set up as it must be."""

import asyncio
import os
import platform
import stat
from collections.abc import Awaitable, Callable, Iterator, Sequence

from aliquot.bootstrap import Services
from aliquot.cli.common import services_of
from aliquot.cli.doctor import checks
from aliquot.cli.installation import Installation, open_installation, require_serviceable
from aliquot.cli.qualify import database, host, package
from aliquot.cli.qualify.steps import Seen, Step, Unmet
from aliquot.ledger.note import NoteError, TreeHead, checkpoint_text, load_log_key
from aliquot.platform.settings import Settings

_DIFFERENCES = 20


class InstallationQualification:
    """The steps; `close` gives back what they opened."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: Installation | None = None

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def steps(self) -> Sequence[Step]:
        return [*self._machine(), *self._database()]

    def _machine(self) -> Iterator[Step]:
        looked_at = dict(checks())

        def doctor(name: str) -> Callable[[], Seen]:
            return lambda: Seen(looked_at[name](self._settings))

        table: tuple[tuple[str, str, Callable[[], Seen]], ...] = (
            ("Version", "The package is of the version that its code says.", package.version),
            ("Files of Aliquot", "Every file is the one the installer recorded (RECORD).", package.own_files),
            ("Files of its libraries", "Every file is the one the installer recorded.", package.other_files),
            ("Machine", "What it is, for the record.", _machine),
            ("Time", "The clock is synchronised, its largest error below 2 s.", host.time_synchronised),
            ("Settings", "Every ALIQUOT_ variable is a setting.", doctor("environment")),
            ("Data folder", "It exists and can be written.", doctor("data folder")),
            ("Rights of folders", "Nobody else may enter the folder of the keys.", self._folders),
            ("Keys", "No key file can be read by others; the root key opens the subject keys.", doctor("keys")),
            ("Free space", "More than the limit disk_low_bytes is free.", doctor("free space")),
            ("Language models", "The models file can be read and its keys are set.", doctor("models file")),
            ("Storage of files", "The folder or bucket answers this server.", doctor("storage of files")),
            ("Server", "It answers with the log of this folder, or its port is free.", doctor("server")),
        )
        for title, expected, run in table:
            yield Step(title=title, expected=expected, run=run)

    def _database(self) -> Iterator[Step]:
        opens = "It opens with the keys of this folder; the serving login cannot rewrite the log."
        yield Step(title="Database", expected=opens, run=self._open, essential=True)
        table: tuple[tuple[str, str, Callable[[Installation], Seen]], ...] = (
            ("Version of the database", "PostgreSQL 16 or newer, UTF-8, schema of this code.", database.version),
            ("Logins", "Serving and sequencer logins are no superusers, own nothing of the record, make no roles.", database.logins),
            ("Rights", "The serving login may not change, delete or truncate what is append-only.", database.rights),
            ("Triggers", "Tables of the record refuse change and truncation, also for their owner.", database.triggers),
            ("Checkpoint", "The newest checkpoint is signed by the key of this folder.", _checkpoint),
            ("Changes of the log", "UPDATE, DELETE and TRUNCATE are refused to each login when they are tried.", database.refusals),
            ("Rows and log", "Stored rows are what the log says of them; the log has its signed root.", _rows),
        )
        for title, expected, look in table:
            yield Step(title=title, expected=expected, run=self._on(look))

    def _folders(self) -> Seen:
        found = []
        for folder in (self._settings.data_dir, self._settings.keys_dir):
            mode = stat.S_IMODE(folder.stat().st_mode)
            if folder == self._settings.keys_dir and mode & 0o077:
                raise Unmet(f"{folder} has the rights {mode:04o}.")
            found.append(f"{folder}: {mode:04o}, owner {folder.stat().st_uid}, this user {os.geteuid()}")
        return Seen("They are as expected.", tuple(found))

    def _open(self) -> Seen:
        self._opened = open_installation(self._settings, exclusive=False)
        require_serviceable(self._opened)
        return Seen("embedded in the data folder" if self._settings.embedded else "external server")

    def _on(self, look: Callable[[Installation], Seen]) -> Callable[[], Seen]:
        def run() -> Seen:
            if self._opened is None:
                raise Unmet("The database was not opened.")
            return look(self._opened)

        return run


def _machine() -> Seen:
    return Seen(f"Python {platform.python_version()}", (platform.platform(), platform.node(), f"{os.cpu_count()} processors"))


def _checkpoint(installation: Installation) -> Seen:
    async def look(services: Services) -> Seen:
        key = load_log_key(installation.settings.keys_dir)
        await services.sequencer.run_once()  # does nothing while a running server holds that office
        async with services.db.begin() as tx:
            found = await services.ledger.checkpoint(tx)
        try:
            text = key.open(found.note)
        except NoteError as error:
            raise Unmet(f"The checkpoint does not open with the key of this folder: {error}") from error
        if text != checkpoint_text(TreeHead(key.origin, found.size, bytes.fromhex(found.root_hash))):
            raise Unmet("The checkpoint says another size or root than the database.")
        return Seen(f"{found.size} events, root {found.root_hash}", (f"verifier key {key.vkey}",))

    return _asked(installation, look)


def _rows(installation: Installation) -> Seen:
    async def look(services: Services) -> Seen:
        result = await services.rechecker.check_and_record(via="cli")
        compared = ", ".join(f"{count} {name}" for name, count in result.compared.items())
        if result.differences:
            told = [f"{d.kind} {d.record_type} {d.record_id}: {d.what}" for d in result.differences[:_DIFFERENCES]]
            raise Unmet(f"{len(result.differences)} differences.", *told)
        return Seen("Nothing was altered.", (f"compared: {compared}",))

    return _asked(installation, look)


def _asked(installation: Installation, look: Callable[[Services], Awaitable[Seen]]) -> Seen:
    async def run() -> Seen:
        async with services_of(installation) as services:
            return await look(services)

    return asyncio.run(run())
