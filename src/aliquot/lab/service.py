"""Acting on instruments. Every change happens under the instrument's row lock, with its audit event in the same transaction."""

import difflib
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from aliquot.identity.contracts import SYSTEM, Actor
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import InvalidInput
from aliquot.lab import planning, store
from aliquot.lab.contracts import ACTIVE, Caller, Instrument, InstrumentRun, StartPlan, StartRun, StopPlan
from aliquot.lab.drivers import RunSpec
from aliquot.lab.errors import (
    InstrumentUnreachable,
    KeyReused,
    ProtocolMismatch,
    Retired,
    UnknownInstrumentRun,
    WrongInstrumentState,
)
from aliquot.lab.naming import a_kind, plain, resolve
from aliquot.lab.rules import checked_reason, newest_protocol, require_active, require_free, require_same, start_warnings, words
from aliquot.lab.store import InstrumentRow, RunRow
from aliquot.lab.views import Views, spec_of
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.vault import SITE, Vault

log = structlog.get_logger(__name__)

_NEAR_AMONG, _NEAR_LIKENESS = 200, 0.88
"""How many of the newest runs an unknown number is compared with, and how alike they must be: one wrong or two exchanged digits."""
_RUN_CODE = re.compile(r"R-\d{4}-\d{4,8}", re.ASCII)
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_ERROR_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")

Pair = tuple[InstrumentRow, RunRow | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Because:
    """Who causes a change and through what, for the audit event."""

    actor: Actor
    run_id: uuid.UUID | None = None
    tool: str | None = None
    content: Mapping[str, bytes] = field(default_factory=dict)
    subject: uuid.UUID | None = None
    reason: str | None = None

    @classmethod
    def of(cls, caller: Caller, content: Mapping[str, bytes] | None = None) -> "Because":
        person = caller.principal
        return cls(actor=Actor.of(person), run_id=caller.run_id, tool=caller.tool, content=content or {}, subject=person.id)


class LabService:
    """Start, stop, pause, resume, faults, and writing down what the clock has already decided."""

    def __init__(self, *, ledger: LedgerApi, clock: Clock, vault: Vault, views: Views) -> None:
        self._ledger = ledger
        self._clock = clock
        self._vault = vault
        self._views = views

    async def find(self, tx: Transaction, text: str) -> Pair:
        """The instrument meant by `text`, with its active run."""
        meant = await self._meant(tx, text)
        return (await store.instruments_with_runs(tx, ids=[meant.id]))[0]

    async def _meant(self, tx: Transaction, text: str) -> InstrumentRow:
        """By any of its names; what is retired by its code alone."""
        known = await store.all_instruments(tx)
        retired = [row for row in known if row.retired_at is not None and plain(row.code) == plain(text)]
        return retired[0] if retired else resolve(text, [row for row in known if row.retired_at is None])

    async def locked(self, tx: Transaction, text: str) -> Pair:
        """As `find`, under the row lock. The pair is read after the lock was got: what an earlier holder did is in it."""
        meant = await self._meant(tx, text)
        await store.lock_instrument(tx, meant.id)
        return (await store.instruments_with_runs(tx, ids=[meant.id]))[0]

    async def plan_start(self, tx: Transaction, command: StartRun) -> StartPlan:
        """What a start would do now. Raises what the start would raise."""
        return (await self._plan(tx, await self.find(tx, command.instrument), command, self._clock.now()))[0]

    async def _plan(self, tx: Transaction, pair: Pair, command: StartRun, at: datetime) -> tuple[StartPlan, uuid.UUID, RunSpec]:
        instrument = await self._views.instrument(*pair, at)
        version_id, protocol = await newest_protocol(tx, command.protocol)
        if protocol.retired_at is not None:
            raise Retired(f"{protocol.code} is retired.")
        if instrument.kind not in protocol.text.kinds:
            kinds = " or ".join(a_kind(kind) for kind in protocol.text.kinds)
            raise ProtocolMismatch(f"{protocol.code} runs on {kinds}; {instrument.code} is {a_kind(instrument.kind)}.")
        samples = planning.checked_samples(command.samples, protocol.text)
        parameters = planning.checked_parameters(command.parameters, protocol.text)
        require_free(instrument)
        spec = RunSpec(
            run_id=str(new_id()),
            instrument=instrument.code,
            kind=instrument.kind,
            protocol=protocol.code,
            protocol_version=protocol.version,
            warm_up_seconds=protocol.text.warm_up_seconds,
            run_seconds=planning.run_seconds(protocol.text, parameters, len(samples)),
            samples=samples,
            parameters=parameters,
            settings=pair[0].settings,
        )
        warm_up, run = await self._views.ask(self._views.driver(pair[0].driver).estimate(spec))
        plan = StartPlan(
            instrument=instrument,
            protocol=protocol,
            samples=samples,
            parameters=parameters,
            changed=frozenset(p.name for p in protocol.text.parameters if parameters[p.name] != p.default),
            warm_up_seconds=warm_up,
            run_seconds=run,
            ends_at=at + timedelta(seconds=warm_up + run),
            warnings=start_warnings(instrument, protocol, samples, at, faster=spec.run_seconds / run if run else 1),
        )
        return plan, version_id, spec

    async def start(self, tx: Transaction, caller: Caller, command: StartRun) -> InstrumentRun:
        """Start once per idempotency key; a repetition gives the run that the first call started."""
        if not _KEY.fullmatch(command.idempotency_key):
            raise InvalidInput("An idempotency key is 1 to 200 printable ASCII characters.")
        pair = await self.locked(tx, command.instrument)
        earlier = await store.run_by_key(tx, command.idempotency_key)
        at = self._clock.now()
        if earlier is not None:
            require_same(earlier, caller, command, pair[0])
            return await self._views.run(earlier, at)
        pair = await self.settled(tx, pair, at)
        plan, version_id, spec = await self._plan(tx, pair, command, at)
        driver = self._views.driver(pair[0].driver)
        handle = await self._views.ask(driver.start(spec, idempotency_key=command.idempotency_key, at=at))
        code = await self.next_code(tx, at)
        values = self.new_run(
            spec, code=code, instrument_id=pair[0].id, version_id=version_id, operator=(caller.principal.id, caller.principal.name), at=at
        )
        if not await store.insert_run(tx, values | {"handle": handle, "idempotency_key": command.idempotency_key}):
            raise KeyReused
        await store.update_instrument(tx, pair[0].id, {"state": "busy", "state_since": at, "free_at": None})
        content = {"samples": canonical_json(list(plan.samples)), "parameters": canonical_json(dict(plan.parameters))}
        await self.audit(tx, "instrument_run.started", Because.of(caller, content), code, 1)
        return await self._fresh(tx, code, at)

    def new_run(
        self, spec: RunSpec, *, code: str, instrument_id: uuid.UUID, version_id: uuid.UUID, operator: tuple[uuid.UUID, str], at: datetime
    ) -> dict[str, Any]:
        """The row of a run that begins; the operator's name is sealed under the operator's key."""
        person, name = operator
        self._vault.ensure_subject(person)
        return {
            "id": uuid.UUID(spec.run_id),
            "code": code,
            "instrument_id": instrument_id,
            "protocol_version_id": version_id,
            "operator_id": person,
            "operator_name": self._vault.seal(person, name.encode(), aad=f"instrument_run.operator_name:{spec.run_id}"),
            "samples": list(spec.samples),
            "parameters": dict(spec.parameters),
            "state": "warming_up",
            "started_at": at,
            "ended_at": None,
            "progress": 0.0,
            "results": [],
            "version": 1,
        }

    async def next_code(self, tx: Transaction, at: datetime) -> str:
        return f"R-{at.year}-{await store.next_run_number(tx, at.year):04d}"

    async def find_run(self, tx: Transaction, code: str) -> RunRow:
        """Raises UnknownInstrumentRun."""
        wanted = code.strip().upper()
        if not _RUN_CODE.fullmatch(wanted):
            raise UnknownInstrumentRun("There is no instrument run of that number. Run numbers look like R-2026-0007.")
        row = await store.run_by_code(tx, wanted)
        if row is None:
            near = difflib.get_close_matches(wanted, await store.newest_run_codes(tx, _NEAR_AMONG), n=3, cutoff=_NEAR_LIKENESS)
            raise UnknownInstrumentRun(f"There is no run {wanted}." + (f" Did you mean {' or '.join(near)}?" if near else ""))
        return row

    async def _active(self, tx: Transaction, code: str, at: datetime) -> tuple[InstrumentRow, RunRow, InstrumentRun]:
        """The instrument and the run, still active at `at`, under the instrument's lock. Raises RunNotActive."""
        found = await self.find_run(tx, code)
        await store.lock_instrument(tx, found.instrument_id)
        row = await self.find_run(tx, code)  # again: it may have ended while the lock was awaited
        run = await self._views.run(row, at)
        require_active(run)
        return (await store.instruments_with_runs(tx, ids=[row.instrument_id]))[0][0], row, run

    async def plan_stop(self, tx: Transaction, caller: Caller, code: str) -> StopPlan:
        """What a stop would do now. Raises what the stop would raise."""
        at = self._clock.now()
        row = await self.find_run(tx, code)
        run = await self._views.run(row, at)
        require_active(run)
        instrument = await self._views.instrument(*(await store.instruments_with_runs(tx, ids=[row.instrument_id]))[0], at)
        foreign = run.operator_id != caller.principal.id
        warnings = [f"The run is {run.progress * 100:.0f} % done and cannot be continued after the stop."]
        if run.samples:
            what = "1 sample is" if len(run.samples) == 1 else f"{len(run.samples)} samples are"
            warnings.append(f"{what} in this run; whether they can be used again is for a person to judge.")
        if foreign:
            warnings.insert(0, f"This is not your run: {run.operator} started it.")
        return StopPlan(run=run, instrument=instrument, foreign=foreign, warnings=tuple(warnings))

    async def stop(self, tx: Transaction, caller: Caller, code: str, reason: str, *, key: str | None = None) -> InstrumentRun:
        """Abort an active run. With the same `key` again: the stopped run, nothing more. The reason is sealed under its writer's key."""
        reason = checked_reason(reason)
        at = self._clock.now()
        earlier = await self.find_run(tx, code)
        if key is not None and earlier.stop_key == key:
            return await self._views.run(earlier, at)
        instrument, row, run = await self._active(tx, code, at)
        await self._views.ask(self._views.driver(row.driver).stop(row.handle, at=at))
        person = caller.principal.id
        self._vault.ensure_subject(person)
        sealed = self._vault.seal(person, reason.encode(), aad=f"instrument_run.stop_reason:{row.id}")
        ended = {"state": "stopped", "ended_at": at, "progress": run.progress, "stop_reason": sealed, "stop_key": key}
        version = await store.update_run(tx, row.id, ended)
        await store.update_instrument(tx, instrument.id, {"state": "idle", "state_since": at, "free_at": None})
        await self.audit(tx, "instrument_run.stopped", Because.of(caller, {"reason": reason.encode()}), row.code, version)
        return await self._fresh(tx, row.code, at)

    async def pause(self, tx: Transaction, caller: Caller, code: str) -> InstrumentRun:
        """From running to paused."""
        return await self._hold(tx, caller, code, needed="running", verb="pause")

    async def resume(self, tx: Transaction, caller: Caller, code: str) -> InstrumentRun:
        """From paused to running."""
        return await self._hold(tx, caller, code, needed="paused", verb="resume")

    async def _hold(self, tx: Transaction, caller: Caller, code: str, *, needed: str, verb: str) -> InstrumentRun:
        at = self._clock.now()
        instrument, row, run = await self._active(tx, code, at)
        if run.state != needed:
            raise WrongInstrumentState(f"{run.code} is {words(run.state)}; only a run that is {words(needed)} can be {verb}d.")
        driver = self._views.driver(row.driver)
        handle = await self._views.ask((driver.pause if verb == "pause" else driver.resume)(row.handle, at=at))
        state = "paused" if verb == "pause" else "running"
        version = await store.update_run(tx, row.id, {"handle": handle, "state": state, "progress": run.progress})
        await store.update_instrument(tx, instrument.id, {})
        await self.audit(tx, f"instrument_run.{verb}d", Because.of(caller), row.code, version)
        return await self._fresh(tx, row.code, at)

    async def report_fault(self, tx: Transaction, actor: Actor, instrument: str, *, error_code: str, error: str) -> Instrument:
        """The instrument is in error; its active run has failed."""
        if not _ERROR_CODE.fullmatch(error_code):
            raise InvalidInput("An error code is lower case letters, digits and underscores.")
        error = checked_reason(error)
        at = self._clock.now()
        row, run_row = await self.settled(tx, await self.locked(tx, instrument), at)
        if row.retired_at is not None:
            raise Retired(f"{row.code} is retired.")
        if row.state == "offline":
            raise WrongInstrumentState(f"{row.code} is offline.")
        because = Because(actor=actor, reason=error_code)
        if run_row is not None:
            run = await self._views.run(run_row, at)
            ended = {"state": "failed", "ended_at": at, "progress": run.progress, "error_code": error_code}
            await self.audit(tx, "instrument_run.failed", because, run_row.code, await store.update_run(tx, run_row.id, ended))
        values = {"error_code": error_code, "error_text": self._views.seal_error(row, error)}
        return await self._put(tx, row, "error", at, values, "instrument.fault_reported", because)

    async def clear_fault(self, tx: Transaction, actor: Actor, instrument: str) -> Instrument:
        """From error to idle."""
        return await self._switch(tx, actor, instrument, {"error"}, "idle", "instrument.fault_cleared")

    async def take_offline(self, tx: Transaction, actor: Actor, instrument: str) -> Instrument:
        """From idle, done or error to offline. Not while a run is active."""
        return await self._switch(tx, actor, instrument, {"idle", "done", "error"}, "offline", "instrument.taken_offline")

    async def bring_online(self, tx: Transaction, actor: Actor, instrument: str) -> Instrument:
        """From offline to idle."""
        return await self._switch(tx, actor, instrument, {"offline"}, "idle", "instrument.brought_online")

    async def _switch(self, tx: Transaction, actor: Actor, instrument: str, needed: set[str], state: str, action: str) -> Instrument:
        at = self._clock.now()
        row, _ = await self.settled(tx, await self.locked(tx, instrument), at)
        if row.retired_at is not None:
            raise Retired(f"{row.code} is retired.")
        if row.state not in needed:
            present = await self._views.instrument(*(await store.instruments_with_runs(tx, ids=[row.id]))[0], at)
            raise WrongInstrumentState(f"{row.code} is {words(present.state)}; this needs it to be {words(' or '.join(sorted(needed)))}.")
        cleared = {"error_code": None, "error_text": None}
        return await self._put(tx, row, state, at, cleared, action, Because(actor=actor))

    async def _put(
        self, tx: Transaction, row: InstrumentRow, state: str, at: datetime, values: dict[str, Any], action: str, because: Because
    ) -> Instrument:
        version = await store.update_instrument(tx, row.id, {"state": state, "state_since": at, "free_at": None} | values)
        await self.audit(tx, action, because, row.code, version, kind="instrument")
        return await self._views.instrument(*(await store.instruments_with_runs(tx, ids=[row.id]))[0], at)

    async def settled(self, tx: Transaction, pair: Pair, at: datetime) -> Pair:
        """Write down the end of a run that the clock has already ended; the pair as it is then. Needs the lock."""
        row, run_row = pair
        if run_row is None:
            return pair
        try:
            seen = await self._views.observe(run_row, at)
        except InstrumentUnreachable:
            return pair
        if seen.state in ACTIVE or seen.ends_at is None:
            return pair
        failed = seen.state == "failed"
        results = () if failed else await self._views.ask(self._views.driver(row.driver).results(spec_of(run_row), run_row.handle))
        stored = [asdict(result) for result in results]
        ended = {"state": seen.state, "ended_at": seen.ends_at, "progress": seen.progress, "results": stored, "error_code": seen.error_code}
        version = await store.update_run(tx, run_row.id, ended)
        frame = {"state": "error" if failed else "done", "state_since": seen.ends_at, "error_code": seen.error_code}
        await store.update_instrument(tx, row.id, frame | {"free_at": None if failed else (seen.free_at or seen.ends_at)})
        because = Because(actor=SYSTEM, content={"results": canonical_json(stored)}, subject=SITE, reason=seen.error_code)
        await self.audit(tx, f"instrument_run.{'failed' if failed else 'finished'}", because, run_row.code, version)
        return (await store.instruments_with_runs(tx, ids=[row.id]))[0]

    async def advance(self, tx: Transaction) -> int:
        """Write down every run that is over; how many. An instrument somebody else is changing is left for the next time."""
        at, count = self._clock.now(), 0
        for run_row in await store.active_runs(tx):
            if await self._is_over(run_row, at) and await store.lock_instrument(tx, run_row.instrument_id, wait=False):
                pair = (await store.instruments_with_runs(tx, ids=[run_row.instrument_id]))[0]
                with suppress(InstrumentUnreachable):  # raised before anything is written; the others must not wait for it
                    count += await self.settled(tx, pair, at) is not pair
        return count

    async def _is_over(self, run_row: RunRow, at: datetime) -> bool:
        try:
            return (await self._views.observe(run_row, at)).state not in ACTIVE
        except InstrumentUnreachable:
            return False

    async def _fresh(self, tx: Transaction, code: str, at: datetime) -> InstrumentRun:
        return await self._views.run(await self.find_run(tx, code), at)

    async def audit(self, tx: Transaction, action: str, because: Because, code: str, version: int, *, kind: str = "instrument_run") -> None:
        """Append the event of a change. A failed run is an outcome of its own."""
        if because.content and because.subject is not None:
            self._vault.ensure_subject(because.subject)
        event = AuditEvent(
            action=action,
            actor=because.actor.id,
            via=because.actor.via,
            ip=because.actor.ip,
            record=RecordRef(type=kind, id=code, version=version),
            outcome="failed" if action == "instrument_run.failed" else "ok",
            run_id=because.run_id,
            tool=because.tool,
            reason=because.reason,
            content=dict(because.content),
            subject=because.subject if because.content else None,
        )
        await self._ledger.append(tx, event)
