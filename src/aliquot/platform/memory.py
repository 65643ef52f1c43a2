"""Memory of a long-lived process: what was needed once goes back to the system, what stays is not looked through again and again."""

import ctypes
import gc
import sys

_YOUNG = 10_000
"""New objects between two looks for garbage. Python's default of 700 looks several times per request."""


def settle() -> None:
    """What is there now stays for good (modules, routes, compiled schemas): the search for garbage leaves it out from here on."""
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)


def give_back() -> None:
    """After work with large arrays: glibc keeps what they used (50 MB after fitting the router) unless it is told to let go."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl
        if trim is not None:
            trim(0)
