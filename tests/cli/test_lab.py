"""`aliquot lab`: an empty laboratory filled from the file in docs/laboratory.md, changed, and written again; all or nothing."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from aliquot.cli import lab as command
from aliquot.cli.main import app
from aliquot.lab.api import LabApi
from aliquot.ledger.api import LedgerApi
from aliquot.platform.db import Database
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Vault
from tests.conftest import ManualClock, Urls

DOC = Path(__file__).parents[2] / "docs" / "laboratory.md"
EXAMPLE = re.findall(r"```toml\n(.*?)```", DOC.read_text("utf-8"), re.DOTALL)[0]

Run = Callable[..., tuple[int, str]]


@dataclass
class _Services:
    db: Database
    lab: LabApi


@pytest.fixture
def run(urls: Urls, vault: Vault, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    @asynccontextmanager
    async def services() -> AsyncIterator[_Services]:
        db = Database(urls.app, pool_size=2)
        yield _Services(db=db, lab=LabApi(LedgerApi(vault, clock), clock, Settings(), vault))
        await db.close()

    monkeypatch.setattr(command, "open_services", services)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, file: str | bytes | None = None) -> tuple[int, str]:
        if file is not None:
            (tmp_path / "lab.toml").write_bytes(file if isinstance(file, bytes) else file.encode())
        result = CliRunner().invoke(app, ["lab", *arguments])
        return result.exit_code, result.stdout + result.stderr

    return call


def actions(urls: Urls) -> list[str]:
    async def read() -> list[str]:
        db = Database(urls.app, pool_size=1)
        async with db.begin() as tx:
            rows = await tx.rows(text("SELECT body FROM audit_event ORDER BY id"))
        await db.close()
        return [f"{event['action']} {event['record']['id']} {event['via']}" for row in rows for event in [json.loads(bytes(row.body))]]

    return asyncio.run(read())


def test_a_laboratory_is_filled_changed_and_written_again(run: Run, urls: Urls) -> None:
    code, said = run("import", "lab.toml", "--dry-run", file=EXAMPLE)
    assert (code, said.splitlines()) == (
        0,
        [
            "+ instrument PCR-07: add (thermocycler, Gradient thermocycler, Room 3.02, bench A)",
            "+ protocol PCR-TOUCH: publish (version 1)",
            "2 changes; nothing was changed: this was a dry run.",
        ],
    )
    assert actions(urls) == []
    assert run("import", "lab.toml") == (0, said.replace("; nothing was changed: this was a dry run", ""))
    assert actions(urls) == ["instrument.added PCR-07 cli", "protocol.published PCR-TOUCH cli"]
    assert run("import", "lab.toml") == (0, "No changes.\n")
    assert run("export", "out.toml") == (0, "Written to out.toml.\n")
    assert run("import", "out.toml") == (0, "No changes.\n")

    changed = EXAMPLE.replace("bench A", "bench B").replace("speed = 60", "speed = 2.5").replace("seconds = 30", "seconds = 45", 1)
    changed = changed.replace("# retired = true", "retired = true")
    code, said = run("import", "lab.toml", file=changed)
    assert (code, said.splitlines()) == (
        0,
        [
            '~ instrument PCR-07: change (location: "Room 3.02, bench A" -> "Room 3.02, bench B"; '
            'settings: {"speed": 60} -> {"speed": 2.5})',
            "- instrument PCR-07: retire",
            "+ protocol PCR-TOUCH: publish (version 1 -> 2; steps: 1 changed)",
            "3 changes.",
        ],
    )
    assert run("import", "lab.toml") == (0, "No changes.\n")
    exported = run("export")[1]
    assert "retired = true" in exported
    assert run("import", "lab.toml", file=exported) == (0, "No changes.\n")
    code, said = run("import", "lab.toml", file=EXAMPLE)
    assert said.splitlines()[0] == "+ instrument PCR-07: reinstate"
    assert len(actions(urls)) == 2 + 3 + 3


BAD: list[tuple[str | bytes, str]] = [
    (b"\xff\xfe", "is not TOML in UTF-8"),
    (b"format = " + b"1" * 5_000, "is not TOML in UTF-8"),
    ("format = 1\n[[instrument", "is not TOML"),
    ("", "it must begin with format = 1"),
    ("format = 2", "it must begin with format = 1"),
    ("format = true", "it must begin with format = 1"),
    ("format = 1.0", "it must begin with format = 1"),
    ("format = 1\nprotocols = 3", "the unknown part 'protocols'"),
    ("format = 1\ninstrument = 3", "instrument is no list"),
    ("format = 1\ninstrument = [3]", "instrument 1, code: Field required"),
    (EXAMPLE.replace('"PCR-07"', '"pcr 07"'), "instrument 1 (pcr 07), code: String should match"),
    (EXAMPLE.replace('kind = "thermocycler"', 'kind = "toaster"', 1), "instrument 1 (PCR-07), kind: Input should be"),
    (EXAMPLE.replace("speed = 60", "speed = 0"), "speed is a number from 0.01 to 100000"),
    (EXAMPLE.replace("speed = 60", "password = 60"), "knows the setting speed only, not password"),
    (EXAMPLE.replace('"simulated"', '"magic"'), "There is no such driver. Known are: simulated."),
    (EXAMPLE.replace("default = 30", "default = 50"), "a default lies outside its range"),
    (EXAMPLE.replace("default = 30", "default = 30.5"), "whole number"),
    (EXAMPLE.replace("default = 30", 'default = "30"'), "protocol 1 (PCR-TOUCH), parameters 1 default: Input should be a valid number"),
    (EXAMPLE.replace("default = 30", "default = nan"), "finite number"),
    (EXAMPLE.replace("seconds = 30", "seconds = -1", 1), "steps 1 seconds: Input should be greater"),
    (EXAMPLE.replace('repeat_by = "cycles"', 'repeat_by = "rounds"', 1), "a step names a parameter the protocol does not have"),
    (EXAMPLE.replace('unit = "°C"', 'unit = "\\u0000"', 1), "parameters 2 unit: String should match"),
    (EXAMPLE.replace("max_samples = 96", "max_samples = 385"), "max_samples: Input should be less"),
    (EXAMPLE.replace("max_samples = 96", "version = 7"), "a file gives no versions"),
    (EXAMPLE.replace("max_samples = 96", "colour = 7"), "colour: Extra inputs are not permitted"),
    (EXAMPLE.replace("# retired = true", 'retired = "yes"'), "retired is true or false"),
    (EXAMPLE + EXAMPLE.split("\n", 1)[1], "instrument PCR-07 is there twice"),
    ("format = 1\n" + "#" * 4_000_001, "more than 4000000 bytes"),
]


def test_what_cannot_be_imported_changes_nothing(run: Run, urls: Urls) -> None:
    """The good entries of a bad file neither: all of them stand before or beside the bad one."""
    for file, sentence in BAD:
        code, said = run("import", "lab.toml", file=file)
        assert (code, sentence in said) == (2, True), (sentence, said)
        assert said.count("\n") == 1, said
    assert actions(urls) == []
    assert run("import", "nowhere.toml")[0] == 2
    assert run("import", "lab.toml", file=EXAMPLE)[0] == 0
    other_kind = EXAMPLE.replace('kind = "thermocycler"', 'kind = "hplc"', 1).replace("bench A", "bench Z")
    code, said = run("import", "lab.toml", file=other_kind)
    assert (code, said) == (2, "aliquot: PCR-07 is a thermocycler here and a hplc in the file: a kind never changes.\n")
    assert len(actions(urls)) == 2
