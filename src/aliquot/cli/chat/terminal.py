"""The run on a terminal: Markdown as it comes, tool calls with a clock, thinking dimmed."""

import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from aliquot.cli.chat import screen as plain
from aliquot.cli.chat.markdown import LINES_MAX, Rendered, Tail, split_finished
from aliquot.cli.chat.neutral import neutral, one_line
from aliquot.cli.chat.transcript import RunEvent, Transcript

_MARKS = {"ok": ("✓", "green"), "failed": ("✗", "red"), "denied": ("✗", "yellow"), "unknown": ("?", "yellow")}


class _Live(Live):
    """The part that is redrawn, with what is printed above it."""

    def above(self, renderable: RenderableType) -> None:
        """Rich notes how many lines it has to clear, then renders what is printed, then writes: a redraw by its own thread meanwhile
        would leave lines behind. So the two wait for each other."""
        with self._lock:
            self.console.print(renderable, highlight=False)


class RichScreen(plain.Screen):
    """For a terminal that understands control sequences. Only this class writes to it while a run is watched."""

    def __init__(self, console: Console, *, thinking: bool = False) -> None:
        self._console, self._show_thinking = console, thinking
        self._live: _Live | None = None
        self._reset()

    def _reset(self) -> None:
        self._text = self._thought = self._said = ""
        self._judged = self._blocks = 0
        """Until where the text was judged, and how many blocks were printed."""
        self._running: dict[str, tuple[str, float]] = {}
        """Label and start of the calls under way."""

    def begin(self) -> None:
        self.end()
        self._reset()
        # Nothing but this screen prints during a run, so rich need not stand in for sys.stdout.
        self._live = _Live(
            get_renderable=self._now,
            console=self._console,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def end(self) -> None:
        self._flush()
        self._running.clear()
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()

    def show(self, event: RunEvent, transcript: Transcript) -> None:
        if event.kind == "text_delta":
            self._said = (self._said + event.text())[-plain.SAID_CHARS :]
            self._flush_thought()
            self._text += neutral(event.text())
            self._print_finished()
        elif event.kind == "thinking":
            self._thinking(event.text())
        else:
            self._flush()
            self._show_other(event, transcript)

    def note(self, text: str) -> None:
        self._flush()
        self._print(Text(f"· {one_line(text)}", style="dim"))

    def failure(self, text: str) -> None:
        self._flush()
        self._print(Text(one_line(text), style="bold red"))

    def line(self, text: str) -> None:
        self._print(Text(neutral(text)))

    def message(self, role: str, text: str, at: str) -> None:
        self._print(Text(f"{plain.local_time(at)} {'you' if role == 'user' else 'Aliquot'}", style="bold"))
        self._print(Rendered(text) if role != "user" else Text(neutral(text)))
        self._print(Text(""))

    def approval(self, approval: dict[str, Any]) -> None:
        preview = approval.get("preview") if isinstance(approval.get("preview"), dict) else {}
        summary, rows = plain.new_summary(approval, self._said), plain.change_rows(approval)
        shown = "\n".join(plain.plan_steps(approval)) or summary
        parts: list[RenderableType] = [Text(shown, style="bold"), Text("")] if shown else []
        if rows:
            table = Table(*rows[0], box=None, padding=(0, 2, 0, 0))
            for row in rows[1:]:
                table.add_row(*(Text(cell) for cell in row))
            parts += [table, Text("")]
        warnings = (preview or {}).get("warnings")
        parts += [Text(f"Warning: {one_line(w)}", style="yellow") for w in (warnings if isinstance(warnings, list) else [])]
        parts += [Text(f"Why: {text}") for text in plain.reasons(approval)]
        decision = approval.get("decision")
        risk = one_line(decision.get("risk", "?")) if isinstance(decision, dict) else "?"
        parts.append(Text(f"Risk {risk} of 100 · expires {plain.local_time(approval.get('expires_at'), zone=True)}", style="dim"))
        parts.append(Text(f"Who decides: {plain.who_decides(approval)}", style="dim"))
        title = Text(f"Confirmation needed: {one_line(approval.get('tool', ''))}")
        self._print(Panel(Group(*parts), title=title, title_align="left", border_style="yellow", expand=False))

    # --- parts

    def _show_other(self, event: RunEvent, transcript: Transcript) -> None:
        if event.kind in ("tool_call_start", "tool_call_args"):
            call = transcript.call(event)
            began = self._running.get(call.call_id, ("", time.monotonic()))[1]
            self._running[call.call_id] = (plain.call_label(call), began)
        elif event.kind == "tool_call_end":
            call = transcript.call(event)
            self._running.pop(call.call_id, None)
            mark, style = _MARKS.get(call.outcome or "", ("?", "yellow"))
            took = "" if call.duration_ms is None else f" {call.duration_ms / 1000:.2f} s"
            self._print(Text.assemble((f"{mark} ", style), plain.call_label(call), (took, "dim")))
        elif event.kind == "approval_required":
            self._running.pop(event.text("call_id"), None)
        elif event.kind == "error":
            self.failure(event.text("detail") or "The answer failed.")
        elif event.kind == "done":
            for text in plain.closing_lines(transcript):
                self.note(text)
        elif (line := plain.progress(event, transcript)) is not None:
            self.note(line)

    def _now(self) -> RenderableType:
        """The part that is redrawn: the block being written and what is being waited for."""
        parts: list[RenderableType] = []
        if self._thought:
            parts.append(Tail(self._thought, "dim italic"))
        if self._text.strip():
            parts.append(Tail(self._text))
        for label, began in list(self._running.values()):
            parts.append(Spinner("dots", Text(f"{label} {time.monotonic() - began:.1f} s", style="dim")))
        if not parts:
            parts.append(Spinner("dots", Text("…", style="dim")))
        return Group(*parts)

    def _thinking(self, text: str) -> None:
        if self._show_thinking:
            self._thought += neutral(text)
            done, newline, rest = self._thought.rpartition("\n")
            if newline:
                self._thought = rest
                self._print(Text(done, style="dim italic"))

    def _print_finished(self) -> None:
        """Print what is finished. Judged after a blank line only, so that the work grows with the text and not with its square."""
        new = self._text[self._judged :].split("\n")[:-1]
        if all(line.strip() for line in new) and self._text.count("\n") <= LINES_MAX:
            return
        finished, rest = split_finished(self._text)
        self._judged = rest.rfind("\n") + 1
        if finished:
            self._text = rest
            self._print_block(finished)

    def _flush(self) -> None:
        self._flush_thought()
        text, self._text, self._judged = self._text, "", 0
        self._print_block(text)

    def _flush_thought(self) -> None:
        thought, self._thought = self._thought, ""
        if thought.strip():
            self._print(Text(thought, style="dim italic"))

    def _print_block(self, text: str) -> None:
        if not text.strip():
            return
        if self._blocks:
            self._print(Text(""))
        self._blocks += 1
        self._print(Rendered(text))

    def _print(self, renderable: RenderableType) -> None:
        if self._live is None:
            self._console.print(renderable, highlight=False)
        else:
            self._live.above(renderable)
