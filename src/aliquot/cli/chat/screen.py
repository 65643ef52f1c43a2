"""What a person sees of a run. This is the plain form, for files, pipes and terminals without control sequences.

Every text that came from the server passes `neutral` before it is written.
"""

import json
from datetime import UTC, datetime
from typing import Any, TextIO

from aliquot.cli.chat.neutral import neutral, one_line
from aliquot.cli.chat.transcript import RunEvent, ToolCall, Transcript

_MARKS = {"ok": "ok", "failed": "failed", "denied": "not allowed", "unknown": "outcome unknown"}
_ARGUMENT_CHARS = 160
_JUST_SAID_CHARS = 1_000
SAID_CHARS = 20_000
"""As much of an answer is looked at to see whether something was said already."""


class Screen:
    """Shows nothing (`--json`). The others override what they show."""

    def begin(self) -> None:
        """A run is about to be watched."""

    def end(self) -> None:
        """The run ended, or is no longer watched; safe to call twice."""

    def show(self, event: RunEvent, transcript: Transcript) -> None:
        """One event, already taken into `transcript`."""

    def note(self, text: str) -> None:
        """A remark of the client itself."""

    def failure(self, text: str) -> None:
        """A sentence that says what went wrong."""

    def line(self, text: str) -> None:
        """A line of information the person asked for."""

    def approval(self, approval: dict[str, Any]) -> None:
        """What would happen, before somebody decides."""

    def message(self, role: str, text: str, at: str) -> None:
        """A message of the history."""


class PlainScreen(Screen):
    """The answer goes to `out`; everything else to `aside`, so that a pipe gets the answer alone."""

    def __init__(self, out: TextIO, aside: TextIO, *, thinking: bool = False) -> None:
        self._out, self._aside, self._thinking = out, aside, thinking
        # Remarks amid an answer start on a line of their own where both are seen together; a pipe gets the answer unchanged.
        self._together = out is aside or (out.isatty() and aside.isatty())
        self._open: TextIO | None = None
        """Where a line was begun and not ended."""
        self._said = ""
        """The answer, where the person sees it beside everything else."""

    def begin(self) -> None:
        self._said = ""

    def end(self) -> None:
        self._end_line()

    def show(self, event: RunEvent, transcript: Transcript) -> None:
        if event.kind == "text_delta":
            if self._together:
                self._said = (self._said + event.text())[-SAID_CHARS:]
            self._write(self._out, neutral(event.text()))
        elif event.kind == "thinking":
            if self._thinking:
                self._write(self._aside, neutral(event.text()))
        elif event.kind == "error":
            self.failure(event.text("detail") or "The answer failed.")
        elif event.kind == "done":
            self._end_line()
            for text in closing_lines(transcript):
                self.note(text)
        elif (line := progress(event, transcript)) is not None:
            self.note(line)

    def note(self, text: str) -> None:
        self._line(self._aside, f"· {one_line(text)}")

    def failure(self, text: str) -> None:
        self._line(self._aside, f"aliquot: {one_line(text)}")

    def line(self, text: str) -> None:
        self._line(self._aside, neutral(text))

    def approval(self, approval: dict[str, Any]) -> None:
        for text in approval_lines(approval, said=self._said):
            self._line(self._aside, text)

    def message(self, role: str, text: str, at: str) -> None:
        self._line(self._aside, f"{local_time(at)} {'you' if role == 'user' else 'Aliquot'}:")
        self._line(self._aside, neutral(text) + "\n")

    def _line(self, stream: TextIO, text: str) -> None:
        self._newline()
        print(text, file=stream, flush=True)

    def _write(self, stream: TextIO, text: str) -> None:
        if not text:
            return
        if self._open is not stream:
            self._newline()
        print(text, end="", file=stream, flush=True)
        self._open = None if text.endswith("\n") else stream

    def _newline(self) -> None:
        if self._together or self._open is self._aside:
            self._end_line()

    def _end_line(self) -> None:
        if self._open is not None:
            print(file=self._open, flush=True)
            self._open = None


def progress(event: RunEvent, transcript: Transcript) -> str | None:
    """The line about an event that is no text; None for what is shown elsewhere. What is not known is shown as it came."""
    if event.kind == "tool_call_args":  # from here on it runs
        return f"{call_label(transcript.call(event))} …"
    if event.kind == "tool_call_end":
        return call_result(transcript.call(event))
    if event.kind == "notice":
        return one_line(event.text())
    if event.kind in ("run_started", "tool_call_start", "approval_required", "citation", "usage", "done", "error"):
        return None
    return one_line(f"{event.kind}: {json.dumps(event.data)}", 500)


def call_label(call: ToolCall) -> str:
    """`start_run(instrument: PCR-02, protocol: PCR-STD-35)`."""
    if not isinstance(call.arguments, dict):
        return one_line(call.name)
    pairs = ", ".join(f"{k}: {v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)}" for k, v in call.arguments.items())
    return one_line(call.name) + f"({one_line(pairs, _ARGUMENT_CHARS)})"


def call_result(call: ToolCall) -> str:
    """How a call ended and how long it took. What it gave is the answer's business (see `closing_lines`)."""
    duration = "" if call.duration_ms is None else f" after {call.duration_ms / 1000:.2f} s"
    return f"{one_line(call.name)} {_MARKS.get(call.outcome or '', one_line(call.outcome or 'ended'))}{duration}"


def closing_lines(transcript: Transcript) -> list[str]:
    """What went wrong in a call and the answer does not say, sources, usage and an unusual end."""
    answer = one_line(transcript.answer, SAID_CHARS)
    summaries = [(call.name, one_line(call.summary, 300)) for call in transcript.calls.values() if call.outcome not in (None, "ok")]
    lines = [f"{one_line(name)}: {summary}" for name, summary in summaries if summary and summary not in answer]
    for number, citation in enumerate(transcript.citations, 1):
        page = f", page {citation['page']}" if citation.get("page") else ""
        lines.append(one_line(f"[{number}] {citation.get('title') or citation.get('document_id') or 'source'}{page}", 200))
    usage = transcript.usage or {}
    if usage.get("input_tokens") or usage.get("output_tokens"):
        cost = f", {usage['cost']} {usage.get('currency') or ''}" if _positive(usage.get("cost")) else ""
        lines.append(one_line(f"{usage.get('input_tokens')} tokens in, {usage.get('output_tokens')} out{cost}"))
    if transcript.state == "cancelled":
        lines.append("Cancelled. What was said so far is kept.")
    return lines


def _positive(number: object) -> bool:
    try:
        return float(str(number)) > 0
    except ValueError:
        return False


# --- approvals


def approval_lines(approval: dict[str, Any], said: str = "") -> list[str]:
    """A request with its preview, line by line; what was `said` just before is not repeated."""
    decision, preview = _object(approval.get("decision")), _object(approval.get("preview"))
    lines = ["", f"Confirmation needed: {one_line(approval.get('tool', ''))}"]
    if (steps := plan_steps(approval)) and not _just_shown(steps, said):
        lines += [f"  {step}" for step in steps]
    elif not steps and (summary := new_summary(approval, said)):
        lines.append(f"  {summary}")
    rows = change_rows(approval)
    if rows:
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines += [
            "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]]).rstrip() for row in rows
        ]
    lines += [f"  Warning: {one_line(text)}" for text in _list(preview.get("warnings"))]
    lines += [f"  Why: {text}" for text in reasons(approval)]
    lines.append(f"  Risk {one_line(decision.get('risk', '?'))} of 100 · expires {local_time(approval.get('expires_at'), zone=True)}")
    lines.append(f"  Who decides: {who_decides(approval)}")
    return lines


def new_summary(approval: dict[str, Any], said: str) -> str:
    """What would happen, in a sentence; empty when the answer has just said it."""
    summary = one_line(_object(approval.get("preview")).get("summary", ""))
    return "" if summary in one_line(said)[-_JUST_SAID_CHARS:] else summary


def plan_steps(approval: dict[str, Any]) -> list[str]:
    """The steps of a plan that is asked about as a whole, a line each; empty for a single call."""
    if approval.get("tool") != "plan":
        return []
    lines = []
    for step in _list(_object(approval.get("arguments")).get("steps")):
        known = _object(_object(step).get("preview"))
        call = call_label(ToolCall("", str(_object(step).get("tool", "")), _object(step).get("arguments")))
        after = ", ".join(str(n) for n in _list(_object(step).get("after")))
        later = f" (what exactly it changes is known after step {after})" if not known else ""
        alone = " (decided by itself in its turn)" if _object(step).get("own_decision") is True else ""
        lines.append(f"{one_line(_object(step).get('step', '?'))}. {one_line(known.get('summary') or call)}{later}{alone}")
    return lines


def _just_shown(steps: list[str], said: str) -> bool:
    return all(one_line(step).partition(" ")[2].partition(" (what")[0] in one_line(said, SAID_CHARS) for step in steps)


def change_rows(approval: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """The preview's changes with their heading; empty without any."""
    changes = [c for c in _list(_object(approval.get("preview")).get("changes")) if isinstance(c, dict)]
    names = ("record", "field", "before", "after")
    rows = [c | {"record": f"{c['step']}. {c.get('record')}"} if "step" in c else c for c in changes]
    return [names, *(tuple(_cell(c.get(name)) for name in names) for c in rows)] if rows else []  # type: ignore[list-item]  # four names


def _cell(value: Any) -> str:
    return "-" if value is None else one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 80)


def reasons(approval: dict[str, Any]) -> list[str]:
    """The policy's sentences."""
    found = _list(_object(approval.get("decision")).get("reasons"))
    return [one_line(reason.get("text") or reason.get("policy_id") or "") for reason in found if isinstance(reason, dict)]


def obligations(approval: dict[str, Any]) -> frozenset[str]:
    return frozenset(str(name) for name in _list(_object(approval.get("decision")).get("obligations")))


def who_decides(approval: dict[str, Any]) -> str:
    """Who may decide this, in words."""
    needed = obligations(approval)
    if "sign" in needed:
        return f"somebody other than {one_line(approval.get('requester_name') or 'the requester')} who may sign, with their password"
    if "two_person" in needed:
        return f"somebody other than {one_line(approval.get('requester_name') or 'the requester')} who may decide approvals"
    return f"{one_line(approval.get('requester_name') or 'the requester')}, in a login session"


def local_time(text: object, *, zone: bool = False) -> str:
    """An RFC 3339 time in the time zone of this machine, named with `zone`; the date is left out for today."""
    try:
        at = datetime.fromisoformat(str(text)).astimezone()
    except (ValueError, OverflowError, OSError):
        return one_line(text)
    today = datetime.now(UTC).astimezone().date() == at.date()
    return at.strftime("%H:%M" if today else "%Y-%m-%d %H:%M") + (f" {at.tzname()}" if zone else "")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
