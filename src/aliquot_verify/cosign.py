"""Cosignatures of witnesses on checkpoints (C2SP tlog-cosignature, cosignature/v1 with Ed25519)."""

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aliquot_verify.note import COSIGNER, Key, NoteError, check, split_note

_SIGNATURE_BYTES = 4 + 8 + 64
_SECONDS_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness's private key."""

    name: str
    seed: bytes

    @property
    def key(self) -> Key:
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        key_id = hashlib.sha256(self.name.encode() + b"\n" + bytes([COSIGNER]) + public).digest()[:4]
        return Key(self.name, key_id, public, COSIGNER)

    def sign(self, text: str, at: int) -> str:
        """The signature line on a checkpoint's text, at Unix time `at`."""
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(_message(text, at))
        return f"— {self.name} {base64.b64encode(self.key.id + at.to_bytes(8, 'big') + signature).decode()}\n"

    def secret_line(self) -> str:
        """In the notation of Go's `note` package, with the signature type of a cosigner."""
        return f"PRIVATE+KEY+{self.name}+{self.key.id.hex()}+{base64.b64encode(bytes([COSIGNER]) + self.seed).decode()}"


def parse_cosigner(line: str) -> Cosigner:
    """Raises NoteError."""
    parts = line.strip().split("+", 4)
    try:
        raw = base64.b64decode(parts[4], validate=True)
        cosigner = Cosigner(parts[2], raw[1:])
        if cosigner.secret_line() != line.strip():
            raise NoteError("this is not a witness's private key")
    except (IndexError, binascii.Error, ValueError) as error:
        raise NoteError("this is not a witness's private key") from error
    return cosigner


def cosigned_at(note: bytes, key: Key) -> int | None:
    """When `key` cosigned the checkpoint (Unix time); None when it did not. Raises NoteError when its signature does not hold."""
    text, signatures = split_note(note)
    for name, raw in signatures:
        if name == key.name and raw[:4] == key.id:
            at = int.from_bytes(raw[4:12], "big")
            if len(raw) != _SIGNATURE_BYTES or not 0 < at <= _SECONDS_MAX:
                raise NoteError(f"the cosignature of {name} is malformed")
            check(key, raw[12:], _message(text, at))
            return at
    return None


def _message(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()
