"""Ids, clock, canonical JSON."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliquot.kernel.canonical import canonical_json, content_hash
from aliquot.kernel.clock import SystemClock, rfc3339
from aliquot.kernel.ids import new_id, parse_id
from aliquot.kernel.problems import NotFound, Problem

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_ids_are_version_7_unique_and_sorted_by_making_even_across_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(lambda _: [new_id() for _ in range(2_000)], range(8)))
    everything = [item for batch in batches for item in batch]
    assert len(set(everything)) == len(everything)
    assert all(batch == sorted(batch) for batch in batches)
    assert {item.version for item in everything} == {7}
    assert {item.variant for item in everything} == {uuid.RFC_4122}


@given(st.text())
def test_parsing_an_id_never_raises(text: str) -> None:
    assert parse_id(text) is None or str(parse_id(text)) == text.lower()


def test_only_the_canonical_spelling_of_an_id_is_one() -> None:
    item = new_id()
    assert parse_id(str(item)) == item
    assert parse_id(item.hex) is None
    assert parse_id("{" + str(item) + "}") is None


@pytest.mark.rule("ALCOA contemporaneous")
def test_times_are_utc_with_milliseconds_whatever_their_zone() -> None:
    at = datetime(2026, 3, 2, 10, 30, 0, 123_456, tzinfo=timezone(timedelta(hours=1)))
    assert rfc3339(at) == "2026-03-02T09:30:00.123Z"
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert now.microsecond % 1_000 == 0


@given(JSON)
def test_canonical_json_is_a_fixed_point_and_keeps_the_value(value: object) -> None:
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text
    assert json.loads(text) == value


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert content_hash({"a": 1, "b": [1, 2]}) == content_hash({"b": [1, 2], "a": 1})
    assert content_hash({"a": 1}) != content_hash({"a": "1"})


@pytest.mark.parametrize("value", [float("nan"), 2**53 + 1, {"a": {1, 2}}, "\ud800", {1: 2}])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical_json(value)


def test_a_problem_document_has_the_members_of_rfc_9457() -> None:
    document = NotFound("No such run.", run="R-1").document()
    assert document == {
        "type": "urn:aliquot:problem:not_found", "title": NotFound.sentence, "status": 404, "detail": "No such run.", "code": "not_found",
        "run": "R-1",
    }  # fmt: skip
    assert Problem().document()["status"] == 500
