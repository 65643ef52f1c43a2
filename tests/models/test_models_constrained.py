"""Models without tool calling: the answer follows a JSON Schema, and the person sees text and tool calls as ever."""

import json
from typing import Any

from jsonschema import Draft202012Validator

from aliquot.models.constrained import answer_schema
from aliquot.models.contracts import ModelMessage, ToolSpec, ToolUse, ToolUseStart
from tests.models.asking import LOOKUP, ask, done_of, events_of, text_of
from tests.models.conftest import Bench
from tests.peers.models_server import Turn

RICH = ToolSpec(
    name="start_run",
    description="Start a run.",
    parameters={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Start",
        "type": "object",
        "properties": {
            "instrument": {"type": "string", "pattern": "^[A-Z]+-[0-9]{2}$", "description": "Printed code", "maxLength": 20},
            "note": {"type": "string", "maxLength": 5_000, "pattern": "[a-z]"},
            "title": {"type": "string", "format": "date", "default": "x"},
            "mode": {"enum": ["dry", {"title": "kept"}]},
        },
        "required": ["instrument"],
    },
)


def replies(*bodies: dict[str, Any] | str) -> tuple[Turn, ...]:
    return tuple(Turn(text=b if isinstance(b, str) else json.dumps(b)) for b in bodies)


async def test_a_tool_call_and_then_an_answer(bench: Bench) -> None:
    call = {"tool": LOOKUP.name, "arguments": {"instrument": "PCR-02"}}
    bench.server.script(*replies(call, {"answer": "PCR-02 is idle and ready."}))
    api = bench.api(bench.model(tools=False))
    first = await events_of(api, ask("Is PCR-02 free?", tools=(LOOKUP,)))
    done = done_of(first)
    [use] = done.message.tool_uses
    assert (use.name, json.loads(use.arguments), done.stop_reason) == (LOOKUP.name, {"instrument": "PCR-02"}, "tool_use")
    assert text_of(first) == ""
    assert [e.name for e in first if isinstance(e, ToolUseStart)] == [LOOKUP.name]
    history = (ModelMessage(role="user", text="?"), done.message, ModelMessage(role="tool", call_id=use.call_id, text="state: idle"))
    second = await events_of(api, ask(messages=history, tools=(LOOKUP,)))
    assert done_of(second).message.text == text_of(second) == "PCR-02 is idle and ready."
    sent = bench.server.requests[1].body
    assert [m["role"] for m in sent["messages"]] == ["system", "user", "assistant", "user"]
    assert json.loads(sent["messages"][2]["content"]) == call
    assert "state: idle" in sent["messages"][3]["content"]
    assert "tools" not in sent
    assert LOOKUP.description in sent["messages"][0]["content"]


async def test_two_calls_of_one_conversation_have_different_ids(bench: Bench) -> None:
    bench.server.script(*replies({"tool": LOOKUP.name, "arguments": {}}, {"tool": LOOKUP.name, "arguments": {}}))
    api = bench.api(bench.model(tools=False))
    ids = {(await api.complete(ask(tools=(LOOKUP,)))).message.tool_uses[0].call_id for _ in range(2)}
    assert len(ids) == 2


async def test_a_reply_cut_off_in_the_middle_is_a_length_stop_without_half_a_call(bench: Bench) -> None:
    bench.server.script(Turn(text='{"tool": "get_instrument_status", "arguments": {"instr', finish="length"))
    done = await bench.api(bench.model(tools=False)).complete(ask(tools=(LOOKUP,)))
    assert (done.stop_reason, done.message.tool_uses, done.message.text) == ("length", (), "")


async def test_without_constraint_no_tools_are_offered(bench: Bench) -> None:
    await bench.api(bench.model(tools=False, constrained=False)).complete(ask(tools=(LOOKUP,)))
    body = bench.server.requests[0].body
    assert "tools" not in body
    assert "response_format" not in body


def test_the_schema_is_valid_accepts_exactly_the_two_forms_and_drops_what_grammars_do_not_read() -> None:
    schema = answer_schema((LOOKUP, RICH))
    Draft202012Validator.check_schema(schema)
    valid = Draft202012Validator(schema).is_valid
    assert valid({"tool": "start_run", "arguments": {"instrument": "PCR-02"}})
    assert valid({"answer": "yes"})
    for wrong in (
        {"tool": "stop_run", "arguments": {}},
        {"tool": "start_run", "arguments": {"instrument": "pcr"}},
        {"tool": "start_run", "arguments": {"instrument": "PCR-02", "extra": 1}},
        {"tool": LOOKUP.name, "arguments": {}},
        {"answer": 5},
        {"answer": "x", "tool": "start_run"},
    ):
        assert not valid(wrong)
    start = schema["anyOf"][1]["properties"]["arguments"]["properties"]
    assert start["note"] == {"type": "string"}
    assert start["title"] == {"type": "string"}
    assert start["mode"] == {"enum": ["dry", {"title": "kept"}]}
    assert start["instrument"]["pattern"].startswith("^")


async def test_tool_uses_of_another_model_are_understood_after_a_fallback(bench: Bench) -> None:
    use = ToolUse(call_id="c9", name=LOOKUP.name, arguments='{"instrument": "PCR-02"}')
    history = (
        ModelMessage(role="user", text="?"),
        ModelMessage(role="assistant", text="Let me look.", tool_uses=(use,)),
        ModelMessage(role="tool", call_id="c9", text="idle"),
    )
    for values in ({"tools": False}, {"provider": "anthropic", "price_per_million_tokens": {"input": 1, "output": 1}, "thinking": 1024}):
        await bench.api(bench.model(**values)).complete(ask(messages=history, tools=(LOOKUP,)))
    constrained, anthropic = (r.body for r in bench.server.requests)
    assert json.loads(constrained["messages"][2]["content"])["tool"] == LOOKUP.name
    assert "thinking" not in anthropic
    assert [m["role"] for m in anthropic["messages"]] == ["user", "assistant", "user"]
