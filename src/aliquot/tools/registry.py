"""The tools of this process: checked when registered, each with the hash of its argument schema."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from jsonschema import Draft202012Validator

from aliquot.kernel.canonical import content_hash
from aliquot.policy.contracts import PLAN, Effect, ToolFacts
from aliquot.tools.contracts import Tool
from aliquot.tools.errors import ToolRefused, ToolWithdrawn, UnknownTool
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
    """Filled by bootstrap, then read; all names are known then. What is only declared (tools of other servers) comes and goes. An unknown
    name is an UnknownTool, a declared one that is not there a ToolWithdrawn."""

    def __init__(self, tools: Iterable[Tool] = ()) -> None:
        self._tools: dict[str, Registered] = {}
        self._declared: set[str] = set()
        for tool in tools:
            self.register(tool)

    def register(self, tool: Tool) -> None:
        """Add `tool`. Raises ToolRefused for what would later be unsafe or could never be called."""
        if not isinstance(tool, Tool):
            raise ToolRefused(f"{type(tool).__name__} does not implement the Tool protocol")
        if tool.name in self._tools or tool.name in self._declared or tool.name in (GET_APPROVAL, PLAN):
            raise ToolRefused(f"{tool.name} is registered twice")
        self._tools[tool.name] = _checked(tool)

    def declare(self, name: str) -> None:
        """A name whose tool may be `put` later. Raises ToolRefused when it is taken."""
        if name in self._tools or name in self._declared:
            raise ToolRefused(f"{name} is registered twice")
        self._declared.add(name)

    def put(self, tool: Tool) -> None:
        """Put a declared tool in its place, or another version of it. Raises ToolRefused."""
        if tool.name not in self._declared:
            raise ToolRefused(f"{tool.name} was not declared")
        self._tools[tool.name] = _checked(tool)

    def withdraw(self, name: str) -> None:
        """Take a declared tool away; calls of it are refused until it is put again."""
        if name in self._declared:
            self._tools.pop(name, None)

    def get(self, name: str) -> Registered:
        found = self._tools.get(name)
        if found is None:
            raise ToolWithdrawn if name in self._declared else UnknownTool
        return found

    def from_outside(self, name: str) -> bool:
        """Whether it is a tool of another server: only those are declared."""
        return name in self._declared

    def all(self) -> tuple[Registered, ...]:
        return tuple(self._tools.values())

    def names(self) -> frozenset[str]:
        """Also those that are only declared."""
        return frozenset(self._tools) | self._declared

    def fingerprint(self) -> str:
        """SHA-256 over names, effects, permissions and schemas of all tools: changes when one vanishes or is changed."""
        return content_hash(
            [
                [facts.name, facts.effect, list(facts.permissions), facts.schema_sha256, facts.gmp_critical]
                for facts in sorted((known.facts for known in self._tools.values()), key=lambda facts: facts.name)
            ]
        )


def _checked(tool: Tool) -> Registered:
    """`tool` with what is derived from it. Raises ToolRefused."""
    if not _NAME.fullmatch(tool.name):
        raise ToolRefused(f"{tool.name!r} is not a tool name")
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
    return Registered(tool=tool, facts=facts, validator=validator)
