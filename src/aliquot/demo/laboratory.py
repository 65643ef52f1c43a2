"""The demo laboratory: four simulated instruments, their protocols and about a dozen runs. All of it made up."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from aliquot.demo.people import DEMO_PEOPLE
from aliquot.demo.protocols import PROTOCOLS
from aliquot.identity.contracts import SYSTEM
from aliquot.lab.api import LabApi
from aliquot.lab.contracts import NewInstrument, PastRun
from aliquot.platform.db import Transaction

_NAMES = {demo.role: demo.name for demo in DEMO_PEOPLE}


async def seed_laboratory(tx: Transaction, lab: LabApi, people: Mapping[str, uuid.UUID]) -> None:
    """Instruments, protocols and runs. `people` by role; `scientist` and `reviewer` are needed. Does nothing when instruments exist."""
    present, _ = await lab.instruments(tx, limit=1)
    if present:
        return
    published = [await lab.publish_protocol(tx, SYSTEM, code, text) for code, text in PROTOCOLS.items()]
    now = published[0].published_at
    for days, new in _INSTRUMENTS:
        await lab.add_instrument(tx, SYSTEM, replace(new, last_service_on=(now - timedelta(days=days)).date().isoformat()))
    for past in _past_runs(now, people):
        await lab.import_run(tx, SYSTEM, past)
    await lab.report_fault(tx, SYSTEM, "CENT-04", error_code="rotor_imbalance", error=_IMBALANCE)


_IMBALANCE = (
    "Rotor imbalance: 7.4 g difference measured at 2,400 rpm, limit 5 g. Spin was aborted; balance the buckets and clear the fault."
)

_INSTRUMENTS = (
    (41, NewInstrument(code="SEQ-01", name="Benchtop sequencer", kind="sequencer", location="Room 2.14, bench A")),
    (12, NewInstrument(code="PCR-02", name="Gradient thermocycler", kind="thermocycler", location="Room 2.14, bench C")),
    (88, NewInstrument(code="HPLC-03", name="Quaternary HPLC with diode-array detector", kind="hplc", location="Room 2.21")),
    (203, NewInstrument(code="CENT-04", name="Refrigerated plate centrifuge", kind="centrifuge", location="Room 2.16, floor")),
)
"""Days since the last service, and the instrument."""


def _samples(first: int, count: int) -> tuple[str, ...]:
    return tuple(f"S-{number:04d}" for number in range(first, first + count))


def _past_runs(now: datetime, people: Mapping[str, uuid.UUID]) -> Iterator[PastRun]:
    """Oldest first, so that the run numbers follow time."""
    for hours_ago, hours, instrument, protocol, samples, more in _HISTORY:
        started = now - timedelta(hours=hours_ago)
        role = str(more.get("who", "scientist"))
        yield PastRun(
            instrument=instrument,
            protocol=protocol,
            operator_id=people[role],
            operator=_NAMES[role],
            started_at=started,
            ended_at=None if hours is None else started + timedelta(hours=hours),
            samples=samples,
            **{name: value for name, value in more.items() if name != "who"},
        )


_LEAK = {"state": "failed", "error_code": "flow_cell_leak"}
_LID = {"state": "failed", "error_code": "lid_heater_timeout"}
_NO_SOLVENT = {"who": "reviewer", "state": "stopped", "stop_reason": "Mobile phase B nearly empty, stopped before the pump ran dry."}

_HISTORY: tuple[tuple[float, float | None, str, str, tuple[str, ...], dict[str, Any]], ...] = (
    (319, 26.2, "SEQ-01", "SEQ-PE150", _samples(1, 12), {}),
    (244, 1.35, "PCR-02", "PCR-STD-35", _samples(13, 24), {}),
    (221, 0.06, "CENT-04", "BEAD-CLEANUP", _samples(13, 24), {}),
    (196, 1.57, "PCR-02", "LIB-PREP-DNA", _samples(13, 12), {}),
    (190, 9.7, "SEQ-01", "SEQ-PE150", _samples(13, 12), _LEAK),
    (151, 4.87, "HPLC-03", "HPLC-GRAD-10", _samples(40, 16), {}),
    (122, 1.18, "PCR-02", "PCR-STD-35", _samples(56, 48), {"parameters": {"cycles": 30}}),
    (97, 1.9, "HPLC-03", "HPLC-GRAD-10", _samples(60, 24), _NO_SOLVENT),
    (74, 26.2, "SEQ-01", "SEQ-PE150", _samples(56, 16), {}),
    (49, 0.4, "PCR-02", "PCR-STD-35", _samples(104, 8), _LID),
    (26, 1.35, "PCR-02", "PCR-STD-35", _samples(104, 8), {"parameters": {"annealing_temperature": 58}}),
    # 88 injections of 16 min each: it goes on for most of a day.
    (1.6, None, "HPLC-03", "HPLC-GRAD-10", _samples(112, 88), {}),
)
"""Hours ago, hours it lasted, instrument, protocol, samples, and what was special."""
