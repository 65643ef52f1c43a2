"""Values that a model put into a call and nobody named: warned of, recorded, riskier; what was said, read, confirmed or typed is named."""

from typing import Any

import httpx2

from tests.chat.conftest import ask, hear
from tests.peers.models_server import ModelServer, ToolCall, Turn
from tests.site import Site

START = {"instrument": "PCR-02", "protocol": "PCR-STD-35"}
ASKED = "Start PCR-STD-35 on PCR-02"
WARNING = "S-0001 and S-0002 were not named in this conversation: the assistant added them."


def start(*samples: str, call_id: str = "call_1", **more: Any) -> ToolCall:
    return ToolCall(id=call_id, name="start_run", arguments=START | ({"samples": list(samples)} if samples else {}) | more)


async def preview_of(client: httpx2.AsyncClient, message: str, conversation: str | None = None) -> dict[str, Any]:
    document: dict[str, Any] = (await ask(client, message, conversation)).of("approval_required")[0]["preview"]
    return document


def not_named(preview: dict[str, Any]) -> list[str]:
    return [warning for warning in preview["warnings"] if "not named" in warning]


async def test_what_a_model_adds_is_warned_of_recorded_and_riskier(model_site: Site, model_server: ModelServer) -> None:
    scientist, admin = await model_site.client("scientist"), await model_site.client("admin")
    model_server.script(*[Turn(tool_calls=(start(*samples),)) for samples in ((), ("S-0001", "S-0002"), ("S-0001", "S-0002"))])
    plain = await preview_of(scientist, ASKED)
    invented = await preview_of(scientist, ASKED)
    named = await preview_of(scientist, f"{ASKED.lower()} with s 0001 and S0002")
    assert invented["warnings"] == [WARNING, *named["warnings"]]
    assert (not_named(plain), not_named(named)) == ([], [])
    assert (invented["risk"], named["risk"]) == (plain["risk"] + 30, plain["risk"])
    reasons = [[reason["policy_id"] for reason in preview["reasons"]] for preview in (plain, invented, named)]
    assert ["confirm-unnamed-values" in ids for ids in reasons] == [False, True, False]
    decisions = (await admin.get("/api/policy/decisions")).json()["items"]
    assert [decision["unnamed_values"] for decision in decisions] == [0, 2, 0]
    assert "S-0001" not in str(decisions)
    held = (await admin.get("/api/audit", params={"action": "tool_call.held"})).json()["items"]
    assert [event["versions"].get("unnamed_values") for event in held] == [None, "2", None]
    approval = (await scientist.get("/api/approvals", params={"state": "pending"})).json()["items"][1]
    assert approval["preview"]["warnings"] == invented["warnings"]
    decided = await scientist.post(f"/api/approvals/{approval['id']}/decision", json={"decision": "approve"})
    followed = await hear(scientist, decided.json()["run_id"])
    assert [end["outcome"] for end in followed.of("tool_call_end")] == ["ok"], "what was approved with the warning is done"


async def test_what_was_read_names_a_value_and_an_answer_that_only_repeats_it_does_not(
    model_site: Site, model_server: ModelServer
) -> None:  # fmt: skip
    scientist = await model_site.client("scientist")
    look = ToolCall(id="call_0", name="get_instrument_status", arguments={"instrument": "HPLC-03"})
    stop = ToolCall(id="call_1", name="stop_run", arguments={"run": "R-2026-0012", "reason": "the pressure is high"})
    guess = ToolCall(id="call_0", name="get_run", arguments={"run": "R-2026-0012"})
    model_server.script(Turn(tool_calls=(look,)), Turn(tool_calls=(stop,)), Turn(tool_calls=(guess,)), Turn(tool_calls=(stop,)))
    asked = "Stop what runs on HPLC-03, the pressure is high"
    assert not_named(await preview_of(scientist, asked)) == []
    assert not_named(await preview_of(scientist, asked)) == ["R-2026-0012 was not named in this conversation: the assistant added it."]


async def test_an_earlier_answer_names_a_value_and_the_words_of_the_assistant_do_not(model_site: Site, model_server: ModelServer) -> None:
    scientist = await model_site.client("scientist")
    model_server.script(
        Turn(tool_calls=(ToolCall(id="call_0", name="get_protocols", arguments={"instrument": "PCR-02"}),)),
        Turn(text="I could start one of them with S-0001 and S-0002."),
        Turn(tool_calls=(start("S-0001", "S-0002"),)),
        Turn(tool_calls=(start("S-0001", "S-0002"),)),
    )
    await ask(scientist, "What can be run on PCR-02?", "talk")
    assert (await preview_of(scientist, "Start the standard one", "talk"))["warnings"][0] == WARNING  # the protocol was read
    elsewhere = await preview_of(scientist, "Start the standard one")
    assert (
        elsewhere["warnings"][0] == "PCR-02, PCR-STD-35, S-0001 and S-0002 were not named in this conversation: the assistant added them."
    )


async def test_only_the_branch_that_is_answered_counts(model_site: Site, model_server: ModelServer) -> None:
    scientist = await model_site.client("scientist")
    model_server.script(Turn(text="Yes?"), *[Turn(tool_calls=(start("S-0001"),)) for _ in range(2)])
    await ask(scientist, "I have S-0001 here", "tree")
    first = (await scientist.get("/api/conversations/tree/messages")).json()["items"][-1]
    assert not_named(await preview_of(scientist, ASKED, "tree")) == []
    edited = await scientist.post("/api/conversations/tree/messages", json={"content": ASKED, "edit_of": first["id"]})
    assert edited.is_success, edited.text
    heard = await hear(scientist, edited.json()["run_id"])
    assert not_named(heard.of("approval_required")[0]["preview"]) == ["S-0001 was not named in this conversation: the assistant added it."]


async def test_what_a_person_types_into_an_edit_is_named_and_what_she_leaves_is_not(model_site: Site, model_server: ModelServer) -> None:
    scientist = await model_site.client("scientist")
    other = start("S-0009", instrument="SEQ-01", protocol="SEQ-PE150")
    model_server.script(Turn(tool_calls=(start("S-0001", "S-0002"),)), Turn(text="Started."), Turn(tool_calls=(other,)))
    asked = (await ask(scientist, ASKED, "edits")).of("approval_required")[0]
    edited = await scientist.post(
        f"/api/approvals/{asked['approval_id']}/edit", json={"arguments": START | {"samples": ["S-0009", "S-0002"]}}
    )
    assert edited.json()["preview"]["warnings"][0] == "S-0002 was not named in this conversation: the assistant added it."
    again = await scientist.post(f"/api/approvals/{edited.json()['id']}/edit", json={"arguments": START | {"samples": ["S-0009"]}})
    assert not_named(again.json()["preview"]) == []
    decided = await scientist.post(f"/api/approvals/{again.json()['id']}/decision", json={"decision": "approve"})
    await hear(scientist, decided.json()["run_id"])
    later = await preview_of(scientist, "The same sample with SEQ-PE150 on SEQ-01, please", "edits")
    assert not_named(later) == [], "what she confirmed is known to her"


async def test_each_step_of_a_plan_says_what_nobody_named_and_is_covered_with_it(model_site: Site, model_server: ModelServer) -> None:
    scientist = await model_site.client("scientist")
    other = ToolCall(id="call_2", name="start_run", arguments={"instrument": "SEQ-01", "protocol": "SEQ-PE150", "samples": ["S-0001"]})
    model_server.script(Turn(tool_calls=(start("S-0001", "S-0002"), other)), Turn(text="Both run."))
    heard = await ask(scientist, f"{ASKED} and SEQ-PE150 on SEQ-01, please")
    preview = heard.of("approval_required")[0]["preview"]
    assert f"Step 1: {WARNING}" in preview["warnings"]
    assert "Step 2: S-0001 was not named in this conversation: the assistant added it." in preview["warnings"]
    assert f"Step 1: {WARNING}" in heard.text
    assert "confirm-unnamed-values" in [reason["policy_id"] for reason in preview["reasons"]]
    plan = (await scientist.get("/api/plans")).json()["items"][0]
    body = {"decision": "approve", "approval_id": plan["approval"]["id"]}
    decided = (await scientist.post(f"/api/plans/{plan['id']}/decision", json=body)).json()
    followed = await hear(scientist, decided["run_id"])
    assert [end["outcome"] for end in followed.of("tool_call_end")] == ["ok", "ok"], followed.text


async def test_without_a_model_everything_is_named_and_a_direct_call_says_nothing(site: Site) -> None:
    scientist, admin = await site.client("scientist"), await site.client("admin")
    await ask(scientist, "Start a run on PCR-02", "which")
    followed = await preview_of(scientist, "PCR-STD-35", "which")
    settled = await preview_of(scientist, "Stop the run on HPLC-03 because of pressure")  # its number comes from the records
    assert (not_named(followed), not_named(settled)) == ([], [])
    direct = await scientist.post("/api/chat/tools", json={"name": "start_run", "arguments": START | {"samples": ["S-0001"]}})
    approval = (await scientist.get(f"/api/approvals/{direct.json()['approval']['id']}")).json()
    assert not_named(approval["preview"]) == []
    decisions = (await admin.get("/api/policy/decisions")).json()["items"]
    assert [(decision["tool"], decision["unnamed_values"]) for decision in decisions] == [
        ("start_run", None), ("stop_run", 0), ("start_run", 0),
    ]  # fmt: skip
