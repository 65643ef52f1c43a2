"""Format `chunks` (TracSeq, Lab Assistant): unnamed events `{"type": "chunk", …}`, one `completion`, then `[DONE]`."""

from typing import Any, ClassVar

from aliquot.chat.contracts import StoredEvent
from aliquot.kernel.problems import Problem
from aliquot.web.wire.common import NO_USAGE, data, loads

_PASSED_ON = frozenset({"thinking", "tool_call_start", "tool_call_args", "tool_call_end", "approval_required", "notice"})


class ChunksEncoder:
    """Collects citations and usage for the closing `completion`."""

    media_type = "text/event-stream"
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        self._id = ""
        self._citations: list[dict[str, Any]] = []
        self._usage: dict[str, Any] = NO_USAGE

    def encode(self, event: StoredEvent) -> bytes:
        fields = loads(event.payload)
        if event.kind == "text_delta":
            return data({"id": self._id, "content": fields["text"], "type": "chunk", "timestamp": fields["at"]})
        if event.kind == "run_started":
            self._id = fields["message_id"]
            wanted = ("run_id", "conversation_id", "session_id", "user_message_id")
            return data({"id": self._id, "type": "start", "timestamp": fields["at"]} | {k: fields.get(k) for k in wanted})
        if event.kind == "citation":
            self._citations.append(fields["citation"])
        elif event.kind == "usage":
            self._usage = {k: fields[k] for k in ("input_tokens", "output_tokens", "cost", "currency")}
        elif event.kind == "done":
            return self._completion(fields)
        elif event.kind == "error":
            return data({"id": self._id, "type": "error", "code": fields["code"], "detail": fields["detail"]})
        elif event.kind in _PASSED_ON:
            rest = {k: v for k, v in fields.items() if k not in ("seq", "at")}
            return data({"id": self._id, "type": event.kind, "timestamp": fields["at"]} | rest)
        return b""

    def problem(self, problem: Problem) -> bytes:
        return data({"type": "error", "code": problem.code, "detail": problem.detail})

    def end(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _completion(self, fields: dict[str, Any]) -> bytes:
        metadata = {
            "confidence": fields.get("confidence"),
            "sources": [citation.get("document_id") for citation in self._citations],
            "citations": self._citations,
            "usage": self._usage,
            "state": fields["state"],
            "run_id": fields["run_id"],
        }
        return data({"id": self._id, "type": "completion", "metadata": metadata})
