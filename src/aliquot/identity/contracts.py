"""What other domains see of identity."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from aliquot.kernel.clock import Timestamp

Via = Literal["session", "api_key", "mcp", "cli", "system"]
"""How somebody came in. `mcp`: through `/mcp`, whatever the credential was; it decides no approval."""

ROLES = ("admin", "scientist", "clinician", "reviewer", "viewer", "service")

FIRST_PASSWORD_FILE = "first-password"
"""In the data folder, 0600: where the first administrator's password is left when there is no terminal to print it on.
Identity deletes it once that password was used."""


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
    must_change: bool = False
    """The one-time password was not changed yet: only the password itself may be changed."""

    def may(self, permission: str) -> bool:
        """True when a role of this person grants `permission` (`noun.verb`)."""
        return permission in self.permissions


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who causes a change, for the audit log: a person's id, `system` or `anonymous`."""

    id: str
    via: Via
    ip: str | None = None

    @classmethod
    def of(cls, principal: Principal) -> "Actor":
        return cls(id=str(principal.id), via=principal.via, ip=principal.ip)


SYSTEM = Actor(id="system", via="system")
CLI = Actor(id="system", via="cli")


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
    must_change: bool = False
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPerson:
    """A person just made, with the one-time password when none was given; it is shown once and stored nowhere in clear."""

    person: Person
    password: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A fresh session: the token is shown once."""

    token: str = field(repr=False)
    user: Person
    expires_at: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A log-in of a person that is still good."""

    id: uuid.UUID
    created_at: Timestamp
    expires_at: Timestamp
    ip: str | None
    current: bool
    """The session the question came through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key as listed: never its secret."""

    id: uuid.UUID
    prefix: str
    """The public part, `alq_<prefix>.`, by which a person recognises the key."""
    name: str
    created_at: Timestamp
    expires_at: Timestamp | None
    last_used_at: Timestamp | None
    """Recorded at most once a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """A key just made; `secret` is the whole bearer value, shown once."""

    key: ApiKey
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A single-use pass for one WebSocket handshake."""

    ticket: str = field(repr=False)
    expires_at: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """The secret of a new second factor, shown this once; `uri` is what the QR code for an authenticator app holds."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactor:
    """Whether a person has a second factor: `pending` until its first code was seen."""

    state: Literal["none", "pending", "confirmed"]
    confirmed_at: Timestamp | None = None
    at_login: bool = False
    """It is asked for at every log-in, besides signatures."""


Secret = Literal["password", "otp", "sso"]
"""`sso` is the proof of a fresh authentication at the provider: all components at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """What a person's electronic signature consists of besides the identification (the e-mail address of the log-in)."""

    secrets: frozenset[Secret]
    executed_at: datetime | None
    """When this session executed all of them last: its log-in, or the confirmation of the second factor. None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Who can come in and who can sign, in numbers, at one moment."""

    active: int
    disabled: int
    roles: dict[str, int]
    """Active people by role; who has two is in both."""
    may_sign: int
    """Active people who may sign now: whose right waits for a second administrator is not among them."""
    without_otp: int
    """Of them, those without a confirmed second factor here."""
    signers_without_otp: tuple[uuid.UUID, ...]
    """Who they are; at most 200."""
    signing_held: int
    """People whose right to sign waits for a second administrator after a reset."""
    must_change: int
    """Active people whose one-time password stands."""
    api_keys: int
    api_keys_for_ever: int
    """Working keys that never expire."""
