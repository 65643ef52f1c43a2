"""Why the client stops: one sentence and one exit code each."""

import math

ANSWERED, FAILED, UNUSABLE, WAITING, LEFT = 0, 1, 2, 3, 130
"""Exit codes: answered · failed · usage, log-in or connection · waiting for an approval · left with Ctrl-C."""


class Failure(Exception):
    """Base; the text is a sentence for the person."""

    exit_code = FAILED
    code = "failed"
    outcome: object = None
    """How far the question had come (an `asking.Outcome`), when it had been asked."""


class Unreachable(Failure):
    """No answer, or none that Aliquot would give."""

    exit_code, code = UNUSABLE, "unreachable"


class Usage(Failure):
    exit_code, code = UNUSABLE, "usage"


class NotLoggedIn(Failure):
    exit_code, code = UNUSABLE, "not_logged_in"


class StreamBroken(Failure):
    """An event stream ended early or cannot be read; watching it again from the last event mends it."""

    code = "stream_broken"


class Refused(Failure):
    """The server said no (`application/problem+json`)."""

    def __init__(self, status: int, code: str, detail: str, retry_after: float | None = None, *, cause: str = "") -> None:
        wait = "" if retry_after is None else f" Try again in {_duration(retry_after)}."
        super().__init__(detail + wait)
        self.status, self.code, self.detail, self.retry_after = status, code, detail, retry_after
        self.cause = cause
        """The code behind `code`, where there is one: why a signature was refused."""
        self.exit_code = UNUSABLE if status in (401, 422) or code == "locked" else FAILED


def _duration(seconds: float) -> str:
    whole = max(1, math.ceil(seconds))
    if whole < 120:
        return f"{whole} second{'s' if whole > 1 else ''}"
    return f"{math.ceil(whole / 60)} minutes"
