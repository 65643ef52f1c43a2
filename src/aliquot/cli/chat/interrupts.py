"""Ctrl-C while an answer is watched: the first one cancels the run, the second one leaves.

The signal is turned into an exception only while the client waits for the network, never between taking an event in and
showing it: nothing is lost or shown twice.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class CancelAsked(BaseException):
    """The person pressed Ctrl-C for the first time. Not an Exception: no library in between may swallow it."""


class Interrupts:
    """Counts Ctrl-C; active inside `with`."""

    def __init__(self) -> None:
        self.cancelled = False
        self._waiting = False
        self._pending = False
        self._before: Any = None

    def __enter__(self) -> "Interrupts":
        self.cancelled = self._pending = False
        self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around a wait for the network: raises CancelAsked at Ctrl-C, also one pressed just before."""
        if self._pending:
            self._pending = False
            raise CancelAsked
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False

    def _on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        if self.cancelled:
            raise KeyboardInterrupt
        self.cancelled = True
        if self._waiting:
            raise CancelAsked
        self._pending = True
