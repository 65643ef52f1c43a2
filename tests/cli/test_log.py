"""`aliquot log`: the key, its rotation, and the comparison of rows with the log, on a database that nobody serves."""

import shutil
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from aliquot.cli import common, main
from aliquot.cli.main import app
from tests.conftest import Urls
from tests.site import Seeded, seeded, seeded_urls  # noqa: F401 - fixtures


@pytest.fixture
def home(tmp_path: Path, seeded: Seeded, seeded_urls: Urls, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    shutil.copytree(seeded.keys, tmp_path / "data" / "keys")
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "ALIQUOT_DATA_DIR": str(tmp_path / "data"), "DATABASE_URL_APP": seeded_urls.app, "DATABASE_URL_SEQUENCER": seeded_urls.sequencer,
        "DATABASE_URL_READER": seeded_urls.reader,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for module in (common, main):
        monkeypatch.setattr(module, "configure_logs", lambda **_: None)
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["log", *arguments])
    return result.exit_code, result.stdout


def test_the_key_is_rotated_and_rows_are_compared(home: Path, seeded: Seeded, seeded_urls: Urls) -> None:  # noqa: F811
    code, first = run("key")
    assert (code, first.count("+") >= 2) == (0, True)
    secret = (home / "data" / "keys" / "log").read_text()
    code, second = run("rotate-key")
    second = second.splitlines()[-1]  # nothing configures the log of events here
    assert (code, second != first.strip(), run("key")) == (0, True, (0, second + "\n"))
    assert secret not in (home / "data" / "keys" / "log").read_text()
    assert not (home / "data" / "keys" / "log.next").exists()
    code, said = run("check")
    assert (code, "Nothing was altered." in said) == (0, True)
    with psycopg.connect(seeded_urls.superuser) as conn:
        conn.execute("UPDATE person SET roles = '{admin}' WHERE id = %s", [seeded.people["viewer"]])
    code, said = run("check")
    assert (code, "altered" in said, "roles" in said) == (1, True, True)
