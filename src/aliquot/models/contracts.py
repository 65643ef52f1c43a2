"""What other domains see of the model layer: what is sent to a model and what streams back."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from aliquot.kernel.money import Money

Role = Literal["user", "assistant", "tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as offered to a model."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema (2020-12) of the arguments object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """A tool call a model asked for. `arguments` is the model's text, not yet parsed or validated."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePart:
    """An image for models that take them (PNG or JPEG)."""

    media_type: str
    data: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """A file attached to a person's message: its text, or an image, or why there is neither. Content is untrusted."""

    name: str
    kind: str
    pages: int | None = None
    text: str = ""
    cut: bool = False
    """The text is only the beginning of what the file holds."""
    image: ImagePart | None = None
    problem: str | None = None
    """Why it cannot be read, as a sentence for the person and the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMessage:
    """One turn of the history given to a model."""

    role: Role
    text: str = ""
    tool_uses: tuple[ToolUse, ...] = ()
    """Assistant turns: the calls asked for."""
    call_id: str | None = None
    """Tool turns: which call this answers."""
    native: tuple[dict[str, Any], ...] = ()
    """Provider-native blocks (signed thinking) of an assistant turn, opaque; sent back verbatim to the same provider."""
    native_provider: str | None = None
    files: tuple[FilePart, ...] = ()
    """User turns: what is attached. `models.files` turns it into text and `images` that fit the model asked."""
    images: tuple[ImagePart, ...] = ()
    pinned: bool = False
    """Never dropped or summarised by context management (tool results in use, the newest user message)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One call: the system prompt, the history, the tools, and on whose account it goes."""

    system: str
    messages: tuple[ModelMessage, ...]
    tools: tuple[ToolSpec, ...] = ()
    model: str | None = None
    """Name from the models file; None takes the site's order of fallback."""
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    fallback: bool = True
    """False: this model and no other (experiments); its failure is the caller's answer."""
    patient_data: bool = False
    """The request holds patient data: only endpoints declared `patient_data = true` may receive it."""
    person_id: uuid.UUID | None = None
    run_id: uuid.UUID | None = None
    call_key: str | None = None
    """Stable id of this step: a repeated call with the same key is accounted once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and money of one call. `cost` is decimal in `currency`; cached and reasoning tokens are part of the totals."""

    input_tokens: int
    output_tokens: int
    cost: Decimal
    currency: str = "USD"
    estimated: bool = False
    """True when the provider reported nothing and the counts are our own estimate."""


# What streams back. A stream is any number of notices, deltas and tool uses, then exactly one ModelDone; a failure raises.


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    text: str


class ThinkingDelta(msgspec.Struct, frozen=True, gc=False):
    text: str


@dataclass(frozen=True, slots=True)
class ToolUseStart:
    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolUseDone:
    use: ToolUse


FILE_NOTICES = frozenset({"file_truncated", "file_not_read", "image_not_seen"})
"""Codes of notices about attached files. They come with every call that has the file; a person is told once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something the person is told while it happens: `retry`, `fallback`, `cap_50`, `cap_80`, `context_trimmed`, …"""

    code: str
    text: str


StopReason = Literal["stop", "tool_use", "length", "refusal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDone:
    """The end of one call: the whole assistant turn, its usage and which model gave it."""

    message: ModelMessage
    usage: Usage
    model: str
    """Name from the models file."""
    stop_reason: StopReason


ModelEvent = TextDelta | ThinkingDelta | ToolUseStart | ToolUseDone | Notice | ModelDone


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A declared model as people see it (GET /api/llm/models)."""

    name: str
    provider: str
    model: str
    context_tokens: int
    tools: bool
    patient_data: bool
    available: bool
    """False while its circuit breaker is open or its key is missing."""
    current: bool
    """The site-wide default, first in the order of fallback."""
    problem: str | None = None
    price_input_per_million: Decimal | None = None
    price_output_per_million: Decimal | None = None
    currency: str = "USD"
    capabilities: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Money of the day (UTC) and tokens of a person's sliding hour, with their caps. Reserved amounts belong to calls under way."""

    day_spent: Decimal
    day_reserved: Decimal
    day_cap: Decimal
    currency: str
    hour_tokens: int | None
    hour_tokens_cap: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePart:
    """Finished calls of a period in one currency that share a day, a model or a person: `of` says which."""

    of: str
    """`2026-11-21` (UTC), the model's name, or a person's id; empty for calls on nobody's account."""
    calls: int
    failed: int
    estimated: int
    """Calls whose tokens the provider did not report: they are our own estimate."""
    input_tokens: int
    output_tokens: int
    cost: Money
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageBreakdown:
    """The same calls three times: by day, by model, by person (the most expensive first)."""

    days: tuple[UsagePart, ...]
    models: tuple[UsagePart, ...]
    people: tuple[UsagePart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HourOfPerson:
    """Tokens a person used or reserved in the sliding hour, and when the oldest of them leave it."""

    person_id: uuid.UUID
    tokens: int
    resets_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotal:
    """Finished calls of one model in a period."""

    model: str
    calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost: Money
    currency: str
