"""The JSON form of a conversation: everything in it, read back without loss. Pure.

A file is somebody's claim: what is imported is marked so, its citations count as unverified, and its ids are new.
"""

import json
import re
import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from aliquot.chat.contracts import Message
from aliquot.chat.export.blocks import clean
from aliquot.kernel.clock import rfc3339

FORMAT = "aliquot-conversation"
_MESSAGES_MAX = 10_000
_METADATA_CHARS = 100_000
_TOOLS_MAX = 100
_TOOL_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_UNKNOWN = "unknown"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_Text = Annotated[str, AfterValidator(clean)]
_Short = Annotated[str, Field(max_length=2_000), AfterValidator(clean)]


class PortableCitation(_Part):
    """A citation as CONTRACT §2 names its fields. Nothing in a file is verified."""

    id: _Short = ""
    title: _Short = ""
    authors: list[_Short] | _Short | None = None
    year: int | _Short | None = None
    source: _Short | None = None
    doi: _Short | None = None
    pubmed_id: _Short | None = None
    url: Annotated[str, Field(max_length=2_000, pattern=r"^(?i:https?)://[^\s<>\"']+$")] | None = None
    excerpt: Annotated[_Text, Field(max_length=20_000)] = ""
    document_id: _Short | None = None
    document_version: int | _Short | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    page: int | None = Field(None, ge=0)
    start: int | None = Field(None, ge=0)
    end: int | None = Field(None, ge=0)
    score: float | None = None
    verified: bool = False


class PortableMessage(_Part):
    """A message of the file; `parent_id` names another message of it."""

    id: uuid.UUID
    parent_id: uuid.UUID | None = None
    role: Literal["user", "assistant"]
    author: str | None = Field(None, max_length=500)
    content: str = Field(max_length=1_000_000)
    created_at: AwareDatetime
    incomplete: bool = False
    citations: list[PortableCitation] = Field(default_factory=list, max_length=1_000)
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Kept as the file's claim; nothing in it is believed."""

    @field_validator("created_at")
    @classmethod
    def _storable(cls, value: datetime) -> datetime:
        if not 1970 <= value.year <= 9998:
            raise ValueError("a time between 1970 and 9998")
        return value

    @field_validator("metadata")
    @classmethod
    def _bounded(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(value)) > _METADATA_CHARS:
            raise ValueError(f"at most {_METADATA_CHARS:,} characters of metadata")
        return value


class PortableConversation(_Part):
    """A whole file."""

    format: Literal["aliquot-conversation"] = FORMAT  # type: ignore[assignment]  # the constant is the literal
    version: Literal[1] = 1
    exported_at: AwareDatetime
    id: uuid.UUID
    title: str | None = Field(None, max_length=500)
    created_at: AwareDatetime
    head_id: uuid.UUID | None = None
    messages: list[PortableMessage] = Field(max_length=_MESSAGES_MAX)

    @model_validator(mode="after")
    def _a_tree(self) -> "PortableConversation":
        """Ids are unique, parents come before their children (so there is no cycle), the head exists."""
        seen: set[uuid.UUID] = set()
        for message in self.messages:
            if message.id in seen:
                raise ValueError("two messages have the same id")
            if message.parent_id is not None and message.parent_id not in seen:
                raise ValueError("a message comes before the one it answers, or that is missing")
            seen.add(message.id)
        if self.head_id is not None and self.head_id not in seen:
            raise ValueError("head_id names no message of this file")
        return self


def tools_named(file: PortableConversation) -> frozenset[str]:
    """The tools that calls in the file's metadata are said to be of, at any depth (copies and imports keep older metadata inside).
    What is no tool's name is `unknown`."""
    found: set[str] = set()
    waiting: list[Any] = [message.metadata for message in file.messages]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            calls = part.get("tool_calls", [])
            found |= {_tool_name(call) for call in calls} if isinstance(calls, list) else {_UNKNOWN}
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return frozenset(found) if len(found) <= _TOOLS_MAX else frozenset({_UNKNOWN})


def _tool_name(call: Any) -> str:
    name = call.get("name") if isinstance(call, dict) else None
    return name if isinstance(name, str) and _TOOL_NAME.fullmatch(name) else _UNKNOWN


def portable(message: Message, author: str | None) -> dict[str, Any]:
    """A message as the file holds it."""
    return {
        "id": str(message.id), "parent_id": str(message.parent_id) if message.parent_id else None, "role": message.role, "author": author,
        "content": message.content, "created_at": rfc3339(message.created_at), "incomplete": message.incomplete,
        "citations": list(message.citations), "metadata": message.metadata,
    }  # fmt: skip


def parents_first(messages: list[Message]) -> list[Message]:
    """In time order, every parent before its children (a clock that was set back may have dated them otherwise)."""
    waiting: dict[uuid.UUID | None, list[Message]] = {}
    known = {message.id for message in messages}
    for message in sorted(messages, key=lambda m: (m.created_at, m.id)):
        waiting.setdefault(message.parent_id if message.parent_id in known else None, []).append(message)
    ordered, ready = [], waiting.pop(None, [])
    while ready:
        ordered += ready
        ready = [child for message in ready for child in waiting.pop(message.id, [])]
    return ordered
