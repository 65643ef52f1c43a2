"""What may be registered as a tool, and what its schema may be."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliquot.tools.contracts import Example
from aliquot.tools.errors import ArgumentsInvalid, ToolRefused, UnknownTool
from aliquot.tools.registry import Registry
from aliquot.tools.schemas import check_arguments, parse_arguments
from tests.tools.tool_world import FakeTool


def with_schema(**changes: Any) -> FakeTool:
    return FakeTool(parameters={"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False} | changes)


@pytest.mark.parametrize(
    "tool",
    [
        FakeTool(name="Get Status"),
        FakeTool(name=""),
        FakeTool(name="x" * 65),
        FakeTool(description=" "),
        FakeTool(permissions=()),
        FakeTool(effect="harmless"),  # type: ignore[arg-type]  # what a careless author writes
        FakeTool(examples=(Example(text="?", arguments={"nonsense": 1}),)),
        with_schema(additionalProperties=True),
        with_schema(type="array"),
        with_schema(required=["b"]),
        with_schema(properties={"a": {"type": "strin"}}),
        with_schema(properties={"a": {"$ref": "https://example.org/schema.json"}}),
        with_schema(properties={"a": {"type": "object", "properties": {}}}),
        with_schema(properties={"a": {"enum": ["x" * 40_000]}}),
        with_schema(properties={"a": {"type": "number", "minimum": float("nan")}}),
        object(),
    ],
)
def test_an_unsafe_tool_is_refused_at_start(tool: Any) -> None:
    with pytest.raises(ToolRefused):
        Registry([tool])


def test_names_are_unique_and_unknown_ones_said_so() -> None:
    registry = Registry([FakeTool()])
    with pytest.raises(ToolRefused, match="twice"):
        registry.register(FakeTool())
    with pytest.raises(UnknownTool):
        registry.get("nothing")


def test_the_fingerprint_changes_with_what_matters() -> None:
    plain = Registry([FakeTool(), FakeTool(name="other")])
    prints = {
        plain.fingerprint(),
        Registry([FakeTool()]).fingerprint(),
        Registry([with_schema(), FakeTool(name="other")]).fingerprint(),
        Registry([FakeTool(effect="write"), FakeTool(name="other")]).fingerprint(),
        Registry([FakeTool(permissions=("lab.operate",)), FakeTool(name="other")]).fingerprint(),
    }
    assert len(prints) == 5
    assert Registry([FakeTool(name="other"), FakeTool(description="Says it differently.")]).fingerprint() == plain.fingerprint()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_any_arguments_fit_or_are_refused_in_words(value: Any) -> None:
    registered = Registry([FakeTool()]).get("get_status")
    given_arguments = value if isinstance(value, str | dict) else str(value)
    refusal = None
    try:
        arguments = parse_arguments(given_arguments, chars_max=1_000)
        check_arguments(registered.validator, arguments)
    except ArgumentsInvalid as problem:
        refusal = problem.detail
    assert registered.validator.is_valid(arguments) if refusal is None else 0 < len(refusal) < 5_000


@given(st.text(max_size=200))
def test_any_text_parses_to_an_object_or_is_refused(text: str) -> None:
    parsed: Any = {}
    with contextlib.suppress(ArgumentsInvalid):
        parsed = parse_arguments(text, chars_max=1_000)
    assert isinstance(parsed, dict)
