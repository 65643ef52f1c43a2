"""Policy bundles by HTTP: brought, replayed, signed by two administrators, activated, rolled back; and attempts to get round that."""

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from aliquot.identity.contracts import CLI
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.restated import Rechecker
from aliquot.platform.vault import SITE, Vault
from aliquot.policy.api import PolicyApi, kept_refusals
from aliquot.policy.bundles import BundleRefused, BundleSource, default_source
from aliquot.policy.restated import RestatedActivations, RestatedBundles
from aliquot.policy.signatures import ActivationSignatures, ApprovalSignatures
from tests.policy.conftest import PREVIEW, READ, START_RUN, STOP_RUN, query
from tests.policy.test_http import PASSWORD, Site, problem, site  # noqa: F401 - fixture

SIGN = {"signature": {"meaning": "approval", "password": PASSWORD}}
FREEZE = '\n@id("freeze") @reason("Frozen.") forbid (principal, action, resource == Tool::"start_run");'
FOUR_EYES = '\n@id("four-eyes") @reason("Two.") @obligation("two_person") permit (principal, action, resource == Tool::"start_run");'
DEFAULT = default_source()
GOLDEN = [case for case in DEFAULT.golden if case["tool"]["name"] != "start_run"]


@pytest.fixture
async def admins(site: Site, vault: Vault) -> Site:  # noqa: F811
    """A site with two administrators who may sign, and a second process beside it."""
    site.policy, continued = another(site, vault), site.policy.continue_run
    site.policy.continue_run = continued
    for kind in site.policy.signable:
        site.signatures._kinds[kind.name] = kind
    site.policy.keeper.tools = {"start_run", "stop_run", "get_instrument_status"}
    for name in ("a", "b"):
        await administrator(site, name)
    return site


def another(site: Site, vault: Vault) -> PolicyApi:  # noqa: F811
    """What another process of the site has: its own loaded bundle."""
    decisions = ApprovalSignatures(site.signatures)
    return PolicyApi(
        LedgerApi(vault, site.clock), vault, site.clock, site.settings, verify_signature=decisions, leave_signature=decisions.leave,
        bundle_signatures=ActivationSignatures(site.signatures, site.identity),
    )  # fmt: skip


async def administrator(site: Site, name: str) -> None:  # noqa: F811
    async with site.db.begin() as tx:
        made = await site.identity.create_person(
            tx, email=f"{name}@demo.lab", name=name, roles=("admin",), password=PASSWORD, may_sign=True
        )
        await site.signatures.accept_for(tx, made.person.id)


async def brought(client: httpx2.AsyncClient, name: str = "Frozen", **texts: Any) -> str:
    body = {"name": name, "golden": GOLDEN, **(texts or {"authz": DEFAULT.authz + FREEZE})}
    answer = await client.post("/api/policy/bundles", json=body)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["state"], answer.json()["name"]) == ("draft", name)
    return str(answer.json()["id"])


async def replayed(client: httpx2.AsyncClient, bundle: str) -> dict[str, Any]:
    answer = await client.post(f"/api/policy/bundles/{bundle}/replay")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def sign(client: httpx2.AsyncClient, bundle: str) -> httpx2.Response:
    return await client.post(f"/api/policy/bundles/{bundle}/activate", json=SIGN)


async def activated(site: Site, bundle: str) -> None:  # noqa: F811
    a, b = await site.enter("a@demo.lab"), await site.enter("b@demo.lab")
    await replayed(a, bundle)
    assert (await sign(a, bundle)).json()["state"] == "signed"
    assert (await sign(b, bundle)).json()["state"] == "active"


async def ask(site: Site, policy: PolicyApi, person: Any, tool: Any = START_RUN, **facts: Any) -> Any:  # noqa: F811
    async with site.db.begin() as tx:
        return await policy.decide(tx, query(person, tool, facts=facts))


async def actions(site: Site) -> list[tuple[str, str]]:  # noqa: F811
    sql = (
        "SELECT action, convert_from(body, 'UTF8')::jsonb ->> 'reason' FROM audit_event WHERE action LIKE 'policy.%' AND "
        "action NOT LIKE 'policy.bundle_added' ORDER BY id"
    )
    async with site.db.begin() as tx:
        return [(row[0], row[1]) for row in await tx.rows(sa.text(sql))]


@pytest.mark.rule("11.10(k)")
async def test_two_administrators_activate_a_bundle_and_every_process_follows(admins: Site, vault: Vault) -> None:
    scientist = await admins.make("s@demo.lab", "scientist")
    a, b = await admins.enter("a@demo.lab"), await admins.enter("b@demo.lab")
    other = another(admins, vault)
    start = other.policy_version
    for tool in (START_RUN, READ, STOP_RUN):
        assert (await ask(admins, other, scientist, tool)).decision != "deny"

    bundle = await brought(a)
    assert problem(await sign(a, bundle)) == (409, "replay_first")
    report = await replayed(a, bundle)
    assert (report["summary"]["decisions"], report["summary"]["flips"]) == (3, {"confirm→deny": 1})
    (flip,) = report["flips"]
    assert (flip["tool"], flip["before"]["decision"], flip["after"]["decision"]) == ("start_run", "confirm", "deny")
    assert flip["also_now"] is False
    assert flip["after"]["reasons"] == [{"policy_id": "freeze", "text": "Frozen."}]

    first = (await sign(a, bundle)).json()
    assert (first["state"], first["effective_at"], [s["valid"] for s in first["signatures"]]) == ("signed", None, [True])
    assert problem(await sign(a, bundle)) == (409, "same_administrator")
    assert (await ask(admins, other, scientist)).decision == "confirm"
    done = (await sign(b, bundle)).json()
    assert (done["state"], len(done["signatures"])) == ("active", 2)
    for policy in (admins.policy, other):  # neither was told: the next decision notices
        found = await ask(admins, policy, scientist)
        assert (found.decision, found.policy_version) == ("deny", done["version"])
        assert policy.health() == {"status": "ok", "version": done["version"][:16]}
    logged = (await b.get("/api/policy/decisions", params={"limit": 1})).json()["items"][0]
    assert logged["policy_version"] == done["version"]
    assert (await b.get("/api/policy/bundles/active")).json()["bundle"]["id"] == bundle

    body = {"signature": SIGN["signature"], "reason": "The freezer is repaired."}
    back = (await a.post("/api/policy/bundles/rollback", json=body)).json()
    assert (back["id"], back["version"], back["state"]) == (None, start, "active")
    for policy in (other, admins.policy):
        assert (await ask(admins, policy, scientist)).decision == "confirm"
    listed = (await a.get("/api/policy/bundles")).json()["items"]
    assert [(item["state"], item["withdrawn_because"]) for item in listed] == [("withdrawn", body["reason"]), ("active", None)]
    assert problem(await a.post("/api/policy/bundles/rollback", json=body)) == (409, "nothing_before")
    happened = [action for action, _ in await actions(admins)]
    assert happened == [
        "policy.change_refused", "policy.bundle_replayed", "policy.bundle_signed", "policy.change_refused", "policy.bundle_signed",
        "policy.activated", "policy.rolled_back", "policy.change_refused",
    ]  # fmt: skip


async def test_a_single_administrator_waits_a_day(admins: Site) -> None:
    a, b = await admins.enter("a@demo.lab"), await admins.enter("b@demo.lab")
    async with admins.db.begin() as tx:
        person = await admins.identity.person(tx, "b@demo.lab")
        await admins.identity.set_active(tx, person.id, False, by=CLI)
    bundle = await brought(a)
    await replayed(a, bundle)
    shown = (await sign(a, bundle)).json()
    assert (shown["state"], shown["signatures_needed"], shown["effective_at"]) == ("signed", 1, "2026-03-03T09:30:00.000Z")

    async def due() -> list[Any]:
        async with admins.db.begin() as tx:
            return await admins.policy.bundles.activate_due(tx)

    admins.clock.advance(86_399)
    assert await due() == []
    async with admins.db.begin() as tx:  # a second administrator meanwhile: the waiting time alone is not enough any more
        await admins.identity.set_active(tx, person.id, True, by=CLI)
    admins.clock.advance(1)
    assert await due() == []
    a, b = await admins.enter("a@demo.lab"), await admins.enter("b@demo.lab")
    assert (await a.get(f"/api/policy/bundles/{bundle}")).json()["bundle"]["effective_at"] is None
    assert (await sign(b, bundle)).json()["state"] == "active"

    async with admins.db.begin() as tx:
        await admins.identity.set_active(tx, person.id, False, by=CLI)
    second = await brought(a, "Four eyes", obligations=DEFAULT.obligations + FOUR_EYES)
    await replayed(a, second)
    assert (await sign(a, second)).json()["effective_at"] is not None
    admins.clock.advance(86_400)
    assert [str(done) for done in await due()] == [second]
    assert await due() == []


# Attempts


async def test_what_does_not_make_a_bundle_active(admins: Site) -> None:
    scientist = await admins.make("s@demo.lab", "scientist", "admin")
    a, b, without = await admins.enter("a@demo.lab"), await admins.enter("b@demo.lab"), await admins.enter("s@demo.lab")
    person = await admins.identity_of("a@demo.lab")
    agent = await admins.key(person)
    bundle, other = await brought(a), await brought(a, "Four eyes", obligations=DEFAULT.obligations + FOUR_EYES)
    for each in (bundle, other):
        await replayed(a, each)
    path = f"/api/policy/bundles/{bundle}/activate"
    assert problem(await agent.post(path, json=SIGN)) == (403, "session_required")
    wrong = {"signature": {"meaning": "approval", "password": "wrong"}}
    assert problem(await a.post(path, json=wrong)) == (403, "signature_refused")
    assert (await a.post(path, json={"signature": {"meaning": "rejection", "password": PASSWORD}})).status_code == 422
    assert (await a.post(path, json={})).status_code == 422
    async with admins.db.begin() as tx:
        await admins.identity.change_person(tx, scientist.id, may_sign=False, by=CLI)
    assert problem(await without.post(path, json=SIGN)) == (403, "signature_refused")
    viewer = await admins.make("v@demo.lab", "reviewer")
    del viewer
    assert problem(await (await admins.enter("v@demo.lab")).post(path, json=SIGN)) == (403, "forbidden")

    assert (await sign(a, bundle)).json()["state"] == "signed"
    # A signature for one bundle is none for another.
    assert (await sign(b, other)).json()["state"] == "signed"
    # A direct signature on the record is no wish to activate it.
    direct = await b.post(f"/api/records/policy_bundle/{bundle}/signatures", json={"meaning": "approval", "password": PASSWORD})
    assert direct.status_code == 201, direct.text
    assert (await a.get(f"/api/policy/bundles/{bundle}")).json()["bundle"]["state"] == "signed"
    # A revoked one counts no more.
    signature = (await a.get(f"/api/policy/bundles/{bundle}")).json()["bundle"]["signatures"][0]["signature_id"]
    revoke = f"/api/records/policy_bundle/{bundle}/signatures/{signature}/revoke"
    assert (await a.post(revoke, json={"reason": "A mistake.", "password": PASSWORD})).status_code in (200, 201)
    after = (await sign(b, bundle)).json()
    assert (after["state"], [s["valid"] for s in after["signatures"]]) == ("signed", [False, True])
    # Activated by others meanwhile: signatures on top of what was in force then are void, and so is the replay.
    assert (await sign(a, other)).json()["state"] == "active"
    shown = (await a.get(f"/api/policy/bundles/{bundle}")).json()["bundle"]
    assert ([s["valid"] for s in shown["signatures"]], shown["replay"]["current"]) == ([False, False], False)
    assert problem(await sign(a, bundle)) == (409, "replay_outdated")
    # An old activation asked for again.
    assert problem(await sign(a, other)) == (409, "bundle_not_open")


async def test_of_many_signatures_at_once_each_counts_once(admins: Site) -> None:
    a, b = await admins.enter("a@demo.lab"), await admins.enter("b@demo.lab")
    bundle, other = await brought(a), await brought(a, "Four eyes", obligations=DEFAULT.obligations + FOUR_EYES)
    for each in (bundle, other):
        await replayed(a, each)
    answers = await asyncio.gather(*(sign(client, each) for each in (bundle, other) for client in (a, b, a, b)))
    states = sorted(answer.json().get("state") or answer.json()["code"] for answer in answers)
    assert states.count("active") == 1, states
    async with admins.db.begin() as tx:
        assert await tx.scalar(sa.text("SELECT count(*) FROM policy_activation")) == 1
        assert await tx.scalar(sa.text("SELECT count(*) FROM policy_bundle WHERE state = 'active'")) == 1


async def test_nothing_goes_back_to_a_withdrawn_bundle(admins: Site) -> None:
    a = await admins.enter("a@demo.lab")
    first = await brought(a)
    await activated(admins, first)
    second = await brought(a, "Four eyes", obligations=DEFAULT.obligations + FOUR_EYES)
    assert problem(await a.post(f"/api/policy/bundles/{first}/withdraw", json={"reason": "x"})) == (409, "bundle_not_open")
    await activated(admins, second)
    assert (await a.post(f"/api/policy/bundles/{first}/withdraw", json={"reason": "It froze too much."})).json()["state"] == "withdrawn"
    back = {"signature": SIGN["signature"], "reason": "Back."}
    assert problem(await a.post("/api/policy/bundles/rollback", json=back)) == (409, "withdrawn_before")
    assert problem(await sign(a, first)) == (409, "bundle_not_open")
    texts = {"authz": DEFAULT.authz + FREEZE, "obligations": DEFAULT.obligations}
    again = await brought(a, **texts)  # the same texts may be brought anew, and begin anew
    assert problem(await sign(a, again)) == (409, "replay_first")


async def test_rows_written_past_the_server_do_not_become_policy(admins: Site, vault: Vault, urls: Any) -> None:
    a = await admins.enter("a@demo.lab")
    first, second = await brought(a), await brought(a, "Four eyes", obligations=DEFAULT.obligations + FOUR_EYES)
    await activated(admins, first)
    scientist = await admins.make("s@demo.lab", "scientist")
    version = (await ask(admins, admins.policy, scientist)).policy_version

    async def write(sql: str, **values: Any) -> None:
        async with admins.db.begin() as tx:
            await tx.execute(sa.text(sql), values)

    copied = (  # an old activation put in again, and one that names another bundle
        "INSERT INTO policy_activation SELECT 2, bundle_id, record, at FROM policy_activation WHERE serial = 1",
        f"INSERT INTO policy_activation SELECT 3, '{second}', record, at FROM policy_activation WHERE serial = 1",
    )
    for sql in copied:
        await write(sql)
        assert (await ask(admins, admins.policy, scientist)).policy_version == version
        assert admins.policy.health()["status"] == "degraded"
        fresh = another(admins, vault)  # a process that starts now: the last good one
        assert (await ask(admins, fresh, scientist)).policy_version == version
        assert fresh.health()["status"] == "degraded"
    ledger = LedgerApi(vault, admins.clock)
    sources = (RestatedBundles(vault), RestatedActivations(vault))
    found = (await Rechecker(admins.db, ledger, vault, admins.clock, sources).check()).differences
    assert {(difference.record_type, difference.record_id) for difference in found} == {("policy_activation", n) for n in "23"}
    moved = "UPDATE policy_bundle SET texts = (SELECT texts FROM policy_bundle WHERE id = :other) WHERE id = :id"
    await write(moved, id=first, other=second)
    fresh = another(admins, vault)
    assert (await ask(admins, fresh, scientist)).policy_version == fresh.keeper.base.version
    with pytest.raises(Exception, match="permission denied"):
        await write("DELETE FROM policy_activation")
    forged = vault.seal(SITE, b"{}", aad="policy_bundle.texts:x")
    await write("UPDATE policy_bundle SET texts = :texts WHERE id = :id", id=second, texts=forged)
    assert problem(await a.get(f"/api/policy/bundles/{second}"))[1] == "content_damaged"


async def test_a_signature_written_into_the_database_does_not_activate(admins: Site) -> None:
    a, b = await admins.enter("a@demo.lab"), await admins.enter("b@demo.lab")
    bundle = await brought(a)
    await replayed(a, bundle)
    direct = await b.post(f"/api/records/policy_bundle/{bundle}/signatures", json={"meaning": "approval", "password": PASSWORD})
    person = await admins.identity_of("b@demo.lab")
    assert (await sign(a, bundle)).json()["state"] == "signed"
    copied = (
        f"INSERT INTO policy_endorsement SELECT gen_random_uuid(), bundle_id, '{person.id}', '{direct.json()['id']}', on_serial, record, "
        "at FROM policy_endorsement"
    )
    async with admins.db.begin() as tx:
        await tx.execute(sa.text(copied))
    shown = (await a.get(f"/api/policy/bundles/{bundle}")).json()["bundle"]
    assert sorted(one["valid"] for one in shown["signatures"]) == [False, True]
    assert (await sign(b, bundle)).json()["state"] == "active"


# Refused at load


BROKEN = """
@id("never") @reason("x") forbid (principal, action, resource) when { false };
@id("nobody") @reason("x") permit (principal in Role::"manager", action, resource);
@id("nothing") @reason("x") permit (principal, action, resource == Tool::"stat_run");
@id("lab-read") @reason("x") permit (principal, action, resource);
@id("typo") @reason("x") forbid (principal, action, resource) when { resource.efect == "read" };
"""


async def test_a_faulty_bundle_is_refused_with_every_problem_named(admins: Site) -> None:
    a = await admins.enter("a@demo.lab")
    obligation = '\n@id("hope") @reason("x") @obligation("hope") permit (principal, action, resource);'
    body = {"name": "x", "authz": DEFAULT.authz + BROKEN, "obligations": DEFAULT.obligations + obligation,
            "rules": {"limits": [{"id": "often", "count": 0, "per": "moon", "reason": ""}], "colour": 1}}  # fmt: skip
    answer = await a.post("/api/policy/bundles", json=body)
    assert problem(answer) == (422, "bundle_refused")
    named = " | ".join(answer.json()["problems"])
    for fault in (
        "never is unreachable: its condition is never true", "there is no role manager", "there is no tool stat_run",
        "lab-read is used twice", "efect", "no known @obligation (got 'hope')", "nothing enforces 'colour'",
        "limit often: count must be", "limit often: per must be", "limit often: it has no usable reason",
    ):  # fmt: skip
        assert fault in named, (fault, named)
    denies = '\n@id("nobody-acts") @reason("x") forbid (principal in Role::"admin", action, resource) when { resource.effect != "read" };'
    answer = await a.post("/api/policy/bundles", json={"name": "x", "authz": DEFAULT.authz + denies})
    assert "nobody could activate the next bundle" in answer.json()["problems"][0]
    # To a reviewer this comment ends before the permit, to the engine after it.
    trojan = '\n// \u202e} ; )loop-only( \u2066\n@id("t") @reason("x") forbid (principal, action, resource == Tool::"stop_run");'
    answer = await a.post("/api/policy/bundles", json={"name": "x", "authz": DEFAULT.authz + trojan})
    assert "turn the direction of text" in answer.json()["problems"][0]
    assert problem(await a.post("/api/policy/bundles", json={"name": "x \u202ey", "authz": DEFAULT.authz})) == (422, "invalid_input")
    contradiction = [*DEFAULT.golden, DEFAULT.golden[0] | {"name": "no", "expect": {"decision": "deny"}}]
    answer = await a.post("/api/policy/bundles", json={"name": "x", "golden": contradiction})
    assert answer.json()["problems"][0].startswith("golden case 'no': expected deny")
    assert problem(await a.post("/api/policy/bundles", json={"name": "x"})) == (409, "bundle_exists")
    assert (await a.get("/api/policy/bundles")).json()["items"][0]["name"] == "start"


async def test_an_active_bundle_that_stops_loading_leaves_the_last_good_one(admins: Site, vault: Vault) -> None:
    a = await admins.enter("a@demo.lab")
    first, second = await brought(a), await brought(a, "Four eyes", obligations=DEFAULT.obligations + FOUR_EYES)
    await activated(admins, first)
    await activated(admins, second)
    scientist = await admins.make("s@demo.lab", "scientist")
    fresh = another(admins, vault)
    load = fresh.keeper.load

    def newer_product(source: BundleSource, *, strictly: bool = False) -> Any:
        if "four-eyes" in source.obligations:
            raise BundleRefused("something this version does not know")
        return load(source, strictly=strictly)

    fresh.keeper.load = newer_product  # type: ignore[method-assign]
    found = await ask(admins, fresh, scientist)
    assert (found.decision, found.reasons[0].policy_id) == ("deny", "freeze")
    assert fresh.health()["status"] == "degraded"


# Limits, time, bands, explanations


LIMITS = {
    "limits": [
        {"id": "reads-a-minute", "reason": "Enough read.", "count": 2, "seconds": 60, "per": "person", "tools": ["get_instrument_status"]},
        {"id": "starts-per-instrument", "reason": "One start an hour.", "count": 1, "seconds": 3600, "per": "instrument",
         "tools": ["start_run"]},
    ],
    "bands": {"medium": {"from": 30}, "high": {"from": 60, "obligations": ["reason_required"]}},
}  # fmt: skip
NIGHT = (
    '\n@id("night") @reason("Not at night.") forbid (principal, action, resource == Tool::"start_run") when '
    "{ context.facts has hour && (context.facts.hour < 7 || context.facts.hour > 19) };"
)


@pytest.mark.rule("11.10(f)")
async def test_limits_time_of_day_and_bands_decide(admins: Site) -> None:
    golden = tuple(case for case in DEFAULT.golden if case["tool"]["name"] != "stop_run" and not {"intent", "unnamed"} & set(case))
    admins.policy.use_bundle(replace(DEFAULT, rules=LIMITS, authz=DEFAULT.authz + NIGHT, golden=golden))
    policy, scientist, second = admins.policy, await admins.make("s@demo.lab", "scientist"), await admins.make("t@demo.lab", "scientist")
    answers = await asyncio.gather(*(ask(admins, policy, scientist, READ) for _ in range(6)))
    assert sorted(found.decision for found in answers) == ["allow"] * 2 + ["deny"] * 4
    assert {reason.policy_id for found in answers if found.decision == "deny" for reason in found.reasons} == {"reads-a-minute"}
    assert (await ask(admins, policy, second, READ)).decision == "allow"

    started, asked_too = await admins.ask(scientist), await admins.ask(second)
    for email, asked in (("s@demo.lab", started), ("t@demo.lab", asked_too)):
        assert (await (await admins.enter(email)).post(f"/api/approvals/{asked}/decision", json={"decision": "approve"})).status_code == 202
    await _begin(admins, scientist, started)
    with pytest.raises(Exception, match="nothing was done"):
        await _begin(admins, second, asked_too)
    assert (await ask(admins, policy, second)).reasons[0].policy_id == "starts-per-instrument"

    risky = await ask(admins, policy, scientist, STOP_RUN, foreign_run=True)
    assert (risky.risk, risky.band, risky.obligations) == (80, "high", ("sign", "confirm", "reason_required"))
    admins.clock.advance(11 * 3600)  # 20:30
    assert (await ask(admins, policy, scientist)).reasons[0].policy_id == "night"


async def _begin(site: Site, person: Any, asked: str) -> None:  # noqa: F811
    async with kept_refusals(site.db) as tx:
        await site.policy.begin_execution(tx, uuid.UUID(asked), query_now=query(person), preview_now=PREVIEW)


@pytest.mark.rule("11.10(i)")
async def test_a_hypothetical_person_is_explained_under_a_bundle_not_yet_active(admins: Site) -> None:
    a = await admins.enter("a@demo.lab")
    trained = '\n@id("trained") @reason("Trained people only.") @obligation("training_valid") permit (principal, action, resource == Tool::"start_run");'  # noqa: E501
    bundle = await brought(a, "Trained", obligations=DEFAULT.obligations + trained)

    async def explained(**body: Any) -> tuple[str, str, list[str]]:
        answer = (await a.post("/api/policy/explain", json={"tool": "start_run", "arguments": {}, **body})).json()
        return answer["decision"], answer["band"], [reason["policy_id"] for reason in answer["reasons"]]

    scientist = {"roles": ["scientist"]}
    assert (await explained(person=scientist))[:2] == ("confirm", "medium")
    assert await explained(person=scientist, bundle=bundle) == ("deny", "medium", ["training-expired"])
    assert (await explained(person=scientist | {"training_valid": True}, bundle=bundle))[0] == "confirm"
    assert (await explained(person={"roles": ["viewer"]}))[0] == "deny"
    assert (await explained(person=scientist, tool="stop_run", facts={"foreign_run": True}))[2][-1] == "sign-foreign-run"
    for wrong in ({}, {"user": "a@demo.lab", "person": scientist}, {"person": {"roles": ["boss"]}}):
        assert (await a.post("/api/policy/explain", json={"tool": "start_run", **wrong})).status_code == 422
