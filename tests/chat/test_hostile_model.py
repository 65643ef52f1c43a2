"""A model that calls tools with what no tool, stream or database can take: the run goes on or ends with a sentence, never as a bug."""

import json
from datetime import datetime

import pytest

from tests.chat.conftest import ask, hear, model_site  # noqa: F401 - fixture
from tests.peers.fixtures import model_host, model_server  # noqa: F401 - fixtures
from tests.peers.models_server import ModelServer, ToolCall, Turn
from tests.site import Site


@pytest.mark.parametrize(
    "arguments",
    ['{"instrument":"\\ud800"}', '{"instrument":' + "[" * 5_000 + "]" * 5_000 + "}", '{"instrument":9007199254740993}'],
    ids=["half-surrogate", "deep", "big-integer"],
)
async def test_arguments_that_cannot_be_shown_are_refused_to_the_model(
    model_site: Site,  # noqa: F811
    model_server: ModelServer,  # noqa: F811
    arguments: str,
) -> None:
    model_server.script(Turn(tool_calls=(ToolCall(name="get_instrument_status", arguments=arguments),)), Turn(text="I cannot."))
    heard = await ask(await model_site.client("scientist"), "Is PCR-02 ready?")
    assert heard.of("tool_call_end")[0]["outcome"] == "failed"
    assert heard.text == "I cannot."
    assert heard.of("done")[0]["state"] == "done"


@pytest.mark.parametrize("call_id", ["a\x00b", "i" * 5_000], ids=["nul", "long"])
async def test_a_call_id_that_cannot_be_stored_is_the_providers_mistake(
    model_site: Site,  # noqa: F811
    model_server: ModelServer,  # noqa: F811
    call_id: str,
) -> None:
    model_server.default = lambda _: Turn(tool_calls=(ToolCall(name="get_protocols", arguments={}, id=call_id),))
    heard = await ask(await model_site.client("scientist"), "Which protocols are there?")
    assert heard.of("error")[0]["code"] == "model_misbehaved"
    assert heard.of("tool_call_end") == []


async def test_a_direct_tool_call_needs_no_model(model_site: Site, model_server: ModelServer) -> None:  # noqa: F811
    model_server.default = lambda _: Turn(status=500)
    scientist = await model_site.client("scientist")
    body = {"name": "get_instrument_status", "arguments": {"instrument": "PCR-02"}}
    answer = await scientist.post("/api/chat/tools", json=body)
    assert answer.status_code == 200, answer.text

    waiting = await scientist.post("/api/instruments/PCR-02/runs", json={"protocol": "PCR-STD-35"})
    assert waiting.status_code == 202, waiting.text
    decided = await scientist.post(f"/api/approvals/{waiting.json()['approval']['id']}/decision", json={"decision": "approve"})
    followed = await hear(scientist, decided.json()["run_id"])
    assert followed.of("tool_call_end")[0]["outcome"] == "ok"
    assert followed.of("done")[0]["state"] == "done"
    assert model_server.requests == []


async def test_text_that_alternates_with_reasoning_does_not_come_at_one_piece_a_beat(
    model_site: Site,  # noqa: F811
    model_server: ModelServer,  # noqa: F811
) -> None:
    said = [("reasoning_content" if n % 2 else "content", f"{n} ") for n in range(1_000)]
    chunks = [{"choices": [{"index": 0, "delta": {name: text}}]} for name, text in said]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    model_server.script(Turn(raw=b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in [*chunks, end])))
    heard = await ask(await model_site.client("scientist"), "Count")
    pieces = [event for event in heard.events if event.kind in ("text_delta", "thinking")]
    assert [(event.kind == "thinking", event.data["text"]) for event in pieces] == [(bool(n % 2), f"{n} ") for n in range(1_000)]
    first, last = (datetime.fromisoformat(event.data["at"]) for event in (pieces[0], pieces[-1]))
    assert (last - first).total_seconds() < 15, "a beat for each is at least 30 s"
