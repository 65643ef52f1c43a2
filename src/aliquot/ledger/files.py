"""The log as C2SP files under DATA/tlog: what a witness, rsync or a write-once store takes.

The database is the truth; these files repeat it and are written after the commit. Every file is complete and durable
before it has its name, and `checkpoint` is replaced last: whatever it covers can be read at any moment, also after a crash.
"""

import os
from collections.abc import Sequence
from pathlib import Path

CHECKPOINT = "checkpoint"
KEYS = "keys.json"


class LogFiles:
    """Writes below one folder. Blocking: call it in a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def checkpoint(self) -> str | None:
        """The published checkpoint, None before the first one."""
        try:
            return (self.folder / CHECKPOINT).read_text("utf-8")
        except FileNotFoundError:
            return None

    def write(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Make `files` (path below the folder, content) durable under their names. Raises OSError."""
        touched = set()
        for name, content in files:
            path = self.folder / name
            touched |= self._make_folder(path.parent)
            draft = path.with_name(f".{path.name}.new")
            self._write(draft, content)
            self._rename(draft, path)
            touched.add(path.parent)
        for folder in touched:
            self._sync_folder(folder)

    def remove_partials(self, names: Sequence[str]) -> None:
        """Drop the partial tiles of tiles that are full now (tlog-tiles allows it). A crash here leaves harmless files."""
        for name in names:
            folder = self.folder / f"{name}.p"
            if folder.is_dir():
                for path in folder.iterdir():
                    self._remove(path)
                folder.rmdir()

    def _make_folder(self, folder: Path) -> set[Path]:
        """The folders whose entries changed."""
        if folder.is_dir():
            return set()
        changed = self._make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        return changed | {folder.parent}

    def _write(self, path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _rename(self, draft: Path, path: Path) -> None:
        draft.rename(path)

    def _sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _remove(self, path: Path) -> None:
        path.unlink()
