"""`aliquot qualify` as a laboratory runs it: from an installed wheel, against a server of its own."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aliquot_verify.document import judge
from tests.faults.conftest import ServerProcess

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel; RECORD and all files as an installer leaves them."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True, capture_output=True
    )
    (made,) = folder.glob("*.whl")
    shutil.unpack_archive(made, folder / "site", format="zip")
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(folder / "site")], check=True)
    return folder / "site"


@pytest.fixture
def server(wheel: Path) -> Iterator[ServerProcess]:
    with tempfile.TemporaryDirectory(prefix="aliquot-q-") as folder:
        process = ServerProcess(Path(folder) / "data", PYTHONPATH=str(wheel))
        try:
            yield process.start()
        finally:
            process.stop()


def qualify(server: ServerProcess, kind: str, out: Path) -> tuple[int, dict[str, object]]:
    """The exit code, and the steps that did not pass."""
    done = subprocess.run(
        [sys.executable, "-m", "aliquot.cli.main", "qualify", kind, "--by", "Rita Runner", "--out", str(out)], env=server.env,
        capture_output=True, text=True, check=False, cwd=server.folder.parent, timeout=900,
    )  # fmt: skip
    (path,) = out.glob("*.json")
    vkey = server.run("log", "key").stdout.strip()
    assert judge(path.read_bytes(), vkey).findings == [], done.stderr
    steps = json.loads(path.read_bytes())["document"]["steps"]
    return done.returncode, {step["title"]: step for step in steps if step["result"] != "pass"}


def test_the_operation_is_qualified(server: ServerProcess, tmp_path: Path) -> None:
    assert qualify(server, "operation", tmp_path / "out") == (0, {})


def test_an_installed_package_is_qualified_and_a_changed_file_is_found(server: ServerProcess, wheel: Path, tmp_path: Path) -> None:
    """The clock of the machine that runs the tests is its own matter."""
    _, failed = qualify(server, "installation", tmp_path / "first")
    assert set(failed) <= {"Time"}
    with (wheel / "aliquot" / "policy" / "engine.py").open("a") as file:
        file.write("# changed\n")
    code, failed = qualify(server, "installation", tmp_path / "second")
    assert code == 1
    assert set(failed) - {"Time"} == {"Files of Aliquot"}
    assert "engine.py differs" in str(failed["Files of Aliquot"])
