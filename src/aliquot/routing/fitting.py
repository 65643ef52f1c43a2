"""What the router learns from the tools' declarations, once per process."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from aliquot.platform.memory import give_back
from aliquot.routing import gates, training
from aliquot.routing.intent import IntentClassifier
from aliquot.routing.lists import QUANTIFIERS
from aliquot.routing.model import Model
from aliquot.routing.text import normalise, words_of
from aliquot.tools.contracts import Tool


@dataclass(frozen=True, slots=True)
class _Declared:
    """Tools by what they declare: two sites with the same declarations are the same to the router."""

    text: str
    tools: tuple[Tool, ...] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Fit:
    """What follows from the declarations alone."""

    model: Model
    constants: dict[str, list[tuple[dict[str, Any], Any]]]
    """Per tool, see `_constant_examples`."""
    intents: IntentClassifier
    version: str


def _declaration(tools: Sequence[Tool]) -> str:
    shown = [
        [tool.name, tool.effect, tool.description, tool.parameters, [[example.text, example.arguments] for example in tool.examples]]
        for tool in tools
    ]
    return json.dumps(shown, sort_keys=True)


def fitted(tools: tuple[Tool, ...]) -> Fit:
    """Fitting is pure, so routers of the same tools in one process share the result (tests build many)."""
    return _fitted(_Declared(_declaration(tools), tools))


@lru_cache(maxsize=4)
def _fitted(declared: _Declared) -> Fit:
    tools = declared.tools
    rows = tuple(training.rows(tools))
    acting = frozenset(tool.name for tool in tools if tool.effect != "read")
    model = Model(rows, lambda label, text: gates.closed(text, acts=label in acting))
    mask = training.Masking(tools)
    constants = {tool.name: _constant_examples(tool, mask, model) for tool in tools}
    content = "\n".join(f"{row.label}\t{row.text}" for row in rows)
    intents = IntentClassifier(tools)
    give_back()
    return Fit(model, constants, intents, "declared-" + hashlib.sha256(content.encode()).hexdigest()[:12])


def _constant_examples(tool: Tool, mask: training.Masking, model: Model) -> list[tuple[dict[str, Any], Any]]:
    """Every example that names nothing, with those of its arguments that its text does not spell out, and its features."""
    result = []
    for example in tool.examples:
        constants = {
            slot: value
            for slot, value in example.arguments.items()
            if isinstance(value, str) and (normalise(value) not in normalise(example.text) or value.lower() in QUANTIFIERS)
        }
        text = mask.example(example.text, example.arguments)
        if not any(word.startswith("z") for word in words_of(text)):
            result.append((constants, model.vector(text)))
    return result
