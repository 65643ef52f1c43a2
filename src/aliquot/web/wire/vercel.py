"""Format `vercel`: the UI message stream of the AI SDK (v1, as read by `ai` 7): one JSON chunk per unnamed SSE event, then `[DONE]`.

Tools are `dynamic` and executed by the server. What asks for approval is decided at `/api/approvals`, not by the next chat request.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from aliquot.chat.contracts import StoredEvent
from aliquot.kernel.problems import Problem
from aliquot.web.wire.common import NO_USAGE, data, loads

_Chunks = Iterator[dict[str, Any]]
_OURS = {"dynamic": True, "providerExecuted": True}


class VercelEncoder:
    """Keeps which part is open and the names of the calls."""

    media_type = "text/event-stream"
    headers: ClassVar[dict[str, str]] = {"x-vercel-ai-ui-message-stream": "v1"}

    def __init__(self) -> None:
        self._open: tuple[str, str] | None = None
        self._parts = 0
        self._names: dict[str, str] = {}
        self._usage: dict[str, Any] = NO_USAGE

    def encode(self, event: StoredEvent) -> bytes:
        return b"".join([data(chunk) for chunk in self._chunks(event.kind, loads(event.payload))])

    def problem(self, problem: Problem) -> bytes:
        return data({"type": "error", "errorText": problem.detail})

    def end(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _chunks(self, kind: str, fields: dict[str, Any]) -> _Chunks:
        if kind in ("text_delta", "thinking"):
            yield from self._text("text" if kind == "text_delta" else "reasoning", fields["text"])
        elif kind == "run_started":
            wanted = ("run_id", "conversation_id", "session_id", "user_message_id")
            yield {"type": "start", "messageId": fields["message_id"], "messageMetadata": {k: fields.get(k) for k in wanted}}
            yield {"type": "start-step"}
        elif kind.startswith("tool_call_"):
            yield from self._call(kind, fields)
        elif kind == "approval_required":
            yield {"type": "tool-approval-request", "approvalId": fields["approval_id"], "toolCallId": fields["call_id"]}
            yield {"type": "data-approval", "id": fields["approval_id"], "data": _without(fields, "run_id", "seq", "at")}
        elif kind == "citation":
            yield from _source(fields["citation"])
        elif kind == "notice":
            yield {"type": "data-notice", "data": {"code": fields["code"], "text": fields["text"]}}
        elif kind == "usage":
            self._usage = {k: fields[k] for k in ("input_tokens", "output_tokens", "cost", "currency")}
        elif kind in ("done", "error"):
            yield from self._close()
            yield from self._last(kind, fields)

    def _text(self, kind: str, text: str) -> _Chunks:
        if self._open is None or self._open[0] != kind:
            yield from self._close()
            self._parts += 1
            self._open = (kind, f"{kind}-{self._parts}")
            yield {"type": f"{kind}-start", "id": self._open[1]}
        yield {"type": f"{kind}-delta", "id": self._open[1], "delta": text}

    def _close(self) -> _Chunks:
        if self._open is not None:
            kind, part = self._open
            self._open = None
            yield {"type": f"{kind}-end", "id": part}

    def _call(self, kind: str, fields: dict[str, Any]) -> _Chunks:
        call = fields["call_id"]
        if kind == "tool_call_start":
            yield from self._close()
            self._names[call] = fields["name"]
            yield {"type": "tool-input-start", "toolCallId": call, "toolName": fields["name"], **_OURS}
        elif kind == "tool_call_args":
            yield {
                "type": "tool-input-available", "toolCallId": call, "toolName": self._names.get(call, ""), "input": fields["arguments"],
                **_OURS,
            }  # fmt: skip
        elif fields["outcome"] == "ok":
            output = {"summary": fields["summary"], "duration_ms": fields["duration_ms"]}
            yield {"type": "tool-output-available", "toolCallId": call, "output": output, **_OURS}
        else:
            yield {"type": "tool-output-error", "toolCallId": call, "errorText": fields["summary"], **_OURS}

    def _last(self, kind: str, fields: dict[str, Any]) -> _Chunks:
        if kind == "error":
            yield {"type": "error", "errorText": fields["detail"]}
            return
        if fields["state"] == "cancelled":
            yield {"type": "abort", "reason": "cancelled"}
            return
        yield {"type": "finish-step"}
        yield {
            "type": "finish", "finishReason": "tool-calls" if fields["state"] == "waiting_approval" else "stop",
            "messageMetadata": {k: fields.get(k) for k in ("run_id", "state", "confidence")} | {"usage": self._usage},
        }  # fmt: skip


def _source(citation: dict[str, Any]) -> _Chunks:
    """A link where the source has one, and the citation itself, whose place in the document the SDK knows nothing of."""
    source, title = str(citation.get("id", "")), str(citation.get("title") or "")
    if citation.get("url"):
        yield {"type": "source-url", "sourceId": source, "url": citation["url"], "title": title}
    else:
        yield {"type": "source-document", "sourceId": source, "mediaType": "text/plain", "title": title}
    yield {"type": "data-citation", "id": source, "data": citation}


def _without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in names}
