"""Structured logs and Prometheus metrics: request and run ids, codes and durations; never contents, names or addresses."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_DROPPED = frozenset({"message", "content", "text", "body", "arguments", "password", "token", "authorization", "email", "name", "prompt"})


def _without_contents(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A last net: fields that by name could hold contents are not written."""
    return {key: value for key, value in event.items() if key not in _DROPPED}


def configure_logs(*, json_lines: bool, level: str = "INFO") -> None:
    """Send structured logs to standard error. Exceptions are logged as type and place, without their message."""
    renderer: Any = structlog.processors.JSONRenderer() if json_lines else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _safe_exception,
            _without_contents,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries' own logs may quote statements and bodies: only warnings, and only their place.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlaceOnly("%(levelname)s %(name)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").addFilter(_no_refused_handshake)


def _no_refused_handshake(record: logging.LogRecord) -> bool:
    """Uvicorn calls a WebSocket that was answered with a refusal (403, 404 …) an error of ours; `web.live` logs it as what it is."""
    return record.msg != "ASGI callable returned without completing handshake."


class _PlaceOnly(logging.Formatter):
    """A library's exception as type and place: the standard trace ends with the message, which may quote contents."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name of the standard library
        return f"{ei[0].__name__ if ei[0] else None} {' '.join(places(ei[1]))}"


def _safe_exception(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if event.pop("exc_info", None):
        error = sys.exc_info()[1]
        event["exception"] = type(error).__name__
        event["trace"] = places(error)
    return event


def places(error: BaseException | None) -> list[str]:
    """Where `error` came from, innermost last: files and lines, never its message (it may quote contents)."""
    trace = error.__traceback__ if error is not None else None
    found = []
    while trace is not None:
        found.append(f"{trace.tb_frame.f_code.co_filename.rsplit('/src/', 1)[-1]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return found[-8:]


class Metrics:
    """The metrics of one process (GET /metrics). No label ever holds a person, conversation or run."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("aliquot_http_requests", "HTTP requests", ["method", "route", "status"], registry=self.registry)
        self.request_seconds = Histogram("aliquot_http_request_seconds", "HTTP request duration", ["route"], registry=self.registry)
        self.runs = Counter("aliquot_runs", "Runs by final state", ["kind", "state"], registry=self.registry)
        self.first_token = Histogram(
            "aliquot_first_token_seconds", "Run start to first text event", registry=self.registry,
            buckets=(0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5, 10, 30),
        )  # fmt: skip
        self.open_streams = Gauge("aliquot_open_streams", "Streams being watched", registry=self.registry)
        self.open_sockets = Gauge("aliquot_open_sockets", "Open WebSockets", registry=self.registry)
        self.limited_frames = Counter("aliquot_limited_frames", "WebSocket frames refused by a limit", registry=self.registry)
        self.active_runs = Gauge("aliquot_active_runs", "Runs executing in this process", registry=self.registry)
        self.tool_calls = Counter("aliquot_tool_calls", "Tool calls by outcome", ["tool", "outcome"], registry=self.registry)
        self.run_events = Counter("aliquot_run_events", "Run events written", registry=self.registry)
        self.ledger_backlog = Gauge(
            "aliquot_ledger_backlog_seconds", "Age of the oldest audit event without checkpoint", registry=self.registry
        )
