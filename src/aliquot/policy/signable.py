"""What can be signed of policy: bundles, and (by deciding them) approvals."""

from collections.abc import Callable

from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import NotFound
from aliquot.platform.db import Transaction
from aliquot.platform.vault import SITE, Vault
from aliquot.policy import approvals, store
from aliquot.policy.bundles import BundleSource
from aliquot.policy.store import ApprovalRow
from aliquot.records.signatures.contracts import SignableRecord
from aliquot.records.signatures.errors import NotSignable

_READ = "policy.read"
ACTIVE = "active"


class SignableBundles:
    """The policy bundle in force, by its version (a SHA-256) or as `active`. Another text is another bundle, so there is one version."""

    name = "policy_bundle"
    direct = True

    def __init__(self, source: Callable[[], BundleSource]) -> None:
        self._source = source

    async def locate(self, tx: Transaction, principal: Principal, reference: str) -> str:
        version = self._source().version
        if not principal.may(_READ) or reference not in {ACTIVE, version}:
            raise NotFound
        return version

    async def current(self, tx: Transaction, principal: Principal, record_id: str, part: str | None) -> SignableRecord:
        if part is not None:
            raise NotSignable("A bundle is signed as a whole.")
        version, source = await self.locate(tx, principal, record_id), self._source()
        content = {
            "type": self.name, "id": version, "version": 1, "schema": source.schema, "authz": source.authz,
            "obligations": source.obligations, "risk": source.risk,
        }  # fmt: skip
        return SignableRecord(
            kind=self.name, id=version, version=1, title="Policy bundle", content=canonical_json(content), authors=frozenset(),
            subjects=(SITE,),
        )  # fmt: skip


class SignableApprovals:
    """Requests to act. Their signatures are left by their decisions and bound to the approval's own binding hash."""

    name = "approval"
    direct = False

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def locate(self, tx: Transaction, principal: Principal, reference: str) -> str:
        return str((await self._row(tx, principal, reference)).id)

    async def current(self, tx: Transaction, principal: Principal, record_id: str, part: str | None) -> SignableRecord:
        row = await self._row(tx, principal, record_id)
        return signable_approval(row, approvals.open_request(self._vault, row))

    async def _row(self, tx: Transaction, principal: Principal, reference: str) -> ApprovalRow:
        approval_id = parse_id(reference)
        row = None if approval_id is None else await store.approval(tx, approval_id)
        if row is None or not approvals.may_see(principal, row):
            raise NotFound
        return row


def signable_approval(row: ApprovalRow, request: approvals.Request) -> SignableRecord:
    """An approval as it is signed: the bytes whose hash is its `binding_sha256`."""
    return SignableRecord(
        kind="approval", id=str(row.id), version=1, title=f"Approval of {row.tool}", content=canonical_json(request.bound()),
        authors=frozenset({row.requester_id}), subjects=(row.requester_id,),
    )  # fmt: skip
