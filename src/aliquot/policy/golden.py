"""Golden cases: decisions a bundle promises, checked before it takes effect, and what no bundle whatsoever may do."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from aliquot.identity.contracts import Principal
from aliquot.policy.bundles import Bundle, BundleRefused, FactType
from aliquot.policy.contracts import Decision, Effect, Query, ToolFacts

_NOBODY = uuid.UUID(int=0)
_SAMPLES: dict[FactType, Any] = {"Bool": True, "String": "x", "Long": 1}


def require_golden(bundle: Bundle, evaluate: Callable[[Query], Decision]) -> None:
    """Evaluate every golden case of `bundle` and the built-in ones. Raises BundleRefused naming the first that differs."""
    if not bundle.golden:
        raise BundleRefused("the policy bundle has no golden cases")
    for case in bundle.golden:
        name = case.get("name") if isinstance(case, dict) else None
        try:
            query, expected = golden_query(case), _expected(case)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleRefused(f"golden case {name!r} cannot be read: {type(error).__name__}") from error
        _require(str(name), evaluate(query), expected)
    for query in _strangers(bundle):
        if evaluate(query).decision != "deny":
            raise BundleRefused(f"somebody without roles and permissions may call a tool with effect {query.tool.effect}")
    for query in _everybody(bundle):
        found = evaluate(query)
        if any(reason.policy_id in {"engine-error", "bad-input"} for reason in found.reasons):
            raise BundleRefused(f"the declared facts and arguments do not fit the schema (effect {query.tool.effect})")


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
    )  # fmt: skip


def _expected(case: Mapping[str, Any]) -> tuple[str, list[str], set[str]]:
    expect = case["expect"]
    return str(expect["decision"]), list(expect.get("obligations", ())), set(expect.get("reasons", ()))


def _require(name: str, found: Decision, expected: tuple[str, list[str], set[str]]) -> None:
    decision, obligations, reasons = expected
    given = {reason.policy_id for reason in found.reasons}
    if found.decision != decision or list(found.obligations) != obligations or not reasons <= given:
        got = f"{found.decision} {list(found.obligations)} because of {sorted(given)}"
        raise BundleRefused(f"golden case {name!r}: expected {decision} {obligations} {sorted(reasons)}, got {got}")


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
