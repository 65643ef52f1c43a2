"""What the MCP server needs of what stands above the tools, and what it answers with. No SDK here."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aliquot.identity.contracts import Principal
from aliquot.tools.contracts import ToolInfo

GET_APPROVAL = "get_approval"
"""The server's own tool: what became of a call that waits for a person. No tool of the registry may have this name."""

Progress = Callable[[float, float, str], Awaitable[None]]
"""Tells the client that we still wait: seconds passed, seconds at most, a sentence."""


class Caller(Protocol):
    """Who sent the request that is being answered."""

    @property
    def principal(self) -> Principal: ...

    @property
    def key(self) -> str | None:
        """The Idempotency-Key of the HTTP request."""
        ...

    async def recheck(self) -> None:
        """Raises Unauthenticated when the credential of the request stands no longer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class McpAnswer:
    """The outcome of a tool call for a client: text for its model, data for programs."""

    text: str
    data: dict[str, Any]
    failed: bool = False
    code: str | None = None
    """Of the problem, when it failed."""
    tool: str | None = None
    """Of the approval it is about."""
    waits_for: uuid.UUID | None = None
    """The approval a person has to decide first."""
    page: str | None = None
    """The page where a person decides it."""


class Door(Protocol):
    """The way to the tools, for one caller; every refusal is a Problem."""

    def tools(self, caller: Caller) -> list[ToolInfo]:
        """What this person may use."""
        ...

    async def call(self, caller: Caller, name: str, arguments: dict[str, Any], key: str | None) -> McpAnswer:
        """Call a tool, as a run on the caller's account. `key`: the same call is made once."""
        ...

    async def approval(self, caller: Caller, approval_id: uuid.UUID, seconds: float, progress: Progress) -> McpAnswer:
        """What became of a request of the caller's; waits at most `seconds` for its end. Raises NotFound."""
        ...
