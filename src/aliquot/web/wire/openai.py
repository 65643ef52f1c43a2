"""OpenAI chat-completion chunks for `/v1/chat/completions` with `stream: true`."""

from typing import Any, ClassVar

from aliquot.chat.contracts import StoredEvent
from aliquot.kernel.problems import Problem
from aliquot.web.wire.common import data, loads


class OpenAIEncoder:
    """`include_usage` follows `stream_options.include_usage`: a last chunk with empty `choices` and the usage."""

    media_type = "text/event-stream"
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, model: str, created: int, *, include_usage: bool = False) -> None:
        self._model, self._created, self._include_usage = model, created, include_usage
        self._id = "chatcmpl-0"
        self._usage: dict[str, int] = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}

    def encode(self, event: StoredEvent) -> bytes:
        fields = loads(event.payload)
        if event.kind == "run_started":
            self._id = f"chatcmpl-{fields['run_id']}"
            return self._chunk({"role": "assistant", "content": ""})
        if event.kind == "text_delta":
            return self._chunk({"content": fields["text"]})
        if event.kind == "usage":
            spent = fields["input_tokens"], fields["output_tokens"]
            self._usage = {"prompt_tokens": spent[0], "completion_tokens": spent[1], "total_tokens": sum(spent)}
        elif event.kind == "done":
            usage = data(self._envelope([]) | {"usage": self._usage}) if self._include_usage else b""
            return self._chunk({}, "stop") + usage
        elif event.kind == "error":
            return data({"error": {"message": fields["detail"], "type": "server_error", "code": fields["code"], "param": None}})
        return b""

    def problem(self, problem: Problem) -> bytes:
        return data({"error": {"message": problem.detail, "type": "server_error", "code": problem.code, "param": None}})

    def end(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        return data(self._envelope([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]))

    def _envelope(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self._model, "choices": choices}
