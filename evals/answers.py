"""A laboratory of four instruments at one moment, to see which yes or no the laboratory's tools give. No database."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from aliquot.demo.protocols import PROTOCOLS
from aliquot.identity.contracts import Principal
from aliquot.lab.api import STATE_WORDS, LabApi
from aliquot.lab.contracts import Instrument, InstrumentRun, InstrumentState, Kind, Protocol
from aliquot.lab.naming import resolve
from aliquot.lab.tools import lab_tools
from aliquot.platform.db import Transaction
from aliquot.routing.contracts import Route
from aliquot.tools.contracts import Settling, ToolContext

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
_PERSON = Principal(
    id=uuid.UUID(int=1), email="", name="Ada", roles=frozenset({"scientist"}), permissions=frozenset({"lab.read", "lab.operate"}), via="session"
)  # fmt: skip


def _run(code: str, instrument: str, protocol: str, state: Any, hours_ago: float, progress: float) -> InstrumentRun:
    active, begun = state == "running", NOW - timedelta(hours=hours_ago)
    return InstrumentRun(
        id=uuid.uuid5(uuid.NAMESPACE_OID, code), code=code, instrument=instrument, protocol=protocol, protocol_version=1,
        operator_id=_PERSON.id, operator="Ada", samples=("S-0001",), parameters={}, units={}, state=state, progress=progress,
        started_at=begun, ends_at=NOW + timedelta(hours=1) if active else begun + timedelta(hours=1), version=1,
        remaining_seconds=3_600.0 if active else None, results=(), stop_reason=None, error_code="leak" if state == "failed" else None,
    )  # fmt: skip


RUNS = (
    _run("R-2026-0012", "HPLC-03", "HPLC-GRAD-10", "running", 2, 0.6),
    _run("R-2026-0007", "SEQ-01", "SEQ-PE150", "failed", 50, 0.4),
    _run("R-2026-0003", "PCR-02", "PCR-STD-35", "done", 90, 1.0),
)


def _instrument(code: str, name: str, kind: Kind, state: InstrumentState, error: str | None = None) -> Instrument:
    run = next((run for run in RUNS if run.instrument == code and run.state == "running"), None)
    return Instrument(
        code=code, name=name, kind=kind, location="Room 1", state=state, state_since=NOW, error_code="fault" if error else None, driver="simulated", settings={}, retired_at=None,
        error=error, last_service_on=None, simulated=True, version=1, run=run,
    )  # fmt: skip


INSTRUMENTS = (
    _instrument("CENT-04", "Refrigerated plate centrifuge", "centrifuge", "error", "Rotor imbalance."),
    _instrument("HPLC-03", "Quaternary HPLC with diode-array detector", "hplc", "running"),
    _instrument("PCR-02", "Gradient thermocycler", "thermocycler", "idle"),
    _instrument("SEQ-01", "Benchtop sequencer", "sequencer", "idle"),
)


class _Lab:
    """What the tools that read need of the laboratory."""

    zone = UTC

    async def instruments(self, tx: Transaction, **_: Any) -> tuple[list[Instrument], None]:
        return list(INSTRUMENTS), None

    async def instrument(self, tx: Transaction, text: str) -> Instrument:
        return resolve(text, INSTRUMENTS)

    async def runs(self, tx: Transaction, *, instrument: str | None = None, state: str | None = None, **_: Any) -> tuple[list[Any], None]:
        states = STATE_WORDS[state or "active"] if state else {run.state for run in RUNS}
        return [run for run in RUNS if run.state in states and instrument in {None, run.instrument}], None

    async def run(self, tx: Transaction, code: str, *, earlier: int = 0) -> InstrumentRun:
        known = next((run for run in RUNS if run.code == code), None)
        return known or replace(RUNS[-1], code=code)

    async def protocol(self, tx: Transaction, code: str) -> Protocol:
        return Protocol(code=code, version=1, text=PROTOCOLS[code], published_at=NOW)


_TOOLS = {tool.name: tool for tool in lab_tools(cast("LabApi", _Lab()))}
_CONTEXT = ToolContext(principal=_PERSON, run_id=None, call_id="eval", idempotency_key="eval")


async def answers(route: Route) -> list[str | None]:
    """The yes or no (in lower case) that each call of a followed route gives, None for neither."""
    found: list[str | None] = []
    for one in (route, *route.also):
        tool = _TOOLS.get(one.tool or "")
        sentence = None
        if one.accepted and isinstance(tool, Settling) and one.asked:
            data = (await tool.execute(cast("Transaction", None), _CONTEXT, one.arguments)).data
            sentence = tool.settle(data, one.asked)
        found.append(None if sentence is None else sentence[: 3 if sentence.startswith("Yes") else 2].lower())
    return found
