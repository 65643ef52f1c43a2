"""What the laboratory's tools have in common: pieces of their schemas, who calls, and the words people use for things here."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from aliquot.lab.api import LIMIT_MAX, LabApi
from aliquot.lab.contracts import Caller, Instrument
from aliquot.lab.naming import KIND_NAMES
from aliquot.platform.db import Transaction
from aliquot.policy.contracts import Effect, Preview
from aliquot.tools.contracts import Example, ToolContext

ALL = "all"
RUN_PATTERN = r"^[Rr]-[0-9]{4}-[0-9]{4,8}$"
CODE_PATTERN = r"^[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*$"
TEXT_PATTERN = r"^[^\u0000-\u001f\u007f]+$"
VOCABULARY_RUNS = 50
_NAMED_MAX = 5_000
_Thing = TypeVar("_Thing")


def instrument_argument(description: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": 80, "pattern": TEXT_PATTERN, "description": description}


def schema(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


class LabTool:
    """What the laboratory tools have in common: they read, unless they say otherwise."""

    effect: Effect = "read"
    permissions: tuple[str, ...] = ("lab.read",)
    gmp_critical: bool = False
    examples: tuple[Example, ...] = ()

    def __init__(self, lab: LabApi) -> None:
        self._lab = lab

    async def facts(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> dict[str, Any]:
        return {}

    async def preview(self, tx: Transaction, context: ToolContext, arguments: dict[str, Any]) -> Preview:
        return Preview(summary="Reads only; nothing changes.")

    async def vocabulary(self, tx: Transaction) -> dict[str, tuple[str, ...]]:
        return {"instrument": await self._instrument_names(tx)}

    async def _instrument_names(self, tx: Transaction) -> tuple[str, ...]:
        """Codes, names, and what people call each kind that is there."""
        found = await every(lambda after: self._lab.instruments(tx, after=after))
        kinds = sorted({instrument.kind for instrument in found})
        names = [*(i.code for i in found), *(i.name for i in found), *(name for kind in kinds for name in KIND_NAMES.get(kind, ()))]
        return tuple(dict.fromkeys(names))

    async def _protocol_codes(self, tx: Transaction) -> tuple[str, ...]:
        found = await every(lambda after: self._lab.protocols(tx, limit=LIMIT_MAX, after=after))
        return tuple(protocol.code for protocol in found)


async def every(page: Callable[[str | None], Awaitable[tuple[list[_Thing], str | None]]]) -> list[_Thing]:
    """All pages: of a thing that is left out the assistant would say that it does not exist."""
    found, after = await page(None)
    while after is not None and len(found) < _NAMED_MAX:
        more, after = await page(after)
        found += more
    return found


def names_of(instrument: Instrument) -> tuple[str, ...]:
    """What people call it: printed code, name, and the names of its kind."""
    return (instrument.code, instrument.name, *KIND_NAMES.get(instrument.kind, ()))


def by_name(pairs: Iterable[tuple[str, Iterable[str]]]) -> dict[str, tuple[str, ...]]:
    """Pairs of a name and what goes with it, joined by name."""
    joined: dict[str, dict[str, None]] = {}
    for name, values in pairs:
        joined.setdefault(name, {}).update(dict.fromkeys(values))
    return {name: tuple(values) for name, values in joined.items()}


def caller_of(context: ToolContext, tool: str) -> Caller:
    return Caller(principal=context.principal, run_id=context.run_id, tool=tool)
