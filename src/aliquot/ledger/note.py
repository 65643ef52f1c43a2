"""Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint) and the key that signs them (Ed25519)."""

import base64
import binascii
import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519 = b"\x01"
_FILE = "log"


class NoteError(ValueError):
    """The text is not a note signed by the expected key."""


class LogKeyError(Exception):
    """The key file of the log cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class TreeHead:
    """What a checkpoint says: the first `size` entries hash to `root_hash`."""

    origin: str
    size: int
    root_hash: bytes


class LogKey:
    """The log's private key. Its name is the log's origin, `aliquot/<random>`."""

    def __init__(self, origin: str, seed: bytes) -> None:
        self.origin = origin
        self._seed = seed
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._private.public_key().public_bytes_raw()
        self._id = hashlib.sha256(origin.encode() + b"\n" + _ED25519 + self._public).digest()[:4]

    @property
    def vkey(self) -> str:
        """The verifier key, `<name>+<key id>+<base64>`: what a third party pins."""
        return f"{self.origin}+{self._id.hex()}+{base64.b64encode(_ED25519 + self._public).decode()}"

    def sign(self, text: str) -> str:
        """`text` (ending in a newline) as a signed note."""
        return f"{text}\n{self.signature_line(text)}"

    def signature_line(self, text: str) -> str:
        signature = self._private.sign(text.encode())
        return f"— {self.origin} {base64.b64encode(self._id + signature).decode()}\n"

    def open(self, note: str) -> str:
        """The text of a note that this key signed. Raises NoteError."""
        return verify_note(note, self.vkey)

    def current(self) -> "LogKey":
        """See `keys.KeySource`: a key by itself is never rotated."""
        return self

    def staged(self) -> "LogKey | None":
        return None

    def promote(self) -> None:
        raise LogKeyError("this key was not opened for rotation")

    def secret_line(self) -> str:
        """The private key in the notation of Go's `note` package."""
        return f"PRIVATE+KEY+{self.origin}+{self._id.hex()}+{base64.b64encode(_ED25519 + self._seed).decode()}"


def verify_note(note: str, vkey: str) -> str:
    """The text of a note that the key signed. Raises NoteError."""
    name, _, rest = vkey.partition("+")
    public = base64.b64decode(rest.partition("+")[2])[1:]
    key_id = hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]
    text, separator, signatures = note.rpartition("\n\n")
    text += "\n"
    for line in signatures.split("\n"):
        dash, _, rest = line.partition(" ")
        signer, _, encoded = rest.partition(" ")
        if not separator or dash != "—" or signer != name:
            continue
        try:
            raw = base64.b64decode(encoded, validate=True)
            if raw[:4] == key_id:
                Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], text.encode())
                return text
        except (binascii.Error, InvalidSignature) as error:
            raise NoteError("the signature of the log does not hold") from error
    raise NoteError("not signed by this log")


def checkpoint_text(head: TreeHead) -> str:
    """The text of a checkpoint, to be signed."""
    return f"{head.origin}\n{head.size}\n{base64.b64encode(head.root_hash).decode()}\n"


def parse_checkpoint(text: str) -> TreeHead:
    """The tree head in a checkpoint's text. Raises NoteError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] != "" or not all(lines[:-1]):
        raise NoteError("not a checkpoint")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except binascii.Error as error:
        raise NoteError("not a checkpoint") from error
    if len(root) != 32 or not lines[1].isascii() or not lines[1].isdecimal() or str(int(lines[1][:20])) != lines[1]:
        raise NoteError("not a checkpoint")
    return TreeHead(lines[0], int(lines[1]), root)


def load_log_key(folder: Path) -> LogKey:
    """The key in `folder/log` (0600), made at the first start with a random origin. Raises LogKeyError."""
    path = folder / _FILE
    return read_secret(path) if path.exists() else _make_key(folder)


def read_secret(path: Path) -> LogKey:
    """Raises LogKeyError."""
    try:
        return _parse_secret(path.read_text("ascii").strip(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise LogKeyError(f"{path} cannot be read: {type(error).__name__}") from error


def _make_key(folder: Path) -> LogKey:
    key = LogKey(f"aliquot/{secrets.token_hex(8)}", secrets.token_bytes(32))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        write_secret(folder / _FILE, key)
    except FileExistsError:  # another process was first: then its key is the log's
        return load_log_key(folder)
    return key


def write_secret(path: Path, key: LogKey) -> None:
    """Make the file (0600) durable and whole under its name. Raises FileExistsError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key.secret_line() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # unlike rename, fails when the file exists
    finally:
        draft.unlink()
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _parse_secret(line: str, path: Path) -> LogKey:
    parts = line.split("+", 4)
    try:
        if len(parts) != 5 or parts[:2] != ["PRIVATE", "KEY"]:
            raise ValueError
        raw = base64.b64decode(parts[4], validate=True)
        if raw[:1] != _ED25519 or len(raw) != 33:
            raise ValueError
        key = LogKey(parts[2], raw[1:])
        if key.secret_line() != line:
            raise ValueError
    except ValueError as error:  # binascii.Error is one
        raise LogKeyError(f"{path} does not hold the key of an audit log: restore it from the back-up of the keys") from error
    return key
