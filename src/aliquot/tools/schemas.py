"""Argument schemas: bounded and closed when registered, compiled once, and errors in words a model can act on."""

import json
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError

from aliquot.kernel.canonical import canonical_json
from aliquot.tools.errors import ArgumentsInvalid, ToolRefused

SCHEMA_BYTES_MAX = 32_768
DEPTH_MAX = 16
_ERRORS_MAX = 8
_SHOWN_CHARS = 60


def compile_schema(tool: str, schema: Mapping[str, Any]) -> Draft202012Validator:
    """A validator for the tool's arguments. Raises ToolRefused for a schema that is open, unbounded or not valid."""
    try:
        return _compiled(tool, canonical_json(dict(schema)))
    except (ValueError, SchemaError) as error:
        raise ToolRefused(f"{tool}: the argument schema is not valid JSON Schema 2020-12: {error}") from error


@lru_cache(maxsize=512)
def _compiled(tool: str, canonical: bytes) -> Draft202012Validator:
    """A validator depends on the schema alone: the same one serves every registry of a process."""
    schema, size = json.loads(canonical), len(canonical)
    Draft202012Validator.check_schema(schema)
    if size > SCHEMA_BYTES_MAX or depth(schema) > DEPTH_MAX:
        raise ToolRefused(f"{tool}: the argument schema is larger than {SCHEMA_BYTES_MAX} bytes or deeper than {DEPTH_MAX} levels")
    if schema.get("type") != "object" or not isinstance(schema.get("properties", {}), dict):
        raise ToolRefused(f"{tool}: the argument schema must describe an object")
    for place, part in _objects(schema, "arguments"):
        closed = part.get("additionalProperties") is False or (part is not schema and isinstance(part.get("additionalProperties"), dict))
        if not closed:  # below the top, members of any name are allowed when their values have a schema
            raise ToolRefused(f"{tool}: {place} must say additionalProperties: false")
        unknown = set(part.get("required", ())) - set(part.get("properties", {}))
        if unknown:
            raise ToolRefused(f"{tool}: {place} requires {min(unknown)!r}, which is not among its properties")
    if _has_remote_reference(schema):
        raise ToolRefused(f"{tool}: the argument schema refers to another document")
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def _objects(schema: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object schema in `schema`, with where it stands."""
    if isinstance(schema, list):
        for n, item in enumerate(schema):
            yield from _objects(item, f"{place}[{n}]")
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object":
        yield place, schema
    for key, value in schema.items():
        if key in {"properties", "$defs", "patternProperties"} and isinstance(value, dict):
            for name, part in value.items():
                yield from _objects(part, f"{place}.{name}")
        elif key in {"items", "prefixItems", "anyOf", "oneOf", "allOf", "not", "if", "then", "else", "contains"}:
            yield from _objects(value, f"{place}.{key}")


def _has_remote_reference(schema: Any) -> bool:
    if isinstance(schema, dict):
        if any(key in schema and not str(schema[key]).startswith("#") for key in ("$ref", "$dynamicRef")):
            return True
        return any(_has_remote_reference(part) for part in schema.values())
    return isinstance(schema, list) and any(_has_remote_reference(part) for part in schema)


def depth(value: Any) -> int:
    """Nesting of a JSON value: 1 for a scalar. Iterative, because hostile input nests deeper than Python recurses."""
    deepest, stack = 0, [(value, 1)]
    while stack:
        item, level = stack.pop()
        deepest = max(deepest, level)
        if isinstance(item, dict):
            stack.extend((part, level + 1) for part in item.values())
        elif isinstance(item, list):
            stack.extend((part, level + 1) for part in item)
    return deepest


def parse_arguments(given: str | dict[str, Any], *, chars_max: int) -> dict[str, Any]:
    """The arguments object in `given`. Raises ArgumentsInvalid; nothing is repaired, except that empty text means no arguments."""
    if isinstance(given, dict):
        value: Any = given
    else:
        if len(given) > chars_max:
            raise ArgumentsInvalid(f"The arguments are longer than {chars_max} characters.")
        value = _load(given) if given.strip() else {}
    if not isinstance(value, dict):
        raise ArgumentsInvalid("The arguments must be one JSON object.")
    if depth(value) > DEPTH_MAX:
        raise ArgumentsInvalid(f"The arguments are nested deeper than {DEPTH_MAX} levels.")
    try:
        encoded = canonical_json(value)
    except ValueError as error:
        raise ArgumentsInvalid("The arguments hold a value that JSON cannot represent exactly.") from error
    if len(encoded) > 4 * chars_max:
        raise ArgumentsInvalid(f"The arguments are longer than {chars_max} characters.")
    if b"\\u0000" in encoded:
        raise ArgumentsInvalid("The arguments hold a NUL character.")
    return value


def _load(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except ArgumentsInvalid:
        raise
    except RecursionError as error:
        raise ArgumentsInvalid("The arguments are nested too deeply.") from error
    except json.JSONDecodeError as error:
        raise ArgumentsInvalid(f"The arguments are not valid JSON: {error.msg} at character {error.pos + 1}.") from error
    except ValueError as error:  # an integer of thousands of digits
        raise ArgumentsInvalid("The arguments hold a number that is too long.") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ArgumentsInvalid(f"The argument {_show(twice)} is given twice.")
    return result


def _no_constant(name: str) -> Any:
    raise ArgumentsInvalid(f"{name} is not a JSON number.")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ArgumentsInvalid("The arguments hold a number that is too large.")
    return value


def check_arguments(validator: Draft202012Validator, arguments: dict[str, Any]) -> None:
    """Raises ArgumentsInvalid whose detail lists what is wrong, at most eight things, so that a second try can mend it."""
    found = sorted(validator.iter_errors(arguments), key=lambda error: (len(error.absolute_path), error.json_path))
    if not found:
        return
    words = [_words(error) for error in found[:_ERRORS_MAX]]
    if len(found) > _ERRORS_MAX:
        words.append(f"and {len(found) - _ERRORS_MAX} more")
    listed = [{"field": _place(error), "message": text} for error, text in zip(found[:_ERRORS_MAX], words, strict=False)]
    raise ArgumentsInvalid("; ".join(words) + ".", errors=listed)


_PHRASES = {
    "type": "must be of type {limit}",
    "enum": "must be one of {limit}",
    "const": "must be {limit}",
    "minimum": "must be at least {limit}",
    "maximum": "must be at most {limit}",
    "exclusiveMinimum": "must be greater than {limit}",
    "exclusiveMaximum": "must be less than {limit}",
    "multipleOf": "must be a multiple of {limit}",
    "minLength": "must have at least {limit} characters",
    "maxLength": "must have at most {limit} characters",
    "pattern": "must match the pattern {limit}",
    "format": "must be a valid {limit}",
    "minItems": "must have at least {limit} items",
    "maxItems": "must have at most {limit} items",
    "uniqueItems": "must not repeat an item",
    "minProperties": "must have at least {limit} members",
    "maxProperties": "must have at most {limit} members",
}


def _words(error: ValidationError) -> str:
    place, rule = _place(error), str(error.validator)
    limit: Any = error.validator_value
    instance: Any = error.instance
    schema: Any = error.schema
    if rule == "required":
        missing = [name for name in limit if name not in instance]
        return f"{place}: {', '.join(missing)} is missing"
    if rule == "additionalProperties":
        allowed = sorted(schema.get("properties", {}))
        unknown = sorted(set(instance) - set(allowed))
        return f"{place}: {_show(unknown[0])} is not known here; allowed: {', '.join(allowed) or 'nothing'}"
    phrase = _PHRASES.get(rule, "does not fit the schema")
    shown = ", ".join(_show(item) for item in limit[:30]) if isinstance(limit, list) else _show(limit)
    return f"{place}: {phrase.format(limit=shown)}, not {_show(error.instance)}"


def _place(error: ValidationError) -> str:
    return ".".join(str(part) for part in error.absolute_path) or "arguments"


def _show(value: Any) -> str:
    text = value if isinstance(value, str) and value.isidentifier() else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"
