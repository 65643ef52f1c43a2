"""Serves a pulled model on loopback in a process of its own, and writes the entry of the models file that uses it."""

import json
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from aliquot.models.local_server import MISSING
from aliquot.models.pull import PullableModel

_START_SECONDS = 300.0
_STOP_SECONDS = 10.0


class LocalServerError(Exception):
    """The model cannot be served; the text is a sentence for the person at the terminal."""


class LocalServer:
    """A running `aliquot.models.local_server`. Use as a context manager, or `start`, `wait`, `stop`."""

    def __init__(
        self, file: Path, *, alias: str, port: int = 9001, context_tokens: int = 8_192, threads: int = 0, python: str = sys.executable
    ) -> None:
        self._file = file
        parent = ["--parent", str(os.getpid())]
        options = ["--alias", alias, "--port", str(port), "--context", str(context_tokens), "--threads", str(threads), *parent]
        self._command = [python, "-m", "aliquot.models.local_server", "--model", str(file), *options]
        self._process: subprocess.Popen[str] | None = None

    def start(self, seconds: float = _START_SECONDS) -> str:
        """Start and load the model; the address (`http://127.0.0.1:9001`) once it listens. Raises LocalServerError."""
        if not self._file.is_file():
            raise LocalServerError(f"{self._file} is not there. Pull the model first.")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self._process = subprocess.Popen(  # noqa: S603 - our own module with our own arguments
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        line = _first_line(self._process.stdout, seconds)
        with suppress(ValueError, KeyError, TypeError):
            return str(json.loads(line or "")["listening"])
        self.stop()
        status = self._process.returncode
        if status == MISSING:
            raise LocalServerError("xllamacpp is not installed. Install it beside Aliquot: pip install xllamacpp==2026.10.11549")
        raise LocalServerError(f"{self._file.name} could not be served (exit status {status}). Is the port free and the file whole?")

    def wait(self) -> int:
        """Until the server ends; its exit status."""
        return self._process.wait() if self._process is not None else 0

    def stop(self) -> None:
        """End the server, politely at first."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> "LocalServer":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def _first_line(stream: IO[str], seconds: float) -> str | None:
    """The first line, or None when nothing came in time. The reading thread ends with the process."""
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True, name="local-model-start").start()
    try:
        return lines.get(timeout=seconds)
    except queue.Empty:
        return None


def models_entry(model: PullableModel, *, port: int = 9001, context_tokens: int = 8_192) -> str:
    """The `[[models]]` entry for a served model, as text for the models file."""
    lines = [
        f"# {model.title}, {model.licence}; served on this machine by `aliquot models serve {model.name}`",
        "[[models]]",
        f'name = "{model.name}"',
        'provider = "openai-compatible"',
        f'base_url = "http://127.0.0.1:{port}/v1"',
        f'model = "{model.name}"',
        f"context_tokens = {context_tokens}",
        "max_output_tokens = 1024",
        "tools = false          # small models call tools through schema-constrained decoding",
        "constrained = true",
        "requests_in_flight = 1",
        "idle_seconds = 600     # a processor reads some 20 to 40 tokens a second",
        "timeout_seconds = 900",
        "# patient_data = true  # nothing leaves this machine; decide for your site",
    ]
    return "\n".join(lines) + "\n"
