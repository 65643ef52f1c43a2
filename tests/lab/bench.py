"""A small laboratory for tests: one clock, one person, quick protocols."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from aliquot.identity.contracts import SYSTEM, Principal
from aliquot.lab.api import LabApi
from aliquot.lab.contracts import Caller, InstrumentRun, NewInstrument, Parameter, ProtocolText, Reading, StartRun, Step
from aliquot.lab.drivers import Driver
from aliquot.ledger.api import LedgerApi
from aliquot.platform.db import Database, Transaction
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Vault
from aliquot.tools.contracts import ToolContext
from tests.conftest import ManualClock

WARM_UP, CYCLE = 60, 10

SHORT = ProtocolText(
    name="Short PCR",
    summary="A test of 100 % heat.",
    kinds=("thermocycler",),
    warm_up_seconds=WARM_UP,
    max_samples=4,
    parameters=(
        Parameter(name="cycles", unit="1", default=6, minimum=1, maximum=40, integer=True),
        Parameter(name="annealing", unit="°C", default=60, minimum=45.5, maximum=72),
    ),
    steps=(
        Step(name="Set up", seconds=600, where="bench"),
        Step(
            name="Cycle", seconds=CYCLE, where="thermocycler", repeat=6, repeat_by="cycles",
            readings=(Reading(name="block", value=60, unit="°C", set_by="annealing"),),
        ),
    ),
)  # fmt: skip

PER_SAMPLE = ProtocolText(
    name="Gradient",
    summary="Separates.",
    kinds=("hplc",),
    warm_up_seconds=30,
    steps=(Step(name="Inject", seconds=100, where="hplc", per_sample=True),),
)

INSTRUMENTS = (
    NewInstrument(code="PCR-02", name="Gradient cycler", kind="thermocycler", location="Room 1", last_service_on="2026-02-01"),
    NewInstrument(code="PCR-05", name="Fast cycler", kind="thermocycler", location="Room 2"),
    NewInstrument(code="HPLC-03", name="Chromatography tower", kind="hplc", location="Room 3"),
)


def person(name: str = "Ann Analyst", **changes: Any) -> Principal:
    given: dict[str, Any] = {
        "id": uuid.uuid4(), "email": "a@b.lab", "name": name, "roles": frozenset({"scientist"}),
        "permissions": frozenset({"lab.read", "lab.operate"}), "via": "session", "ip": "127.0.0.1",
    }  # fmt: skip
    return Principal(**(given | changes))


@dataclass
class Bench:
    """The laboratory and everything around it."""

    db: Database
    clock: ManualClock
    vault: Vault
    drivers: Mapping[str, Driver] | None = None
    speed: float = 1.0
    ann: Principal = field(default_factory=person)
    bob: Principal = field(default_factory=lambda: person("Bob Biologist"))

    def __post_init__(self) -> None:
        self.lab = self.restarted()

    def restarted(self) -> LabApi:
        """A laboratory of a new process: nothing is carried over but the database, the keys and the clock."""
        settings = Settings(simulation_speed=self.speed)
        return LabApi(LedgerApi(self.vault, self.clock), self.clock, settings, self.vault, self.drivers)

    async def furnish(self) -> None:
        async with self.db.begin() as tx:
            await self.lab.publish_protocol(tx, SYSTEM, "PCR-SHORT", SHORT)
            await self.lab.publish_protocol(tx, SYSTEM, "GRAD", PER_SAMPLE)
            for new in INSTRUMENTS:
                await self.lab.add_instrument(tx, SYSTEM, new)

    async def start(
        self, instrument: str = "PCR-02", protocol: str = "PCR-SHORT", *, key: str | None = None, who: Principal | None = None, **more: Any
    ) -> InstrumentRun:
        command = StartRun(instrument=instrument, protocol=protocol, idempotency_key=key or uuid.uuid4().hex, **more)
        async with self.db.begin() as tx:
            return await self.lab.start_run(tx, Caller(principal=who or self.ann), command)

    async def stop(self, run: str, reason: str = "wrong plate", *, who: Principal | None = None, key: str | None = None) -> InstrumentRun:
        async with self.db.begin() as tx:
            return await self.lab.stop_run(tx, Caller(principal=who or self.ann), run, reason, idempotency_key=key)

    async def state(self, instrument: str = "PCR-02") -> str:
        async with self.db.begin() as tx:
            return (await self.lab.instrument(tx, instrument)).state

    async def run(self, code: str) -> InstrumentRun:
        async with self.db.begin() as tx:
            return await self.lab.run(tx, code)

    async def advance(self) -> int:
        async with self.db.begin() as tx:
            return await self.lab.advance(tx)

    async def events(self, action: str | None = None) -> list[dict[str, Any]]:
        async with self.db.begin() as tx:
            rows = await tx.rows(text("SELECT body FROM audit_event ORDER BY id"))
        found = [json.loads(bytes(row.body)) for row in rows]
        return [event for event in found if action is None or event["action"] == action]

    def context(self, who: Principal | None = None) -> ToolContext:
        return ToolContext(principal=who or self.ann, run_id=uuid.uuid4(), call_id="c1", idempotency_key=uuid.uuid4().hex)


async def counts(tx: Transaction, tables: Sequence[str]) -> list[int]:
    return [int(await tx.scalar(text(f"SELECT count(*) FROM {table}"))) for table in tables]
