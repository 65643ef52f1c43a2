"""The handle: starts the application on a loopback port in a thread, holds the script and the requests it got."""

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
    """A running fake provider. Thread-safe enough for tests: the script is consumed in order."""

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.default: Callable[[Any], Turn] = lambda body: Turn(text="Hello from the fake provider.")
        self.arrived = threading.Event()
        """Set by the first request."""
        self._script: deque[Turn] = deque()
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            App(self), log_config=None, log_level="critical", lifespan="off", timeout_graceful_shutdown=1, loop="asyncio", ws="none"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True, name="model-server")

    @property
    def url(self) -> str:
        """`http://127.0.0.1:port`: the base of Anthropic and Bedrock clients."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

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

    def start(self) -> "ModelServer":
        self._thread.start()
        done = threading.Event()
        deadline = _START_SECONDS
        while not self._server.started:
            if deadline <= 0 or not self._thread.is_alive():
                raise RuntimeError("the fake provider did not start")
            done.wait(0.01)
            deadline -= 0.01
        return self

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=5)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(timeout=5)
        self._socket.close()
