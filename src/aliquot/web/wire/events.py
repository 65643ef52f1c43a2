"""Format `events`: native Server-Sent Events, `event: <kind>`, `id: <seq>`, `data: {...}` (CONTRACT §2)."""

from typing import ClassVar

from aliquot.chat.contracts import StoredEvent
from aliquot.kernel.problems import Problem
from aliquot.web.wire.common import dumps


class EventsEncoder:
    """Stateless: the stored bytes are the data."""

    media_type = "text/event-stream"
    headers: ClassVar[dict[str, str]] = {}

    def encode(self, event: StoredEvent) -> bytes:
        return b"event: %s\nid: %d\ndata: %s\n\n" % (event.kind.encode(), event.seq, event.payload)

    def problem(self, problem: Problem) -> bytes:
        """A failure of the stream itself (not of the run)."""
        return b"event: error\ndata: " + dumps({"code": problem.code, "detail": problem.detail, "retryable": problem.retryable}) + b"\n\n"

    def end(self) -> bytes:
        return b""
