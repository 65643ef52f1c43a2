"""What can be wrong with a bundle, and the exit code that says so."""

from dataclasses import dataclass
from enum import IntEnum


class Fault(IntEnum):
    """Exit codes, in the order in which one is chosen when several faults were found."""

    DAMAGED = 10
    """Not a bundle: the zip is broken or hostile, a file is missing, foreign or malformed."""
    BAD_KEY = 11
    """The pinned key is malformed, or is not the key that this log is signed with."""
    BAD_SIGNATURE = 12
    """The signature of the checkpoint or of the manifest does not hold."""
    EDITED = 20
    REMOVED = 21
    ADDED = 22
    MOVED = 23
    TREE = 24
    """The tiles do not hash to the checkpoint: the log itself was altered."""
    TRUNCATED = 30
    """The bundle's log is shorter than the anchor."""
    FORKED = 31
    """The bundle's log is not a continuation of the anchor."""
    UNWITNESSED = 32
    """The witness that was asked for has not cosigned this log."""
    BAD_TIMESTAMP = 33
    """A time stamp is not one of this log's checkpoint, or not by the pinned authority."""
    MANIFEST = 40
    """A file is not the one that the signed manifest names."""
    SIGNATURE = 41
    """An electronic signature is missing, stands twice, is unknown to the log, or says other things than its event."""
    UNSUPPORTED = 50
    """The bundle holds something that this verifier cannot judge."""
    SILENT = 60
    """Nothing was recorded for longer than the log's heartbeat allows. A notice: an exit code only with --strict."""
    CLOCK = 61
    """The times of events contradict their order, or a witness's or time stamp's time. A notice like SILENT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault. `seq` counts from 0 in log order; `id` is what the event at hand says of itself, so an editor may have chosen it."""

    fault: Fault
    text: str
    seq: int | None = None
    id: str | None = None
    file: str | None = None


class Unusable(Exception):
    """Verification cannot go on after this finding."""

    def __init__(self, fault: Fault, text: str, file: str | None = None) -> None:
        super().__init__(text)
        self.finding = Finding(fault=fault, text=text, file=file)
