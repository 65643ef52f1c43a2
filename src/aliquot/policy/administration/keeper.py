"""The bundle in force in this process, and how it follows what was activated elsewhere.

Every decision is logged only if the newest activation is still the one this process has looked at (`policy.store.insert_decision`),
so no process decides by an older bundle once a newer one was committed, and looking costs no statement of its own. A bundle that
cannot be loaded is reported and the one before stays.
"""

import asyncio
import json
import uuid
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import structlog

from aliquot.kernel.canonical import canonical_json
from aliquot.platform.db import Transaction
from aliquot.platform.vault import SITE, Damaged, Erased, Vault
from aliquot.policy.administration import store
from aliquot.policy.bundles import BundleRefused, BundleSource
from aliquot.policy.engine import Engine

log = structlog.get_logger(__name__)

_STEPS_BACK = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """The sealed record of one activation."""

    serial: int
    kind: Literal["activate", "rollback"]
    bundle: str | None
    """None: the bundle this site started with."""
    version: str
    previous: int
    """The activation a roll-back goes back to; 0 is the start."""
    by: tuple[str, ...]
    signatures: tuple[str, ...]
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A bundle with what people call it."""

    name: str
    source: BundleSource


class Keeper:
    """Holds one loaded bundle. Everything that changes it is one assignment, so a decision sees the old or the new one."""

    def __init__(self, vault: Vault, input_key: bytes, base: BundleSource, time_zone: str) -> None:
        """Raises BundleRefused when `base` does not hold: there is no start without a policy."""
        self._vault, self._input_key, self._zone = vault, input_key, ZoneInfo(time_zone)
        self.base = base
        """What this site started with."""
        self.engine = Engine.load(base, input_key)
        self.source = base
        self.bundle_id: uuid.UUID | None = None
        self.serial = 0
        """The newest activation this process has looked at."""
        self.fault: str | None = None
        """Why the newest activation is not the one in force here."""
        self.tools: Collection[str] | None = None
        self._looked = False
        self._lock = asyncio.Lock()

    def use(self, source: BundleSource) -> None:
        """Replace the bundle this site started with. Raises BundleRefused and keeps the old one."""
        self.engine, self.source, self.base = self.load(source), source, source

    def load(self, source: BundleSource, *, strictly: bool = False) -> Engine:
        """Compile and test `source`. `strictly`: policies about tools that do not exist here are refused too. Raises BundleRefused."""
        return Engine.load(source, self._input_key, tools=self.tools if strictly else None)

    def now_facts(self, at: datetime) -> dict[str, Any]:
        """The time as the site's clocks show it, as far as the bundle asks for it."""
        local = at.astimezone(self._zone)
        known = {"hour": local.hour, "minute_of_day": local.hour * 60 + local.minute, "weekday": local.isoweekday()}
        return {name: value for name, value in known.items() if name in self.engine.bundle.facts}

    async def refresh(self, tx: Transaction) -> None:
        """Load what is active now, unless this process has it."""
        if await store.newest_serial(tx) == self.serial and self._looked:
            return
        async with self._lock:
            newest = await store.newest_serial(tx)
            if newest == self.serial and self._looked:
                return
            if newest < self.serial:
                self._report("activations are missing from the database")
            else:
                await self._follow(tx, newest)
            self.serial, self._looked = newest, True

    async def _follow(self, tx: Transaction, newest: int) -> None:
        """The newest activation that loads; in a process that has loaded one already, only the newest itself."""
        self.fault = None
        for row in await store.activations(tx, upto=newest, limit=_STEPS_BACK):
            try:
                source = await self.source_of(tx, row)
                self.engine, self.source, self.bundle_id = await asyncio.to_thread(self.load, source), source, row.bundle_id
            except (BundleRefused, Damaged, Erased) as refused:
                self._report(f"activation {row.serial}: {_why(refused)}")
            else:
                log.info("policy_loaded", serial=row.serial, version=self.engine.bundle.version)
                return
            if self._looked:
                return

    async def source_of(self, tx: Transaction, row: Any) -> BundleSource:
        """The texts an activation put in force. Raises Damaged, Erased, BundleRefused when rows do not say what was activated."""
        record = self.record_of(row)
        if row.bundle_id is None:
            if record.version != self.base.version:
                raise BundleRefused("the bundle this site started with is another one now")
            return self.base
        bundle = await store.bundle(tx, row.bundle_id)
        source = None if bundle is None else self.open(bundle).source
        if source is None or source.version != record.version:
            raise BundleRefused("the stored texts are not those that were activated")
        return source

    def record_of(self, row: Any) -> Activation:
        """What an activation says. Raises Damaged, Erased."""
        value = json.loads(self._vault.open(bytes(row.record), aad=f"policy_activation.record:{row.serial}"))
        record = Activation(**value | {"by": tuple(value["by"]), "signatures": tuple(value["signatures"])})
        if (record.serial, record.bundle) != (row.serial, None if row.bundle_id is None else str(row.bundle_id)):
            raise Damaged
        return record

    def seal_record(self, record: Activation) -> bytes:
        return self._vault.seal(SITE, canonical_json(asdict(record)), aad=f"policy_activation.record:{record.serial}")

    def open(self, row: store.BundleRow) -> Named:
        """Raises Damaged, Erased."""
        value = json.loads(self._vault.open(row.texts, aad=f"policy_bundle.texts:{row.id}"))
        found = Named(name=value.pop("name"), source=BundleSource(**value | {"golden": tuple(value["golden"])}))
        if found.source.version != row.version:
            raise Damaged
        return found

    def seal(self, bundle_id: uuid.UUID, named: Named) -> bytes:
        """Raises ValueError when it has no canonical form."""
        value = {"name": named.name, **asdict(named.source)}
        return self._vault.seal(SITE, canonical_json(value), aad=f"policy_bundle.texts:{bundle_id}")

    def _report(self, fault: str) -> None:
        log.error("policy_kept", fault=fault, version=self.engine.bundle.version)
        self.fault = fault


def _why(refused: Exception) -> str:
    return str(refused)[:500] if isinstance(refused, BundleRefused) else type(refused).__name__.lower()
