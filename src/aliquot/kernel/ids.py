"""UUIDv7 identifiers (RFC 9562 §5.7): time-ordered, made in Python because external servers may lack `uuidv7()`."""

import os
import threading
import time
import uuid

_lock = threading.Lock()
_state = {"last": 0}


def new_id() -> uuid.UUID:
    """A fresh UUIDv7, strictly increasing within this process.

    The 74 bits after the millisecond time stamp are random; when two ids fall in one millisecond the later one is the
    earlier one plus a random step (RFC 9562 §6.2, method 2), so that ids of one process sort in the order they were made.
    """
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) & ~(0x3 << 62)
    with _lock:
        last = _state["last"]
        if value <= last:
            value = last + 1 + int.from_bytes(os.urandom(4), "big")
            value = value & ~(0xF << 76) & ~(0x3 << 62)
            if value <= last:  # the carry ran into the version or variant bits: step the time stamp
                value = ((last >> 80) + 1) << 80 | (value & ((1 << 62) - 1))
        _state["last"] = value
    return uuid.UUID(int=value | 0x7 << 76 | 0x2 << 62)


def parse_id(text: str) -> uuid.UUID | None:
    """The UUID written in `text` in canonical form (36 characters), or None. Never raises."""
    if len(text) != 36:
        return None
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
