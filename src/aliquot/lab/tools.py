"""What the assistant can do in the laboratory: four tools that read, and two that act (`acting`)."""

from typing import Any

from aliquot.kernel.clock import rfc3339
from aliquot.lab import answering
from aliquot.lab.acting import StartRunTool, StopRunTool
from aliquot.lab.api import LIMIT_MAX, STATE_WORDS, LabApi
from aliquot.lab.contracts import SAMPLES_MAX
from aliquot.lab.declared import ALL, CODE_PATTERN, RUN_PATTERN, TEXT_PATTERN, VOCABULARY_RUNS, LabTool, every, instrument_argument, schema
from aliquot.lab.examples import HISTORY, PROTOCOLS, RUN, STATUS
from aliquot.lab.planning import period
from aliquot.lab.rendering import (
    instrument_details,
    instrument_sentence,
    instruments_overview,
    protocols_overview,
    run_details,
    runs_overview,
    start_sentence,
)
from aliquot.lab.shapes import history_shape, instrument_shape, protocol_shape, whole_run_shape
from aliquot.platform.db import Transaction
from aliquot.tools.contracts import Tool, ToolContext, ToolResult

_HISTORY_MAX = 50
_HISTORY_DEFAULT = 20
_STEPS_SHOWN_FOR = 3


def lab_tools(lab: LabApi) -> tuple[Tool, ...]:
    """All tools of the laboratory."""
    return (GetInstrumentStatus(lab), GetRunHistory(lab), GetRun(lab), GetProtocols(lab), StartRunTool(lab), StopRunTool(lab))


def _moment(description: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 10, "maxLength": 35, "format": "date-time", "description": description}


class GetInstrumentStatus(LabTool):
    """How one instrument, or all of them, stand now."""

    name = "get_instrument_status"
    description = (
        "Shows what a laboratory instrument is doing now: idle, warming up, running (with the run, its progress and when it ends), "
        "paused, done, in error (with the cause) or offline; also its location and last service. Use it for questions about whether "
        "an instrument or machine is free, busy, ready, available, broken or finished, and whether a protocol could be started on it now. "
        "instrument is a printed code (PCR-02), a name, a kind that is unique (thermocycler), or 'all' for every instrument."
    )
    parameters = schema(
        ["instrument"],
        instrument=instrument_argument("Code, name or unique kind of the instrument, or 'all' for every one."),
        protocol={
            "type": "string",
            "minLength": 2,
            "maxLength": 32,
            "pattern": CODE_PATTERN,
            "description": "Whether it fits this protocol.",
        },
    )
    examples = STATUS

    async def execute(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        wanted = str(arguments["instrument"])
        if wanted.strip().casefold() == ALL:
            found, more = await self._lab.instruments(tx, limit=100)
        else:
            found, more = [await self._lab.instrument(tx, wanted)], None
        may = all(context.principal.may(permission) for permission in StartRunTool.permissions)
        data: dict[str, Any] = {
            "instruments": [instrument_shape(instrument) for instrument in found], "all": wanted.strip().casefold() == ALL,
            "may_start": may,
        }  # fmt: skip
        if len(found) == 1 and (code := arguments.get("protocol")) is not None:
            protocol = await self._lab.protocol(tx, str(code))
            fits = found[0].kind in protocol.text.kinds
            start = {"protocol": protocol.code, "kinds": list(protocol.text.kinds), "fits": fits, "role_allows": may}
            data["start"] = start | {"retired": protocol.retired_at is not None}
        return ToolResult(data=data | {"more": more is not None}, source="lab.instruments")

    def render(self, result: ToolResult) -> str:
        items = result.data["instruments"]
        if result.data["all"] or len(items) != 1:
            return instruments_overview(items)
        item, start = items[0], result.data.get("start")
        fit = f" {start_sentence(start, item['code'], item['kind'])}" if start else ""
        return f"{instrument_sentence(item)}{fit}\n\n{instrument_details(item)}"

    def settle(self, data: dict[str, Any], question: str) -> str | None:
        return answering.about_instruments(data, question)

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        return {"instrument": (*await self._instrument_names(tx), ALL), "protocol": await self._protocol_codes(tx)}


class GetRunHistory(LabTool):
    """Which runs there were."""

    name = "get_run_history"
    description = (
        "Lists the runs of the laboratory's instruments, newest first: number, protocol, operator, state, start, duration, samples and "
        "measured results. Use it for questions about past, earlier, recent, failed, completed or stopped runs, who ran something, and "
        "results. For one run by its number use get_run. instrument narrows it to one instrument; state to one state; "
        "since and until to a period (of runs that ended in it for done, failed and stopped ones, else of those that were going on); "
        "limit is how many (20 unless given)."
    )
    parameters = schema(
        [],
        instrument=instrument_argument("Code, name or unique kind of the instrument. Leave it out for all instruments."),
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
        if data["state"] == "running" and since is None and until is None:
            others, _ = await self._lab.runs(tx, instrument=code, state="active", limit=_HISTORY_MAX)
            data["other_active"] = [history_shape(run) for run in others if run.state != "running"]
        return ToolResult(data=data, source="lab.runs")

    def render(self, result: ToolResult) -> str:
        return runs_overview(result.data)

    def settle(self, data: dict[str, Any], question: str) -> str | None:
        return answering.about_runs(data, question)

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        """Also the codes of retired instruments: their runs can still be asked for."""
        known = await every(lambda after: self._lab.instruments(tx, after=after, retired=True))
        gone = tuple(instrument.code for instrument in known if instrument.retired_at is not None)
        return {"instrument": (*await self._instrument_names(tx), *gone), "state": tuple(STATE_WORDS)}


class GetRun(LabTool):
    """One run by its number."""

    name = "get_run"
    description = (
        "Shows one run of an instrument by its number (R-2026-0007): operator, protocol, instrument, samples, parameters, when it was "
        "started, its progress and when it ends (or how and when it ended), and its measured results. Use it whenever a run number is "
        "named. run is the number; earlier (1, 2, …) means the run that was started so many runs before that one."
    )
    parameters = schema(
        ["run"],
        run={"type": "string", "maxLength": 16, "pattern": RUN_PATTERN, "description": "Number of the run, such as R-2026-0007."},
        earlier={"type": "integer", "minimum": 0, "maximum": _HISTORY_MAX, "description": "How many runs before that one (0)."},
    )
    examples = RUN

    async def execute(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        code = str(arguments["run"])
        run = await self._lab.run(tx, code, earlier=int(arguments.get("earlier", 0)))
        asked = run.code if not arguments.get("earlier") else code.strip().upper()
        return ToolResult(data=whole_run_shape(run, asked=asked), source="lab.runs")

    def render(self, result: ToolResult) -> str:
        return run_details(result.data)

    def settle(self, data: dict[str, Any], question: str) -> str | None:
        return answering.about_run(data, question)

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        """The newest ones; any other number is recognised by its shape."""
        found, _ = await self._lab.runs(tx, limit=VOCABULARY_RUNS)
        return {"run": tuple(run.code for run in found)}


class GetProtocols(LabTool):
    """Which protocols there are."""

    name = "get_protocols"
    description = (
        "Lists the laboratory's protocols (methods, procedures) in their newest versions: what they run on, how long they take, their "
        "steps with temperatures and times, and the parameters that can be set. Use it for what can be run on an instrument and for "
        "the details of one protocol. instrument keeps those it can run; query is words of the protocol's code, name or summary; "
        "sample_count says for how many samples the times are wanted."
    )
    parameters = schema(
        [],
        instrument=instrument_argument("Code, name or unique kind of the instrument that should run the protocol."),
        query={"type": "string", "minLength": 1, "maxLength": 200, "pattern": TEXT_PATTERN, "description": "A protocol code or words."},
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
        found = await every(lambda after: self._lab.protocols(tx, limit=LIMIT_MAX, after=after))
        words = (*(protocol.code for protocol in found), *(protocol.text.name for protocol in found))
        return {"instrument": await self._instrument_names(tx), "query": words}
