"""The Tool protocol and what comes out of a call."""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from aliquot.guard.contracts import Naming
from aliquot.identity.contracts import Principal
from aliquot.kernel.problems import Problem
from aliquot.platform.db import Transaction
from aliquot.policy.contracts import Approval, Decision, Effect, Preview, ToolFacts

CallOutcome = Literal["ok", "failed", "denied", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """On whose account a call runs."""

    principal: Principal
    run_id: uuid.UUID | None
    call_id: str
    idempotency_key: str
    """Stable for this call across crashes; handed to whatever acts on the outside world."""
    intent: str | None = None
    """What the message behind it asks for (`routing.contracts.IntentName`), for the policy."""
    naming: Naming | None = None
    """Which values of the arguments nobody named in the conversation behind it, for the policy and the preview. None: there is none."""
    approved: dict[str, int] = field(default_factory=dict)
    """Versions of the records a person approved it with (`Preview.resource_versions`); empty when nobody had to. They were compared just
    before; what must not change until the effect, the tool compares in its own transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """A typed, labelled value (DESIGN §4.6)."""

    data: dict[str, Any]
    """JSON for the model and for programs; validated to be canonical-JSON-representable and bounded in size."""
    source: str
    """Where it comes from, e.g. `lab.instruments`."""
    trust: Literal["site", "external", "untrusted"] = "site"
    patient_data: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A question a person would ask that this tool answers, with the arguments it should get: material for the router."""

    text: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """What goes with what, for the router: naming a value of `given` leaves only some values for `argument`."""

    given: str
    argument: str
    values: Mapping[str, tuple[str, ...]]
    """A value of `given` → the values of `argument` that go with it; an empty one when there are none."""
    settles: bool
    """Whether the only value left is taken as meant (`the run on HPLC-03`); otherwise those left are only offered."""


@runtime_checkable
class Relating(Protocol):
    """A tool whose arguments people name by other things. Optional for a tool."""

    async def relations(self, tx: Transaction) -> tuple[Relation, ...]:
        """As they are now."""
        ...


@runtime_checkable
class Settling(Protocol):
    """A tool whose results can settle a yes/no question. Optional for a tool."""

    def settle(self, data: dict[str, Any], question: str) -> str | None:
        """A sentence that begins with yes or no; None unless `data` (of its result) settles the whole question.

        `question` is in lower case without courtesies, its names replaced by `z` and their argument: `is zinstrument ready`.
        """
        ...


@runtime_checkable
class Resting(Protocol):
    """A tool whose calls rest on records with versions, which are known also while a call is not possible yet. Optional for a tool."""

    async def rests_on(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> dict[str, int]:
        """Versions by record (`protocol:PCR-STD-35`), as `Preview.resource_versions` has them; without what is not there."""
        ...


@runtime_checkable
class Tool(Protocol):
    """One thing the assistant can do. Implemented in the `tools.py` of the owning domain; stateless."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema (2020-12), `additionalProperties: false`."""
    effect: Effect
    permissions: tuple[str, ...]
    gmp_critical: bool
    examples: tuple[Example, ...]

    async def facts(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
        """Typed facts for the policy (str, int, bool), e.g. whether the run belongs to somebody else."""
        ...

    async def preview(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> Preview:
        """What `execute` would do, in a read-only transaction. Raises a Problem when it could not be done at all."""
        ...

    async def execute(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """Do it. All database changes go through `tx`; an expected refusal raises a Problem."""
        ...

    def render(self, result: ToolResult) -> str:
        """The result for a person without any language model: a sentence and a Markdown table, with units and times."""
        ...

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        """Known values per argument (`instrument` → codes and names), for the router's argument extraction."""
        ...


@runtime_checkable
class Acting(Protocol):
    """A tool that acts in a system of others. It does so before the transaction that stores its result begins: a transaction must not
    wait for a stranger. Whatever it answers is text from outside."""

    async def act(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        """As `Tool.execute`, without a transaction."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolInfo:
    """A tool as listed for a person (GET /api/chat/tools)."""

    name: str
    description: str
    parameters: dict[str, Any]
    effect: Effect
    permissions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReport:
    """How one tool call ended: executed, refused, or waiting for a person."""

    call_id: str
    tool: str
    arguments: dict[str, Any] | None
    """The validated arguments; None when they did not parse."""
    outcome: CallOutcome | Literal["waiting"]
    summary: str
    """One sentence for the person."""
    result: ToolResult | None = None
    rendered: str | None = None
    error_code: str | None = None
    error_text: str | None = None
    """What the model is told: validation errors, denial reasons, or the failure."""
    decision: Decision | None = None
    approval: Approval | None = None
    duration_ms: int = 0
    attempts: int = 1
    """More than one when a read-only tool was retried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyCall:
    """An allowed call, committed as `proposed` and not executed yet: give it to `ToolsApi.execute`."""

    id: uuid.UUID
    context: ToolContext
    tool: str
    arguments: dict[str, Any]
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A call of a plan, looked at before anything is decided: nothing was changed, logged or counted."""

    tool: ToolFacts
    arguments: dict[str, Any]
    facts: dict[str, Any]
    decision: Decision
    preview: Preview | None
    refusal: Problem | None
    """Why there is no preview: as things are, it could not be done."""
    versions: dict[str, int] = field(default_factory=dict)
    """Without a preview: what is known of the records the call rests on."""
    unnamed: tuple[str, ...] | None = None
    """As in `policy.contracts.Query`."""


Joining = Callable[[Transaction, CallReport | ReadyCall], Awaitable[CallReport | ReadyCall]]
"""What else happens in the transaction that decides about a call: its plan notes it, or its approval is covered by that of the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUsage:
    """Calls of one tool in a period. Durations from the start of execution to its end, in milliseconds; None when none was executed."""

    tool: str | None
    """None: names no tool has."""
    calls: int
    ok: int
    failed: int
    denied: int
    unknown: int
    waiting: int
    """Proposed, waiting for a decision or executing."""
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPattern:
    """A set of tools that was used together, and in how many runs."""

    tools: tuple[str, ...]
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a call would do and whether it would be allowed; nothing was changed and no approval was made."""

    tool: str
    arguments: dict[str, Any]
    decision: Decision
    preview: Preview
