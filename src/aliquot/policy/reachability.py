"""Policies that can never say anything: a bundle that holds one does not mean what it says. Pure.

Cedar's validator warns of such policies, but cedarpy does not hand the warnings on. Found are conditions that are constant, scopes
that name what does not exist, and permits that an unconditional forbid always overrides.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from aliquot.identity.contracts import ROLES

Form = Mapping[str, Any]


def unreachable(forms: Mapping[str, Mapping[str, Form]], tools: Collection[str] | None) -> Iterator[str]:
    """One sentence per policy that can never match. `tools`: the names of all tools, where they are known."""
    blankets = [(policy_id, form) for policy_id, form in forms["authz"].items() if form["effect"] == "forbid" and _certain(form)]
    for name, policies in forms.items():
        for policy_id, form in policies.items():
            if any(_holds(condition) is False for condition in form["conditions"]):
                yield f"{name}: the policy {policy_id} is unreachable: its condition is never true"
            for kind, wanted in _named(form):
                if kind == "Role" and wanted not in ROLES:
                    yield f"{name}: the policy {policy_id} is unreachable: there is no role {wanted}"
                if kind == "Tool" and tools is not None and wanted not in tools:
                    yield f"{name}: the policy {policy_id} is unreachable: there is no tool {wanted}"
            hidden = next((other for other, blanket in blankets if form["effect"] == "permit" and _covers(blanket, form)), None)
            if name == "authz" and hidden is not None:
                yield f"{name}: the policy {policy_id} is unreachable: {hidden} forbids all of it"


def _certain(form: Form) -> bool:
    return all(_holds(condition) is True for condition in form["conditions"])


def _holds(condition: Form) -> bool | None:
    value = _constant(condition["body"])
    return value if value is None or condition["kind"] == "when" else not value


def _constant(body: Any) -> bool | None:
    """The value of an expression of literals, `!`, `&&` and `||`; None when it depends on the request."""
    if not isinstance(body, dict) or len(body) != 1:
        return None
    ((operator, inner),) = body.items()
    if operator == "Value":
        return inner if isinstance(inner, bool) else None
    if operator == "!":
        value = _constant(inner["arg"])
        return None if value is None else not value
    if operator in {"&&", "||"}:
        sides = {_constant(inner["left"]), _constant(inner["right"])}
        decisive = operator == "||"
        return decisive if decisive in sides else None if None in sides else not decisive
    return None


def _named(form: Form) -> Iterator[tuple[str, str]]:
    for part in ("principal", "resource"):
        entity = form[part].get("entity") or (form[part].get("in") or {}).get("entity")
        if isinstance(entity, dict):
            yield str(entity["type"]), str(entity["id"])


def _covers(blanket: Form, form: Form) -> bool:
    """Whether the scope of `blanket` holds whatever the scope of `form` holds."""
    return all(blanket[part].get("op") == "All" or blanket[part] == form[part] for part in ("principal", "resource"))
