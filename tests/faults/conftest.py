"""A real `aliquot serve` in a process of its own, on its own embedded database, that can be killed."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.peers.fixtures import model_host, model_server  # noqa: F401 - fixtures

PASSWORD = "correct horse battery"


class ServerProcess:
    """`aliquot serve` on `folder`."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        own = {
            "ALIQUOT_DATA_DIR": str(folder),
            "ALIQUOT_PORT": str(self.port),
            "ALIQUOT_DEMO_PASSWORD": PASSWORD,
            "ALIQUOT_SHUTDOWN_SECONDS": "1",
        }
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("ALIQUOT_", "DATABASE_"))} | own | env
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder.parent / "server.log"

    def start(self) -> "ServerProcess":
        """Start and wait until it is healthy."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "aliquot.cli.main", "serve"], env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder.parent,
            )  # fmt: skip
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended: {self.log.read_text()[-2000:]}")
            try:
                if httpx2.get(f"{self.url}/api/health", timeout=2).status_code == 200:
                    return self
            except httpx2.HTTPError:
                time.sleep(0.05)  # polling a process that is starting
        raise AssertionError(f"not healthy after 120 s: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """kill -9 of the server alone; its PostgreSQL stays."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """Ctrl-C."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command of this installation."""
        return subprocess.run(
            [sys.executable, "-m", "aliquot.cli.main", *arguments], env=self.env, capture_output=True, text=True, timeout=60, check=False,
            cwd=self.folder.parent,
        )  # fmt: skip

    def client(self, role: str = "scientist") -> httpx2.Client:
        client = httpx2.Client(base_url=self.url, timeout=30)
        answer = client.post("/api/auth/login", json={"email": f"{role}@demo.lab", "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        return client


@contextmanager
def _folder() -> Iterator[Path]:
    # Not below pytest's own folder: another test run closes that one to the user PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="aliquot-server-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def prepared() -> Iterator[Path]:
    """A data folder after its first start and its stop: making one takes as long as most of these tests."""
    with _folder() as folder:
        process = ServerProcess(folder / "data").start()
        assert process.stop() == 0
        yield process.folder


@pytest.fixture
def server(prepared: Path) -> Iterator[ServerProcess]:
    """Not started, on a data folder that has been served before."""
    with _folder() as folder:
        subprocess.run(["cp", "-a", str(prepared), str(folder / "data")], check=True)
        yield from _server(ServerProcess(folder / "data"))


@pytest.fixture
def first_server() -> Iterator[ServerProcess]:
    """Not started, without a data folder."""
    with _folder() as folder:
        yield from _server(ServerProcess(folder / "data"))


def _server(process: ServerProcess) -> Iterator[ServerProcess]:
    yield process
    if process.process is not None and process.process.poll() is None:
        process.stop()
    else:  # killed: somebody has to stop the database
        process.start()
        process.stop()
