"""The laboratory's tools that act: starting and stopping a run, each shown to a person before it happens."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aliquot.lab.api import LIMIT_MAX
from aliquot.lab.contracts import ACTIVE, REASON_CHARS_MAX, SAMPLE_PATTERN, SAMPLES_MAX, StartPlan, StartRun
from aliquot.lab.declared import (
    CODE_PATTERN,
    RUN_PATTERN,
    VOCABULARY_RUNS,
    LabTool,
    by_name,
    caller_of,
    every,
    instrument_argument,
    names_of,
    schema,
)
from aliquot.lab.errors import AmbiguousInstrument, UnknownInstrument, UnknownInstrumentRun, UnknownProtocol, VersionChanged
from aliquot.lab.examples import START, STOP
from aliquot.lab.rendering import count, duration, quantity, started, stopped, when
from aliquot.lab.shapes import run_shape
from aliquot.platform.db import Transaction
from aliquot.policy.contracts import Effect, Preview
from aliquot.tools.contracts import Relation, ToolContext, ToolResult

_PARAMETER_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"


class StartRunTool(LabTool):
    """Start a run, once it is confirmed."""

    name = "start_run"
    description = (
        "Starts a run of a protocol on an instrument. It acts on the instrument, so a person is shown what would happen and has to "
        "confirm it. instrument and protocol are printed codes (PCR-02, PCR-STD-35); samples are sample codes (S-0001); parameters "
        "replace the protocol's defaults, by the names get_protocols shows, in its units. Never guess a protocol or sample."
    )
    effect: Effect = "instrument"
    permissions: tuple[str, ...] = ("lab.operate",)
    parameters = schema(
        ["instrument", "protocol"],
        instrument=instrument_argument("Code of the instrument, such as PCR-02."),
        protocol={
            "type": "string",
            "minLength": 2,
            "maxLength": 32,
            "pattern": CODE_PATTERN,
            "description": "Code of the protocol, such as PCR-STD-35.",
        },
        samples={
            "type": "array",
            "items": {"type": "string", "maxLength": 13, "pattern": SAMPLE_PATTERN},
            "maxItems": SAMPLES_MAX,
            "uniqueItems": True,
            "description": "Codes of the samples in the run, such as S-0001.",
        },
        parameters={
            "type": "object",
            "additionalProperties": False,
            "patternProperties": {_PARAMETER_PATTERN: {"type": "number"}},
            "maxProperties": 20,
            "description": "Values by parameter name, in the protocol's units, such as {\"cycles\": 30}.",
        },
    )  # fmt: skip
    examples = START

    async def facts(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            instrument = await self._lab.instrument(tx, str(arguments["instrument"]))
            return {"instrument": instrument.code, "instrument_state": instrument.state}
        except (UnknownInstrument, AmbiguousInstrument):
            return {"instrument_state": "unknown"}  # the preview says what is wrong

    async def preview(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> Preview:
        plan = await self._lab.preview_start(tx, _command(arguments, "preview"))
        seconds = plan.warm_up_seconds + plan.run_seconds
        summary = (
            f"Start {plan.protocol.code} version {plan.protocol.version} on {plan.instrument.code} with "
            f"{count(len(plan.samples), 'sample') if plan.samples else 'no samples'}: about {duration(seconds)} "
            f"({duration(plan.warm_up_seconds)} of it warm-up), ending about {when(plan.ends_at)}."
        )
        versions = {f"instrument:{plan.instrument.code}": plan.instrument.version, f"protocol:{plan.protocol.code}": plan.protocol.version}
        return Preview(summary=summary, changes=_start_changes(plan), warnings=plan.warnings, resource_versions=versions)

    async def rests_on(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> dict[str, int]:
        found: dict[str, int] = {}  # the preview says what there is none of
        with suppress(UnknownProtocol):
            protocol = await self._lab.protocol(tx, str(arguments["protocol"]))
            found[f"protocol:{protocol.code}"] = protocol.version
        with suppress(UnknownInstrument, AmbiguousInstrument):
            instrument = await self._lab.instrument(tx, str(arguments["instrument"]))
            found[f"instrument:{instrument.code}"] = instrument.version
        return found

    async def execute(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        run = await self._lab.start_run(tx, caller_of(context, self.name), _command(arguments, context.idempotency_key))
        approved, protocol = context.approved, f"protocol:{run.protocol}"
        if approved and (approved.get(protocol) != run.protocol_version or f"instrument:{run.instrument}" not in approved):
            raise VersionChanged(f"{run.protocol} or {run.instrument} was changed at this very moment, so nothing was started.")
        return ToolResult(data=run_shape(run), source="lab.runs")

    def render(self, result: ToolResult) -> str:
        return started(result.data)

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        return {"instrument": await self._instrument_names(tx), "protocol": await self._protocol_codes(tx)}

    async def relations(self, tx: Transaction) -> tuple[Relation, ...]:
        """Which protocols run on what. One instrument that can run a protocol is meant by it; a protocol is always chosen by a person."""
        protocols = await every(lambda after: self._lab.protocols(tx, limit=LIMIT_MAX, after=after))
        instruments = await every(lambda after: self._lab.instruments(tx, after=after))
        fits = [(p.code, i) for p in protocols for i in instruments if i.kind in p.text.kinds]
        offered = by_name(
            [(name, ()) for i in instruments for name in names_of(i)] + [(n, [code]) for code, i in fits for n in names_of(i)]
        )
        return (
            Relation(given="protocol", argument="instrument", values=by_name((code, [i.code]) for code, i in fits), settles=True),
            Relation(given="instrument", argument="protocol", values=offered, settles=False),
        )


def _command(arguments: Mapping[str, Any], key: str) -> StartRun:
    return StartRun(
        instrument=str(arguments["instrument"]),
        protocol=str(arguments["protocol"]),
        samples=tuple(arguments.get("samples", ())),
        parameters=dict(arguments.get("parameters", {})),
        idempotency_key=key,
    )


def _start_changes(plan: StartPlan) -> tuple[dict[str, Any], ...]:
    """The rows a person reads before confirming: what changes, and every parameter, the ones set first."""
    instrument, run = f"instrument:{plan.instrument.code}", "instrument_run:new"
    next_state = "warming_up" if plan.warm_up_seconds else "running"
    rows: list[dict[str, Any]] = [
        {"record": instrument, "field": "state", "before": plan.instrument.state, "after": next_state},
        {"record": run, "field": "protocol", "before": None, "after": f"{plan.protocol.code} version {plan.protocol.version}"},
        {"record": run, "field": "samples", "before": None, "after": ", ".join(plan.samples) or "none"},
    ]
    for parameter in sorted(plan.protocol.text.parameters, key=lambda known: known.name not in plan.changed):
        after = quantity(plan.parameters[parameter.name], parameter.unit)
        default = quantity(parameter.default, parameter.unit) + " (default)"
        changed = parameter.name in plan.changed
        before, after = (default, after) if changed else (None, default)
        rows.append({"record": run, "field": parameter.name, "before": before, "after": after})
    return tuple(rows)


class StopRunTool(LabTool):
    """Stop a run, once it is confirmed; somebody else's only with a signature."""

    name = "stop_run"
    description = (
        "Stops (aborts) an active instrument run for good; it cannot be continued. It acts on the instrument, so a person is shown what "
        "would happen and has to confirm it; somebody else's run needs a signature. run is the run's number (R-2026-0007), reason is "
        "why, in the person's own words. Never make up a run number or a reason."
    )
    effect: Effect = "instrument"
    permissions: tuple[str, ...] = ("lab.operate",)
    parameters = schema(
        ["run", "reason"],
        run={"type": "string", "maxLength": 16, "pattern": RUN_PATTERN, "description": "Number of the run, such as R-2026-0007."},
        reason={"type": "string", "minLength": 1, "maxLength": REASON_CHARS_MAX, "pattern": r"\S", "description": "Why it is stopped."},
    )
    examples = STOP

    async def facts(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            run = await self._lab.run(tx, str(arguments["run"]))
        except UnknownInstrumentRun:
            return {"foreign_run": True, "instrument_state": "unknown"}  # the preview says that there is none
        state = (await self._lab.instrument(tx, run.instrument)).state
        return {"foreign_run": run.operator_id != context.principal.id, "instrument": run.instrument, "instrument_state": state}

    async def preview(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> Preview:
        plan = await self._lab.preview_stop(tx, caller_of(context, self.name), str(arguments["run"]))
        run = plan.run
        summary = (
            f"Stop {run.code} ({run.protocol} on {run.instrument}, started by {run.operator}) at {run.progress * 100:.0f} %"
            f"{', ' + duration(run.remaining_seconds) + ' before its end' if run.remaining_seconds is not None else ''}."
        )
        changes = (
            {"record": f"instrument_run:{run.code}", "field": "state", "before": run.state, "after": "stopped"},
            {"record": f"instrument:{run.instrument}", "field": "state", "before": plan.instrument.state, "after": "idle"},
        )
        versions = {f"instrument_run:{run.code}": run.version, f"instrument:{run.instrument}": plan.instrument.version}
        return Preview(summary=summary, changes=changes, warnings=plan.warnings, resource_versions=versions)

    async def execute(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        caller, reason = caller_of(context, self.name), str(arguments["reason"])
        run = await self._lab.stop_run(tx, caller, str(arguments["run"]), reason, idempotency_key=context.idempotency_key)
        return ToolResult(data=run_shape(run), source="lab.runs")

    def render(self, result: ToolResult) -> str:
        return stopped(result.data)

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        """The runs that are going on first, then recent ones."""
        found, _ = await self._lab.runs(tx, limit=VOCABULARY_RUNS)
        codes = tuple(run.code for run in sorted(found, key=lambda run: run.state not in ACTIVE))
        return {"run": codes, "instrument": await self._instrument_names(tx)}

    async def relations(self, tx: Transaction) -> tuple[Relation, ...]:
        """`the run on HPLC-03` is the one that is going on there."""
        found, _ = await self._lab.instruments(tx)
        going = [(name, [i.run.code] if i.run is not None else []) for i in found for name in names_of(i)]
        return (Relation(given="instrument", argument="run", values=by_name(going), settles=True),)
