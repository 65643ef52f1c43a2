"""Amazon Bedrock through boto3 `converse_stream`, in a bounded pool of threads of its own.

boto3 knows only blocking calls: one thread holds one stream. It reads the event-stream frames; what it understood comes
here as one line of JSON per event.
"""

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import msgspec

from aliquot.models.config import ModelConfig
from aliquot.models.contracts import StopReason, TextDelta, ThinkingDelta, ToolUseStart
from aliquot.models.errors import ModelProblem, ProviderBusy, ProviderMisbehaved, ProviderRefused
from aliquot.models.providers.base import (
    MAX_EVENT_BYTES,
    MAX_TEXT_CHARS,
    MAX_TOOL_USES,
    Call,
    Delta,
    EventDecoder,
    ToolParts,
    Turn,
)
from aliquot.models.providers.bedrock_request import request_body, tool_use
from aliquot.models.providers.failures import from_status, from_stream, log

_MOST_THREADS = 128
_STOP: dict[str, StopReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_use",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "refusal",
    "content_filtered": "refusal",
}
_BROKEN_STOPS = frozenset({"malformed_model_output", "malformed_tool_use"})


class _ToolStart(msgspec.Struct, rename="camel"):
    tool_use_id: str = ""
    name: str = ""


class _Start(msgspec.Struct, rename="camel"):
    tool_use: _ToolStart | None = None


class _ToolDelta(msgspec.Struct):
    input: str = ""


class _Reasoning(msgspec.Struct, rename="camel"):
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class _Delta(msgspec.Struct, rename="camel"):
    text: str | None = None
    tool_use: _ToolDelta | None = None
    reasoning_content: _Reasoning | None = None


class _Block(msgspec.Struct, rename="camel"):
    content_block_index: int = 0
    start: _Start | None = None
    delta: _Delta | None = None


class _MessageStop(msgspec.Struct, rename="camel"):
    stop_reason: str = ""


class _Usage(msgspec.Struct, rename="camel"):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None


class _Metadata(msgspec.Struct):
    usage: _Usage | None = None


class _Event(msgspec.Struct, rename="camel"):
    message_start: Any = None
    content_block_start: _Block | None = None
    content_block_delta: _Block | None = None
    content_block_stop: Any = None
    message_stop: _MessageStop | None = None
    metadata: _Metadata | None = None


_events = msgspec.json.Decoder(_Event)


class _Thinking(msgspec.Struct):
    text: list[str]
    signature: str = ""
    redacted: str = ""

    def native(self) -> dict[str, Any]:
        if self.redacted:
            return {"reasoningContent": {"redactedContent": self.redacted}}
        return {"reasoningContent": {"reasoningText": {"text": "".join(self.text), "signature": self.signature}}}


class BedrockDecoder(EventDecoder):
    """ConverseStream events, one JSON object a line, to deltas."""

    def __init__(self) -> None:
        super().__init__()
        self._tail = b""
        self._chars = 0
        self._text: dict[int, list[str]] = {}
        self._tools: dict[int, ToolParts] = {}
        self._thinking: dict[int, _Thinking] = {}
        self._usage = _Usage()
        self._stop: str | None = None

    def feed(self, data: bytes) -> list[Delta]:
        lines = (self._tail + data).split(b"\n")
        self._tail = lines.pop()
        if len(self._tail) > MAX_EVENT_BYTES:
            raise ProviderMisbehaved
        return self._run(lines)

    def finish(self) -> list[Delta]:
        return self._run([])

    def _event(self, line: bytes, deltas: list[Delta]) -> None:
        try:
            event = _events.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProviderMisbehaved from error
        self.events += 1
        if (block := event.content_block_delta) is not None and block.delta is not None:
            self._delta(block.content_block_index, block.delta, deltas)
        elif (block := event.content_block_start) is not None:
            self._start(block, deltas)
        elif event.message_stop is not None:
            self._stop = event.message_stop.stop_reason
            if self._stop in _BROKEN_STOPS:
                raise ProviderMisbehaved
        elif event.metadata is not None:
            self._usage = event.metadata.usage or self._usage
        elif event.message_start is None and event.content_block_stop is None:
            self.unknown += 1

    def _start(self, block: _Block, deltas: list[Delta]) -> None:
        if block.start is None or block.start.tool_use is None:
            self.unknown += 1
            return
        tool = block.start.tool_use
        if not tool.name or len(self._tools) >= MAX_TOOL_USES:
            raise ProviderMisbehaved
        parts = ToolParts(call_id=tool.tool_use_id or f"call_{block.content_block_index}", name=tool.name)
        self._tools[block.content_block_index] = parts
        deltas.append(ToolUseStart(parts.call_id, parts.name))

    def _delta(self, index: int, delta: _Delta, deltas: list[Delta]) -> None:
        if delta.text is not None:
            self._grow(delta.text)
            self._text.setdefault(index, []).append(delta.text)
            if delta.text:
                deltas.append(TextDelta(delta.text))
        elif delta.tool_use is not None:
            if (parts := self._tools.get(index)) is not None:
                self._grow(delta.tool_use.input)
                parts.arguments.append(delta.tool_use.input)
        elif delta.reasoning_content is not None:
            self._reasoning(index, delta.reasoning_content, deltas)
        else:
            self.unknown += 1

    def _reasoning(self, index: int, reasoning: _Reasoning, deltas: list[Delta]) -> None:
        block = self._thinking.setdefault(index, _Thinking([]))
        if reasoning.text:
            self._grow(reasoning.text)
            block.text.append(reasoning.text)
            deltas.append(ThinkingDelta(reasoning.text))
        block.signature = reasoning.signature or block.signature
        block.redacted += reasoning.redacted_content or ""

    def _grow(self, text: str) -> None:
        self._chars += len(text)
        if self._chars > MAX_TEXT_CHARS:
            raise ProviderMisbehaved

    def _native(self) -> tuple[dict[str, Any], ...]:
        if not self._thinking:
            return ()
        blocks: dict[int, dict[str, Any]] = {i: {"text": "".join(parts)} for i, parts in self._text.items()}
        blocks |= {i: tool_use(t.call_id, t.name, t.use().arguments) for i, t in self._tools.items()}
        blocks |= {i: t.native() for i, t in self._thinking.items()}
        return tuple(blocks[i] for i in sorted(blocks))

    def turn(self) -> Turn:
        usage = self._usage
        cached = usage.cache_read_input_tokens or 0
        whole = None if usage.input_tokens is None else usage.input_tokens + cached + (usage.cache_write_input_tokens or 0)
        return Turn(
            text="".join(part for i in sorted(self._text) for part in self._text[i]),
            tool_uses=tuple(self._tools[i].use() for i in sorted(self._tools)),
            native=self._native(),
            stop_reason=_STOP.get(self._stop or "", "tool_use" if self._tools else "stop"),
            input_tokens=whole,
            output_tokens=usage.output_tokens,
            cached_tokens=cached,
            complete=self._stop is not None,
            thinking_chars=sum(len(part) for t in self._thinking.values() for part in t.text),
        )


class _Reader:
    """One stream, read in a thread; its lines arrive in `queue`, then None or the problem that ended it."""

    def __init__(self, config: ModelConfig, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._loop = loop
        self.queue: asyncio.Queue[bytes | ModelProblem | None] = asyncio.Queue()
        self._stream: Any = None
        self._stopped = False

    def run(self, client: Any, body: dict[str, Any]) -> None:
        """In the thread: call, read to the end, pass on."""
        end: ModelProblem | None = None
        try:
            if not self._stopped:
                self._stream = client.converse_stream(**body)["stream"]
                self._read()
        except Exception as error:  # noqa: BLE001 - mapped to a problem; a thread has nobody to raise to
            end = _problem(self._config.name, error)
        finally:
            if self._stream is not None:
                with suppress(Exception):
                    self._stream.close()
        self._put(end)

    def _read(self) -> None:
        for event in self._stream:
            if self._stopped:
                return
            self._put(msgspec.json.encode(event, enc_hook=str) + b"\n")

    def _put(self, item: bytes | ModelProblem | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self.queue.put_nowait, item)

    def stop(self) -> None:
        """From the loop: end the call. Shutting the socket down wakes the thread; without it the read times out."""
        self._stopped = True
        raw = getattr(self._stream, "_raw_stream", None)  # no public way: EventStream.close() does not wake a blocked read
        with suppress(Exception):
            raw.shutdown()  # type: ignore[union-attr]  # urllib3.HTTPResponse.shutdown; anything else is suppressed


class BedrockAdapter:
    """One Bedrock model in one region."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._threads = ThreadPoolExecutor(min(config.requests_in_flight, _MOST_THREADS), thread_name_prefix="bedrock")
        self._client: Any = None
        self._lock = asyncio.Lock()

    def decoder(self) -> BedrockDecoder:
        return BedrockDecoder()

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        client = await self._connected()
        reader = _Reader(self._config, asyncio.get_running_loop())
        self._threads.submit(reader.run, client, request_body(call))
        try:
            while (item := await reader.queue.get()) is not None:
                if isinstance(item, ModelProblem):
                    raise item
                yield item
        finally:
            reader.stop()

    async def _connected(self) -> Any:
        if self._client is None:
            async with self._lock:
                if self._client is None:
                    self._client = await asyncio.to_thread(self._connect)
        return self._client

    def _connect(self) -> Any:
        import boto3  # noqa: PLC0415 - slow import, only for sites that use it
        from botocore.config import Config  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        config = self._config
        options = Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            read_timeout=config.idle_seconds,
            connect_timeout=10,
            max_pool_connections=min(config.requests_in_flight, _MOST_THREADS),
        )
        try:
            session = boto3.Session(region_name=config.aws_region)
            return session.client("bedrock-runtime", endpoint_url=config.base_url, config=options)
        except (BotoCoreError, ValueError) as error:
            log.warning("model_connection_failed", endpoint=config.name, error=type(error).__name__)
            raise ProviderRefused from None

    async def warm(self) -> None:
        with suppress(ProviderRefused):
            await self._connected()

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()


def _problem(endpoint: str, error: Exception) -> ModelProblem:
    """boto3's and its transport's errors as ours."""
    from botocore import eventstream, exceptions, parsers  # noqa: PLC0415 - loaded already, by the client
    from urllib3 import exceptions as transport  # noqa: PLC0415

    if isinstance(error, exceptions.EventStreamError):
        return from_stream(endpoint, str(error.response.get("Error", {}).get("Code", "")))
    if isinstance(error, exceptions.ClientError):
        meta = error.response.get("ResponseMetadata", {})
        details = error.response.get("Error", {})
        body = {"error": {"code": details.get("Code"), "message": details.get("Message")}}
        return from_status(endpoint, int(meta.get("HTTPStatusCode", 400)), meta.get("HTTPHeaders", {}), body)
    log.warning("model_connection_failed", endpoint=endpoint, error=type(error).__name__)
    if isinstance(error, exceptions.HTTPClientError | transport.HTTPError | OSError):
        return ProviderBusy()
    if isinstance(error, eventstream.ParserError | parsers.ResponseParserError):
        return ProviderMisbehaved()
    return ProviderRefused() if isinstance(error, exceptions.BotoCoreError) else ProviderMisbehaved()
