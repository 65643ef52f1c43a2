"""What administrators see."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from aliquot.chat.usage.contracts import RunCount, SlowRun
from aliquot.kernel.clock import Timestamp
from aliquot.kernel.money import Money
from aliquot.models.contracts import UsageBreakdown
from aliquot.tools.contracts import ToolPattern, ToolUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Requests over all processes; other processes' last 5 s may be missing. A stream counts when it ends."""

    per_minute: int
    """In the minute that ends now, approximately: two counters, the earlier one with the share of it that still lies in it."""
    chat_per_minute: int
    """`POST /chat` let through in the minute that ends now; exact, it is what its limit counts."""
    today: int
    failed_today: int
    """Answered 5xx."""
    limited_today: int
    """Answered 429, and WebSocket frames refused by a limit."""
    limited_today_by_route: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What goes on at this moment, over all processes."""

    processes: int
    """Processes that have something open."""
    open_streams: int
    open_sockets: int
    active_runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """How much of a limit is used. `used` contains what calls under way have reserved."""

    name: str
    """The name of its setting."""
    unit: str
    limit: Money
    used: Money
    percent: Decimal
    resets_at: Timestamp | None
    """When the oldest part of what is used no longer counts; None when nothing is used."""
    person_id: uuid.UUID | None = None
    person: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patterns:
    """What questions lead to: the tools used in a run. No question and no argument is told."""

    questions: int
    without_tools: int
    together: tuple[ToolPattern, ...]
    """The most frequent sets of tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody the usage names by id."""

    id: uuid.UUID
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """`GET /api/admin/usage`. `since` ≤ t < `until` bounds everything but `requests`, `load` and `caps`, which are of now."""

    at: Timestamp
    since: Timestamp
    until: Timestamp
    requests: Requests
    load: Load
    caps: tuple[Cap, ...]
    models: UsageBreakdown
    people: tuple[Person, ...]
    """Names of the people in `models.people`; who was erased has none."""
    tools: tuple[ToolUsage, ...]
    patterns: Patterns
    runs: tuple[RunCount, ...]
    slowest: tuple[SlowRun, ...]
