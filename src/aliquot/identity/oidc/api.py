"""The door to single sign-on: `begin`, then `take`, `identify` and `admit` when the browser comes back, then `exchange`.

`identify` speaks to the provider and must run outside of any transaction. Functions that return a `Problem` beside their result must
have their transaction committed in either case.
"""

import base64
import hmac
import uuid
from datetime import datetime, timedelta
from typing import Any

import msgspec

from aliquot.identity import store as people_store
from aliquot.identity.address import counting_address
from aliquot.identity.contracts import Actor, Login, Principal
from aliquot.identity.oidc import store
from aliquot.identity.oidc.accounts import Account, Accounts
from aliquot.identity.oidc.contracts import Departure, Farewell, Flow, Identified, Purpose, SignOn, StepUp
from aliquot.identity.oidc.errors import (
    NoSsoIdentity,
    NotFresh,
    SsoCodeRefused,
    SsoDenied,
    SsoDisabled,
    SsoNoRole,
    SsoNotConfigured,
    SsoSomebodyElse,
    SsoStateUnknown,
    SsoTokenRefused,
    WrongProof,
)
from aliquot.identity.oidc.id_tokens import Expected
from aliquot.identity.oidc.provider import Provider, error_code
from aliquot.identity.oidc.rules import checked_landing, new_secret, s256, with_fragment, with_query
from aliquot.identity.service import People
from aliquot.identity.sessions import Sessions
from aliquot.identity.tokens import digest
from aliquot.kernel.clock import Clock
from aliquot.kernel.problems import Problem, Unauthenticated
from aliquot.ledger.contracts import RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.limits import Limiter
from aliquot.platform.settings import Settings
from aliquot.platform.vault import SITE, Vault

_LOGIN_CODE = timedelta(seconds=60)
_STEP_UP = timedelta(seconds=120)
_COOKIE_CHARS = 43
CALLBACK = "/api/auth/oidc/callback"


class SignOnApi:
    """Log-ins through the provider, and fresh authentications for signing."""

    def __init__(self, *, people: People, sessions: Sessions, vault: Vault, limiter: Limiter, clock: Clock, settings: Settings) -> None:
        """Raises SettingsError when a role is mapped that does not exist."""
        self._people, self._sessions, self._vault, self._limiter, self._clock = people, sessions, vault, limiter, clock
        self._settings, self._oidc = settings, settings.oidc
        self._public_url = settings.public_url or ""
        self._accounts = Accounts(people, vault, clock, settings.oidc)
        self._provider = Provider(settings.oidc, settings.oidc.issuer, clock) if settings.oidc.issuer is not None else None
        self.secure = self._public_url.startswith("https:")
        self.cookie_name = "__Host-aliquot-sso" if self.secure else "aliquot-sso"
        self.cookie_seconds = self._oidc.login_seconds

    def told(self) -> SignOn:
        """What a log-in page needs to know."""
        return SignOn(configured=True, label=self._oidc.label) if self._provider is not None else SignOn(configured=False)

    # Leaving for the provider

    def landing(self, wanted: str | None) -> str:
        """Where a browser may be sent at the end. Raises SsoNotConfigured, LandingRefused."""
        self._configured()
        return checked_landing(wanted, self._public_url, self._settings.origins)

    def login_flow(self, wanted: str | None, challenge: str) -> Flow:
        """A log-in that ends at `wanted`. Raises SsoNotConfigured, LandingRefused."""
        return self._flow(self.landing(wanted), challenge=challenge)

    async def step_up(self, tx: Transaction, principal: Principal, purpose: Purpose, wanted: str | None) -> StepUp:
        """A fresh authentication of the person in this session. Raises SsoNotConfigured, LandingRefused, NoSsoIdentity.

        A sealed ticket names both: the browser's own way to the provider carries no bearer token.
        """
        landing = self.landing(wanted)
        if principal.session_id is None:
            raise Unauthenticated
        if not await store.has_identity(tx, principal.id):
            raise NoSsoIdentity
        expires_at = self._clock.now() + _STEP_UP
        asked = [landing, purpose, principal.id.hex, principal.session_id.hex, int(expires_at.timestamp())]
        ticket = base64.urlsafe_b64encode(self._vault.seal(SITE, msgspec.json.encode(asked), aad="oidc.step_up")).decode()
        url = with_query(self._public_url.rstrip("/") + "/api/auth/oidc/login", {"step_up": ticket})
        return StepUp(url=url, expires_at=expires_at)

    def step_up_flow(self, ticket: str) -> Flow:
        """The flow of a ticket of `step_up`. Raises SsoNotConfigured, SsoStateUnknown."""
        self._configured()
        try:
            opened = self._vault.open(base64.urlsafe_b64decode(ticket.encode()), aad="oidc.step_up")
            landing, purpose, person, session, expires = msgspec.json.decode(opened, type=tuple[str, Purpose, str, str, int])
        except (Problem, ValueError) as error:
            raise SsoStateUnknown from error
        if expires <= self._clock.now().timestamp():
            raise SsoStateUnknown
        return self._flow(landing, purpose=purpose, person_id=uuid.UUID(person), session_id=uuid.UUID(session))

    async def destination(self, flow: Flow) -> tuple[str, str]:
        """The provider's address for this flow, and its state. Asks the provider; hold no transaction. Raises SsoUnavailable."""
        metadata, state = await self._configured().metadata(), new_secret()
        asked = {
            "response_type": "code", "client_id": self._oidc.client_id, "redirect_uri": self._redirect_uri, "scope": self._oidc.scopes,
            "state": state, "nonce": flow.nonce, "code_challenge": s256(flow.verifier), "code_challenge_method": "S256",
        }  # fmt: skip
        if flow.purpose is not None:
            asked |= {"max_age": "0", "prompt": "login"}  # some providers know only the one, some only the other
        return with_query(metadata.authorization_endpoint, asked), state

    async def begin(self, tx: Transaction, flow: Flow, url: str, state: str, *, cookie: str | None, address: str) -> Departure:
        """Remember the flow until the browser comes back with its cookie. Raises RateLimited."""
        await self._limiter.hit(tx, f"oidc:{counting_address(address)}", self._oidc.starts_per_minute, 60)
        # A browser keeps its cookie as long as flows are open: two tabs must not end each other's log-in.
        browser = cookie if cookie is not None and len(cookie) == _COOKIE_CHARS and cookie.isascii() else new_secret()
        state_sha256 = digest(state)
        values = {
            "state_sha256": state_sha256, "browser_sha256": digest(browser),
            "sealed": self._vault.seal(SITE, msgspec.json.encode(flow), aad=_flow_aad(state_sha256)),
            "expires_at": flow.started_at + timedelta(seconds=self._oidc.login_seconds),
        }  # fmt: skip
        await store.insert_flow(tx, values)
        return Departure(url=url, cookie=browser)

    # Coming back

    async def take(self, tx: Transaction, state: str, cookie: str | None) -> Flow:
        """The flow this browser left with; it can be taken once. Raises SsoNotConfigured, SsoStateUnknown."""
        self._configured()
        row = await store.take_flow(tx, digest(state), digest(cookie)) if cookie else None
        if row is None or row.expires_at <= self._clock.now():
            raise SsoStateUnknown
        return msgspec.json.decode(self._vault.open(bytes(row.sealed), aad=_flow_aad(bytes(row.state_sha256))), type=Flow)

    async def identify(self, flow: Flow, *, code: str | None, error: str | None, issuer: str | None) -> Identified:
        """Whom the provider's answer names. Asks the provider; hold no transaction.

        Raises SsoUnavailable, SsoDenied, SsoTokenRefused, NotFresh.
        """
        provider = self._configured()
        metadata = await provider.metadata()
        if (issuer is None and metadata.says_issuer) or issuer not in (None, self._oidc.issuer):
            raise SsoTokenRefused(cause="issuer")  # an answer of another provider (mix-up, RFC 9207)
        if error is not None or not code:
            raise SsoDenied(cause=error_code(error))
        token = await provider.id_token(code, flow.verifier, self._redirect_uri)
        expected = Expected(
            issuer=self._oidc.issuer or "", client_id=self._oidc.client_id, audiences=self._oidc.audiences, nonce=flow.nonce,
            algorithms=self._oidc.algorithms, now=self._clock.now(), leeway_seconds=self._oidc.leeway_seconds,
            fresh_since=flow.started_at if flow.purpose is not None else None,
        )  # fmt: skip
        return await provider.identify(token, expected)

    async def admit(self, tx: Transaction, flow: Flow, who: Identified, address: str) -> str | Problem:
        """Where the browser goes with what it was given: a code for a session, or a proof. Commit in either case."""
        by = Actor(id="system", via="system", ip=address)
        try:
            async with tx.savepoint() as part:
                found = await self._logged_in(part, flow, who, by) if flow.purpose is None else await self._proven(part, flow, who, by)
        except Problem as problem:
            refusal = problem
            if isinstance(problem, SsoNoRole):
                refusal = await self._shut_out(tx, who, by) or problem
            await self.refused(tx, refusal, address)
            return refusal
        return found

    async def refused(self, tx: Transaction, problem: Problem, address: str) -> None:
        """Leave a trace of a log-in that failed."""
        reason = f"sso:{problem.members.get('cause', problem.code)}"
        await self._people.audit(
            tx, Actor(id="anonymous", via="session", ip=address), "login.failed", SITE, outcome="failed", reason=reason,
            record=RecordRef(type="account", id="sso"),
        )  # fmt: skip

    def sent_back(self, flow: Flow, problem: Problem) -> str:
        """Where a browser goes whose log-in failed."""
        return with_fragment(flow.landing, sso_error=problem.code, sso_message=problem.detail)

    async def exchange(self, tx: Transaction, code: str, verifier: str, address: str) -> Login | Problem:
        """A session for the code a front end was sent back with. Commit in either case: the code is used up."""
        row = await store.take_pass(tx, "login", digest(code))
        if row is None or row.expires_at <= self._clock.now() or not hmac.compare_digest(s256(verifier), row.challenge or ""):
            return SsoCodeRefused()
        person = await self._people.find(tx, row.person_id, lock=True)
        if not person.active or not person.roles:
            return SsoDisabled()
        login, session_id = await self._sessions.open(tx, person, address, reason="sso")
        await store.mark_session(tx, session_id, row.identity_id)
        return login

    # Signing and leaving

    async def prove(self, tx: Transaction, principal: Principal, proof: str) -> Problem | None:
        """None when `proof` is of a fresh authentication of this person in this session, for signing. Used up; commit in any case."""
        row = await store.take_pass(tx, "sign", digest(proof))
        good = row is not None and row.expires_at > self._clock.now()
        if row is not None and good and (row.person_id, row.session_id) == (principal.id, principal.session_id):
            return None
        await self._people.audit(tx, Actor.of(principal), "sso.proof_refused", principal.id, outcome="failed")
        return WrongProof()

    async def opened(self, tx: Transaction, session_id: uuid.UUID) -> bool:
        """Whether a session was opened through the provider."""
        return await store.opened_session(tx, session_id)

    async def farewell(self, wanted: str | None) -> Farewell:
        """Where the browser ends its session at the provider (OpenID Connect RP-Initiated Logout 1.0). Asks the provider."""
        landing = self.landing(wanted)
        try:
            ending = (await self._configured().metadata()).end_session_endpoint
        except Problem:  # it does not answer: the session here has ended all the same
            ending = None
        asked = {"client_id": self._oidc.client_id, "post_logout_redirect_uri": landing}
        return Farewell(url=None if ending is None else with_query(ending, asked))

    # Administration

    async def allow_link(self, tx: Transaction, person_id: uuid.UUID, *, by: Actor) -> None:
        """See `Accounts.allow_link`. Raises SsoNotConfigured, NotFound."""
        self._configured()
        await self._accounts.allow_link(tx, person_id, by)

    async def unlink(self, tx: Transaction, person_id: uuid.UUID, *, by: Actor) -> None:
        """See `Accounts.unlink`. Raises SsoNotConfigured, NotFound."""
        self._configured()
        await self._accounts.unlink(tx, person_id, by)

    async def clean(self, tx: Transaction) -> None:
        """Delete what has expired."""
        await store.clean(tx, self._clock.now())

    def _configured(self) -> Provider:
        if self._provider is None:
            raise SsoNotConfigured
        return self._provider

    def _flow(self, landing: str, *, challenge: str | None = None, **more: Any) -> Flow:
        return Flow(
            nonce=new_secret(), verifier=new_secret(), landing=landing, challenge=challenge, started_at=self._clock.now(), **more
        )  # fmt: skip

    @property
    def _redirect_uri(self) -> str:
        return self._public_url.rstrip("/") + CALLBACK

    async def _logged_in(self, tx: Transaction, flow: Flow, who: Identified, by: Actor) -> str:
        account = await self._accounts.admit(tx, who, by)
        code = await self._pass(tx, "login", account, self._clock.now() + _LOGIN_CODE, challenge=flow.challenge)
        return with_fragment(flow.landing, sso_code=code)

    async def _proven(self, tx: Transaction, flow: Flow, who: Identified, by: Actor) -> str:
        """A proof for the session the flow began in. Raises SsoSomebodyElse, SsoDisabled, NotFresh, Unauthenticated."""
        account = await self._accounts.known(tx, who)
        if account is None or account.person.id != flow.person_id or flow.session_id is None:
            raise SsoSomebodyElse
        standing = await people_store.person_of_session(tx, flow.session_id, account.person.id)
        if standing is None or not standing.active or standing.revoked_at is not None or standing.expires_at <= self._clock.now():
            raise Unauthenticated("This session has ended. Please log in again.")
        if who.auth_time is None or not await store.newer_authentication(tx, account.identity_id, who.auth_time):
            raise NotFresh
        until = self._clock.now() + timedelta(seconds=self._oidc.proof_seconds)
        proof = await self._pass(tx, "sign", account, until, session_id=flow.session_id)
        await self._people.audit(tx, Actor(id=str(account.person.id), via="session", ip=by.ip), "sso.stepped_up", account.person.id)
        return with_fragment(flow.landing, sso_proof=proof)

    async def _pass(self, tx: Transaction, kind: str, account: Account, until: datetime, **more: Any) -> str:
        secret = new_secret()
        values = {"digest": digest(secret), "kind": kind, "person_id": account.person.id, "identity_id": account.identity_id}
        await store.insert_pass(tx, values | {"session_id": None, "challenge": None, "expires_at": until} | more)
        return secret

    async def _shut_out(self, tx: Transaction, who: Identified, by: Actor) -> Problem | None:
        try:
            async with tx.savepoint() as part:
                await self._accounts.shut_out(part, who, by)
        except Problem as problem:  # the last administrator
            return problem
        return None


def _flow_aad(state_sha256: bytes) -> str:
    return f"oidc_flow.sealed:{state_sha256.hex()}"
