"""Names of files from outside. Pure. A name is only ever shown and offered for download; nothing is stored under it."""

import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import quote

from aliquot.documents.contracts import Kind
from aliquot.documents.errors import BadFileName

NAME_CHARS = 200
_RAW_CHARS = 4_096
_RESERVED = re.compile(r"^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\.|$)", re.IGNORECASE)
_FORBIDDEN = frozenset('<>:"|?*\\/')
# Control, format (bidi overrides, zero width), surrogates, private use, unassigned, line and paragraph separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
EXTENSIONS: dict[str, Kind] = {
    "pdf": "pdf", "png": "png", "jpg": "jpeg", "jpeg": "jpeg", "jpe": "jpeg", "gif": "gif", "webp": "webp", "txt": "text", "text": "text",
    "log": "text", "md": "markdown", "markdown": "markdown", "csv": "csv", "xlsx": "xlsx", "docx": "docx",
}  # fmt: skip


def clean_name(raw: str) -> str:
    """A name without path, control and direction-changing characters, at most NAME_CHARS long with its extension kept.

    Raises BadFileName when nothing usable is left.
    """
    if len(raw) > _RAW_CHARS:
        raise BadFileName(f"The file's name has {len(raw):,} characters; at most {_RAW_CHARS:,} are read.")
    last = re.split(r"[/\\]", raw)[-1]
    shown = "".join(
        "_" if char in _FORBIDDEN else char for char in unicodedata.normalize("NFC", last) if unicodedata.category(char) not in _HIDDEN
    )
    name = re.sub(r"\s+", " ", shown).strip(" .")
    if not name:
        raise BadFileName
    if _RESERVED.match(name):
        name = f"_{name}"
    if len(name) > NAME_CHARS:
        ending = PurePosixPath(name).suffix[:20]
        name = name[: NAME_CHARS - len(ending)].rstrip(" .") + ending
    return name


def kind_of_name(name: str) -> Kind | None:
    """What the extension promises; None for one that is not on the list."""
    return EXTENSIONS.get(name.rpartition(".")[2].lower()) if "." in name else None


def content_disposition(name: str) -> str:
    """`attachment` with the name for old (RFC 6266 quoted ASCII) and current (RFC 8187) clients. Nothing in it ends the header."""
    name = "".join(char for char in name if unicodedata.category(char) not in _HIDDEN) or "file"
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9 ._()-]", "_", plain).strip(" .") or "file"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
