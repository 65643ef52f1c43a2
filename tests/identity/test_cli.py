"""`aliquot user` on an external database: once as a real process, the rest in this one (a process costs seconds of imports)."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aliquot.cli import common
from aliquot.cli.user import app
from tests.conftest import PATIENCE, Urls
from tests.identity.conftest import House


@pytest.fixture
def environment(house: House, urls: Urls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings of the test's own installation."""
    for name in [name for name in os.environ if name.startswith(("ALIQUOT_", "DATABASE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return {
        "ALIQUOT_DATA_DIR": str(tmp_path),
        "ALIQUOT_ROOT_KEY": house.vault._root.hex(),
        "DATABASE_URL": urls.owner,
        "DATABASE_URL_APP": urls.app,
        "DATABASE_URL_SEQUENCER": urls.sequencer,
    }


@pytest.fixture
def user(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> "User":
    monkeypatch.setattr(common, "configure_logs", lambda **_: None)  # it would outlive the test
    return User(environment)


class User:
    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment | {"COLUMNS": "200"}

    async def __call__(self, *arguments: str, fails: bool = False) -> str:
        # In a thread, because the command brings its own event loop.
        result = await asyncio.to_thread(lambda: CliRunner().invoke(app, arguments, env=self._environment))
        assert (result.exit_code != 0) == fails, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return (result.stderr if fails else result.stdout).strip()


async def test_a_person_from_the_first_password_to_the_end(house: House, user: User) -> None:
    printed = await user("add", "Ada@demo.lab", "--role", "viewer", "--name", "Ada Lovelace")
    password = printed.rpartition("One-time password: ")[2]
    assert (await house.login("ada@demo.lab", password)).json()["user"]["must_change"] is True
    program = house.client(await user("key", "ada@demo.lab", "--name", "robot"))
    assert (await program.get("/probe/read")).status_code == 200
    assert await user("roles", "ada@demo.lab", "-r", "scientist", "-r", "viewer") == "Roles: scientist, viewer"
    assert (await program.get("/probe/operate")).status_code == 200
    listed = await user("list")
    assert all(part in listed for part in ("ada@demo.lab", "Ada Lovelace", "scientist, viewer", "must change password"))
    reset = (await user("password", "ada@demo.lab")).removeprefix("One-time password: ")
    assert (await house.login("ada@demo.lab", password)).status_code == 401
    assert (await house.login("ada@demo.lab", reset)).status_code == 200
    await user("disable", "ada@demo.lab")
    assert (await program.get("/probe/read")).status_code == 401
    assert (await house.login("ada@demo.lab", reset)).status_code == 401
    await user("enable", "ada@demo.lab")
    assert (await house.login("ada@demo.lab", reset)).status_code == 200
    (event,) = await house.events("person.disabled")
    assert (event["actor"], event["via"]) == ("system", "cli")


async def test_a_refusal_is_a_sentence(house: House, user: User) -> None:
    await house.make("admin@demo.lab", "admin")
    assert "last active administrator" in await user("disable", "admin@demo.lab", fails=True)
    assert "no such person" in await user("password", "nobody@demo.lab", fails=True)
    assert "Roles are" in await user("add", "a@demo.lab", "--role", "king", fails=True)


async def test_as_a_process(house: House, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "aliquot.cli.main", "user", "add", "ada@demo.lab", "--role", "viewer"]
    done = await asyncio.to_thread(
        lambda: subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
    )
    assert done.returncode == 0, done.stderr
    assert (await house.login("ada@demo.lab", done.stdout.strip().rpartition("One-time password: ")[2])).status_code == 200
