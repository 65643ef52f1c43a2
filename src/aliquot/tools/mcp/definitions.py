"""What a foreign server says of its tools: hashed as it is said, and made fit to be used here. Pure.

Descriptions and schemas are text from outside: they are shown to language models, so they are pinned by hash, cleaned of what people
cannot see, and a schema is closed and loses what could be costly to check (regular expressions).
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from aliquot.kernel.canonical import canonical_json, sha256_hex
from aliquot.tools.errors import ToolRefused
from aliquot.tools.schemas import DEPTH_MAX, compile_schema, depth

BYTES_MAX = 32_768
_DESCRIPTION_CHARS = 1_500
_KEPT = frozenset(
    {
        "type", "properties", "required", "items", "enum", "const", "description", "title", "default", "minimum", "maximum",
        "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "anyOf", "oneOf", "allOf",
        "additionalProperties", "$ref", "$defs", "prefixItems", "multipleOf", "minProperties", "maxProperties",
    }
)  # fmt: skip
_SCHEMAS = frozenset({"properties", "$defs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A tool as its server describes it."""

    name: str
    description: str
    schema: dict[str, Any]

    @property
    def canonical(self) -> bytes:
        """What is hashed and kept. Raises ToolRefused for what has no canonical form or is too large."""
        if depth(self.schema) > DEPTH_MAX:
            raise ToolRefused(f"{self.name}: the schema is nested too deeply")
        try:
            text = canonical_json({"name": self.name, "description": self.description, "inputSchema": self.schema})
        except (ValueError, RecursionError) as error:
            raise ToolRefused(f"{self.name}: the definition has no canonical form") from error
        if len(text) > BYTES_MAX:
            raise ToolRefused(f"{self.name}: the definition is larger than {BYTES_MAX} bytes")
        return text

    @property
    def sha256(self) -> str:
        return sha256_hex(self.canonical)


def parameters_of(definition: Definition) -> dict[str, Any]:
    """The argument schema used here: what it accepts, the server's own accepts too. Raises ToolRefused when there is none."""
    closed = _closed(definition.schema)
    closed.setdefault("type", "object")
    closed.setdefault("properties", {})
    closed["additionalProperties"] = False
    compile_schema(definition.name, closed)
    return closed


def _closed(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict):
        raise ToolRefused("a schema is not an object")
    result = {key: _part(key, value) for key, value in schema.items() if key in _KEPT}
    if result.get("type") == "object" and not isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = False
    return result


def _part(key: str, value: Any) -> Any:
    if key in _SCHEMAS:
        if not isinstance(value, dict):
            raise ToolRefused(f"{key} is not an object")
        return {str(name): value if isinstance(value, bool) else _either(value) for name, value in value.items()}
    if key in {"anyOf", "oneOf", "allOf", "prefixItems"}:
        return [_either(part) for part in value] if isinstance(value, list) else []
    if key in {"items", "additionalProperties"}:
        return _either(value)
    return visible(value) if isinstance(value, str) and key != "$ref" else value


def _either(value: Any) -> Any:
    return value if isinstance(value, bool) else _closed(value)


def description_of(server: str, definition: Definition, instead: str | None) -> str:
    """What language models and people are told of it."""
    said = visible(instead if instead is not None else definition.description)[:_DESCRIPTION_CHARS].strip()
    return f"(Tool of the external server {server}.) {said or definition.name}"


def visible(text: str) -> str:
    """`text` without what people cannot see: control, format, private and unassigned characters, among them tags and bidi marks."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Co", "Cn", "Cs"))


def quotable(text: str) -> str:
    """One short line of words out of `text`: nothing in it is Markdown, a link or an image."""
    return " ".join(re.sub(r"[^\w .,:;%'\"=+-]", " ", visible(text[:600])).split())[:300]
