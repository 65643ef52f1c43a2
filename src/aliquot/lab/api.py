"""The door to the laboratory."""

import base64
import binascii
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from aliquot.identity.contracts import Actor
from aliquot.kernel.clock import Clock
from aliquot.kernel.problems import InvalidInput
from aliquot.lab import inventory, store
from aliquot.lab.catalogue import Catalogue
from aliquot.lab.contracts import (
    ACTIVE,
    RUN_STATES,
    Caller,
    Instrument,
    InstrumentChange,
    InstrumentRun,
    NewInstrument,
    PastRun,
    Protocol,
    ProtocolText,
    StartPlan,
    StartRun,
    StopPlan,
    Within,
)
from aliquot.lab.drivers import Driver
from aliquot.lab.drivers.simulated import SimulatedDriver
from aliquot.lab.errors import UnknownInstrumentRun, UnknownProtocol
from aliquot.lab.importing import Importing
from aliquot.lab.inventory import Difference
from aliquot.lab.rules import newest_protocol
from aliquot.lab.service import LabService
from aliquot.lab.signable import SignableProtocols, SignableRuns
from aliquot.lab.store import RunRow
from aliquot.lab.views import Views
from aliquot.ledger.api import LedgerApi
from aliquot.platform.db import Transaction
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Vault
from aliquot.records.signatures.contracts import SignableKind

LIMIT_MAX = 200
_QUERY_CHARS_MAX = 200
_WORDS_MAX = 8

STATE_WORDS: dict[str, frozenset[str]] = {
    **{state: frozenset({state}) for state in RUN_STATES},
    "completed": frozenset({"done"}),
    "finished": frozenset({"done"}),
    "aborted": frozenset({"stopped"}),
    "active": ACTIVE,
}
"""What may be asked of the run history: a state, or a word for one or several."""


class LabApi:
    """Instruments, their runs, and protocols. Every method works in the caller's transaction; times are of the injected clock."""

    def __init__(
        self, ledger: LedgerApi, clock: Clock, settings: Settings, vault: Vault, drivers: Mapping[str, Driver] | None = None
    ) -> None:
        """`drivers` by the name instruments refer to; by default the simulator alone, as `simulated`."""
        self._clock = clock
        self.zone = ZoneInfo(settings.time_zone)
        """The site's; a day somebody names is one there."""
        self._views = Views(vault, drivers if drivers is not None else {"simulated": SimulatedDriver(settings.simulation_speed)})
        self._service = LabService(ledger=ledger, clock=clock, vault=vault, views=self._views)
        self._catalogue = Catalogue(self._service, self._views, vault, clock)
        self._importing = Importing(self._catalogue, self._views, clock)
        self.signable: tuple[SignableKind, ...] = (SignableRuns(self._views, vault, clock), SignableProtocols(ledger))
        """What can be signed here; bootstrap registers it."""

    # ---- reading

    async def instruments(
        self, tx: Transaction, *, limit: int = LIMIT_MAX, after: str | None = None, retired: bool = False
    ) -> tuple[list[Instrument], str | None]:
        """Instruments by code, and the cursor of the next page; without `retired` those in use."""
        at, limit = self._clock.now(), _limit(limit)
        pairs = await store.instruments_with_runs(tx, after=_decoded(after), limit=limit + 1, retired=retired)
        shown = [await self._views.instrument(row, run, at) for row, run in pairs[:limit]]
        return shown, _encoded(shown[-1].code) if len(pairs) > limit else None

    async def instrument(self, tx: Transaction, text: str) -> Instrument:
        """By code, name or unambiguous kind. Raises UnknownInstrument and AmbiguousInstrument."""
        return await self._views.instrument(*await self._service.find(tx, text), self._clock.now())

    async def runs(
        self, tx: Transaction, *, instrument: str | None = None, state: str | None = None, since: datetime | None = None,
        until: datetime | None = None, limit: int = 50, after: str | None = None,
    ) -> tuple[list[InstrumentRun], str | None]:  # fmt: skip
        """Runs, newest start first, and the cursor of the next page. `state` is a key of STATE_WORDS. From `since` until before
        `until`: those that ended then where `state` is one of an end, else those that were going on then."""
        limit, before = _limit(limit), _run_cursor(after)
        states = STATE_WORDS.get(state) if state is not None else frozenset(RUN_STATES)
        if states is None:
            raise InvalidInput(f"A run state is one of: {', '.join(STATE_WORDS)}.")
        row_id = (await self._service.find(tx, instrument))[0].id if instrument is not None else None
        within = Within(since=since, until=until, by_end=not states & ACTIVE)
        at = self._clock.now()
        # Active runs first: one that ends between the two statements is then in both, never in neither.
        found = {row.id: row for row in await store.active_runs(tx, row_id)}
        ended = await store.ended_runs(tx, instrument_id=row_id, states=states - ACTIVE, before=before, within=within, limit=limit + 1)
        found |= {row.id: row for row in ended}
        shown = [await self._views.run(row, at) for row in found.values()]
        shown = [run for run in shown if run.state in states and within.holds(run)]
        shown = [run for run in shown if before is None or (run.started_at, run.id) < before]
        shown.sort(key=lambda run: (run.started_at, run.id), reverse=True)
        more = len(shown) > limit
        return shown[:limit], _encoded(f"{shown[limit - 1].started_at.isoformat()}|{shown[limit - 1].id}") if more else None

    async def run(self, tx: Transaction, code: str, *, earlier: int = 0) -> InstrumentRun:
        """The run of that number, or the one that was started so many runs before it. Raises UnknownInstrumentRun."""
        row: RunRow | None = await self._service.find_run(tx, code)
        if row is not None and earlier > 0:
            row = await store.earlier_run(tx, row, earlier)
        if row is None:
            raise UnknownInstrumentRun(f"There are not that many runs before {code.strip().upper()}.")
        return await self._views.run(row, self._clock.now())

    async def protocols(
        self, tx: Transaction, *, instrument: str | None = None, query: str | None = None, limit: int = 50, after: str | None = None,
        retired: bool = False,
    ) -> tuple[list[Protocol], str | None]:  # fmt: skip
        """Newest versions by code: those the instrument can run, those that hold every word of `query`; without `retired` those in use."""
        limit = _limit(limit)
        kind = (await self._service.find(tx, instrument))[0].kind if instrument is not None else None
        found = await store.protocols(tx, kind=kind, words=_words(query), after=_decoded(after), limit=limit + 1, retired=retired)
        return found[:limit], _encoded(found[limit - 1].code) if len(found) > limit else None

    async def protocol(self, tx: Transaction, code: str, *, version: int | None = None) -> Protocol:
        """The newest version, or that one. Raises UnknownProtocol."""
        newest = (await newest_protocol(tx, code))[1]
        found = newest if version in {None, newest.version} else await store.protocol_at(tx, newest.code, version or 0)
        if found is None:
            raise UnknownProtocol(f"{newest.code} has no version {version}; the newest is {newest.version}.")
        return found

    # ---- acting

    async def preview_start(self, tx: Transaction, command: StartRun) -> StartPlan:
        """What `start_run` would do now; reads only. Raises what it would raise."""
        return await self._service.plan_start(tx, command)

    async def start_run(self, tx: Transaction, caller: Caller, command: StartRun) -> InstrumentRun:
        """Start a run, once per idempotency key.

        Raises UnknownInstrument, AmbiguousInstrument, UnknownProtocol, ProtocolMismatch, WrongSamples, WrongParameters,
        InstrumentBusy, InstrumentInError, InstrumentOffline, InstrumentUnreachable, KeyReused.
        """
        return await self._service.start(tx, caller, command)

    async def preview_stop(self, tx: Transaction, caller: Caller, code: str) -> StopPlan:
        """What `stop_run` would do now; reads only. Raises what it would raise."""
        return await self._service.plan_stop(tx, caller, code)

    async def stop_run(
        self, tx: Transaction, caller: Caller, code: str, reason: str, *, idempotency_key: str | None = None
    ) -> InstrumentRun:
        """Abort an active run. Raises UnknownInstrumentRun, RunNotActive, InvalidInput (no reason), InstrumentUnreachable."""
        return await self._service.stop(tx, caller, code, reason, key=idempotency_key)

    async def pause_run(self, tx: Transaction, caller: Caller, code: str) -> InstrumentRun:
        """Raises UnknownInstrumentRun, RunNotActive, WrongInstrumentState unless it is running."""
        return await self._service.pause(tx, caller, code)

    async def resume_run(self, tx: Transaction, caller: Caller, code: str) -> InstrumentRun:
        """Raises UnknownInstrumentRun, RunNotActive, WrongInstrumentState unless it is paused."""
        return await self._service.resume(tx, caller, code)

    async def report_fault(self, tx: Transaction, actor: Actor, instrument: str, *, error_code: str, error: str) -> Instrument:
        """The instrument is in error and its active run has failed. Raises WrongInstrumentState when it is offline."""
        return await self._service.report_fault(tx, actor, instrument, error_code=error_code, error=error)

    async def clear_fault(self, tx: Transaction, actor: Actor, instrument: str) -> Instrument:
        """From error to idle. Raises WrongInstrumentState."""
        return await self._service.clear_fault(tx, actor, instrument)

    async def take_offline(self, tx: Transaction, actor: Actor, instrument: str) -> Instrument:
        """From idle, done or error to offline. Raises WrongInstrumentState."""
        return await self._service.take_offline(tx, actor, instrument)

    async def bring_online(self, tx: Transaction, actor: Actor, instrument: str) -> Instrument:
        """From offline to idle. Raises WrongInstrumentState."""
        return await self._service.bring_online(tx, actor, instrument)

    async def advance(self, tx: Transaction) -> int:
        """Write down the runs that are over, with their results and audit events; how many. Idempotent."""
        return await self._service.advance(tx)

    # ---- the catalogue

    async def add_instrument(self, tx: Transaction, actor: Actor, new: NewInstrument) -> Instrument:
        """Raises InstrumentExists and InvalidInput."""
        return await self._catalogue.add_instrument(tx, actor, new)

    async def change_instrument(
        self, tx: Transaction, actor: Actor, code: str, change: InstrumentChange, *, version: int | None = None
    ) -> Instrument:  # fmt: skip
        """With `version`, only if it still has that one. Raises UnknownInstrument, VersionChanged, InstrumentBusy and InvalidInput."""
        return await self._catalogue.change_instrument(tx, actor, code, change, version=version)

    async def retire_instrument(self, tx: Transaction, actor: Actor, code: str, *, retired: bool = True) -> Instrument:
        """Retire it, or take it into use again. Raises UnknownInstrument and InstrumentBusy."""
        return await self._catalogue.retire_instrument(tx, actor, code, retired=retired)

    async def publish_protocol(self, tx: Transaction, actor: Actor, code: str, text: ProtocolText, *, version: int | None = 1) -> Protocol:
        """Add `version` (1, or one more than the newest; None: whichever comes next). Raises ProtocolExists, Retired and InvalidInput."""
        return await self._catalogue.publish_protocol(tx, actor, code, text, version=version)

    async def retire_protocol(self, tx: Transaction, actor: Actor, code: str, *, retired: bool = True) -> Protocol:
        """Retire all versions, or take the protocol into use again. Raises UnknownProtocol."""
        return await self._catalogue.retire_protocol(tx, actor, code, retired=retired)

    async def import_inventory(self, tx: Transaction, actor: Actor, raw: bytes) -> list[Difference]:
        """Make instruments and protocols what the file says (docs/laboratory.md); what was changed. Raises InventoryRefused, and as
        the single changes do; then the caller's transaction must not be committed."""
        return await self._importing.apply(tx, actor, inventory.read(raw))

    async def export_inventory(self, tx: Transaction) -> str:
        """Such a file."""
        return inventory.write(*await self._importing.present(tx))

    async def import_run(self, tx: Transaction, actor: Actor, past: PastRun) -> InstrumentRun:
        """Write down a run made before or elsewhere. Raises as `start_run` does, and InvalidInput."""
        return await self._catalogue.import_run(tx, actor, past)


def _limit(limit: int) -> int:
    if not 1 <= limit <= LIMIT_MAX:
        raise InvalidInput(f"limit must be between 1 and {LIMIT_MAX}.")
    return limit


def _words(query: str | None) -> list[str]:
    if query is None:
        return []
    if len(query) > _QUERY_CHARS_MAX:
        raise InvalidInput(f"A query has at most {_QUERY_CHARS_MAX} characters.")
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", query).split()[:_WORDS_MAX]


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(cursor: str | None) -> str:
    """The text in a cursor of ours; empty for none. Raises InvalidInput."""
    if cursor is None:
        return ""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error) as error:
        raise InvalidInput("This is not a cursor of this list.") from error
    if len(text) > 200 or not text.isprintable():
        raise InvalidInput("This is not a cursor of this list.")
    return text


def _run_cursor(cursor: str | None) -> tuple[datetime, uuid.UUID] | None:
    if cursor is None:
        return None
    at, _, run_id = _decoded(cursor).partition("|")
    try:
        moment = datetime.fromisoformat(at)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)), uuid.UUID(run_id)
    except ValueError as error:
        raise InvalidInput("This is not a cursor of this list.") from error
