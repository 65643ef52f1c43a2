"""`POST /ag-ui`, judged by the official package; the other streaming formats over HTTP."""

import json
import uuid
from typing import Any

from tests.chat.conftest import model_host, model_server, model_site  # noqa: F401 - fixtures
from tests.peers.models_server import ModelServer, ToolCall, Turn
from tests.site import Seeded, Site, seeded, seeded_urls, site  # noqa: F401 - fixtures
from tests.web import agui_judge


def asked(thread: str, *messages: tuple[str, str], **more: Any) -> dict[str, Any]:
    listed = [{"id": str(uuid.uuid4()), "role": role, "content": content} for role, content in messages]
    return {
        "threadId": thread, "runId": f"run of {thread}", "state": {"a": 1}, "messages": listed, "tools": [], "context": [],
        "forwardedProps": {}, **more,
    }  # fmt: skip


async def test_a_run_with_a_tool_and_one_that_waits(model_site: Site, model_server: ModelServer) -> None:  # noqa: F811
    look = ToolCall(name="get_instrument_status", arguments={"instrument": "PCR-02"})
    start = ToolCall(name="start_run", arguments={"instrument": "PCR-02", "protocol": "PCR-STD-35"})
    model_server.script(
        Turn(thinking="hm", text="Let me look.", tool_calls=(look,)),
        Turn(text="It is idle."),
        Turn(tool_calls=(start,)),
        Turn(text="Fine."),
    )
    client = await model_site.client("scientist")
    answer = await client.post("/ag-ui", json=asked("t1", ("user", "Is PCR-02 ready?")))
    assert answer.status_code == 200, answer.text
    found = agui_judge.events(answer.text)
    agui_judge.judge(found)
    assert (found[0]["threadId"], found[0]["runId"]) == ("t1", "run of t1")
    kinds = [event["type"] for event in found]
    assert {"TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT"} <= set(kinds)
    assert json.loads(next(event["delta"] for event in found if event["type"] == "TOOL_CALL_ARGS")) == {"instrument": "PCR-02"}
    assert found[-1]["outcome"] == {"type": "success"}
    assert found[-1]["usage"][0]["inputTokens"] > 0
    waits = await client.post("/ag-ui", json=asked("t1", ("user", "ignored"), ("assistant", "too"), ("user", "Start it")))
    found = agui_judge.events(waits.text)
    agui_judge.judge(found)
    (interrupt,) = found[-1]["outcome"]["interrupts"]
    assert interrupt["reason"] == "approval_required"
    resume = [{"interruptId": interrupt["id"], "status": "resolved", "payload": {"approved": True}}]
    refused = await client.post("/ag-ui", json=asked("t1", ("user", "Yes"), resume=resume))
    assert (refused.status_code, refused.json()["code"]) == (403, "session_required")
    decided = await client.post(f"/api/approvals/{interrupt['id']}/decision", json={"decision": "approve"})
    assert decided.status_code == 202
    said = [m["content"] for m in (await client.get("/api/conversations/t1/messages")).json()["items"] if m["role"] == "user"]
    assert said == ["Start it", "Is PCR-02 ready?"]


async def test_a_thread_the_server_does_not_know_brings_its_history(model_site: Site, model_server: ModelServer) -> None:  # noqa: F811
    model_server.script(Turn(text="You said blue."))
    client = await model_site.client("scientist")
    messages = [("system", "Be brief."), ("user", "My colour is blue."), ("assistant", "Noted."), ("user", "Which colour?")]
    answer = await client.post("/ag-ui", json=asked("brought", *messages))
    agui_judge.judge(agui_judge.events(answer.text))
    sent = json.dumps(model_server.requests[-1].body)
    assert "My colour is blue." in sent
    assert "Noted." in sent


async def test_bad_input_and_what_is_not_taken(site: Site) -> None:  # noqa: F811
    client, other = await site.client("scientist"), await site.client("viewer")
    made = (await client.post("/api/conversations", json={"title": "Mine"})).json()["id"]
    for person, body, status in (
        (client, asked("t", ("assistant", "I end this")), 422),
        (client, asked("t", ("user", "")), 422),
        (client, asked("t"), 422),
        (client, asked("", ("user", "x")), 422),
        (client, asked("t", ("user", "x"), tools=[{"name": "f", "description": "d"}]), 400),
        (client, asked("t", ("user", "\ud800")), 422),
        (client, {"messages": []}, 422),
        (client, asked("t", ("user", "x" * 33_000)), 422),
        (other, asked(made, ("user", "x")), 404),
    ):
        answer = await person.post("/ag-ui", content=json.dumps(body), headers={"Content-Type": "application/json"})
        assert answer.status_code == status, (body, answer.text)
    parts = asked("t", ("user", "x"))
    parts["messages"][0]["content"] = [{"type": "image", "source": {"type": "url", "value": "https://example.org/x.png"}}]
    assert (await client.post("/ag-ui", json=parts)).status_code == 422
    parts["messages"][0]["content"] = [{"type": "text", "text": "Is PCR-02 "}, {"type": "text", "text": "ready?"}]
    assert "PCR-02" in (await client.post("/ag-ui", json=parts)).text


async def test_the_formats_of_the_stream_and_the_header_of_the_ai_sdk(site: Site) -> None:  # noqa: F811
    client = await site.client("scientist")
    sdk = await client.post("/api/chat/stream", params={"format": "vercel"}, json={"message": "Is PCR-02 ready?"})
    assert sdk.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert sdk.text.endswith("data: [DONE]\n\n")
    plain = await client.post("/api/chat/stream", params={"format": "ag-ui"}, json={"message": "Is PCR-02 ready?", "conversationId": "c"})
    found = agui_judge.events(plain.text)
    agui_judge.judge(found)
    assert found[0]["runId"] == plain.headers["X-Run-Id"]
    assert "x-vercel-ai-ui-message-stream" not in plain.headers
    assert (await client.post("/api/chat/stream", params={"format": "xml"}, json={"message": "x"})).status_code == 422
