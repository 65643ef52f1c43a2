"""What a run said and did, put together from its events. Pure: no network, no terminal."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from aliquot.cli.chat.failures import StreamBroken
from aliquot.cli.chat.sse import Frame

TERMINAL = frozenset({"done", "error"})


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One numbered event of a run (CONTRACT §2)."""

    kind: str
    seq: int
    data: dict[str, Any]

    @property
    def terminal(self) -> bool:
        return self.kind in TERMINAL

    def text(self, name: str = "text") -> str:
        """A member as text; empty when it is missing."""
        value = self.data.get(name)
        return value if isinstance(value, str) else "" if value is None else str(value)


def event_of(frame: Frame) -> RunEvent:
    """The run event in `frame`. Raises StreamBroken when it is none (also for a failure of the stream itself)."""
    try:
        data = json.loads(frame.data)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise StreamBroken("The server sent an event that cannot be read.")
    seq = data.get("seq")
    if isinstance(seq, bool) or not isinstance(seq, int) or seq < 1:
        detail = data.get("detail")
        raise StreamBroken(detail if isinstance(detail, str) else "The server sent an event without a number.")
    return RunEvent(frame.event, seq, data)


@dataclass(slots=True)
class ToolCall:
    """A tool call of the run."""

    call_id: str
    name: str
    arguments: Any = None
    outcome: str | None = None
    """None while it runs or waits for an approval."""
    summary: str = ""
    duration_ms: int | None = None

    def document(self) -> dict[str, Any]:
        return {
            "call_id": self.call_id, "name": self.name, "arguments": self.arguments, "outcome": self.outcome,
            "summary": self.summary, "duration_ms": self.duration_ms,
        }  # fmt: skip


@dataclass(slots=True)
class Transcript:
    """One run."""

    run_id: str = ""
    conversation_id: str = ""
    message_id: str = ""
    last_seq: int = 0
    parts: list[str] = field(default_factory=list)
    calls: dict[str, ToolCall] = field(default_factory=dict)
    notices: list[dict[str, str]] = field(default_factory=list)
    citations: list[dict[str, Any]] = field(default_factory=list)
    usage: dict[str, Any] | None = None
    approval: dict[str, Any] | None = None
    """The `approval_required` event: what the run waits for."""
    state: str | None = None
    error: dict[str, Any] | None = None

    @property
    def answer(self) -> str:
        return "".join(self.parts)

    @property
    def ended(self) -> bool:
        return self.state is not None

    def apply(self, event: RunEvent) -> bool:
        """Take in one event; False for one that was taken in before. Raises StreamBroken when events are missing before it."""
        if event.seq <= self.last_seq:
            return False
        if event.seq != self.last_seq + 1:
            raise StreamBroken(f"Events {self.last_seq + 1} to {event.seq - 1} of this run are missing.")
        self.last_seq = event.seq
        handler = getattr(self, f"_{event.kind}", None) if event.kind in _HANDLED else None
        if handler is not None:
            handler(event)
        return True

    def apply_all(self, events: Iterable[RunEvent]) -> "Transcript":
        for event in events:
            self.apply(event)
        return self

    def call(self, event: RunEvent) -> ToolCall:
        """The call an event speaks of; made when it is new."""
        call_id = event.text("call_id")
        return self.calls.setdefault(call_id, ToolCall(call_id, event.text("name") or "tool"))

    def _run_started(self, event: RunEvent) -> None:
        self.run_id, self.conversation_id = event.text("run_id"), event.text("conversation_id")
        self.message_id = event.text("message_id")

    def _text_delta(self, event: RunEvent) -> None:
        self.parts.append(event.text())

    def _tool_call_start(self, event: RunEvent) -> None:
        self.call(event).name = event.text("name") or "tool"

    def _tool_call_args(self, event: RunEvent) -> None:
        self.call(event).arguments = event.data.get("arguments")

    def _tool_call_end(self, event: RunEvent) -> None:
        call = self.call(event)
        call.outcome, call.summary = event.text("outcome"), event.text("summary")
        duration = event.data.get("duration_ms")
        call.duration_ms = duration if isinstance(duration, int) else None

    def _approval_required(self, event: RunEvent) -> None:
        self.approval = {k: event.data.get(k) for k in ("approval_id", "call_id", "preview", "expires_at")}

    def _citation(self, event: RunEvent) -> None:
        citation = event.data.get("citation")
        if isinstance(citation, dict):
            self.citations.append(citation)

    def _usage(self, event: RunEvent) -> None:
        self.usage = {k: event.data.get(k) for k in ("input_tokens", "output_tokens", "cost", "currency")}

    def _notice(self, event: RunEvent) -> None:
        self.notices.append({"code": event.text("code"), "text": event.text()})

    def _done(self, event: RunEvent) -> None:
        self.state = event.text("state") or "done"

    def _error(self, event: RunEvent) -> None:
        self.state = "failed"
        self.error = {"code": event.text("code"), "detail": event.text("detail"), "retryable": bool(event.data.get("retryable"))}


_HANDLED = frozenset(
    {
        "run_started", "text_delta", "tool_call_start", "tool_call_args", "tool_call_end", "approval_required", "citation", "usage",
        "notice", "done", "error",
    }
)  # fmt: skip
