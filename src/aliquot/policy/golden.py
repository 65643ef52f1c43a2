"""Golden cases: decisions a bundle promises, checked before it takes effect, and what no bundle whatsoever may do."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from aliquot.identity.contracts import Principal
from aliquot.policy.bundles import Bundle, FactType
from aliquot.policy.contracts import Decision, Effect, Query, ToolFacts

_NOBODY = uuid.UUID(int=0)
ADMINISTRATION = ToolFacts(name="activate_policy", effect="write", permissions=("policy.manage",), schema_sha256="")
"""Changing the policy, as the policy sees it."""
_ADMINISTRATOR = Principal(
    id=_NOBODY, email="", name="", roles=frozenset({"admin"}), permissions=frozenset({"policy.manage", "records.sign"}), via="session"
)
_SAMPLES: dict[FactType, Any] = {"Bool": True, "String": "x", "Long": 1}


def golden_problems(bundle: Bundle, evaluate: Callable[[Query], Decision]) -> Iterator[str]:
    """Evaluate every golden case of `bundle` and the built-in ones: one sentence for each that differs."""
    if not bundle.golden:
        yield "the policy bundle has no golden cases"
    for case in bundle.golden:
        name = case.get("name") if isinstance(case, dict) else None
        try:
            query, expected = golden_query(case), _expected(case)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            yield f"golden case {name!r} cannot be read: {type(error).__name__}"
            continue
        yield from _differences(str(name), evaluate(query), expected)
    for query in _strangers(bundle):
        if evaluate(query).decision != "deny":
            yield f"somebody without roles and permissions may call {query.tool.name} with effect {query.tool.effect}"
    for query in _everybody(bundle):
        if any(reason.policy_id in {"engine-error", "bad-input"} for reason in evaluate(query).reasons):
            yield f"the declared facts and arguments do not fit the schema (effect {query.tool.effect})"
            return
    denied = evaluate(administration(_ADMINISTRATOR))
    if denied.decision == "deny":
        why = ", ".join(reason.policy_id for reason in denied.reasons)
        yield f"it denies {ADMINISTRATION.name} to administrators ({why}): nobody could activate the next bundle"


def administration(principal: Principal) -> Query:
    """Whether `principal` may activate a bundle: asked of the policy like a tool call."""
    return Query(principal=principal, tool=ADMINISTRATION, arguments={})


def golden_query(case: Mapping[str, Any]) -> Query:
    """The query a golden case describes. Raises KeyError, TypeError or ValueError for a malformed case."""
    person, tool = case["principal"], case["tool"]
    return Query(
        principal=Principal(
            id=_NOBODY, email="golden@example.org", name="Golden", roles=frozenset(person["roles"]),
            permissions=frozenset(person["permissions"]), via=person.get("via", "session"),
        ),
        tool=ToolFacts(
            name=tool["name"], effect=tool["effect"], permissions=tuple(tool["permissions"]), schema_sha256="",
            gmp_critical=bool(tool.get("gmp_critical", False)),
        ),
        arguments=dict(case.get("arguments", {})),
        facts=dict(case.get("facts", {})),
        tainted=bool(case.get("tainted", False)),
        intent=case.get("intent"),
        unnamed=None if case.get("unnamed") is None else tuple(str(value) for value in case["unnamed"]),
    )  # fmt: skip


def _expected(case: Mapping[str, Any]) -> tuple[str, list[str], set[str]]:
    expect = case["expect"]
    return str(expect["decision"]), list(expect.get("obligations", ())), set(expect.get("reasons", ()))


def _differences(name: str, found: Decision, expected: tuple[str, list[str], set[str]]) -> Iterator[str]:
    decision, obligations, reasons = expected
    given = {reason.policy_id for reason in found.reasons}
    if found.decision != decision or list(found.obligations) != obligations or not reasons <= given:
        got = f"{found.decision} {list(found.obligations)} because of {sorted(given)}"
        yield f"golden case {name!r}: expected {decision} {obligations} {sorted(reasons)}, got {got}"


def _strangers(bundle: Bundle) -> Iterator[Query]:
    """Nobody in particular asks for anything."""
    person = Principal(id=_NOBODY, email="", name="", roles=frozenset(), permissions=frozenset(), via="api_key")
    yield from _queries(bundle, person, ())


def _everybody(bundle: Bundle) -> Iterator[Query]:
    """Every declared fact and argument is present, so that a declaration that does not fit the schema shows."""
    person = Principal(id=_NOBODY, email="", name="", roles=frozenset({"admin"}), permissions=frozenset({"lab.read"}), via="session")
    yield from _queries(bundle, person, ("lab.read",))


def _queries(bundle: Bundle, person: Principal, permissions: tuple[str, ...]) -> Iterator[Query]:
    for effect in get_args(Effect):
        for name in ("no-such-tool", *sorted(bundle.by_tool)):
            yield Query(
                principal=person,
                tool=ToolFacts(name=name, effect=effect, permissions=permissions, schema_sha256=""),
                arguments={key: _SAMPLES[kind] for key, kind in bundle.args.items()},
                facts={key: _SAMPLES[kind] for key, kind in bundle.facts.items()},
            )
