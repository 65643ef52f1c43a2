"""The door to identity."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from aliquot.identity import store
from aliquot.identity.contracts import (
    SYSTEM,
    Accounts,
    Actor,
    ApiKey,
    Components,
    Enrolment,
    Login,
    NewApiKey,
    NewPerson,
    Person,
    Principal,
    SecondFactor,
    Session,
    Ticket,
    Via,
)
from aliquot.identity.keys import Keys
from aliquot.identity.oidc.api import SignOnApi
from aliquot.identity.otp import SecondFactors
from aliquot.identity.passwords import LENGTH_MAX, Passwords, require_strength
from aliquot.identity.rights import permissions_of
from aliquot.identity.service import People, checked_email, signing_content
from aliquot.identity.sessions import Sessions
from aliquot.identity.tokens import Credential, SessionCredential, Tokens, is_key, is_ticket
from aliquot.kernel.clock import Clock
from aliquot.kernel.problems import InvalidInput, Problem, Unauthenticated, Unavailable
from aliquot.ledger.api import LedgerApi
from aliquot.platform.db import Database, Transaction
from aliquot.platform.idempotency import Idempotency
from aliquot.platform.limits import FloodLimiter, Limiter
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Vault

_LOGINS_AT_ONCE = 4  # each holds a database connection while argon2 works
_LOGINS_WAITING = 200
_LIST_MAX = 200


class IdentityApi:
    """Who is asking, what they may do, and the administration of people.

    Functions that return a `Problem` beside their result must have their transaction committed in either case: the refusal is
    counted and audited. The caller raises it afterwards.
    """

    def __init__(
        self, vault: Vault, ledger: LedgerApi, clock: Clock, settings: Settings, *,
        limiter: Limiter | None = None, passwords: Passwords | None = None, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        """Raises SettingsError when JWT_SECRET is too short.

        `sleep` slows log-ins under attack, `passwords` sets argon2's work factor: tests record the one and lower the other.
        """
        limiter = limiter or Limiter(clock)
        passwords = passwords or Passwords()
        secret = settings.jwt_secret.get_secret_value().encode() if settings.jwt_secret else vault.derive("jwt")
        self._tokens = Tokens(secret, clock)
        self._people = People(vault, ledger, clock, passwords)
        self._factors = SecondFactors(self._people, vault, limiter, clock, settings)
        self._sessions = Sessions(
            people=self._people, passwords=passwords, tokens=self._tokens, limiter=limiter, clock=clock, settings=settings,
            factors=self._factors,
        )  # fmt: skip
        self._keys = Keys(self._people, vault, clock)
        self.sso = SignOnApi(
            people=self._people, sessions=self._sessions, vault=vault, limiter=limiter, clock=clock, settings=settings
        )  # fmt: skip
        self._flood = FloodLimiter(clock, settings.limits.requests_per_minute)
        self._sleep = sleep
        self._login_slots = asyncio.Semaphore(_LOGINS_AT_ONCE)
        self._logins_waiting = 0
        self.idempotency = Idempotency(clock)
        self._clock = clock
        self.limiter = limiter

    # Who asks

    def parse(self, authorization: str | None) -> Credential:
        """What an Authorization header presents, without asking the database. Raises Unauthenticated."""
        return self._tokens.parse(authorization)

    async def establish(self, tx: Transaction, credential: Credential, address: str) -> Principal | Problem:
        """Who a credential stands for now, or Unauthenticated. One query."""
        if isinstance(credential, SessionCredential):
            return await self._sessions.of_session(tx, credential, address)
        return await self._keys.establish(tx, credential, address)

    async def establish_alone(self, db: Database, credential: Credential, address: str) -> Principal | Problem:
        """`establish` in a transaction of its own; for a session one round trip."""
        if isinstance(credential, SessionCredential):
            return await self._sessions.of_session_alone(db, credential, address)
        async with db.begin() as tx:
            # A refusal is returned, not raised: the misuse of an API key must be committed to the audit log.
            return await self._keys.establish(tx, credential, address)

    async def authenticate(self, tx: Transaction, authorization: str | None, address: str) -> Principal:
        """As `parse` and `establish`, raising Unauthenticated; a misused API key is then not audited. HTTP uses the dependencies."""
        return _raised(await self.establish(tx, self.parse(authorization), address))

    async def authenticate_socket(self, tx: Transaction, token: str | None, address: str) -> Principal:
        """Who opens a WebSocket with `?token=`: a JWT or a ticket, which is used up. Raises Unauthenticated.

        API keys are refused here: a URL ends up in logs. A program sends its key in the Authorization header.
        """
        if not token or is_key(token):
            raise Unauthenticated
        if is_ticket(token):
            return _raised(await self._sessions.redeem(tx, token, address))
        return await self.authenticate(tx, f"Bearer {token}", address)

    async def redeem_ticket(self, tx: Transaction, ticket: str, address: str | None = None) -> Principal:
        """Who a ticket of POST /api/auth/ticket stands for; it is used up when the transaction commits. Raises Unauthenticated."""
        return _raised(await self._sessions.redeem(tx, ticket, address))

    async def principal(
        self, tx: Transaction, person_id: uuid.UUID, *, via: Via = "system", session_id: uuid.UUID | None = None, ip: str | None = None
    ) -> Principal:
        """A person's rights now, for work that goes on without a request, or to re-check a WebSocket's session.

        With `session_id` that session must still stand. Raises Unauthenticated when it does not or the person is disabled, NotFound
        for an unknown person.
        """
        if session_id is not None:
            credential = SessionCredential(person_id=person_id, session_id=session_id)
            return _raised(await self._sessions.of_session(tx, credential, ip))
        row = await self._people.find(tx, person_id)
        if not row.active:
            raise Unauthenticated("This person is disabled.")
        return self._people.principal(row, via=via, ip=ip)

    def hypothetical(self, roles: Collection[str], *, may_sign: bool, via: Via = "session") -> Principal:
        """Somebody with these roles who does not exist, to ask what they might do."""
        return Principal(
            id=uuid.UUID(int=0), email="", name="", roles=frozenset(roles), permissions=permissions_of(roles, may_sign=may_sign), via=via
        )

    def flood_check_address(self, address: str) -> None:
        """Raise RateLimited when too many requests from `address` could not be authenticated in the last minute."""
        self._flood.check(f"address:{address}")

    def flood_count_address(self, address: str) -> None:
        """Count a request that could not be authenticated. Raises RateLimited."""
        self._flood.hit(f"address:{address}")

    def flood_count_person(self, person_id: uuid.UUID) -> None:
        """Count a request. Raises RateLimited beyond `requests_per_minute` in this process."""
        self._flood.hit(f"person:{person_id}")

    def flood_usage(self, person_id: uuid.UUID) -> int:
        """Requests of a person in the last minute in this process."""
        return self._flood.usage(f"person:{person_id}")

    # Sessions and passwords

    @asynccontextmanager
    async def login_slot(self) -> AsyncIterator[None]:
        """Room for one log-in: hold it around the transaction of `login`. Raises Unavailable when too many wait."""
        if self._logins_waiting >= _LOGINS_WAITING:
            raise Unavailable(retry_after=2)
        self._logins_waiting += 1
        try:
            async with self._login_slots:
                yield
        finally:
            self._logins_waiting -= 1

    async def login_delay(self, tx: Transaction, email: str) -> float:
        """Seconds to wait (see `wait`) before an attempt on this account, from its recent failures anywhere; at most 5."""
        return await self._sessions.delay(tx, email)

    async def wait(self, seconds: float) -> None:
        """Let the delay of a log-in pass; hold no transaction meanwhile."""
        if seconds > 0:
            await self._sleep(seconds)

    async def login(self, tx: Transaction, *, email: str, password: str, address: str, otp: str | None = None) -> Login | Problem:
        """Open a session, or LoginFailed, Locked, OtpRequired or OtpFailed. Whether the account exists shows neither in the answer
        nor in its time; whether the password was right shows to a person with a second factor."""
        return await self._sessions.login(tx, email=email, password=password, address=address, otp=otp)

    async def logout(self, tx: Transaction, principal: Principal) -> None:
        """End the session of this request. Raises NotFound when it ended meanwhile."""
        if principal.session_id is None:
            raise Unauthenticated
        await self._sessions.revoke(tx, principal, principal.session_id)

    async def refresh(self, tx: Transaction, principal: Principal) -> Login:
        """A later token for the session of this request."""
        return await self._sessions.refresh(tx, principal)

    async def sessions(self, tx: Transaction, principal: Principal) -> Sequence[Session]:
        """The person's sessions that stand, newest first."""
        return await self._sessions.list(tx, principal)

    async def revoke_session(self, tx: Transaction, principal: Principal, session_id: uuid.UUID) -> None:
        """End one of the person's own sessions. Raises NotFound."""
        await self._sessions.revoke(tx, principal, session_id)

    async def confirm_password(self, tx: Transaction, principal: Principal, password: str) -> Problem | None:
        """None when `password` is the person's (for signatures); WrongPassword or Locked otherwise. Counts towards the lock-out."""
        return await self._sessions.confirm(tx, principal, password)

    async def change_password(self, tx: Transaction, principal: Principal, *, old: str, new: str) -> Problem | None:
        """Replace one's password and end all other sessions. WrongPassword or Locked are returned, WeakPassword is raised."""
        return await self._sessions.change_password(tx, principal, old, new)

    async def ticket(self, tx: Transaction, principal: Principal) -> Ticket:
        """A 30-second single-use pass for a WebSocket."""
        return await self._sessions.ticket(tx, principal)

    # The second factor

    async def second_factor(self, tx: Transaction, principal: Principal) -> SecondFactor:
        """Whether the person has one."""
        return await self._factors.status(tx, principal.id)

    async def enrol_otp(self, tx: Transaction, principal: Principal, password: str, *, at_login: bool = True) -> Enrolment | Problem:
        """A new secret after the password; a token alone must not be able to add a way to sign. WrongPassword or Locked are returned,
        OtpEnrolled is raised."""
        refused = await self._sessions.confirm(tx, principal, password)
        return refused if refused is not None else await self._factors.enrol(tx, principal, at_login=at_login)

    async def confirm_enrolment(self, tx: Transaction, principal: Principal, code: str) -> Problem | None:
        """Put the new second factor into force by its first code. Returns WrongOtp, Locked; raises NotEnrolled, OtpEnrolled."""
        return await self._factors.confirm(tx, principal, code)

    async def remove_otp(self, tx: Transaction, principal: Principal, password: str, code: str | None) -> Problem | None:
        """Remove one's own second factor, a confirmed one by a code of it. Returns WrongPassword, WrongOtp, Locked; raises NotEnrolled,
        InvalidInput."""
        confirmed = (await self._factors.status(tx, principal.id)).state == "confirmed"
        if confirmed and code is None:
            raise InvalidInput("otp: a code of the second factor that is to be removed; an administrator removes a lost one.")
        refused = await self._sessions.confirm(tx, principal, password)
        if refused is None and confirmed and code is not None:
            refused = await self._factors.prove(tx, principal, code)
        if refused is None:
            await self._factors.remove(tx, principal.id, by=Actor.of(principal))
        return refused

    async def reset_otp(self, tx: Transaction, person_id: uuid.UUID, *, by: Actor) -> None:
        """An administrator removes a lost second factor; the person cannot sign until another one gives the right back.

        Raises NotFound, NotEnrolled.
        """
        await self._people.find(tx, person_id)
        row = await self._people.hold_signing(tx, person_id, by)
        await self._factors.remove(tx, person_id, by=by, content=signing_content(row))

    async def confirm_otp(self, tx: Transaction, principal: Principal, code: str) -> Problem | None:
        """None when `code` is a fresh one of the person's (for signatures); NotEnrolled, WrongOtp or Locked otherwise. Spends it."""
        return await self._factors.prove(tx, principal, code)

    async def confirm_sso(self, tx: Transaction, principal: Principal, proof: str) -> Problem | None:
        """None when `proof` is of a fresh authentication at the provider (for signatures); WrongProof otherwise. Spends it."""
        return await self.sso.prove(tx, principal, proof)

    async def components(self, tx: Transaction, principal: Principal) -> Components:
        """What the person's signature consists of, and when this session executed all of it last.

        Who came through the provider is authenticated there anew for every signature: no earlier log-in there counts.
        """
        if principal.session_id is not None and await self.sso.opened(tx, principal.session_id):
            return Components(secrets=frozenset({"sso"}), executed_at=None)
        return await self._factors.components(tx, principal)

    # API keys

    async def create_key(self, tx: Transaction, person_id: uuid.UUID, *, name: str, expires_at: datetime | None, by: Actor) -> NewApiKey:
        """Make an API key; its secret is in the answer and nowhere else. Raises NotFound, InvalidInput, TooManyKeys."""
        return await self._keys.create(tx, person_id, name=name, expires_at=expires_at, by=by)

    async def keys(self, tx: Transaction, person_id: uuid.UUID) -> Sequence[ApiKey]:
        """A person's working keys, newest first."""
        return await self._keys.list(tx, person_id)

    async def revoke_key(self, tx: Transaction, person_id: uuid.UUID, key_id: uuid.UUID, *, by: Actor) -> None:
        """End a person's key at once. Raises NotFound."""
        await self._keys.revoke(tx, person_id, key_id, by=by)

    # People

    async def person(self, tx: Transaction, who: uuid.UUID | str) -> Person:
        """A person by id or e-mail address. Raises NotFound."""
        return self._people.person(await self._people.find(tx, who))

    async def names(self, tx: Transaction, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
        """Names of people by id, in one query; unknown ids are left out."""
        return await self._people.names(tx, ids)

    async def list_people(self, tx: Transaction, *, limit: int = 50, after: uuid.UUID | None = None) -> Sequence[Person]:
        """People in the order they were made, at most 200 at once."""
        return [self._people.person(row) for row in await store.people(tx, limit=min(limit, _LIST_MAX), after=after)]

    async def accounts(self, tx: Transaction) -> Accounts:
        """Who can come in and who can sign, in numbers."""
        return Accounts(**await store.accounts(tx, self._clock.now(), _LIST_MAX))

    async def create_person(
        self, tx: Transaction, *, email: str, name: str, roles: Sequence[str], password: str | None = None, must_change: bool | None = None,
        may_sign: bool | None = None, by: Actor = SYSTEM,
    ) -> NewPerson:  # fmt: skip
        """Make a person. Without `password` the answer holds a one-time password that must be changed at the first log-in.

        A given password is taken as it is (operators choose them in the settings; check others with `check_password`) and need not
        be changed unless `must_change`. `may_sign` defaults to true for scientists, reviewers and clinicians.
        Raises InvalidInput, PersonExists.
        """
        if password is not None and not 1 <= len(password) <= LENGTH_MAX:
            raise InvalidInput(f"A password has 1 to {LENGTH_MAX} characters.")
        return await self._people.create(
            tx, email=email, name=name, roles=roles, password=password, may_sign=may_sign, by=by,
            must_change=must_change if must_change is not None else password is None,
        )  # fmt: skip

    def check_password(self, password: str, *, email: str) -> None:
        """Raise WeakPassword for a password that people may not choose."""
        require_strength(password, email=checked_email(email))

    async def ensure_first_admin(self, tx: Transaction, email: str, password: str | None) -> str | None:
        """Make an administrator unless there is an active one; the one-time password if none was given. Safe to race."""
        if await self._people.has_admin(tx):
            return None
        made = await self.create_person(tx, email=email, name="Administrator", roles=["admin"], password=password)
        return made.password

    async def change_person(
        self, tx: Transaction, person_id: uuid.UUID, *, name: str | None = None, email: str | None = None, may_sign: bool | None = None,
        by: Actor,
    ) -> Person:  # fmt: skip
        """Change what is given. Raises NotFound, InvalidInput, PersonExists, HoldStands.

        With single sign-on an address leads to a log-in, so whoever changes it takes the right to sign away, as with a password.
        """
        reroutes = email is not None and self.sso.told().configured
        return await self._people.change(tx, person_id, name=name, email=email, may_sign=may_sign, by=by, hold=reroutes)

    async def set_roles(self, tx: Transaction, person_id: uuid.UUID, roles: Sequence[str], *, by: Actor) -> Person:
        """Replace a person's roles, in force from their next request on. Raises NotFound, InvalidInput, LastAdmin."""
        return await self._people.set_roles(tx, person_id, roles, by=by)

    async def set_active(self, tx: Transaction, person_id: uuid.UUID, active: bool, *, by: Actor) -> Person:
        """Disable a person (their sessions and keys end at once and for good) or enable them again. Raises NotFound, LastAdmin."""
        return await self._people.set_active(tx, person_id, active, by=by)

    async def forget(self, tx: Transaction, person_id: uuid.UUID) -> int:
        """Delete what is in clear about an erased person who was disabled before: the index of their address, password, second factor,
        network addresses. How many rows. The id stays, for signatures and the log."""
        return await self._people.forget(tx, person_id)

    async def reset_password(self, tx: Transaction, person_id: uuid.UUID, *, password: str | None = None, by: Actor) -> str:
        """Give a person a password that must be changed (made unless given) and end their sessions; that password.

        Raises NotFound, WeakPassword.
        """
        return await self._sessions.reset_password(tx, person_id, password, by=by)

    async def clean(self, tx: Transaction) -> None:
        """Delete expired tickets, long expired sessions, old rate-limit and idempotency rows. For a background loop."""
        await self._sessions.clean(tx)
        await self.sso.clean(tx)
        await self.limiter.clean(tx)
        await self.idempotency.clean(tx)


def _raised(found: Principal | Problem) -> Principal:
    if isinstance(found, Problem):
        raise found
    return found
