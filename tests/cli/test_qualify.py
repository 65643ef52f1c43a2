# ruff: noqa: F811 - fixtures are imported and asked for by name
"""`aliquot qualify`: steps that pass on a sound site and fail when a control is broken; the signed report of both commands."""

import asyncio
import base64
import hashlib
import json
import re
import shutil
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pypdf import PdfReader
from typer.testing import CliRunner

from aliquot.cli import common, main
from aliquot.cli.main import app
from aliquot.cli.qualify import command, host, package
from aliquot.cli.qualify.installation import InstallationQualification
from aliquot.cli.qualify.operation import OperationQualification
from aliquot.cli.qualify.scratch import Scratch
from aliquot.cli.qualify.steps import Outcome, Seen, Step, Unmet, execute
from aliquot.kernel.clock import SystemClock
from aliquot.platform.settings import load_settings
from aliquot_verify.document import judge
from tests.conftest import Urls
from tests.site import PASSWORD, Seeded, Site, running_site, seeded, seeded_urls, site  # noqa: F401 - fixtures


def silent(_: Outcome) -> None:
    """Nobody watches."""


# --- operation


class OnSite(Scratch):
    """The instance is a site of the test, in its own event loop."""

    def __init__(self, site: Site, folder: Path) -> None:
        super().__init__(folder)
        self.url, self.password, self.data = site.url, PASSWORD, site.services.settings.data_dir

    def start(self) -> None:
        """It runs already."""

    def stop(self) -> None:
        for client in self._clients:
            client.close()


_ELSEWHERE = {"Changes of the log", "Crash", "Back-up", "Damaged back-up", "Encryption"}
"""Need an embedded database and a process to kill: tests_system/test_qualification.py."""


async def tried(site: Site, folder: Path, *titles: str) -> dict[str, Outcome]:
    def run() -> list[Outcome]:
        qualification = OperationQualification(OnSite(site, folder))
        steps = [s for s in qualification.steps() if (s.title in titles if titles else s.title not in _ELSEWHERE)]
        try:
            return execute("OQ", steps, SystemClock(), silent)
        finally:
            qualification.close()

    await asyncio.to_thread(folder.mkdir)
    return {outcome.title: outcome for outcome in await asyncio.to_thread(run)}


@pytest.mark.rule("11.10(a)", "11.10(d)", "11.10(f)")
async def test_the_controls_of_a_sound_site_pass(site: Site, tmp_path: Path) -> None:
    outcomes = await tried(site, tmp_path / "oq")
    assert {title: outcome.actual for title, outcome in outcomes.items() if outcome.result != "pass"} == {}
    assert len(outcomes) == 14
    assert "final" in outcomes["Signature"].actual
    assert [line.partition(":")[0] for line in outcomes["Audit trail"].evidence][:3] == ["login.failed", "login.locked", "tool_call.held"]


async def test_a_broken_control_fails_its_step_and_no_other(
    seeded_urls: Urls,
    seeded: Seeded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fails when a step passes whatever the server does."""
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, limits={"login_failures": 50}) as running:
        app_of = running.services.identity
        confirm = app_of.confirm_password

        async def takes_any(*_: Any, **__: Any) -> None:
            return None

        monkeypatch.setattr(app_of, "confirm_password", takes_any)
        wanted = ("Access by role", "Lock-out", "Signature, wrong password")
        outcomes = await tried(running, tmp_path / "oq", *wanted)
        monkeypatch.setattr(app_of, "confirm_password", confirm)
    assert {title: outcome.result for title, outcome in outcomes.items()} == dict(zip(wanted, ("pass", "fail", "fail"), strict=True))
    assert "answered 200" in outcomes["Lock-out"].actual
    assert "answered 201" in outcomes["Signature, wrong password"].actual


def test_after_an_essential_step_nothing_is_claimed() -> None:
    def breaks() -> Seen:
        raise RuntimeError("x" * 5_000)

    def unmet() -> Seen:
        raise Unmet("was 3", "a", "b")

    steps = [
        Step(title="a", expected="", run=lambda: Seen("well")), Step(title="b", expected="", run=breaks),
        Step(title="c", expected="", run=unmet, essential=True), Step(title="d", expected="", run=lambda: Seen("well")),
    ]  # fmt: skip
    outcomes = execute("X", steps, SystemClock(), silent)
    assert [(o.number, o.result) for o in outcomes] == [("X-01", "pass"), ("X-02", "fail"), ("X-03", "fail"), ("X-04", "not executed")]
    assert outcomes[1].actual.startswith("RuntimeError: xxx")
    assert len(outcomes[1].actual) < 500
    assert (outcomes[2].actual, outcomes[2].evidence, outcomes[3].actual) == ("was 3", ["a", "b"], "Not executed: X-03 failed.")


# --- installation


@pytest.fixture
def home(tmp_path: Path, seeded: Seeded, seeded_urls: Urls, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(seeded.keys, tmp_path / "data" / "keys")
    (tmp_path / "data" / "keys").chmod(0o700)
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "ALIQUOT_DATA_DIR": str(tmp_path / "data"), "DATABASE_URL_APP": seeded_urls.app, "DATABASE_URL_SEQUENCER": seeded_urls.sequencer,
        "DATABASE_URL": seeded_urls.owner, "ALIQUOT_PORT": "8699",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for module in (common, main, command):
        monkeypatch.setattr(module, "configure_logs", lambda **_: None)
    # What this machine and this working copy are is not the product's: each has its own test below.
    monkeypatch.setattr(host, "clock_state", lambda: (0, 5_000))
    monkeypatch.setattr(package, "own_files", lambda: Seen("3 files are the recorded ones."))
    monkeypatch.setattr(package, "other_files", lambda: Seen("5 files of 2 packages are the recorded ones."))
    return tmp_path


def looked_at() -> dict[str, Outcome]:
    qualification = InstallationQualification(load_settings())
    try:
        return {outcome.title: outcome for outcome in execute("IQ", qualification.steps(), SystemClock(), silent)}
    finally:
        qualification.close()


def not_passed(outcomes: dict[str, Outcome]) -> list[str]:
    return [title for title, outcome in outcomes.items() if outcome.result != "pass"]


def signed_report(out: Path, kind: str, vkey: str) -> dict[str, Any]:
    (path,) = out.glob(f"{kind}-qualification-*.json")
    judged = judge(path.read_bytes(), vkey)
    assert (judged.findings, judged.kind) == ([], f"{kind} qualification")
    (printed,) = out.glob(f"{kind}-qualification-*.pdf")
    reader = PdfReader(BytesIO(printed.read_bytes()))
    assert reader.attachments["qualification.json"] == [path.read_bytes()]
    text = " ".join("".join(page.extract_text() for page in reader.pages).split())
    assert all(word in text for word in ("Executor", "Reviewer", "Rita Runner", "Deviations", "Signatures", "Name in print"))
    assert "compliant" not in text.lower()
    document: dict[str, Any] = json.loads(path.read_bytes())["document"]
    assert all(step["number"] in text for step in document["steps"])
    return document


@pytest.mark.rule("11.10(a)", "11.10(e)")
def test_an_installation_is_qualified_and_what_is_broken_is_found(
    home: Path,
    seeded: Seeded,
    seeded_urls: Urls,
) -> None:
    result = CliRunner().invoke(app, ["qualify", "installation", "--by", "Rita Runner", "--out", str(home / "out")])
    assert result.exit_code == 0, result.stdout + result.stderr
    vkey = CliRunner().invoke(app, ["log", "key"]).stdout.strip()
    document = signed_report(home / "out", "installation", vkey)
    assert (document["result"], document["passed"]) == ("pass", len(document["steps"]))
    assert len(document["steps"]) > 19
    assert document["executor"] == "Rita Runner"
    with psycopg.connect(seeded_urls.superuser, autocommit=True) as conn:
        recorded = conn.execute("SELECT body FROM audit_event WHERE action = 'qualification.recorded'").fetchall()
        assert [json.loads(body)["outcome"] for (body,) in recorded] == ["ok"]
        conn.execute("ALTER TABLE audit_event DISABLE TRIGGER refuse_truncate")
        assert not_passed(looked_at()) == ["Triggers", "Changes of the log"]
        conn.execute("ALTER TABLE audit_event ENABLE ALWAYS TRIGGER refuse_truncate")
        conn.execute("GRANT UPDATE ON record_signature TO aliquot_app")
        assert not_passed(looked_at()) == ["Rights"]
        conn.execute("REVOKE UPDATE ON record_signature FROM aliquot_app")
        before = conn.execute("SELECT count(*), max(at) FROM audit_event").fetchone()
        conn.execute("UPDATE person SET roles = '{admin}' WHERE id = %s", [seeded.people["viewer"]])
        (home / "data" / "keys").chmod(0o755)
        assert not_passed(looked_at()) == ["Rights of folders", "Rows and log"]
        after = conn.execute("SELECT count(*), max(at) FROM audit_event").fetchone()
        assert before is not None and after is not None and after[0] > before[0]  # noqa: PT018 - the finding is on record
    failed = CliRunner().invoke(app, ["qualify", "installation", "--by", "Rita Runner", "--out", str(home / "again")])
    assert (failed.exit_code, re.search(r"✗ IQ-\d\d Rows and log", failed.stdout) is not None) == (1, True), failed.stdout
    assert signed_report(home / "again", "installation", vkey)["result"] == "fail"


def test_without_a_database_what_could_be_looked_at_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    outcomes = looked_at()
    assert outcomes["Database"].result == "fail"
    assert outcomes["Keys"].result == "pass"
    assert {outcomes[title].result for title in ("Logins", "Triggers", "Checkpoint", "Rows and log")} == {"not executed"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["installation"], "Missing option"),
        (["installation", "--by", "  "], "--by takes the name"),
        (["operation", "--by", "x" * 201], "--by takes the name"),
        (["operation", "--by", "Rita"], "holds no key of an audit log"),
    ],
)
def test_what_cannot_be_reported_is_not_begun(home: Path, arguments: list[str], said: str) -> None:
    (home / "data" / "keys" / "log").unlink()
    result = CliRunner().invoke(app, ["qualify", *arguments])
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert not list(home.glob("*.json"))


def test_a_report_is_not_written_over_another(home: Path) -> None:
    (home / "file").write_text("")
    result = CliRunner().invoke(app, ["qualify", "installation", "--by", "Rita", "--out", str(home / "file")])
    assert (result.exit_code, "cannot be written" in result.stderr) == (2, True)


def test_a_clock_that_is_not_synchronised_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for state, error_us, well in ((0, 5_000, True), (5, 16_000_000, False), (0, 3_000_000, False)):
        monkeypatch.setattr(host, "clock_state", lambda found=(state, error_us): found)
        if well:
            assert "5 ms" in host.time_synchronised().evidence[0]
        else:
            with pytest.raises(Unmet):
                host.time_synchronised()


def installed(folder: Path, **files: bytes) -> metadata.Distribution:
    """A package as an installer leaves it."""
    info = folder / "aliquot-0.1.0.dist-info"
    info.mkdir(parents=True)
    lines = []
    for name, content in files.items():
        (folder / f"{name}.py").write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name}.py,sha256={digest},{len(content)}")
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: aliquot\nVersion: 0.1.0\n")
    (info / "RECORD").write_text("\n".join([*lines, "aliquot-0.1.0.dist-info/RECORD,,"]) + "\n")
    return metadata.PathDistribution(info)


def test_a_file_that_is_not_the_installed_one_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = installed(tmp_path / "site", one=b"a = 1\n", two=b"b = 2\n")
    monkeypatch.setattr(metadata, "distribution", lambda _: found)
    assert package.own_files().actual == "2 files are the recorded ones."
    (tmp_path / "site" / "two.py").write_bytes(b"b = 3\n")
    (tmp_path / "site" / "one.py").unlink()
    with pytest.raises(Unmet, match="2 of 2") as unmet:
        package.own_files()
    assert unmet.value.evidence == ("aliquot: one.py cannot be read", "aliquot: two.py differs")
    (tmp_path / "site" / "aliquot-0.1.0.dist-info" / "direct_url.json").write_text('{"url":"file:///x","dir_info":{"editable":true}}')
    with pytest.raises(Unmet, match="editable"):
        package.own_files()
