"""The main job with no language model: the router picks the tool, the tool's own rendering is the answer."""

import json
from typing import Any

import httpx2
import psycopg
import pytest
import sqlalchemy as sa

from aliquot.chat import unaided
from aliquot.chat.run_store import RunStore
from aliquot.platform.db import Transaction
from aliquot.routing.contracts import Route
from tests.chat.conftest import ask, hear
from tests.site import PASSWORD, Site


async def test_a_question_about_an_instrument_is_answered_from_the_tool(site: Site) -> None:
    scientist = await site.client("scientist")
    heard = await ask(scientist, "Is PCR-02 ready?")
    assert heard.kinds()[0] == "run_started"
    assert heard.of("tool_call_start")[0]["name"] == "get_instrument_status"
    assert heard.of("tool_call_args")[0]["arguments"] == {"instrument": "PCR-02"}
    assert heard.of("tool_call_end")[0]["outcome"] == "ok"
    assert heard.text.startswith("Yes, PCR-02 is idle and ready for a run.\n\nPCR-02 (")
    done = heard.of("done")[0]
    assert done["state"] == "done"
    assert 0.5 < done["confidence"] <= 1


async def test_a_stream_outlives_connections_that_break_while_it_reads(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    scientist = await site.client("scientist")
    first, read, broken = await ask(scientist, "Is PCR-02 ready?"), RunStore.events, []

    async def events(store: RunStore, tx: Transaction, *args: Any) -> Any:
        if len(broken) < 2:
            broken.append(args)
            await tx.scalar(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return await read(store, tx, *args)

    monkeypatch.setattr(RunStore, "events", events)
    again = await hear(scientist, first.run_id)
    assert (again.events, len(broken)) == (first.events, 2)


def test_a_laboratory_without_instruments_says_so() -> None:
    asked = {"tool": "get_instrument_status", "arguments": {}, "probability": 1.0, "threshold": 0.5, "missing": ("instrument",)}
    route = Route(**asked, explanation={"candidates": {"instrument": ["all"]}, "unknown": ["PCR-02"]})
    assert unaided.reply("Is PCR-02 ready?", route, ()).startswith("No instruments are registered here yet.")


async def test_a_follow_up_understands_the_conversation(site: Site) -> None:
    scientist = await site.client("scientist")
    await ask(scientist, "What is the status of PCR-02?", "lab-1")
    heard = await ask(scientist, "and SEQ-01?", "lab-1")
    assert heard.of("tool_call_args")[0]["arguments"] == {"instrument": "SEQ-01"}
    today = await ask(scientist, "completed runs of SEQ-01 today", "lab-1")
    assert set(today.of("tool_call_args")[0]["arguments"]) == {"instrument", "state", "since", "until"}
    assert "that ended from 20" in today.text


async def test_runs_by_their_number_and_a_yes_or_a_no_first(site: Site) -> None:
    scientist, viewer = await site.client("scientist"), await site.client("viewer")
    going = (await scientist.get("/api/instruments/HPLC-03")).json()["run"]
    number = going["code"]
    heard = await ask(scientist, f"When is {number} done?", "runs")
    assert heard.of("tool_call_args")[0]["arguments"] == {"run": number}
    assert f"{number} (HPLC-GRAD-10 version 1 on HPLC-03, started by {going['operator']}) is running" in heard.text
    assert (await ask(scientist, "Is it finished?", "runs")).text.startswith(f"No, {number} is running")
    before = await ask(scientist, "and the one before?", "runs")
    assert before.text.startswith(f"Before {number} came R-")
    assert "| Result | Value |" in before.text
    further = await ask(scientist, "And the one before that?", "runs")
    assert further.of("tool_call_args")[0]["arguments"] == {"run": number, "earlier": 2}
    assert "lid heater timeout" in further.text
    assert (await ask(scientist, "What is the status of run R-1999-0042?")).text == "There is no run R-1999-0042."
    for question, begins in (
        ("When is the run on HPLC-03 done?", "HPLC-03 ("),
        ("Is the run on HPLC-03 done?", f"No, HPLC-03 is running {number} until"),
        ("Is CENT-04 ready?", "No, CENT-04 is in error: rotor imbalance"),
        ("Is anything running?", f"Yes, 1 run: {number} on HPLC-03 is running."),
        ("Are all instruments idle?", "No: CENT-04 is in error"),
        ("Can I start PCR-STD-35 on PCR-02?", "Yes, as things stand: PCR-02 is idle, and PCR-STD-35 runs on a thermocycler."),
        ("Can I start PCR-STD-35 on HPLC-03?", "No, PCR-STD-35 runs on a thermocycler; HPLC-03 is an HPLC."),
        ("Which instruments are free?", "4 instruments; 2 free"),
        ("Are PCR-02 and CENT-04 free?", "Yes, PCR-02 is idle"),
        ("Is PCR-02 calibrated?", "I am not sure what you mean"),
        ("How much buffer is left on HPLC-03?", "I am not sure what you mean"),
    ):
        assert (await ask(scientist, question)).text.startswith(begins), question
    for question in ("Who started the run on HPLC-03?", "How much is left on HPLC-03?", "How much time is left on the HPLC?"):
        said = (await ask(scientist, question)).text
        assert f"Run {number} (HPLC-GRAD-10, started by {going['operator']})" in said, question
        assert "and ends about" in said, question
    refused = await ask(viewer, "Can I start PCR-STD-35 on PCR-02?")
    assert refused.text.startswith("No, your role may not start runs; PCR-02 is idle.")


async def test_what_is_not_understood_is_not_guessed(site: Site) -> None:
    scientist = await site.client("scientist")
    heard = await ask(scientist, "Who won the football match last night?")
    assert heard.of("tool_call_start") == []
    assert "docs/models.md" in heard.text
    assert "- What is the status of PCR-02?" in heard.text  # questions that would be answered here
    assert len(heard.text) < 500
    assert (await ask(scientist, "Thanks a lot!")).text == "You are welcome."
    assert (await ask(scientist, "hello")).text.startswith("Hello. You can ask, for example:")
    assert heard.of("done")[0]["confidence"] is None


@pytest.mark.rule("11.10(f)")
async def test_a_run_starts_only_after_confirmation(site: Site) -> None:
    scientist = await site.client("scientist")
    heard = await ask(scientist, "Start PCR-STD-35 on PCR-02")
    required = heard.of("approval_required")[0]
    assert heard.of("done")[0]["state"] == "waiting_approval"
    assert required["preview"]["arguments"]["protocol"] == "PCR-STD-35"
    status = (await scientist.get("/api/instruments/PCR-02/status")).json()
    assert status["state"] == "idle"

    decided = await scientist.post(f"/api/approvals/{required['approval_id']}/decision", json={"decision": "approve"})
    assert decided.status_code == 202, decided.text
    followed = await hear(scientist, decided.json()["run_id"])
    assert followed.of("tool_call_end")[0]["outcome"] == "ok"
    assert followed.of("run_started")[0]["parent_run_id"] == heard.run_id
    assert followed.of("done")[0]["state"] == "done"
    status = (await scientist.get("/api/instruments/PCR-02/status")).json()
    assert status["state"] in ("warming_up", "running")


async def test_what_changes_between_the_last_look_and_the_start_is_not_started(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when a protocol that is published at the moment of an approved start is started in its new version, which nobody saw."""
    scientist, admin = await site.client("scientist"), await site.client("admin")
    heard = await ask(scientist, "Start PCR-STD-35 on PCR-02")
    approval = heard.of("approval_required")[0]["approval_id"]
    text, start = (await admin.get("/api/protocols/PCR-STD-35")).json()["text"], site.services.lab.start_run

    async def late(*given: Any, **named: Any) -> Any:
        published = await admin.post("/api/protocols", json={"code": "PCR-STD-35", **text, "summary": "Another one."})
        assert published.status_code == 201, published.text
        return await start(*given, **named)

    monkeypatch.setattr(site.services.lab, "start_run", late)
    decided = await scientist.post(f"/api/approvals/{approval}/decision", json={"decision": "approve"})
    followed = await hear(scientist, decided.json()["run_id"])
    assert [end["outcome"] for end in followed.of("tool_call_end")] == ["failed"]
    assert "nothing was started" in followed.text
    assert (await scientist.get("/api/instruments/PCR-02/status")).json()["state"] == "idle"


async def test_a_rejected_run_never_starts(site: Site) -> None:
    scientist = await site.client("scientist")
    heard = await ask(scientist, "Start PCR-STD-35 on PCR-02")
    approval = heard.of("approval_required")[0]["approval_id"]
    decided = await scientist.post(f"/api/approvals/{approval}/decision", json={"decision": "reject", "reason": "wrong plate"})
    followed = await hear(scientist, decided.json()["run_id"])
    assert followed.of("tool_call_end")[0]["outcome"] == "denied"
    assert "Rejected" in followed.text
    assert (await scientist.get("/api/instruments/PCR-02/status")).json()["state"] == "idle"


@pytest.mark.rule("ALCOA complete", "11.10(g)")
async def test_a_viewer_s_wish_to_act_is_refused_in_words_and_on_the_record(site: Site) -> None:
    viewer = await site.client("viewer")
    heard = await ask(viewer, "Start PCR-STD-35 on PCR-02")
    assert heard.of("approval_required") == []
    assert heard.of("tool_call_end")[0]["outcome"] == "denied"
    assert "Viewers may only read." in heard.text
    with psycopg.connect(site.services.db.url) as conn:
        assert conn.execute("SELECT count(*) FROM tool_call WHERE tool = 'start_run' AND state = 'denied'").fetchone() == (1,)
    partly = await ask(viewer, "Start a run on PCR-02")
    assert partly.text == "Your role may not do this: start run. Nothing was done."
    direct = await viewer.post(
        "/api/chat/tools", json={"name": "start_run", "arguments": {"instrument": "PCR-02", "protocol": "PCR-STD-35"}}
    )
    assert direct.status_code in (403, 404)
    assert "get around" not in direct.text + heard.text  # that is said to a model alone
    assert direct.headers["content-type"] == "application/problem+json"


async def test_the_run_of_an_instrument_is_stopped_by_its_name(site: Site) -> None:
    scientist = await site.client("scientist")
    heard = await ask(scientist, "stop HPLC-03, the pressure is dropping")
    preview = heard.of("approval_required")[0]["preview"]
    run = (await scientist.get("/api/instruments/HPLC-03/status")).json()["run"]["code"]
    assert (preview["tool"], preview["arguments"]) == ("stop_run", {"run": run, "reason": "the pressure is dropping"})
    assert heard.of("done")[0]["state"] == "waiting_approval"
    asked = await ask(scientist, "Stop the run on HPLC-03", "two")
    assert f"the reason for “stop run {run}”" in asked.text
    reply = await ask(scientist, "The pump is leaking", "two")
    assert reply.of("approval_required")[0]["preview"]["arguments"]["reason"] == "The pump is leaking"
    assert (await ask(scientist, "stop the run on PCR-02")).text == "There is no run for PCR-02 at the moment. Nothing was done."
    await ask(scientist, "stop HPLC-03", "three")
    taken_back = await ask(scientist, "never mind", "three")
    assert (taken_back.text, taken_back.of("tool_call_start")) == ("All right, nothing was done.", [])


async def test_what_is_missing_is_asked_for_and_a_short_reply_is_enough(site: Site) -> None:
    scientist = await site.client("scientist")
    asked = await ask(scientist, "Start a PCR run", "start")
    assert "Which protocol do you mean?" in asked.text
    assert "PCR-STD-35" in asked.text
    assert "HPLC-GRAD-10" not in asked.text  # only what runs there
    reply = await ask(scientist, "PCR-STD-35", "start")
    assert reply.of("approval_required")[0]["preview"]["arguments"] == {"instrument": "PCR-02", "protocol": "PCR-STD-35"}

    await ask(scientist, "Is PCR-02 ready?", "other")
    others = await ask(scientist, "and the other one?", "other")
    assert "1. CENT-04\n2. HPLC-03\n3. SEQ-01" in others.text
    chosen = await ask(scientist, "3", "other")
    assert chosen.of("tool_call_args")[0]["arguments"] == {"instrument": "SEQ-01"}


async def test_a_name_that_nobody_knows_is_said_with_what_comes_near(site: Site) -> None:
    scientist = await site.client("scientist")
    heard = await ask(scientist, "Is PCR-09 ready?", "near")
    assert heard.text.startswith("There is no instrument PCR-09 here. Did you mean PCR-02?")
    assert "HPLC-03" in heard.text
    meant = await ask(scientist, "yes", "near")
    assert meant.of("tool_call_args")[0]["arguments"] == {"instrument": "PCR-02"}
    assert meant.text.startswith("Yes, PCR-02 is idle and ready for a run."), "the reply completes a question for a yes or a no"


async def test_a_message_with_two_wishes_is_never_halved_in_silence(site: Site) -> None:
    scientist = await site.client("scientist")
    both = await ask(scientist, "is PCR-02 ready and start PCR-STD-35 on it")
    assert [call["name"] for call in both.of("tool_call_start")] == ["get_instrument_status", "start_run"]
    assert both.of("approval_required")[0]["preview"]["arguments"] == {"instrument": "PCR-02", "protocol": "PCR-STD-35"}
    assert "PCR-02 (Gradient thermocycler) has been idle since" in both.text
    assert "needs your confirmation" in both.text
    partly = await ask(scientist, "Is SEQ-01 free and who is the operator?")
    assert "SEQ-01" in partly.text
    assert "Not done: “who is the operator”" in partly.text
    actions = await ask(scientist, "start PCR-STD-35 on PCR-02 and stop HPLC-03 because it leaks")
    plan = actions.of("approval_required")[0]["preview"]["plan"]  # see test_plans
    assert [step["tool"] for step in plan["steps"]] == ["start_run", "stop_run"]
    listed = await ask(scientist, "are PCR-02 and the centrifuge free?")
    assert [call["arguments"] for call in listed.of("tool_call_args")] == [{"instrument": "PCR-02"}, {"instrument": "centrifuge"}]


async def test_a_direct_tool_call_gives_its_result(site: Site) -> None:
    scientist = await site.client("scientist")
    answer = await scientist.post("/api/chat/tools", json={"name": "get_instrument_status", "arguments": {"instrument": "CENT-04"}})
    assert answer.status_code == 200
    assert "CENT-04" in json.dumps(answer.json()["result"])
    wrong = await scientist.post("/api/chat/tools", json={"name": "get_instrument_status", "arguments": {"instrument": 4}})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "arguments_invalid")


async def test_a_direct_action_answers_202_with_its_approval(site: Site) -> None:
    scientist = await site.client("scientist")
    body = {"name": "start_run", "arguments": {"instrument": "PCR-02", "protocol": "PCR-STD-35"}}
    dry = await scientist.post("/api/chat/tools", json=body | {"dry_run": True})
    assert dry.status_code == 200
    assert "preview" in dry.json()
    answer = await scientist.post("/api/chat/tools", json=body)
    assert answer.status_code == 202
    approval = (await scientist.get(f"/api/approvals/{answer.json()['approval']['id']}")).json()
    assert approval["state"] == "pending"


async def test_completion_waits_for_the_whole_answer(site: Site) -> None:
    scientist = await site.client("scientist")
    answer = (await scientist.post("/api/chat/completion", json={"message": "Which protocols are there for PCR-02?"})).json()
    assert "PCR-STD-35" in answer["message"]["content"]
    messages = (await scientist.get(f"/api/conversations/{answer['conversation_id']}/messages")).json()["items"]
    assert [m["role"] for m in messages] == ["assistant", "user"]
    assert messages[0]["content"] == answer["message"]["content"]


async def test_the_chunks_format_and_the_form_body_of_tracseq(site: Site) -> None:
    scientist = await site.client("scientist")
    answer = await scientist.post("/api/chat/stream", files={"message": (None, "Is PCR-02 ready?"), "conversationId": (None, "conv_123")})
    frames = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: ")]
    assert frames[-1] == "[DONE]"
    completion = json.loads(frames[-2])
    assert completion["type"] == "completion"
    assert set(completion["metadata"]) >= {"confidence", "sources", "citations", "usage"}
    assert any(json.loads(f)["type"] == "chunk" for f in frames[:-1])
    found = (await scientist.get("/api/conversations/conv_123")).json()
    assert found["client_id"] == "conv_123"


@pytest.mark.rule("HIPAA 164.312(a)(1)")
async def test_other_people_s_conversations_and_runs_do_not_exist(site: Site) -> None:
    scientist, viewer = await site.client("scientist"), await site.client("viewer")
    heard = await ask(scientist, "Is PCR-02 ready?", "mine")
    conversation = heard.of("run_started")[0]["conversation_id"]
    for path in (f"/api/conversations/{conversation}", f"/api/conversations/{conversation}/messages", f"/api/runs/{heard.run_id}"):
        assert (await viewer.get(path)).status_code == 404, path
    assert (await viewer.get(f"/api/runs/{heard.run_id}/events")).status_code == 404
    assert (await viewer.post(f"/api/runs/{heard.run_id}/cancel")).status_code == 404
    stolen = await viewer.post("/api/chat/completion", json={"message": "hello", "conversation_id": conversation})
    assert stolen.status_code == 404
    own = await viewer.post("/api/chat/completion", json={"message": "Is PCR-02 ready?", "conversation_id": "mine"})
    assert own.json()["conversation_id"] != conversation


async def test_bad_questions_are_refused_with_a_code(site: Site) -> None:
    scientist = await site.client("scientist")

    async def code(**body: object) -> tuple[int, str]:
        answer = await scientist.post("/api/chat/completion", json=body)
        return answer.status_code, answer.json()["code"]

    assert await code(message="   ") == (422, "empty_message")
    assert await code(message="x" * 32_001) == (422, "message_too_long")
    assert await code(message=5) == (422, "invalid_input")
    assert await code(message="a", surprise=1) == (422, "invalid_input")
    assert await code(message="a", conversation_id="c" * 256) == (422, "invalid_input")
    assert await code(message="a", conversation_id="01890000-0000-7000-8000-00000000000f") == (404, "unknown_conversation")
    broken = await scientist.post("/api/chat/completion", content=b'{"message": "\\ud800"}', headers={"content-type": "application/json"})
    assert broken.status_code == 422
    assert (await scientist.post("/api/chat/completion", content=b"{", headers={"content-type": "application/json"})).status_code == 422
    large = await scientist.post("/api/chat/completion", content=b" " * 2_000_000, headers={"content-type": "application/json"})
    assert large.status_code == 413


async def test_an_idempotency_key_starts_one_run(site: Site) -> None:
    scientist = await site.client("scientist")
    key = {"Idempotency-Key": "once"}
    first = await ask(scientist, "Is PCR-02 ready?", **key)
    again = await ask(scientist, "Is PCR-02 ready?", **key)
    assert again.events == first.events
    other = await scientist.post("/api/chat/stream", json={"message": "Something else"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_nothing_that_was_said_is_readable_in_the_database(site: Site) -> None:
    scientist = await site.client("scientist")
    await ask(scientist, "Is PCR-02 ready? canary-7f3a", "canary-conversation-9b1c")
    url = site.services.db.url
    with psycopg.connect(url) as conn:
        tables = [row[0] for row in conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()]
        for table in tables:
            try:
                dump = conn.execute(f"SELECT string_agg(t::text, ' ') FROM \"{table}\" t").fetchone()
            except psycopg.errors.InsufficientPrivilege:
                conn.rollback()
                continue
            for canary in ("canary-7f3a", "canary-conversation-9b1c", "scientist@demo.lab", PASSWORD):
                for needle in (canary, canary.encode().hex()):
                    assert needle not in ((dump and dump[0]) or ""), (table, canary)


async def test_without_models_only_the_listed_name_is_accepted_and_nothing_costs_0(site: Site) -> None:
    scientist = await site.client("scientist")
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Is PCR-02 ready?"}]}
    assert (await scientist.post("/v1/chat/completions", json=body)).json()["error"]["code"] == "model_not_found"
    assert [model["id"] for model in (await scientist.get("/v1/models")).json()["data"]] == ["aliquot"]
    answered = await scientist.post("/v1/chat/completions", json=body | {"model": "aliquot"})
    assert answered.json()["model"] == "aliquot"
    said = [("user", "Is PCR-02 ready?"), ("assistant", "…"), ("user", "thanks"), ("assistant", "…"), ("user", "and HPLC-03?")]
    leaning = {"model": "aliquot", "messages": [{"role": role, "content": text} for role, text in said]}
    followed = (await scientist.post("/v1/chat/completions", json=leaning)).json()
    assert "HPLC-03 (" in followed["choices"][0]["message"]["content"]
    nothing = {"input_tokens": 0, "output_tokens": 0, "cost": "0", "currency": "USD"}
    done = (await scientist.post("/api/chat/completion", json={"message": "Is PCR-02 ready?"})).json()
    assert done["usage"] == nothing
    assert (await scientist.get(f"/api/runs/{done['run_id']}")).json()["usage"] == nothing
    stream = await scientist.post("/api/chat/stream", json={"message": "Is PCR-02 ready?"})
    assert '"usage":{"input_tokens":0,"output_tokens":0,"cost":"0","currency":"USD"}' in stream.text
    kept = (await scientist.get(f"/api/conversations/{done['conversation_id']}/messages")).text
    assert "0.0000" not in kept
    assert "0E" not in kept


async def test_a_client_id_is_one_conversation_and_its_title_is_not_dropped(site: Site) -> None:
    scientist = await site.client("scientist")

    async def make(**body: str) -> httpx2.Response:
        return await scientist.post("/api/conversations", json={"client_id": "bench-7", **body})

    made = await make(title="Buffers")
    assert made.status_code == 201
    for body in ({"title": "Buffers"}, {}):
        again = await make(**body)
        assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
    taken = await make(title="Columns")
    assert (taken.status_code, taken.json()["code"]) == (409, "client_id_taken")
    assert (await scientist.get("/api/conversations/bench-7")).json()["title"] == "Buffers"
