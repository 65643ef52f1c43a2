"""What others see of single sign-on."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from aliquot.kernel.clock import Timestamp

Purpose = Literal["sign"]
"""What a fresh authentication is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOn:
    """Whether there is single sign-on here, and what its button says."""

    configured: bool
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """Where to send the browser, and the cookie by which it is known when it comes back."""

    url: str = field(repr=False)
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepUp:
    """Where the browser goes for a fresh authentication; good for two minutes."""

    url: str = field(repr=False)
    expires_at: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """The session has ended here; `url` is where the browser ends the one at the provider, None where there is no such page."""

    url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A log-in on its way: what we must remember until the browser comes back."""

    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    landing: str
    """Where the browser goes at the end: checked, without a fragment."""
    challenge: str | None
    """S256 challenge of the front end, for log-ins."""
    started_at: datetime
    purpose: Purpose | None = None
    """None: a log-in; else a fresh authentication of this person in this session."""
    person_id: uuid.UUID | None = None
    session_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """Whom the provider named in an ID token that was checked."""

    subject: str
    auth_time: datetime | None
    claims: dict[str, Any] = field(repr=False)
