"""What is seen of a message tree."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aliquot.kernel.clock import Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A message without its content."""

    id: uuid.UUID
    parent_id: uuid.UUID | None
    role: Literal["user", "assistant"]
    created_at: Timestamp
    run_id: uuid.UUID | None
    author_id: uuid.UUID | None
    incomplete: bool
    sibling_index: int
    """Place among the messages with the same parent, from 1, in the order they were written."""
    sibling_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTree:
    """A page of the tree in the order of writing, so that parents come before their children."""

    head_id: uuid.UUID | None
    """Last message of the branch that is shown."""
    items: Sequence[Node]
    next: str | None
