"""HTTP to one Aliquot server: refusals as sentences, retries that never ask twice."""

import contextlib
import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx2

import aliquot
from aliquot.cli.chat.failures import NotLoggedIn, Refused, Unreachable, Usage

_BODY_BYTES = 20_000_000
_PATIENCE_SECONDS = 30.0
TRANSIENT = frozenset({502, 503, 504})
_TIMEOUT = httpx2.Timeout(60.0, connect=5.0)
STREAM_TIMEOUT = httpx2.Timeout(45.0, connect=5.0)
"""The server sends a sign of life every 15 s; three missed ones are a dead connection."""


def pauses() -> Iterator[float]:
    """Growing pauses with jitter: 0.2 s up to 4 s."""
    pause = 0.2
    while True:
        yield pause * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, no secret
        pause = min(4.0, pause * 2)


def base_url(given: str) -> str:
    """The server's address in one spelling. Raises Usage."""
    text = given.strip().rstrip("/")
    if "://" not in text:
        text = f"http://{text}"
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError):
        raise Usage(f"{given!r} is not the address of a server.") from None
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        raise Usage(f"{given!r} is not the address of a server: give something like http://127.0.0.1:8089.")
    return str(url).rstrip("/")


def is_loopback(url: str) -> bool:
    host = httpx2.URL(url).host
    return host in ("localhost", "::1") or host.startswith("127.")


class Connection:
    """Requests with the person's token. `log_in` is called once when the server no longer knows the token."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        note: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url, self.token = url, token
        self.log_in: Callable[[], None] | None = None
        self.note = note
        self.sleep = sleep
        self._reached = False
        headers = {"User-Agent": f"aliquot-chat/{aliquot.__version__}", "Accept-Encoding": "identity"}
        # A proxy of the environment has no business between this machine and itself.
        # A connection per request: a person thinks longer than a server keeps an idle one.
        limits = httpx2.Limits(max_keepalive_connections=0)
        self._http = httpx2.Client(base_url=url, timeout=_TIMEOUT, headers=headers, limits=limits, trust_env=not is_loopback(url))

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """GET a JSON object. Raises Refused, Unreachable or NotLoggedIn."""
        return self._patiently("GET", path, params=params)

    def probe(self) -> None:
        """Is there an Aliquot server, well or not? Raises Unreachable."""
        try:
            self._send("GET", "/api/health")
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        except Refused:
            self._reached = True

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """POST, again after a dropped connection, under one Idempotency-Key: the server acts once."""
        return self._patiently("POST", path, json=body or {}, headers={"Idempotency-Key": str(uuid.uuid4())})

    def post_once(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST what is not idempotent (`/api/auth/*`): never sent twice. Raises Unreachable when the connection drops."""
        try:
            return self._send("POST", path, json=body)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    @contextlib.contextmanager
    def stream(self, path: str, headers: dict[str, str]) -> Iterator[Iterator[bytes]]:
        """The body of a GET, as it comes. Raises Refused, NotLoggedIn, and httpx2.TransportError when the connection drops."""
        with self._http.stream("GET", path, headers=headers | self._authorization(), timeout=STREAM_TIMEOUT) as response:
            if response.status_code != 200:
                self._refuse(response.status_code, response.headers, _read(response))
            self._reached = True
            yield response.iter_raw()

    def _patiently(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        retried = False
        for pause in pauses():
            try:
                return self._with_log_in(method, path, **request)
            except httpx2.TransportError as error:
                if not self._reached or time.monotonic() + pause > deadline:
                    raise self._unreachable(error) from error
            except Refused as refusal:
                # The server is still busy with the first sending of this very request: its result is ready in a moment.
                busy = retried and refusal.code == "idempotency_mismatch"
                if not (busy or refusal.status in TRANSIENT) or time.monotonic() + pause > deadline:
                    raise
                pause = max(pause, min(refusal.retry_after or 0.0, deadline - time.monotonic()))  # noqa: PLW2901 - the server may ask for more
            if not retried:
                self.note("No connection to the server; trying again …")
            retried = True
            self.sleep(pause)
        raise AssertionError("pauses never end")

    def _with_log_in(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            return self._send(method, path, **request)
        except NotLoggedIn:
            if self.log_in is None:
                raise
            self.log_in()
            return self._send(method, path, **request)

    def _send(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        headers = request.pop("headers", {}) | self._authorization()
        with self._http.stream(method, path, headers=headers, **request) as response:
            body = _read(response)
        if not 200 <= response.status_code < 300:
            self._refuse(response.status_code, response.headers, body)
        self._reached = True
        return self._object(body) if body else {}

    def _refuse(self, status: int, headers: httpx2.Headers, body: bytes) -> None:
        """Raise what the server's refusal means."""
        if "problem+json" not in headers.get("content-type", ""):
            if status in TRANSIENT:  # a proxy speaks for a server that is away
                raise Refused(status, "unavailable", f"The server at {self.url} is not available at the moment.", _seconds(headers))
            raise Unreachable(f"What answers at {self.url} is not an Aliquot server (HTTP {status}).")
        self._reached = True
        document = self._object(body)
        code, detail = str(document.get("code", "failed")), str(document.get("detail", f"HTTP {status}"))
        if status == 401 and code not in ("login_failed", "otp_required", "otp_failed"):
            raise NotLoggedIn("You are not logged in, or the log-in has ended.")
        raise Refused(status, code, detail, _seconds(headers), cause=str(document.get("cause", "")))

    def _object(self, body: bytes) -> dict[str, Any]:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise Unreachable(f"What answers at {self.url} is not an Aliquot server.")
        return document

    def _authorization(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    def _unreachable(self, error: httpx2.TransportError) -> Unreachable:
        if self._reached:
            return Unreachable(f"The server at {self.url} no longer answers ({type(error).__name__}).")
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return Unreachable(f"No server answers at {self.url}. Start one with `aliquot serve`, or name another with --url.")
        return Unreachable(f"The server at {self.url} does not answer ({type(error).__name__}).")


def _read(response: httpx2.Response) -> bytes:
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > _BODY_BYTES:
            raise Unreachable("The server's answer is too large.")
    return bytes(body)


def _seconds(headers: httpx2.Headers) -> float | None:
    value = headers.get("retry-after", "")
    return float(value) if value.isdecimal() and len(value) < 7 else None
