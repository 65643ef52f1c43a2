"""What must hold before something is done, and the sentences that say so."""

import re
import uuid
from datetime import datetime

from aliquot.kernel.problems import InvalidInput
from aliquot.lab import store
from aliquot.lab.contracts import ACTIVE, FREE, REASON_CHARS_MAX, Caller, Instrument, InstrumentRun, Protocol, StartRun
from aliquot.lab.errors import InstrumentBusy, InstrumentInError, InstrumentOffline, KeyReused, Retired, RunNotActive, UnknownProtocol
from aliquot.lab.store import InstrumentRow, RunRow
from aliquot.platform.db import Transaction

_PROTOCOL_CODE = re.compile(r"[A-Z][A-Z0-9]*(-[A-Z0-9]+)*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_SERVICE_DAYS_MAX = 365


async def newest_protocol(tx: Transaction, code: str) -> tuple[uuid.UUID, Protocol]:
    """Raises UnknownProtocol."""
    wanted = code.strip().upper()
    found = await store.newest_protocol(tx, wanted) if len(wanted) <= 40 and _PROTOCOL_CODE.fullmatch(wanted) else None
    if found is None:
        known = ", ".join(p.code for p in await store.protocols(tx, kind=None, words=(), after="", limit=20))
        raise UnknownProtocol(f"There is no protocol of that code. Known are: {known or 'none'}.")
    return found


def checked_reason(text: str) -> str:
    """A sentence written by a person: not empty, bounded, without control characters."""
    text = text.strip()
    if not text or len(text) > REASON_CHARS_MAX or _CONTROL.search(text):
        raise InvalidInput(f"Please give a reason of 1 to {REASON_CHARS_MAX} characters.")
    return text


def words(state: str) -> str:
    """A state as people say it."""
    return state.replace("warming_up", "warming up").replace("error", "in error")


def require_free(instrument: Instrument) -> None:
    if instrument.state in FREE:
        return
    if instrument.retired_at is not None:
        raise Retired(f"{instrument.code} is retired.")
    if instrument.state == "error":
        raise InstrumentInError(f"{instrument.code} is in error: {instrument.error or instrument.error_code}")
    if instrument.state == "offline":
        raise InstrumentOffline(f"{instrument.code} is offline.")
    run = f" with {instrument.run.code}" if instrument.run else ""
    raise InstrumentBusy(f"{instrument.code} is {words(instrument.state)}{run}.")


def require_active(run: InstrumentRun) -> None:
    if run.state not in ACTIVE:
        raise RunNotActive(f"{run.code} is already {words(run.state)}.")


def require_same(earlier: RunRow, caller: Caller, command: StartRun, instrument: InstrumentRow) -> None:
    same = (
        earlier.operator_id == caller.principal.id
        and earlier.instrument_id == instrument.id
        and earlier.protocol_code == command.protocol.strip().upper()
        and list(earlier.samples) == [str(code).strip().upper() for code in command.samples]
        and all(earlier.parameters.get(name) == value for name, value in command.parameters.items())
    )
    if not same:
        raise KeyReused


def start_warnings(instrument: Instrument, protocol: Protocol, samples: tuple[str, ...], at: datetime, *, faster: float) -> tuple[str, ...]:
    warnings = []
    if instrument.simulated:
        warnings.append(f"{instrument.code} is simulated: no physical instrument moves.")
        if abs(faster - 1) > 0.01:
            warnings.append(f"The simulation runs {faster:g} times as fast as real time.")
    if instrument.state == "done":
        warnings.append("The last run has only just ended; make sure its samples have been taken out.")
    if not samples:
        warnings.append("No samples are named.")
    else:
        warnings.append("Samples are recorded as written; this server keeps no register of samples to check them against.")
    if instrument.last_service_on and (at.date() - datetime.fromisoformat(instrument.last_service_on).date()).days > _SERVICE_DAYS_MAX:
        warnings.append(f"The last service was on {instrument.last_service_on}, more than a year ago.")
    by_hand = [step.name for step in protocol.text.steps if step.where == "bench"]
    if by_hand:
        warnings.append(f"Steps of {protocol.code} done by hand, not in the estimated time: {', '.join(by_hand)}.")
    return tuple(warnings)
