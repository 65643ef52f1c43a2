"""`aliquot keys rotate-root`: with a root key in a file, and with one in the environment."""

import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aliquot.cli.main import app
from aliquot.platform.root_keys import FileRootKeys
from aliquot.platform.vault import Vault

OLD, NEW = "00" * 32, "11" * 32


def run() -> tuple[int, str]:
    result = CliRunner().invoke(app, ["keys", "rotate-root"])
    return result.exit_code, result.stdout


def test_the_root_key_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, person = tmp_path / "data" / "keys", uuid.uuid4()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIQUOT_DATA_DIR", str(tmp_path / "data"))
    Vault(FileRootKeys(keys), keys).ensure_subject(person)
    before = (keys / "root").read_text()
    code, said = run()
    assert (code, "3 keys" in said, before.strip() in said) == (0, True, False)
    assert (keys / "root").read_text() != before
    assert Vault(FileRootKeys(keys), keys).knows(person)


def test_from_the_environment_it_says_what_to_do_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, person = tmp_path / "data" / "keys", uuid.uuid4()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIQUOT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ALIQUOT_ROOT_KEY", OLD)
    Vault(bytes.fromhex(OLD), keys).ensure_subject(person)
    code, said = run()
    assert (code, "ALIQUOT_ROOT_KEY_NEXT" in said, Vault(bytes.fromhex(OLD), keys).knows(person)) == (2, True, True)
    monkeypatch.setenv("ALIQUOT_ROOT_KEY_NEXT", NEW)
    code, said = run()
    assert (code, NEW in said, Vault(bytes.fromhex(NEW), keys).knows(person)) == (0, False, True)
