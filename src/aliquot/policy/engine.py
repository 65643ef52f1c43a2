"""Evaluates a query against a bundle. Pure: no database, no clock that matters, and no way to an allow through an error."""

import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cedarpy
import structlog

from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json
from aliquot.policy.bundles import APPROVING, Bundle, BundleRefused, BundleSource, FactType, compile_bundle
from aliquot.policy.contracts import OWN_DECISION, TRAINING_EXPIRED, Decision, Query, Reason, ToolFacts, Verdict
from aliquot.policy.golden import ADMINISTRATION, golden_problems
from aliquot.policy.rules import OBLIGATIONS
from aliquot.records.training.contracts import training_key
from aliquot.records.training.errors import missing_sentence

log = structlog.get_logger(__name__)

_LONG_MAX = 2**63 - 1


class _EngineFailed(Exception):
    """Cedar reported an error, or could not decide."""


class _BadInput(Exception):
    """A fact or argument has another type than the schema says; the text names it, never its value."""


_Judgement = tuple[Verdict, Sequence[Reason], int, Sequence[str]]
_NO_FORM = Reason(policy_id="bad-input", text="The arguments or facts cannot be written as canonical JSON, so the answer is no.")
_NO_CANONICAL_FORM: _Judgement = ("deny", (_NO_FORM,), 100, ())
_ENTITY_SETS = 512


@dataclass(frozen=True, slots=True)
class _Texts:
    """A bundle's source, the same as another one when every character is."""

    all: str
    source: BundleSource = field(compare=False)


@lru_cache(maxsize=4)
def _sound(texts: _Texts, tools: frozenset[str] | None) -> Bundle:
    """The compiled bundle, held to its golden cases. Pure, so engines of the same texts in one process share it. Raises BundleRefused."""
    bundle = compile_bundle(texts.source, tools=tools)
    if problems := list(golden_problems(bundle, Engine(bundle, b"golden").evaluate)):
        raise BundleRefused(problems)
    return bundle


class Engine:
    """One loaded bundle, ready to decide. Immutable: a new bundle is a new engine."""

    def __init__(self, bundle: Bundle, input_key: bytes) -> None:
        """`input_key` keys the hash of the inputs, so that arguments cannot be guessed from the decision log."""
        self.bundle = bundle
        self._input_key = input_key
        self._entities: OrderedDict[tuple[object, ...], cedarpy.Entities] = OrderedDict()

    @classmethod
    def load(cls, source: BundleSource, input_key: bytes, *, tools: Collection[str] | None = None) -> "Engine":
        """Compile `source` and hold it to its golden cases. Raises BundleRefused with every problem. `tools`: all there are."""
        known = None if tools is None else frozenset({*tools, ADMINISTRATION.name})
        return cls(_sound(_Texts(repr(source), source), known), input_key)

    def evaluate(self, query: Query) -> Decision:
        """The decision. Never raises for anything in `query`, and never answers without a reason."""
        started = time.perf_counter_ns()
        digest = self._input_hash(query)
        verdict, reasons, risk, obligations = _NO_CANONICAL_FORM if digest is None else self._judge(query)
        return Decision(
            decision=verdict,
            reasons=tuple(reasons),
            risk=risk,
            band=self.bundle.rules.band(risk).name,
            obligations=tuple(obligations),
            policy_version=self.bundle.version,
            input_sha256=digest or "",
            took_us=(time.perf_counter_ns() - started) // 1000,
        )

    def _judge(self, query: Query) -> _Judgement:
        try:
            request, entities = self._request(query), self._entities_of(query.principal, query.tool)
            selection = self.bundle.select(query.tool.name)
            allowed, authz = _ask(request, entities, selection.authz, self.bundle.schema)
            _, duties = _ask(request, entities, selection.duties, None)  # the same request was just validated
        except _BadInput as error:
            return "deny", [Reason(policy_id="bad-input", text=str(error))], 100, []
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in the engine is a deny
            log.error("policy_engine_error", tool=query.tool.name, error=type(error).__name__, policy_version=self.bundle.version)
            return "deny", [Reason(policy_id="engine-error", text="The policy could not be evaluated, so the answer is no.")], 100, []
        risk = min(100, sum(self.bundle.policies[policy_id].weight for policy_id in duties))
        missing = sorted(set(query.tool.permissions) - query.principal.permissions)
        if missing or not allowed:
            return "deny", _refusals(missing, [] if allowed else self._reasons(authz)), risk, []
        return self._with_obligations(query, self._reasons(authz), duties, risk)

    def _with_obligations(self, query: Query, reasons: list[Reason], duties: Sequence[str], risk: int) -> _Judgement:
        obliging = [policy_id for policy_id in duties if self.bundle.policies[policy_id].obligation is not None]
        demanded = {str(self.bundle.policies[policy_id].obligation) for policy_id in obliging}
        reasons = reasons + self._reasons(obliging)
        if more := set(self.bundle.rules.band(risk).obligations) - demanded:
            demanded |= more
            reasons.append(Reason(policy_id="risk-band", text="The risk of this is so high that more is needed."))
        if "training_valid" in demanded and (untrained := self._untrained(query, obliging)):
            return "deny", [Reason(policy_id=TRAINING_EXPIRED, text=missing_sentence(untrained))], risk, []
        if query.tool.gmp_critical and not demanded & APPROVING:
            demanded.add("sign")
            reasons.append(Reason(policy_id="gmp-never-automatic", text="A GMP-critical step is never done without a person."))
        if demanded & {"reason_required", OWN_DECISION} and not demanded & APPROVING:
            demanded.add("confirm")
        verdict: Verdict = "confirm" if demanded & APPROVING else "allow"
        return verdict, reasons, risk, [name for name in OBLIGATIONS if name in demanded]

    def _untrained(self, query: Query, obliging: Sequence[str]) -> tuple[str, ...]:
        """What the person has no training in date for. A band of risk, which names none, asks for the tool's."""
        asking = [self.bundle.policies[policy_id] for policy_id in obliging]
        wanted = {_training_of(query, info.training) for info in asking if info.obligation == "training_valid"} or {
            _training_of(query, "tool")
        }
        if query.trainings is None:
            return () if query.facts.get("training_valid") is True else tuple(sorted(wanted))
        return tuple(sorted(wanted - query.trainings))

    def _reasons(self, policy_ids: Sequence[str]) -> list[Reason]:
        return [Reason(policy_id=policy_id, text=self.bundle.policies[policy_id].text) for policy_id in policy_ids]

    def _request(self, query: Query) -> dict[str, Any]:
        facts = _typed(self._facts(query), self.bundle.facts, "fact")
        context = {
            "facts": facts,
            "args": _typed(query.arguments, self.bundle.args, "argument"),
            "tainted": bool(query.tainted),
            "undeclared": sorted(set(query.facts) - set(facts)),
        }
        return {
            "principal": {"type": "User", "id": str(query.principal.id)},
            "action": {"type": "Action", "id": "call"},
            "resource": {"type": "Tool", "id": query.tool.name},
            "context": json.dumps(context),
        }

    def _facts(self, query: Query) -> dict[str, Any]:
        """The facts, with what the chat knows for a bundle that declares it: for another one it would be undeclared in every call."""
        given = {"intent": query.intent, "unnamed_values": None if query.unnamed is None else len(query.unnamed)}
        return query.facts | {name: value for name, value in given.items() if value is not None and name in self.bundle.facts}

    def _entities_of(self, principal: Principal, tool: ToolFacts) -> cedarpy.Entities:
        """The parsed person, roles and tool. Kept by content, never by name: whoever loses a role has other entities at once."""
        key = (
            principal.id,
            principal.roles,
            principal.permissions,
            principal.via,
            tool.name,
            tool.effect,
            tool.permissions,
            tool.gmp_critical,
        )
        entities = self._entities.get(key)
        if entities is None:
            entities = cedarpy.Entities.from_json_str(_entities_json(principal, tool), self.bundle.schema)
            self._entities[key] = entities
            if len(self._entities) > _ENTITY_SETS:
                self._entities.popitem(last=False)
        else:
            self._entities.move_to_end(key)
        return entities

    def _input_hash(self, query: Query) -> str | None:
        """HMAC-SHA256 of everything that went in; None when it has no canonical form: such a call could not be bound."""
        value: dict[str, Any] = {
            "arguments": query.arguments,
            "facts": query.facts,
            "permissions": sorted(query.principal.permissions),
            "principal": str(query.principal.id),
            "roles": sorted(query.principal.roles),
            "schema": query.tool.schema_sha256,
            "tainted": bool(query.tainted),
            "tool": query.tool.name,
            "via": query.principal.via,
        }
        if query.trainings is not None:
            value["trainings"] = sorted(query.trainings)
        if query.intent is not None:
            value["intent"] = query.intent
        if query.unnamed is not None:
            value["unnamed"] = list(query.unnamed)
        try:
            data = canonical_json(value)
        except ValueError:
            return None
        return hmac.digest(self._input_key, data, "sha256").hex()


def _ask(
    request: dict[str, Any], entities: cedarpy.Entities, policies: cedarpy.PolicySet, schema: cedarpy.Schema | None
) -> tuple[bool, list[str]]:
    """Whether Cedar allows, and the ids of the determining policies in a stable order. Raises _EngineFailed."""
    result = cedarpy.is_authorized(request, policies, entities, schema)
    if result.diagnostics.errors or result.decision == cedarpy.Decision.NoDecision:
        raise _EngineFailed
    return result.decision == cedarpy.Decision.Allow, sorted(result.diagnostics.reasons)


def _entities_json(principal: Principal, tool: ToolFacts) -> str:
    roles = [{"type": "Role", "id": role} for role in sorted(principal.roles)]
    user = {
        "uid": {"type": "User", "id": str(principal.id)},
        "attrs": {"permissions": sorted(principal.permissions), "via": principal.via},
        "parents": roles,
    }
    subject = {
        "uid": {"type": "Tool", "id": tool.name},
        "attrs": {"effect": tool.effect, "gmp_critical": bool(tool.gmp_critical), "permissions": sorted(tool.permissions)},
        "parents": [],
    }
    return json.dumps([user, subject, *({"uid": role, "attrs": {}, "parents": []} for role in roles)])


def _typed(values: Mapping[str, Any], declared: Mapping[str, FactType], what: str) -> dict[str, Any]:
    """Those of `values` the schema declares. Raises _BadInput when one has another type."""
    found: dict[str, Any] = {}
    for name, kind in declared.items():
        if name not in values or values[name] is None:
            continue
        value = values[name]
        if not _fits(value, kind):
            raise _BadInput(f"The {what} {name} is not a {kind}, so the answer is no.")
        found[name] = value
    return found


def _training_of(query: Query, wanted: str) -> str:
    """The key of a training that a policy asks for; of one that the call does not name, words that no key equals."""
    kind, _, code = wanted.partition(":")
    if not code:
        found = query.tool.name if kind == "tool" else query.facts.get(kind) or query.arguments.get(kind)
        code = found if isinstance(found, str) else ""
    return training_key(kind, code) if code.strip() else f"{kind} (not known which)"


def _fits(value: object, kind: FactType) -> bool:
    if kind == "Bool":
        return isinstance(value, bool)
    if kind == "Long":
        return isinstance(value, int) and not isinstance(value, bool) and -_LONG_MAX - 1 <= value <= _LONG_MAX
    return isinstance(value, str)


def _refusals(missing: Sequence[str], forbidding: list[Reason]) -> list[Reason]:
    needed = [Reason(policy_id="missing-permission", text=f"This needs the permission {', '.join(missing)}.")] if missing else []
    return needed + forbidding or [Reason(policy_id="default-deny", text="No policy permits this.")]
