"""Requests and streams as the tests write them."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from aliquot.models.api import ModelsApi
from aliquot.models.contracts import ModelDone, ModelEvent, ModelMessage, ModelRequest, Notice, TextDelta, ToolSpec

LOOKUP = ToolSpec(
    name="get_instrument_status",
    description="State of one instrument.",
    parameters={
        "type": "object",
        "properties": {"instrument": {"type": "string"}},
        "required": ["instrument"],
        "additionalProperties": False,
    },
)


def ask(text: str = "Hello?", **values: Any) -> ModelRequest:
    """A request with one message of a person."""
    return ModelRequest(**{"system": "Be brief.", "messages": (ModelMessage(role="user", text=text),), **values})


async def collect(api: ModelsApi, request: ModelRequest, into: list[ModelEvent], each: Callable[[], None] = lambda: None) -> None:
    """Every event into `into`, also those before a failure."""
    async with aclosing(api.stream(request)) as stream:
        async for event in stream:
            into.append(event)
            each()


async def events_of(api: ModelsApi, request: ModelRequest) -> list[ModelEvent]:
    events: list[ModelEvent] = []
    await collect(api, request, events)
    return events


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Return as soon as `condition` holds; fail after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition has no event to wait for
            await asyncio.sleep(0.005)


def text_of(events: list[ModelEvent]) -> str:
    return "".join(e.text for e in events if isinstance(e, TextDelta))


def notices(events: list[ModelEvent]) -> list[str]:
    return [e.code for e in events if isinstance(e, Notice)]


def done_of(events: list[ModelEvent]) -> ModelDone:
    """The last event, which must be the only ModelDone."""
    assert [isinstance(e, ModelDone) for e in events] == [False] * (len(events) - 1) + [True]
    last = events[-1]
    assert isinstance(last, ModelDone)
    return last
