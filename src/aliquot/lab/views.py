"""Rows into what people see: the present state follows from the row, the driver and the clock."""

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import datetime
from typing import TypeVar

import structlog

from aliquot.lab.contracts import Instrument, InstrumentRun, InstrumentState, Result
from aliquot.lab.drivers import Driver, DriverError, Observation, RunSpec
from aliquot.lab.errors import InstrumentUnreachable
from aliquot.lab.store import InstrumentRow, RunRow
from aliquot.platform.vault import SITE, Erased, Vault

log = structlog.get_logger(__name__)

DRIVER_SECONDS = 10.0
_ERASED = "erased person"
_NO_ANSWER = "no_answer"

Answer = TypeVar("Answer")


class Views:
    """Builds contracts from rows. Reads only."""

    def __init__(self, vault: Vault, drivers: Mapping[str, Driver]) -> None:
        self._vault = vault
        self._drivers = drivers

    @property
    def driver_names(self) -> tuple[str, ...]:
        return tuple(sorted(self._drivers))

    def driver(self, name: str) -> Driver:
        """Raises InstrumentUnreachable for a driver that this installation does not have."""
        found = self._drivers.get(name)
        if found is None:
            raise InstrumentUnreachable("The driver of this instrument is not installed.")
        return found

    async def ask(self, answer: Awaitable[Answer]) -> Answer:
        """What a driver answers, within a time limit. Raises InstrumentUnreachable."""
        try:
            return await asyncio.wait_for(answer, DRIVER_SECONDS)
        except (DriverError, TimeoutError) as error:
            log.warning("driver_failed", error=type(error).__name__)
            raise InstrumentUnreachable from error

    async def observe(self, row: RunRow, at: datetime) -> Observation:
        """How an active run stands. Raises InstrumentUnreachable."""
        return await self.ask(self.driver(row.driver).observe(row.handle, at=at))

    async def run(self, row: RunRow, at: datetime) -> InstrumentRun:
        """`row` as it stands at `at`. When the driver does not answer: as last stored."""
        if row.ended_at is not None:
            return self._run(row, state=row.state, progress=row.progress, ends_at=row.ended_at, remaining=0.0)
        try:
            seen = await self.observe(row, at)
        except InstrumentUnreachable:
            return self._run(row, state=row.state, progress=row.progress, ends_at=None, remaining=None)
        return self._seen(row, seen)

    def _seen(self, row: RunRow, seen: Observation) -> InstrumentRun:
        return self._run(row, state=seen.state, progress=seen.progress, ends_at=seen.ends_at, remaining=seen.remaining_seconds)

    def _run(self, row: RunRow, *, state: str, progress: float, ends_at: datetime | None, remaining: float | None) -> InstrumentRun:
        return InstrumentRun(
            id=row.id,
            code=row.code,
            instrument=row.instrument_code,
            protocol=row.protocol_code,
            protocol_version=row.protocol_version,
            operator_id=row.operator_id,
            operator=self._unsealed(row.operator_name, f"instrument_run.operator_name:{row.id}") or _ERASED,
            samples=tuple(row.samples),
            parameters=row.parameters,
            units={declared["name"]: declared["unit"] for declared in row.declared},
            state=state,  # type: ignore[arg-type]  # one of RUN_STATES by the table's check and the driver's contract
            progress=progress,
            started_at=row.started_at,
            ends_at=ends_at,
            remaining_seconds=remaining,
            results=tuple(Result(**result) for result in row.results),
            stop_reason=self._unsealed(row.stop_reason, f"instrument_run.stop_reason:{row.id}"),
            error_code=row.error_code,
            version=row.version,
        )

    def _unsealed(self, sealed: bytes | None, aad: str) -> str | None:
        """The text, or None when there is none or its author was erased."""
        if sealed is None:
            return None
        try:
            return self._vault.open(sealed, aad=aad).decode()
        except Erased:
            return None

    async def instrument(self, row: InstrumentRow, run_row: RunRow | None, at: datetime) -> Instrument:
        """`row` with its active run, as they stand at `at`."""
        driver = self._drivers.get(row.driver)
        if row.state == "busy" and run_row is not None:
            return await self._busy(row, run_row, at)
        state, since = row.state, row.state_since
        if state == "done" and row.free_at is not None and at >= row.free_at:
            state, since = "idle", row.free_at
        if row.retired_at is not None:
            text = f"It was retired on {row.retired_at:%Y-%m-%d}."
            return self._instrument(row, state=state, since=since, error_code="retired", error=text)
        if driver is None and state in {"idle", "done"}:
            return self._instrument(row, state="offline", since=since, error_code=_NO_ANSWER, error="Its driver is not installed.")
        return self._instrument(row, state=state, since=since, error_code=row.error_code, error=self.error_text(row))

    async def _busy(self, row: InstrumentRow, run_row: RunRow, at: datetime) -> Instrument:
        try:
            seen = await self.observe(run_row, at)
        except InstrumentUnreachable:
            run = self._run(run_row, state=run_row.state, progress=run_row.progress, ends_at=None, remaining=None)
            text = "It does not answer; a run was going on when it was last heard of."
            return self._instrument(row, state="offline", since=row.state_since, error_code=_NO_ANSWER, error=text, run=run)
        if seen.state == "failed":
            return self._instrument(row, state="error", since=seen.since, error_code=seen.error_code, error="The run failed.")
        if seen.state in {"done", "stopped"}:
            cooled = seen.free_at is not None and at >= seen.free_at
            return self._instrument(row, state="idle" if cooled else "done", since=(seen.free_at if cooled else None) or seen.since)
        state = "warming_up" if seen.state == "queued" else seen.state
        return self._instrument(row, state=state, since=seen.since, run=self._seen(run_row, seen))

    def _instrument(
        self,
        row: InstrumentRow,
        *,
        state: str,
        since: datetime,
        error_code: str | None = None,
        error: str | None = None,
        run: InstrumentRun | None = None,
    ) -> Instrument:
        known: InstrumentState = state  # type: ignore[assignment]  # stored states but `busy`, or the driver's contract
        driver = self._drivers.get(row.driver)
        return Instrument(
            code=row.code,
            name=row.name,
            kind=row.kind,
            location=row.location,
            state=known,
            state_since=since,
            error_code=error_code,
            error=error,
            last_service_on=row.last_service_on.isoformat() if row.last_service_on else None,
            simulated=driver is not None and driver.simulated,
            version=row.version,
            run=run,
            driver=row.driver,
            settings=row.settings,
            retired_at=row.retired_at,
        )

    def error_text(self, row: InstrumentRow) -> str | None:
        return self._unsealed(row.error_text, f"instrument.error_text:{row.id}")

    def seal_error(self, row: InstrumentRow, text: str) -> bytes:
        return self._vault.seal(SITE, text.encode(), aad=f"instrument.error_text:{row.id}")


def spec_of(row: RunRow) -> RunSpec:
    """What the driver was told about a stored run; the times are in its handle."""
    return RunSpec(
        run_id=str(row.id),
        instrument=row.instrument_code,
        kind=row.instrument_kind,
        protocol=row.protocol_code,
        protocol_version=row.protocol_version,
        warm_up_seconds=0,
        run_seconds=0,
        samples=tuple(row.samples),
        parameters=row.parameters,
    )
