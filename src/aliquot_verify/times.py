"""What the times of events tell: silence, a clock that was set, a key that was rotated. Judged from the events' own words, so these
are notices; witnesses and time stamps give times that the log's owner cannot choose."""

import re
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime
from math import isnan

from aliquot_verify.faults import Fault, Finding

TOLERANCE_SECONDS = 300.0
"""Transactions that run at once may be recorded in another order than they began; longer than this none runs."""
MISSED_BEATS = 3
_AT = re.compile(rb'"at":"([0-9T:.Z+-]{20,32})"')
_TIME = re.compile(r"(19[7-9]|2\d\d)\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_EVERY = re.compile(rb'"reason":"every:([0-9]{1,7})s"')
_BEAT, _ROTATED = b'{"action":"log.heartbeat"', b'{"action":"log_key.rotated"'


class Times:
    """Collects, line by line, when events say they happened (Unix time; nan where they do not say)."""

    def __init__(self) -> None:
        self.at = array("d")
        self.beats: list[tuple[int, float]] = []
        """(line, seconds) where the log's heartbeat interval was stated anew."""
        self.rotations: list[int] = []
        """Lines that record a rotation of the log's key."""

    def add(self, lines: list[bytes]) -> None:
        for line in lines:
            match = _AT.search(line)
            self.at.append(seconds(match[1].decode()) if match else float("nan"))
            if line.startswith(_BEAT):
                self._beat(line)
            elif line.startswith(_ROTATED):
                self.rotations.append(len(self.at) - 1)

    def _beat(self, line: bytes) -> None:
        match = _EVERY.search(line)
        every = float(match[1]) if match else 0.0
        if every > 0 and (not self.beats or self.beats[-1][1] != every):
            self.beats.append((len(self.at) - 1, every))


def seconds(text: str) -> float:
    """Unix time of a time as events have it; nan when it is none."""
    if not _TIME.fullmatch(text):
        return float("nan")
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return float("nan")


def shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def oddities(times: Times, first: int, every: float | None, until: float | None) -> Iterator[Finding]:
    """Silences and steps back. `every` overrides the stated heartbeat; `until` is when the log was exported up to its end."""
    stated = [(-1, every)] if every is not None else times.beats
    latest = before = float("nan")
    back, beat = False, 0
    for line, at in enumerate(times.at):
        while beat < len(stated) and stated[beat][0] < line:
            beat += 1
        if isnan(at):
            continue
        allowed = stated[beat - 1][1] * MISSED_BEATS if beat else None
        if at < latest - TOLERANCE_SECONDS:
            if not back:
                text = f"the clock went back: event {first + line} says {shown(at)}, an earlier one {shown(latest)}"
                yield Finding(fault=Fault.CLOCK, text=text, seq=first + line)
            since = before if back else at
            back = True
        else:
            since, back = latest, False
        if allowed is not None and at - since > allowed:
            yield _silence(since, at, first + line)
        before = at
        latest = at if not latest >= at else latest
    if until is not None and stated and until - latest > stated[-1][1] * MISSED_BEATS:
        yield _silence(latest, until, first + len(times.at) - 1)
    yield from _changed(times, first)


def _changed(times: Times, first: int) -> Iterator[Finding]:
    for (_, old), (line, new) in zip(times.beats, times.beats[1:], strict=False):
        if new > old:
            text = f"the log's heartbeat was slowed from {old:.0f} s to {new:.0f} s at event {first + line}"
            yield Finding(fault=Fault.SILENT, text=text, seq=first + line)


def _silence(since: float, until: float, seq: int) -> Finding:
    text = f"nothing was recorded for {until - since:.0f} s, from {shown(since)} to {shown(until)} (event {seq})"
    return Finding(fault=Fault.SILENT, text=text, seq=seq)


def against(times: Times, first: int, size: int, at: float, who: str) -> Iterator[Finding]:
    """Events that contradict that the first `size` events, and no others, were there at time `at`."""
    for line, claimed in enumerate(times.at):
        seq = first + line
        if seq < size and claimed > at + TOLERANCE_SECONDS:
            text = f"event {seq} says {shown(claimed)}, but {who} saw it by {shown(at)}: it is dated in the future"
        elif seq >= size and claimed < at - TOLERANCE_SECONDS:
            text = f"event {seq} says {shown(claimed)}, but was not in the log that {who} saw at {shown(at)}: it is back-dated"
        else:
            continue
        yield Finding(fault=Fault.CLOCK, text=text, seq=seq)
        return
