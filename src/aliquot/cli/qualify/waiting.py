"""Waiting for a server that works in the background."""

import time
from collections.abc import Callable
from typing import TypeVar

from aliquot.cli.qualify.steps import Unmet

_SECONDS, _PAUSE = 15.0, 0.1
Found = TypeVar("Found")


def until(look: Callable[[], Found], well: Callable[[Found], bool]) -> Found:
    """What `look` gives once it is well. Raises Unmet after 15 s."""
    deadline = time.monotonic() + _SECONDS
    while not well(found := look()):
        if time.monotonic() > deadline:
            raise Unmet(f"After {_SECONDS:.0f} s it was still not so.")
        time.sleep(_PAUSE)
    return found
