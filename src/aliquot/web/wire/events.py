"""Format `events`: native Server-Sent Events, `event: <kind>`, `id: <seq>`, `data: {...}` (CONTRACT §2)."""

from typing import ClassVar

from aliquot.chat.contracts import RunStarted, StoredEvent
from aliquot.kernel.problems import Problem
from aliquot.web.wire.common import dumps, loads


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


class SessionEncoder(EventsEncoder):
    """The same for `POST /chat`, with the session's id in Lumen's spelling beside ours."""

    def encode(self, event: StoredEvent) -> bytes:
        session_id = loads(event.payload).get("session_id") if event.kind == RunStarted.kind else None
        if session_id is None:
            return super().encode(event)
        lumen = b"%s,%s" % (event.payload[:-1], dumps({"sessionId": session_id})[1:])
        return super().encode(StoredEvent(run_id=event.run_id, seq=event.seq, kind=event.kind, payload=lumen))
