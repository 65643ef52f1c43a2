"""Settings of external MCP servers: `[[mcp_servers]]` in aliquot.toml. What is not declared there does not exist."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_NAME_CHARS_MAX = 64
_Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]


class McpTool(BaseModel):
    """A tool of an external server that may be used here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")
    """As the server calls it."""
    effect: Literal["read", "external", "instrument"] = "external"
    """`read`: needs no confirmation under the shipped policy, unless text from outside led there."""
    description: str | None = Field(None, min_length=1, max_length=1_500)
    """What language models and people are told, instead of what the server says."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """The only definition that is accepted (`GET /api/admin/mcp` shows it). None: the first one that is seen."""


class McpServer(BaseModel):
    """An external server: at `url` (streamable HTTP), or a program started here that speaks on its standard input and output."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9]{0,19}$")
    """Its tools are called `NAME__tool` here."""
    url: str | None = Field(None, max_length=500)
    command: str | None = Field(None, min_length=1, max_length=500)
    args: tuple[Annotated[str, Field(max_length=2_000)], ...] = Field((), max_length=100)
    env: tuple[_Variable, ...] = Field((), max_length=50)
    """Names of variables of ours the program gets; it gets no others."""
    api_key_env: _Variable | None = None
    """The variable whose value is sent as bearer token, or given to the program."""
    tools: tuple[McpTool, ...] = Field(min_length=1, max_length=100)
    permissions: tuple[str, ...] = Field(("chat.use",), min_length=1, max_length=20)
    """Every one of them is needed to use its tools."""
    timeout_seconds: float = Field(20, gt=0, le=600)
    """For a connection, and for a call; a call has also `tool_seconds`."""
    patient_data: bool = False
    """Whether arguments may hold, or come from a conversation with, data of patients."""

    def registered(self, tool: McpTool) -> str:
        """The tool's name here: what every provider of language models accepts."""
        return f"{self.name}__{re.sub(r'[^a-z0-9_]', '_', tool.name.lower())}"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.url is None) == (self.command is None):
            raise ValueError(f"{self.name}: either url or command")
        if self.url is not None:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
                raise ValueError(f"{self.name}: url is an http(s) address without a password in it")
            if self.api_key_env and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
                raise ValueError(f"{self.name}: a key is only sent over https, or to this machine")
        return self

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [self.registered(tool) for tool in self.tools]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.name}: two tools have the same name here")
        if any(len(name) > _NAME_CHARS_MAX for name in names):
            raise ValueError(f"{self.name}: the name of a tool is too long")
        return self
