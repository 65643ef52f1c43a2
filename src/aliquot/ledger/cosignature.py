"""Witnesses of the log: who they are, and whether a cosignature is theirs (C2SP tlog-cosignature, cosignature/v1, Ed25519)."""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_TYPE = b"\x04"
_BYTES = 4 + 8 + 64


class WitnessMalformed(ValueError):
    """The setting does not name a witness; the text says why."""


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """A configured witness. With a `url`, this server asks it for cosignatures (C2SP tlog-witness); else it comes by itself."""

    name: str
    id: bytes
    public: bytes
    url: str | None

    def line_of(self, note: str) -> str | None:
        """Its line in a note, if the cosignature holds."""
        text, _, signatures = note.rpartition("\n\n")
        for line in signatures.split("\n"):
            dash, _, rest = line.partition(" ")
            name, _, encoded = rest.partition(" ")
            if dash == "—" and name == self.name and self._holds(encoded, text + "\n"):
                return f"{line}\n"
        return None

    def _holds(self, encoded: str, text: str) -> bool:
        try:
            raw = base64.b64decode(encoded, validate=True)
            if len(raw) != _BYTES or raw[:4] != self.id:
                return False
            message = f"cosignature/v1\ntime {int.from_bytes(raw[4:12], 'big')}\n{text}"
            Ed25519PublicKey.from_public_bytes(self.public).verify(raw[12:], message.encode())
        except (binascii.Error, InvalidSignature, ValueError):
            return False
        return True


def parse_witnesses(given: Sequence[str]) -> tuple[WitnessKey, ...]:
    """Each is `<verifier key>` or `<verifier key> <url>`. Raises WitnessMalformed."""
    return tuple(_parse(text) for text in given)


def _parse(text: str) -> WitnessKey:
    vkey, _, url = text.strip().partition(" ")
    name, _, rest = vkey.partition("+")
    hexadecimal, _, encoded = rest.partition("+")
    try:
        raw, key_id = base64.b64decode(encoded, validate=True), bytes.fromhex(hexadecimal)
    except ValueError as error:
        raise WitnessMalformed("a witness is given as <name>+<id>+<base64>, then its address if it has one") from error
    if not name or raw[:1] != _TYPE or len(raw) != 33 or hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4] != key_id:
        raise WitnessMalformed("this is not a witness's Ed25519 key, or it was mistyped")
    if url and not url.startswith(("http://", "https://")):
        raise WitnessMalformed("the address of a witness begins with https:// or http://")
    return WitnessKey(name, key_id, raw[1:], url.rstrip("/") or None)
