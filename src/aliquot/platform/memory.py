"""Memory that was needed once goes back to the system."""

import ctypes
import gc
import sys


def give_back() -> None:
    """After work with large arrays: glibc keeps what they used (50 MB after fitting the router) unless it is told to let go."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl
        if trim is not None:
            trim(0)
