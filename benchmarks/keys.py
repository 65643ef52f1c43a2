"""Rotation of the root key (issue 4): all data keys are wrapped anew, on disk, within a minute. `ALIQUOT_BENCH_KEYS` sets how many."""

import os
import secrets
import tempfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aliquot.platform.root_keys import FileRootKeys
from aliquot.platform.vault import Vault

_COUNT = int(os.environ.get("ALIQUOT_BENCH_KEYS", "1000000"))
_PEOPLE = range(1_000, 1_000 + _COUNT)


def rows(context: Any = None) -> list[dict[str, Any]]:
    """One row: {name, budget, measured, n, notes}. `context` is not needed."""
    del context
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        vault = Vault(FileRootKeys(folder), folder)
        _fill(folder)
        started = time.perf_counter()
        count = vault.rotate_root()
        seconds = time.perf_counter() - started
        opened = time.perf_counter()
        Vault(FileRootKeys(folder), folder)
        opening = time.perf_counter() - opened
    return [
        {
            "name": f"rotation of the root key over {_COUNT:,} data keys",
            "budget": "< 60 s for 1,000,000",
            "measured": f"{seconds:.1f} s",
            "n": 1,
            "notes": f"{count:,} keys wrapped anew, written and fsynced; a process opens the file in {opening:.1f} s",
        }
    ]


def _fill(folder: Path) -> None:
    """As `ensure_subject` does, without waiting for the disk each time."""
    root = AESGCM(FileRootKeys(folder).load())
    with (folder / "subjects").open("ab") as file:
        for person in _PEOPLE:
            subject, nonce = person.to_bytes(16, "big"), secrets.token_bytes(12)
            file.write(subject + nonce + root.encrypt(nonce, secrets.token_bytes(32), b"subject" + subject))
