"""Reading bytes in one way only: what two readers could take differently is refused, so that every verifier says the same.

JSON must be canonical (RFC 8785) with whole numbers and ASCII member names, Base64 the one encoding of its bytes.
"""

import base64
import json
from typing import Any

_DEPTH_MAX = 32
_INTEGER_MAX = 2**53 - 1


def strict_json(raw: bytes) -> Any:
    """The value of canonical JSON. Raises ValueError for any other bytes: another encoding, a byte-order mark, white space, a member given
    twice, a fraction, a number JavaScript cannot hold, a lone surrogate, deep nesting."""
    try:
        value = json.loads(raw.decode("utf-8"), parse_float=_refused, parse_constant=_refused)
        canonical = canonical_bytes(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if canonical != raw:
        raise ValueError("not canonical")
    return value


def canonical_bytes(value: Any) -> bytes:
    """RFC 8785 for what bundles hold. Raises ValueError."""
    return _canonical(value, _DEPTH_MAX).encode()


def strict_object(raw: bytes) -> dict[str, Any] | None:
    """The object of canonical JSON; None for anything else."""
    try:
        value = strict_json(raw)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def items(value: object) -> list[Any]:
    """Raises TypeError unless it is a list."""
    if not isinstance(value, list):
        raise TypeError
    return value


def strict_base64(text: str) -> bytes:
    """Raises ValueError unless `text` is how its bytes are encoded, padding and spare bits included."""
    raw = base64.b64decode(text.encode("ascii"), validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError("not canonical")
    return raw


def shown_id(value: object) -> str | None:
    """An id as it may be printed: at most 64 visible ASCII characters of it."""
    return "".join(c for c in value if " " <= c <= "~")[:64] if isinstance(value, str) else None


def _canonical(value: Any, depth: int) -> str:
    if depth == 0:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        if not all(name.isascii() for name in value):
            raise ValueError("a member's name is not ASCII")
        return "{" + ",".join([f"{_text(name)}:{_canonical(value[name], depth - 1)}" for name in sorted(value)]) + "}"
    if isinstance(value, list):
        return "[" + ",".join([_canonical(item, depth - 1) for item in value]) + "]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and abs(value) > _INTEGER_MAX:
        raise ValueError("a number is too large")
    return json.dumps(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _refused(text: str) -> Any:
    raise ValueError(f"{text[:20]} is no whole number")
