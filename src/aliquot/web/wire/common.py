"""Shared by the encoders."""

from typing import Any

import msgspec

HEARTBEAT = b": keep-alive\n\n"
"""An SSE comment, sent when a stream was silent for 15 s: keeps proxies from closing it."""

dumps = msgspec.json.Encoder().encode
loads = msgspec.json.Decoder(dict[str, Any]).decode


def data(document: dict[str, Any]) -> bytes:
    """One unnamed SSE event."""
    return b"data: " + dumps(document) + b"\n\n"
