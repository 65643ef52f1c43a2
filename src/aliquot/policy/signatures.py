"""Signatures under decisions: proven as every signature (`records.signatures`), and left as records of their own."""

import uuid

from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.kernel.problems import InvalidInput
from aliquot.platform.db import Transaction
from aliquot.policy.approvals import Request
from aliquot.policy.contracts import Signature, Signed
from aliquot.policy.signable import signable_approval
from aliquot.policy.store import ApprovalRow
from aliquot.records.signatures.api import SignaturesApi
from aliquot.records.signatures.contracts import Secrets, SignableRecord


class ApprovalSignatures:
    """A `VerifySignature` over the site's signatures, and what leaves the signature once the decision stands."""

    def __init__(self, signatures: SignaturesApi) -> None:
        self._signatures = signatures

    async def __call__(self, tx: Transaction, principal: Principal, signature: Signature) -> Signed:
        self._signatures.check(signature.meaning, None)
        secrets = Secrets(password=signature.password, otp=signature.otp, sso=signature.sso)
        person, proof = await self._signatures.prove(tx, principal, secrets)
        return Signed(printed_name=person.name, person=person, proof=proof)

    async def leave(self, tx: Transaction, row: ApprovalRow, request: Request, meaning: str, signed: Signed, reason: str | None) -> None:
        """Store the signature bound to the approval's hash. Called after the decision won, in its transaction."""
        if signed.person is None or signed.proof is None:
            raise InvalidInput("This signature was not verified here.")
        record = signable_approval(row, request)
        await self._signatures.leave(tx, signed.person, record, meaning=meaning, proof=signed.proof, reason=reason or None)


class ActivationSignatures:
    """`BundleSignatures` over the site's signatures and people."""

    def __init__(self, signatures: SignaturesApi, identity: IdentityApi) -> None:
        self._signatures, self._identity = signatures, identity
        self.prove = ApprovalSignatures(signatures)

    async def leave(self, tx: Transaction, signed: Signed, record: SignableRecord, meaning: str, reason: str | None) -> uuid.UUID:
        if signed.person is None or signed.proof is None:
            raise InvalidInput("This signature was not verified here.")
        self._signatures.check(None, reason)
        return await self._signatures.leave(tx, signed.person, record, meaning=meaning, proof=signed.proof, reason=reason)

    async def signers(self, tx: Transaction, record: SignableRecord) -> set[uuid.UUID]:
        return await self._signatures.signers(tx, record, "approval")

    async def administrators(self, tx: Transaction) -> set[uuid.UUID]:
        found, after = set(), None
        while people := await self._identity.list_people(tx, limit=200, after=after):
            found |= {person.id for person in people if person.active and "policy.manage" in person.permissions}
            after = people[-1].id
        return found
