"""The wire formats, frame by frame, against golden files. A change of a golden file is a change of the contract."""

import json
import uuid
from pathlib import Path

import pytest

from aliquot.chat.contracts import (
    ApprovalRequired,
    CitationFound,
    Done,
    NoticeGiven,
    RunEvent,
    RunFailed,
    RunStarted,
    StoredEvent,
    TextDelta,
    Thinking,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallStart,
    UsageReported,
)
from aliquot.chat.streaming import Encoder
from aliquot.web.wire.agui import AgUiEncoder
from aliquot.web.wire.chunks import ChunksEncoder
from aliquot.web.wire.events import EventsEncoder
from aliquot.web.wire.openai import OpenAIEncoder
from aliquot.web.wire.vercel import VercelEncoder
from tests.web import agui_judge

GOLDEN = Path(__file__).parent / "golden"
RUN = uuid.UUID("01890000-0000-7000-8000-000000000001")
START = RunStarted(conversation_id="c1", message_id="m1", user_message_id="u1", session_id="s1")
ANSWER: list[RunEvent] = [
    START,
    Thinking(text="let me look"),
    ToolCallStart(call_id="k1", name="get_instrument_status"),
    ToolCallArgs(call_id="k1", arguments={"instrument": "PCR-02"}),
    ToolCallEnd(call_id="k1", outcome="ok", summary="PCR-02 is idle.", duration_ms=12),
    NoticeGiven(code="retry", text="The AI service was busy; asking again."),
    TextDelta(text="PCR-02 is idle: 20 µL,\n\ndata: not a frame"),
    TextDelta(text=" \u2028 done 🧪"),
    UsageReported(input_tokens=10, output_tokens=5, cost="0.000123", currency="USD"),
    Done(state="done", message_id="m1", confidence=None),
]
WAITING: list[RunEvent] = [
    START,
    ApprovalRequired(approval_id="a1", call_id="k1", preview={"summary": "Start a run"}, expires_at="2026-03-02T09:45:00.000Z"),
    TextDelta(text="Please confirm."),
    Done(state="waiting_approval", message_id="m1", confidence=0.97),
]
CITATION = {"id": "c-1", "title": "SOP 7", "url": None, "excerpt": "20 µL", "document_id": "d1", "start": 3, "end": 8, "verified": True}
CITED: list[RunEvent] = [
    START,
    TextDelta(text="Look: "),
    ToolCallStart(call_id="k1", name="get_protocols"),
    ToolCallArgs(call_id="k1", arguments="not JSON {"),
    ToolCallEnd(call_id="k1", outcome="denied", summary="You may not.", duration_ms=1),
    Thinking(text="hm"),
    TextDelta(text="it says 20 µL."),
    CitationFound(citation=CITATION),
    CitationFound(citation=CITATION | {"id": "c-2", "url": "https://example.org/sop", "title": None}),
    Done(state="cancelled", message_id="m1"),
]
FAILED: list[RunEvent] = [START, TextDelta(text="Half an ans"), RunFailed(code="interrupted", detail="It broke.", retryable=True)]
SCENES = {"answer": ANSWER, "waiting": WAITING, "failed": FAILED, "cited": CITED}
NAMES = ["events", "chunks", "openai", "ag-ui", "vercel"]


def stored(events: list[RunEvent]) -> list[StoredEvent]:
    frames = []
    for seq, event in enumerate(events, 1):
        fields = {field: getattr(event, field) for field in event.__struct_fields__}
        payload = {"run_id": str(RUN), "seq": seq, "at": f"2026-03-02T09:30:00.{seq:03d}Z", **fields}
        frames.append(StoredEvent(RUN, seq, event.kind, json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()))
    return frames


def encoder(name: str) -> Encoder:
    made: dict[str, Encoder] = {
        "events": EventsEncoder(),
        "chunks": ChunksEncoder(),
        "openai": OpenAIEncoder("aliquot", 1_772_443_800, include_usage=True),
        "ag-ui": AgUiEncoder(),
        "vercel": VercelEncoder(),
    }
    return made[name]


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("name", NAMES)
def test_frames_are_those_of_the_golden_file(name: str, scene: str) -> None:
    wire = encoder(name)
    produced = b"".join(wire.encode(event) for event in stored(SCENES[scene])) + wire.end()
    golden = GOLDEN / f"{name}-{scene}.txt"
    assert produced.decode() == golden.read_text("utf-8"), f"compare with {golden}"


@pytest.mark.parametrize("name", NAMES)
def test_every_frame_is_one_sse_event_whatever_the_text_holds(name: str) -> None:
    wire = encoder(name)
    for event in stored(ANSWER):
        frame = wire.encode(event)
        if frame:
            assert frame.endswith(b"\n\n")
            for block in frame.removesuffix(b"\n\n").split(b"\n\n"):
                data = [line for line in block.split(b"\n") if line.startswith(b"data: ")]
                assert len(data) == 1
                json.loads(data[0].removeprefix(b"data: "))


def test_chunks_tell_a_failure_and_still_end_with_done() -> None:
    wire = ChunksEncoder()
    frames = [wire.encode(event) for event in stored(FAILED)] + [wire.end()]
    assert json.loads(frames[-2].removeprefix(b"data: "))["type"] == "error"
    assert frames[-1] == b"data: [DONE]\n\n"


@pytest.mark.parametrize("scene", SCENES)
def test_ag_ui_events_satisfy_the_official_models_and_their_order(scene: str) -> None:
    wire = AgUiEncoder("thread", "run")
    found = agui_judge.events(b"".join(wire.encode(event) for event in stored(SCENES[scene])).decode())
    agui_judge.judge(found)
    assert (found[0]["threadId"], found[0]["runId"]) == ("thread", "run")
    text = "".join(event["delta"] for event in found if event["type"] == "TEXT_MESSAGE_CONTENT")
    assert text == "".join(event.text for event in SCENES[scene] if isinstance(event, TextDelta))
    outcome = found[-1].get("outcome", {}).get("type")
    assert outcome == {"answer": "success", "waiting": "interrupt", "cited": "cancelled"}.get(scene)


@pytest.mark.parametrize("scene", SCENES)
def test_ai_sdk_parts_are_opened_and_closed_and_hold_the_whole_text(scene: str) -> None:
    wire = VercelEncoder()
    body = b"".join(wire.encode(event) for event in stored(SCENES[scene])) + wire.end()
    *lines, last = [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line]
    assert last == "[DONE]"
    chunks = [json.loads(line) for line in lines]
    opened: list[str] = []
    for chunk in chunks:
        if chunk["type"] in ("text-start", "reasoning-start"):
            assert not opened
            opened.append(chunk["id"])
        elif chunk["type"] in ("text-delta", "reasoning-delta"):
            assert opened == [chunk["id"]]
        elif chunk["type"] in ("text-end", "reasoning-end"):
            assert opened.pop() == chunk["id"]
    assert not opened
    text = "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta")
    assert text == "".join(event.text for event in SCENES[scene] if isinstance(event, TextDelta))
    assert chunks[-1]["type"] == {"answer": "finish", "waiting": "finish", "cited": "abort", "failed": "error"}[scene]
