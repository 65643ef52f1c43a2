"""Passwords: strength, one-time passwords, argon2id off the event loop."""

import asyncio
import secrets
import unicodedata

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from aliquot.identity.errors import WeakPassword
from aliquot.kernel.problems import Unavailable

LENGTH_MIN = 12
LENGTH_MAX = 256
_WAITING_MAX = 16
_AT_ONCE = 2  # each takes 64 MiB and a core for some 50 ms
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # no characters that look alike
_COMMON = frozenset({"password", "passwort", "aliquot", "laboratory", "qwertyuiop", "letmein", "administrator", "welcome", "changeme"})


class Passwords:
    """Hashes and verifies. At most two at once; refuses instead of queueing without bound."""

    def __init__(self, hasher: Argon2Hasher | None = None) -> None:
        """`hasher` sets the work factor; the default is RFC 9106 §4's second recommendation (64 MiB, 3 passes)."""
        self._hasher = PasswordHash((hasher or Argon2Hasher(),))
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0
        # Verified against when there is no such person, so that the answer takes the same time.
        self._dummy = self._hasher.hash(secrets.token_urlsafe(16))

    async def hash(self, password: str) -> str:
        """The argon2id PHC string of `password`. Raises Unavailable when too many wait."""
        async with self:
            return await asyncio.to_thread(self._hasher.hash, _normalise(password))

    async def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """(whether it is the password, a better hash to store instead if the parameters have moved on).

        Without `stored` the work is done all the same and the answer is False.
        """
        if len(password) > LENGTH_MAX:
            password = ""
        async with self:
            good, better = await asyncio.to_thread(self._hasher.verify_and_update, _normalise(password), stored or self._dummy)
        return (good, better) if stored is not None else (False, None)

    async def __aenter__(self) -> None:
        if self._waiting >= _WAITING_MAX:
            raise Unavailable(retry_after=1)
        self._waiting += 1
        try:
            await self._slots.acquire()
        except BaseException:
            self._waiting -= 1
            raise

    async def __aexit__(self, *_: object) -> None:
        self._waiting -= 1
        self._slots.release()


def one_time_password() -> str:
    """Five groups of five characters, 123 random bits."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(5))


def require_strength(password: str, *, email: str) -> None:
    """Raise WeakPassword unless the password is long enough, not all too common and not the address (NIST SP 800-63B §3.1.1)."""
    normal = _normalise(password)
    if not LENGTH_MIN <= len(normal) <= LENGTH_MAX:
        raise WeakPassword(f"A password has {LENGTH_MIN} to {LENGTH_MAX} characters.")
    folded = normal.casefold()
    if len(set(folded)) < 5 or folded.strip("0123456789!?.-_ ") in _COMMON or folded in {email, email.partition("@")[0]}:
        raise WeakPassword("This password is too easy to guess.")


def _normalise(password: str) -> str:
    """One form for what different keyboards and systems encode differently (NFKC); lone surrogates are replaced."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "replace").decode()
