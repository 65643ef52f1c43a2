"""What the router is asked and what it answers."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorCall:
    """A tool call of an earlier turn, newest last: what 'and the other one?' refers to."""

    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteQuery:
    text: str
    tools: tuple[str, ...]
    """Names of the tools this person may use here; nothing else is proposed."""
    prior: tuple[PriorCall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A proposal. `probability` is that tool and arguments are both right; below `threshold` it must not be followed."""

    tool: str | None
    arguments: dict[str, Any]
    probability: float
    threshold: float
    missing: tuple[str, ...] = ()
    """Required arguments the question did not give; the caller asks for them."""
    alternatives: tuple[tuple[str, float], ...] = ()
    model_version: str = ""
    explanation: dict[str, Any] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        return self.tool is not None and not self.missing and self.probability >= self.threshold
