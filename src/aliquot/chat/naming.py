"""What names the values of a call that a language model asks for: what people said on this branch, and what was read for it. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from aliquot.chat.run_store import Step
from aliquot.chat.turn import Turn
from aliquot.guard.api import Said, unnamed, without
from aliquot.guard.contracts import Naming

_CONFIRMED = frozenset({"approval", "plan"})
"""Sources of steps whose calls a person saw before they were executed."""


def naming(turn: Turn, step: Step) -> Naming | None:
    """How the unnamed values of a call of `step` are found; nothing is looked at before it is called.

    None for a direct call (of a program, of an MCP client): there is no conversation here, so nothing can be said. The router takes
    every value from the words of the conversation, and from the site's records by these words, so what it asks for is named.
    """
    if turn.run.kind == "tool":
        return None
    if step.source != "model":
        return lambda arguments, parameters: ()
    return lambda arguments, parameters: unnamed(arguments, parameters, Said(_said(turn)))


def _said(turn: Turn) -> Iterator[str]:
    """People's words and the files they brought, the newest first, then what tools answered. What the assistant said names nothing."""
    people = [message for message in reversed(turn.messages) if message.role == "user"]
    yield from (message.content for message in people)
    steps = [*(step for run in turn.earlier.values() for step in run), *turn.steps]
    for step in reversed(steps):
        for result in reversed(step.results):
            yield from _read(step, result)
    for message in people:
        for part in turn.files.get(message.id, ()):
            yield from (part.name, part.text)


def _read(step: Step, result: Mapping[str, Any]) -> Iterator[str]:
    """What an answer names: what it adds to the question; what a person confirmed, whole."""
    arguments = str(result.get("arguments", ""))
    if step.source in _CONFIRMED and result.get("outcome") == "ok":
        yield arguments
    yield without(str(result.get("text", "")), _parsed(arguments))


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return arguments
