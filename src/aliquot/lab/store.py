"""All SQL of the laboratory."""

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, Row, Select, and_, bindparam, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from aliquot.lab.contracts import Parameter, Protocol, ProtocolText, Reading, Setting, Step, Within
from aliquot.lab.drivers import Handle
from aliquot.lab.tables import instrument, instrument_run, instrument_run_number, protocol, protocol_version
from aliquot.platform.db import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentRow:
    id: uuid.UUID
    code: str
    name: str
    kind: Any
    location: str
    driver: str
    state: str
    state_since: datetime
    free_at: datetime | None
    error_code: str | None
    error_text: bytes | None
    last_service_on: date | None
    settings: dict[str, Setting]
    retired_at: datetime | None
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    id: uuid.UUID
    code: str
    instrument_id: uuid.UUID
    instrument_code: str
    instrument_kind: str
    driver: str
    protocol_code: str
    protocol_version: int
    declared: list[dict[str, Any]]
    operator_id: uuid.UUID
    operator_name: bytes
    samples: Sequence[str]
    parameters: dict[str, float]
    state: Any
    started_at: datetime
    ended_at: datetime | None
    progress: float
    handle: Handle
    results: list[dict[str, Any]]
    stop_reason: bytes | None
    stop_key: str | None
    error_code: str | None
    version: int


_INSTRUMENT_COLUMNS = tuple(instrument.c[name] for name in InstrumentRow.__dataclass_fields__)
_JOINED = {"instrument_code", "instrument_kind", "driver", "protocol_code", "protocol_version", "declared"}
_RUN_OWN = tuple(name for name in RunRow.__dataclass_fields__ if name not in _JOINED)
_RUN_COLUMNS = (
    *(instrument_run.c[name] for name in _RUN_OWN),
    instrument.c.code.label("instrument_code"),
    instrument.c.kind.label("instrument_kind"),
    instrument.c.driver.label("driver"),
    protocol.c.code.label("protocol_code"),
    protocol_version.c.version.label("protocol_version"),
    protocol_version.c.parameters.label("declared"),
)


async def all_instruments(tx: Transaction) -> list[InstrumentRow]:
    """Every instrument, retired ones too, by code. A laboratory has tens of them, not thousands."""
    return [InstrumentRow(**row._mapping) for row in await tx.rows(select(*_INSTRUMENT_COLUMNS).order_by(instrument.c.code))]


async def instruments_with_runs(
    tx: Transaction, *, ids: Sequence[uuid.UUID] | None = None, after: str = "", limit: int = 200, retired: bool = True
) -> list[tuple[InstrumentRow, RunRow | None]]:
    """Instruments by code, each with its active run: one statement, so that both are from the same moment."""
    statement = _WITH_RUNS if ids is None else _WITH_RUNS.where(instrument.c.id.in_(ids))
    if not retired:
        statement = statement.where(instrument.c.retired_at.is_(None))
    return [_pair(row) for row in await tx.rows(statement, {"after": after, "limit": limit})]


def _pair(row: Row[Any]) -> tuple[InstrumentRow, RunRow | None]:
    values = row._mapping
    own = InstrumentRow(**{name: values[name] for name in InstrumentRow.__dataclass_fields__})
    if values["run_id"] is None:
        return own, None
    return own, RunRow(**{name: values[f"run_{name}"] for name in RunRow.__dataclass_fields__})


async def lock_instrument(tx: Transaction, instrument_id: uuid.UUID, *, wait: bool = True) -> bool:
    """Take the row lock under which an instrument changes. False when `wait` is off and somebody else holds it."""
    statement = select(instrument.c.id).where(instrument.c.id == instrument_id).with_for_update(skip_locked=not wait)
    return await tx.row(statement) is not None


async def insert_instrument(tx: Transaction, values: dict[str, Any]) -> bool:
    """False when the code is taken."""
    statement = insert(instrument).values(values).on_conflict_do_nothing(index_elements=["code"]).returning(instrument.c.id)
    return await tx.row(statement) is not None


async def update_instrument(tx: Transaction, instrument_id: uuid.UUID, values: dict[str, Any]) -> int:
    """Change it under its lock; the new version."""
    statement = (
        update(instrument)
        .where(instrument.c.id == instrument_id)
        .values(version=instrument.c.version + 1, **values)
        .returning(instrument.c.version)
    )
    return int((await tx.execute(statement)).scalar_one())


def _runs() -> Any:
    return (
        instrument_run.join(instrument, instrument.c.id == instrument_run.c.instrument_id)
        .join(protocol_version, protocol_version.c.id == instrument_run.c.protocol_version_id)
        .join(protocol, protocol.c.id == protocol_version.c.protocol_id)
    )


def _with_runs() -> Select[Any]:
    """Built once: that costs more than running it."""
    active = (
        select(*_RUN_COLUMNS)
        .select_from(_runs())
        .where(instrument_run.c.ended_at.is_(None))
        .subquery("active")
    )  # fmt: skip
    return (
        select(*_INSTRUMENT_COLUMNS, *(column.label(f"run_{column.name}") for column in active.c))
        .select_from(instrument.outerjoin(active, active.c.instrument_id == instrument.c.id))
        .where(instrument.c.code > bindparam("after"))
        .order_by(instrument.c.code)
        .limit(bindparam("limit", type_=Integer))
    )


_WITH_RUNS = _with_runs()


def _select_runs(*conditions: ColumnElement[bool]) -> Select[Any]:
    return select(*_RUN_COLUMNS).select_from(_runs()).where(*conditions)


async def _one_run(tx: Transaction, condition: ColumnElement[bool]) -> RunRow | None:
    row = await tx.row(_select_runs(condition))
    return None if row is None else RunRow(**row._mapping)


async def run_by_code(tx: Transaction, code: str) -> RunRow | None:
    return await _one_run(tx, instrument_run.c.code == code)


async def run_by_id(tx: Transaction, run_id: uuid.UUID) -> RunRow | None:
    return await _one_run(tx, instrument_run.c.id == run_id)


async def run_by_key(tx: Transaction, key: str) -> RunRow | None:
    return await _one_run(tx, instrument_run.c.idempotency_key == key)


async def earlier_run(tx: Transaction, row: RunRow, steps: int) -> RunRow | None:
    """The run `steps` before `row` in the order of starting."""
    before = tuple_(instrument_run.c.started_at, instrument_run.c.id) < tuple_(literal(row.started_at), literal(row.id))
    order = (instrument_run.c.started_at.desc(), instrument_run.c.id.desc())
    found = await tx.row(_select_runs(before).order_by(*order).offset(steps - 1).limit(1))
    return None if found is None else RunRow(**found._mapping)


async def newest_run_codes(tx: Transaction, limit: int) -> list[str]:
    statement = select(instrument_run.c.code).order_by(instrument_run.c.started_at.desc(), instrument_run.c.id.desc()).limit(limit)
    return [row.code for row in await tx.rows(statement)]


_ACTIVE = _select_runs(instrument_run.c.ended_at.is_(None)).order_by(instrument_run.c.started_at, instrument_run.c.id)
"""Built once: a loop asks every second."""


async def active_runs(tx: Transaction, instrument_id: uuid.UUID | None = None) -> list[RunRow]:
    """Runs that were not yet found to be over: at most one per instrument."""
    statement = _ACTIVE if instrument_id is None else _ACTIVE.where(instrument_run.c.instrument_id == instrument_id)
    return [RunRow(**row._mapping) for row in await tx.rows(statement)]


async def ended_runs(
    tx: Transaction,
    *,
    instrument_id: uuid.UUID | None,
    states: frozenset[str],
    before: tuple[datetime, uuid.UUID] | None,
    within: Within | None,
    limit: int,
) -> list[RunRow]:
    """Runs that are over, newest start first."""
    statement = _select_runs(instrument_run.c.ended_at.is_not(None), instrument_run.c.state.in_(sorted(states)))
    if instrument_id is not None:
        statement = statement.where(instrument_run.c.instrument_id == instrument_id)
    if before is not None:
        statement = statement.where(
            tuple_(instrument_run.c.started_at, instrument_run.c.id) < tuple_(literal(before[0]), literal(before[1]))
        )
    if within is not None and within.since is not None:
        statement = statement.where(instrument_run.c.ended_at >= within.since)
    if within is not None and within.until is not None:
        counted = instrument_run.c.ended_at if within.by_end else instrument_run.c.started_at
        statement = statement.where(counted < within.until)
    statement = statement.order_by(instrument_run.c.started_at.desc(), instrument_run.c.id.desc()).limit(limit)
    return [RunRow(**row._mapping) for row in await tx.rows(statement)]


async def next_run_number(tx: Transaction, year: int) -> int:
    """The next number of `year`, from 1. Starts wait here for each other until their transactions end, so numbers have no gaps."""
    statement = (
        insert(instrument_run_number)
        .values(year=year, last=1)
        .on_conflict_do_update(index_elements=["year"], set_={"last": instrument_run_number.c.last + 1})
        .returning(instrument_run_number.c.last)
    )
    return int((await tx.execute(statement)).scalar_one())


async def insert_run(tx: Transaction, values: dict[str, Any]) -> bool:
    """False when a run with this idempotency key exists."""
    statement = (
        insert(instrument_run).values(values).on_conflict_do_nothing(index_elements=["idempotency_key"]).returning(instrument_run.c.id)
    )
    return await tx.row(statement) is not None


async def update_run(tx: Transaction, run_id: uuid.UUID, values: dict[str, Any]) -> int:
    """Change it under its instrument's lock; the new version."""
    statement = (
        update(instrument_run)
        .where(instrument_run.c.id == run_id)
        .values(version=instrument_run.c.version + 1, **values)
        .returning(instrument_run.c.version)
    )
    return int((await tx.execute(statement)).scalar_one())


_PROTOCOL_COLUMNS = (
    protocol.c.code, protocol_version.c.id, protocol_version.c.version, protocol_version.c.name, protocol_version.c.summary,
    protocol_version.c.kinds, protocol_version.c.warm_up_seconds, protocol_version.c.max_samples, protocol_version.c.parameters,
    protocol_version.c.steps, protocol_version.c.published_at, protocol.c.retired_at,
)  # fmt: skip
_NEWEST = protocol.join(
    protocol_version, and_(protocol_version.c.protocol_id == protocol.c.id, protocol_version.c.version == protocol.c.version)
)


async def protocols(
    tx: Transaction, *, kind: str | None, words: Sequence[str], after: str, limit: int, retired: bool = False
) -> list[Protocol]:  # fmt: skip
    """The newest versions by code; those that hold every word in code, name or summary; without `retired` those in use."""
    statement = select(*_PROTOCOL_COLUMNS).select_from(_NEWEST).where(protocol.c.code > after).order_by(protocol.c.code).limit(limit)
    if not retired:
        statement = statement.where(protocol.c.retired_at.is_(None))
    if kind is not None:
        statement = statement.where(protocol_version.c.kinds.contains([kind]))
    for word in words:
        fields = (protocol.c.code, protocol_version.c.name, protocol_version.c.summary)
        statement = statement.where(or_(*(field.icontains(word, autoescape=True) for field in fields)))
    return [_protocol(row) for row in await tx.rows(statement)]


async def newest_protocol(tx: Transaction, code: str) -> tuple[uuid.UUID, Protocol] | None:
    """The newest version of `code` (whatever its capitals) and that version's id."""
    row = await tx.row(select(*_PROTOCOL_COLUMNS).select_from(_NEWEST).where(func.upper(protocol.c.code) == code.upper()))
    return None if row is None else (row._mapping["id"], _protocol(row))


def _protocol(row: Row[Any]) -> Protocol:
    steps = tuple(Step(**{**step, "readings": tuple(Reading(**r) for r in step["readings"])}) for step in row.steps)
    text = ProtocolText(
        name=row.name,
        summary=row.summary,
        kinds=tuple(row.kinds),
        steps=steps,
        parameters=tuple(Parameter(**parameter) for parameter in row.parameters),
        warm_up_seconds=row.warm_up_seconds,
        max_samples=row.max_samples,
    )
    return Protocol(code=row.code, version=row.version, text=text, published_at=row.published_at, retired_at=row.retired_at)


async def protocol_at(tx: Transaction, code: str, version: int) -> Protocol | None:
    """One version of `code`."""
    joined = protocol.join(protocol_version, protocol_version.c.protocol_id == protocol.c.id)
    wanted = and_(protocol.c.code == code, protocol_version.c.version == version)
    row = await tx.row(select(*_PROTOCOL_COLUMNS).select_from(joined).where(wanted))
    return None if row is None else _protocol(row)


async def set_protocol_retired(tx: Transaction, code: str, at: datetime | None) -> bool:
    """Retire (or reinstate, with None); False when it was so already."""
    same = protocol.c.retired_at.is_(None) if at is None else protocol.c.retired_at.is_not(None)
    return await tx.row(update(protocol).where(protocol.c.code == code, ~same).values(retired_at=at).returning(protocol.c.id)) is not None


async def publish_protocol(
    tx: Transaction, *, protocol_id: uuid.UUID, version_id: uuid.UUID, code: str, version: int, text: ProtocolText, at: datetime
) -> bool:
    """Add `version` of `code`. False when the newest version is not the one before."""
    if version == 1:
        first = insert(protocol).values(id=protocol_id, code=code, version=1).on_conflict_do_nothing(index_elements=["code"])
        changed = await tx.row(first.returning(protocol.c.id))
    else:
        follow = update(protocol).where(protocol.c.code == code, protocol.c.version == version - 1).values(version=version)
        changed = await tx.row(follow.returning(protocol.c.id))
    if changed is None:
        return False
    values = asdict(text) | {"kinds": list(text.kinds), "id": version_id, "protocol_id": changed.id, "version": version, "published_at": at}
    await tx.execute(insert(protocol_version).values(values))
    return True
