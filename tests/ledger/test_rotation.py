"""A rotation of the log's key survives a crash at every step, and nobody without the old key can make one."""

from pathlib import Path

import pytest

from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import SystemClock
from aliquot.ledger import anchor_store
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.errors import LogRefused
from aliquot.ledger.files import LogFiles
from aliquot.ledger.keys import NEXT, LogKeys, rotation_statement, statement_hash
from aliquot.ledger.note import LogKey, NoteError, parse_checkpoint
from aliquot.ledger.sequencer import Sequencer
from aliquot.platform.db import Database
from aliquot.platform.vault import Vault
from tests.ledger.conftest import an_event, append


class Killed(Exception):
    """The process ends here."""


class MortalKeys(LogKeys):
    """Dies before the new key takes its place."""

    def promote(self) -> None:
        raise Killed


def sequencer_of(database: Database, folder: Path, keys: LogKeys) -> Sequencer:
    return Sequencer(database, LogFiles(folder), keys, SystemClock())


async def test_a_crash_before_the_new_key_takes_its_place_is_made_good(
    database: Database, sequencer_database: Database, vault: Vault, folder: Path, tmp_path: Path
) -> None:
    keys = LogKeys(tmp_path / "keys")
    ledger, old = LedgerApi(vault, SystemClock(), key=keys), keys.current()
    await append(database, ledger, 3)
    await sequencer_of(sequencer_database, folder, keys).run_once()
    async with database.begin() as tx:
        await ledger.rotate_key(tx, keys)
    with pytest.raises(Killed):
        await sequencer_of(sequencer_database, folder, MortalKeys(tmp_path / "keys")).run_once()
    staged = keys.staged()
    assert staged is not None
    async with database.begin() as tx:
        note = (await ledger.checkpoint(tx)).note
        assert parse_checkpoint(staged.open(note)).size == 4  # signed and committed by the new key
        assert (await ledger.export(tx)).file.read(2) == b"PK"
    with pytest.raises(NoteError):
        old.open(note)
    await append(database, ledger, 2)
    await sequencer_of(sequencer_database, folder, LogKeys(tmp_path / "keys")).run_once()
    assert keys.staged() is None
    assert keys.current().vkey == staged.vkey
    assert parse_checkpoint(keys.current().open((folder / "checkpoint").read_text())).size == 6
    (tmp_path / "keys" / "log").write_text(old.secret_line())  # the old key comes back, e.g. from a back-up
    with pytest.raises(LogRefused, match="does not hold: restore it"):
        await sequencer_of(sequencer_database, folder, LogKeys(tmp_path / "keys")).run_once()


async def test_a_rotation_needs_both_keys(
    database: Database, sequencer_database: Database, vault: Vault, folder: Path, tmp_path: Path
) -> None:
    keys = LogKeys(tmp_path / "keys")
    ledger, old = LedgerApi(vault, SystemClock(), key=keys), keys.current()
    stranger = LogKey(old.origin, b"\x09" * 32)
    forged = rotation_statement(stranger, stranger, SystemClock().now())
    async with database.begin() as tx:
        versions = {"old_key": old.vkey, "new_key": stranger.vkey, "statement": statement_hash(forged)}
        event = await ledger.append(tx, an_event(action="log_key.rotated", versions=versions))
        await anchor_store.insert_rotation(tx, event_id=event, old=old.vkey, new=stranger.vkey, statement=forged, at=SystemClock().now())
    await sequencer_of(sequencer_database, folder, keys).run_once()
    async with database.begin() as tx:
        assert parse_checkpoint(old.open((await ledger.checkpoint(tx)).note)).size == 1  # placed, but nothing follows from it
    await append(database, ledger, 2)
    await sequencer_of(sequencer_database, folder, keys).run_once()  # and nobody stops the log with it
    async with database.begin() as tx:
        assert await ledger.anchors.keys_document(tx) == canonical_json({"vkeys": [old.vkey]})


async def test_a_lost_staged_key_stops_the_log_until_it_is_restored(
    database: Database, sequencer_database: Database, vault: Vault, folder: Path, tmp_path: Path
) -> None:
    keys = LogKeys(tmp_path / "keys")
    ledger, staged = LedgerApi(vault, SystemClock(), key=keys), tmp_path / "keys" / NEXT
    async with database.begin() as tx:
        await ledger.rotate_key(tx, keys)
    kept = staged.read_bytes()
    staged.unlink()
    with pytest.raises(LogRefused, match=r"log\.next"):
        await sequencer_of(sequencer_database, folder, keys).run_once()
    staged.write_bytes(kept)
    await sequencer_of(sequencer_database, folder, keys).run_once()
    assert keys.current().secret_line().encode() == kept.strip()
