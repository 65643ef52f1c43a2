"""Format `ag-ui`: the events of the Agent User Interaction Protocol 1.0 (https://ag-ui.com), one unnamed SSE event each.

The answer is one text message per stretch of text: the first has the id of our message, later ones (after tool calls) a suffix.
Citations, notices and what asks for approval are `CUSTOM` events as well as, where the protocol has a place for them, part of it.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar

from aliquot.chat.contracts import StoredEvent
from aliquot.kernel.problems import Problem
from aliquot.web.wire.common import data, dumps, loads

_CUSTOM = frozenset({"citation", "notice", "approval_required"})
_Events = Iterator[dict[str, Any]]


class AgUiEncoder:
    """`thread_id` and `run_id` are the caller's own names, echoed; without them ours stand."""

    media_type = "text/event-stream"
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, thread_id: str | None = None, run_id: str | None = None) -> None:
        self._thread, self._run = thread_id, run_id
        self._message = ""
        self._stretches = {"text": 0, "reasoning": 0}
        self._open: tuple[str, str] | None = None  # kind and id of the message being streamed
        self._calls: set[str] = set()
        self._interrupts: list[dict[str, Any]] = []
        self._usage: list[dict[str, int]] | None = None

    def encode(self, event: StoredEvent) -> bytes:
        fields = loads(event.payload)
        at = int(datetime.fromisoformat(fields["at"]).timestamp() * 1000)
        return b"".join([data(found | {"timestamp": at}) for found in self._events(event.kind, fields)])

    def problem(self, problem: Problem) -> bytes:
        return data({"type": "RUN_ERROR", "message": problem.detail, "code": problem.code})

    def end(self) -> bytes:
        return b""

    def _events(self, kind: str, fields: dict[str, Any]) -> _Events:
        if kind in ("text_delta", "thinking"):
            yield from self._text("text" if kind == "text_delta" else "reasoning", fields["text"])
        elif kind == "run_started":
            self._message = fields["message_id"]
            self._thread = self._thread or fields.get("session_id") or fields["conversation_id"]
            self._run = self._run or fields["run_id"]
            yield self._of_run("RUN_STARTED")
        elif kind.startswith("tool_call_"):
            yield from self._call(kind, fields)
        elif kind in _CUSTOM:
            yield from self._custom(kind, fields)
        elif kind == "usage":
            spent = fields["input_tokens"], fields["output_tokens"]
            self._usage = [{"inputTokens": spent[0], "outputTokens": spent[1], "totalTokens": sum(spent)}]
        elif kind == "done":
            yield from self._close()
            yield self._finished(fields)
        elif kind == "error":
            yield from self._close()
            yield {"type": "RUN_ERROR", "message": fields["detail"], "code": fields["code"]} | self._used()

    def _text(self, kind: str, text: str) -> _Events:
        if self._open is None or self._open[0] != kind:
            yield from self._close()
            self._open = (kind, self._stretch(kind))
            if kind == "text":
                yield {"type": "TEXT_MESSAGE_START", "messageId": self._open[1], "role": "assistant"}
            else:
                yield {"type": "REASONING_START", "messageId": self._open[1]}
                yield {"type": "REASONING_MESSAGE_START", "messageId": self._open[1], "role": "reasoning"}
        of = "TEXT_MESSAGE_CONTENT" if kind == "text" else "REASONING_MESSAGE_CONTENT"
        yield {"type": of, "messageId": self._open[1], "delta": text}

    def _stretch(self, kind: str) -> str:
        """The id of the next message of this kind."""
        self._stretches[kind] += 1
        name = self._message if kind == "text" else f"{self._message}-reasoning"
        return name if self._stretches[kind] == 1 else f"{name}-{self._stretches[kind]}"

    def _close(self) -> _Events:
        """End the message that is being streamed."""
        if self._open is None:
            return
        kind, message_id = self._open
        self._open = None
        if kind == "text":
            yield {"type": "TEXT_MESSAGE_END", "messageId": message_id}
        else:
            yield {"type": "REASONING_MESSAGE_END", "messageId": message_id}
            yield {"type": "REASONING_END", "messageId": message_id}

    def _call(self, kind: str, fields: dict[str, Any]) -> _Events:
        call = fields["call_id"]
        if kind == "tool_call_start":
            yield from self._close()
            self._calls.add(call)
            yield {"type": "TOOL_CALL_START", "toolCallId": call, "toolCallName": fields["name"]}
        elif kind == "tool_call_args":
            arguments = fields["arguments"]
            yield {"type": "TOOL_CALL_ARGS", "toolCallId": call, "delta": arguments if isinstance(arguments, str) else _json(arguments)}
            yield from self._end_call(call)
        else:
            yield from self._end_call(call)
            yield {
                "type": "TOOL_CALL_RESULT", "toolCallId": call, "messageId": f"{call}-result", "role": "tool", "content": fields["summary"],
                "metadata": {"outcome": fields["outcome"], "durationMs": fields["duration_ms"]},
            }  # fmt: skip

    def _end_call(self, call: str) -> _Events:
        if call in self._calls:
            self._calls.discard(call)
            yield {"type": "TOOL_CALL_END", "toolCallId": call}

    def _custom(self, kind: str, fields: dict[str, Any]) -> _Events:
        value = {k: v for k, v in fields.items() if k not in ("run_id", "seq", "at")}
        if kind == "approval_required":
            preview = fields["preview"]
            self._interrupts.append(
                {
                    "id": fields["approval_id"], "reason": "approval_required", "toolCallId": fields["call_id"],
                    "expiresAt": fields["expires_at"], "message": preview.get("summary", "") if isinstance(preview, dict) else "",
                }
            )  # fmt: skip
        yield {"type": "CUSTOM", "name": kind, "value": value["citation"] if kind == "citation" else value}

    def _finished(self, fields: dict[str, Any]) -> dict[str, Any]:
        outcome: dict[str, Any] = {"type": "success"}
        if fields["state"] == "cancelled":
            outcome = {"type": "cancelled"}
        elif fields["state"] == "waiting_approval" and self._interrupts:
            outcome = {"type": "interrupt", "interrupts": self._interrupts}
        result = {k: fields.get(k) for k in ("run_id", "message_id", "state", "confidence")}
        return self._of_run("RUN_FINISHED") | {"outcome": outcome, "result": result} | self._used()

    def _of_run(self, kind: str) -> dict[str, Any]:
        return {"type": kind, "threadId": self._thread, "runId": self._run}

    def _used(self) -> dict[str, Any]:
        return {} if self._usage is None else {"usage": self._usage}


def _json(value: Any) -> str:
    return dumps(value).decode()
