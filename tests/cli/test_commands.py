"""What the commands say before anything is started: settings that cannot be meant, files that cannot be used."""

import hashlib
import json
import os
from pathlib import Path

import httpx2
import pytest
from click.testing import Result
from typer.testing import CliRunner

import aliquot
from aliquot.cli import backup, common, main
from aliquot.cli.main import app
from aliquot.ledger.note import load_log_key
from aliquot.platform.migrate import database_version
from aliquot.platform.postgres import DataFolderLock
from tests.conftest import Cluster, Urls


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; the data folder would be `data` below it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALIQUOT_CONFIG", raising=False)
    monkeypatch.setenv("ALIQUOT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ALIQUOT_PORT", "0")
    for module in (backup, common, main):
        monkeypatch.setattr(module, "configure_logs", lambda **_: None)  # it would outlive the test
    return tmp_path


def test_the_version_is_said(folder: Path) -> None:
    assert run("--version").stdout == f"aliquot {aliquot.__version__}\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trusted_proxys = ['10.0.0.1']", "unknown setting 'trusted_proxys' (did you mean trusted_proxies?)"),
        ("[limits]\nlogin_failure = 3", "unknown limit 'login_failure' (did you mean login_failures?)"),
        ("colour = 'blue'", "unknown setting 'colour'"),
        ("[[dashboards]]\nid = 'or'\nname = 'OR'\navailable_tool = []", "setting dashboards"),
    ],
)
def test_a_name_that_does_not_exist_in_the_file_refuses_the_start(folder: Path, text: str, said: str) -> None:
    (folder / "aliquot.toml").write_text(text)
    started = run("serve")
    assert (started.exit_code, started.stderr.count("\n")) == (2, 1)
    assert said in started.stderr
    assert not (folder / "data").exists()
    assert said in run("doctor").stdout


@pytest.mark.rule("11.30", "HIPAA 164.312(e)")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "lab.example.org"])
def test_serving_others_without_tls_is_refused(folder: Path, host: str) -> None:
    started = run("serve", "--no-demo", "--host", host)
    assert (started.exit_code, "without TLS is refused" in started.stderr) == (2, True), started.stderr
    assert not (folder / "data" / "pg").exists()


def test_a_variable_that_does_nothing_is_warned_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIQUOT_TRUSTED_PROXYS", "10.0.0.1")
    monkeypatch.setenv("ALIQUOT_LOCAL_KEY", "sk-1")
    monkeypatch.setenv("ALIQUOT_MODELS", str(folder / "models.toml"))
    (folder / "models.toml").write_text(
        '[[models]]\nname = "l"\nprovider = "openai-compatible"\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "m"\n'
        'api_key_env = "ALIQUOT_LOCAL_KEY"\n'
    )
    started = run("serve", "--host", "192.0.2.1")  # refused for another reason: nothing is started
    warning = "the environment variable ALIQUOT_TRUSTED_PROXYS is not a setting and does nothing (did you mean ALIQUOT_TRUSTED_PROXIES?)"
    assert started.exit_code == 2
    assert f"aliquot: warning: {warning}\n" in started.stderr
    assert "ALIQUOT_LOCAL_KEY" not in started.stderr  # the models file names it
    found = run("doctor")
    assert found.exit_code == 1
    assert f"✗ environment: {warning}\n" in found.stdout


def test_a_damaged_models_file_is_said_before_anything_starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIQUOT_MODELS", str(folder / "models.toml"))
    (folder / "models.toml").write_text('[[models]]\nname = "claude"\nprovider = "antropic"\nmodel = "m"\n')
    started = run("serve")
    assert started.exit_code == 2
    assert "models.toml" in started.stderr
    assert "provider" in started.stderr
    assert not (folder / "data").exists()


def test_a_database_of_other_keys_is_refused(folder: Path, urls: Urls, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "data" / "keys").mkdir(parents=True)
    monkeypatch.setenv("ALIQUOT_ROOT_KEY", "ab" * 32)  # the same root key is not enough
    monkeypatch.setenv("DATABASE_URL_APP", urls.app)
    monkeypatch.setenv("DATABASE_URL_SEQUENCER", urls.sequencer)
    assert run("user", "list").exit_code == 0
    assert "external, schema version" in run("doctor").stdout
    monkeypatch.setenv("ALIQUOT_DATA_DIR", str(folder / "other"))
    (folder / "other" / "keys").mkdir(parents=True)
    refused = run("user", "list")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "belongs to another key folder" in refused.stderr
    assert "✗ database: this database belongs to another key folder" in run("doctor").stdout
    monkeypatch.setenv("ALIQUOT_DATA_DIR", str(folder / "data"))
    assert run("user", "list").exit_code == 0
    (folder / "data" / "keys" / "log").unlink()
    assert "keys/log is not the key" in run("user", "list").stderr


@pytest.mark.rule("Annex 11 s.7.2")
def test_a_restore_that_cannot_be_whole_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALIQUOT_ROOT_KEY", raising=False)
    data, keys = folder / "copy", folder / "keys"
    data.mkdir()
    keys.mkdir()

    def refusal() -> str:
        result = run("restore", str(data), "--keys", str(keys))
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.stderr
        return result.stderr

    assert "not a data back-up" in refusal()
    (data / "database.dump").write_bytes(b"PGDMP")
    digest = hashlib.sha256(b"PGDMP").hexdigest()
    (data / "manifest.json").write_text(json.dumps({"sha256": {"database.dump": digest}}))
    assert "not a keys back-up" in refusal()
    for name in ("subjects", "log"):
        (keys / name).touch()
    assert "root key is missing" in refusal()
    (data / "database.dump").write_bytes(b"changed")
    assert "missing or was changed" in refusal()
    assert not (folder / "data").exists()
    for path in ("keys/log", "pg/PG_VERSION"):  # what a back-up takes for an installation
        (folder / "data" / path).parent.mkdir(parents=True)
        (folder / "data" / path).touch()
    assert "is not empty" in run("backup", str(data)).stderr


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("root", b"\xff\x00" * 40, "keys/root cannot be read (it is not text)"),
        ("root", b"ab" * 16 + b"\n", "does not hold a root key"),
        ("root", b"cd" * 32 + b"\n", "wrapped with another root key, or the key file is damaged"),
        ("root", None, "keys/root is missing, but keys wrapped with it exist"),
        ("subjects", b"\x00" * 76, "wrapped with another root key, or the key file is damaged"),
        ("log", b"not a key", "keys/log"),
    ],
)
def test_damaged_keys_are_said_by_file(
    folder: Path, urls: Urls, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None, said: str
) -> None:
    monkeypatch.setenv("DATABASE_URL_APP", urls.app)
    monkeypatch.setenv("DATABASE_URL_SEQUENCER", urls.sequencer)
    (folder / "data" / "keys").mkdir(parents=True)
    assert run("user", "list").exit_code == 0
    (folder / "data" / "keys" / name).unlink()
    if content is not None:
        (folder / "data" / "keys" / name).write_bytes(content)
        (folder / "data" / "keys" / name).chmod(0o600)
    refused = run("user", "list")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1), refused.output
    assert said in refused.stderr
    found = run("doctor")
    assert found.exit_code == 1
    assert said in found.stdout


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("rubbish", "setting DATABASE_URL: a database URL starts with postgresql://"),
        ("postgresql://u:secret@[h/db", "setting DATABASE_URL: it cannot be read as postgresql://"),
    ],
)
def test_a_database_url_that_is_none_is_a_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch, url: str, said: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    for command in (("serve",), ("db", "upgrade"), ("user", "list")):
        refused = run(*command)
        assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1), refused.output
        assert said in refused.stderr
        assert "secret" not in refused.output
    found = run("doctor")
    assert found.exit_code == 1
    assert said in found.stdout


def test_a_data_folder_that_is_a_file_or_below_one_is_no_all_clear(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").touch()
    for place in ("file", "file/below"):
        monkeypatch.setenv("ALIQUOT_DATA_DIR", str(folder / place))
        found = run("doctor")
        assert (found.exit_code, f"✗ data folder: {folder / 'file'} is a file, not a folder" in found.stdout) == (1, True), found.stdout


def test_the_server_of_another_data_folder_is_not_taken_for_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "data" / "keys").mkdir(parents=True)
    origin = load_log_key(folder / "data" / "keys").origin

    def answering(log: str | None) -> Result:
        document = {"status": "ok", "version": "1", "parts": {}} | ({} if log is None else {"log": log})
        monkeypatch.setattr(httpx2, "get", lambda *_, **__: httpx2.Response(200, json=document))
        return run("doctor")

    assert "✓ server: running, version 1" in answering(origin).stdout
    for other in ("aliquot/other", None):
        assert "is not that of this data folder" in answering(other).stdout
    (folder / "data" / "keys" / "log").unlink()
    assert "is not that of this data folder" in answering(origin).stdout


def test_a_server_of_this_folder_on_another_port_is_not_reported_as_not_running(folder: Path) -> None:
    (folder / "data").mkdir(exist_ok=True)
    lock = DataFolderLock(folder / "data")
    lock.acquire()
    found = run("doctor")
    assert (found.exit_code, f"✗ server: process {os.getpid()} uses this data folder" in found.stdout) == (1, True), found.stdout
    lock.release()
    assert "✓ server: not running" in run("doctor").stdout


def test_a_person_added_without_a_name_is_not_called_by_the_address(folder: Path, urls: Urls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL_APP", urls.app)
    monkeypatch.setenv("DATABASE_URL_SEQUENCER", urls.sequencer)
    (folder / "data" / "keys").mkdir(parents=True)
    added = run("user", "add", "grace.hopper@example.org", "--role", "viewer")
    assert added.stdout.startswith("Name: Grace Hopper\nOne-time password: "), added.output
    assert "Grace Hopper" in run("user", "list").stdout


_ON_WHAT_IS_THERE = (
    "log check", "log key", "log rotate-key", "keys rotate-root", "lab export", "lab import file.toml", "lab import file.toml --dry-run",
    "user list", "user add a@example.org --role viewer --name A", "user disable a@example.org", "user enable a@example.org",
    "user password a@example.org", "user roles a@example.org --role viewer", "user key a@example.org", "backup copy", "backup --keys copy",
)  # fmt: skip


@pytest.mark.parametrize("external", [False, True], ids=["embedded", "external"])
@pytest.mark.parametrize("command", _ON_WHAT_IS_THERE)
def test_where_nothing_is_installed_nothing_is_made_and_nothing_reported(
    folder: Path, urls: Urls, monkeypatch: pytest.MonkeyPatch, command: str, external: bool
) -> None:
    """A wrong working folder or ALIQUOT_DATA_DIR must not be answered with "Nothing was altered." about a new, empty installation."""
    if external:
        for name, url in {"DATABASE_URL": urls.owner, "DATABASE_URL_APP": urls.app, "DATABASE_URL_SEQUENCER": urls.sequencer}.items():
            monkeypatch.setenv(name, url)
    (folder / "file.toml").write_text("format = 1\n")
    refused = run(*command.split())
    mend = "set ALIQUOT_DATA_DIR to its data folder (`aliquot serve` makes a new one)"
    said = f"aliquot: there is no installation in {folder / 'data'}: {mend}\n"
    assert (refused.exit_code, refused.stdout, refused.stderr) == (2, "", said)
    assert [path.name for path in folder.iterdir()] == ["file.toml"]


def test_keys_without_their_embedded_database_are_no_installation(folder: Path) -> None:
    (folder / "data" / "keys").mkdir(parents=True)
    refused = run("log", "check")
    assert (refused.exit_code, "there is no installation in" in refused.stderr) == (2, True), refused.output
    assert not list((folder / "data" / "keys").iterdir())


def test_an_empty_database_is_not_reported_on(folder: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "data" / "keys").mkdir(parents=True)
    with cluster.database("template1") as empty:
        for name, url in {"DATABASE_URL": empty.owner, "DATABASE_URL_APP": empty.app, "DATABASE_URL_SEQUENCER": empty.sequencer}.items():
            monkeypatch.setenv(name, url)
        refused = run("log", "check")
        assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (2, "", 1), refused.output
        assert f"the database of {folder / 'data'} is empty" in refused.stderr
        assert database_version(empty.owner) is None
