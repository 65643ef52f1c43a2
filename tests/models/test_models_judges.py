"""The official SDKs judge both sides: they read our fake provider without complaint, and what we assemble from a recorded
stream is what they assemble from it, however the bytes are cut."""

import json
from typing import Any

import boto3
import httpx2
import pytest
from botocore.config import Config
from botocore.eventstream import EventStreamBuffer

from aliquot.models.constrained import ConstrainedDecoder
from aliquot.models.contracts import TextDelta, ThinkingDelta, ToolUseStart
from aliquot.models.errors import ProviderBusy
from aliquot.models.providers.anthropic import AnthropicDecoder
from aliquot.models.providers.base import Decoder, Delta, Turn
from aliquot.models.providers.bedrock import BedrockDecoder
from aliquot.models.providers.openai import OpenAIDecoder
from tests.models.asking import ask, events_of, text_of
from tests.models.conftest import Bench
from tests.peers.models_server import ModelServer, ToolCall, wires
from tests.peers.models_server import Turn as Said

CALLS = (
    ToolCall(id="c1", name="look", arguments={"code": "PCR-02"}),
    ToolCall(id="c2", name="move", arguments={"to": "−80 °C", "n": [1, {}]}),
)
RECORDED = {
    "text": Said(text="Grüße — 4 °C, 🧪 ok.\nSecond line"),
    "parallel tool calls": Said(text="Both.", tool_calls=CALLS),
    "thinking": Said(thinking="Let me see: 試験.", text="Idle.", tool_calls=CALLS[:1]),
    "redacted": Said(thinking="a", redacted_thinking="b3BhcXVl", text="Idle."),
    "refusal": Said(refusal="I cannot help with that."),
    "cut off": Said(text="This is too lo", finish="length"),
    "cached": Said(text="x", input_tokens=900, cached_tokens=512, output_tokens=7),
    "empty arguments": Said(tool_calls=(ToolCall(id="c1", name="look"),)),
    "future": Said(text="Known text.", tool_calls=CALLS[:1], unknown_events=True),
}
ANTHROPIC_FINISH = {"length": "max_tokens"}


def decoded(decoder: Decoder, pieces: list[bytes]) -> tuple[list[Delta], Turn]:
    deltas = [delta for piece in pieces for delta in decoder.feed(piece)]
    deltas += decoder.finish()
    return deltas, decoder.turn()


def every_cut(stream: bytes) -> list[list[bytes]]:
    """The stream in two pieces for every boundary, byte by byte, and whole."""
    return [[stream[:i], stream[i:]] for i in range(1, len(stream))] + [[bytes([b]) for b in stream], [stream]]


def summary(deltas: list[Delta]) -> tuple[str, str, list[str]]:
    text = "".join(d.text for d in deltas if isinstance(d, TextDelta))
    thinking = "".join(d.text for d in deltas if isinstance(d, ThinkingDelta))
    return text, thinking, [d.call_id for d in deltas if isinstance(d, ToolUseStart)]


def openai_judge(stream: bytes) -> Any:
    """What the OpenAI SDK accumulates from the recorded stream."""
    import openai  # noqa: PLC0415 - slow import, for the worker that runs this only

    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, content=stream, headers={"content-type": "text/event-stream"}))
    with openai.OpenAI(api_key="x", base_url="http://judge/v1", http_client=httpx2.Client(transport=transport), max_retries=0) as client:
        options = {"stream_options": {"include_usage": True}}
        with client.chat.completions.stream(model="fake", messages=[{"role": "user", "content": "?"}], **options) as events:  # type: ignore[call-overload]  # plain dicts
            events.until_done()
            return events.current_completion_snapshot


def anthropic_judge(stream: bytes) -> Any:
    """What the Anthropic SDK accumulates from the recorded stream."""
    import anthropic  # noqa: PLC0415 - slow import, for the worker that runs this only

    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, content=stream, headers={"content-type": "text/event-stream"}))
    http = httpx2.Client(transport=transport)
    with (
        anthropic.Anthropic(api_key="x", base_url="http://judge", http_client=http, max_retries=0) as client,
        client.messages.stream(model="fake", messages=[{"role": "user", "content": "?"}], max_tokens=9) as events,
    ):
        return events.get_final_message()


@pytest.mark.parametrize("name", RECORDED)
def test_our_openai_turn_is_the_sdks_turn_at_every_cut(name: str) -> None:
    stream = b"".join(wires.openai_stream(RECORDED[name], "fake"))
    judged = openai_judge(stream)
    choice = judged.choices[0]
    calls = [(c.id, c.function.name, json.loads(c.function.arguments or "{}")) for c in choice.message.tool_calls or []]
    for pieces in every_cut(stream):
        deltas, turn = decoded(OpenAIDecoder(), pieces)
        assert turn.text == (choice.message.content or "") + (choice.message.refusal or "")
        assert [(u.call_id, u.name, json.loads(u.arguments)) for u in turn.tool_uses] == calls
        assert (turn.input_tokens, turn.output_tokens) == (judged.usage.prompt_tokens, judged.usage.completion_tokens)
        assert turn.cached_tokens == judged.usage.prompt_tokens_details.cached_tokens
        assert summary(deltas) == (turn.text, RECORDED[name].thinking, [c[0] for c in calls])
        assert turn.complete
    expected = {"stop": "stop", "length": "length", "tool_calls": "tool_use"}[choice.finish_reason]
    assert turn.stop_reason == ("refusal" if choice.message.refusal else expected)


@pytest.mark.parametrize("name", RECORDED)
def test_our_anthropic_turn_is_the_sdks_turn_at_every_cut(name: str) -> None:
    said = RECORDED[name]
    said = Said(**{**vars(said), "finish": ANTHROPIC_FINISH.get(said.finish or "", said.finish)})
    events = wires.anthropic_stream(said, "fake")
    stream = b"".join(events)
    known = b"".join(e for e in events if b"telemetry" not in e)  # the SDK's accumulator refuses kinds it does not know
    judged = anthropic_judge(known)
    blocks = [b.model_dump(exclude_none=True) for b in judged.content]
    text = "".join(b["text"] for b in blocks if b["type"] == "text")
    calls = [(b["id"], b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"]
    has_thinking = any("thinking" in b["type"] for b in blocks)
    for pieces in every_cut(stream):
        deltas, turn = decoded(AnthropicDecoder(), pieces)
        assert turn.text == text
        assert [(u.call_id, u.name, json.loads(u.arguments)) for u in turn.tool_uses] == calls
        assert [_keys(b, n) for b, n in zip(blocks, turn.native, strict=False)] == (list(turn.native) if has_thinking else [])
        assert turn.input_tokens == judged.usage.input_tokens + judged.usage.cache_read_input_tokens
        assert turn.output_tokens == judged.usage.output_tokens
        assert summary(deltas) == (text, said.thinking, [c[0] for c in calls])
        assert turn.complete
    assert len(turn.native) == (len(blocks) if has_thinking else 0)
    assert (
        turn.stop_reason == {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_use", "refusal": "refusal"}[judged.stop_reason]
    )


def _keys(block: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    return {key: block[key] for key in like}


@pytest.mark.parametrize("name", RECORDED)
def test_our_bedrock_turn_does_not_depend_on_the_cuts(name: str) -> None:
    said = RECORDED[name]
    frames = wires.bedrock_stream(Said(**{**vars(said), "finish": ANTHROPIC_FINISH.get(said.finish or "", said.finish)}), "fake")
    stream = b"".join(_line(frame) for frame in frames)
    whole = decoded(BedrockDecoder(), [stream])
    assert summary(whole[0])[0] == said.text + said.refusal
    assert [u.name for u in whole[1].tool_uses] == [c.name for c in said.tool_calls]
    for pieces in every_cut(stream):
        deltas, turn = decoded(BedrockDecoder(), pieces)
        assert (summary(deltas), turn) == (summary(whole[0]), whole[1])


def _line(frame: bytes) -> bytes:
    """A frame as botocore's own parser reads it, as the line our reader makes of it."""
    buffer = EventStreamBuffer()
    buffer.add_data(frame)
    message = next(iter(buffer))
    return json.dumps({message.headers[":event-type"]: json.loads(message.payload)}).encode() + b"\n"


def test_the_sdks_read_the_fake_provider_over_http(model_server: ModelServer) -> None:
    import anthropic  # noqa: PLC0415 - slow import, for the worker that runs this only
    import openai  # noqa: PLC0415

    model_server.script(*[Said(text="Hello there.", tool_calls=CALLS)] * 2)
    with openai.OpenAI(api_key="x", base_url=model_server.openai_url, max_retries=0) as client:
        assert [m.id for m in client.models.list()] == ["fake"]
        with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "?"}]) as stream:
            assert stream.get_final_completion().choices[0].message.content == "Hello there."
    with (
        anthropic.Anthropic(api_key="x", base_url=model_server.url, max_retries=0) as second,
        second.messages.stream(model="m", messages=[{"role": "user", "content": "?"}], max_tokens=9) as events,
    ):
        assert [b.type for b in events.get_final_message().content] == ["text", "tool_use", "tool_use"]


async def test_boto3_reads_the_fake_provider_and_its_errors(bench: Bench) -> None:
    bench.server.script(Said(thinking="hm", text="Hello there.", tool_calls=CALLS), Said(status=429, error_code="ThrottlingException"))
    once = Config(retries={"total_max_attempts": 1})
    client = boto3.client("bedrock-runtime", region_name="eu-central-1", endpoint_url=bench.server.url, config=once)
    question = {"modelId": "m:0", "messages": [{"role": "user", "content": [{"text": "?"}]}]}
    events = list(client.converse_stream(**question)["stream"])
    assert "".join(e["contentBlockDelta"]["delta"].get("text", "") for e in events if "contentBlockDelta" in e) == "Hello there."
    assert [e["messageStop"]["stopReason"] for e in events if "messageStop" in e] == ["tool_use"]
    assert bench.server.requests[0].body["modelId"] == "m:0"
    with pytest.raises(client.exceptions.ThrottlingException):
        client.converse_stream(**question)
    client.close()


CONSTRAINED = {
    "answer": ('{"answer": "It is \\"idle\\" \\u2014 4\\u00b0C \\ud83e\\uddea\\n\\\\ done/\\/"}', 'It is "idle" — 4°C 🧪\n\\ done//', None),
    "spaced": ('  {\n "answer" :  "ok" }', "ok", None),
    "empty": ('{"answer": ""}', "", None),
    "plain": ("Just text {with} braces", "Just text {with} braces", None),
    "other json": ('{"result": 5}', '{"result": 5}', None),
    "tool": ('{"tool": "look", "arguments": {"code": "PCR-02", "n": [1]}}', "", ("look", {"code": "PCR-02", "n": [1]})),
    "lone surrogate": ('{"answer": "a\\ud83eb\\ud83e\\n"}', "a\ufffdb\ufffd\n", None),
}


def test_the_answer_is_passed_on_while_it_arrives_and_an_escape_only_whole() -> None:
    decoder = ConstrainedDecoder(OpenAIDecoder(), "c")
    arriving = ('{"answ', 'er": "It', " is", " 4\\", "u00b0", "C", '"}')
    passed_on = [summary(decoder.feed(wires.openai_stream(Said(text=part, whole=True), "m")[1]))[0] for part in arriving]
    assert passed_on == ["", "It", " is", " 4", "°", "C", ""]


def test_what_arrived_together_with_an_error_is_handed_out_before_it() -> None:
    stream = wires.openai_stream(Said(text="one two"), "m")[1] + wires.openai_error(Said())
    decoder = OpenAIDecoder()
    assert summary(decoder.feed(stream))[0] == decoder.turn().text == "one"
    with pytest.raises(ProviderBusy):
        decoder.finish()


@pytest.mark.parametrize("name", CONSTRAINED)
def test_constrained_replies_become_text_or_a_tool_use_at_every_cut(name: str) -> None:
    reply, text, tool = CONSTRAINED[name]
    pieces = [[reply[:i], reply[i:]] for i in range(1, len(reply))] + [list(reply), [reply]]
    for cut in pieces:
        stream = [b"".join(wires.openai_stream(Said(text=part, whole=True), "m")[1:2]) for part in cut]
        deltas, turn = decoded(ConstrainedDecoder(OpenAIDecoder(), "c"), [*stream, *wires.openai_stream(Said(), "m")])
        assert summary(deltas)[0] == turn.text == text
        assert [(u.name, json.loads(u.arguments)) for u in turn.tool_uses] == ([tool] if tool else [])
        assert turn.stop_reason == ("tool_use" if tool else "stop")
        assert summary(deltas)[2] == (["c"] if tool else [])


async def test_an_azure_deployment_is_asked_as_the_official_client_asks(
    bench: Bench, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openai  # noqa: PLC0415 - slow import, for the worker that runs this only

    monkeypatch.setenv("AZURE_KEY", "azure-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "must not leave")
    place = {"base_url": model_server.url, "api_version": "2024-10-21", "model": "lab-gpt", "api_key_env": "AZURE_KEY"}
    events = await events_of(bench.api(bench.model("azure", "openai", **place)), ask("Ready?"))
    assert text_of(events) == "Hello from the fake provider."
    ours = model_server.requests[0]
    official = openai.AzureOpenAI(azure_endpoint=model_server.url, api_version="2024-10-21", api_key="azure-secret", max_retries=0)
    said = official.chat.completions.create(model="lab-gpt", messages=ours.body["messages"], stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in said if chunk.choices) == text_of(events)
    official.close()
    theirs = model_server.requests[1]
    assert ours.path == theirs.path
    assert ours.path.endswith("/openai/deployments/lab-gpt/chat/completions?api-version=2024-10-21")
    for name in ("api-key", "authorization", "content-type"):
        assert ours.headers.get(name) == theirs.headers.get(name), name
    assert (ours.headers["api-key"], "authorization" in ours.headers) == ("azure-secret", False)
    assert set(ours.body) - set(theirs.body) <= {"stream_options", "max_completion_tokens"}
