"""The event stream, cut anywhere: parser and reducer give the same for every way the bytes arrive."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliquot.cli.chat.failures import StreamBroken
from aliquot.cli.chat.sse import Frame, SseParser
from aliquot.cli.chat.transcript import RunEvent, Transcript, event_of

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(points)]


def parse(chunks: list[bytes]) -> list[Frame]:
    parser = SseParser()
    return [frame for chunk in chunks for frame in parser.feed(chunk)]


def wire(kind: str, seq: int, **fields: object) -> bytes:
    """As `web/wire/events.py` writes it."""
    data = json.dumps({"run_id": "r", "seq": seq, "at": "2026-03-02T09:30:00.000Z"} | fields, ensure_ascii=False)
    return f"event: {kind}\nid: {seq}\ndata: {data}\n\n".encode()


def story(words: list[str]) -> list[tuple[str, dict[str, object]]]:
    call = {"call_id": "c1"}
    return [
        ("run_started", {"conversation_id": "conv", "message_id": "m"}),
        ("tool_call_start", call | {"name": "get_instrument_status"}),
        ("tool_call_args", call | {"arguments": {"instrument": "PCR-02"}}),
        ("tool_call_end", call | {"outcome": "ok", "summary": "PCR-02 is idle.", "duration_ms": 12}),
        *[("text_delta", {"text": word}) for word in words],
        ("citation", {"citation": {"title": "SOP"}}),
        ("usage", {"input_tokens": 5, "output_tokens": 7, "cost": "0.01", "currency": "USD"}),
        ("done", {"state": "done", "message_id": "m", "confidence": None}),
    ]


@given(st.lists(texts, max_size=6), st.lists(st.integers(0, 10_000), max_size=8), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_split_of_the_bytes_gives_the_same_frames(words: list[str], cuts: list[int], newline: bytes) -> None:
    frames = [wire(kind, seq, **fields) for seq, (kind, fields) in enumerate(story(words), 1)]
    data = b"\xef\xbb\xbf: hello\n\n" + b": keep-alive\n\n".join(frames)
    found = parse(pieces(data.replace(b"\n", newline), cuts))
    assert [frame.event for frame in found] == [kind for kind, _ in story(words)]
    assert [frame.id for frame in found] == [str(n) for n in range(1, len(frames) + 1)]
    assert [json.loads(frame.data)["text"] for frame in found if frame.event == "text_delta"] == words


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_any_split_of_any_bytes_gives_what_the_whole_gives(data: bytes, cuts: list[int]) -> None:
    assert parse(pieces(data, cuts)) == parse([data])


@pytest.mark.parametrize(
    ("data", "frames"),
    [
        (b"data: a\ndata:b\ndata\n\n", [Frame("message", "a\nb\n", "")]),
        (b"data: a", []),
        (b"event: x\n\n", []),
        (b"id: 7\n\ndata: a\n\n", [Frame("message", "a", "7")]),
        (b"id: 7\0\ndata: a\n\n", [Frame("message", "a", "")]),
        (b"data:  two spaces\nretry: 10\nunknown: x\n\n", [Frame("message", " two spaces", "")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [Frame("x", "a", ""), Frame("message", "b", "")]),
        (b"data: \xff\n\n", [Frame("message", "\ufffd", "")]),
    ],
)
def test_the_standard_s_corners(data: bytes, frames: list[Frame]) -> None:
    assert parse([data]) == frames


@pytest.mark.parametrize("chunk", [b"data: " + b"x" * 100_000 + b"\n", b"x" * 100_000])
def test_an_event_without_end_is_refused(chunk: bytes) -> None:
    with pytest.raises(StreamBroken):
        parse([chunk] * 100)


@given(st.lists(texts, max_size=6), st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 20)), max_size=6))
def test_dropped_connections_lose_nothing_and_double_nothing(words: list[str], drops: list[tuple[int, int]]) -> None:
    """Every connection is cut after some bytes; the next one resumes at the last number, or some events before it."""
    frames = [wire(kind, seq, **fields) for seq, (kind, fields) in enumerate(story(words), 1)]
    transcript = Transcript()
    for cut, overlap in [*drops, (1_000_000, 0)]:
        data = b"".join(frames[max(0, transcript.last_seq - overlap) :])
        for frame in parse([data[:cut]]):
            transcript.apply(event_of(frame))
    assert transcript.answer == "".join(words)
    assert (transcript.state, transcript.conversation_id, transcript.message_id) == ("done", "conv", "m")
    assert [call.document() for call in transcript.calls.values()] == [
        {"call_id": "c1", "name": "get_instrument_status", "arguments": {"instrument": "PCR-02"}, "outcome": "ok",
         "summary": "PCR-02 is idle.", "duration_ms": 12},
    ]  # fmt: skip
    assert transcript.citations == [{"title": "SOP"}]
    assert transcript.usage == {"input_tokens": 5, "output_tokens": 7, "cost": "0.01", "currency": "USD"}


def test_a_gap_is_noticed() -> None:
    transcript = Transcript()
    transcript.apply(RunEvent("run_started", 1, {}))
    with pytest.raises(StreamBroken, match="2 to 3"):
        transcript.apply(RunEvent("text_delta", 4, {"text": "x"}))


@pytest.mark.parametrize("data", ["", "[]", "no json", "[" * 100_000, '{"seq": 0}', '{"seq": true}', '{"seq": "1"}', '{"detail": "gone"}'])
def test_what_is_no_run_event_breaks_the_stream_not_the_client(data: str) -> None:
    with pytest.raises(StreamBroken):
        event_of(Frame("text_delta", data, ""))


KINDS = ["text_delta", "tool_call_end", "tool_call_args", "approval_required", "citation", "usage", "done", "error", "call", "x"]
MEMBERS = ["text", "call_id", "outcome", "state", "citation", "duration_ms", "name"]
VALUES = st.one_of(st.none(), st.integers(), texts, st.lists(texts))


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(MEMBERS), VALUES))
def test_members_of_a_wrong_type_do_not_end_the_client(kind: str, fields: dict[str, object]) -> None:
    transcript = Transcript()
    assert transcript.apply(RunEvent(kind, 1, fields))
    assert isinstance(transcript.answer, str)
    json.dumps([call.document() for call in transcript.calls.values()])
