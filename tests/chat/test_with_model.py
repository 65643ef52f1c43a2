"""The main job with a language model: real tool results, failures as sentences, streams that resume."""

import asyncio
import json

import pytest

from tests.chat.conftest import Heard, ask, hear, parse
from tests.peers.models_server import ModelServer, ToolCall, Turn
from tests.site import Site

STATUS = ToolCall(name="get_instrument_status", arguments={"instrument": "PCR-02"})
START = ToolCall(name="start_run", arguments={"instrument": "PCR-02", "protocol": "PCR-STD-35"}, id="call_s")


async def test_an_answer_is_made_from_a_real_tool_result(model_site: Site, model_server: ModelServer) -> None:
    model_server.script(Turn(text="Let me look.", tool_calls=(STATUS,)), Turn(text="PCR-02 is idle and ready."))
    heard = await ask(await model_site.client("scientist"), "Is PCR-02 ready?")
    assert heard.text == "Let me look.\n\nPCR-02 is idle and ready."
    assert heard.of("tool_call_end")[0]["outcome"] == "ok"
    told = model_server.requests[1].body["messages"]
    result = next(m for m in told if m["role"] == "tool")
    assert json.loads(result["content"])["instruments"][0]["code"] == "PCR-02" or "PCR-02" in result["content"]
    usage = heard.of("usage")[0]
    assert (usage["input_tokens"], usage["output_tokens"]) == (50, 24)
    assert float(usage["cost"]) == (50 * 1 + 24 * 2) / 1_000_000


async def test_the_conversation_is_given_to_the_model(model_site: Site, model_server: ModelServer) -> None:
    model_server.script(Turn(tool_calls=(STATUS,)), Turn(text="It is idle."), Turn(text="As I said, idle."))
    scientist = await model_site.client("scientist")
    await ask(scientist, "Is PCR-02 ready?", "c1")
    await ask(scientist, "And what did you say?", "c1")
    roles = [m["role"] for m in model_server.requests[2].body["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


async def test_an_action_waits_for_a_person_and_the_model_hears_the_outcome(model_site: Site, model_server: ModelServer) -> None:
    model_server.script(Turn(tool_calls=(START,)), Turn(text="The run has been started."))
    scientist = await model_site.client("scientist")
    heard = await ask(scientist, "Start the PCR")
    required = heard.of("approval_required")[0]
    assert heard.of("done")[0]["state"] == "waiting_approval"
    assert len(model_server.requests) == 1
    decided = await scientist.post(f"/api/approvals/{required['approval_id']}/decision", json={"decision": "approve"})
    followed = await hear(scientist, decided.json()["run_id"])
    assert followed.text.endswith("The run has been started.")
    assert followed.of("tool_call_end")[0]["outcome"] == "ok"
    assert "R-" in next(m for m in reversed(model_server.requests[1].body["messages"]) if m["role"] == "tool")["content"]


async def test_wrong_arguments_get_one_more_try(model_site: Site, model_server: ModelServer) -> None:
    wrong = ToolCall(name="get_instrument_status", arguments={"machine": "PCR-02"})
    model_server.script(Turn(tool_calls=(wrong,)), Turn(tool_calls=(STATUS,)), Turn(text="Idle."))
    heard = await ask(await model_site.client("scientist"), "Is PCR-02 ready?")
    assert [end["outcome"] for end in heard.of("tool_call_end")] == ["failed", "ok"]
    assert heard.text.endswith("Idle.")


async def test_wrong_arguments_twice_fail_clearly(model_site: Site, model_server: ModelServer) -> None:
    wrong = ToolCall(name="get_instrument_status", arguments='{"instrument": ')
    model_server.script(Turn(tool_calls=(wrong,)), Turn(tool_calls=(wrong,)), Turn(text="never"))
    heard = await ask(await model_site.client("scientist"), "Is PCR-02 ready?")
    assert heard.of("error")[0]["code"] == "tool_arguments_invalid"
    assert len(model_server.requests) == 2


async def test_a_model_that_repeats_a_failing_call_is_stopped(model_site: Site, model_server: ModelServer) -> None:
    nowhere = ToolCall(name="get_instrument_status", arguments={"instrument": "XYZ-99"})
    model_server.script(*(Turn(tool_calls=(nowhere,)) for _ in range(8)))
    heard = await ask(await model_site.client("scientist"), "Is XYZ-99 ready?")
    assert heard.of("error")[0]["code"] == "assistant_repeats"
    assert len(model_server.requests) == 3


async def test_an_unknown_tool_is_refused_not_executed(model_site: Site, model_server: ModelServer) -> None:
    model_server.script(Turn(tool_calls=(ToolCall(name="rm_rf", arguments={}),)), Turn(text="I cannot do that."))
    heard = await ask(await model_site.client("scientist"), "Delete everything")
    assert heard.of("tool_call_end")[0]["outcome"] == "failed"
    assert heard.of("done")[0]["state"] == "done"


async def test_a_stream_broken_after_the_first_text_keeps_it_and_is_not_asked_again(model_site: Site, model_server: ModelServer) -> None:
    model_server.script(Turn(text="one two three four five six", break_after=5), Turn(text="never"))
    scientist = await model_site.client("scientist")
    heard = await ask(scientist, "Tell me")
    assert heard.of("error")[0]["retryable"] is True
    assert heard.text.startswith("one")
    assert len(model_server.requests) == 1
    conversation = heard.of("run_started")[0]["conversation_id"]
    kept = (await scientist.get(f"/api/conversations/{conversation}/messages")).json()["items"][0]
    assert (kept["incomplete"], kept["content"]) == (True, heard.text)


async def test_a_refusing_provider_is_a_sentence(model_site: Site, model_server: ModelServer) -> None:
    model_server.script(Turn(status=401, error_code="invalid_api_key"))
    heard = await ask(await model_site.client("scientist"), "Hello")
    error = heard.of("error")[0]
    assert error["code"]
    assert "Traceback" not in error["detail"]
    assert heard.kinds()[-1] == "error"


async def test_an_empty_answer_is_said(model_site: Site, model_server: ModelServer) -> None:
    model_server.script(Turn(text=""))
    heard = await ask(await model_site.client("scientist"), "Hello")
    assert "empty answer" in heard.text
    assert heard.of("done")[0]["state"] == "done"


async def test_a_question_for_an_unknown_model_is_the_callers_fault(model_site: Site) -> None:
    scientist = await model_site.client("scientist")
    answer = await scientist.post("/api/chat/completion", json={"message": "Hello", "model": "nobody"})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_model")


async def test_a_dropped_connection_stops_nothing_and_resumes_exactly(model_site: Site, model_server: ModelServer) -> None:
    model_server.script(Turn(text=" ".join(f"w{i}" for i in range(40)), itl=0.02))
    scientist = await model_site.client("scientist")
    seen = ""
    async with scientist.stream("POST", "/api/chat/stream", params={"format": "events"}, json={"message": "Count"}) as response:
        async for piece in response.aiter_text():
            seen += piece
            if seen.count("event: text_delta") >= 3:
                break
    before = Heard(parse(seen[: seen.rindex("\n\n") + 2]))
    last = before.events[-1].seq
    after = await hear(scientist, before.run_id, **{"Last-Event-ID": str(last)})
    assert [e.seq for e in before.events + after.events] == list(range(1, last + len(after.events) + 1))
    assert before.text + after.text == " ".join(f"w{i}" for i in range(40))
    assert after.kinds()[-1] == "done"


async def test_many_watchers_hear_the_same(model_site: Site, model_server: ModelServer) -> None:
    model_server.script(Turn(text=" ".join(f"w{i}" for i in range(30)), itl=0.01))
    scientist = await model_site.client("scientist")
    started = (await scientist.post("/api/conversations/many/messages", json={"content": "Count"})).json()
    heard = await asyncio.gather(*(hear(scientist, started["run_id"]) for _ in range(5)))
    assert len({h.text for h in heard}) == 1
    assert all([e.seq for e in h.events] == list(range(1, len(h.events) + 1)) for h in heard)


async def test_the_long_poll_gives_the_same_events(model_site: Site, model_server: ModelServer) -> None:
    model_server.script(Turn(text="a b c d e f", itl=0.01))
    scientist = await model_site.client("scientist")
    started = (await scientist.post("/api/conversations/poll/messages", json={"content": "Count"})).json()
    events: list[dict[str, object]] = []
    while not events or events[-1]["type"] not in ("done", "error"):
        page = await scientist.get(
            f"/api/runs/{started['run_id']}/events", params={"after": len(events)}, headers={"accept": "application/json"}
        )
        events += page.json()["events"]
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert "".join(str(e["text"]) for e in events if e["type"] == "text_delta") == "a b c d e f"


async def test_cancel_keeps_what_was_said(model_site: Site, model_server: ModelServer) -> None:
    model_server.script(Turn(text=" ".join(f"w{i}" for i in range(500)), itl=0.02))
    scientist = await model_site.client("scientist")
    started = (await scientist.post("/api/conversations/long/messages", json={"content": "Count"})).json()
    path = f"/api/runs/{started['run_id']}"
    said = []
    while not any(e["type"] == "text_delta" for e in said):
        said = (await scientist.get(f"{path}/events", headers={"accept": "application/json"})).json()["events"]
    assert (await scientist.post(f"{path}/cancel")).status_code == 202
    heard = await hear(scientist, started["run_id"])
    assert heard.of("done")[0]["state"] == "cancelled"
    assert (await scientist.get(path)).json()["state"] == "cancelled"
    kept = (await scientist.get("/api/conversations/long/messages")).json()["items"][0]
    assert kept["incomplete"] is True
    assert kept["content"] == heard.text
    assert (await scientist.post(f"{path}/cancel")).status_code == 409


async def test_the_stock_openai_sdk_works(model_site: Site, model_server: ModelServer) -> None:
    from openai import AsyncOpenAI, NotFoundError  # noqa: PLC0415 - slow import, for the worker that runs this only

    model_server.script(Turn(tool_calls=(STATUS,)), Turn(text="Idle."), Turn(text="Still idle."))
    scientist = await model_site.client("scientist")
    token = scientist.headers["Authorization"].removeprefix("Bearer ")
    async with AsyncOpenAI(base_url=f"{model_site.url}/v1", api_key=token, max_retries=0) as client:
        models = [model.id async for model in await client.models.list()]
        assert models == ["aliquot", "fake"]
        whole = await client.chat.completions.create(model="aliquot", messages=[{"role": "user", "content": "Is PCR-02 ready?"}])
        assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("Idle.", "stop")
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 24
        stream = await client.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": "And now?"}], stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        with pytest.raises(NotFoundError) as unknown:
            await client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])
        assert (unknown.value.code, unknown.value.type) == ("model_not_found", "invalid_request_error")
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Still idle."
    assert chunks[-1].usage is not None
    listed = (await scientist.get("/api/conversations")).json()["items"]
    assert listed == []


async def test_the_openai_surface_refuses_in_openai_s_words(model_site: Site) -> None:
    scientist = await model_site.client("scientist")
    body = {"model": "aliquot", "messages": [{"role": "user", "content": "x"}]}
    refused = await scientist.post("/v1/chat/completions", json=body | {"tools": [{"type": "function", "function": {"name": "x"}}]})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "tools_not_accepted"
    nobody = await model_site.anonymous()
    unknown = await nobody.post("/v1/chat/completions", json=body)
    assert unknown.status_code == 401
    assert unknown.json()["error"]["type"] == "authentication_error"
