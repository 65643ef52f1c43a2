"""Which events of the log are a reason for an alert. Pure."""

import json
import uuid
from datetime import datetime
from typing import Any

from aliquot.records.alerts.contracts import AlertKind, Happened

REFUSED_SIGNINGS = ("signature.refused", "approval.refused", "policy.change_refused")
FAILED_LOGIN = "login.failed"
ACTIONS = (*REFUSED_SIGNINGS, FAILED_LOGIN)

_SECRETS = frozenset({"wrong_password", "wrong_otp", "wrong_proof", "locked", "otp_not_enrolled"})
_OF_A_DECISION = "signature_refused:"
"""Before the code, where a decision says what was wrong with its signature."""


def happened(body: bytes) -> Happened | None:
    """None for what is no reason: a refusal by the rules of the site, a log-in under an unknown address."""
    event = json.loads(body)
    if event["action"] == FAILED_LOGIN:
        record = event["record"]
        person = _person(record["id"]) if record["type"] == "person" else None
        return None if person is None else Happened(kind="login_failures", person_id=person)
    person, kind = _person(event["actor"]), _kind(event)
    return None if person is None or kind is None else Happened(kind=kind, person_id=person)


def when(body: bytes) -> datetime:
    """The time of an event."""
    return datetime.fromisoformat(json.loads(body)["at"])


def _kind(event: dict[str, Any]) -> AlertKind | None:
    reason = str(event.get("reason", ""))
    code = reason.removeprefix(_OF_A_DECISION)
    signing = event["action"] == "signature.refused" or code != reason  # other refusals ask for a session without asking for a signature
    if signing and code in _SECRETS:
        return "signing_secret"
    return "signing_right" if code == "may_not_sign" or (signing and code == "session_required") else None


def _person(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
