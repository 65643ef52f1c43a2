"""Watching a run to its end over connections that may drop: nothing lost, nothing doubled."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2

from aliquot.cli.chat.connection import TRANSIENT, Connection, pauses
from aliquot.cli.chat.failures import Failure, NotLoggedIn, Refused, StreamBroken, Unreachable
from aliquot.cli.chat.interrupts import CancelAsked, Interrupts
from aliquot.cli.chat.sse import SseParser
from aliquot.cli.chat.transcript import RunEvent, event_of

_PATIENCE_SECONDS = 120.0
"""So long without a sign of life from the server, then the client gives up; the run is kept on the server."""


class Following:
    """The events of one run, each once and in order, until its last one."""

    def __init__(self, connection: Connection, run_id: str, interrupts: Interrupts, *, patience: float = _PATIENCE_SECONDS) -> None:
        self._connection, self._run_id, self._interrupts, self._patience = connection, run_id, interrupts, patience
        self._last = 0
        self._alive = time.monotonic()
        self._lost = False
        self._ended = False
        self._pauses = pauses()

    def events(self) -> Iterator[RunEvent]:
        """Raises Unreachable when the server stays away, NotLoggedIn, Refused when it knows the run no longer."""
        while True:
            try:
                yield from self._once()
                if self._ended:
                    return
                self._go_on(None)  # the server may end a stream at any time
            except CancelAsked:
                self._cancel()
                continue
            except NotLoggedIn:
                if self._connection.log_in is None:
                    raise
                self._connection.log_in()
                continue
            except (httpx2.TransportError, StreamBroken) as error:
                self._go_on(error)
            except Refused as refusal:
                if refusal.status not in TRANSIENT | {429}:
                    raise
                self._go_on(refusal)
            self._pause()

    def _once(self) -> Iterator[RunEvent]:
        """The events of one connection."""
        parser = SseParser()
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(self._last)} if self._last else {})
        with ExitStack() as stack:
            with self._interrupts.waiting():
                chunks = stack.enter_context(self._connection.stream(f"/api/runs/{self._run_id}/events", headers))
            while True:
                with self._interrupts.waiting():
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                self._sign_of_life()
                for frame in parser.feed(chunk):
                    event = event_of(frame)
                    if not self._is_next(event):
                        continue
                    self._ended = event.terminal
                    yield event
                    if event.terminal:
                        return

    def _is_next(self, event: RunEvent) -> bool:
        if event.seq <= self._last:
            return False
        if event.seq != self._last + 1:
            raise StreamBroken("Events of this run are missing.")
        self._last = event.seq
        self._pauses = pauses()
        return True

    def _sign_of_life(self) -> None:
        self._alive = time.monotonic()
        if self._lost:
            self._lost = False
            self._connection.note("Connected again; going on where it stopped.")

    def _go_on(self, error: Exception | None) -> None:
        """Be patient with a lost connection, for a while."""
        if time.monotonic() - self._alive > self._patience:
            raise Unreachable(
                f"The server at {self._connection.url} no longer answers. The answer is kept there: `aliquot chat --continue` shows it."
            ) from error
        if error is not None and not self._lost:
            self._lost = True
            self._connection.note("The connection was lost; reconnecting …")

    def _pause(self) -> None:
        try:
            with self._interrupts.waiting():
                self._connection.sleep(next(self._pauses))
        except CancelAsked:
            self._cancel()

    def _cancel(self) -> None:
        self._connection.note("Cancelling; Ctrl-C again leaves at once …")
        try:
            self._connection.post(f"/api/runs/{self._run_id}/cancel")
        except Refused as refusal:
            if refusal.code != "run_finished":
                self._connection.note(str(refusal))
        except Failure as failure:
            self._connection.note(str(failure))
