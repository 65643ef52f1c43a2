"""SDK and transport errors to our own problems, in one place. Reads status, code and Retry-After; never passes a text on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import structlog

from aliquot.models.errors import ContextTooLong, ModelProblem, ProviderBusy, ProviderRefused

log = structlog.get_logger(__name__)

BUSY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_THROTTLED = frozenset({429, 529})
_TOO_LONG_CODES = ("context_length_exceeded", "exceed_context_size_error", "string_above_max_length")
_TOO_LONG_WORDS = ("prompt is too long", "context length", "context size", "context window", "input is too long", "maximum context")
_LONGEST_PATIENCE_SECONDS = 86_400.0


def from_status(endpoint: str, status: int, headers: Mapping[str, str], body: object) -> ModelProblem:
    """The problem an HTTP refusal means. `endpoint` is the name from the models file, for the log."""
    code, words = _code_and_words(body)
    log.warning("model_call_refused", endpoint=endpoint, status=status, code=code)
    if code == "insufficient_quota":
        return ProviderRefused()
    if status in BUSY_STATUSES:
        return ProviderBusy(retry_after=retry_after(headers), throttled=status in _THROTTLED)
    if status == 413 or code in _TOO_LONG_CODES or (status == 400 and any(w in words for w in _TOO_LONG_WORDS)):
        return ContextTooLong()
    return ProviderRefused()


def from_stream(endpoint: str, kind: str) -> ModelProblem:
    """The problem an error event inside a stream means; `kind` is the provider's type or code."""
    log.warning("model_stream_error", endpoint=endpoint, kind=kind[:60])
    throttled = any(w in kind.lower() for w in ("overloaded", "rate_limit", "throttling", "429", "529"))
    return ProviderBusy(throttled=throttled)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of `retry-after-ms` or `Retry-After` (RFC 9110 §10.2.3: seconds or a date); None when absent or unreadable."""
    milliseconds, value = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds is not None:
            seconds = float(milliseconds) / 1_000
        elif value is None:
            return None
        elif value.strip().replace(".", "", 1).isdigit():
            seconds = float(value)
        else:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), _LONGEST_PATIENCE_SECONDS)


@contextmanager
def mapped(endpoint: str, *, sdk: Any) -> Iterator[None]:
    """Errors of an httpx2-based SDK (`openai`, `anthropic`) and of its transport leave as a ModelProblem."""
    import httpx2  # noqa: PLC0415 - loaded with the SDK

    try:
        yield
    except sdk.APIStatusError as error:
        raise from_status(endpoint, error.status_code, error.response.headers, error.body) from None
    except (sdk.APIConnectionError, httpx2.TransportError, httpx2.StreamError) as error:
        log.warning("model_connection_failed", endpoint=endpoint, error=type(error).__name__)
        raise ProviderBusy from None
    except (sdk.APIError, httpx2.HTTPError, httpx2.InvalidURL) as error:
        log.warning("model_call_failed", endpoint=endpoint, error=type(error).__name__)
        raise ProviderRefused from None


def _code_and_words(body: object) -> tuple[str, str]:
    """(machine code, lower-case message) of an error body, whichever of the usual shapes it has."""
    inner = body.get("error", body) if isinstance(body, dict) else {}
    if isinstance(inner, str):
        return "", inner.lower()
    if not isinstance(inner, dict):
        return "", ""
    code = inner.get("code") or inner.get("type") or inner.get("__type") or ""
    return str(code)[:60], str(inner.get("message") or "").lower()[:2_000]
