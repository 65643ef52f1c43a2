"""Bearer values: JSON Web Tokens of sessions, API keys, tickets. Pure apart from randomness; the database decides about all of them."""

import hashlib
import secrets
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt

from aliquot.identity.contracts import Person
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import Unauthenticated
from aliquot.platform.settings import SettingsError

_ALGORITHM = "HS256"
_NAME = "aliquot"
_BEARER_CHARS = 8_192
_KNOWN_TOKENS = 4_096
_KEY_MARK = "alq_"
# The clock is ours (tests move it), so PyJWT checks presence and signature, and the times are checked below.
_OPTIONS: Any = {
    "require": ["iss", "aud", "sub", "sid", "jti", "iat", "exp"], "verify_exp": False, "verify_iat": False, "verify_nbf": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCredential:
    """A token whose signature and times are good; whether the session stands is for the database."""

    person_id: uuid.UUID
    session_id: uuid.UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCredential:
    """An API key as presented."""

    prefix: str
    secret_sha256: bytes


Credential = SessionCredential | KeyCredential


class Tokens:
    """Signs and reads the tokens of sessions (RFC 7519, HS256 only)."""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        """Raises SettingsError for a secret under 32 bytes (RFC 7518 §3.2)."""
        if len(secret) < 32:
            raise SettingsError("setting JWT_SECRET: must have at least 32 bytes")
        self._secret = secret
        self._clock = clock
        # Checking a signature costs as much as the rest of authentication; what a token says never changes, so its digest
        # stands for it. Whether the session stands is asked of the database every time.
        self._read: OrderedDict[bytes, tuple[SessionCredential, int]] = OrderedDict()

    def issue(self, person: Person, session_id: uuid.UUID, expires_at: datetime) -> str:
        """A token for one session. Roles and permissions in it inform the client; no server reads them."""
        claims = {
            "iss": _NAME, "aud": _NAME, "sub": str(person.id), "sid": str(session_id), "jti": str(uuid.uuid4()),
            "iat": int(self._clock.now().timestamp()), "exp": int(expires_at.timestamp()),
            "roles": list(person.roles), "permissions": list(person.permissions),
        }  # fmt: skip
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def read(self, token: str) -> SessionCredential:
        """Raises Unauthenticated for anything but an unexpired token of ours."""
        known = digest(token)
        credential, expires = self._read.get(known) or self._decode(token)
        if expires <= self._clock.now().timestamp():
            self._read.pop(known, None)
            raise Unauthenticated("Your session has expired. Please log in again.")
        self._read[known] = credential, expires
        self._read.move_to_end(known)
        if len(self._read) > _KNOWN_TOKENS:
            self._read.popitem(last=False)
        return credential

    def _decode(self, token: str) -> tuple[SessionCredential, int]:
        try:
            claims = jwt.decode(token, self._secret, algorithms=[_ALGORITHM], audience=_NAME, issuer=_NAME, options=_OPTIONS)
            expires = int(claims["exp"])
            person_id, session_id = parse_id(str(claims["sub"])), parse_id(str(claims["sid"]))
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise Unauthenticated from error
        if person_id is None or session_id is None:
            raise Unauthenticated
        return SessionCredential(person_id=person_id, session_id=session_id), expires

    def parse(self, authorization: str | None) -> Credential:
        """What an Authorization header presents. Raises Unauthenticated."""
        scheme, _, value = (authorization or "").partition(" ")
        value = value.strip()
        if scheme.lower() != "bearer" or not value or len(value) > _BEARER_CHARS:
            raise Unauthenticated
        return read_key(value) if value.startswith(_KEY_MARK) else self.read(value)


def read_key(value: str) -> KeyCredential:
    """The parts of `alq_<prefix>.<secret>`. Raises Unauthenticated."""
    prefix, dot, secret = value.removeprefix(_KEY_MARK).partition(".")
    if not dot or not prefix.isalnum() or not prefix.isascii() or len(prefix) > 32:
        raise Unauthenticated
    return KeyCredential(prefix=prefix, secret_sha256=digest(secret))


def new_key() -> tuple[str, str]:
    """(prefix, whole bearer value) of a fresh API key with 256 random bits."""
    prefix = secrets.token_hex(8)
    return prefix, f"{_KEY_MARK}{prefix}.{secrets.token_urlsafe(32)}"


def new_ticket() -> str:
    """A fresh ticket with 256 random bits."""
    return "tkt_" + secrets.token_urlsafe(32)


def is_key(value: str) -> bool:
    return value.startswith(_KEY_MARK)


def is_ticket(value: str) -> bool:
    return value.startswith("tkt_")


def digest(value: str) -> bytes:
    """SHA-256 of a bearer secret; header values may hold any character."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
