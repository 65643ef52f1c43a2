"""Server-Sent Events from a stream of bytes cut anywhere (WHATWG HTML §9.2.6)."""

from collections.abc import Iterator
from dataclasses import dataclass

from aliquot.cli.chat.failures import StreamBroken

_EVENT_BYTES = 4_000_000
"""An event longer than this is refused: a server must not fill the client's memory."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One dispatched event. `id` is the last id the stream gave."""

    event: str
    data: str
    id: str


class SseParser:
    """Feed it bytes, take out frames. An event without its closing blank line is never given out."""

    def __init__(self) -> None:
        self._rest = b""
        self._first = True
        self._skip_lf = False
        self._event, self._id = "", ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """The frames completed by `chunk`. Raises StreamBroken when an event is too large."""
        for line in self._lines(chunk):
            if line:
                self._field(line)
            elif (frame := self._dispatch()) is not None:
                yield frame

    def _lines(self, chunk: bytes) -> Iterator[str]:
        if self._skip_lf and chunk:  # a CR ended the last line; its LF may come in this chunk
            chunk = chunk.removeprefix(b"\n")
            self._skip_lf = False
        buffer = self._rest + chunk
        start = 0
        while (end := _line_end(buffer, start)) >= 0:
            line = buffer[start:end]
            if buffer[end] == 0x0D:
                if end + 1 == len(buffer):
                    self._skip_lf = True
                elif buffer[end + 1] == 0x0A:
                    end += 1
            start = end + 1
            yield self._decode(line)
        self._rest = buffer[start:]
        if len(self._rest) + self._size > _EVENT_BYTES:
            raise StreamBroken("The server sent an event that is too large.")

    def _decode(self, line: bytes) -> str:
        if self._first:
            line, self._first = line.removeprefix(b"\xef\xbb\xbf"), False
        return line.decode("utf-8", "replace")

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._size += len(value)
            if self._size > _EVENT_BYTES:
                raise StreamBroken("The server sent an event that is too large.")
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value

    def _dispatch(self) -> Frame | None:
        event, data = self._event, self._data
        self._event, self._data, self._size = "", [], 0
        return Frame(event or "message", "\n".join(data), self._id) if data else None


def _line_end(buffer: bytes, start: int) -> int:
    """Index of the next CR or LF, -1 without one."""
    lf = buffer.find(b"\n", start)
    cr = buffer.find(b"\r", start, lf if lf >= 0 else len(buffer))
    return cr if cr >= 0 else lf
