"""What others see of security alerts."""

import uuid
from dataclasses import dataclass
from typing import Literal

from aliquot.kernel.clock import Timestamp

AlertKind = Literal["signing_secret", "signing_right", "login_failures"]
"""A signature with wrong secrets; one by somebody without the right to sign; failed log-ins on an account that may sign."""
AlertState = Literal["open", "acknowledged"]
MailState = Literal["none", "waiting", "sent", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityAlert:
    """What happened to one person's account within a while, counted together."""

    id: uuid.UUID
    kind: AlertKind
    person_id: uuid.UUID
    count: int
    first_at: Timestamp
    last_at: Timestamp
    state: AlertState
    mail: MailState
    """`none` when there is no security contact; `waiting` until a mail server took it."""
    mail_error: str | None
    acknowledged_by: uuid.UUID | None = None
    acknowledged_at: Timestamp | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One event of the log as a reason for an alert."""

    kind: AlertKind
    person_id: uuid.UUID
