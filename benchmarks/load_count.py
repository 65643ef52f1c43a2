"""What one answer brought, counted exactly: every token carries its number (`17:123456789 `). Pure.

The text of an answer is what its events give when put together, however the server cut it into events.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

_TOKEN = re.compile(r"(\d+):(\d{6,}) ")
_json = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    kind: str
    id: str | None
    data: bytes


class Sse:
    """Events out of a body cut anywhere."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[Event]:
        *blocks, self._rest = (self._rest + piece).replace(b"\r\n", b"\n").split(b"\n\n")
        for block in blocks:
            fields: dict[bytes, bytes] = {}
            for line in block.split(b"\n"):
                name, _, value = line.partition(b":")
                fields[name] = value.removeprefix(b" ")
            if b"data" in fields:
                event_id = fields.get(b"id")
                yield Event(fields.get(b"event", b"").decode(), event_id.decode() if event_id else None, fields[b"data"])


@dataclass(slots=True)
class Said:
    """What an event means to the driver: text, the end, a failure, or nothing."""

    text: str = ""
    over: bool = False
    error: str | None = None


def native(event: Event) -> Said:
    """Aliquot's `events`."""
    if event.kind == "text_delta":
        return Said(text=_json(event.data)["text"])
    if event.kind == "done":
        return Said(over=True)
    if event.kind == "error":
        return Said(over=True, error=str(_json(event.data).get("code")))
    return Said()


def openai(event: Event) -> Said:
    """OpenAI chat-completion chunks."""
    if event.data == b"[DONE]":
        return Said(over=True)
    document = _json(event.data)
    if "error" in document:
        return Said(over=True, error=str(document["error"])[:80])
    choices = document.get("choices") or [{}]
    return Said(text=(choices[0].get("delta") or {}).get("content") or "")


Meaning = Callable[[Event], Said]


@dataclass(slots=True)
class Answer:
    """One answer over all its connections. Times in microseconds of the machine's monotonic clock."""

    expected: int
    sent_at: int
    slow: bool = False
    """Read slowly on purpose: counts for losses, not for times."""
    first_at: int | None = None
    numbers: Counter[int] = field(default_factory=Counter)
    misplaced: int = 0
    """Tokens that came after one with a higher number."""
    gaps: list[int] = field(default_factory=list)
    """Between successive pieces that held tokens, on one connection."""
    delays: list[int] = field(default_factory=list)
    """Per token, from the upstream to here; only before the first disconnection."""
    last_id: str | None = None
    cuts: int = 0
    bytes: int = 0
    over: bool = False
    error: str | None = None
    _text: str = ""
    _highest: int = -1
    _at: int | None = None

    @property
    def tokens(self) -> int:
        return self.numbers.total()

    @property
    def lost(self) -> int:
        """Tokens the upstream sent that never came."""
        return sum(1 for n in range(self.expected) if n not in self.numbers)

    @property
    def doubled(self) -> int:
        """Tokens that came again, and tokens nobody sent."""
        return sum(count - (0 <= n < self.expected) for n, count in self.numbers.items())

    def hear(self, event: Event, meaning: Meaning, at: int) -> None:
        """Count what `event` brings. An event counts whole or not at all, as for a client that resumes after its id."""
        said = meaning(event)
        self.last_id = event.id or self.last_id
        self.over = self.over or said.over
        self.error = self.error or said.error
        if said.text:
            self._text += said.text
            self._count(at)

    def _count(self, at: int) -> None:
        end = 0
        for match in _TOKEN.finditer(self._text):
            n, end = int(match[1]), match.end()
            self.numbers[n] += 1
            self.misplaced += n < self._highest
            self._highest = max(self._highest, n)
            if not self.cuts:
                self.delays.append(at - int(match[2]))
        if end:
            self._text = self._text[end:]
            if self.first_at is None:
                self.first_at = at
            elif self._at is not None:
                self.gaps.append(at - self._at)
            self._at = at

    def cut(self) -> None:
        """The connection is gone; what comes next comes on another one."""
        self.cuts += 1
        self._at = None
