"""What a decision was asked, kept sealed under the person's key so that another bundle can be asked the same.

Erasing the person makes it unreadable; a replay says how many such decisions there were.
"""

import json
import uuid
from typing import Any

from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json
from aliquot.platform.vault import Damaged, Erased, Vault
from aliquot.policy.contracts import Query, ToolFacts


def seal_input(vault: Vault, decision_id: uuid.UUID, query: Query) -> bytes | None:
    """None when there is nothing to keep: it has no canonical form, or the person was erased."""
    person, tool = query.principal, query.tool
    value = {
        "arguments": query.arguments, "facts": query.facts, "permissions": sorted(person.permissions), "roles": sorted(person.roles),
        "intent": query.intent, "tainted": bool(query.tainted), "via": person.via,
        "trainings": None if query.trainings is None else sorted(query.trainings),
        "unnamed": None if query.unnamed is None else list(query.unnamed),
        "tool": [tool.name, tool.effect, sorted(tool.permissions), tool.schema_sha256, bool(tool.gmp_critical)],
    }  # fmt: skip
    try:
        return vault.seal(person.id, canonical_json(value), aad=_aad(decision_id))
    except (ValueError, Erased):
        return None


def open_input(vault: Vault, decision_id: uuid.UUID, person_id: uuid.UUID, sealed: bytes) -> Query | None:
    """What was asked; None when it cannot be read any more."""
    try:
        value: dict[str, Any] = json.loads(vault.open(sealed, aad=_aad(decision_id)))
    except (Damaged, Erased, ValueError):
        return None
    name, effect, permissions, schema_sha256, gmp_critical = value["tool"]
    return Query(
        principal=Principal(
            id=person_id, email="", name="", roles=frozenset(value["roles"]), permissions=frozenset(value["permissions"]),
            via=value["via"],
        ),
        tool=ToolFacts(
            name=name, effect=effect, permissions=tuple(permissions), schema_sha256=schema_sha256, gmp_critical=gmp_critical
        ),
        arguments=value["arguments"], facts=value["facts"], tainted=value["tainted"], intent=value.get("intent"),
        trainings=None if value.get("trainings") is None else frozenset(value["trainings"]),
        unnamed=None if value.get("unnamed") is None else tuple(value["unnamed"]),
    )  # fmt: skip


def _aad(decision_id: uuid.UUID) -> str:
    return f"policy_decision.input:{decision_id}"
