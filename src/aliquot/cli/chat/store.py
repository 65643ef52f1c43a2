"""What the client remembers of a server: one file (0600) per server URL under `$XDG_CONFIG_HOME/aliquot/servers`."""

import contextlib
import hashlib
import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

_FILE_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Remembered:
    """Of one server."""

    url: str
    token: str | None = None
    email: str | None = None
    conversation: str | None = None
    """Client id of the last conversation."""
    run_id: str | None = None
    """The last run, to be taken up again when it was left before its end."""


class ServerFile:
    """The file of one server. Failing to write it is not a reason to stop: the next start asks again."""

    def __init__(self, url: str, folder: Path | None = None) -> None:
        self._url = url
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", url.partition("://")[2])[:60].strip("_.")
        digest = hashlib.sha256(url.encode()).hexdigest()[:12]
        self.path = (folder or config_folder()) / "servers" / f"{name}-{digest}.json"

    def load(self) -> Remembered:
        """What is known; nothing when there is no file, or a damaged one, or one that others can read or write."""
        with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_uid != os.getuid() or status.st_mode & 0o077:
                    return Remembered(self._url)
                values = json.loads(file.read(_FILE_BYTES))
            if isinstance(values, dict) and values.get("url") == self._url:
                return Remembered(**{k: v for k, v in values.items() if isinstance(v, str)})
        return Remembered(self._url)

    def update(self, **changes: str | None) -> None:
        """Change members; written to a new file of mode 0600 that takes the old one's place."""
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            values = asdict(self.load()) | changes
            descriptor, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".new-")  # mkstemp makes 0600 files
            try:
                with os.fdopen(descriptor, "w") as file:
                    json.dump({k: v for k, v in values.items() if v is not None}, file)
                Path(temporary).replace(self.path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise


def config_folder() -> Path:
    """`$XDG_CONFIG_HOME/aliquot`, by default `~/.config/aliquot`."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(given) if Path(given).is_absolute() else Path.home() / ".config") / "aliquot"
