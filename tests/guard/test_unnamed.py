"""Which values nobody named: tolerant of how people write, never taken in by a beginning, and quick on texts made to be slow."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliquot.guard.api import Said, still, unnamed, without

CODES = st.from_regex(r"[A-Z]{1,4}(-[A-Z]{2,4})?-[0-9]{1,5}", fullmatch=True)
LEAVES = st.one_of(CODES, st.integers(-(10**6), 10**6), st.booleans(), st.none())
VALUES = st.recursive(LEAVES, lambda below: st.lists(below, max_size=3) | st.dictionaries(CODES, below, max_size=3), max_leaves=10)
NAMED: list[tuple[str | float, str]] = [
    ("HPLC-1", "is hplc 1 free?"), ("HPLC-1", "HPLC1, please"), ("HPLC-1", "the HPLC\u20111's column"), ("S-0001", "(S_0001)"),
    ("S-0001", "S-0001/S-0002"), ("pcr-std-35", "run PCR STD 35."), ("Müller", "for MÜLLER"), ("control A", "the Control  A"),
    ("anna@example.org", "mail <anna@example.org>"), ("*", "delete *"), ("3", "three samples"),
    (3, "3.0 mL"), (3.0, "3 mL"), (0.5, "0,5 mL"), (1000, "1,000 rpm"), (10000, "10 000 rpm"), (1234.5, "1.234,5"), (72, "72°C"),
    (35, "35x"), (-20, "at 20 below"), (20, "-20 °C"), (24, "twenty-four wells"), (2, "twice"), (5, "1,2,5"),
    ("S-0002", "S-0001 to S-0004"), ("S-0004", "S-0001\u2013S-0004"), ("S-0003", "S-0001 to 0004"), ("S2", "s1 through s12"),
    (3, "samples 1-4"), ("3", "1 to 4"), ("1.5 mL", "1.5mL"), ("5", "1,2,5"), ("S-2", "S-1,S-2"), ("PCR-02", "PCR-02,03"),
]  # fmt: skip
NOT_NAMED: list[tuple[str | float, str]] = [
    ("S-0001", "S-00012"), ("S-0001", "S-0001-B"), ("S-0001", "XS-0001"), ("S-0001", "S-0001.csv"), ("S-0001", "S-1"), ("S-1", "S-0001"),
    ("HPLC-1", "HPLC-10"), ("HPLC-1", "HPLC, 1 sample"), ("blank", "non-blank"), ("a@example.org", "a@example.org.evil.net"),
    ("anna@example.org", "joanna@example.org"), ("Anna Müller", "Müller"), ("*", "all"), (35, "PCR-STD-35"), (7, "R-2026-0007"),
    (3, "HPLC-3"), (3, "3.5"), (5, "0,5"), (3, "a3f3"), (100, "1000"), ("S-0005", "S-0001 to S-0004"), ("S-0002", "S-0001 to 4 plates"),
    ("X-0002", "S-0001 to S-0004"), ("R-2026-0009", "R-2026-0007"), ("PCR-3", "PCR-1-5"), (3, "PCR-1 to 5"), ("1.5 mL", "15 mL"),
    ("1.5 mL", "1-5 mL"), ("5 mL", "0,5 mL"), ("5", "0,5"), ("1", "1,5 mL"), ("500 rpm", "1,500 rpm"), ("500 rpm", "1'500 rpm"),
    ("PCR-1-2", "PCR-12"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), NAMED)
def test_a_value_is_named_however_it_is_written(value: str | float, text: str) -> None:
    assert Said([text]).names(value)


@pytest.mark.parametrize(("value", "text"), NOT_NAMED)
def test_another_value_does_not_name_it(value: str | float, text: str) -> None:
    assert not Said([text]).names(value)


@given(CODES, st.sampled_from(["", " ", "_", "\u2011", "\u2013"]), st.booleans(), st.text(max_size=40), st.text(max_size=40))
def test_what_stands_around_a_code_and_how_it_is_dashed_does_not_hide_it(code: str, dash: str, low: bool, before: str, after: str) -> None:
    said = code.replace("-", dash)
    assert Said([f"{before} ; {said.lower() if low else said} ; {after}"]).names(code)


@given(CODES, st.text("0123456789ABCXYZ", min_size=1, max_size=4), st.sampled_from(["", "-", "_", "."]), st.booleans())
def test_no_longer_code_names_a_shorter_one(code: str, more: str, joint: str, front: bool) -> None:
    longer = f"{more}{joint}{code}" if front else f"{code}{joint}{more}"
    assert not Said([f"use {longer} now"]).names(code)


@given(st.dictionaries(CODES, VALUES, max_size=4), st.lists(st.text(max_size=20), max_size=3))
def test_what_is_unnamed_is_in_the_arguments_and_naming_it_ends_that(arguments: dict[str, Any], texts: list[str]) -> None:
    found = unnamed(arguments, {}, Said(texts))
    assert set(found) <= {str(value) for value in _all(arguments)}
    assert unnamed(arguments, {}, Said([*texts, *found])) == ()
    assert still(found, arguments, {}) == found


def _all(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for pair in value.items() for one in pair for leaf in _all(one)]
    return [leaf for one in value for leaf in _all(one)] if isinstance(value, list) else [value]


def test_what_the_schema_gives_is_not_judged_and_names_it_does_not_know_are() -> None:
    schema = {
        "properties": {
            "mode": {"enum": ["fast", "slow"]}, "limit": {"type": "integer", "default": 20},
            "at": {"type": "string", "format": "date-time"},
            "samples": {"type": "array", "items": {"type": "string"}},
            "settings": {"type": "object", "patternProperties": {"^[a-z]+$": {"type": "number"}}},
            "plate": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"kind": {"const": "deep"}}}]},
        }
    }  # fmt: skip
    arguments = {
        "mode": "fast", "limit": 20, "at": "2026-12-01T10:00:00Z", "samples": ["S-0001", "S-0001", "S-2"], "settings": {"cycles": 30},
        "plate": {"kind": "deep", "A1": True},
    }  # fmt: skip
    assert unnamed(arguments, schema, Said(["S-2"])) == ("S-0001", "30", "A1")
    assert unnamed({"limit": 21, "mode": "fast"}, schema, Said(())) == ("21",)


def test_of_prose_only_what_identifies_is_judged_and_of_short_texts_all() -> None:
    said = Said(["The pressure on HPLC-03 is too high"])
    schema = {"properties": {"reason": {"type": "string"}}}
    assert unnamed({"reason": "The pressure was too high on HPLC-03 for a while"}, schema, said) == ()
    assert unnamed({"reason": "Column C-17 leaks at 350 bar, ask anna@example.org"}, schema, said) == ("C-17", "350", "anna@example.org")
    assert unnamed({"reason": "Pressure is high"}, schema, said) == ()
    assert unnamed({"reason": "Operator request"}, schema, said) == ("Operator request",)
    assert unnamed({"reason": "Anna Müller"}, schema, Said(["Müller, Anna"])) == ()


@given(CODES, st.text(max_size=20))
def test_an_answer_does_not_name_what_it_was_asked_for_with(code: str, around: str) -> None:
    assert not Said([without(f"{around} nothing known of {code}; {around}", {"code": code})]).names(code)


def test_an_echo_names_nothing_and_the_rest_of_an_answer_does() -> None:
    answer = without('{"query":"PCR 9","limit":20,"found":[{"code":"PCR-99"},{"samples":21}]}', {"query": "PCR-9", "limit": 20})
    assert not Said([answer]).names("PCR-9")
    assert not Said([answer]).names(20)
    assert Said([answer]).names("PCR-99")
    assert Said([answer]).names(21)


@pytest.mark.parametrize("text", ["S-00012 ", "1-", "a", "S-0001 to S-9 ", "1,", "S-", "9" * 7 + " "])
def test_texts_made_to_be_slow_are_not(text: str) -> None:
    long = text * (500_000 // len(text))
    arguments = {"samples": [f"S-{n:04}" for n in range(384)], "values": [n / 7 for n in range(100)]}
    began = time.process_time()
    unnamed(arguments, {"properties": {"samples": {}, "values": {}}}, Said([long]))
    without(long, {"query": "S-0001", "limit": 20})
    assert time.process_time() - began < 5  # about half a second
