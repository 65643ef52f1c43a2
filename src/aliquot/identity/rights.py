"""Which role may do what: the one table of roles and permissions.

A permission is `noun.verb`. Unknown names are granted to nobody. Signing is not a matter of role: `records.sign` is given
to the person by the flag `may_sign` (21 CFR 11.100: identity is verified before a person may sign).
"""

from collections.abc import Iterable

SIGN = "records.sign"

_VIEWER = frozenset({"chat.use", "lab.read", "models.read", "documents.read", "knowledge.read"})
_CLINICIAN = _VIEWER | {"approvals.decide", "clinical.read", "clinical.write", "records.break_glass"}
_SCIENTIST = _VIEWER | {"lab.operate", "approvals.decide", "documents.write", "samples.write"}
_REVIEWER = _VIEWER | {"approvals.decide", "audit.read", "audit.export", "policy.read", "records.read", "review.decide"}
_ADMIN = frozenset(
    {
        "chat.use", "lab.read", "models.read", "documents.read", "knowledge.read", "knowledge.manage", "documents.write",
        "audit.read", "audit.export", "records.read", "policy.read", "policy.manage", "users.read", "users.manage",
        "models.switch", "models.manage", "admin.stats", "debug.routes", "feedback.read", "records.manage", "records.break_glass",
        "review.decide", "lab.manage",
    }
)  # fmt: skip

ROLE_PERMISSIONS: dict[str, frozenset[str]] = {
    "admin": _ADMIN,  # administers people, models, policy and the log; operates no instrument
    "scientist": _SCIENTIST,
    "clinician": _CLINICIAN,
    "reviewer": _REVIEWER,
    "viewer": _VIEWER,
    "service": _VIEWER,  # a program with an API key
}

PERMISSIONS = frozenset().union(*ROLE_PERMISSIONS.values()) | {SIGN}
"""Every permission there is; `identity.http.require` refuses other names when the application is put together."""

SIGNING_ROLES = frozenset({"scientist", "reviewer", "clinician"})
"""Roles whose people may sign unless it is said otherwise when they are made."""


def permissions_of(roles: Iterable[str], *, may_sign: bool) -> frozenset[str]:
    """What people with these roles may do. Roles this code does not know grant nothing."""
    granted: frozenset[str] = frozenset().union(*(ROLE_PERMISSIONS.get(role, frozenset()) for role in roles))
    return granted | {SIGN} if may_sign else granted
