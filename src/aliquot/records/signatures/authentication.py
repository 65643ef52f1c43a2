"""Proving at every signing that it is the person (21 CFR 11.200(a)(1)).

The components are the e-mail address and the password of the log-in and, for people with a second factor, its one-time password.
All are executed at the log-in. A signing within `signing_idle_seconds` of that, or of another signing in the same session,
takes one secret; any other takes all of them. A bearer token alone never signs, and an API key never does.

People with single sign-on sign with the proof of a fresh authentication at the provider (`sso`): that is all components at once. In a
session that was opened through the provider nothing else will do.
"""

from datetime import timedelta
from typing import get_args

from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal, Secret
from aliquot.identity.errors import SessionRequired
from aliquot.kernel.clock import Clock
from aliquot.platform.db import Transaction
from aliquot.platform.settings import Settings
from aliquot.records.signatures import store
from aliquot.records.signatures.contracts import SIGN, Proof, Secrets
from aliquot.records.signatures.errors import ComponentsRequired, MayNotSign, SecretRequired


class Authentication:
    """The gate every signature, revocation and acceptance passes."""

    def __init__(self, identity: IdentityApi, clock: Clock, settings: Settings) -> None:
        self._identity, self._clock = identity, clock
        self._idle = timedelta(seconds=settings.limits.signing_idle_seconds)

    def require_right(self, principal: Principal) -> None:
        """Raises SessionRequired, MayNotSign."""
        if principal.via != "session" or principal.session_id is None:
            raise SessionRequired
        if not principal.may(SIGN):
            raise MayNotSign

    async def period(self, tx: Transaction, principal: Principal) -> tuple[tuple[Secret, ...], bool]:
        """The secrets of this person's signature, and whether this session is in a continuous period."""
        components = await self._identity.components(tx, principal)
        used = None if principal.session_id is None else await store.last_use(tx, principal.session_id)
        latest = max((at for at in (components.executed_at, used) if at is not None), default=None)
        continued = latest is not None and self._clock.now() - latest <= self._idle
        return tuple(secret for secret in get_args(Secret) if secret in components.secrets), continued

    async def prove(self, tx: Transaction, principal: Principal, secrets: Secrets) -> tuple[Principal, Proof]:
        """Check what was given; the person as they are after that (a session ended or a right lost meanwhile counts).

        Raises SecretRequired, ComponentsRequired, and what identity says: WrongPassword, WrongOtp, WrongProof, NotEnrolled, Locked,
        Unauthenticated. Commit in any case.
        """
        given = {name: value for name in get_args(Secret) if (value := getattr(secrets, name))}
        if not given:
            raise SecretRequired
        wanted, continued = await self.period(tx, principal)
        if "sso" not in given and ("sso" in wanted or not (continued or set(wanted) <= set(given))):
            raise ComponentsRequired(components=list(wanted))
        refused = await self._identity.confirm_password(tx, principal, given["password"]) if "password" in given else None
        if refused is None and "otp" in given:
            refused = await self._identity.confirm_otp(tx, principal, given["otp"])
        if refused is None and "sso" in given:
            refused = await self._identity.confirm_sso(tx, principal, given["sso"])
        if refused is not None:
            raise refused
        now = await self._identity.principal(tx, principal.id, session_id=principal.session_id, ip=principal.ip)
        self.require_right(now)
        return now, Proof(given=tuple(given), continued=continued)
