"""The engine and its bundles, without a database: refusals at load, and no way to an allow through an error."""

import json
import shutil
import uuid
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import cedarpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from aliquot.cli.policy import app as policy_command
from aliquot.identity.contracts import Principal
from aliquot.identity.rights import ROLE_PERMISSIONS, permissions_of
from aliquot.policy.bundles import BundleRefused, BundleSource, compile_bundle, default_source, read_source
from aliquot.policy.contracts import Effect, Query, ToolFacts
from aliquot.policy.engine import Engine
from tests.policy.conftest import ids

DEFAULT = default_source()
ENGINE = Engine.load(DEFAULT, b"k" * 32)
EFFECTS: tuple[Effect, ...] = ("read", "write", "external", "instrument")

PERMIT_ALL = '@id("all") @reason("All.") permit (principal, action, resource);'


def source(
    authz: str = PERMIT_ALL, obligations: str = "", risk: str = "", schema: str = DEFAULT.schema, golden: Any = DEFAULT.golden
) -> BundleSource:
    return BundleSource(schema=schema, authz=authz, obligations=obligations, risk=risk, golden=golden)


def engine(authz: str = PERMIT_ALL, obligations: str = "", risk: str = "") -> Engine:
    """An engine over hand-made sets, compiled but not held to golden cases."""
    return Engine(compile_bundle(source(authz, obligations, risk)), b"k" * 32)


def ask(
    roles: tuple[str, ...] = ("scientist",),
    effect: Effect = "instrument",
    name: str = "start_run",
    permissions: tuple[str, ...] = ("lab.operate",),
    **more: Any,
) -> Query:
    gmp = more.pop("gmp_critical", False)
    person = Principal(
        id=uuid.UUID(int=1),
        email="",
        name="",
        roles=frozenset(roles),
        permissions=permissions_of(roles, may_sign=False),
        via=more.pop("via", "session"),
    )
    tool = ToolFacts(name=name, effect=effect, permissions=permissions, schema_sha256="", gmp_critical=gmp)
    return Query(principal=person, tool=tool, arguments=more.pop("arguments", {}), **more)


# The default bundle: role × tool × facts

READS, STARTS, STOPS = (
    ("read", "get_protocols", ("lab.read",)),
    ("instrument", "start_run", ("lab.operate",)),
    ("instrument", "stop_run", ("lab.operate",)),
)


@pytest.mark.parametrize(
    ("role", "tool", "facts", "decision", "obligations"),
    [
        *((role, READS, {}, "allow", ()) for role in ("admin", "scientist", "clinician", "reviewer", "viewer", "service")),
        ("scientist", STARTS, {}, "confirm", ("confirm",)),
        ("scientist", STOPS, {"foreign_run": False}, "confirm", ("confirm",)),
        ("scientist", STOPS, {"foreign_run": True}, "confirm", ("sign", "confirm")),
        ("scientist", STOPS, {}, "confirm", ("sign", "confirm")),
        ("scientist", STARTS, {"foreign_run": True}, "confirm", ("sign", "confirm")),
        ("scientist", STARTS, {"critical_step": True}, "confirm", ("sign", "confirm")),
        *((role, STARTS, {}, "deny", ()) for role in ("admin", "clinician", "reviewer", "viewer", "service", "nobody")),
        *((role, STOPS, {"foreign_run": False}, "deny", ()) for role in ("admin", "clinician", "reviewer", "viewer", "service")),
        ("nobody", READS, {}, "deny", ()),
    ],
)
def test_the_default_policy(
    role: str, tool: tuple[Effect, str, tuple[str, ...]], facts: dict[str, Any], decision: str, obligations: tuple[str, ...]
) -> None:
    found = ENGINE.evaluate(ask((role,), *tool, facts=facts))
    assert (found.decision, found.obligations) == (decision, obligations)
    assert all(reason.text for reason in found.reasons)


def test_reasons_name_policies_and_say_why() -> None:
    found = ENGINE.evaluate(ask(("viewer",)))
    assert [(reason.policy_id, reason.text) for reason in found.reasons] == [
        ("missing-permission", "This needs the permission lab.operate."),
        ("viewer-reads-only", "Viewers may only read."),
    ]
    nothing = ENGINE.evaluate(ask(effect="read", permissions=()))
    assert [reason.policy_id for reason in nothing.reasons] == ["default-deny"]


def test_risk_is_summed_and_capped_and_decides_nothing() -> None:
    calm, wild = (
        ENGINE.evaluate(ask(effect="read", permissions=("lab.read",))),
        ENGINE.evaluate(ask(gmp_critical=True, tainted=True, via="api_key", facts={"foreign_run": True})),
    )
    assert (calm.risk, wild.risk) == (0, 100)
    assert engine(risk='@id("r") @reason("R.") @weight("100") permit (principal, action, resource);').evaluate(ask()).decision == "allow"


@pytest.mark.rule("HIPAA 164.312(e)")
def test_patient_data_does_not_leave() -> None:
    outside = {"effect": "external", "name": "mail", "permissions": ("lab.read",)}
    assert ENGINE.evaluate(ask(**outside, facts={"patient_data_out": True})).decision == "deny"  # type: ignore[arg-type]  # a splat of literals


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("role", sorted(ROLE_PERMISSIONS))
@pytest.mark.rule("11.10(f)")
def test_gmp_critical_is_never_automatic_even_where_the_bundle_forgets_it(role: str, effect: Effect) -> None:
    call = ask((role,), effect, permissions=("lab.read",), gmp_critical=True)
    assert ENGINE.evaluate(call).decision != "allow"
    found = engine().evaluate(call)
    assert (found.decision, found.obligations) == ("confirm", ("sign",))
    assert "gmp-never-automatic" in ids(found)


def test_values_nobody_named_are_riskier_and_never_pass_silently_where_it_is_critical() -> None:
    calls = {name: ask(unnamed=unnamed) for name, unnamed in {"unknown": None, "none": (), "one": ("S-0001",)}.items()}
    found = {name: ENGINE.evaluate(call) for name, call in calls.items()}
    assert {name: "confirm-unnamed-values" in ids(decision) for name, decision in found.items()} == {
        "unknown": False, "none": False, "one": True,
    }  # fmt: skip
    assert found["one"].risk == found["none"].risk + 30 == found["unknown"].risk + 30
    assert len({decision.input_sha256 for decision in found.values()}) == 3
    critical = ask(effect="read", permissions=("lab.read",), gmp_critical=True, unnamed=("S-0001",))
    assert (ENGINE.evaluate(critical).decision, set(ENGINE.evaluate(critical).obligations)) == ("confirm", {"sign", "confirm"})
    reading = ENGINE.evaluate(ask(effect="read", permissions=("lab.read",), unnamed=("S-0001",)))
    assert (reading.decision, reading.risk) == ("allow", 0)


def test_a_bundle_that_does_not_know_what_was_named_decides_as_before() -> None:
    schema = "".join(line for line in DEFAULT.schema.splitlines(keepends=True) if "unnamed_values" not in line)
    undeclared = "permit (principal, action, resource) when { !context.undeclared.isEmpty() };"
    text = replace(source(obligations=f'@id("u") @reason("U.") @obligation("sign") {undeclared}'), schema=schema)
    found = Engine(compile_bundle(text), b"k" * 32).evaluate(ask(unnamed=("S-0001",)))
    assert found.obligations == Engine(compile_bundle(text), b"k" * 32).evaluate(ask()).obligations


@pytest.mark.rule("11.10(i)")
def test_a_reason_or_training_obligation_is_enforced() -> None:
    reason = engine(obligations='@id("o") @reason("O.") @obligation("reason_required") permit (principal, action, resource);')
    assert (reason.evaluate(ask()).decision, reason.evaluate(ask()).obligations) == ("confirm", ("confirm", "reason_required"))
    training = engine(obligations='@id("o") @reason("O.") @obligation("training_valid") permit (principal, action, resource);')
    assert training.evaluate(ask(facts={"training_valid": True})).decision == "allow"
    for facts in ({}, {"training_valid": False}):
        assert ids(training.evaluate(ask(facts=facts))) == {"training-expired"}


def test_the_input_hash_is_keyed_and_covers_every_input() -> None:
    base = ask(arguments={"instrument": "PCR-02"})
    other = [
        replace(base, arguments={"instrument": "PCR-03"}), replace(base, facts={"foreign_run": False}), replace(base, tainted=True),
        ask(("viewer",), arguments={"instrument": "PCR-02"}), ask(name="stop_run", arguments={"instrument": "PCR-02"}),
        ask(via="api_key", arguments={"instrument": "PCR-02"}),
    ]  # fmt: skip
    hashes = {ENGINE.evaluate(call).input_sha256 for call in (base, *other)}
    assert len(hashes) == 1 + len(other)
    assert ENGINE.evaluate(base).input_sha256 == ENGINE.evaluate(base).input_sha256
    assert Engine.load(DEFAULT, b"x" * 32).evaluate(base).input_sha256 != ENGINE.evaluate(base).input_sha256


def test_a_lost_role_counts_at_once() -> None:
    held = ask()
    assert ENGINE.evaluate(held).decision == "confirm"
    lost = replace(held, principal=replace(held.principal, roles=frozenset(), permissions=frozenset()))
    assert ENGINE.evaluate(lost).decision == "deny"


def test_every_property_that_decides_is_asked_anew() -> None:
    """The entities are kept between calls: whoever differs in anything must not be answered with another's."""
    texts = {
        "role": 'principal in Role::"scientist"', "permission": 'principal.permissions.contains("mail.send")',
        "via": 'principal.via == "api_key"', "effect": 'resource.effect == "external"', "gmp": "resource.gmp_critical",
        "tool-permission": 'resource.permissions.contains("lab.read")',
    }  # fmt: skip
    every = engine(
        "".join(f'@id("{name}") @reason("x") permit (principal, action, resource) when {{ {when} }};' for name, when in texts.items())
    )
    base = ask((), "read", permissions=())
    base = replace(base, principal=replace(base.principal, permissions=frozenset({"lab.read"})))
    differing = {
        "role": replace(base, principal=replace(base.principal, roles=frozenset({"scientist"}))),
        "permission": replace(base, principal=replace(base.principal, permissions=frozenset({"lab.read", "mail.send"}))),
        "via": replace(base, principal=replace(base.principal, via="api_key")),
        "effect": replace(base, tool=replace(base.tool, effect="external")),
        "gmp": replace(base, tool=replace(base.tool, gmp_critical=True)),
        "tool-permission": replace(base, tool=replace(base.tool, permissions=("lab.read",))),
    }
    for _ in range(2):
        assert ids(every.evaluate(base)) == {"default-deny"}
        for name, call in differing.items():
            assert name in ids(every.evaluate(call))


@pytest.mark.rule("11.10(g)")
def test_a_missing_permission_denies_whatever_the_policies_say() -> None:
    found = engine().evaluate(ask(("viewer",), "read"))
    assert (found.decision, ids(found)) == ("deny", {"missing-permission"})


def test_policies_of_other_tools_are_not_evaluated() -> None:
    tools = "".join(
        f'@id("p{n}") @reason("P.") @obligation("confirm") permit (principal, action, resource == Tool::"t{n}");' for n in range(50)
    )
    many = engine(obligations=tools)
    assert len(many.bundle.select("t7").duties) == 1
    assert len(many.bundle.select("unknown").duties) == 0
    assert [reason.policy_id for reason in many.evaluate(ask(name="t7")).reasons] == ["all", "p7"]


# Refused at load

BACK_DOOR = '@id("back-door") @reason("x") permit (principal, action, resource == Tool::"open");'
NARROW = "foreign_run?: Bool, critical_step?: Bool, patient_data_out?: Bool"


@pytest.mark.parametrize(
    ("part", "text", "why"),
    [
        ("authz", "permit (principal, action, resource);", "no usable @id"),
        ("authz", '@id("") @reason("x") permit (principal, action, resource);', "no usable @id"),
        ("authz", '@id("a b") @reason("x") permit (principal, action, resource);', "no usable @id"),
        ("authz", '@id("default-deny") @reason("x") permit (principal, action, resource);', "reserved"),
        ("authz", '@id("a") permit (principal, action, resource);', "no usable @reason"),
        ("authz", '@id("a") @reason(" ") permit (principal, action, resource);', "no usable @reason"),
        ("authz", '@id("a") @reason("x") @ttl("900") permit (principal, action, resource);', "nothing enforces: @ttl"),
        ("authz", '@id("a") @reason("x") @obligation("sign") permit (principal, action, resource);', "nothing enforces: @obligation"),
        ("authz", PERMIT_ALL + PERMIT_ALL, "used twice"),
        ("authz", '@id("a") @reason("x") forbid (principal, action, resource) when { resource.nope };', "nope"),
        ("authz", '@id("a") @reason("x") forbid (principal, action, resource) when { context.facts.foreign_run };', "optional attribute"),
        ("authz", '@id("a") @reason("x") forbid (principal, action, resource) when { resource.effect };', "Bool"),
        ("authz", '@id("a") @reason("x") forbid (principal in Rolle::"viewer", action, resource);', "Rolle"),
        ("authz", '@id("a") @reason("x") permit (principal == ?principal, action, resource);', "templates"),
        ("authz", "permit (principal", "authz"),
        ("obligations", '@id("a") @reason("x") permit (principal, action, resource);', "no known @obligation"),
        ("obligations", '@id("a") @reason("x") @obligation("hope") permit (principal, action, resource);', "no known @obligation"),
        ("obligations", '@id("a") @reason("x") @obligation("sign") forbid (principal, action, resource);', "is a forbid"),
        ("obligations", '@id("lab-read") @reason("x") @obligation("sign") permit (principal, action, resource);', "used twice"),
        ("risk", '@id("a") @reason("x") permit (principal, action, resource);', "@weight"),
        ("risk", '@id("a") @reason("x") @weight("101") permit (principal, action, resource);', "@weight"),
        ("risk", '@id("a") @reason("x") @weight("-1") permit (principal, action, resource);', "@weight"),
        ("schema", "entity User;", "unrecognized action"),
        ("schema", "}{", "schema"),
        ("authz", "// " + "x" * 2_100_000, "too large"),
    ],
)  # fmt: skip
def test_a_faulty_bundle_is_refused(part: str, text: str, why: str) -> None:
    changed: dict[str, Any] = {part: text if part == "schema" else getattr(DEFAULT, part) + text}
    faulty = replace(DEFAULT, **changed)
    with pytest.raises(BundleRefused, match=why):
        Engine.load(faulty, b"k" * 32)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"authz": PERMIT_ALL}, "golden case"),
        ({"authz": ""}, "golden case"),
        ({"obligations": ""}, "golden case"),
        ({"authz": DEFAULT.authz + BACK_DOOR}, "somebody without roles"),
        ({"authz": DEFAULT.authz.replace('@id("lab-read")', '@id("lab-reads")')}, "golden case 'scientist reads'"),
        ({"golden": ()}, "no golden cases"),
        ({"golden": ({"name": "x"},)}, "cannot be read"),
        ({"golden": ("x",)}, "cannot be read"),
        ({"schema": DEFAULT.schema.replace("type Facts = {", "type Facts = { extra: String,")}, "Facts may hold only optional"),
        ({"schema": DEFAULT.schema.replace("facts: Facts,", f"facts: {{ {NARROW} }},")}, "declared facts and arguments do not fit"),
    ],
)  # fmt: skip
def test_a_bundle_that_breaks_its_promises_is_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(BundleRefused, match=why):
        Engine.load(replace(DEFAULT, **changed), b"k" * 32)


def test_a_bundle_in_a_folder_is_read_or_refused(tmp_path: Path) -> None:
    with resources.as_file(resources.files("aliquot.policy") / "bundle") as folder:
        shutil.copytree(folder, tmp_path / "bundle")
    assert read_source(tmp_path / "bundle") == DEFAULT
    (tmp_path / "bundle" / "golden.json").write_text("{}")
    with pytest.raises(BundleRefused, match=r"golden\.json"):
        read_source(tmp_path / "bundle")
    (tmp_path / "bundle" / "risk.cedar").unlink()
    with pytest.raises(BundleRefused, match="cannot be read"):
        read_source(tmp_path / "bundle")


@pytest.mark.rule("11.10(k)")
def test_the_version_is_that_of_the_content() -> None:
    assert DEFAULT.version == replace(DEFAULT, authz=DEFAULT.authz.replace("\n", "\r\n")).version
    for part in ("schema", "authz", "obligations", "risk"):
        assert replace(DEFAULT, **{part: getattr(DEFAULT, part) + "\n// changed"}).version != DEFAULT.version


# No way to an allow through an error


_text = st.text(max_size=20)
_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
)
_facts = st.dictionaries(st.sampled_from(sorted(ENGINE.bundle.facts)) | _text, _value, max_size=5)
_people = st.builds(
    lambda roles, permissions, via: Principal(
        id=uuid.UUID(int=1), email="", name="", roles=frozenset(roles), permissions=frozenset(permissions), via=via
    ),
    st.sets(st.sampled_from(sorted(ROLE_PERMISSIONS)) | _text, max_size=3),
    st.sets(st.sampled_from(["lab.read", "lab.operate", "mail.send"]) | _text, max_size=4),
    st.sampled_from(["session", "api_key", "cli", "system"]),
)
_tools = st.builds(
    lambda name, effect, permissions, gmp: ToolFacts(
        name=name, effect=effect, permissions=tuple(permissions), schema_sha256="", gmp_critical=gmp
    ),
    st.sampled_from(["start_run", "stop_run", "get_protocols"]) | _text,
    st.sampled_from(EFFECTS),
    st.sets(st.sampled_from(["lab.read", "lab.operate", "mail.send"]) | _text, max_size=3),
    st.booleans(),
)
_queries = st.builds(
    lambda who, tool, arguments, facts, tainted: Query(principal=who, tool=tool, arguments=arguments, facts=facts, tainted=tainted),
    _people, _tools, st.dictionaries(_text, _value, max_size=4), _facts, st.booleans(),
)  # fmt: skip
EMPTY = engine(authz="")
_quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_quick
@given(_queries)
def test_whatever_is_asked_there_is_an_answer_with_a_reason_and_never_too_much(call: Query) -> None:
    found = ENGINE.evaluate(call)
    assert found.reasons
    assert all(reason.text for reason in found.reasons)
    assert 0 <= found.risk <= 100
    if found.decision != "deny":
        assert call.tool.permissions
        assert set(call.tool.permissions) <= call.principal.permissions
    if found.decision == "allow":
        assert call.tool.effect == "read"
        assert not call.tool.gmp_critical
    if call.tool.effect == "external" and call.facts.get("patient_data_out") is True:
        assert found.decision == "deny"


@_quick
@given(_queries)
@pytest.mark.rule("11.10(g)")
def test_without_a_permit_everything_is_denied(call: Query) -> None:
    assert EMPTY.evaluate(call).decision == "deny"


_ERRING = "context.facts has instrument_count && context.facts.instrument_count * 9223372036854775807 > 0"
_ERRING_SCHEMA = DEFAULT.schema.replace("type Facts = {", "type Facts = {\n  instrument_count?: Long,")
ERRING = {
    effect: Engine(
        compile_bundle(
            source(
                PERMIT_ALL + f'@id("e") @reason("E.") {effect} (principal, action, resource) when {{ {_ERRING} }};', schema=_ERRING_SCHEMA
            )
        ),
        b"k" * 32,
    )
    for effect in ("forbid", "permit")
}


@_quick
@given(st.integers(min_value=2, max_value=2**53 - 1), st.sampled_from(["forbid", "permit"]), _tools)
def test_a_policy_that_errs_never_allows(count: int, effect: str, tool: ToolFacts) -> None:
    person = replace(ask().principal, permissions=frozenset(tool.permissions))
    found = ERRING[effect].evaluate(Query(principal=person, tool=tool, arguments={}, facts={"instrument_count": count}))
    assert found.decision == "deny"
    # Roles and names that cannot be written to Cedar at all are engine errors too.
    assert ids(found) == {"engine-error"} or ids(found) == {"bad-input"}


def test_a_number_is_a_number_that_fits() -> None:
    counting = Engine(compile_bundle(source(schema=_ERRING_SCHEMA)), b"k" * 32)
    assert counting.evaluate(ask(facts={"instrument_count": 2**53 - 1})).decision == "allow"
    for wrong in (True, 1.0, "1", 2**63):
        assert ids(counting.evaluate(ask(facts={"instrument_count": wrong}))) == {"bad-input"}


def test_an_erring_obligation_or_weight_denies() -> None:
    for part, note in (("obligations", '@obligation("confirm")'), ("risk", '@weight("10")')):
        erring = f'@id("e") @reason("E.") {note} permit (principal, action, resource) when {{ {_ERRING} }};'
        changed: dict[str, Any] = {part: erring}
        broken = Engine(compile_bundle(replace(source(schema=_ERRING_SCHEMA), **changed)), b"k" * 32)
        assert broken.evaluate(ask(facts={"instrument_count": 0})).decision == "allow"
        assert ids(broken.evaluate(ask(facts={"instrument_count": 2}))) == {"engine-error"}


@pytest.mark.parametrize("failure", [ValueError("x"), RuntimeError("x"), MemoryError(), KeyError("x")])
def test_an_engine_that_raises_denies(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(cedarpy, "is_authorized", fail)
    found = ENGINE.evaluate(ask(effect="read", permissions=("lab.read",)))
    assert (found.decision, ids(found), found.risk) == ("deny", {"engine-error"}, 100)


def test_an_engine_without_an_opinion_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = cedarpy.AuthzResult({"decision": "NoDecision", "diagnostics": {"reason": [], "errors": []}})
    monkeypatch.setattr(cedarpy, "is_authorized", lambda *_: answer)
    assert ids(ENGINE.evaluate(ask(effect="read", permissions=("lab.read",)))) == {"engine-error"}


def test_a_declared_argument_of_another_type_denies() -> None:
    for wrong in (1, True, ["PCR-02"], {"code": "PCR-02"}):
        assert ids(ENGINE.evaluate(ask(arguments={"instrument": wrong}))) == {"bad-input"}
    assert ENGINE.evaluate(ask(arguments={"instrument": None})).decision == "confirm"


def test_the_command_writes_and_checks_a_bundle(tmp_path: Path) -> None:
    run, folder = CliRunner(), tmp_path / "bundle"
    assert run.invoke(policy_command, ["default", str(folder)]).exit_code == 0
    assert DEFAULT.version in run.invoke(policy_command, ["check", str(folder)]).output
    body = json.loads(run.invoke(policy_command, ["check", "--json", str(folder)]).stdout)
    assert BundleSource(**{name: value for name, value in body.items() if name != "name"} | {"golden": tuple(body["golden"])}) == DEFAULT
    assert run.invoke(policy_command, ["default", str(folder)]).exit_code == 2
    (folder / "authz.cedar").write_text('@id("a") permit (principal, action, resource); permit (principal, action, resource);')
    found = run.invoke(policy_command, ["check", str(folder)])
    assert found.exit_code == 1
    assert "a has no usable @reason" in found.stderr
    assert "no usable @id" in found.stderr


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ("forbid (principal, action, resource) when { false || !(true) };", "condition is never true"),
        ("forbid (principal, action, resource) unless { true };", "condition is never true"),
        ('permit (principal in Role::"boss", action, resource);', "no role boss"),
        ('forbid (principal, action, resource == Tool::"stat_run");', "no tool stat_run"),
    ],
)  # fmt: skip
def test_policies_that_can_never_match_are_refused(policy: str, why: str) -> None:
    added = replace(DEFAULT, authz=f'{DEFAULT.authz}\n@id("x") @reason("x") {policy}')
    with pytest.raises(BundleRefused, match=why):
        Engine.load(added, b"k" * 32, tools={"start_run", "stop_run"})


def test_a_permit_under_a_blanket_forbid_is_refused() -> None:
    blanket = '@id("f") @reason("x") forbid (principal, action, resource == Tool::"t") when { true };'
    with pytest.raises(BundleRefused, match="p is unreachable: f forbids all of it"):
        compile_bundle(source(blanket + '@id("p") @reason("x") permit (principal, action, resource == Tool::"t");'))
    compile_bundle(source(blanket + '@id("p") @reason("x") permit (principal, action, resource == Tool::"u");'))
