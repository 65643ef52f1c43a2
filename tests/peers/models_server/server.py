"""The handles: a host runs the application on a loopback port in a thread; each model server on it has its own script and record."""

import secrets
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from tests.peers.models_server.app import App
from tests.peers.models_server.script import Turn, turn_of_model_name

_START_SECONDS = 10.0


@dataclass
class Recorded:
    """One request as it came."""

    provider: str
    path: str
    headers: dict[str, str]
    body: Any
    disconnected: threading.Event = field(default_factory=threading.Event)
    """The client went away before the answer was whole."""
    finished: threading.Event = field(default_factory=threading.Event)

    def disconnected_now(self) -> None:
        if not self.finished.is_set():
            self.disconnected.set()

    def finished_now(self) -> None:
        self.finished.set()


class ModelServer:
    """One fake provider. Thread-safe enough for tests: the script is consumed in order."""

    def __init__(self, base_url: str) -> None:
        self.url = base_url
        """The base of Anthropic and Bedrock clients."""
        self.requests: list[Recorded] = []
        self.default: Callable[[Any], Turn] = lambda body: Turn(text="Hello from the fake provider.")
        self.arrived = threading.Event()
        """Set by the first request."""
        self._script: deque[Turn] = deque()
        self._lock = threading.Lock()

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    def script(self, *turns: Turn) -> None:
        """What the next requests get, in order; after that `default`, or what the model's name asks for."""
        with self._lock:
            self._script.extend(turns)

    def take(self, provider: str, path: str, headers: dict[str, str], body: Any) -> tuple[Turn, Recorded]:
        recorded = Recorded(provider, path, headers, body)
        with self._lock:
            self.requests.append(recorded)
            self.arrived.set()
            if self._script:
                return self._script.popleft(), recorded
        return turn_of_model_name(str(body.get("model") or body.get("modelId") or "")) or self.default(body), recorded


class ModelHost:
    """The thread and the port. `with ModelHost() as host: server = host.server()`; every server lives under a path of its own."""

    def __init__(self) -> None:
        self._servers: dict[str, ModelServer] = {}
        self._socket = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            App(self._servers.get),
            log_config=None,
            log_level="critical",
            lifespan="off",
            timeout_graceful_shutdown=1,
            loop="asyncio",
            ws="none",
        )
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._uvicorn.run, kwargs={"sockets": [self._socket]}, daemon=True, name="model-host")

    def server(self) -> ModelServer:
        """A fresh fake provider on this host."""
        token = secrets.token_hex(4)
        server = ModelServer(f"http://127.0.0.1:{self._socket.getsockname()[1]}/{token}")
        self._servers[token] = server
        return server

    def __enter__(self) -> "ModelHost":
        self._thread.start()
        pause, waited = threading.Event(), 0.0
        while not self._uvicorn.started:
            if waited > _START_SECONDS or not self._thread.is_alive():
                raise RuntimeError("the fake provider did not start")
            pause.wait(0.01)
            waited += 0.01
        return self

    def __exit__(self, *_: object) -> None:
        self._uvicorn.should_exit = True
        self._thread.join(timeout=5)
        if self._thread.is_alive():
            self._uvicorn.force_exit = True
            self._thread.join(timeout=5)
        self._socket.close()
