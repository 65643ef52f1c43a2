"""One clock for the whole system. Times are timezone-aware UTC with millisecond resolution, written as RFC 3339 with `Z`."""

from datetime import UTC, datetime
from typing import Annotated, Protocol

from pydantic import PlainSerializer


class Clock(Protocol):
    """Where the time comes from; tests pass a clock they move by hand."""

    def now(self) -> datetime: ...


class SystemClock:
    """The host's clock, truncated to milliseconds."""

    def now(self) -> datetime:
        at = datetime.now(UTC)
        return at.replace(microsecond=at.microsecond // 1000 * 1000)


def rfc3339(at: datetime) -> str:
    """`2026-11-21T05:16:15.123Z`. `at` must be timezone-aware."""
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:-6] + "Z"


# A point in time in an HTTP answer: always RFC 3339, UTC, milliseconds, `Z`.
Timestamp = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
