"""A question goes out, an answer streams back: the same for every provider."""

import json

import pytest

from aliquot.models.contracts import ModelMessage, ThinkingDelta, ToolUse, ToolUseDone, ToolUseStart
from tests.models.asking import LOOKUP, ask, done_of, events_of, text_of
from tests.models.conftest import Bench
from tests.peers.models_server import ToolCall, Turn

PROVIDERS = ["openai-compatible", "openai", "anthropic", "bedrock"]
PRICE = {"input": 3, "output": 15}


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_text_streams_in_order_and_is_whole_at_the_end(bench: Bench, provider: str) -> None:
    bench.server.script(Turn(text="PCR-02 is idle — ready at 4 °C.", input_tokens=25, output_tokens=12))
    api = bench.api(bench.model(provider=provider, price_per_million_tokens=PRICE))
    events = await events_of(api, ask("Is PCR-02 free?", temperature=0.2, max_output_tokens=100))
    done = done_of(events)
    assert text_of(events) == done.message.text == "PCR-02 is idle — ready at 4 °C."
    assert (done.usage.input_tokens, done.usage.output_tokens, done.usage.estimated) == (25, 12, False)
    assert str(done.usage.cost) == "0.000255"
    assert done.stop_reason == "stop"
    [request] = bench.server.requests
    assert "Is PCR-02 free?" in json.dumps(request.body, ensure_ascii=False)
    assert "Be brief." in json.dumps(request.body)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_parallel_tool_calls_and_their_results_go_back(bench: Bench, provider: str) -> None:
    calls = (
        ToolCall(id="a1", name=LOOKUP.name, arguments={"instrument": "PCR-02"}),
        ToolCall(id="a2", name=LOOKUP.name, arguments={"instrument": "ü"}),
    )
    bench.server.script(Turn(text="Looking.", tool_calls=calls), Turn(text="Both are idle."))
    api = bench.api(bench.model(provider=provider, price_per_million_tokens=PRICE))
    first = await events_of(api, ask(tools=(LOOKUP,)))
    done = done_of(first)
    assert done.stop_reason == "tool_use"
    assert [e.call_id for e in first if isinstance(e, ToolUseStart)] == ["a1", "a2"]
    assert [json.loads(u.arguments) for u in done.message.tool_uses] == [{"instrument": "PCR-02"}, {"instrument": "ü"}]
    assert [e.use for e in first if isinstance(e, ToolUseDone)] == list(done.message.tool_uses)
    history = (
        ModelMessage(role="user", text="And?"),
        done.message,
        ModelMessage(role="tool", call_id="a1", text="idle", pinned=True),
        ModelMessage(role="tool", call_id="a2", text="idle", pinned=True),
    )
    second = await events_of(api, ask(messages=history, tools=(LOOKUP,)))
    assert done_of(second).message.text == "Both are idle."
    sent = json.dumps(bench.server.requests[1].body)
    assert sent.count('"a1"') == 2
    assert sent.count('"a2"') == 2


@pytest.mark.parametrize("provider", ["anthropic", "bedrock"])
async def test_signed_thinking_goes_back_verbatim(bench: Bench, provider: str) -> None:
    call = ToolCall(id="t1", name=LOOKUP.name, arguments={"instrument": "PCR-02"})
    bench.server.script(Turn(thinking="First look it up.", redacted_thinking="c2VjcmV0", tool_calls=(call,)), Turn(text="Idle."))
    api = bench.api(bench.model(provider=provider, thinking=1024, price_per_million_tokens=PRICE))
    first = await events_of(api, ask(tools=(LOOKUP,)))
    assert "".join(e.text for e in first if isinstance(e, ThinkingDelta)) == "First look it up."
    done = done_of(first)
    history = (ModelMessage(role="user", text="?"), done.message, ModelMessage(role="tool", call_id="t1", text="idle"))
    await events_of(api, ask(messages=history, tools=(LOOKUP,)))
    sent = json.dumps(bench.server.requests[1].body["messages"][1])
    assert "First look it up." in sent
    assert "c2lnbmF0dXJl" in sent
    assert sent.index("First look") < sent.index('"t1"')


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_malformed_tool_arguments_come_through_as_they_are(bench: Bench, provider: str) -> None:
    broken = '{"instrument": "PCR-02", "n": '
    bench.server.script(Turn(tool_calls=(ToolCall(name=LOOKUP.name, arguments=broken),)), Turn(text="sorry"))
    api = bench.api(bench.model(provider=provider, price_per_million_tokens=PRICE))
    done = await api.complete(ask(tools=(LOOKUP,)))
    assert done.message.tool_uses[0].arguments == broken
    result = ModelMessage(role="tool", call_id=done.message.tool_uses[0].call_id, text="The arguments are not valid JSON.")
    again = await api.complete(ask(messages=(ModelMessage(role="user", text="?"), done.message, result), tools=(LOOKUP,)))
    assert again.message.text == "sorry"


async def test_tool_names_a_provider_would_refuse_come_back_as_ours(bench: Bench) -> None:
    dotted = ToolUse(call_id="x", name="mcp.files/read", arguments="{}")
    bench.server.default = lambda body: Turn(tool_calls=(ToolCall(name=body["tools"][0]["function"]["name"], arguments={}),))
    spec = type(LOOKUP)(name=dotted.name, description="Read.", parameters={"type": "object"})
    events = await events_of(bench.api(), ask(tools=(spec,)))
    assert bench.server.requests[0].body["tools"][0]["function"]["name"] != dotted.name
    assert done_of(events).message.tool_uses[0].name == dotted.name
