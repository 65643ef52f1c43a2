"""What others see of lists and search."""

import uuid
from dataclasses import dataclass, field
from typing import Literal

from aliquot.chat.contracts import Conversation
from aliquot.chat.search.matching import Snippet
from aliquot.kernel.clock import Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Where something was found: in the title (`message_id` is None) or in a message, with the piece to show."""

    message_id: uuid.UUID | None
    role: Literal["user", "assistant"] | None
    created_at: Timestamp | None
    snippet: Snippet


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed(Conversation):
    """A conversation in a list; of a search also where it matches, best first."""

    matches: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which conversations: None does not restrict. `unfiled`: those in no folder."""

    archived: bool | None = None
    folder_id: uuid.UUID | None = None
    unfiled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page of the list begins: after this conversation, in the list's order."""

    pinned: bool
    updated_at: Timestamp
    id: uuid.UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page and where the next one begins; None at the end."""

    items: list[Listed] = field(default_factory=list)
    next: Place | int | None = None
    truncated: bool = False
    """Not everything that may match was looked at."""
