"""C2SP signed notes, verifier keys and checkpoints: reading and checking only."""

import base64
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from aliquot_verify.strict import strict_base64

LOG, COSIGNER = 1, 4
"""Signature types of C2SP signed-note: Ed25519 of a log, timestamped Ed25519 cosignature of a witness (tlog-cosignature)."""
_NOTE_BYTES_MAX = 100_000
_KEY = re.compile(r"([!-*,-~]{1,255})\+([0-9a-f]{8})\+([A-Za-z0-9+/=]{44})")


class NoteError(Exception):
    """Malformed key, note or checkpoint; the text says what."""


class SignatureError(NoteError):
    """The note is well formed, but the key did not sign it."""


@dataclass(frozen=True, slots=True)
class Key:
    """A verifier key: `<name>+<key id, 8 hex digits>+<base64 of the signature type and the public key>`."""

    name: str
    id: bytes
    public: bytes
    kind: int = LOG

    @property
    def vkey(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"


@dataclass(frozen=True, slots=True)
class Head:
    """A tree head: the first `size` events of the log `origin` hash to `root`."""

    origin: str
    size: int
    root: bytes


def parse_key(vkey: str, kind: int = LOG) -> Key:
    """A key of that signature type. Raises NoteError."""
    what = "an Ed25519 verifier key" if kind == LOG else "a witness's cosigning key"
    match = _KEY.fullmatch(vkey.strip(" \t\r\n"))
    try:
        name, hexadecimal, raw = (match[1], match[2], strict_base64(match[3])) if match else ("", "", b"")
    except ValueError as error:
        raise NoteError("the key is malformed") from error
    if match is None or len(raw) != 33 or raw[0] != kind:
        raise NoteError(f"the key is not {what} (<name>+<id>+<base64>)")
    key_id = bytes.fromhex(hexadecimal)
    if hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4] != key_id:
        raise NoteError("the key does not match its own id: it was mistyped or altered")
    return Key(name, key_id, raw[1:], kind)


def open_note(note: bytes, key: Key) -> str:
    """The text of a note signed by `key`. Raises NoteError; SignatureError when it is a note but not signed by this key."""
    text, signatures = split_note(note)
    for name, raw in signatures:
        if name == key.name and raw[:4] == key.id:
            check(key, raw[4:], text.encode())
            return text
    raise SignatureError("not signed by this key")


def split_note(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """The text of a note, and who is said to have signed it: (name, key id and signature). Raises NoteError."""
    if len(note) > _NOTE_BYTES_MAX:
        raise NoteError("the signed note is too long")
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteError("the signed note is not UTF-8") from error
    text, separator, signatures = whole.rpartition("\n\n")
    if not separator or not signatures.endswith("\n") or any(c < " " and c != "\n" for c in whole):
        raise NoteError("not a signed note")
    return text + "\n", [_signature(line) for line in signatures[:-1].split("\n")]


def _signature(line: str) -> tuple[str, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    try:
        raw = strict_base64(encoded)
    except ValueError as error:
        raise NoteError("a signature line is malformed") from error
    if dash != "—" or not name or len(raw) < 5:
        raise NoteError("a signature line is malformed")
    return name, raw


def check(key: Key, signature: bytes, message: bytes) -> None:
    """Raises SignatureError."""
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise SignatureError("the signature does not hold") from error


def parse_checkpoint(text: str) -> Head:
    """Raises NoteError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise NoteError("not a checkpoint")
    try:
        root = strict_base64(lines[2])
    except ValueError as error:
        raise NoteError("not a checkpoint") from error
    digits = lines[1]
    if len(root) != 32 or not (digits.isascii() and digits.isdigit()) or len(digits) > 15 or digits != str(int(digits)):
        raise NoteError("not a checkpoint")
    return Head(lines[0], int(digits), root)
