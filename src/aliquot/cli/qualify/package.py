"""What is installed: versions, and every file against the hash its installer recorded (RECORD of a wheel, PEP 376 and 427)."""

import base64
import hashlib
from collections.abc import Iterable
from importlib import metadata

import aliquot
from aliquot.cli.qualify.steps import Seen, Unmet

_SHOWN = 10


def version() -> Seen:
    installed = metadata.version("aliquot")
    if installed != aliquot.__version__:
        raise Unmet(f"The package says {installed}, its code {aliquot.__version__}.")
    return Seen(f"Aliquot {installed}")


def own_files() -> Seen:
    """Those of Aliquot itself."""
    distribution = metadata.distribution("aliquot")
    if _editable(distribution):
        raise Unmet("Installed in editable mode: the files are those of a working copy and are recorded nowhere. Install the wheel.")
    count, wrong = _compared([distribution])
    if wrong:
        raise Unmet(f"{len(wrong)} of {count} files are not the recorded ones.", *wrong[:_SHOWN])
    if count == 0:
        raise Unmet("The package records no file.")
    record = next(file for file in distribution.files or () if str(file).endswith(".dist-info/RECORD"))
    return Seen(f"{count} files are the recorded ones.", (f"RECORD SHA-256 {hashlib.sha256(record.read_binary()).hexdigest()}",))


def other_files() -> Seen:
    """Those of everything else in this environment, with their versions."""
    others = sorted((d for d in metadata.distributions() if d.name.lower() != "aliquot"), key=lambda d: d.name.lower())
    count, wrong = _compared(others)
    if wrong:
        raise Unmet(f"{len(wrong)} of {count} files are not the recorded ones.", *wrong[:_SHOWN])
    listed = ", ".join(f"{distribution.name} {distribution.version}" for distribution in others)
    return Seen(f"{count} files of {len(others)} packages are the recorded ones.", (listed,))


def _editable(distribution: metadata.Distribution) -> bool:
    return '"editable":true' in (distribution.read_text("direct_url.json") or "").replace(" ", "")


def _compared(distributions: Iterable[metadata.Distribution]) -> tuple[int, list[str]]:
    """How many files were compared, and which are missing or differ. Some have no recorded hash: RECORD itself, byte code."""
    count, wrong = 0, []
    for distribution in distributions:
        for file in distribution.files or ():
            if file.hash is None:
                continue
            count += 1
            try:
                digest = hashlib.new(file.hash.mode, file.read_binary()).digest()
            except (OSError, ValueError):
                wrong.append(f"{distribution.name}: {file} cannot be read")
                continue
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
                wrong.append(f"{distribution.name}: {file} differs")
    return count, wrong
