"""What reaches the terminal: readable, complete, and without a command to it."""

import io
import itertools
import json
import re
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, ConsoleOptions, RenderResult

from aliquot.cli.chat.markdown import NeutralMarkdown, Rendered, split_finished
from aliquot.cli.chat.neutral import neutral, one_line
from aliquot.cli.chat.screen import PlainScreen, Screen
from aliquot.cli.chat.terminal import RichScreen
from aliquot.cli.chat.transcript import RunEvent, Transcript

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b31m\x08\x7f\r\u202egnp.exe\ud800 &#x202e;&#13;&#27;[2J end"
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
TABLE = "**PCR-02** is idle.\n\n| instrument | state |\n|---|---|\n| PCR-02 | idle |\n| SEQ-01 | running |\n"


def events(*parts: tuple[str, dict[str, Any]]) -> list[RunEvent]:
    return [RunEvent(kind, seq, fields) for seq, (kind, fields) in enumerate(parts, 1)]


def play(screen: Screen, shown: list[RunEvent]) -> None:
    transcript = Transcript()
    screen.begin()
    for event in shown:
        transcript.apply(event)
        screen.show(event, transcript)
    screen.end()


def plainly(shown: list[RunEvent], *, thinking: bool = False) -> tuple[str, str]:
    out, aside = io.StringIO(), io.StringIO()
    play(PlainScreen(out, aside, thinking=thinking), shown)
    return out.getvalue(), aside.getvalue()


def richly(shown: list[RunEvent], *, thinking: bool = False, terminal: bool = False) -> str:
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=terminal, width=80, height=24, highlight=False, markup=False, emoji=False, legacy_windows=False
    )
    play(RichScreen(console, thinking=thinking), shown)
    return file.getvalue()


@given(st.text(), st.lists(st.integers(0, 100), max_size=5))
def test_neutral_text_commands_nothing_and_needs_no_context(text: str, cuts: list[int]) -> None:
    assert not COMMANDS.search(neutral(text))
    points = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    assert "".join(neutral(text[a:b]) for a, b in itertools.pairwise(points)) == neutral(text)
    assert "\n" not in one_line(text)
    neutral(text).encode()


def test_ordinary_text_stays_as_it_is() -> None:
    text = "Größe 5 µL — 温度 37 °C\n\tπ ≈ 3.14 👩‍🔬"
    assert neutral(text) == text


@given(st.text(st.sampled_from("ab \n|-#*`>1.\t_[]()!~&;x"), max_size=200), st.lists(st.integers(1, 40), max_size=20))
def test_finished_blocks_and_the_rest_are_the_whole_text(text: str, sizes: list[int]) -> None:
    printed, rest, left = "", "", text
    for size in [*sizes, 1_000]:
        rest, left = rest + left[:size], left[size:]
        finished, rest = split_finished(rest)
        printed += finished
    assert printed + rest == text


def test_a_table_is_not_finished_while_rows_may_come() -> None:
    assert split_finished(TABLE)[1].startswith("| instrument")
    assert split_finished(TABLE + "\nNext.\n")[0] == TABLE + "\n"
    assert split_finished("```\na\n\nb\n")[0] == ""


@given(st.text(st.sampled_from("ab \n|-#*`>1.\t_[]()!~&;<\\$x\x1b\x9b"), max_size=120))
def test_every_markdown_is_shown_and_no_sequence_passes(text: str) -> None:
    shown = richly(events(("text_delta", {"text": text}), ("done", {"state": "done"})))
    assert not COMMANDS.search(shown)


@pytest.mark.parametrize("size", [1, 3, 7, 1_000])
def test_a_table_is_readable_at_the_end_however_it_came(size: int) -> None:
    deltas = [("text_delta", {"text": TABLE[i : i + size]}) for i in range(0, len(TABLE), size)]
    shown = richly(events(*deltas, ("done", {"state": "done"})))
    lines = [line.split() for line in shown.splitlines()]
    assert ["PCR-02", "is", "idle."] in lines
    assert ["PCR-02", "idle"] in lines
    assert ["SEQ-01", "running"] in lines
    assert "|" not in shown
    assert shown.count("SEQ-01") == 1


@pytest.mark.parametrize("width", [30, 60, 80, 120, 200])
def test_nothing_of_a_table_is_cut(width: int) -> None:
    """Codes are read whole and on one line in every terminal that is as wide as they are."""
    heads = ("Run", "Instrument", "Protocol", "Operator", "State", "Started", "Duration", "Samples", "Results")
    cells = ("R-2026-0012", "HPLC-03", "HPLC-GRAD-10", "Sana Scientist (demo)", "running, 60 %", "2026-11-29 10:00 UTC", "3 h", "88")
    rows = [heads, ("---",) * 9, (*cells, "lid temperature, mean 104.9 °C; ramp 3.9 °C/s"), (*cells, "–")]
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n\n| PCR-02 | |\n|---|---|\n| Kind | thermocycler |\n"
    out = io.StringIO()
    Console(file=out, width=width).print(NeutralMarkdown(text))
    shown = out.getvalue()
    assert "…" not in shown
    assert max(len(line) for line in shown.splitlines()) <= width
    for cell in (*cells, "lid temperature, mean 104.9 °C; ramp 3.9 °C/s"):
        for word in cell.split():
            assert sum(word in line for line in shown.splitlines()) >= (2 if cell in cells else 1), (word, shown)
    for head in heads:
        assert head in shown
    assert "PCR-02" in shown
    assert "Kind" in shown


def test_text_of_the_server_cannot_command_the_terminal() -> None:
    approval = {
        "tool": HOSTILE, "requester_name": HOSTILE, "expires_at": HOSTILE,
        "preview": {"summary": HOSTILE, "warnings": [HOSTILE], "changes": [{"record": HOSTILE, "field": HOSTILE, "after": HOSTILE}]},
        "decision": {"risk": HOSTILE, "obligations": ["confirm"], "reasons": [{"text": HOSTILE}]},
    }  # fmt: skip
    shown = events(
        ("thinking", {"text": HOSTILE}),
        ("text_delta", {"text": HOSTILE + f"\n\n[{HOSTILE}](https://example.org/{HOSTILE})\n\n```{HOSTILE}\n{HOSTILE}\n```\n"}),
        ("tool_call_start", {"call_id": "c", "name": HOSTILE}),
        ("tool_call_args", {"call_id": "c", "arguments": {HOSTILE: HOSTILE}}),
        ("tool_call_end", {"call_id": "c", "outcome": HOSTILE, "summary": HOSTILE, "duration_ms": 5}),
        ("notice", {"code": HOSTILE, "text": HOSTILE}),
        ("citation", {"citation": {"title": HOSTILE, "page": HOSTILE}}),
        (HOSTILE, {"anything": HOSTILE}),
        ("error", {"code": HOSTILE, "detail": HOSTILE}),
    )
    for terminal in (False, True):
        file = io.StringIO()
        console = Console(
            file=file, force_terminal=terminal, width=80, height=24, highlight=False, markup=False, emoji=False, color_system=None
        )
        screen = RichScreen(console, thinking=True)
        play(screen, shown)
        screen.approval(approval)
        screen.message("assistant", HOSTILE, HOSTILE)
        # On a terminal rich's own cursor movements remain: nothing with a parameter of the server's.
        kept = re.sub(r"\x1b\[(\?25[lh]|[12]?K|\d*A)|\r", "", file.getvalue())
        assert not COMMANDS.search(kept)
        assert "end" in kept
    out, aside = io.StringIO(), io.StringIO()
    screen = PlainScreen(out, aside, thinking=True)
    play(screen, shown)
    screen.approval(approval)
    screen.message("user", HOSTILE, HOSTILE)
    assert not COMMANDS.search(out.getvalue() + aside.getvalue())


def test_links_show_where_they_lead() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(NeutralMarkdown("[the manual](https://evil.example/x)"))
    assert "https://evil.example/x" in capture.get()
    assert "\x1b]8" not in capture.get()


def test_a_pipe_gets_the_answer_alone() -> None:
    out, aside = plainly(
        events(
            ("tool_call_start", {"call_id": "c", "name": "get_instrument_status"}),
            ("tool_call_args", {"call_id": "c", "arguments": {"instrument": "PCR-02"}}),
            ("tool_call_end", {"call_id": "c", "outcome": "ok", "summary": "PCR-02 is idle.", "duration_ms": 1234}),
            ("thinking", {"text": "hmm"}),
            ("text_delta", {"text": TABLE[:30]}),
            ("notice", {"code": "retry", "text": "Trying again."}),
            ("text_delta", {"text": TABLE[30:]}),
            ("citation", {"citation": {"title": "SOP 7", "page": 3}}),
            ("usage", {"input_tokens": 10, "output_tokens": 20, "cost": "0.002", "currency": "USD"}),
            ("done", {"state": "done"}),
        )
    )
    assert out == TABLE
    assert aside.splitlines() == [
        "· get_instrument_status(instrument: PCR-02) …",
        "· get_instrument_status ok after 1.23 s",
        "· Trying again.",
        "· [1] SOP 7, page 3",
        "· 10 tokens in, 20 out, 0.002 USD",
    ]


def test_thinking_is_shown_only_when_wanted() -> None:
    shown = events(("thinking", {"text": "Let me see"}), ("text_delta", {"text": "Idle."}), ("done", {"state": "done"}))
    assert "Let me see" in plainly(shown, thinking=True)[1]
    assert "Let me see" not in plainly(shown)[1]
    assert "Let me see" in richly(shown, thinking=True)
    assert "Let me see" not in richly(shown)


def test_an_unknown_event_is_shown_as_it_came() -> None:
    shown = events(("telepathy", {"who": "me"}), ("done", {"state": "cancelled"}))
    for text in (plainly(shown)[1], richly(shown)):
        assert f"telepathy: {json.dumps({'who': 'me'})}" in text
        assert "Cancelled" in text


def test_the_live_part_stays_below_the_height_of_the_terminal() -> None:
    long = "- " + "\n- ".join(f"item {n}" for n in range(300))
    deltas = [("text_delta", {"text": long[i : i + 50]}) for i in range(0, len(long), 50)]
    shown = richly(events(*deltas, ("done", {"state": "done"})), terminal=True)
    ups = [int(n or 1) for n in re.findall(r"\x1b\[(\d*)A", shown)]
    assert max(ups, default=0) <= 24
    assert "item 299" in shown


def test_nothing_is_redrawn_while_a_block_is_printed_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is redrawn between rich's count of lines to clear and its writing would stay on the screen, as half an answer said twice."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, legacy_windows=False)
    screen = RichScreen(console)
    redrawers: list[threading.Thread] = []

    class Slow(Rendered):
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            live = screen._live
            assert live is not None
            redrawn = threading.Event()
            redrawers.append(threading.Thread(target=lambda: (live.refresh(), redrawn.set())))
            redrawers[-1].start()
            assert not redrawn.wait(0.1), "redrawn in the middle of a block"
            yield from super().__rich_console__(console, options)

    monkeypatch.setattr("aliquot.cli.chat.terminal.Rendered", Slow)
    play(screen, events(("text_delta", {"text": TABLE}), ("done", {"state": "done"})))
    for one in redrawers:
        one.join()
    assert len(redrawers) == 2
