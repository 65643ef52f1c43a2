"""Signing with the password: the session says who, the password proves it again (21 CFR 11.200(a)(1)).

Stands in until `records` offers signatures of its own; one-time passwords are refused here.
"""

from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.platform.db import Transaction
from aliquot.policy.contracts import Signature, Signed
from aliquot.policy.errors import MayNotSign, SignatureRequired


class PasswordSignatures:
    """A `VerifySignature` over identity: the right to sign and the password are those of this moment."""

    def __init__(self, identity: IdentityApi) -> None:
        self._identity = identity

    async def __call__(self, tx: Transaction, principal: Principal, signature: Signature) -> Signed:
        if signature.password is None:
            raise SignatureRequired("Sign with your password; one-time passwords are not set up here.")
        person = await self._identity.person(tx, principal.id)
        if not person.active or not person.may_sign:
            raise MayNotSign
        refusal = await self._identity.confirm_password(tx, principal, signature.password)
        if refusal is not None:
            raise refusal
        return Signed(printed_name=person.name)
