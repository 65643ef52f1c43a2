"""An Aliquot of its own for the operation qualification: the same code on a new data folder and a loopback port, with demo people."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2

from aliquot.cli.qualify.steps import Unmet
from aliquot.platform.settings import Settings

_START_SECONDS, _COMMAND_SECONDS, _STOP_SECONDS = 180, 600, 60


class Scratch:
    """`aliquot serve` in a process of its own. The site's settings and data have no part in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.password = folder, secrets.token_urlsafe(18)
        self.data, self._log = folder / "data", folder / "server.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[httpx2.Client] = []

    @property
    def settings(self) -> Settings:
        return Settings(data_dir=self.data, port=self.port)

    def start(self) -> None:
        """Start and wait until it is healthy. Raises Unmet."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "aliquot.cli.main", "serve", "--demo"], env=self._environment(self.data), cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise Unmet(f"The server ended with {self._process.returncode}.", *self._log.read_text("utf-8")[-1_000:].splitlines()[-5:])
            try:
                if httpx2.get(f"{self.url}/api/health", timeout=2).status_code == 200:
                    return
            except httpx2.HTTPError:
                time.sleep(0.1)
        raise Unmet(f"The server was not healthy after {_START_SECONDS} s.")

    def kill(self) -> None:
        """Kill -9 of the server; its database stays, as after a crash."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(_STOP_SECONDS)

    def stop(self) -> None:
        """End in order; after a crash that means to start once more, because somebody has to stop the database."""
        for client in self._clients:
            client.close()
        if self._process is None:
            return
        if self._process.poll() is not None and (self.data / "pg" / "postmaster.pid").exists():
            self.start()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_STOP_SECONDS)

    def command(self, *arguments: str, data: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Another command of this installation, or of that in `data`."""
        return subprocess.run(  # noqa: S603
            [sys.executable, "-m", "aliquot.cli.main", *arguments], env=self._environment(data or self.data), cwd=self.folder,
            capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False,
        )  # fmt: skip

    def anonymous(self) -> httpx2.Client:
        client = httpx2.Client(base_url=self.url, timeout=30)
        self._clients.append(client)
        return client

    def client(self, role: str) -> httpx2.Client:
        """Logged in as the demo person of that role, or the first administrator."""
        client = self.anonymous()
        email = "admin@localhost.lab" if role == "admin" else f"{role}@demo.lab"
        answer = client.post("/api/auth/login", json={"email": email, "password": self.password})
        expect(answer, 200)
        client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        return client

    def _environment(self, data: Path) -> dict[str, str]:
        foreign = ("ALIQUOT_", "DATABASE_", "VALKEY_", "BLOB_", "SMTP_", "OIDC_", "CLAMAV_", "JWT_")
        own = {
            "ALIQUOT_DATA_DIR": str(data), "ALIQUOT_PORT": str(self.port), "ALIQUOT_DEMO_PASSWORD": self.password,
            "ALIQUOT_ADMIN_PASSWORD": self.password, "ALIQUOT_SHUTDOWN_SECONDS": "1",
        }  # fmt: skip
        return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | own


def expect(answer: httpx2.Response, status: int, code: str | None = None) -> Any:
    """The body of an answer that is as expected. Raises Unmet."""
    is_json = "json" in answer.headers.get("content-type", "")
    body = answer.json() if is_json else None
    found = body.get("code") if isinstance(body, dict) else None
    if answer.status_code != status or (code is not None and found != code):
        raise Unmet(f"{answer.request.method} {answer.request.url.path} answered {answer.status_code} {found or ''}".strip() + ".")
    return body
