"""A router over small tools of our own: two that read, two that act."""

from dataclasses import dataclass, field
from typing import Any, cast

from aliquot.platform.db import Transaction
from aliquot.policy.contracts import Effect
from aliquot.routing.api import RoutingApi
from aliquot.routing.contracts import PriorCall, Route, RouteQuery
from aliquot.tools.contracts import Example, Relation, Tool

_PLACE = {"type": "string", "minLength": 1, "maxLength": 80}


def _schema(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


@dataclass
class Declared:
    """What the router needs of a tool."""

    name: str
    description: str
    parameters: dict[str, Any]
    examples: tuple[Example, ...]
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    effect: Effect = "read"
    asked: int = 0

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        self.asked += 1
        return self.words


def _examples(*pairs: tuple[str, dict[str, Any]]) -> tuple[Example, ...]:
    return tuple(Example(text=text, arguments=arguments) for text, arguments in pairs)


def freezers() -> list[Declared]:
    """Freezers and deliveries: nouns the router has no words for."""
    units = ("FRZ-01", "FRZ-02", "COLD-07", "basement freezer", "all")
    shelves = ("SHELF-A1", "SHELF-B2")
    return [
        Declared(
            name="get_temperature",
            description="Shows how cold a freezer or cold room is now and whether its alarm is on.",
            parameters=_schema(["unit"], unit=_PLACE),
            examples=_examples(
                ("How cold is FRZ-01?", {"unit": "FRZ-01"}),
                ("What is the temperature of FRZ-02?", {"unit": "FRZ-02"}),
                ("temperature COLD-07", {"unit": "COLD-07"}),
                ("Is the alarm of FRZ-01 on?", {"unit": "FRZ-01"}),
                ("Is the basement freezer cold enough?", {"unit": "basement freezer"}),
                ("Which freezers are too warm?", {"unit": "all"}),
                ("How cold are the freezers?", {"unit": "all"}),
                ("Temperature of all freezers", {"unit": "all"}),
            ),
            words={"unit": units},
        ),
        Declared(
            name="get_deliveries",
            description="Lists deliveries of dry ice, newest first, by state.",
            parameters=_schema(
                [],
                unit=_PLACE,
                state={"type": "string", "enum": ["queued", "done", "failed"]},
                limit={"type": "integer", "minimum": 1, "maximum": 50},
            ),
            examples=_examples(
                ("Show the deliveries", {}),
                ("Which deliveries came to FRZ-01?", {"unit": "FRZ-01"}),
                ("List the last 5 deliveries", {"limit": 5}),
                ("Which deliveries failed?", {"state": "failed"}),
                ("Past deliveries for FRZ-02", {"unit": "FRZ-02"}),
                ("Show failed deliveries to COLD-07", {"unit": "COLD-07", "state": "failed"}),
                ("Delivery history", {}),
            ),
            words={"unit": units[:4]},
        ),
        Declared(
            name="start_defrost",
            description="Starts to defrost a freezer. Somebody has to confirm it.",
            parameters=_schema(["unit", "shelf"], unit=_PLACE, shelf={"type": "string", "pattern": "^SHELF-[A-Z][0-9]$"}),
            examples=_examples(
                ("Start defrosting FRZ-01 with SHELF-A1", {"unit": "FRZ-01", "shelf": "SHELF-A1"}),
                ("Begin a defrost of FRZ-02 for SHELF-B2", {"unit": "FRZ-02", "shelf": "SHELF-B2"}),
                ("Defrost FRZ-01, SHELF-A1", {"unit": "FRZ-01", "shelf": "SHELF-A1"}),
                ("Please launch the defrost of COLD-07 on SHELF-A1", {"unit": "COLD-07", "shelf": "SHELF-A1"}),
            ),
            words={"unit": units[:4], "shelf": shelves},
            effect="instrument",
        ),
        Declared(
            name="stop_defrost",
            description="Stops a defrost that is going on. Somebody has to confirm it.",
            parameters=_schema(
                ["job", "reason"],
                job={"type": "string", "pattern": "^D-[0-9]{4}$"},
                reason={"type": "string", "minLength": 1, "maxLength": 200},
            ),
            examples=_examples(
                ("Stop D-0001: wrong freezer", {"job": "D-0001", "reason": "wrong freezer"}),
                ("Abort D-0002 because wrong shelf", {"job": "D-0002", "reason": "wrong shelf"}),
                ("Cancel D-0001, reason: power cut", {"job": "D-0001", "reason": "power cut"}),
                ("Please halt D-0003 due to a leak", {"job": "D-0003", "reason": "a leak"}),
            ),
            words={"job": ("D-0001", "D-0002")},
            effect="instrument",
        ),
    ]


NO_DATABASE = cast("Transaction", None)


@dataclass
class Asked:
    """A router with its tools."""

    tools: list[Declared]
    router: RoutingApi

    async def __call__(
        self, text: str, *prior: tuple[str, dict[str, Any]], only: tuple[str, ...] | None = None, earlier: tuple[str, ...] = ()
    ) -> Route:
        calls = tuple(PriorCall(tool=tool, arguments=arguments) for tool, arguments in prior)
        names = tuple(tool.name for tool in self.tools) if only is None else only
        return await self.router.route(NO_DATABASE, RouteQuery(text=text, tools=names, prior=calls, earlier=earlier))


def asked(clock: Any = None) -> Asked:
    tools = freezers()
    more = {} if clock is None else {"monotonic": clock}
    return Asked(tools, RoutingApi([cast("Tool", tool) for tool in tools], **more))


@dataclass
class Related(Declared):
    """A tool that knows which of its values go with which unit."""

    going: dict[str, tuple[str, ...]] = field(default_factory=dict)

    async def relations(self, tx: Transaction) -> tuple[Relation, ...]:
        return (Relation(given="unit", argument="job", values=self.going, settles=True),)


def related(going: dict[str, tuple[str, ...]]) -> Asked:
    """The same world, where `going` says which defrosts go on in which freezer."""
    tools = freezers()
    last = tools[-1]
    more = _examples(
        ("Stop FRZ-01: wrong freezer", {"job": "D-0001", "reason": "wrong freezer"}),
        ("Abort FRZ-02 because wrong shelf", {"job": "D-0002", "reason": "wrong shelf"}),
    )
    tools[-1] = Related(last.name, last.description, last.parameters, (*last.examples, *more), last.words, last.effect, going=going)
    return Asked(tools, RoutingApi([cast("Tool", tool) for tool in tools]))
