"""What other domains see of identity."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from aliquot.kernel.clock import Timestamp

Via = Literal["session", "api_key", "cli", "system"]

ROLES = ("admin", "scientist", "clinician", "reviewer", "viewer", "service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A person as established for one request, from the database at that moment (never from a token's claims)."""

    id: uuid.UUID
    email: str
    name: str
    roles: frozenset[str]
    permissions: frozenset[str]
    via: Via
    session_id: uuid.UUID | None = None
    """The login session; None for API keys. Only a session may decide approvals."""
    ip: str | None = None

    def may(self, permission: str) -> bool:
        """True when a role of this person grants `permission` (`noun.verb`)."""
        return permission in self.permissions


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person as shown to clients and administrators."""

    id: uuid.UUID
    email: str
    name: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...]
    active: bool
    created_at: Timestamp
    may_sign: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A fresh session: the token is shown once."""

    token: str
    user: Person
    expires_at: datetime
