"""Periods out of questions: read whole, or not at all."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliquot.routing import periods

NOW = datetime(2026, 11, 21, 11, 20, tzinfo=ZoneInfo("Europe/Berlin"))
"""A Saturday."""


def span(text: str) -> tuple[str | None, str | None] | None:
    found = periods.read(text, NOW)
    if found is None:
        return None
    since, until = (moment and moment.strftime("%Y-%m-%d %H:%M%z")[2:] for moment in (found.since, found.until))
    return since, until


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("runs today", "26-11-21 00:00+0100", "26-11-22 00:00+0100"),
        ("failed runs yesterday?", "26-11-20 00:00+0100", "26-11-21 00:00+0100"),
        ("runs since monday", "26-11-16 00:00+0100", None),
        ("runs on friday", "26-11-20 00:00+0100", "26-11-21 00:00+0100"),
        ("this week's runs", "26-11-16 00:00+0100", "26-11-23 00:00+0100"),
        ("what ran this week", "26-11-16 00:00+0100", "26-11-23 00:00+0100"),
        ("what ran last month", "26-10-01 00:00+0200", "26-11-01 00:00+0100"),
        ("runs of the last 3 days", "26-11-18 11:20+0100", None),
        ("runs in november", "26-11-01 00:00+0100", "26-12-01 00:00+0100"),
        ("runs in december", "25-12-01 00:00+0100", "26-01-01 00:00+0100"),
        ("runs on 8 november", "26-11-08 00:00+0100", "26-11-09 00:00+0100"),
        ("runs after nov 8th", "26-11-09 00:00+0100", None),
        ("runs between 2026-11-01 and 2026-11-08", "26-11-01 00:00+0100", "26-11-09 00:00+0100"),
        ("runs before 2026-11-08", None, "26-11-08 00:00+0100"),
    ],
)
def test_a_period_is_one_of_the_site_s_calendar(text: str, since: str | None, until: str | None) -> None:
    assert span(text) == (since, until)


@pytest.mark.parametrize(
    "text",
    ["runs tonight", "runs on saturday", "runs since 8:30", "runs on 31 november", "runs today and yesterday", "runs this morning",
     "runs on 21.11.2026", "runs next week", "may runs", "runs today at 9 am"],
)  # fmt: skip
def test_what_is_not_wholly_understood_is_not_read(text: str) -> None:
    assert periods.read(text, NOW) is None


WORDS = st.sampled_from(["since", "on", "in", "last", "3", "0", "99", "days", "may", "31", "2026", "monday", "today", "-", "2026-13-01"])


@given(st.text(max_size=80) | st.lists(WORDS).map(" ".join))
def test_any_text_is_a_period_or_none(text: str) -> None:
    found = periods.read(text.lower(), NOW)
    assert found is None or found.since is None or found.until is None or found.since < found.until
