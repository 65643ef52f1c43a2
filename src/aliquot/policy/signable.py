"""What can be signed of policy: bundles, and (by deciding them) approvals."""

import uuid
from dataclasses import asdict

from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import NotFound
from aliquot.platform.db import Transaction
from aliquot.platform.vault import SITE, Vault
from aliquot.policy import approvals, store
from aliquot.policy.administration import store as administration
from aliquot.policy.administration.keeper import Keeper
from aliquot.policy.administration.store import BundleRow
from aliquot.policy.bundles import BundleSource
from aliquot.policy.store import ApprovalRow
from aliquot.records.signatures.contracts import SignableRecord
from aliquot.records.signatures.errors import NotSignable

_READ = "policy.read"
ACTIVE = "active"


class SignableBundles:
    """Policy bundles: by their id, or as `active`. The one a site starts with has its version (a SHA-256) as id.

    Another text is another bundle, so there is one version of each.
    """

    name = "policy_bundle"
    direct = True

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    async def locate(self, tx: Transaction, principal: Principal, reference: str) -> str:
        if not principal.may(_READ):
            raise NotFound
        await self._keeper.refresh(tx)
        if reference == ACTIVE:
            return str(self._keeper.bundle_id or self._keeper.base.version)
        if reference == self._keeper.base.version:
            return reference
        return str((await self._row(tx, reference)).id)

    async def current(self, tx: Transaction, principal: Principal, record_id: str, part: str | None) -> SignableRecord:
        if part is not None:
            raise NotSignable("A bundle is signed as a whole.")
        reference = await self.locate(tx, principal, record_id)
        if reference == self._keeper.base.version:
            return signable_bundle(reference, self._keeper.base, None)
        row = await self._row(tx, reference)
        return signable_bundle(reference, self._keeper.open(row).source, row.created_by)

    async def _row(self, tx: Transaction, reference: str) -> BundleRow:
        bundle_id = parse_id(reference)
        row = None if bundle_id is None else await administration.bundle(tx, bundle_id)
        if row is None:
            raise NotFound
        return row


def signable_bundle(record_id: str, source: BundleSource, author: uuid.UUID | None) -> SignableRecord:
    """A bundle as it is signed: all its texts, so that a signature says nothing about any other."""
    content = {"type": SignableBundles.name, "id": record_id, "version": 1, **asdict(source)}
    return SignableRecord(
        kind=SignableBundles.name, id=record_id, version=1, title="Policy bundle", content=canonical_json(content),
        authors=frozenset() if author is None else frozenset({author}), subjects=(SITE,),
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
