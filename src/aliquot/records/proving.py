"""Re-authentication: what changes or opens the record for good takes a log-in session and a secret given just now."""

from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.identity.errors import SessionRequired
from aliquot.kernel.problems import Forbidden, Problem
from aliquot.platform.db import Transaction
from aliquot.records.signatures.contracts import Secrets
from aliquot.records.signatures.errors import SecretRequired


async def refusal(identity: IdentityApi, tx: Transaction, principal: Principal, secrets: Secrets) -> Problem | None:
    """None when the secrets given are the person's; else what identity says of them. Commit in either case: failures count.

    In a session of single sign-on nothing but a fresh authentication at the provider will do. Raises SessionRequired,
    SecretRequired, Unauthenticated.
    """
    if principal.session_id is None:
        raise SessionRequired
    opened_by_provider = "sso" in (await identity.components(tx, principal)).secrets
    if secrets.sso is None and (opened_by_provider or (secrets.password is None and secrets.otp is None)):
        raise SecretRequired
    refused = None if secrets.sso is None else await identity.confirm_sso(tx, principal, secrets.sso)
    if refused is None and secrets.password is not None:
        refused = await identity.confirm_password(tx, principal, secrets.password)
    if refused is None and secrets.otp is not None:
        refused = await identity.confirm_otp(tx, principal, secrets.otp)
    if refused is None:  # checking a secret takes its time: what was taken away meanwhile counts
        now = await identity.principal(tx, principal.id, session_id=principal.session_id, ip=principal.ip)
        if not principal.permissions <= now.permissions:
            refused = Forbidden()
    return refused
