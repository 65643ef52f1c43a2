"""Re-authentication: what changes or opens the record for good takes a log-in session and a secret given just now."""

from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.identity.errors import SessionRequired
from aliquot.kernel.problems import Problem
from aliquot.platform.db import Transaction
from aliquot.records.signatures.contracts import Secrets
from aliquot.records.signatures.errors import SecretRequired


async def refusal(identity: IdentityApi, tx: Transaction, principal: Principal, secrets: Secrets) -> Problem | None:
    """None when the secrets given are the person's; else what identity says of them. Commit in either case: failures count.

    Raises SessionRequired, SecretRequired.
    """
    if principal.session_id is None:
        raise SessionRequired
    if secrets.password is None and secrets.otp is None:
        raise SecretRequired
    refused = None
    if secrets.password is not None:
        refused = await identity.confirm_password(tx, principal, secrets.password)
    if refused is None and secrets.otp is not None:
        refused = await identity.confirm_otp(tx, principal, secrets.otp)
    return refused
