"""The intent of a message: kept with its run, with the decisions it led to and in the log; a policy can ask for it."""

from dataclasses import replace

import httpx2

from aliquot.policy.bundles import default_source
from tests.chat.conftest import ask
from tests.peers.models_server import ModelServer, ToolCall, Turn
from tests.site import Site


async def intent_of(client: httpx2.AsyncClient, run: str) -> tuple[str | None, float | None]:
    document = (await client.get(f"/api/runs/{run}")).json()
    return document["intent"], document["intent_confidence"]


async def test_it_is_kept_with_the_run_the_decision_and_the_log(site: Site) -> None:
    scientist, admin = await site.client("scientist"), await site.client("admin")
    asked = await ask(scientist, "Start PCR-STD-35 on PCR-02", "one")
    name, confidence = await intent_of(scientist, asked.run_id)
    assert (name, 0.75 <= (confidence or 0) <= 1) == ("action", True)
    decisions = (await admin.get("/api/policy/decisions")).json()["items"]
    assert [(d["tool"], d["intent"]) for d in decisions] == [("start_run", "action")]
    events = (await admin.get("/api/audit", params={"record": f"run:{asked.run_id}"})).json()["items"]
    assert [e["versions"]["intent"] for e in events if e["action"] == "run.started"] == [f"action {confidence:.2f}"]
    held = (await admin.get("/api/audit", params={"action": "tool_call.held"})).json()["items"]
    assert [e["versions"]["intent"] for e in held] == ["action"]
    approval = asked.of("approval_required")[0]["approval_id"]
    decided = (await scientist.post(f"/api/approvals/{approval}/decision", json={"decision": "approve"})).json()
    assert (await intent_of(scientist, decided["run_id"]))[0] == "action"  # of the message behind it
    talk = await ask(scientist, "zork the frobnicator")
    assert (await intent_of(scientist, talk.run_id))[0] == "undecided"
    direct = await scientist.post("/api/chat/tools", json={"name": "get_instrument_status", "arguments": {"instrument": "PCR-02"}})
    assert await intent_of(scientist, direct.json()["run_id"]) == (None, None)
    message = (await scientist.get("/api/conversations/one/messages")).json()["items"][-1]
    again = await scientist.post(f"/api/messages/{message['id']}/regenerate")
    assert await intent_of(scientist, again.json()["run_id"]) == (name, confidence)


async def test_an_action_that_a_question_led_to_is_riskier_and_a_bundle_may_refuse_it(model_site: Site, model_server: ModelServer) -> None:
    scientist = await model_site.client("scientist")
    start = ToolCall(name="start_run", arguments={"instrument": "PCR-02", "protocol": "PCR-STD-35"})
    model_server.script(*[Turn(tool_calls=(start,)) for _ in range(3)], Turn(text="No."))
    asked = (await ask(scientist, "Start PCR-STD-35 on PCR-02", "one")).of("approval_required")[0]["preview"]
    unasked = (await ask(scientist, "What is the principle of a thermocycler?", "one")).of("approval_required")[0]["preview"]
    assert unasked["risk"] == asked["risk"] + 30
    assert "confirm-unasked-action" in [reason["policy_id"] for reason in unasked["reasons"]]
    assert "confirm-unasked-action" not in [reason["policy_id"] for reason in asked["reasons"]]
    never = """
    @id("asked-for-only") @reason("Only what was asked for is done.") forbid (principal, action, resource)
    when { resource.effect == "instrument" && context.facts has intent && context.facts.intent == "question" };
    """
    source = default_source()
    golden = tuple(case for case in source.golden if case["name"] != "an action nobody asked for")
    model_site.services.policy.use_bundle(replace(source, authz=source.authz + never, golden=golden))
    refused = await ask(scientist, "What is the principle of a thermocycler?")
    assert [end["outcome"] for end in refused.of("tool_call_end")] == ["denied"]
