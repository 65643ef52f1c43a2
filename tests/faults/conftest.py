"""A real `aliquot serve` in a process of its own, on its own embedded database, that can be killed.

The first start on a folder is that of the program; later starts and other commands are forks of a loaded one.
"""

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

from tests.conftest import PATIENCE
from tests.faults.forked import Forked
from tests.peers.fixtures import model_host, model_server  # noqa: F401 - fixtures
from tests.site import TLS

PASSWORD = "correct horse battery"


class ServerProcess:
    """`aliquot serve` on `folder`."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self._kept = socket.socket()  # bound, never listening: the port stays this server's while it is down
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))
        self.port = self._kept.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        own = {
            "ALIQUOT_DATA_DIR": str(folder),
            "ALIQUOT_PORT": str(self.port),
            "ALIQUOT_DEMO_PASSWORD": PASSWORD,
            "ALIQUOT_SHUTDOWN_SECONDS": "1",
        }
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("ALIQUOT_", "DATABASE_"))} | own | env
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self.log = folder.parent / "server.log"

    def start(self) -> "ServerProcess":
        """Start and wait until it is healthy."""
        self.process = self._forked("serve", out=self.log, err=self.log) if self.folder.exists() else self._program("serve")
        deadline = time.monotonic() + PATIENCE
        with httpx2.Client(timeout=PATIENCE, verify=TLS) as client:
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    raise AssertionError(f"the server ended: {self.log.read_text()[-2000:]}")
                try:
                    if client.get(f"{self.url}/api/health").status_code == 200:
                        return self
                except httpx2.HTTPError:
                    pass
                time.sleep(0.05)  # polling a process that is starting
        raise AssertionError(f"not healthy after {PATIENCE} s: {self.log.read_text()[-2000:]}")

    def _program(self, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "aliquot.cli.main", *arguments]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder.parent)

    def _forked(self, *arguments: str, out: Path, err: Path) -> Forked:
        return Forked(arguments, env=self.env, cwd=self.folder.parent, out=out, err=err)

    def kill(self) -> None:
        """kill -9 of the server alone; its PostgreSQL stays."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self) -> int:
        """Ctrl-C."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command of this installation."""
        with tempfile.TemporaryDirectory(prefix="aliquot-command-") as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            code = self._forked(*arguments, out=out, err=err).wait(PATIENCE)
            return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())

    def client(self, role: str = "scientist") -> httpx2.Client:
        client = httpx2.Client(base_url=self.url, timeout=PATIENCE, verify=TLS)
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
    elif (process.folder / "pg" / "postmaster.pid").exists():  # killed: somebody has to stop the database
        process.start()
        process.stop()
