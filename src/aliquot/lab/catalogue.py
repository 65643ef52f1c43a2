"""What the laboratory has: instruments, protocol versions, and runs made before Aliquot was there."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta

from aliquot.identity.contracts import Actor
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import InvalidInput
from aliquot.lab import planning, store
from aliquot.lab.contracts import (
    KINDS,
    Instrument,
    InstrumentChange,
    InstrumentRun,
    NewInstrument,
    PastRun,
    Protocol,
    ProtocolText,
    Setting,
)
from aliquot.lab.drivers import RunSpec
from aliquot.lab.errors import (
    InstrumentBusy,
    InstrumentExists,
    InstrumentUnreachable,
    ProtocolExists,
    Retired,
    UnknownInstrument,
    VersionChanged,
)
from aliquot.lab.rules import checked_reason, newest_protocol
from aliquot.lab.service import Because, LabService, Pair
from aliquot.lab.views import Views
from aliquot.platform.db import Transaction
from aliquot.platform.vault import SITE, Vault

_CODE = re.compile(r"[A-Z][A-Z0-9]*(-[A-Z0-9]+)*", re.ASCII)
_CODE_CHARS_MAX = 32
_NAME_CHARS_MAX = 120


class Catalogue:
    """Adds to the catalogue and changes it, each change audited. Nothing is deleted: runs refer to it."""

    def __init__(self, service: LabService, views: Views, vault: Vault, clock: Clock) -> None:
        self._service = service
        self._views = views
        self._vault = vault
        self._clock = clock

    async def add_instrument(self, tx: Transaction, actor: Actor, new: NewInstrument) -> Instrument:
        at = self._clock.now()
        if new.kind not in KINDS:
            raise InvalidInput(f"A kind of instrument is one of: {', '.join(KINDS)}.")
        values = asdict(new) | {
            "id": new_id(), "code": _code(new.code), "name": _name(new.name), "location": _name(new.location), "state": "idle",
            "state_since": at, "last_service_on": self._day(new.last_service_on), "version": 1,
            "settings": self._settings(new.driver, new.settings),
        }  # fmt: skip
        if not await store.insert_instrument(tx, values):
            raise InstrumentExists(f"There is already an instrument {values['code']}.")
        await self._noted(tx, "instrument.added", actor, values["code"], 1, new)
        return (await self._instruments(tx, [values["id"]]))[0]

    async def _locked(self, tx: Transaction, code: str) -> Pair:
        """Under its lock. What changes is named by its code, never by a kind that happens to fit one. Raises UnknownInstrument."""
        wanted = code.strip().upper()
        if all(row.code != wanted for row in await store.all_instruments(tx)):
            raise UnknownInstrument
        return await self._service.locked(tx, wanted)

    def _settings(self, driver: str, settings: Mapping[str, Setting]) -> dict[str, Setting]:
        """`settings` as the driver takes them. Raises InvalidInput, also for a driver that is not installed."""
        try:
            return self._views.driver(driver).checked(settings)
        except InstrumentUnreachable as error:
            raise InvalidInput(f"There is no such driver. Known are: {', '.join(self._views.driver_names)}.") from error
        except ValueError as error:
            raise InvalidInput(f"These settings cannot be: {error}.") from error

    def _day(self, text: str | None) -> date | None:
        """A day on which something was done: today somewhere on earth at the latest. Raises InvalidInput."""
        day = _day(text)
        if day is not None and day > (self._clock.now() + timedelta(hours=14)).date():
            raise InvalidInput("last_service_on: must not be in the future.")
        return day

    async def _instruments(self, tx: Transaction, ids: Sequence[uuid.UUID]) -> list[Instrument]:
        at = self._clock.now()
        return [await self._views.instrument(row, run, at) for row, run in await store.instruments_with_runs(tx, ids=ids)]

    async def _noted(self, tx: Transaction, action: str, actor: Actor, code: str, version: int, content: object = None) -> None:
        """The audit event of a change, bound to what was written."""
        kind = action.partition(".")[0]
        written = {} if content is None else {kind: canonical_json(asdict(content))}  # type: ignore[call-overload]  # frozen data of ours
        await self._service.audit(tx, action, Because(actor=actor, content=written, subject=SITE), code, version, kind=kind)

    async def change_instrument(
        self, tx: Transaction, actor: Actor, code: str, change: InstrumentChange, *, version: int | None
    ) -> Instrument:  # fmt: skip
        row, run = await self._locked(tx, code)
        if version is not None and version != row.version:
            raise VersionChanged(f"{row.code} was changed meanwhile: it has version {row.version}.")
        wanted = {name: value for name, value in asdict(change).items() if value is not None}
        driver, settings = change.driver or row.driver, change.settings if change.settings is not None else row.settings
        values = wanted | {"settings": self._settings(driver, settings)}
        for name in {"name", "location"} & wanted.keys():
            values[name] = _name(wanted[name])
        if change.last_service_on is not None:
            values["last_service_on"] = self._day(change.last_service_on)
        if run is not None and any(values.get(name, getattr(row, name)) != getattr(row, name) for name in ("driver", "settings")):
            raise InstrumentBusy(f"{row.code} has an active run: its driver and settings cannot be changed now.")
        if any(value != getattr(row, name) for name, value in values.items()):
            after = await store.update_instrument(tx, row.id, values)
            await self._noted(tx, "instrument.changed", actor, row.code, after, change)
        return (await self._instruments(tx, [row.id]))[0]

    async def retire_instrument(self, tx: Transaction, actor: Actor, code: str, *, retired: bool) -> Instrument:
        """Retire, or (not `retired`) take into use again, idle. Nothing happens when it is so already."""
        at = self._clock.now()
        row, run = await self._service.settled(tx, await self._locked(tx, code), at)
        if run is not None:
            raise InstrumentBusy(f"{row.code} has an active run and cannot be retired now.")
        if (row.retired_at is not None) != retired:
            values = {"state": "offline" if retired else "idle", "state_since": at, "free_at": None, "error_code": None, "error_text": None}
            version = await store.update_instrument(tx, row.id, values | {"retired_at": at if retired else None})
            await self._noted(tx, f"instrument.{'retired' if retired else 'reinstated'}", actor, row.code, version)
        return (await self._instruments(tx, [row.id]))[0]

    async def publish_protocol(
        self, tx: Transaction, actor: Actor, code: str, text: ProtocolText, *, version: int | None
    ) -> Protocol:  # fmt: skip
        at, code = self._clock.now(), _code(code)
        try:
            planning.checked_text(text)
        except ValueError as error:
            raise InvalidInput(f"This protocol cannot be published: {error}.") from error
        newest = await store.newest_protocol(tx, code)
        if newest is not None and newest[1].retired_at is not None:
            raise Retired(f"{code} is retired. Take it into use again before it gets a new version.")
        if version is None:
            version = 1 if newest is None else newest[1].version + 1
        if version < 1 or any(kind not in KINDS for kind in text.kinds):
            raise InvalidInput("This protocol cannot be published: its version or a kind of instrument is not valid.")
        if not await store.publish_protocol(tx, protocol_id=new_id(), version_id=new_id(), code=code, version=version, text=text, at=at):
            raise ProtocolExists(f"{code} cannot get version {version}: that is not the one after the newest.")
        await self._noted(tx, "protocol.published", actor, code, version, text)
        return (await newest_protocol(tx, code))[1]

    async def retire_protocol(self, tx: Transaction, actor: Actor, code: str, *, retired: bool) -> Protocol:
        """All versions of it. Runs that are going on are not touched."""
        protocol = (await newest_protocol(tx, code))[1]
        if await store.set_protocol_retired(tx, protocol.code, self._clock.now() if retired else None):
            await self._noted(tx, f"protocol.{'retired' if retired else 'reinstated'}", actor, protocol.code, protocol.version)
        return (await newest_protocol(tx, code))[1]

    async def import_run(self, tx: Transaction, actor: Actor, past: PastRun) -> InstrumentRun:
        """The row as the run would have left it. An unfinished one is put under the driver as if started then."""
        at = self._clock.now()
        row, active = await self._service.find(tx, past.instrument)
        await store.lock_instrument(tx, row.id)
        version_id, protocol = await newest_protocol(tx, past.protocol)
        if past.started_at > at or (past.ended_at is not None and not past.started_at <= past.ended_at <= at):
            raise InvalidInput("A past run has started, and ended after its start.")
        spec = _spec(row.code, row.kind, protocol, past)
        code = await self._service.next_code(tx, past.started_at)
        operator = (past.operator_id, past.operator)
        values = self._service.new_run(
            spec, code=code, instrument_id=row.id, version_id=version_id, operator=operator, at=past.started_at
        ) | {"idempotency_key": f"import:{spec.run_id}", "handle": {}}  # fmt: skip
        driver = self._views.driver(row.driver)
        if past.ended_at is None:
            if active is not None or row.state not in {"idle", "done"}:
                raise InstrumentBusy(f"{row.code} is not free.")
            values["handle"] = await self._views.ask(driver.start(spec, idempotency_key=values["idempotency_key"], at=past.started_at))
            await store.update_instrument(tx, row.id, {"state": "busy", "state_since": past.started_at, "free_at": None})
        else:
            values |= await self._ending(past, spec, row.driver)
        await store.insert_run(tx, values)
        content = {"results": canonical_json(values["results"]), "samples": canonical_json(values["samples"])}
        because = Because(actor=actor, content=content, subject=past.operator_id)
        await self._service.audit(tx, "instrument_run.imported", because, code, 1)
        return await self._views.run(await self._service.find_run(tx, code), at)

    async def _ending(self, past: PastRun, spec: RunSpec, driver: str) -> dict[str, object]:
        results = past.results
        if results is None:
            results = await self._views.ask(self._views.driver(driver).results(spec, {})) if past.state == "done" else ()
        sealed = None
        if past.stop_reason is not None:
            aad = f"instrument_run.stop_reason:{spec.run_id}"
            sealed = self._vault.seal(past.operator_id, checked_reason(past.stop_reason).encode(), aad=aad)
        planned = spec.warm_up_seconds + spec.run_seconds
        lasted = ((past.ended_at or past.started_at) - past.started_at).total_seconds()
        return {
            "state": past.state,
            "ended_at": past.ended_at,
            "progress": 1.0 if past.state == "done" else min(0.99, lasted / planned if planned else 0.0),
            "results": [asdict(result) for result in results],
            "error_code": past.error_code,
            "stop_reason": sealed,
        }


def _spec(instrument: str, kind: str, protocol: Protocol, past: PastRun) -> RunSpec:
    samples = planning.checked_samples(past.samples, protocol.text)
    parameters = planning.checked_parameters(past.parameters, protocol.text)
    return RunSpec(
        run_id=str(new_id()),
        instrument=instrument,
        kind=kind,
        protocol=protocol.code,
        protocol_version=protocol.version,
        warm_up_seconds=protocol.text.warm_up_seconds,
        run_seconds=planning.run_seconds(protocol.text, parameters, len(samples)),
        samples=samples,
        parameters=parameters,
    )


def _code(code: str) -> str:
    if len(code) > _CODE_CHARS_MAX or not _CODE.fullmatch(code):
        raise InvalidInput("A code is capitals, digits and hyphens, at most 32 characters, such as PCR-02.")
    return code


def _name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > _NAME_CHARS_MAX or not name.isprintable():
        raise InvalidInput(f"A name or place has 1 to {_NAME_CHARS_MAX} printable characters.")
    return name


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else datetime.fromisoformat(text).date()
    except ValueError as error:
        raise InvalidInput("A day is written 2026-11-21.") from error
