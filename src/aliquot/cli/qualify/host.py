"""The machine: its clock."""

import ctypes
import sys

from aliquot.cli.qualify.steps import Seen, Unmet

_UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)
_MAX_ERROR_MS = 2_000


class _Timex(ctypes.Structure):
    """The head of `struct timex`; the rest is room for what the kernel fills in."""

    _fields_ = [
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_char * 256),
    ]  # fmt: skip


def clock_state() -> tuple[int, int]:
    """(state, largest error in µs) as the kernel holds them: adjtimex(2), which changes nothing with modes = 0. Raises OSError."""
    found = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(found))
    if state < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")
    return state, found.maxerror


def time_synchronised() -> Seen:
    if sys.platform != "linux":
        raise Unmet(f"Not known on {sys.platform}: show by other means that the clock is synchronised.")
    try:
        state, error_us = clock_state()
    except (OSError, AttributeError) as error:
        raise Unmet(f"The kernel does not say ({type(error).__name__}): show by other means that the clock is synchronised.") from error
    evidence = (f"adjtimex state {state}, largest error {error_us // 1_000} ms",)
    if state == _UNSYNCHRONISED:
        raise Unmet("The kernel says that the clock is not synchronised: set up chrony, ntpd or systemd-timesyncd.", *evidence)
    if error_us > _MAX_ERROR_MS * 1_000:
        raise Unmet(f"The clock may be wrong by {error_us // 1_000} ms.", *evidence)
    return Seen("The kernel's clock is synchronised.", evidence)
