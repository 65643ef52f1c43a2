"""Anthropic Messages, streamed: text, thinking with its signature, tool calls.

Thinking blocks are kept as they came (`Turn.native`): with tool use they must go back verbatim in the next request.
"""

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from aliquot.models.config import ModelConfig
from aliquot.models.contracts import ImagePart, ModelMessage, StopReason, TextDelta, ThinkingDelta, ToolUseStart
from aliquot.models.errors import ProviderMisbehaved
from aliquot.models.providers.base import (
    MAX_TEXT_CHARS,
    MAX_TOOL_USES,
    Call,
    Delta,
    EventDecoder,
    SseSplitter,
    ToolParts,
    Turn,
    arguments_object,
    raw_body,
)
from aliquot.models.providers.failures import from_stream, mapped

PUBLIC_URL = "https://api.anthropic.com"
_STOP: dict[str, StopReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_use",
    "refusal": "refusal",
}


class _Block(msgspec.Struct):
    type: str = ""
    id: str | None = None
    name: str | None = None
    text: str | None = None
    input: Any = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


class _Delta(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Message(msgspec.Struct):
    usage: _Usage | None = None


class _Error(msgspec.Struct):
    type: str = ""


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: _Error | None = None


_events = msgspec.json.Decoder(_Event)


class _Thinking(msgspec.Struct):
    """A thinking block while it arrives."""

    text: list[str]
    signature: str = ""
    redacted: str | None = None

    def native(self) -> dict[str, Any]:
        if self.redacted is not None:
            return {"type": "redacted_thinking", "data": self.redacted}
        return {"type": "thinking", "thinking": "".join(self.text), "signature": self.signature}


def native_block(part: "_Thinking | ToolParts | list[str]") -> dict[str, Any]:
    """A finished block in the form in which it goes back."""
    if isinstance(part, _Thinking):
        return part.native()
    if isinstance(part, ToolParts):
        return {"type": "tool_use", "id": part.call_id, "name": part.name, "input": arguments_object(part.use().arguments)}
    return {"type": "text", "text": "".join(part)}


class AnthropicDecoder(EventDecoder):
    """Message stream events to deltas."""

    def __init__(self, endpoint: str = "") -> None:
        super().__init__()
        self._endpoint = endpoint
        self._sse = SseSplitter()
        self._text: dict[int, list[str]] = {}
        self._chars = 0
        self._thinking: dict[int, _Thinking] = {}
        self._tools: dict[int, ToolParts] = {}
        self._usage = _Usage()
        self._stop: str | None = None
        self._complete = False

    def feed(self, data: bytes) -> list[Delta]:
        return self._run(self._sse.feed(data))

    def finish(self) -> list[Delta]:
        return self._run(self._sse.rest())

    def _event(self, data: bytes, deltas: list[Delta]) -> None:
        try:
            event = _events.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProviderMisbehaved from error
        self.events += 1
        kind = event.type
        if kind == "content_block_delta" and event.delta is not None:
            self._block_delta(event.index, event.delta, deltas)
        elif kind == "content_block_start" and event.content_block is not None:
            self._block_start(event.index, event.content_block, deltas)
        elif kind == "message_start" and event.message is not None:
            self._count(event.message.usage)
        elif kind == "message_delta":
            self._count(event.usage)
            self._stop = (event.delta.stop_reason if event.delta else None) or self._stop
        elif kind == "message_stop":
            self._complete = True
        elif kind == "error":
            raise from_stream(self._endpoint, event.error.type if event.error else "")
        elif kind not in {"ping", "content_block_stop"}:
            self.unknown += 1

    def _block_start(self, index: int, block: _Block, deltas: list[Delta]) -> None:
        if block.type == "text":
            self._add_text(index, block.text, deltas)
        elif block.type == "tool_use":
            if not block.name or len(self._tools) >= MAX_TOOL_USES:
                raise ProviderMisbehaved
            self._tools[index] = parts = ToolParts(call_id=block.id or f"call_{index}", name=block.name)
            if block.input:
                parts.arguments.append(msgspec.json.encode(block.input).decode())
            deltas.append(ToolUseStart(parts.call_id, parts.name))
        elif block.type == "thinking":
            self._thinking[index] = _Thinking([block.thinking or ""], block.signature or "")
        elif block.type == "redacted_thinking":
            self._thinking[index] = _Thinking([], redacted=block.data or "")
        else:
            self.unknown += 1

    def _block_delta(self, index: int, delta: _Delta, deltas: list[Delta]) -> None:
        if delta.text is not None:
            self._add_text(index, delta.text, deltas)
        elif delta.partial_json is not None:
            if (parts := self._tools.get(index)) is not None:
                self._grow(len(delta.partial_json))
                parts.arguments.append(delta.partial_json)
        elif delta.thinking is not None:
            self._grow(len(delta.thinking))
            self._thinking.setdefault(index, _Thinking([])).text.append(delta.thinking)
            if delta.thinking:
                deltas.append(ThinkingDelta(delta.thinking))
        elif delta.signature is not None:
            self._thinking.setdefault(index, _Thinking([])).signature = delta.signature
        else:
            self.unknown += 1

    def _add_text(self, index: int, text: str | None, deltas: list[Delta]) -> None:
        if text:
            self._grow(len(text))
            self._text.setdefault(index, []).append(text)
            deltas.append(TextDelta(text))

    def _grow(self, chars: int) -> None:
        self._chars += chars
        if self._chars > MAX_TEXT_CHARS:
            raise ProviderMisbehaved

    def _count(self, usage: _Usage | None) -> None:
        """Later reports replace earlier ones, field by field: they are cumulative."""
        if usage is not None:
            for name in _Usage.__struct_fields__:
                if (value := getattr(usage, name)) is not None:
                    setattr(self._usage, name, value)

    def _native(self) -> tuple[dict[str, Any], ...]:
        """All blocks in their order once there is thinking among them: it is only valid in its place."""
        if not self._thinking:
            return ()
        parts: dict[int, _Thinking | ToolParts | list[str]] = {**self._text, **self._tools, **self._thinking}
        return tuple(native_block(parts[i]) for i in sorted(parts))

    def turn(self) -> Turn:
        usage = self._usage
        cached = usage.cache_read_input_tokens or 0
        whole = None if usage.input_tokens is None else usage.input_tokens + cached + (usage.cache_creation_input_tokens or 0)
        return Turn(
            text="".join(part for i in sorted(self._text) for part in self._text[i]),
            tool_uses=tuple(self._tools[i].use() for i in sorted(self._tools)),
            native=self._native(),
            stop_reason=_STOP.get(self._stop or "", "tool_use" if self._tools else "stop"),
            input_tokens=whole,
            output_tokens=usage.output_tokens,
            cached_tokens=cached,
            complete=self._complete,
            thinking_chars=sum(len(part) for t in self._thinking.values() for part in t.text),
        )


class AnthropicAdapter:
    """One Anthropic-speaking endpoint."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._client: Any = None
        self._sdk: Any = None
        self._lock = asyncio.Lock()

    def decoder(self) -> AnthropicDecoder:
        return AnthropicDecoder(self._config.name)

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        client = await self._connected()
        with mapped(self._config.name, sdk=self._sdk):
            body = request_body(call)
            # As extra_body: the SDK walks typed arguments leaf by leaf, and no longer knows the sampling parameters of older models.
            create = client.messages.with_streaming_response.create
            required = {"model": body.pop("model"), "max_tokens": body.pop("max_tokens"), "messages": ()}
            async with aclosing(raw_body(create(**required, stream=True, extra_body=body))) as chunks:
                async for data in chunks:
                    yield data

    async def _connected(self) -> Any:
        """The SDK client, made at first use; its import takes two to three seconds and runs in a thread."""
        if self._client is None:
            async with self._lock:
                if self._client is None:
                    self._client = await asyncio.to_thread(self._connect)
        return self._client

    def _connect(self) -> Any:
        import anthropic  # noqa: PLC0415 - slow import, only for sites that use it
        import httpx2  # noqa: PLC0415

        from aliquot.models.providers.transport import client_for  # noqa: PLC0415 - needs httpx2

        config = self._config
        timeout = httpx2.Timeout(connect=10, read=config.idle_seconds, write=30, pool=10)
        base_url = config.base_url or PUBLIC_URL
        # Key given and token refused explicitly, so that the SDK sends nothing from the environment to another server.
        http = client_for(base_url, timeout)
        client = anthropic.AsyncAnthropic(
            api_key=config.api_key() or "none", base_url=base_url, max_retries=0, timeout=timeout, http_client=http
        )
        client.auth_token = None
        self._sdk = anthropic
        return client

    async def warm(self) -> None:
        await self._connected()

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


def request_body(call: Call) -> dict[str, Any]:
    """The body of one call."""
    config = call.config
    body: dict[str, Any] = {
        "model": config.model,
        "messages": conversation(call.messages),
        "max_tokens": call.max_output_tokens,
        "stream": True,
    }
    if call.system:
        body["system"] = call.system
    thinking = _thinking(config, call)
    if thinking is not None:
        body["thinking"] = thinking  # the API refuses temperature and top_p together with thinking
        if isinstance(config.thinking, str):
            body["output_config"] = {"effort": "low" if config.thinking == "minimal" else config.thinking}
    else:
        for key in ("temperature", "top_p"):
            if (value := getattr(call, key)) is not None:
                body[key] = value
    if call.tools:
        body["tools"] = [{"name": t.name, "description": t.description, "input_schema": _object_schema(t.parameters)} for t in call.tools]
    return body


def _thinking(config: ModelConfig, call: Call) -> dict[str, Any] | None:
    if config.thinking is False or _foreign_tool_turn(call.messages):
        return None
    if isinstance(config.thinking, bool | str):
        return {"type": "adaptive"}
    return {"type": "enabled", "budget_tokens": config.thinking} if config.thinking < call.max_output_tokens else None


def _foreign_tool_turn(messages: tuple[ModelMessage, ...]) -> bool:
    """True while results are given to calls another provider asked for: the API then refuses thinking without its blocks."""
    last = next((m for m in reversed(messages) if m.role != "tool"), None)
    return last is not None and bool(last.tool_uses) and last.native_provider != "anthropic"


def _object_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return schema if schema.get("type") == "object" else {"type": "object", **schema}


def conversation(messages: tuple[ModelMessage, ...]) -> list[dict[str, Any]]:
    """The history in Anthropic's terms: it begins with a user turn, turns alternate, results of tools are user blocks."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message)
        if not turns and role == "assistant":
            turns.append({"role": "user", "content": [{"type": "text", "text": "(The earlier conversation is left out.)"}]})
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: ModelMessage) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.call_id or "", "content": message.text or "(empty)"}]
    text = [{"type": "text", "text": message.text}] if message.text.strip() else []
    if message.role == "user":
        return [*map(_image, message.images), *text] or [{"type": "text", "text": "(empty)"}]
    if message.native and message.native_provider == "anthropic":
        return list(message.native)
    uses = [{"type": "tool_use", "id": u.call_id, "name": u.name, "input": arguments_object(u.arguments)} for u in message.tool_uses]
    return text + uses


def _image(image: ImagePart) -> dict[str, Any]:
    data = base64.b64encode(image.data).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": data}}
