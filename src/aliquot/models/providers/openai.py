"""OpenAI chat completions, streamed: OpenAI itself, Azure, and every compatible server (vLLM, Ollama, llama.cpp, …).

Only the fields used are decoded, from the raw bytes (msgspec): this is the hot path of every streamed token.
"""

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec

from aliquot.models.config import ModelConfig
from aliquot.models.contracts import ImagePart, ModelMessage, StopReason, TextDelta, ThinkingDelta, ToolUseStart
from aliquot.models.errors import ModelProblem, ProviderMisbehaved
from aliquot.models.providers.base import MAX_TEXT_CHARS, MAX_TOOL_USES, Call, Delta, EventDecoder, SseSplitter, ToolParts, Turn, raw_body
from aliquot.models.providers.failures import from_stream, mapped

PUBLIC_URL = "https://api.openai.com/v1"
_STOP: dict[str, StopReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_chunks = msgspec.json.Decoder(_Chunk)
_UNREAD = {"headers": {"X-Stainless-Raw-Response": "stream"}, "security": {"bearer_auth": True}}
"""What `with_streaming_response` asks for: the response as it comes, with the SDK's credentials."""


class OpenAIDecoder(EventDecoder):
    """Chat-completion chunks to deltas."""

    def __init__(self, endpoint: str = "") -> None:
        super().__init__()
        self._endpoint = endpoint
        self._sse = SseSplitter()
        self._text: list[str] = []
        self._chars = 0
        self._thinking_chars = 0
        self._refused = False
        self._tools: list[ToolParts] = []
        self._by_index: dict[int, ToolParts] = {}
        self._finish: str | None = None
        self._done = False
        self._usage: _Usage | None = None

    def feed(self, data: bytes) -> list[Delta]:
        return self._run(self._sse.feed(data))

    def finish(self) -> list[Delta]:
        return self._run(self._sse.rest())

    def _event(self, event: bytes, deltas: list[Delta]) -> None:
        if b"[DONE]" in event[:8]:
            self._done = True
            return
        try:
            chunk = _chunks.decode(event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProviderMisbehaved from error
        self.events += 1
        if chunk.usage is not None:
            self._usage = chunk.usage
        if not chunk.choices:
            if chunk.error is not None:
                raise _stream_error(self._endpoint, chunk.error)
            self.unknown += chunk.usage is None
            return
        choice = chunk.choices[0]
        if choice.index != 0:
            return
        if choice.finish_reason:
            self._finish = choice.finish_reason
        if choice.delta is not None:
            self._delta(choice.delta, deltas)

    def _delta(self, delta: _Delta, deltas: list[Delta]) -> None:
        text = delta.content
        if delta.refusal:
            self._refused = True
            text = (text or "") + delta.refusal
        if text:
            self._text.append(text)
            self._chars += len(text)
            if self._chars > MAX_TEXT_CHARS:
                raise ProviderMisbehaved
            deltas.append(TextDelta(text))
        thinking = delta.reasoning_content or delta.reasoning
        if thinking:
            self._thinking_chars += len(thinking)
            deltas.append(ThinkingDelta(thinking))
        if delta.tool_calls:
            for part in delta.tool_calls:
                self._tool(part, deltas)

    def _tool(self, part: _ToolCall, deltas: list[Delta]) -> None:
        """A new index, or an id not seen where servers send no index, begins a call; everything else continues one."""
        function = part.function or _Function()
        open_call = self._by_index.get(part.index) if part.index is not None else (self._tools[-1] if self._tools else None)
        begins = open_call is None or (part.index is None and bool(part.id) and part.id != open_call.call_id)
        if open_call is None or begins:
            if not function.name or len(self._tools) >= MAX_TOOL_USES:
                raise ProviderMisbehaved
            open_call = ToolParts(call_id=part.id or f"call_{len(self._tools)}", name=function.name)
            self._tools.append(open_call)
            if part.index is not None:
                self._by_index[part.index] = open_call
            deltas.append(ToolUseStart(open_call.call_id, open_call.name))
        if isinstance(function.arguments, dict):
            open_call.arguments.append(msgspec.json.encode(function.arguments).decode())
        elif function.arguments:
            open_call.arguments.append(function.arguments)
            self._chars += len(function.arguments)
            if self._chars > MAX_TEXT_CHARS:
                raise ProviderMisbehaved

    def turn(self) -> Turn:
        usage = self._usage or _Usage()
        details = usage.prompt_tokens_details
        stop: StopReason = "refusal" if self._refused else _STOP.get(self._finish or "", "stop")
        if self._tools and stop == "stop":
            stop = "tool_use"
        return Turn(
            text="".join(self._text),
            tool_uses=tuple(t.use() for t in self._tools),
            stop_reason=stop,
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            cached_tokens=(details.cached_tokens if details else 0) or 0,
            complete=self._done or self._finish is not None,
            thinking_chars=self._thinking_chars,
        )


def _stream_error(endpoint: str, error: Any) -> ModelProblem:
    kind = (error.get("code") or error.get("type") or "") if isinstance(error, dict) else ""
    return from_stream(endpoint, str(kind))


@asynccontextmanager
async def _answer(client: Any, body: bytes) -> AsyncGenerator[Any, None]:
    """The SDK's response before its body is read. Not by `chat.completions.create`, which walks the request leaf by leaf, milliseconds for
    a long history, and writes it with the slow JSON encoder: this is the SDK's door for requests it does not know."""
    response = await client.post("/chat/completions", content=body, cast_to=object, options=_UNREAD)
    try:
        yield response
    finally:
        await response.close()


class OpenAIAdapter:
    """One OpenAI-speaking endpoint."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._client: Any = None
        self._sdk: Any = None
        self._lock = asyncio.Lock()

    def decoder(self) -> OpenAIDecoder:
        return OpenAIDecoder(self._config.name)

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        client = await self.connected()
        with mapped(self._config.name, sdk=self._sdk):
            async with aclosing(raw_body(_answer(client, msgspec.json.encode(request_body(call))))) as chunks:
                async for data in chunks:
                    yield data

    async def connected(self) -> Any:
        """The SDK client, made at first use; its import takes about a second and runs in a thread."""
        if self._client is None:
            async with self._lock:
                if self._client is None:
                    self._client = await asyncio.to_thread(self._connect)
        return self._client

    def _connect(self) -> Any:
        import httpx2  # noqa: PLC0415 - with the SDK, at first use
        import openai  # noqa: PLC0415 - slow import, only for sites that use it

        from aliquot.models.providers.transport import client_for  # noqa: PLC0415 - needs httpx2

        self._sdk, config = openai, self._config
        timeout = httpx2.Timeout(connect=10, read=config.idle_seconds, write=30, pool=10)
        # A key is always given, so that the SDK never sends OPENAI_API_KEY to another server on its own.
        common: dict[str, Any] = {"api_key": config.api_key() or "none", "max_retries": 0, "timeout": timeout}
        common["http_client"] = client_for(config.base_url or PUBLIC_URL, timeout)
        if config.api_version is not None:
            return openai.AsyncAzureOpenAI(
                azure_endpoint=config.base_url or "", azure_deployment=config.model, api_version=config.api_version, **common
            )
        return openai.AsyncOpenAI(base_url=config.base_url or PUBLIC_URL, **common)

    async def warm(self) -> None:
        await self.connected()

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


def request_body(call: Call) -> dict[str, Any]:
    """The body of one call."""
    config = call.config
    body: dict[str, Any] = {
        "model": config.model,
        "messages": _messages(call),
        "stream": True,
        "stream_options": {"include_usage": True},
        # Compatible servers know the old name, OpenAI's reasoning models only the new one.
        ("max_completion_tokens" if config.provider == "openai" else "max_tokens"): call.max_output_tokens,
    }
    for key in ("temperature", "top_p", "seed"):
        if (value := getattr(call, key)) is not None:
            body[key] = value
    if isinstance(config.thinking, str):
        body["reasoning_effort"] = config.thinking
    if call.tools:
        body["tools"] = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}} for t in call.tools
        ]
    if call.response_schema is not None:
        schema = {"name": "reply", "schema": call.response_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _messages(call: Call) -> list[dict[str, Any]]:
    messages = [{"role": "system", "content": call.system}] if call.system else []
    return messages + [_message(m) for m in call.messages]


def _message(message: ModelMessage) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.call_id or "", "content": message.text}
    if message.role == "assistant" and message.tool_uses:
        calls = [{"id": u.call_id, "type": "function", "function": {"name": u.name, "arguments": u.arguments}} for u in message.tool_uses]
        return {"role": "assistant", "content": message.text or None, "tool_calls": calls}
    if message.images:
        seen = [{"type": "image_url", "image_url": {"url": _data_url(image)}} for image in message.images]
        return {"role": message.role, "content": [{"type": "text", "text": message.text}, *seen]}
    return {"role": message.role, "content": message.text}


def _data_url(image: ImagePart) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"
