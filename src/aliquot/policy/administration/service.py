"""The life of a bundle: draft → replayed → signed → active → superseded, or withdrawn.

What is active changes under one lock for the whole site, with its audit event in the same transaction.
"""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, Literal

from psycopg.errors import UniqueViolation

from aliquot.identity.contracts import Actor, Principal
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import Clock, rfc3339
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import InvalidInput, NotFound, Problem
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, Outcome, RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.settings import Settings
from aliquot.platform.vault import SITE, Damaged, Erased, Vault
from aliquot.policy.administration import store
from aliquot.policy.administration.contracts import OPEN, BundleInfo, BundleState, BundleTexts, ReplayReport
from aliquot.policy.administration.errors import (
    ActivationRefused,
    BundleExists,
    BundleInvalid,
    NothingBefore,
    NotOpen,
    PolicyDenies,
    ReplayFirst,
    ReplayOutdated,
    SameAdministrator,
    WithdrawnBefore,
)
from aliquot.policy.administration.keeper import Activation, Keeper, Named
from aliquot.policy.administration.replay import Replayed, replay
from aliquot.policy.administration.views import Views, seal_endorsement, seal_withdrawal, summary_of
from aliquot.policy.bundles import BundleRefused, BundleSource
from aliquot.policy.contracts import BundleSignatures, Signature, Signed
from aliquot.policy.engine import Engine
from aliquot.policy.errors import RecordedRefusal, SessionRequired, SignatureRefused, reason_of
from aliquot.policy.golden import administration
from aliquot.policy.signable import signable_bundle

MEANING = "approval"
"""What a signature for an activation means."""
_SYSTEM = Actor(id="system", via="system")


class Administration:
    """Brings, replays, activates and rolls back bundles. Use inside `kept_refusals`."""

    def __init__(
        self, keeper: Keeper, ledger: LedgerApi, vault: Vault, clock: Clock, settings: Settings, signatures: BundleSignatures | None
    ) -> None:
        self._keeper, self._ledger, self._vault, self._clock, self._settings = keeper, ledger, vault, clock, settings
        self._signatures = signatures
        self._views = Views(keeper, vault, signatures)

    # Reading

    async def page(
        self, tx: Transaction, *, state: BundleState | None = None, limit: int = 50, after: uuid.UUID | None = None
    ) -> tuple[list[BundleInfo], uuid.UUID | None]:
        """Bundles, newest first; the one the site started with stands at the end."""
        rows = await store.bundles(tx, state=state, limit=limit + 1, after=after)
        shown = await self._views.infos(tx, rows[:limit])
        if len(rows) > limit:
            return shown, rows[limit - 1].id
        base = await self._views.base(tx)
        return [*shown, base] if state in {None, base.state} else shown, None

    async def get(self, tx: Transaction, reference: uuid.UUID | None) -> tuple[BundleInfo, BundleTexts]:
        """One bundle with its texts; None is the one in force. Raises NotFound, Damaged."""
        await self._keeper.refresh(tx)
        bundle_id = reference or self._keeper.bundle_id
        if bundle_id is None:
            return await self._views.base(tx), _texts(self._keeper.source)
        row = await self._found(tx, bundle_id)
        return (await self._views.infos(tx, [row]))[0], _texts(self._keeper.open(row).source)

    async def engine(self, tx: Transaction, bundle_id: uuid.UUID) -> Engine:
        """A bundle made ready to decide. Raises NotFound, BundleInvalid, Damaged."""
        return await self._loaded(self._keeper.open(await self._found(tx, bundle_id)).source)

    # Before the activation

    async def add(self, tx: Transaction, principal: Principal, name: str, source: BundleSource) -> BundleInfo:
        """Take a bundle that holds. Raises BundleInvalid (member `problems`), BundleExists."""
        await self._loaded(source)
        bundle_id, version = new_id(), source.version
        present = await store.open_bundle(tx, version)
        if present is not None or version == self._keeper.base.version:
            raise BundleExists(id=None if present is None else str(present.id))
        values = {
            "id": bundle_id, "version": version, "state": "draft", "created_by": principal.id, "created_at": self._clock.now(),
            "texts": self._keeper.seal(bundle_id, Named(name=name, source=source)),
        }  # fmt: skip
        try:
            row = await store.insert_bundle(tx, values)
        except UniqueViolation as error:  # the same bundle came twice at once
            raise BundleExists(id=None) from error
        await self._audit(tx, Actor.of(principal), "policy.bundle_added", row, content={"texts": canonical_json(asdict(source))})
        return (await self._views.infos(tx, [row]))[0]

    async def replay(self, tx: Transaction, principal: Principal, bundle_id: uuid.UUID, *, decisions: int) -> ReplayReport:
        """Ask it what was asked before, at most `decisions` times. Raises NotFound, NotOpen, BundleInvalid."""
        await self._keeper.refresh(tx)
        row = await self._open(tx, principal, bundle_id)
        engine, current, serial = await self.engine(tx, bundle_id), self._keeper.engine, self._keeper.serial
        rows = await store.decisions_with_input(tx, min(decisions, self._settings.limits.policy_replay_decisions))
        seconds = self._settings.limits.policy_replay_seconds
        found: Replayed = await asyncio.to_thread(replay, self._vault, rows, engine, current, seconds=seconds)
        row = await self._open(tx, principal, bundle_id, lock=True)
        summary = summary_of(found, self._clock.now())
        values: dict[str, Any] = {"replay": summary, "replayed_on": serial}
        if row.state == "draft" or row.replayed_on != serial:
            values |= {"state": "replayed", "effective_at": None}
        row = await store.change(tx, bundle_id, values)
        counts = {"decisions": found.asked, "flipped": sum(found.counts.values())}
        await self._audit(tx, Actor.of(principal), "policy.bundle_replayed", row, content={"summary": canonical_json(counts)})
        info = (await self._views.infos(tx, [row]))[0]
        assert info.replay is not None  # noqa: S101 - stored above
        return ReplayReport(bundle=info, summary=info.replay, flips=found.flips)

    async def withdraw(self, tx: Transaction, principal: Principal, bundle_id: uuid.UUID, reason: str) -> BundleInfo:
        """A bundle that must not become active, or not again. Raises NotFound, NotOpen."""
        await store.lock(tx)
        row = await self._found(tx, bundle_id, lock=True)
        if row.state not in {*OPEN, "superseded"}:
            raise await self._refused(tx, principal, row, NotOpen())
        row = await self._withdrawn(tx, row, principal, reason)
        await self._audit(tx, Actor.of(principal), "policy.bundle_withdrawn", row, content={"reason": reason.encode()}, person=principal.id)
        return (await self._views.infos(tx, [row]))[0]

    # Activation

    async def activate(
        self, tx: Transaction, principal: Principal, bundle_id: uuid.UUID, signature: Signature, reason: str | None
    ) -> BundleInfo:
        """Sign for the activation of a bundle; the second administrator's signature activates it.

        With a single administrator, his own does so after the waiting time. Raises NotFound, PolicyDenies, SessionRequired, ReplayFirst,
        ReplayOutdated, NotOpen, SameAdministrator, SignatureRefused, ActivationRefused, InvalidInput.
        """
        await self._keeper.refresh(tx)
        row = await self._found(tx, bundle_id)
        await self._judge(tx, principal, row)
        signed = await self._proven(tx, principal, row, signature)
        await store.lock(tx)
        await self._keeper.refresh(tx)
        row = await self._found(tx, bundle_id, lock=True)
        await self._judge(tx, principal, row)  # checking a password takes its time
        source = await self._holding(tx, principal, row)
        record = signable_bundle(str(row.id), source, row.created_by)
        signature_id = await self._doors.leave(tx, signed, record, MEANING, reason)
        values = {
            "id": new_id(), "bundle_id": row.id, "person_id": principal.id, "signature_id": signature_id, "at": self._clock.now(),
            "on_serial": self._keeper.serial,
        }  # fmt: skip
        await store.insert_endorsement(tx, values | {"record": seal_endorsement(self._vault, values)})
        await self._audit(tx, Actor.of(principal), "policy.bundle_signed", row)
        row = await self._advance(tx, row, Actor.of(principal))
        return (await self._views.infos(tx, [row]))[0]

    async def activate_due(self, tx: Transaction) -> list[uuid.UUID]:
        """Activate what a single administrator signed long enough ago, one at a time; for a loop. Follows what others activated, too."""
        await self._keeper.refresh(tx)
        if not await store.due(tx, self._clock.now()):
            return []
        await store.lock(tx)
        await self._keeper.refresh(tx)
        for bundle_id in await store.due(tx, self._clock.now()):
            row = await self._found(tx, bundle_id, lock=True)
            if row.replayed_on != self._keeper.serial or not await self._still_holds(row):
                row = await store.change(tx, row.id, {"state": "draft", "effective_at": None})
                await self._audit(tx, _SYSTEM, "policy.activation_lapsed", row, outcome="failed")
            elif (await self._advance(tx, row, _SYSTEM)).state == "active":
                return [row.id]  # loaded after the commit, like everybody else's
        return []

    async def rollback(self, tx: Transaction, principal: Principal, signature: Signature, reason: str) -> BundleInfo:
        """Back to the bundle before the one in force, by one administrator's signature: it was signed by two when it became active.

        The bundle that is left is withdrawn. Raises NothingBefore, WithdrawnBefore, and as `activate`.
        """
        self._require_session(principal)
        await self._permitted(tx, principal, None)
        signed = await self._proven(tx, principal, None, signature)
        await store.lock(tx)
        await self._keeper.refresh(tx)
        left, row, previous = await self._before(tx, principal)
        source = self._keeper.open(row).source if row is not None else self._keeper.base
        if row is not None:
            source = await self._holding(tx, principal, row)
        reference, author = (source.version, None) if row is None else (str(row.id), row.created_by)
        signature_id = await self._doors.leave(tx, signed, signable_bundle(reference, source, author), MEANING, reason)
        await self._withdrawn(tx, left, principal, reason)
        await self._activated(
            tx, row, source.version, "rollback", previous=previous, by=[principal.id], signatures=[signature_id], actor=Actor.of(principal)
        )
        if row is None:
            return await self._views.base(tx)
        return (await self._views.infos(tx, [await self._found(tx, row.id)]))[0]

    async def _before(self, tx: Transaction, principal: Principal) -> tuple[store.BundleRow, store.BundleRow | None, int]:
        """The bundle in force, the one before it (None: the start), and where a further roll-back would lead."""
        serial = self._keeper.serial
        record = self._keeper.record_of(await store.activation(tx, serial)) if serial else None
        if record is None or record.bundle is None:
            raise await self._refused(tx, principal, None, NothingBefore())
        left = await self._found(tx, uuid.UUID(record.bundle), lock=True)
        earlier = self._keeper.record_of(await store.activation(tx, record.previous)) if record.previous else None
        if earlier is None or earlier.bundle is None:
            return left, None, 0
        row = await self._found(tx, uuid.UUID(earlier.bundle), lock=True)
        if row.state != "superseded":
            raise await self._refused(tx, principal, row, WithdrawnBefore())
        return left, row, earlier.previous

    async def _advance(self, tx: Transaction, row: store.BundleRow, actor: Actor) -> store.BundleRow:
        """Activate a signed bundle when enough of those who administer now have signed; else say what it waits for."""
        administrators = await self._doors.administrators(tx)
        valid = [e for e in await self._views.endorsements(tx, row) if e.valid and e.person_id in administrators]
        signers = {e.person_id for e in valid}
        now = self._clock.now()
        alone = len(administrators) == 1 and len(signers) == 1
        ripe = alone and row.effective_at is not None and row.effective_at <= now
        if len(signers) < self._settings.policy_signatures and not ripe:
            at = None
            if alone:
                at = row.effective_at or now + timedelta(hours=self._settings.policy_wait_hours)
            return await store.change(tx, row.id, {"state": "signed", "effective_at": at})
        await self._supersede(tx)
        ids = [e.signature_id for e in valid]
        previous = self._keeper.serial
        await self._activated(tx, row, row.version, "activate", previous=previous, by=sorted(signers), signatures=ids, actor=actor)
        return await self._found(tx, row.id)

    async def _supersede(self, tx: Transaction) -> None:
        if self._keeper.serial:
            active = await store.activation(tx, self._keeper.serial)
            if active.bundle_id is not None:
                await store.change(tx, active.bundle_id, {"state": "superseded"})

    async def _activated(
        self, tx: Transaction, row: store.BundleRow | None, version: str, kind: Literal["activate", "rollback"], *, previous: int,
        by: Sequence[uuid.UUID], signatures: Sequence[uuid.UUID], actor: Actor,
    ) -> store.BundleRow | None:  # fmt: skip
        serial, now = self._keeper.serial + 1, self._clock.now()
        record = Activation(
            serial=serial, kind=kind, bundle=None if row is None else str(row.id), version=version, previous=previous,
            by=tuple(map(str, by)), signatures=tuple(map(str, signatures)), at=rfc3339(now),
        )  # fmt: skip
        values = {"serial": serial, "bundle_id": None if row is None else row.id, "record": self._keeper.seal_record(record), "at": now}
        await store.insert_activation(tx, values)
        if row is not None:
            row = await store.change(tx, row.id, {"state": "active", "effective_at": None})
        content = {"activation": canonical_json(asdict(record))}
        action = "policy.activated" if kind == "activate" else "policy.rolled_back"
        await self._audit(tx, actor, action, row, content=content, version=version, serial=serial)
        return row

    # Judging

    async def _judge(self, tx: Transaction, principal: Principal, row: store.BundleRow) -> None:
        """Raises why this administrator cannot sign for this bundle now."""
        self._require_session(principal)
        await self._permitted(tx, principal, row)
        refusal: RecordedRefusal | None = None
        if row.state == "draft":
            refusal = ReplayFirst()
        elif row.state not in OPEN:
            refusal = NotOpen()
        elif row.replayed_on != self._keeper.serial:
            refusal = ReplayOutdated()
        elif any(e.valid and e.person_id == principal.id for e in await self._views.endorsements(tx, row)):
            refusal = SameAdministrator()
        if refusal is not None:
            raise await self._refused(tx, principal, row, refusal)

    def _require_session(self, principal: Principal) -> None:
        if principal.via != "session" or principal.session_id is None:
            raise SessionRequired

    async def _permitted(self, tx: Transaction, principal: Principal, row: store.BundleRow | None) -> None:
        asked = administration(principal)
        found = self._keeper.engine.evaluate(replace(asked, facts=self._keeper.now_facts(self._clock.now())))
        if found.decision == "deny":
            reasons = [asdict(reason) for reason in found.reasons]
            raise await self._refused(tx, principal, row, PolicyDenies(reasons=reasons, policy_version=found.policy_version))

    async def _proven(self, tx: Transaction, principal: Principal, row: store.BundleRow | None, signature: Signature) -> Signed:
        if signature.meaning != MEANING:
            raise InvalidInput(f"signature: a bundle is signed for {MEANING}.")
        try:
            return await self._doors.prove(tx, principal, signature)
        except InvalidInput:
            raise
        except Problem as problem:
            refusal = SignatureRefused(problem.detail, retry_after=problem.retry_after, cause=problem.code)
            raise await self._refused(tx, principal, row, refusal) from problem

    async def _holding(self, tx: Transaction, principal: Principal, row: store.BundleRow) -> BundleSource:
        """The texts, once more held to all that is asked of a bundle. Raises ActivationRefused (member `problems`)."""
        try:
            source = self._keeper.open(row).source
            await self._loaded(source)
        except (Damaged, Erased, BundleInvalid) as error:
            problems = error.members.get("problems", [error.code])
            raise await self._refused(tx, principal, row, ActivationRefused(problems=problems)) from error
        return source

    async def _still_holds(self, row: store.BundleRow) -> bool:
        try:
            await self._loaded(self._keeper.open(row).source)
        except (Damaged, Erased, BundleInvalid):
            return False
        return True

    async def _loaded(self, source: BundleSource) -> Engine:
        try:
            return await asyncio.to_thread(self._keeper.load, source, strictly=True)
        except BundleRefused as refused:
            raise BundleInvalid(problems=list(refused.problems)) from refused

    async def _found(self, tx: Transaction, bundle_id: uuid.UUID, *, lock: bool = False) -> store.BundleRow:
        row = await store.bundle(tx, bundle_id, lock=lock)
        if row is None:
            raise NotFound
        return row

    async def _open(self, tx: Transaction, principal: Principal, bundle_id: uuid.UUID, *, lock: bool = False) -> store.BundleRow:
        row = await self._found(tx, bundle_id, lock=lock)
        if row.state not in OPEN:
            raise await self._refused(tx, principal, row, NotOpen())
        return row

    async def _withdrawn(self, tx: Transaction, row: store.BundleRow, principal: Principal, reason: str) -> store.BundleRow:
        sealed = seal_withdrawal(self._vault, row.id, principal.id, reason)
        return await store.change(tx, row.id, {"state": "withdrawn", "effective_at": None, "withdrawal": sealed})

    @property
    def _doors(self) -> BundleSignatures:
        if self._signatures is None:
            raise ActivationRefused("Nothing can be signed here.")
        return self._signatures

    async def _refused(
        self, tx: Transaction, principal: Principal, row: store.BundleRow | None, refusal: RecordedRefusal
    ) -> RecordedRefusal:
        await self._audit(tx, Actor.of(principal), "policy.change_refused", row, outcome="denied", reason=reason_of(refusal))
        return refusal

    async def _audit(
        self, tx: Transaction, actor: Actor, action: str, row: store.BundleRow | None, *, outcome: Outcome = "ok",
        reason: str | None = None, content: dict[str, bytes] | None = None, person: uuid.UUID | None = None, version: str | None = None,
        serial: int | None = None,
    ) -> None:  # fmt: skip
        version = version or (self._keeper.engine.bundle.version if row is None else row.version)
        bundle = version if row is None else str(row.id)
        record = RecordRef(type="policy_bundle", id=bundle, version=1)
        if serial is not None:
            record, reason = RecordRef(type="policy_activation", id=str(serial), version=1), bundle
        event = AuditEvent(
            action=action, actor=actor.id, via=actor.via, ip=actor.ip, outcome=outcome, reason=reason, record=record, content=content or {},
            subject=person or (SITE if content else None), versions={"policy": version},
        )  # fmt: skip
        await self._ledger.append(tx, event)


def _texts(source: BundleSource) -> BundleTexts:
    return BundleTexts(**asdict(source))
