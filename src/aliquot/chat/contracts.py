"""Run events (what a person watches) and the views of conversations, messages and runs.

The kinds and fields of run events are the contract's (CONTRACT §2); every wire format is an encoder over them.
"""

import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Literal

import msgspec

from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Timestamp
from aliquot.kernel.money import Money
from aliquot.policy.contracts import Approval
from aliquot.routing.contracts import IntentName

RunState = Literal["queued", "running", "waiting_approval", "done", "failed", "cancelled"]
RunKind = Literal["chat", "tool", "continue"]
ConversationKind = Literal["chat", "session", "api", "tool"]
CallOutcome = Literal["ok", "failed", "denied", "unknown"]

CHAT_TOTAL = "chat-total"
"""Key of the limit on all of `POST /chat` together."""


class RunEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Base of all run events. `kind` names the event on every wire."""

    kind: ClassVar[str] = ""


class RunStarted(RunEvent, frozen=True, kw_only=True):
    """The run exists; `message_id` is the id the answer will have."""

    kind: ClassVar[str] = "run_started"
    conversation_id: str
    message_id: str
    user_message_id: str | None = None
    session_id: str | None = None
    parent_run_id: str | None = None


class Thinking(RunEvent, frozen=True, kw_only=True):
    """A piece of the model's reasoning, where it shows it."""

    kind: ClassVar[str] = "thinking"
    text: str


class TextDelta(RunEvent, frozen=True, kw_only=True):
    """A piece of the answer; the answer is the concatenation of all of them."""

    kind: ClassVar[str] = "text_delta"
    text: str


class ToolCallStart(RunEvent, frozen=True, kw_only=True):
    """A tool was chosen."""

    kind: ClassVar[str] = "tool_call_start"
    call_id: str
    name: str


class ToolCallArgs(RunEvent, frozen=True, kw_only=True):
    """The complete arguments of a call, as a JSON object (as text when they did not parse)."""

    kind: ClassVar[str] = "tool_call_args"
    call_id: str
    arguments: Any


class ToolCallEnd(RunEvent, frozen=True, kw_only=True):
    """A call ended; `summary` is one sentence for the person."""

    kind: ClassVar[str] = "tool_call_end"
    call_id: str
    outcome: CallOutcome
    summary: str
    duration_ms: int


class ApprovalRequired(RunEvent, frozen=True, kw_only=True):
    """The run stops here until a person decides; the decision starts another run."""

    kind: ClassVar[str] = "approval_required"
    approval_id: str
    call_id: str
    preview: Any
    expires_at: str


class CitationFound(RunEvent, frozen=True, kw_only=True):
    """A source the answer rests on."""

    kind: ClassVar[str] = "citation"
    citation: Any


class UsageReported(RunEvent, frozen=True, kw_only=True):
    """Tokens and cost of the whole run; `cost` is a decimal number as text."""

    kind: ClassVar[str] = "usage"
    input_tokens: int
    output_tokens: int
    cost: str
    currency: str


class NoticeGiven(RunEvent, frozen=True, kw_only=True):
    """Something worth knowing while it happens: retry, fallback, degraded mode, cost cap."""

    kind: ClassVar[str] = "notice"
    code: str
    text: str


class Done(RunEvent, frozen=True, kw_only=True):
    """The run ended well, was cancelled, or waits for a decision. `confidence` is null unless it is a calibrated probability."""

    kind: ClassVar[str] = "done"
    state: RunState
    message_id: str
    confidence: float | None = None


class RunFailed(RunEvent, frozen=True, kw_only=True):
    """The run failed; `detail` is a sentence for the person."""

    kind: ClassVar[str] = "error"
    code: str
    detail: str
    retryable: bool


TERMINAL = frozenset({Done.kind, RunFailed.kind})
"""Kinds after which a run has no further event."""


class StoredEvent(msgspec.Struct, frozen=True):
    """A run event as stored and as fanned out: `payload` is its JSON object, encoded once."""

    run_id: uuid.UUID
    seq: int
    kind: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message of a conversation."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    parent_id: uuid.UUID | None
    role: Literal["user", "assistant"]
    content: str
    created_at: Timestamp
    run_id: uuid.UUID | None = None
    incomplete: bool = False
    """The answer was cut off (cancelled, interrupted); regenerate is offered."""
    citations: tuple[dict[str, Any], ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    author_id: uuid.UUID | None = None
    """The person who wrote it; None for answers."""
    author: str | None = None
    """That person's name, in lists."""
    erased: bool = False
    """The author was erased: the content is gone for everybody."""
    sibling_index: int = 1
    """In lists: the place among messages with the same parent, from 1 in the order they were written ("2" of "2/3")."""
    sibling_count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A conversation as listed."""

    id: uuid.UUID
    client_id: str | None
    kind: ConversationKind
    title: str | None
    created_at: Timestamp
    updated_at: Timestamp
    last_message_at: Timestamp | None
    head_id: uuid.UUID | None
    archived: bool = False
    pinned: bool = False
    folder_id: uuid.UUID | None = None
    owner_id: uuid.UUID | None = None
    """The owner, for people it is shared with."""
    access: Literal["own", "write", "read"] = "own"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUsage:
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Money = Decimal(0)
    currency: str = "USD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as its owner sees it."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    kind: RunKind
    state: RunState
    message_id: uuid.UUID
    user_message_id: uuid.UUID | None
    parent_run_id: uuid.UUID | None
    approval_id: uuid.UUID | None
    error_code: str | None
    created_at: Timestamp
    finished_at: Timestamp | None
    model: str | None
    usage: RunUsage
    intent: IntentName | None = None
    """What the message asks for; None for a direct tool call."""
    intent_confidence: float | None = None
    """Calibrated probability of the likeliest class; below the confidence that is asked for, `intent` is `undecided`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorTurn:
    """A turn of the history a caller brings along (`/v1`). Caller system text is untrusted and comes in as `user`."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun:
    """A question to be answered."""

    principal: Principal
    message: str
    conversation: str | None = None
    """The caller's client id or the UUID of a conversation; None opens a new one."""
    kind: ConversationKind = "chat"
    parent_id: uuid.UUID | None = None
    edit_of: uuid.UUID | None = None
    """The person's new version of this message: it gets the same parent."""
    model: str | None = None
    dashboard: str | None = None
    history: tuple[PriorTurn, ...] = ()
    idempotency_key: str | None = None
    max_chars: int | None = None
    attachments: tuple[uuid.UUID, ...] = ()
    """Files uploaded before, to be bound to the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regenerate:
    """Another answer to the question behind `message_id` (the question itself, or an answer to it)."""

    principal: Principal
    message_id: uuid.UUID
    model: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartToolCall:
    """A direct tool call: a run of kind `tool` with one call and no language model."""

    principal: Principal
    tool: str
    arguments: dict[str, Any]
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The run that was started (or, for a repeated idempotency key, the one already there)."""

    run_id: uuid.UUID
    conversation_id: uuid.UUID
    session_id: str
    repeated: bool = False
    """It was there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A finished run with its message, for callers that wait."""

    run: Run
    message: Message | None
    approval: Approval | None
    error: dict[str, Any] | None
    confidence: float | None = None
