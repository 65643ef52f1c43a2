"""Laboratory data in words and Markdown tables: units with every number, times in UTC. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from aliquot.lab.contracts import FREE
from aliquot.lab.naming import a_kind, kind_name
from aliquot.lab.rules import words

_SHOWN_SAMPLES = 8
_DAYS_FROM_HOURS = 48
_ENDED = frozenset({"done", "completed", "finished", "failed", "stopped", "aborted"})


def when(at: datetime | str | None) -> str:
    """`2026-11-21 05:35 UTC`, or a dash."""
    if at is None:
        return "–"
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(seconds: float | None) -> str:
    """`3 days 4 h`, `1 h 32 min`, `12 min`, `45 s`; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes >= _DAYS_FROM_HOURS * 60:
        days, hours = divmod(round(minutes / 60), 24)
        return count(days, "day") + (f" {hours} h" if hours else "")
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def exact(seconds: float) -> str:
    """Nothing rounded away: `4 min 15 s`, `24 h 4 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{n} {unit}" for n, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if n]
    return " ".join(parts) or "0 s"


def quantity(value: float, unit: str) -> str:
    """`35` for plain counts (unit 1), else `60 °C`."""
    return f"{value:g}" if unit == "1" else f"{value:g} {unit}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; what could break a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def samples(codes: Sequence[str], total: int) -> str:
    """`S-0001, S-0002 and 6 more`."""
    if not total:
        return "none"
    shown = list(codes)[:_SHOWN_SAMPLES]
    more = total - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def instrument_sentence(data: dict[str, Any]) -> str:
    """One instrument in one or two sentences."""
    text = f"{data['code']} ({data['name']}) has been {words(data['state'])} since {when(data['state_since'])}."
    if data.get("error"):
        text += f" {data['error'].rstrip('.')}."
    if run := data.get("run"):
        text += f" Run {run['code']} ({run['protocol']}, started by {run['operator']}) is {run['progress_percent']:.0f} % done"
        text += f" and ends about {when(run['ends_at'])}, in {duration(run['remaining_seconds'])}." if run["ends_at"] else "."
    return text


def start_sentence(start: dict[str, Any], code: str, kind: str) -> str:
    """Whether the kind of instrument fits the protocol; says nothing about whether a start will be allowed."""
    kinds = " or ".join(a_kind(known) for known in start["kinds"])
    begin = f"{start['protocol']} is retired; it" if start["retired"] else start["protocol"]
    return f"{begin} runs on {kinds}" + ("." if start["fits"] else f"; {code} is {a_kind(kind)}.")


def instrument_details(data: dict[str, Any]) -> str:
    """What is known about one instrument, as a table."""
    rows = [
        ("Kind", kind_name(data["kind"])),
        ("Location", data["location"]),
        ("State", words(data["state"])),
        ("Since", when(data["state_since"])),
        ("Last service", data["last_service_on"] or "–"),
    ]
    if run := data.get("run"):
        rows += [
            ("Run", run["code"]),
            ("Protocol", f"{run['protocol']} version {run['protocol_version']}"),
            ("Progress", f"{run['progress_percent']:.0f} %"),
            ("Remaining", duration(run["remaining_seconds"])),
            ("Samples", samples(run["samples"], run["sample_count"])),
        ]
    if data["simulated"]:
        rows.append(("Driver", "simulated"))
    return table((data["code"], ""), rows)


def instruments_overview(items: Sequence[dict[str, Any]]) -> str:
    """All instruments: how many are free, which are not, and a table."""
    if not items:
        return "No instruments are registered."
    free = [item["code"] for item in items if item["state"] in FREE]
    parts = [f"{count(len(items), 'instrument')}; {len(free)} free{': ' + ', '.join(free) if free else ''}."]
    parts += [f"{item['code']} is {words(item['state'])}." for item in items if item["state"] not in FREE]
    rows = [
        (
            item["code"], item["name"], kind_name(item["kind"]), words(item["state"]), when(item["state_since"]),
            item["run"]["code"] if item["run"] else (item["error"] or "–"),
        )
        for item in items
    ]  # fmt: skip
    return " ".join(parts) + "\n\n" + table(("Instrument", "Name", "Kind", "State", "Since", "Run or problem"), rows)


def runs_overview(data: dict[str, Any]) -> str:
    """A run history: a sentence and a table."""
    runs = data["runs"]
    where = f" on {data['instrument']}" if data["instrument"] else ""
    asked = f"{words(data['state'])} " if data["state"] else ""
    where += _period(data, len(runs))
    if not runs:
        return f"There are no {asked}runs{where}."
    text = f"{count(len(runs), asked + 'run')}{where}{', newest first' if len(runs) > 1 else ''}"
    text += "; there are more." if data["more"] else "."
    rows = [
        (
            run["code"], run["instrument"], run["protocol"], run["operator"], run_state(run), when(run["started_at"]),
            duration(run["duration_seconds"]), str(run["sample_count"]), results_cell(run),
        )
        for run in runs
    ]  # fmt: skip
    head = ("Run", "Instrument", "Protocol", "Operator", "State", "Started", "Duration", "Samples", "Results")
    return text + "\n\n" + table(head, rows)


def _period(data: dict[str, Any], found: int) -> str:
    """` that ended from 2026-11-21 00:00 UTC until now`; empty without a period."""
    since, until = data.get("since"), data.get("until")
    if since is None and until is None:
        return ""
    what = "that ended" if data["state"] in _ENDED else f"that {'was' if found == 1 else 'were'} going on"
    return f" {what}{f' from {when(since)}' if since else ''}{f' until {when(until)}' if until else ' until now'}"


def run_state(run: dict[str, Any]) -> str:
    """The state with what explains it: progress, error or stop."""
    if run["state"] == "failed" and run["error_code"]:
        return f"failed: {run['error_code'].replace('_', ' ')}"
    if run["state"] in {"warming_up", "running", "paused"}:
        return f"{words(run['state'])}, {run['progress_percent']:.0f} %"
    return words(run["state"])


def results_cell(run: dict[str, Any]) -> str:
    return "; ".join(f"{result['name']} {quantity(result['value'], result['unit'])}" for result in run["results"]) or "–"


def protocols_overview(data: dict[str, Any]) -> str:
    """Protocols: one in full with its steps, several as a list."""
    found = data["protocols"]
    where = f" for {data['instrument']}" if data["instrument"] else ""
    if not found:
        return f"No protocol{where} fits." if data["query"] else f"There are no protocols{where}."
    if len(found) == 1:
        return protocol_details(found[0], where)
    codes = ", ".join(item["code"] for item in found)
    rows = [
        (
            item["code"], str(item["version"]), item["name"], ", ".join(kind_name(kind) for kind in item["kinds"]),
            exact(item["total_seconds"]), f"up to {item['max_samples']}",
        )
        for item in found
    ]  # fmt: skip
    head = ("Protocol", "Version", "Name", "Runs on", f"Duration for {_basis(found[0])}", "Samples")
    return f"{count(len(found), 'protocol')}{where}: {codes}{'; there are more' if data['more'] else ''}.\n\n" + table(head, rows)


def _basis(item: dict[str, Any]) -> str:
    return "one sample" if item["for_samples"] == 1 else f"{item['for_samples']} samples"


def protocol_details(item: dict[str, Any], where: str) -> str:
    """One protocol: what it is, its steps with their values, what can be set."""
    kinds = " or ".join(a_kind(kind) for kind in item["kinds"])
    text = f"{item['code']} version {item['version']}{where}: {item['name']}. {item['summary']} Runs on {kinds}, "
    text += f"takes {exact(item['total_seconds'])} on the instrument for {_basis(item)} with its defaults"
    text += f", and {exact(item['bench_seconds'])} by hand" if item["bench_seconds"] else ""
    text += f". It takes up to {count(item['max_samples'], 'sample')}."
    if item["for_samples"] > item["max_samples"]:
        text += f" {count(item['for_samples'], 'sample')} do not fit into one run."
    rows = [
        (
            str(number), step["name"], kind_name(step["where"]),
            ", ".join(f"{r['name']} {quantity(r['value'], r['unit'])}" for r in step["readings"]) or "–",
            exact(step["seconds"]), f"× {step['repeat']}" + (" per sample" if step["per_sample"] else ""),
        )
        for number, step in enumerate(item["steps"], start=1)
    ]  # fmt: skip
    text += "\n\n" + table(("Step", "What", "Where", "Settings", "Duration", "Repeats"), rows)
    if item["parameters"]:
        settable = [
            (p["name"], quantity(p["default"], p["unit"]), f"{p['minimum']:g} to {quantity(p['maximum'], p['unit'])}")
            for p in item["parameters"]
        ]
        text += "\n\n" + table(("Parameter", "Default", "Range"), settable)
    return text


def run_sentence(run: dict[str, Any]) -> str:
    """One run in a sentence or two: whose it is, how it stands, when it ends or how it ended."""
    text = f"{run['code']} ({run['protocol']} version {run['protocol_version']} on {run['instrument']}, started by {run['operator']}) "
    text += f"{run_condition(run)}."
    if not run["active"] and run["state"] != "failed":
        text += f" It took {duration(run['duration_seconds'])}."
    return text


def run_condition(run: dict[str, Any]) -> str:
    """`is running, 42 % done, and ends about …`, `failed at 40 %: lid heater timeout, …`: what follows the run's number."""
    if run["active"]:
        text = f"is {words(run['state'])}, {run['progress_percent']:.0f} % done"
        return text + (f", and ends about {when(run['ends_at'])}, in {duration(run['remaining_seconds'])}" if run["ends_at"] else "")
    if run["state"] == "done":
        return f"was finished at {when(run['ends_at'])}"
    cause = f" ({run['error_code'].replace('_', ' ')})" if run["error_code"] else ""
    return f"{'failed' if run['state'] == 'failed' else 'was stopped'} at {run['progress_percent']:.0f} %{cause}, {when(run['ends_at'])}"


def run_details(run: dict[str, Any]) -> str:
    """One run with everything people ask of it: a sentence, its particulars, and what it measured."""
    lead = "" if run["asked"] == run["code"] else f"Before {run['asked']} came {run['code']}. "
    parts = [lead + run_sentence(run), run_table(run)]
    if run["results"]:
        parts.append(table(("Result", "Value"), [(r["name"], quantity(r["value"], r["unit"])) for r in run["results"]]))
    if measured := run["sample_results"]:
        parts.append(table(("Sample", "Result", "Value"), [(r["sample"], r["name"], quantity(r["value"], r["unit"])) for r in measured]))
        if (more := run["sample_result_count"] - len(measured)) > 0:
            parts.append(f"{count(more, 'further value')} of samples: GET /api/runs-of-instruments/{run['code']} has all.")
    if not (run["results"] or run["sample_results"]):
        parts.append("No results yet." if run["active"] else "No results were recorded.")
    return "\n\n".join(parts)


def started(run: dict[str, Any]) -> str:
    """What was started."""
    text = f"Run {run['code']} was started on {run['instrument']} with {run['protocol']} version {run['protocol_version']}"
    text += f"; it ends about {when(run['ends_at'])}, in {duration(run['remaining_seconds'])}." if run["ends_at"] else "."
    return text + "\n\n" + run_table(run)


def stopped(run: dict[str, Any]) -> str:
    """What was stopped."""
    text = f"Run {run['code']} on {run['instrument']} was stopped at {run['progress_percent']:.0f} %, {when(run['ends_at'])}."
    return text + "\n\n" + run_table(run)


def run_table(run: dict[str, Any]) -> str:
    rows = [
        ("Instrument", run["instrument"]),
        ("Protocol", f"{run['protocol']} version {run['protocol_version']}"),
        ("State", run_state(run)),
        ("Operator", run["operator"]),
        ("Started", when(run["started_at"])),
        ("Ends" if run["active"] else "Ended", when(run["ends_at"])),
        ("Samples", samples(run["samples"], run["sample_count"])),
    ]
    rows += [(set_to["name"], quantity(set_to["value"], set_to["unit"])) for set_to in run["parameters"]]
    return table((run["code"], ""), rows)
