"""What the assistant can do in the laboratory: five tools, two of which act."""

from collections.abc import Iterable, Mapping
from typing import Any

from aliquot.kernel.clock import rfc3339
from aliquot.lab.api import STATE_WORDS, LabApi
from aliquot.lab.contracts import ACTIVE, REASON_CHARS_MAX, SAMPLE_PATTERN, SAMPLES_MAX, Caller, Instrument, StartPlan, StartRun
from aliquot.lab.errors import AmbiguousInstrument, UnknownInstrument, UnknownInstrumentRun
from aliquot.lab.examples import HISTORY, PROTOCOLS, START, STATUS, STOP
from aliquot.lab.naming import KIND_NAMES
from aliquot.lab.planning import period
from aliquot.lab.rendering import (
    count,
    duration,
    instrument_details,
    instrument_sentence,
    instruments_overview,
    protocols_overview,
    quantity,
    runs_overview,
    started,
    stopped,
    when,
)
from aliquot.lab.shapes import history_shape, instrument_shape, protocol_shape, run_shape
from aliquot.platform.db import Transaction
from aliquot.policy.contracts import Effect, Preview
from aliquot.tools.contracts import Example, Relation, Tool, ToolContext, ToolResult

ALL = "all"
_RUN_PATTERN = r"^[Rr]-[0-9]{4}-[0-9]{4,8}$"
_CODE_PATTERN = r"^[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*$"
_TEXT_PATTERN = r"^[^\u0000-\u001f\u007f]+$"
_PARAMETER_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"
_HISTORY_MAX = 50
_HISTORY_DEFAULT = 20
_STEPS_SHOWN_FOR = 3
_VOCABULARY_RUNS = 50


def lab_tools(lab: LabApi) -> tuple[Tool, ...]:
    """All tools of the laboratory."""
    return (GetInstrumentStatus(lab), GetRunHistory(lab), GetProtocols(lab), StartRunTool(lab), StopRunTool(lab))


def _instrument(description: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": 80, "pattern": _TEXT_PATTERN, "description": description}


def _moment(description: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 10, "maxLength": 35, "format": "date-time", "description": description}


def _schema(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


class _LabTool:
    """What the laboratory tools have in common: they read, unless they say otherwise."""

    effect: Effect = "read"
    permissions: tuple[str, ...] = ("lab.read",)
    gmp_critical: bool = False
    examples: tuple[Example, ...] = ()

    def __init__(self, lab: LabApi) -> None:
        self._lab = lab

    async def facts(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
        return {}

    async def preview(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> Preview:
        return Preview(summary="Reads only; nothing changes.")

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        return {"instrument": await self._instrument_names(tx)}

    async def _instrument_names(self, tx: Transaction) -> tuple[str, ...]:
        """Codes, names, and what people call each kind that is there."""
        found, _ = await self._lab.instruments(tx)
        kinds = sorted({instrument.kind for instrument in found})
        names = [*(i.code for i in found), *(i.name for i in found), *(name for kind in kinds for name in KIND_NAMES.get(kind, ()))]
        return tuple(dict.fromkeys(names))

    async def _protocol_codes(self, tx: Transaction) -> tuple[str, ...]:
        found, _ = await self._lab.protocols(tx, limit=200)
        return tuple(protocol.code for protocol in found)


def _names(instrument: Instrument) -> tuple[str, ...]:
    """What people call it: printed code, name, and the names of its kind."""
    return (instrument.code, instrument.name, *KIND_NAMES.get(instrument.kind, ()))


def _by_name(pairs: Iterable[tuple[str, Iterable[str]]]) -> dict[str, tuple[str, ...]]:
    """Pairs of a name and what goes with it, joined by name."""
    joined: dict[str, dict[str, None]] = {}
    for name, values in pairs:
        joined.setdefault(name, {}).update(dict.fromkeys(values))
    return {name: tuple(values) for name, values in joined.items()}


def _caller(context: ToolContext, tool: str) -> Caller:
    return Caller(principal=context.principal, run_id=context.run_id, tool=tool)


class GetInstrumentStatus(_LabTool):
    """How one instrument, or all of them, stand now."""

    name = "get_instrument_status"
    description = (
        "Shows what a laboratory instrument is doing now: idle, warming up, running (with the run, its progress and when it ends), "
        "paused, done, in error (with the cause) or offline; also its location and last service. Use it for questions about whether "
        "an instrument or machine is free, busy, ready, available, broken or finished. "
        "instrument is a printed code (PCR-02), a name, a kind that is unique (thermocycler), or 'all' for every instrument."
    )
    parameters = _schema(["instrument"], instrument=_instrument("Code, name or unique kind of the instrument, or 'all' for every one."))
    examples = STATUS

    async def execute(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        wanted = str(arguments["instrument"])
        if wanted.strip().casefold() == ALL:
            found, more = await self._lab.instruments(tx, limit=100)
        else:
            found, more = [await self._lab.instrument(tx, wanted)], None
        data = {"instruments": [instrument_shape(instrument) for instrument in found], "all": wanted.strip().casefold() == ALL}
        return ToolResult(data=data | {"more": more is not None}, source="lab.instruments")

    def render(self, result: ToolResult) -> str:
        items = result.data["instruments"]
        if result.data["all"] or len(items) != 1:
            return instruments_overview(items)
        return f"{instrument_sentence(items[0])}\n\n{instrument_details(items[0])}"

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        return {"instrument": (*await self._instrument_names(tx), ALL)}


class GetRunHistory(_LabTool):
    """Which runs there were."""

    name = "get_run_history"
    description = (
        "Lists the runs of the laboratory's instruments, newest first: number, protocol, operator, state, start, duration, samples and "
        "measured results. Use it for questions about past, earlier, recent, failed, completed or stopped runs, who ran something, and "
        "results. instrument narrows it to one instrument; state to one state; since and until to a period (of runs that ended in it "
        "for done, failed and stopped ones, else of those that were going on); limit is how many (20 unless given)."
    )
    parameters = _schema(
        [],
        instrument=_instrument("Code, name or unique kind of the instrument. Leave it out for all instruments."),
        state={"type": "string", "enum": list(STATE_WORDS), "description": "Only runs in this state; 'active' are those not yet over."},
        since=_moment("From this time on: RFC 3339, or a date (from its beginning, in the site's time zone)."),
        until=_moment("Before this time: RFC 3339, or a date (until its end, in the site's time zone)."),
        limit={"type": "integer", "minimum": 1, "maximum": _HISTORY_MAX, "description": "How many runs at most."},
    )
    examples = HISTORY

    async def execute(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        code = None
        if (wanted := arguments.get("instrument")) is not None and str(wanted).strip().casefold() != ALL:
            code = (await self._lab.instrument(tx, str(wanted))).code
        limit = int(arguments.get("limit", _HISTORY_DEFAULT))
        since, until = period(arguments.get("since"), arguments.get("until"), self._lab.zone)
        found, more = await self._lab.runs(tx, instrument=code, state=arguments.get("state"), since=since, until=until, limit=limit)
        runs = [history_shape(run) for run in found]
        data = {"instrument": code, "state": arguments.get("state"), "runs": runs, "more": more is not None}
        data |= {"since": since and rfc3339(since), "until": until and rfc3339(until)}
        return ToolResult(data=data, source="lab.runs")

    def render(self, result: ToolResult) -> str:
        return runs_overview(result.data)

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        return {"instrument": await self._instrument_names(tx), "state": tuple(STATE_WORDS)}


class GetProtocols(_LabTool):
    """Which protocols there are."""

    name = "get_protocols"
    description = (
        "Lists the laboratory's protocols (methods, procedures) in their newest versions: what they run on, how long they take, their "
        "steps with temperatures and times, and the parameters that can be set. Use it for what can be run on an instrument and for "
        "the details of one protocol. instrument keeps those it can run; query is words of the protocol's code, name or summary; "
        "sample_count says for how many samples the times are wanted."
    )
    parameters = _schema(
        [],
        instrument=_instrument("Code, name or unique kind of the instrument that should run the protocol."),
        query={"type": "string", "minLength": 1, "maxLength": 200, "pattern": _TEXT_PATTERN, "description": "A protocol code or words."},
        sample_count={
            "type": "integer",
            "minimum": 1,
            "maximum": SAMPLES_MAX,
            "description": "For how many samples the times are given (1).",
        },
    )  # fmt: skip
    examples = PROTOCOLS

    async def execute(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        code = None
        if (wanted := arguments.get("instrument")) is not None and str(wanted).strip().casefold() != ALL:
            code = (await self._lab.instrument(tx, str(wanted))).code
        found, more = await self._lab.protocols(tx, instrument=code, query=arguments.get("query"), limit=50)
        steps = len(found) <= _STEPS_SHOWN_FOR
        samples = int(arguments.get("sample_count", 1))
        shapes = [protocol_shape(protocol, steps=steps, samples=samples) for protocol in found]
        data = {"instrument": code, "query": arguments.get("query"), "protocols": shapes, "more": more is not None}
        return ToolResult(data=data, source="lab.protocols")

    def render(self, result: ToolResult) -> str:
        return protocols_overview(result.data)

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        found, _ = await self._lab.protocols(tx, limit=200)
        words = (*(protocol.code for protocol in found), *(protocol.text.name for protocol in found))
        return {"instrument": await self._instrument_names(tx), "query": words}


class StartRunTool(_LabTool):
    """Start a run, once it is confirmed."""

    name = "start_run"
    description = (
        "Starts a run of a protocol on an instrument. It acts on the instrument, so a person is shown what would happen and has to "
        "confirm it. instrument and protocol are printed codes (PCR-02, PCR-STD-35); samples are sample codes (S-0001); parameters "
        "replace the protocol's defaults, by the names get_protocols shows, in its units. Never guess a protocol or sample."
    )
    effect: Effect = "instrument"
    permissions: tuple[str, ...] = ("lab.operate",)
    parameters = _schema(
        ["instrument", "protocol"],
        instrument=_instrument("Code of the instrument, such as PCR-02."),
        protocol={
            "type": "string",
            "minLength": 2,
            "maxLength": 32,
            "pattern": _CODE_PATTERN,
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

    async def execute(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        run = await self._lab.start_run(tx, _caller(context, self.name), _command(arguments, context.idempotency_key))
        return ToolResult(data=run_shape(run), source="lab.runs")

    def render(self, result: ToolResult) -> str:
        return started(result.data)

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        return {"instrument": await self._instrument_names(tx), "protocol": await self._protocol_codes(tx)}

    async def relations(self, tx: Transaction) -> tuple[Relation, ...]:
        """Which protocols run on what. One instrument that can run a protocol is meant by it; a protocol is always chosen by a person."""
        protocols, _ = await self._lab.protocols(tx, limit=200)
        instruments, _ = await self._lab.instruments(tx)
        fits = [(p.code, i) for p in protocols for i in instruments if i.kind in p.text.kinds]
        offered = _by_name([(name, ()) for i in instruments for name in _names(i)] + [(n, [code]) for code, i in fits for n in _names(i)])
        return (
            Relation(given="protocol", argument="instrument", values=_by_name((code, [i.code]) for code, i in fits), settles=True),
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


class StopRunTool(_LabTool):
    """Stop a run, once it is confirmed; somebody else's only with a signature."""

    name = "stop_run"
    description = (
        "Stops (aborts) an active instrument run for good; it cannot be continued. It acts on the instrument, so a person is shown what "
        "would happen and has to confirm it; somebody else's run needs a signature. run is the run's number (R-2026-0007), reason is "
        "why, in the person's own words. Never make up a run number or a reason."
    )
    effect: Effect = "instrument"
    permissions: tuple[str, ...] = ("lab.operate",)
    parameters = _schema(
        ["run", "reason"],
        run={"type": "string", "maxLength": 16, "pattern": _RUN_PATTERN, "description": "Number of the run, such as R-2026-0007."},
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
        plan = await self._lab.preview_stop(tx, _caller(context, self.name), str(arguments["run"]))
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
        caller, reason = _caller(context, self.name), str(arguments["reason"])
        run = await self._lab.stop_run(tx, caller, str(arguments["run"]), reason, idempotency_key=context.idempotency_key)
        return ToolResult(data=run_shape(run), source="lab.runs")

    def render(self, result: ToolResult) -> str:
        return stopped(result.data)

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        """The runs that are going on first, then recent ones."""
        found, _ = await self._lab.runs(tx, limit=_VOCABULARY_RUNS)
        codes = tuple(run.code for run in sorted(found, key=lambda run: run.state not in ACTIVE))
        return {"run": codes, "instrument": await self._instrument_names(tx)}

    async def relations(self, tx: Transaction) -> tuple[Relation, ...]:
        """`the run on HPLC-03` is the one that is going on there."""
        found, _ = await self._lab.instruments(tx)
        going = [(name, [i.run.code] if i.run is not None else []) for i in found for name in _names(i)]
        return (Relation(given="instrument", argument="run", values=_by_name(going), settles=True),)
