"""Policy bundles: three Cedar sets over one schema. Loading refuses whatever could later be skipped in silence.

An erroring `forbid` is skipped by Cedar, which would turn a deny into an allow; so every policy is validated strictly here, and
the engine treats any error at evaluation as a deny.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Literal

import cedarpy

from aliquot.kernel.canonical import content_hash
from aliquot.kernel.visible import plain_text
from aliquot.policy.reachability import unreachable
from aliquot.policy.rules import OBLIGATIONS, Rules, parse_rules
from aliquot.records.training.contracts import CODE_PATTERN

SetName = Literal["authz", "obligations", "risk"]
FactType = Literal["Bool", "String", "Long"]

APPROVING = frozenset({"confirm", "sign", "two_person"})
"""Obligations that need a person before anything happens."""
RESERVED_IDS = frozenset(
    {
        "default-deny", "engine-error", "missing-permission", "bad-input", "training-expired", "gmp-never-automatic", "risk-band",
        "policy-changing",
    }
)  # fmt: skip
"""Policy ids the engine itself gives as reasons."""

_SETS: tuple[SetName, ...] = ("authz", "obligations", "risk")
_ANNOTATIONS: dict[SetName, str | None] = {"authz": None, "obligations": "obligation", "risk": "weight"}
_TRAINING = re.compile(rf"tool|protocol|instrument|(tool|protocol|instrument|topic):{CODE_PATTERN}")
_POLICY_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DECLARED = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_]*)\?\s*:\s*(Bool|String|Long)\s*$")
_MAX_CHARS = 2_000_000
_MAX_POLICIES = 5_000
_PROBLEMS_MAX = 50


class BundleRefused(Exception):
    """The bundle cannot be used; each of `problems` names the set, the policy and the fault."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems[:_PROBLEMS_MAX])
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleSource:
    """The texts of a bundle and the decisions it promises (golden cases)."""

    schema: str
    authz: str
    obligations: str
    risk: str
    golden: tuple[dict[str, Any], ...] = ()
    rules: dict[str, Any] = field(default_factory=dict)
    """Limits and bands (`policy.rules`)."""

    @property
    def version(self) -> str:
        """SHA-256 over the canonical JSON of all of it, line ends normalised. Raises ValueError when it has no canonical form."""
        texts = {"schema": self.schema, "authz": self.authz, "obligations": self.obligations, "risk": self.risk}
        whole: dict[str, Any] = {name: text.replace("\r\n", "\n").strip() for name, text in texts.items()}
        return content_hash(whole | {"golden": list(self.golden), "rules": self.rules})


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyInfo:
    """What the engine needs of one policy besides its Cedar form."""

    id: str
    text: str
    obligation: str | None = None
    weight: int = 0
    training: str = "tool"
    """Of the obligation `training_valid`: in what. `tool`, `protocol` or `instrument` of the call, or one by name (`topic:GMP`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The parsed policies that can say anything about one tool."""

    authz: cedarpy.PolicySet
    duties: cedarpy.PolicySet
    """Obligations and risk weights in one set: one evaluation answers both."""
    asks_training: bool
    """Whether the answer can depend on the person's trainings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A validated bundle, parsed once."""

    version: str
    schema: cedarpy.Schema
    facts: Mapping[str, FactType]
    """Facts the schema declares."""
    args: Mapping[str, FactType]
    """Arguments the schema declares."""
    policies: Mapping[str, PolicyInfo]
    golden: tuple[dict[str, Any], ...]
    rules: Rules
    general: Selection
    by_tool: Mapping[str, Selection] = field(default_factory=dict)

    def asks_training(self, tool: str) -> bool:
        """Whether a decision about `tool` can depend on the person's trainings."""
        return self.select(tool).asks_training or any("training_valid" in band.obligations for band in self.rules.bands)

    def select(self, tool: str) -> Selection:
        """The policies to evaluate for `tool`: the general ones and those whose scope names it."""
        return self.by_tool.get(tool, self.general)


def default_source() -> BundleSource:
    """The texts of the bundle shipped with Aliquot."""
    return read_source(resources.files("aliquot.policy") / "bundle")


def read_source(folder: Traversable) -> BundleSource:
    """The bundle in `folder`: four texts, `golden.json` and, where there are any, `rules.json`. Raises BundleRefused."""
    try:
        texts = {name: (folder / f"{name}.cedar").read_text("utf-8") for name in _SETS}
        schema = (folder / "schema.cedarschema").read_text("utf-8")
        golden = json.loads((folder / "golden.json").read_text("utf-8"))
        rules = json.loads((folder / "rules.json").read_text("utf-8")) if (folder / "rules.json").is_file() else {}
    except (OSError, ValueError) as error:
        raise BundleRefused(f"the policy bundle cannot be read: {type(error).__name__}") from error
    if not isinstance(golden, list) or not isinstance(rules, dict):
        raise BundleRefused("golden.json must be a list of cases, and rules.json an object")
    return BundleSource(schema=schema, golden=tuple(golden), rules=rules, **texts)


def compile_bundle(source: BundleSource, *, tools: Collection[str] | None = None) -> Bundle:
    """Parse and strictly validate `source`. Raises BundleRefused with all faults; never returns a bundle with one it knows of.

    `tools`: the names of all tools there are; policies about others are refused.
    """
    if sum(len(text) for text in (source.schema, source.authz, source.obligations, source.risk)) > _MAX_CHARS:
        raise BundleRefused("the policy bundle is too large")
    problems = [
        f"{name}: holds control characters, or marks that turn the direction of text: reviewers would not see what they sign"
        for name in ("schema", *_SETS)
        if not plain_text(getattr(source, name))
    ]
    infos: dict[str, PolicyInfo] = {}
    try:
        schema = cedarpy.Schema.from_str(source.schema)
        version = source.version
    except ValueError as error:
        raise BundleRefused(f"schema: {error}") from error
    forms: dict[str, dict[str, dict[str, Any]]] = {}
    for name in _SETS:
        forms[name] = _policies_of(name, getattr(source, name), schema, infos, problems)
    if len(infos) > _MAX_POLICIES:
        problems.append("the policy bundle holds too many policies")
    facts, args = (_declared(source.schema, name, problems) for name in ("Facts", "Args"))
    rules = parse_rules(source.rules, problems, {*infos, *RESERVED_IDS})
    problems += unreachable(forms, tools)
    if problems:
        raise BundleRefused(problems)
    duties = {**forms["obligations"], **forms["risk"]}
    named = {tool for form in (*forms["authz"].values(), *duties.values()) if (tool := _tool_of(form)) is not None}
    return Bundle(
        version=version, schema=schema, facts=facts, args=args, policies=infos, golden=source.golden, rules=rules,
        general=_selection(forms["authz"], duties, None), by_tool={tool: _selection(forms["authz"], duties, tool) for tool in named},
    )  # fmt: skip


def _policies_of(
    name: SetName, text: str, schema: cedarpy.Schema, infos: dict[str, PolicyInfo], problems: list[str]
) -> dict[str, dict[str, Any]]:
    """The JSON form of each policy of one set under its own id; adds to `infos`, and every fault to `problems`."""
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(text))
        validated = cedarpy.validate_policies(text, schema)
    except ValueError as error:
        problems.append(f"{name}: {error}")
        return {}
    if not validated.validation_passed or validated.errors:
        problems += [f"{name}: {error}" for error in validated.errors] or [f"{name}: not valid under the schema"]
    if parsed.get("templates") or parsed.get("templateLinks"):
        problems.append(f"{name}: templates are not accepted")
    forms: dict[str, dict[str, Any]] = {}
    for form in parsed["staticPolicies"].values():
        try:
            info = _info(name, form)
        except BundleRefused as refused:
            problems += refused.problems
            continue
        if info.id in infos:
            problems.append(f"{name}: the policy id {info.id} is used twice")
        infos[info.id] = info
        forms[info.id] = form
    return forms


def _info(name: SetName, form: Mapping[str, Any]) -> PolicyInfo:
    """Raises BundleRefused with the first fault of this policy."""
    annotations: dict[str, str] = {key: value or "" for key, value in (form.get("annotations") or {}).items()}
    policy_id = annotations.pop("id", "")
    if not _POLICY_ID.fullmatch(policy_id):
        raise BundleRefused(f"{name}: a policy has no usable @id (got {policy_id!r})")
    if policy_id in RESERVED_IDS:
        raise BundleRefused(f"{name}: the policy id {policy_id} is reserved")
    text = annotations.pop("reason", "") or annotations.pop("text", "")
    if not text.strip() or len(text) > 500:
        raise BundleRefused(f"{name}: the policy {policy_id} has no usable @reason")
    if name != "authz" and form["effect"] != "permit":
        raise BundleRefused(f"{name}: the policy {policy_id} is a forbid, which would hide other obligations")
    own = _ANNOTATIONS[name]
    value = annotations.pop(own, "") if own is not None else ""
    training = annotations.pop("training", "tool") if value == "training_valid" else "tool"
    if not _TRAINING.fullmatch(training):
        raise BundleRefused(f"{name}: the policy {policy_id} names no usable @training (got {training!r})")
    if annotations:
        raise BundleRefused(f"{name}: the policy {policy_id} has an annotation nothing enforces: @{min(annotations)}")
    if name == "obligations" and value not in OBLIGATIONS:
        raise BundleRefused(f"{name}: the policy {policy_id} names no known @obligation (got {value!r})")
    if name == "risk" and not re.fullmatch(r"\d{1,2}|100", value, re.ASCII):
        raise BundleRefused(f"{name}: the policy {policy_id} needs a @weight of 0 to 100 (got {value!r})")
    return PolicyInfo(
        id=policy_id, text=text.strip(), obligation=value if name == "obligations" else None, weight=int(value) if name == "risk" else 0,
        training=training,
    )  # fmt: skip


def _tool_of(form: Mapping[str, Any]) -> str | None:
    """The only tool a policy's scope names, or None when it can match several."""
    scope = form["resource"]
    entity = scope.get("entity") if scope.get("op") == "==" else None
    if isinstance(entity, dict) and entity.get("type") == "Tool":
        return str(entity["id"])
    return None


def _selection(authz: Mapping[str, dict[str, Any]], duties: Mapping[str, dict[str, Any]], tool: str | None) -> Selection:
    said, owed = dict(_for_tool(authz, tool)), dict(_for_tool(duties, tool))
    asks = '"training_valid"' in json.dumps([said, owed])  # as an obligation or as a fact
    return Selection(authz=_policy_set(said.items()), duties=_policy_set(owed.items()), asks_training=asks)


def _for_tool(forms: Mapping[str, dict[str, Any]], tool: str | None) -> Iterable[tuple[str, dict[str, Any]]]:
    return ((policy_id, form) for policy_id, form in forms.items() if _tool_of(form) in {None, tool})


def _policy_set(forms: Iterable[tuple[str, dict[str, Any]]]) -> cedarpy.PolicySet:
    """Parsed policies whose Cedar ids are our ids, so that diagnostics name them."""
    document = {"staticPolicies": dict(forms), "templates": {}, "templateLinks": []}
    try:
        return cedarpy.PolicySet.from_json_str(json.dumps(document))
    except ValueError as error:
        raise BundleRefused(f"the policies cannot be put together: {error}") from error


def _declared(schema: str, name: str, problems: list[str]) -> dict[str, FactType]:
    """The optional Bool, String and Long attributes of the record type `name` in the schema's text; adds faults to `problems`."""
    plain = re.sub(r"//[^\n]*", "", schema)
    found = re.search(rf"\btype\s+{name}\s*=\s*\{{([^{{}}]*)\}}\s*;", plain)
    if found is None:
        problems.append(f"schema: the record type {name} is missing")
        return {}
    declared: dict[str, FactType] = {}
    for part in found[1].split(","):
        match = _DECLARED.match(part)
        if match is not None:
            kind: Any = match[2]
            declared[match[1]] = kind
        elif part.strip():
            problems.append(f"schema: {name} may hold only optional Bool, String and Long attributes (not {part.strip()[:80]!r})")
    return declared
