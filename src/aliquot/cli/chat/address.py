"""Where the server of this folder listens, read from the same settings as `aliquot serve` reads, without loading the server."""

import os
import tomllib
from pathlib import Path
from typing import Any

from aliquot.cli.chat.failures import Usage

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a server listens on is reached through loopback


def default_url() -> str:
    """From ALIQUOT_HOST, ALIQUOT_PORT, ALIQUOT_TLS_CERT, else `aliquot.toml`, else http://127.0.0.1:8089. Raises Usage."""
    path = Path(os.environ.get("ALIQUOT_CONFIG") or "aliquot.toml")
    file = _file(path)
    host = str(os.environ.get("ALIQUOT_HOST") or file.get("host") or "127.0.0.1")
    host = _ANY.get(host, host)
    if not os.environ.get("ALIQUOT_HOST") and host not in _LOOPBACK:
        # A file somebody left in a folder must not decide to whom a password or token goes.
        raise Usage(f"{path} says that the server listens on {host}: name it with --url or ALIQUOT_URL.")
    port = os.environ.get("ALIQUOT_PORT") or file.get("port") or 8089
    secure = os.environ.get("ALIQUOT_TLS_CERT") or file.get("tls_cert")
    return f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Usage(f"{path} cannot be read ({type(error).__name__}): mend it, or name the server with --url.") from error
