"""Wrapped subject keys, as one append-only file of fixed-size records shared by the processes of one host under an flock.

What it holds is no secret without the root key. It is replaced as a whole when a key is destroyed or all are wrapped anew;
other processes see that at their next look, because each keeps the file it read open: the number of an open inode is not
given to another file.
"""

import fcntl
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from aliquot.platform.root_keys import fsync_folder

NONCE = 12
SUBJECT = 16
WRAPPED = NONCE + 32 + 16
RECORD = SUBJECT + WRAPPED


class KeyStore(Protocol):
    """Keeps wrapped keys by subject (16 bytes). Everything but `replaced` is called inside `locked`."""

    @contextmanager
    def locked(self, *, alone: bool) -> Iterator[None]: ...

    def replaced(self) -> bool:
        """Whether somebody replaced the whole since it was read last; quick, asked at every seal and open."""
        ...

    def read(self, *, anew: bool) -> dict[bytes, bytes]:
        """Wrapped keys added since the last `read`; all of them with `anew`."""
        ...

    def add(self, subject: bytes, wrapped: bytes) -> None:
        """Durable when it returns."""
        ...

    def replace(self, keys: dict[bytes, bytes]) -> None:
        """Keep exactly `keys`, all at once; durable when it returns."""
        ...


class KeyFile:
    """`subjects` in the keys folder."""

    def __init__(self, folder: Path) -> None:
        self._path, self._lock = folder / "subjects", folder / "subjects.lock"
        self._watched = str(self._path)
        self._close: Callable[[], object] = lambda: None
        self._descriptor, self._inode, self._seen = -1, -1, 0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        with self.locked(alone=True):
            self._drop_torn_tail()

    @contextmanager
    def locked(self, *, alone: bool) -> Iterator[None]:
        """The lock between processes; threads of one process take turns outside."""
        with self._lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield

    def replaced(self) -> bool:
        return os.stat(self._watched).st_ino != self._inode  # noqa: PTH116 - at every seal and open; pathlib takes ten times as long

    def read(self, *, anew: bool) -> dict[bytes, bytes]:
        if anew:
            self._close()
            self._descriptor, self._seen = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC), 0
            self._close = weakref.finalize(self, os.close, self._descriptor)
            self._inode = os.fstat(self._descriptor).st_ino
        with os.fdopen(self._descriptor, "rb", closefd=False) as file:
            file.seek(self._seen)
            data = file.read()
        whole = len(data) - len(data) % RECORD
        self._seen += whole
        return {data[at : at + SUBJECT]: data[at + SUBJECT : at + RECORD] for at in range(0, whole, RECORD)}

    def add(self, subject: bytes, wrapped: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(subject + wrapped)
            file.flush()
            os.fsync(file.fileno())

    def replace(self, keys: dict[bytes, bytes]) -> None:
        replacement = self._path.with_suffix(".new")
        with replacement.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(b"".join(subject + wrapped for subject, wrapped in keys.items()))
            file.flush()
            os.fsync(file.fileno())
        with self._path.open("r+b") as old:
            replacement.rename(self._path)
            fsync_folder(self._path.parent)
            _overwrite(old)

    def _drop_torn_tail(self) -> None:
        """A crash while appending leaves an incomplete last record; its key was never used, so it is cut off."""
        size = self._path.stat().st_size
        if size % RECORD:
            with self._path.open("r+b") as file:
                file.truncate(size - size % RECORD)
                os.fsync(file.fileno())


def _overwrite(old: IO[bytes]) -> None:
    """What was replaced must not be found on the disk. File systems that write elsewhere (copy on write, flash) keep it longer:
    there the root key protects it, and its rotation destroys it."""
    size = os.fstat(old.fileno()).st_size
    old.write(bytes(size))
    old.flush()
    os.fsync(old.fileno())
