"""`aliquot backup` and `aliquot restore`: two back-ups that never lie in one place (DESIGN §5), and the way back.

Data (any age): database, published log, blobs of the data folder. Keys (the newest only): wrapped subject keys and the log's
signing key. The root key is in neither. A server may go on while a back-up is made.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

import aliquot
from aliquot.cli.common import open_services, read_settings, sentences
from aliquot.cli.installation import open_existing, open_installation, require_existing, require_keys, require_serviceable, upgrade
from aliquot.kernel.clock import SystemClock, rfc3339
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform import dump
from aliquot.platform.settings import Settings, SettingsError
from aliquot.platform.telemetry import configure_logs

_DUMP, _MANIFEST = "database.dump", "manifest.json"
_LOG, _BLOBS = "tlog", "blobs"
_KEYS = ("subjects", "log")


def backup(
    folder: Annotated[Path, typer.Argument(help="Where to: a new folder for data; with --keys one whose keys are replaced")],
    keys: Annotated[bool, typer.Option("--keys", help="The keys instead of the data: keep only the newest, elsewhere")] = False,
) -> None:
    """Make a back-up; a running server goes on."""
    configure_logs(json_lines=not sys.stderr.isatty(), level="WARNING")
    with sentences():
        settings = read_settings()
        if keys:
            require_keys(settings)
            _back_up_keys(settings, folder)
        else:
            require_existing(settings)  # before the folder of the copy is made
            _back_up_data(settings, folder)


def restore(
    folder: Annotated[Path, typer.Argument(help="A data back-up")],
    keys: Annotated[Path, typer.Option("--keys", help="The newest keys back-up", show_default=False)],
) -> None:
    """Restore into a new data folder (ALIQUOT_DATA_DIR) or an empty external database. The root key must be there already."""
    configure_logs(json_lines=not sys.stderr.isatty(), level="WARNING")
    with sentences():
        settings = read_settings()
        _check(folder, keys)
        _require_new(settings)
        _put_keys(settings, keys)
        installation = open_installation(settings, exclusive=True, migrate_empty=False)
        try:
            if not installation.empty_before or installation.owner_url is None:
                raise SettingsError("the database is not empty, or its owner's DATABASE_URL is missing: nothing was restored")
            dump.restore(installation.owner_url, folder / _DUMP)
            for name in (_LOG, _BLOBS):
                if (folder / name).is_dir():
                    shutil.copytree(folder / name, settings.data_dir / name, dirs_exist_ok=True)
            upgrade(installation)
            require_serviceable(installation)
        finally:
            installation.close()
        typer.echo(f"Restored into {settings.data_dir}. Start it with `aliquot serve`.")


def _back_up_data(settings: Settings, folder: Path) -> None:
    _empty_folder(folder)
    installation = open_existing(settings)
    try:
        require_serviceable(installation)
        if installation.owner_url is None:
            raise SettingsError("DATABASE_URL (the owner's login) is needed to copy the database")
        # The order matters: the copied log never knows of more than the copied database, nor that of more than the copied blobs.
        _copy_log(settings.data_dir / _LOG, folder / _LOG)
        dump.dump(installation.owner_url, folder / _DUMP)
        if (settings.data_dir / _BLOBS).is_dir():
            shutil.copytree(settings.data_dir / _BLOBS, folder / _BLOBS)
    finally:
        installation.close()
    files = {str(path.relative_to(folder)): _sha256(path) for path in _files(folder)}
    made_at = rfc3339(SystemClock().now())
    manifest = {"aliquot": aliquot.__version__, "made_at": made_at, "blob_url": settings.blob_url is not None, "sha256": files}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    asyncio.run(_record(_sha256(folder / _MANIFEST)))
    size = sum(path.stat().st_size for path in _files(folder))
    typer.echo(f"Data back-up of {len(files)} files ({size / 1e6:.1f} MB) in {folder}. The keys are not in it: `aliquot backup --keys`.")
    if settings.blob_url is not None:
        typer.echo("Blobs lie where BLOB_URL says and were not copied: back them up there (versioned, never newer than this).")


async def _record(manifest: str) -> None:
    """The event of a data back-up; `manifest` is the SHA-256 of the file that names all others with theirs."""
    record = RecordRef(type="backup", id=manifest)
    event = AuditEvent(action="backup.made", actor="system", via="cli", record=record, versions={"manifest": manifest})
    async with open_services() as services, services.db.begin() as tx:
        await services.ledger.append(tx, event)


def _back_up_keys(settings: Settings, folder: Path) -> None:
    """Each file replaced in one step; an older copy would bring back people who were erased."""
    missing = [name for name in _KEYS if not (settings.keys_dir / name).is_file()]
    if missing:
        raise SettingsError(f"{settings.keys_dir / missing[0]} does not exist: there are no keys to copy yet")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (settings.keys_dir / "subjects.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # a key that is just being appended is waited for
        copies = {name: (settings.keys_dir / name).read_bytes() for name in _KEYS}
    for name, content in copies.items():
        _write_private(folder / name, content)
    typer.echo(f"Keys back-up in {folder}: keep this one only, never beside the data, and keys/root in a safe.")


def _check(folder: Path, keys: Path) -> None:
    """Refuse a back-up that is not whole before anything is changed."""
    try:
        expected = json.loads((folder / _MANIFEST).read_text())["sha256"]
    except (OSError, ValueError, KeyError) as error:
        raise SettingsError(f"{folder} is not a data back-up: its {_MANIFEST} cannot be read") from error
    for name, digest in expected.items():
        if not (folder / name).is_file() or _sha256(folder / name) != digest:
            raise SettingsError(f"the back-up is damaged: {folder / name} is missing or was changed")
    for path in _files(folder):  # what nobody vouched for would be taken over as blobs and tiles, a link as what it leads to
        if path.is_symlink() or str(path.relative_to(folder)) not in (_MANIFEST, *expected):
            raise SettingsError(f"the back-up is damaged: {path} does not belong to it")
    missing = [name for name in _KEYS if not (keys / name).is_file()]
    if missing:
        raise SettingsError(f"{keys} is not a keys back-up: it has no {missing[0]!r}")


def _require_new(settings: Settings) -> None:
    found = [path.name for path in settings.data_dir.iterdir() if path.name != "keys"] if settings.data_dir.is_dir() else []
    if found:
        raise SettingsError(f"{settings.data_dir} is in use (it holds {found[0]}): restore into a new data folder")
    if (settings.keys_dir / "subjects").exists():
        raise SettingsError(f"{settings.keys_dir} holds subject keys already: restore into a new data folder")
    root = settings.keys_dir / ("root" if settings.kms is None else "root.wrapped")
    if settings.root_key is None and not root.is_file():
        raise SettingsError(f"the root key is missing: put it back as {root} (0600), or set ALIQUOT_ROOT_KEY")


def _put_keys(settings: Settings, keys: Path) -> None:
    settings.keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in _KEYS:
        _write_private(settings.keys_dir / name, (keys / name).read_bytes())


def _copy_log(source: Path, target: Path) -> None:
    """The checkpoint first: what it covers is complete then, and tiles that come later do no harm."""
    target.mkdir(mode=0o700)
    if (source / "checkpoint").exists():
        shutil.copy2(source / "checkpoint", target / "checkpoint")
    for path in _files(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not place.exists() and not path.name.startswith("."):
            try:
                shutil.copy2(path, place)
            except FileNotFoundError:  # a partial tile whose full one has just been written
                continue


def _files(folder: Path) -> Iterator[Path]:
    return (Path(root) / name for root, _, names in os.walk(folder) for name in sorted(names))


def _empty_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SettingsError(f"{folder} is not empty: name a new folder")


def _write_private(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
