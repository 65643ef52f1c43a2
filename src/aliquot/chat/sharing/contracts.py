"""What is asked of and seen of shares."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from aliquot.kernel.clock import Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class NewShare:
    """What an owner allows."""

    users: tuple[str, ...] = ()
    """Ids or e-mail addresses."""
    public: bool = False
    live: bool = False
    may_write: bool = False
    expires_in_hours: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedWith:
    """A person a conversation is shared with."""

    id: uuid.UUID
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share as its owner sees it."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    public: bool
    live: bool
    """It follows the conversation; otherwise it ends with `message_id`."""
    may_write: bool
    message_id: uuid.UUID | None
    users: Sequence[SharedWith]
    created_at: Timestamp
    expires_at: Timestamp | None
    state: Literal["active", "expired", "suspended"]
    """`suspended`: a public link while the conversation is nothing for everybody (`Sharing.not_public`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeShare:
    """A share just made; the token is shown this once."""

    share: Share
    token: str = field(repr=False)
    path: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFile:
    """A file of a shared message."""

    id: uuid.UUID
    file_name: str
    file_type: str
    file_size: int
    """Bytes."""
    mime_type: str
    sha256: str
    file_url: str = field(repr=False)
    """Where the link downloads it."""
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMessage:
    """A message as shared: without runs and tool calls."""

    id: uuid.UUID
    role: Literal["user", "assistant"]
    content: str
    created_at: Timestamp
    author: str | None
    """The author's name; public links do not say it."""
    incomplete: bool
    citations: Sequence[dict[str, Any]]
    attachments: Sequence[SharedFile]
    imported: bool
    """It comes from a file somebody imported: nobody here wrote or answered it, and its citations are claims."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedConversation:
    """What a share shows: one branch, oldest first."""

    conversation_id: uuid.UUID | None
    """For people who may open the conversation itself."""
    title: str | None
    public: bool
    live: bool
    may_write: bool
    items: Sequence[SharedMessage]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedWithMe:
    """A conversation somebody shares with me."""

    share_id: uuid.UUID
    conversation_id: uuid.UUID
    title: str | None
    owner: str
    live: bool
    """It can be opened as a conversation by its id; otherwise as `GET /api/shared/{share_id}`."""
    may_write: bool
    created_at: Timestamp
    expires_at: Timestamp | None
