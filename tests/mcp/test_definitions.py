"""What a foreign server says of its tools: whatever it is, it is refused or becomes a schema that is closed and cheap to check."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aliquot.tools.errors import ToolRefused
from aliquot.tools.mcp.definitions import Definition, description_of, parameters_of, quotable
from aliquot.tools.schemas import compile_schema

_WORDS = st.sampled_from(
    ["type", "properties", "required", "items", "anyOf", "$ref", "$defs", "pattern", "additionalProperties", "enum", "x"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["object", "#/$defs/x", "http://x/"]) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def _define(schema: Any, description: str = "d") -> Definition:
    return Definition(name="t", description=description, schema=schema)


@given(st.dictionaries(_WORDS, _VALUES, max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_schema_is_refused_or_fit(schema: dict[str, Any]) -> None:
    definition = _define(schema)
    try:
        assert len(definition.sha256) == 64
        used = parameters_of(definition)
    except ToolRefused:
        return
    assert (used["type"], used["additionalProperties"]) == ("object", False)
    assert "pattern" not in used
    compile_schema("t", used)


def test_a_schema_is_closed_and_loses_what_is_costly_or_leads_away() -> None:
    inner = {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}, "patternProperties": {"(a+)+": {}}}
    used = parameters_of(
        _define({"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$", "format": "regex"}, "b": inner}})
    )
    assert used["properties"]["a"] == {"type": "string"}
    assert used["properties"]["b"] == {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    deep: dict[str, Any] = {"type": "object"}
    for _ in range(2_000):
        deep = {"type": "object", "properties": {"a": deep}}
    for wrong in (
        {"properties": {"a": {"$ref": "http://evil/"}}},
        {"type": "array"},
        deep,
        {"properties": {"a": {"default": "x" * 40_000}}},
    ):
        with pytest.raises(ToolRefused):
            _ = (_define(wrong).sha256, parameters_of(_define(wrong)))


def test_a_description_shows_all_it_says_and_a_quotation_is_only_words() -> None:
    hidden = "Look\u202e up\u200b.\U000e0049\U000e0067 \x1b[31m"
    assert description_of("lit", _define({}, hidden), None) == "(Tool of the external server lit.) Look up. [31m"
    assert description_of("lit", _define({}, hidden), "Ours.") == "(Tool of the external server lit.) Ours."
    assert _define({}, hidden).sha256 != _define({}, "Look up. [31m").sha256, "what people cannot see is pinned too"
    assert quotable("![x](https://e.vil/?q=1)\n<b>no</b> `rm`") == "x https: e.vil q=1 b no b rm"
