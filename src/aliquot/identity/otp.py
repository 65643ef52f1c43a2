"""The second factor: time-based one-time passwords (RFC 6238 over HMAC-SHA1, 6 digits, 30 s), as every authenticator app makes them.

A code counts once: the time step of the newest accepted code is stored, and only later steps are accepted. A function that must
leave a trace of a refusal returns it, so that the caller's transaction commits.
"""

import base64
import hashlib
import hmac
import secrets
import struct
import uuid
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import Row

from aliquot.identity import store
from aliquot.identity.contracts import Actor, Components, Enrolment, Principal, SecondFactor
from aliquot.identity.errors import Locked, NotEnrolled, OtpEnrolled, OtpFailed, OtpRequired, WrongOtp
from aliquot.identity.service import People
from aliquot.kernel.clock import Clock
from aliquot.kernel.problems import Problem, RateLimited
from aliquot.platform.db import Transaction
from aliquot.platform.limits import Limiter
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Vault

STEP_SECONDS, DIGITS = 30, 6
_STEPS_AROUND = 1  # clocks of telephones and servers differ, and people take their time to type
_SECRET_BYTES = 20  # RFC 4226 §4: as long as the hash
_ISSUER = "Aliquot"


def hotp(secret: bytes, counter: int, digits: int = DIGITS) -> str:
    """RFC 4226 §5.3."""
    mac = hmac.digest(secret, struct.pack(">Q", counter), hashlib.sha1)
    at = mac[-1] & 0xF
    number = int.from_bytes(mac[at : at + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**digits).zfill(digits)


def step_of(at: datetime) -> int:
    """The RFC 6238 time step of a moment."""
    return int(at.timestamp()) // STEP_SECONDS


def matching_step(secret: bytes, code: str, at: datetime, after: int | None) -> int | None:
    """The step (now, one before, one after) whose code this is, if it is later than `after`. Every comparison takes its time."""
    found = None
    for step in range(step_of(at) - _STEPS_AROUND, step_of(at) + _STEPS_AROUND + 1):
        if hmac.compare_digest(hotp(secret, step).encode(), code.encode()) and (after is None or step > after):
            found = step
    return found


def provisioning_uri(secret: str, account: str) -> str:
    """What an authenticator app reads from a QR code (Key URI format)."""
    query = urlencode({"secret": secret, "issuer": _ISSUER, "algorithm": "SHA1", "digits": DIGITS, "period": STEP_SECONDS})
    return f"otpauth://totp/{_ISSUER}:{quote(account, safe='')}?{query}"


class SecondFactors:
    """The second factors of people. Attempts are limited per person, from wherever they come."""

    def __init__(self, people: People, vault: Vault, limiter: Limiter, clock: Clock, settings: Settings) -> None:
        self._people, self._vault, self._limiter, self._clock = people, vault, limiter, clock
        self._limits = settings.limits

    async def status(self, tx: Transaction, person_id: uuid.UUID) -> SecondFactor:
        return _shown(await store.second_factor(tx, person_id))

    async def enrol(self, tx: Transaction, principal: Principal, *, at_login: bool) -> Enrolment:
        """A new secret, shown this once; in force when `confirm` has seen a code of it. The caller has checked the password.

        Raises OtpEnrolled as long as a confirmed one stands.
        """
        found = await store.second_factor(tx, principal.id, lock=True)
        if found is not None and found.confirmed_at is not None:
            raise OtpEnrolled
        secret = base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode()
        values = {
            "secret": self._vault.seal(principal.id, secret.encode(), aad=_aad(principal.id)), "at_login": at_login,
            "created_at": self._clock.now(), "confirmed_at": None, "confirmed_session": None, "last_step": None,
        }  # fmt: skip
        await store.put_second_factor(tx, principal.id, values)
        await self._people.audit(tx, Actor.of(principal), "otp.enrolled", principal.id)
        return Enrolment(secret=secret, uri=provisioning_uri(secret, principal.email))

    async def confirm(self, tx: Transaction, principal: Principal, code: str) -> Problem | None:
        """The first code of a new secret puts it into force. Returns WrongOtp or Locked; raises NotEnrolled, OtpEnrolled."""
        row = await store.second_factor(tx, principal.id, lock=True)
        if row is None:
            raise NotEnrolled
        if row.confirmed_at is not None:
            raise OtpEnrolled
        refused = await self._check(tx, row, code)
        if refused is None:
            values = {"confirmed_at": self._clock.now(), "confirmed_session": principal.session_id}
            await store.update_second_factor(tx, principal.id, values)
        await self._audit(tx, principal, "otp.confirmed", refused)
        return refused

    async def prove(self, tx: Transaction, principal: Principal, code: str) -> Problem | None:
        """None when it is a fresh code of the person's confirmed second factor (for signatures); NotEnrolled, WrongOtp or Locked."""
        row = await store.second_factor(tx, principal.id)
        if row is None or row.confirmed_at is None:
            return NotEnrolled()
        refused = await self._check(tx, row, code)
        if refused is not None:
            await self._audit(tx, principal, "otp.refused", refused)
        return refused

    async def at_login(self, tx: Transaction, person_id: uuid.UUID, code: str | None) -> Problem | None:
        """What a log-in whose password was right still lacks: None, OtpRequired, OtpFailed or Locked."""
        row = await store.second_factor(tx, person_id)
        if row is None or row.confirmed_at is None or not row.at_login:
            return None
        if code is None:
            return OtpRequired()
        refused = await self._check(tx, row, code)
        return OtpFailed() if isinstance(refused, WrongOtp) else refused

    async def remove(self, tx: Transaction, person_id: uuid.UUID, *, by: Actor, content: dict[str, bytes] | None = None) -> None:
        """Raises NotEnrolled."""
        if not await store.delete_second_factor(tx, person_id):
            raise NotEnrolled
        await self._limiter.clear(tx, _key(person_id))
        await self._people.audit(tx, by, "otp.removed", person_id, content=content)

    async def components(self, tx: Transaction, principal: Principal) -> Components:
        """What this person's signature consists of, and when this session executed all of it last."""
        session = None if principal.session_id is None else await store.session_by_id(tx, principal.session_id)
        factor = await store.second_factor(tx, principal.id)
        if session is None:
            return Components(secrets=frozenset({"password"}), executed_at=None)
        if factor is None or factor.confirmed_at is None:
            return Components(secrets=frozenset({"password"}), executed_at=session.created_at)
        executed_at = None
        if factor.confirmed_session == session.id:  # e-mail and password at its log-in, a code when it was confirmed
            executed_at = factor.confirmed_at
        elif factor.at_login and factor.confirmed_at <= session.created_at:
            executed_at = session.created_at
        return Components(secrets=frozenset({"password", "otp"}), executed_at=executed_at)

    async def _check(self, tx: Transaction, row: Row[Any], code: str) -> Problem | None:
        """The attempt is counted first, under the lock of its counter's row, and forgotten when it was right."""
        key = _key(row.person_id)
        try:
            await self._limiter.hit(tx, key, self._limits.login_failures, self._limits.login_window_seconds)
        except RateLimited as refused:
            return Locked(retry_after=refused.retry_after)
        secret = base64.b32decode(self._vault.open(bytes(row.secret), aad=_aad(row.person_id)))
        step = matching_step(secret, code.replace(" ", ""), self._clock.now(), row.last_step)
        if step is None or not await store.use_step(tx, row.person_id, step):
            return WrongOtp()
        await self._limiter.clear(tx, key)
        return None

    async def _audit(self, tx: Transaction, principal: Principal, action: str, refused: Problem | None) -> None:
        by = Actor.of(principal)
        if refused is None:
            await self._people.audit(tx, by, action, principal.id)
        else:
            await self._people.audit(tx, by, "otp.refused", principal.id, outcome="failed", reason=refused.code)


def _shown(row: Row[Any] | None) -> SecondFactor:
    if row is None:
        return SecondFactor(state="none")
    return SecondFactor(state="pending" if row.confirmed_at is None else "confirmed", confirmed_at=row.confirmed_at, at_login=row.at_login)


def _key(person_id: uuid.UUID) -> str:
    return f"otp:{person_id}"


def _aad(person_id: uuid.UUID) -> str:
    return f"second_factor.secret:{person_id}"
