"""What the fake provider says in one answer, and how it fails."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

_MOCK = re.compile(r"mock-ttft(\d+)-itl(\d+)-len(\d+)")


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    name: str
    arguments: dict[str, Any] | str = field(default_factory=dict)
    """A string is sent as it is: malformed arguments."""
    id: str = "call_1"

    @property
    def text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One answer. Latencies in seconds; `*_after` count the events sent before the fault."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    thinking: str = ""
    signature: str = "c2lnbmF0dXJl"
    redacted_thinking: str = ""
    refusal: str = ""
    finish: str | None = None
    """The provider's own finish reason; None = what fits."""
    input_tokens: int = 25
    output_tokens: int = 12
    cached_tokens: int = 0
    usage: bool = True
    ttft: float = 0
    itl: float = 0
    status: int = 200
    retry_after: str | None = None
    error_code: str = "server_error"
    error_message: str = "The fake provider refuses."
    break_after: int | None = None
    """The connection is dropped."""
    end_after: int | None = None
    """The body ends well-formed, without the provider's own end."""
    hang_after: int | None = None
    error_after: int | None = None
    """An error event inside the stream, of kind `error_code`."""
    raw: bytes | None = None
    """This body instead of a stream."""
    repeat: int = 1
    """The text is sent this many times."""
    whole: bool = False
    """The text in one piece, not word by word."""
    unknown_events: bool = False
    """Sprinkle event kinds and fields no client knows."""

    def pieces(self) -> list[str]:
        """The text as it is streamed."""
        words = [self.text] if self.whole else re.findall(r"\s*\S+\s*$|\s*\S+", self.text) or ([self.text] if self.text else [])
        return words * self.repeat


def turn_of_model_name(model: str) -> Turn | None:
    """The turn a `mock-…` name asks for."""
    match = _MOCK.search(model)
    if match is None:
        return None
    ttft, itl, length = (int(g) for g in match.groups())
    return Turn(text="tok", repeat=length, ttft=ttft / 1_000, itl=itl / 1_000, output_tokens=length)
