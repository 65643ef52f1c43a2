"""Without a language model: a question about several instruments, some of which are not here, and wishes for what is not here."""

import pytest

from tests.chat.conftest import ask
from tests.site import Site


@pytest.mark.parametrize(
    ("question", "tool", "instruments", "last"),
    [
        ("What is the status of PCR-02 and HPLC-01?", "get_instrument_status", ["PCR-02"], "There is no instrument HPLC-01 here."),
        (
            "status of PCR-02, FOO-99, HPLC-03 and PCR 7",
            "get_instrument_status", ["PCR-02", "HPLC-03"], "There is no instrument FOO-99 or PCR 7 here.",
        ),
        ("Who started the run on HPLC-03 and FOO-99?", "get_instrument_status", ["HPLC-03"], "There is no instrument FOO-99 here."),
        ("How much is left on HPLC-03 and SEQ-01?", "get_instrument_status", ["HPLC-03", "SEQ-01"], ""),
        ("last run on PCR-02 and SEQ-02", "get_run_history", ["PCR-02"], "There is no instrument SEQ-02 here."),
        ("Is PCR-02 free, and SEQ-01?", "get_instrument_status", ["PCR-02", "SEQ-01"], ""),
        ("Is FOO-99 free and is PCR-02 free?", "get_instrument_status", ["PCR-02"], "There is no instrument FOO-99 here."),
        (
            "Compare PCR-02 and HPLC-03",
            "get_instrument_status", ["PCR-02", "HPLC-03"], "nothing here compares them without a language model.",
        ),
        ("Compare the last runs of PCR-02 with HPLC-01", "get_run_history", ["PCR-02"], "There is no instrument HPLC-01 here."),
    ],
)  # fmt: skip
async def test_a_question_about_several_instruments(site: Site, question: str, tool: str, instruments: list[str], last: str) -> None:
    heard = await ask(await site.client("scientist"), question)
    assert [call["name"] for call in heard.of("tool_call_start")] == [tool] * len(instruments)
    assert [call["arguments"]["instrument"] for call in heard.of("tool_call_args")] == instruments
    places = [heard.text.find(instrument) for instrument in instruments]
    assert places == sorted(places)
    assert -1 not in places
    assert heard.text.endswith(last)
    assert last or "There is no" not in heard.text


async def test_a_yes_or_a_no_is_of_each_one(site: Site) -> None:
    heard = await ask(await site.client("scientist"), "Are PCR-02, CENT-04 and FOO-99 free?")
    assert heard.text.startswith("Yes, PCR-02 is idle")
    assert "No, CENT-04 is in error" in heard.text
    assert heard.text.endswith("There is no instrument FOO-99 here.")


@pytest.mark.parametrize(
    ("question", "begins"),
    [
        ("Start FOO-99 on SEQ-01", "There is no protocol FOO-99 here. Which protocol do you mean?"),
        ("Start FOO-BAR on SEQ-01", "There is no protocol FOO-BAR here. Which protocol do you mean?"),
        ("Start HPLC-01 on SEQ-01", "There is no protocol HPLC-01 here. Which protocol do you mean?"),
        ("Start PCR-STD-35 on FOO-99", "There is no instrument FOO-99 here. Which instrument do you mean?"),
        ("Start PCR-STD-35 on PCR-02 and FOO-99", "There is no instrument FOO-99 here. Which instrument do you mean?"),
        ("Start SEQ-01 on PCR-02", "Which protocol do you mean?"),
        ("Stop FOO-99: it leaks", "There is no run FOO-99 here. Which run do you mean?"),
        ("Stop the run on HPLC-01: it leaks", "There is no instrument HPLC-01 here. Which run do you mean?"),
        ("Is HPLC 1 ready?", "There is no instrument HPLC 1 here. Which instrument do you mean?"),
        ("What are the steps of FOO-99?", "There is no protocol FOO-99 here. Which protocol do you mean?"),
        ("What protocols run on FOO-99?", "There is no instrument FOO-99 here. Which instrument do you mean?"),
        ("Is SEQ-01 free for FOO-99?", "There is no protocol FOO-99 here. Which protocol do you mean?"),
        ("Start PCR-STD-35 on PCR-02 and SEQ-01", "I am not sure what you mean"),
        ("Stop HPLC-03 and SEQ-01 because of a leak", "I am not sure what you mean"),
        ("Compare R-2026-0003 with R-2026-0007", "I am not sure what you mean"),
    ],
)
async def test_what_is_not_here_is_named_as_what_it_was_meant_for_and_no_action_is_multiplied(
    site: Site, question: str, begins: str
) -> None:  # fmt: skip
    heard = await ask(await site.client("scientist"), question)
    assert heard.text.startswith(begins)
    assert heard.of("tool_call_start") == []


async def test_samples_that_begin_like_none_of_the_examples_are_still_samples(site: Site) -> None:
    scientist = await site.client("scientist")
    for question in ("Start PCR-STD-35 on PCR-02 with BLD-0042 and BLD-0043", "Start PCR-STD-35 on PCR-02, samples BLD-0042, BLD-0043"):
        heard = await ask(scientist, question)
        assert heard.of("approval_required")[0]["preview"]["arguments"]["samples"] == ["BLD-0042", "BLD-0043"], question


async def test_what_was_registered_a_moment_ago_is_not_called_unknown(site: Site) -> None:
    scientist, admin = await site.client("scientist"), await site.client("admin")
    assert (await ask(scientist, "status of PCR-02 and HPLC-08")).text.endswith("There is no instrument HPLC-08 here.")
    body = {"code": "HPLC-08", "name": "Second HPLC", "kind": "hplc", "location": "Room 2"}
    created = await admin.post("/api/instruments", json=body)
    assert created.status_code == 201, created.text
    heard = await ask(scientist, "status of PCR-02 and HPLC-08")
    assert [call["arguments"] for call in heard.of("tool_call_args")] == [{"instrument": "PCR-02"}, {"instrument": "HPLC-08"}]


@pytest.mark.parametrize(
    "question",
    [
        "Show runs except on PCR-02",
        "Which runs were not on PCR-02?",
        "Is any instrument other than PCR-02 free?",
        "Which runs used sample S-0104?",
        "List runs of LIB-PREP-DNA",
        "Show failed PCR-STD-35 runs",
        "Which runs took longer than 10 hours?",
        "Which runs are without results?",
    ],
)
async def test_a_list_is_not_given_for_what_it_cannot_be_asked_by(site: Site, question: str) -> None:
    """All runs, or those that were to be left out, would look like the answer."""
    heard = await ask(await site.client("scientist"), question)
    assert not heard.of("tool_call_start"), heard.text
    assert "I am not sure what you mean" in heard.text
