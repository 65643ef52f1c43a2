"""The tools of this process: checked when registered, each with the hash of its argument schema."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from jsonschema import Draft202012Validator

from aliquot.kernel.canonical import content_hash
from aliquot.policy.contracts import Effect, ToolFacts
from aliquot.tools.contracts import Tool
from aliquot.tools.errors import ToolRefused, UnknownTool
from aliquot.tools.mcp.contracts import GET_APPROVAL
from aliquot.tools.schemas import compile_schema

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")  # what every model provider accepts as a function name
_DESCRIPTION_CHARS_MAX = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A tool with what is derived from it once."""

    tool: Tool
    facts: ToolFacts
    validator: Draft202012Validator


class Registry:
    """Filled by bootstrap, then read. An unknown name is an UnknownTool."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Registered] = {}
        for tool in tools:
            self.register(tool)

    def register(self, tool: Tool) -> None:
        """Add `tool`. Raises ToolRefused for what would later be unsafe or could never be called."""
        if not isinstance(tool, Tool):
            raise ToolRefused(f"{type(tool).__name__} does not implement the Tool protocol")
        if not _NAME.fullmatch(tool.name):
            raise ToolRefused(f"{tool.name!r} is not a tool name")
        if tool.name in self._tools or tool.name == GET_APPROVAL:
            raise ToolRefused(f"{tool.name} is registered twice")
        if not tool.description.strip() or len(tool.description) > _DESCRIPTION_CHARS_MAX:
            raise ToolRefused(f"{tool.name}: the description is empty or longer than {_DESCRIPTION_CHARS_MAX} characters")
        if tool.effect not in get_args(Effect):
            raise ToolRefused(f"{tool.name}: {tool.effect!r} is not an effect")
        if not tool.permissions:
            raise ToolRefused(f"{tool.name} names no permission, so nobody could be refused it")
        validator = compile_schema(tool.name, tool.parameters)
        for example in tool.examples:
            if not validator.is_valid(example.arguments):
                raise ToolRefused(f"{tool.name}: the arguments of the example {example.text!r} do not fit its schema")
        facts = ToolFacts(
            name=tool.name,
            effect=tool.effect,
            permissions=tuple(tool.permissions),
            schema_sha256=content_hash(tool.parameters),
            gmp_critical=tool.gmp_critical,
        )
        self._tools[tool.name] = Registered(tool=tool, facts=facts, validator=validator)

    def get(self, name: str) -> Registered:
        found = self._tools.get(name)
        if found is None:
            raise UnknownTool
        return found

    def all(self) -> tuple[Registered, ...]:
        return tuple(self._tools.values())

    def names(self) -> frozenset[str]:
        return frozenset(self._tools)

    def fingerprint(self) -> str:
        """SHA-256 over names, effects, permissions and schemas of all tools: changes when one vanishes or is changed."""
        return content_hash(
            [
                [facts.name, facts.effect, list(facts.permissions), facts.schema_sha256, facts.gmp_critical]
                for facts in sorted((known.facts for known in self._tools.values()), key=lambda facts: facts.name)
            ]
        )
