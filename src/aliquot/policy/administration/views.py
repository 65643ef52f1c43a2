"""Rows of bundles as people see them."""

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import rfc3339
from aliquot.platform.db import Transaction
from aliquot.platform.vault import SITE, Damaged, Erased, Vault
from aliquot.policy.administration import store
from aliquot.policy.administration.contracts import BundleInfo, Endorsement, ReplaySummary
from aliquot.policy.administration.keeper import Keeper
from aliquot.policy.administration.replay import Replayed
from aliquot.policy.contracts import BundleSignatures
from aliquot.policy.signable import signable_bundle

_UNREADABLE = "(damaged)"


class Views:
    """Puts together what a bundle is, who signed it, and what it waits for."""

    def __init__(self, keeper: Keeper, vault: Vault, signatures: BundleSignatures | None) -> None:
        self._keeper, self._vault, self._signatures = keeper, vault, signatures

    async def infos(self, tx: Transaction, rows: Sequence[store.BundleRow]) -> list[BundleInfo]:
        if not rows:
            return []
        serial = await store.newest_serial(tx)
        needed = 1 if self._signatures is not None and len(await self._signatures.administrators(tx)) == 1 else 2
        return [await self._info(tx, row, serial, needed) for row in rows]

    async def base(self, tx: Transaction) -> BundleInfo:
        """The bundle this site started with."""
        newest = await store.newest_serial(tx)
        active = newest == 0 or (await store.activation(tx, newest)).bundle_id is None
        return BundleInfo(
            id=None, version=self._keeper.base.version, name="start", state="active" if active else "superseded", created_by=None,
            created_at=None,
        )  # fmt: skip

    async def endorsements(self, tx: Transaction, row: store.BundleRow) -> tuple[Endorsement, ...]:
        """Who signed for the activation, and whether it still counts."""
        rows = await store.endorsements(tx, [row.id])
        if not rows or self._signatures is None:
            return ()
        serial = await store.newest_serial(tx)
        try:
            record = signable_bundle(str(row.id), self._keeper.open(row).source, row.created_by)
            signers = await self._signatures.signers(tx, record)
        except (Damaged, Erased):
            signers = set()
        open_still = row.state in {"signed", "replayed"}
        return tuple(
            Endorsement(
                person_id=e.person_id, signature_id=e.signature_id, at=e.at,
                valid=e.person_id in signers and _holds(self._vault, e) and (e.on_serial == serial or not open_still),
            )
            for e in rows
        )  # fmt: skip

    async def _info(self, tx: Transaction, row: store.BundleRow, serial: int, needed: int) -> BundleInfo:
        try:
            name = self._keeper.open(row).name
        except (Damaged, Erased):
            name = _UNREADABLE
        replayed = row.replay
        summary = None if replayed is None else ReplaySummary(
            **replayed | {"at": datetime.fromisoformat(replayed["at"]), "current": row.replayed_on == serial}
        )  # fmt: skip
        return BundleInfo(
            id=row.id, version=row.version, name=name, state=row.state, created_by=row.created_by, created_at=row.created_at,
            replay=summary, signatures=await self.endorsements(tx, row), signatures_needed=needed, effective_at=row.effective_at,
            withdrawn_because=_withdrawal(self._vault, row),
        )  # fmt: skip


def summary_of(found: Replayed, at: datetime) -> dict[str, Any]:
    """What is kept of a replay."""
    return {
        "at": rfc3339(at), "decisions": found.asked, "unreadable": found.unreadable, "flipped": sum(found.counts.values()),
        "flips": found.counts, "complete": found.complete, "took_ms": found.took_ms,
    }  # fmt: skip


def seal_endorsement(vault: Vault, values: Mapping[str, Any]) -> bytes:
    """What an endorsement says, in a form that only the site can make."""
    return vault.seal(SITE, _said(values), aad=f"policy_endorsement.record:{values['id']}")


def _holds(vault: Vault, row: Any) -> bool:
    try:
        return vault.open(bytes(row.record), aad=f"policy_endorsement.record:{row.id}") == _said(row._mapping)
    except (Damaged, Erased):
        return False


def _said(values: Mapping[str, Any]) -> bytes:
    return canonical_json([str(values[name]) for name in ("bundle_id", "person_id", "signature_id", "on_serial")])


def seal_withdrawal(vault: Vault, bundle_id: uuid.UUID, person_id: uuid.UUID, reason: str) -> bytes:
    return vault.seal(person_id, canonical_json({"reason": reason}), aad=f"policy_bundle.withdrawal:{bundle_id}")


def _withdrawal(vault: Vault, row: store.BundleRow) -> str | None:
    if row.withdrawal is None:
        return None
    try:
        return str(json.loads(vault.open(row.withdrawal, aad=f"policy_bundle.withdrawal:{row.id}"))["reason"])
    except (Damaged, Erased):
        return None
