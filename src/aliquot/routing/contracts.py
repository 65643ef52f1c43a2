"""What the router is asked and what it answers."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

CALLS_MAX = 5
"""Things of a list that are answered at once."""
IntentName = Literal["question", "data_query", "action", "multi_step", "chit_chat", "out_of_scope", "undecided"]
"""`question` asks for knowledge or advice, `data_query` for what the site's records hold, `action` for one thing to be done,
`multi_step` for several of which one or more act. `undecided`: not sure enough to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a message asks for."""

    name: IntentName
    confidence: float
    """Calibrated probability that the best class is right, also where it was too low to name that class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorCall:
    """A tool call of an earlier turn, newest last: what 'and the other one?' refers to."""

    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteQuery:
    text: str
    tools: tuple[str, ...]
    """Names of the tools this person may use here. The values of others are not read; a question for one of them is routed all
    the same (`Route.permitted` says so), because the policy's refusal is the answer to it."""
    prior: tuple[PriorCall, ...] = ()
    earlier: tuple[str, ...] = ()
    """What the person said since the last call, oldest first: a reply (`PCR-02`) completes the request it was asked for."""
    now: datetime | None = None
    """The present in the site's time zone: what `today` and `since Monday` are read by. None: no question about a time is followed."""


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
    """`candidates`: known values per missing argument; `unknown`: codes nobody knows, `kind` what they were meant for, `near` what comes
    near; `noun`: what the first missing argument is; `empty`: what was named and has none of it; `strangers`: codes nobody knows in a list
    whose other things are answered; `over`: things of a list that are too many to be answered; `compares`: a comparison was asked for;
    `doubts`, `masked`: for the curious."""
    permitted: bool = True
    """False when the person may not use `tool`."""
    also: tuple["Route", ...] = ()
    """What the same message asks for besides, in its order; each is to be followed by its own right."""
    unanswered: tuple[str, ...] = ()
    """Parts of the message that nothing here answers."""
    asked: str = ""
    """A question of its own, in lower case without courtesies and with placeholders for names (`is zinstrument ready`), for
    `tools.contracts.Settling`; empty for follow-ups and replies, whose words do not say everything."""
    withdrawn: bool = False
    """The person took back what they were being asked about."""

    @property
    def accepted(self) -> bool:
        return self.tool is not None and not self.missing and self.probability >= self.threshold

    @property
    def asks(self) -> bool:
        """Sure of the tool, and something has to be asked back."""
        return self.tool is not None and bool(self.missing) and self.probability >= self.threshold
