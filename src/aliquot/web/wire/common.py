"""Shared by the encoders."""

from typing import Any

import msgspec

NO_USAGE: dict[str, Any] = {"input_tokens": 0, "output_tokens": 0, "cost": "0", "currency": "USD"}
"""Of a run without a call of a model: `usage` is an object in every format that has one."""

HEARTBEAT = b": keep-alive\n\n"
"""An SSE comment, sent when a stream was silent for 15 s: keeps proxies from closing it."""

dumps = msgspec.json.Encoder().encode
loads = msgspec.json.Decoder(dict[str, Any]).decode


def data(document: dict[str, Any]) -> bytes:
    """One unnamed SSE event."""
    return b"data: " + dumps(document) + b"\n\n"
