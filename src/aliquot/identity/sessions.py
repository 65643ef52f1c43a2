"""Log-in, sessions, passwords, tickets.

A function that must leave a trace of a refusal (a failed log-in counts and is audited) returns the refusal instead of
raising it, so that the caller's transaction commits.
"""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row

from aliquot.identity import store
from aliquot.identity.address import counting_address
from aliquot.identity.contracts import FIRST_PASSWORD_FILE, SYSTEM, Actor, Login, Principal, Session, Ticket
from aliquot.identity.errors import Locked, LoginFailed, OtpRequired, WeakPassword, WrongPassword
from aliquot.identity.otp import SecondFactors
from aliquot.identity.passwords import Passwords, one_time_password, require_strength
from aliquot.identity.service import People, password_content, signing_content
from aliquot.identity.tokens import SessionCredential, Tokens, digest, is_ticket, new_ticket
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import NotFound, Problem, RateLimited, Unauthenticated
from aliquot.ledger.contracts import RecordRef
from aliquot.platform.db import Database, Transaction
from aliquot.platform.limits import Limiter
from aliquot.platform.settings import Settings

_SESSION_MAX = timedelta(days=7)  # however often it is refreshed
_TICKET = timedelta(seconds=30)
_KEPT = timedelta(days=30)  # expired sessions are kept this long for people who look into an incident
_DELAY_STEP_SECONDS, _DELAY_MAX_SECONDS = 0.5, 5.0
_ACCOUNT_FAILURES_MAX = 1_000  # how many the counter across addresses holds


class Sessions:
    """The log-ins of people."""

    def __init__(
        self, *, people: People, passwords: Passwords, tokens: Tokens, limiter: Limiter, clock: Clock, settings: Settings,
        factors: SecondFactors,
    ) -> None:  # fmt: skip
        self._people = people
        self._factors = factors
        self._passwords = passwords
        self._tokens = tokens
        self._limiter = limiter
        self._clock = clock
        self._settings = settings

    async def delay(self, tx: Transaction, email: str) -> float:
        """Seconds to wait before an attempt on this account: grows with recent failures from anywhere, at most 5."""
        limits = self._settings.limits
        usage = await self._limiter.usage(tx, self._account_key(self._people.index(email)), limits.login_window_seconds)
        return min(_DELAY_MAX_SECONDS, max(0, usage.used - limits.login_failures + 1) * _DELAY_STEP_SECONDS)

    async def login(self, tx: Transaction, *, email: str, password: str, address: str, otp: str | None = None) -> Login | Problem:
        """Open a session, or return LoginFailed, Locked, OtpRequired or OtpFailed; commit in either case."""
        index = self._people.index(email)
        row = await store.person_by_index(tx, index)
        checked = await self._check(tx, row, index, password, address)
        if checked is not None:
            if isinstance(checked, LoginFailed):
                await self._audit_failure(tx, row, email, address)
            return checked
        assert row is not None  # noqa: S101 - _check refuses when there is nobody
        lacking = await self._factors.at_login(tx, row.id, otp)
        if lacking is not None:
            if not isinstance(lacking, OtpRequired):
                by = Actor(id="anonymous", via="session", ip=address)
                await self._people.audit(tx, by, "login.failed", row.id, version=row.version, outcome="failed", reason=lacking.code)
            return lacking
        return await self._open(tx, row, password, address)

    async def of_session(self, tx: Transaction, credential: SessionCredential, address: str | None) -> Principal | Problem:
        """Who a session is, now, or Unauthenticated when it was ended, has expired or the person was disabled."""
        return self._standing(await store.person_of_session(tx, credential.session_id, credential.person_id), credential, address)

    async def of_session_alone(self, db: Database, credential: SessionCredential, address: str | None) -> Principal | Problem:
        """`of_session` in a transaction of its own."""
        return self._standing(await store.person_of_session_alone(db, credential.session_id, credential.person_id), credential, address)

    def _standing(self, row: Row[Any] | None, credential: SessionCredential, address: str | None) -> Principal | Problem:
        if row is None or not row.active or row.revoked_at is not None:
            return Unauthenticated("This session has ended. Please log in again.")
        if row.expires_at <= self._clock.now():
            return Unauthenticated("Your session has expired. Please log in again.")
        return self._people.principal(row, via="session", session_id=credential.session_id, ip=address)

    async def refresh(self, tx: Transaction, principal: Principal) -> Login:
        """A later token for the same session, up to seven days after the log-in."""
        session = await store.session_by_id(tx, _session_id(principal))
        if session is None:
            raise Unauthenticated
        expires_at = min(self._clock.now() + self._lifetime, session.created_at + _SESSION_MAX)
        await store.extend_session(tx, session.id, expires_at)
        record = RecordRef(type="session", id=str(session.id))
        await self._people.audit(tx, Actor.of(principal), "session.refreshed", principal.id, record=record)
        person = self._people.person(await self._people.find(tx, principal.id))
        return Login(token=self._tokens.issue(person, session.id, expires_at), user=person, expires_at=expires_at)

    async def list(self, tx: Transaction, principal: Principal) -> Sequence[Session]:
        """The sessions of a person that stand, newest first."""
        rows = await store.live_sessions(tx, principal.id, self._clock.now())
        return [
            Session(id=row.id, created_at=row.created_at, expires_at=row.expires_at, ip=row.ip, current=row.id == principal.session_id)
            for row in rows
        ]

    async def revoke(self, tx: Transaction, principal: Principal, session_id: uuid.UUID) -> None:
        """End one of the person's sessions. Raises NotFound, also for somebody else's."""
        if not await store.revoke_session(tx, principal.id, session_id, self._clock.now()):
            raise NotFound
        action = "session.ended" if session_id == principal.session_id else "session.revoked"
        await self._people.audit(tx, Actor.of(principal), action, principal.id, record=RecordRef(type="session", id=str(session_id)))

    async def confirm(self, tx: Transaction, principal: Principal, password: str) -> Problem | None:
        """None when it is the person's password; else WrongPassword (which counts as a failed log-in) or Locked. Commit in any case."""
        row = await self._people.find(tx, principal.id)
        refused = await self._check(tx, row, bytes(row.email_index), password, principal.ip or "")
        if isinstance(refused, LoginFailed):
            await self._people.audit(tx, Actor.of(principal), "password.refused", principal.id, version=row.version, outcome="failed")
            return WrongPassword()
        return refused

    async def change_password(self, tx: Transaction, principal: Principal, old: str, new: str) -> Problem | None:
        """Replace the password and end all other sessions; or return why not. Commit in either case.

        Raises WeakPassword before anything is counted.
        """
        require_strength(new, email=principal.email)
        if old == new:
            raise WeakPassword("The new password is the old one.")
        refused = await self.confirm(tx, principal, old)
        if refused is not None:
            return refused
        row = await self._people.set_password(tx, principal.id, new, must_change=False)
        await store.revoke_sessions(tx, principal.id, self._clock.now(), but=principal.session_id)
        content = password_content(row)
        await self._people.audit(tx, Actor.of(principal), "password.changed", principal.id, version=row.version, content=content)
        return None

    async def reset_password(self, tx: Transaction, person_id: uuid.UUID, password: str | None, *, by: Actor) -> str:
        """Give a person a password that must be changed, made unless given, and end their sessions; the password.

        Raises NotFound, WeakPassword.
        """
        found = await self._people.find(tx, person_id, lock=True)
        if password is None:
            password = one_time_password()
        else:
            require_strength(password, email=self._people.person(found).email)
        await self._people.set_password(tx, person_id, password, must_change=True)
        await store.revoke_sessions(tx, person_id, self._clock.now())
        row = await self._people.hold_signing(tx, person_id, by)
        content = password_content(row) | signing_content(row)
        await self._people.audit(tx, by, "password.reset", person_id, version=row.version, content=content)
        return password

    async def ticket(self, tx: Transaction, principal: Principal) -> Ticket:
        """A pass for one WebSocket handshake within 30 seconds, good for the session it was asked through."""
        ticket, expires_at = new_ticket(), self._clock.now() + _TICKET
        values = {"digest": digest(ticket), "person_id": principal.id, "session_id": _session_id(principal), "expires_at": expires_at}
        await store.insert_ticket(tx, values)
        return Ticket(ticket=ticket, expires_at=expires_at)

    async def redeem(self, tx: Transaction, ticket: str, address: str | None) -> Principal | Problem:
        """Who a ticket stands for; it is used up. Unauthenticated when it is unknown, used, expired or its session has ended."""
        row = await store.take_ticket(tx, digest(ticket)) if is_ticket(ticket) else None
        if row is None or row.expires_at <= self._clock.now():
            return Unauthenticated("This ticket is not valid.")
        return await self.of_session(tx, SessionCredential(person_id=row.person_id, session_id=row.session_id), address)

    async def clean(self, tx: Transaction) -> None:
        """Delete expired tickets and long expired sessions."""
        now = self._clock.now()
        await store.clean(tx, tickets_before=now, sessions_before=now - _KEPT)

    async def _check(self, tx: Transaction, row: Row[Any] | None, index: bytes, password: str, address: str) -> Problem | None:
        """Verify under the lock-out. The attempt is counted first, under the lock of its counter's row, and forgotten when it was
        right: attempts on one (account, address) go one after the other, so five are five however many come at once."""
        limits = self._settings.limits
        pair = f"login:{index.hex()[:32]}:{counting_address(address)}"
        try:
            await self._limiter.hit(tx, pair, limits.login_failures, limits.login_window_seconds)
        except RateLimited as refused:
            return Locked(retry_after=refused.retry_after)
        good, better = await self._passwords.verify(password, row.password_hash if row is not None else None)
        if row is None or not good or not row.active:
            await self._count_on_account(tx, index)
            return LoginFailed()
        await self._limiter.clear(tx, pair)
        if better is not None:
            await store.set_password_hash(tx, row.id, better)
            content = {"password": better.encode()}
            await self._people.audit(tx, SYSTEM, "password.rehashed", row.id, version=row.version, content=content)
        return None

    async def _count_on_account(self, tx: Transaction, index: bytes) -> None:
        try:
            await self._limiter.hit(tx, self._account_key(index), _ACCOUNT_FAILURES_MAX, self._settings.limits.login_window_seconds)
        except RateLimited:
            return  # the delay has long reached its maximum

    async def _audit_failure(self, tx: Transaction, row: Row[Any] | None, email: str, address: str) -> None:
        limits = self._settings.limits
        pair = f"login:{self._people.index(email).hex()[:32]}:{counting_address(address)}"
        used = (await self._limiter.usage(tx, pair, limits.login_window_seconds)).used
        for action in ["login.failed", *(["login.locked"] if used >= limits.login_failures else [])]:
            if row is None:
                await self._people.audit_unknown(tx, email, address, action)
            else:
                by = Actor(id="anonymous", via="session", ip=address)
                await self._people.audit(tx, by, action, row.id, version=row.version, outcome="failed")

    async def _open(self, tx: Transaction, row: Row[Any], password: str, address: str) -> Login:
        if row.must_change:
            tx.after_commit(lambda: self._forget_first_password(password))
        return (await self.open(tx, row, address))[0]

    async def open(self, tx: Transaction, row: Row[Any], address: str, *, reason: str | None = None) -> tuple[Login, uuid.UUID]:
        """A session of somebody who was authenticated (`reason` says how, if not by a password), and its id."""
        now = self._clock.now()
        session_id, expires_at = new_id(), now + self._lifetime
        values = {"id": session_id, "person_id": row.id, "ip": address, "created_at": now, "expires_at": expires_at, "revoked_at": None}
        await store.insert_session(tx, values)
        by, record = Actor(id=str(row.id), via="session", ip=address), RecordRef(type="session", id=str(session_id))
        await self._people.audit(tx, by, "login.succeeded", row.id, record=record, reason=reason)
        person = self._people.person(row)
        return Login(token=self._tokens.issue(person, session_id, expires_at), user=person, expires_at=expires_at), session_id

    def _forget_first_password(self, used: str) -> None:
        """Delete the file that holds the first administrator's password, once that password was used."""
        path = self._settings.data_dir / FIRST_PASSWORD_FILE
        if path.is_file() and used in path.read_text("utf-8", errors="replace"):
            path.unlink()

    def _account_key(self, index: bytes) -> str:
        return f"login-account:{index.hex()[:32]}"

    @property
    def _lifetime(self) -> timedelta:
        return timedelta(hours=self._settings.session_hours)


def _session_id(principal: Principal) -> uuid.UUID:
    if principal.session_id is None:
        raise Unauthenticated
    return principal.session_id
