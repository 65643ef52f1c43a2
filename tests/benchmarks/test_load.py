"""The load driver's counting, and a small storm of broken streams against a real server: nothing lost, nothing doubled."""

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load import SCENARIOS, Load, figures
from benchmarks.load_client import Call
from benchmarks.load_count import Answer, Event, Meaning, Sse, native, openai
from benchmarks.load_plot import plot
from benchmarks.load_targets import Messages, Target
from benchmarks.load_watch import sample, tree
from benchmarks.rooms import Watcher, against
from tests.chat.conftest import MODELS
from tests.conftest import Urls
from tests.peers.fixtures import model_host, model_server  # noqa: F401 - fixtures
from tests.peers.models_server import ModelServer, Turn
from tests.site import Seeded, running_site, seeded, seeded_urls  # noqa: F401 - fixtures


def body(texts: Sequence[str]) -> bytes:
    """An answer in Aliquot's format, one event per text."""
    events = [b"event: run_started\nid: 1\ndata: {}\n\n"]
    events += [b'event: text_delta\nid: %d\ndata: {"text":"%s"}\n\n' % (n, text.encode()) for n, text in enumerate(texts, 2)]
    return b"".join([*events, b": keep-alive\n\n", b"event: done\nid: %d\ndata: {}\n\n" % (len(texts) + 2)])


def read(answer: Answer, pieces: Sequence[bytes], meaning: Meaning = native) -> Answer:
    sse = Sse()
    for at, piece in enumerate(pieces):
        for event in sse.feed(piece):
            answer.hear(event, meaning, at)
    return answer


def text_of(numbers: Sequence[int]) -> str:
    return "".join(f"{n}:1000000 " for n in numbers)


@given(st.data())
def test_tokens_are_counted_however_the_stream_is_cut(data: st.DataObject) -> None:
    """Fails when a token on the border of two events or two reads is missed or counted twice."""
    numbers = data.draw(st.lists(st.integers(0, 11), max_size=30))
    text = text_of(numbers)
    borders = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    texts = [text[a:b] for a, b in zip([0, *borders], [*borders, len(text)], strict=True)]
    raw = body(texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    answer = read(Answer(10, 0), [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)])
    assert answer.tokens == len(numbers)
    assert answer.lost == len(set(range(10)) - set(numbers))
    known = [n for n in numbers if n < 10]
    assert answer.doubled == len(known) - len(set(known)) + len(numbers) - len(known)
    assert answer.over
    assert answer.last_id == str(len(texts) + 2)


def test_an_event_broken_off_counts_for_nothing_and_is_resumed() -> None:
    """Fails when half an event is believed, or when order and gaps are taken across a disconnection."""
    first, second = body([text_of([0, 1]), text_of([2, 3])]), body([text_of([2, 3]), text_of([4])])
    answer = read(Answer(5, 0), [first[: first.index(b"2:1000000") + 12]])
    assert (answer.lost, answer.last_id, answer.over) == (3, "2", False)
    answer.cut()
    read(answer, [second])
    assert (answer.lost, answer.doubled, answer.misplaced, answer.cuts, answer.gaps) == (0, 0, 0, 1, [0])
    assert read(Answer(3, 0), [body([text_of([1, 0, 2])])]).misplaced == 1


@pytest.mark.parametrize(
    ("data", "text", "over", "error"),
    [
        (b'{"choices":[{"delta":{"content":"0:1000000 "}}]}', "0:1000000 ", False, None),
        (b'{"choices":[{"delta":{"role":"assistant","content":null}}]}', "", False, None),
        (b'{"choices":[],"usage":{}}', "", False, None),
        (b'{"error":{"message":"no"}}', "", True, "{'message': 'no'}"),
        (b"[DONE]", "", True, None),
    ],
)
def test_openai_chunks(data: bytes, text: str, over: bool, error: str | None) -> None:
    said = openai(Event("", None, data))
    assert (said.text, said.over, said.error) == (text, over, error)


def test_the_plot_is_inert_and_inside_its_frame() -> None:
    drawn = ElementTree.fromstring(plot([("<memory>", [(0, 10), (5, 30)]), ("empty", [])], "a & b", "seconds", "MB"))
    lines = [node.attrib["points"] for node in drawn.iter("{http://www.w3.org/2000/svg}polyline")]
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in lines[0].split())
    assert (x0, x1) == (60, 740)
    assert 40 <= y1 < y0 <= 280
    assert lines[1] == ""
    assert "<memory>" in [node.text for node in drawn]


async def test_a_storm_loses_nothing(seeded_urls: Urls, seeded: Seeded, tmp_path: Path, model_server: ModelServer) -> None:  # noqa: F811
    """Five clients whose connections break again and again. Fails when resuming loses, doubles or reorders a token."""
    path = tmp_path / "models.toml"
    path.write_text(MODELS.format(url=model_server.openai_url))
    model_server.default = lambda _: Turn(text=text_of(range(60)), itl=0.002)
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, models=path) as site:
        client = await site.client("scientist")
        headers = {"authorization": client.headers["Authorization"]}

        def ask(conversation: str, key: str, messages: Messages) -> Call:
            question = {"message": messages[-1]["content"], "conversationId": conversation}
            return Call("POST", "/api/chat/stream?format=events", question, {**headers, "idempotency-key": key})

        def resume(run: str, last: str | None) -> Call:
            return Call("GET", f"/api/runs/{run}/events", None, headers | ({"last-event-id": last} if last else {}))

        target = Target(urlsplit(site.url).port or 0, 1, native, ask, resume, keeps=True)
        load = Load(target, SCENARIOS["storm"], 60, random.Random(7))
        await load.run(5, 0.3, 0, 1)
    seen = figures(load, 5)
    assert seen["answers"] >= 5
    assert seen["disconnections"] >= 3
    assert (seen["lost"], seen["doubled"], seen["misplaced"], seen["unfinished"]) == (0, 0, 0, 0)
    assert (seen["failed"], seen["refused"]) == ({}, {})


def test_a_process_tree_holds_what_was_started_below() -> None:
    """Fails when the memory and CPU of a server's children are left out."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert child.pid in tree(os.getpid())
        assert os.getppid() not in tree(os.getpid())
        assert sample(child.pid, None).rss > 1
    finally:
        child.communicate()


def test_what_a_watcher_missed_or_heard_twice_is_counted_against_the_log() -> None:
    """Fails when the driver of rooms would call a lost, a doubled or a reordered token fine."""
    texts = ["0:1000000 1:1000001 ", "2:1000002 "]
    log: list[dict[str, Any]] = [{"seq": n, "type": "text_delta", "text": text} for n, text in enumerate(texts, 1)]
    log.append({"seq": 3, "type": "done"})

    def heard(*events: int) -> Watcher:
        watcher = Watcher("ws")
        for n in events:
            watcher.hear("r", log[n - 1]["seq"], log[n - 1]["type"], log[n - 1].get("text", ""))
        return watcher

    assert not +against(log, "r", [heard(1, 2, 3)])
    assert +against(log, "r", [heard(1, 3)]) == {"lost": 1, "streams_with_gaps": 1}
    assert +against(log, "r", [heard(1, 1, 2, 3), heard(1, 2, 3)]) == {"doubled": 2, "streams_with_gaps": 1}
    assert +against(log, "r", [heard(2, 1, 3)]) == {"streams_with_gaps": 1}
    assert +against(log, "other", [heard(1, 2, 3)]) == {"lost": 3, "streams_with_gaps": 1}
    assert +against(log[1:], "r", []) == {"logs_out_of_order": 1}
