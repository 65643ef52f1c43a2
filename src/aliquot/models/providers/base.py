"""What every adapter shares: the call, the decoder protocol, the finished turn, bounds and the event-stream line splitter."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from aliquot.models.config import ModelConfig
from aliquot.models.contracts import ModelMessage, StopReason, TextDelta, ThinkingDelta, ToolSpec, ToolUse, ToolUseStart
from aliquot.models.errors import ModelProblem, ProviderMisbehaved

MAX_EVENT_BYTES = 1_000_000
MAX_STREAM_BYTES = 32_000_000
MAX_TEXT_CHARS = 2_000_000
MAX_TOOL_USES = 128

READ = "aliquot.read"
"""The extension of a response by which `transport.LeanTransport` gives its body without the client's three generators around it."""

Delta = TextDelta | ThinkingDelta | ToolUseStart


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One attempt at one endpoint: everything already trimmed, counted and allowed."""

    config: ModelConfig
    system: str
    messages: tuple[ModelMessage, ...]
    tools: tuple[ToolSpec, ...]
    max_output_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    response_schema: dict[str, Any] | None = None
    """Constrained decoding: the JSON Schema the answer must follow."""


@dataclass(slots=True, kw_only=True)
class Turn:
    """An assistant turn as far as it has arrived. Token counts are None until the provider reports them."""

    text: str = ""
    tool_uses: tuple[ToolUse, ...] = ()
    native: tuple[dict[str, Any], ...] = ()
    stop_reason: StopReason = "stop"
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int = 0
    complete: bool = False
    """The provider said it was finished; without this an end of the stream is a break."""
    thinking_chars: int = 0


class Decoder(Protocol):
    """Raw bytes to deltas, no I/O. Whatever the splits of the bytes, the concatenated deltas and the turn are the same."""

    @property
    def unknown(self) -> int:
        """Events of a kind we do not know: counted, never fatal."""

    @property
    def events(self) -> int:
        """Events understood."""

    def feed(self, data: bytes) -> list[Delta]:
        """Raises a ModelProblem for nonsense or an error the provider sent inside the stream."""

    def finish(self) -> list[Delta]:
        """The body has ended: what a last event without its blank line still brings."""

    def turn(self) -> Turn:
        """What has arrived so far."""


class Adapter(Protocol):
    """The connection to one declared endpoint."""

    def decoder(self) -> Decoder: ...

    def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        """The raw body of one attempt. Raises a ModelProblem. Closing the iterator ends the call."""

    async def warm(self) -> None:
        """Import and connect lazily loaded parts ahead of the first call."""

    async def close(self) -> None: ...


class SseSplitter:
    """Splits a `text/event-stream` body into the data of its events; event names are repeated inside the data by every provider we read.

    Lines end in LF or CRLF. A bare CR, which the standard allows too, is not used by any provider and is not supported.
    """

    def __init__(self) -> None:
        self._tail = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data fields that `chunk` completes. Raises ProviderMisbehaved when an event grows beyond MAX_EVENT_BYTES."""
        lines = (self._tail + chunk).split(b"\n")
        self._tail = lines.pop()
        if len(self._tail) > MAX_EVENT_BYTES:
            raise ProviderMisbehaved
        events: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:])
            elif line in {b"", b"\r"} and self._data:
                events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data.clear()
        if len(self._data) > 1 and sum(map(len, self._data)) > MAX_EVENT_BYTES:
            raise ProviderMisbehaved
        return events

    def rest(self) -> list[bytes]:
        """The last event when the body ended without its blank line (some compatible servers do)."""
        events = self.feed(b"\n\n") if self._tail or self._data else []
        self._tail = b""
        return events


async def raw_body(pending: Any) -> AsyncGenerator[bytes, None]:
    """The bytes of an SDK's streaming response as they arrive."""
    async with pending as response:
        body = response.http_response
        plain = "content-encoding" not in body.headers  # nothing to decompress: skip the SDK's decoder, which is called for every token
        if plain and (read := body.extensions.get(READ)) is not None:
            while data := await read():
                yield data
            return
        async for data in body.aiter_raw() if plain else body.aiter_bytes():
            yield data


class EventDecoder(ABC):
    """Feeds events one by one. What came before a failing event is still handed out; the failure is raised by the next call."""

    def __init__(self) -> None:
        self.unknown = 0
        self.events = 0
        self._failure: ModelProblem | None = None

    @abstractmethod
    def _event(self, event: bytes, deltas: list[Delta]) -> None:
        """Decode one event; what it means for the answer is appended to `deltas`."""

    def _run(self, events: list[bytes]) -> list[Delta]:
        if self._failure is not None:
            raise self._failure
        deltas: list[Delta] = []
        for event in events:
            try:
                self._event(event, deltas)
            except ModelProblem as problem:
                if not deltas:
                    raise
                self._failure = problem
                break
        return merged(deltas)


def merged(deltas: list[Delta]) -> list[Delta]:
    """Adjacent deltas of one kind joined: what one network read brought is one event."""
    if len(deltas) < 2:
        return deltas
    result: list[Delta] = [deltas[0]]
    for delta in deltas[1:]:
        last = result[-1]
        if isinstance(delta, TextDelta) and isinstance(last, TextDelta):
            result[-1] = TextDelta(last.text + delta.text)
        elif isinstance(delta, ThinkingDelta) and isinstance(last, ThinkingDelta):
            result[-1] = ThinkingDelta(last.text + delta.text)
        else:
            result.append(delta)
    return result


_CALL_ID_CHARS = 200


@dataclass(slots=True)
class ToolParts:
    """A tool call while its arguments arrive."""

    call_id: str
    name: str
    arguments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raises ProviderMisbehaved for an id that could not be stored and sent back."""
        if len(self.call_id) > _CALL_ID_CHARS or not self.call_id.isprintable():
            raise ProviderMisbehaved

    def use(self) -> ToolUse:
        return ToolUse(call_id=self.call_id, name=self.name, arguments="".join(self.arguments) or "{}")


class ToolNames:
    """Providers take `[a-zA-Z0-9_-]{1,64}` as a tool's name; ours may hold more (MCP). Reversible within one request."""

    _PLAIN = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")

    def __init__(self, names: Iterable[str]) -> None:
        self._wire: dict[str, str] = {}
        self._ours: dict[str, str] = {}
        for name in names:
            wire = name
            if not self._PLAIN.match(name) or name in self._ours:
                wire = f"{re.sub(r'[^a-zA-Z0-9_-]', '_', name)[:56]}_{len(self._wire)}"
            self._wire[name], self._ours[wire] = wire, name

    def wire(self, name: str) -> str:
        """The name as the provider sees it."""
        return self._wire.get(name) or (name if self._PLAIN.match(name) else re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "tool")

    def ours(self, name: str) -> str:
        """Our name for what the provider said; an unknown name stays as it is and is refused by whoever executes."""
        return self._ours.get(name, name)

    def call(self, call: Call) -> Call:
        """`call` with every tool name in wire form."""
        tools = tuple(t if self.wire(t.name) == t.name else replace(t, name=self.wire(t.name)) for t in call.tools)
        return replace(call, tools=tools, messages=tuple(self._message(m) for m in call.messages))

    def _message(self, message: ModelMessage) -> ModelMessage:
        if all(self.wire(u.name) == u.name for u in message.tool_uses):
            return message
        return replace(message, tool_uses=tuple(replace(u, name=self.wire(u.name)) for u in message.tool_uses))


def arguments_object(text: str) -> dict[str, Any]:
    """The arguments as an object for providers that want one back; what is not an object was refused before and goes as empty."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
