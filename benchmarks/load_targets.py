"""What the load driver can be pointed at. Each starts its server in front of our mock upstream and says how it is asked."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.load_client import Call
from benchmarks.load_count import Meaning, native, openai
from benchmarks.load_watch import database_of
from benchmarks.streams import ROOT, Process, bench, free_port, started

Messages = list[dict[str, str]]

_LITELLM = """
model_list:
  - model_name: mock
    litellm_params: {{model: openai/{model}, api_base: "http://127.0.0.1:{upstream}/v1", api_key: x}}
general_settings: {{master_key: sk-bench}}
"""
_PASSWORD = "Benchmark-password-1"


@dataclass(frozen=True, slots=True)
class Target:
    """A running server and how it is asked."""

    port: int
    server: int
    meaning: Meaning
    ask: Callable[[str, str, Messages], Call]
    """(conversation, key of this question, messages so far with the question last) → the request."""
    resume: Callable[[str, str | None], Call] | None = None
    """(run, last event id) → the request that goes on; None: this server cannot, what was cut off is lost."""
    database: int | None = None
    keeps: bool = field(default=False)
    """The server keeps the conversation: it is asked with the question alone."""


@contextmanager
def aliquot(model: str) -> Iterator[Target]:
    """`aliquot serve` with everything it does in production."""
    with bench(model) as site:
        headers = {"authorization": f"Bearer {site.token}"}

        def ask(conversation: str, key: str, messages: Messages) -> Call:
            body = {"message": messages[-1]["content"], "conversationId": conversation}
            return Call("POST", "/api/chat/stream?format=events", body, {**headers, "idempotency-key": key})

        def resume(run: str, last: str | None) -> Call:
            return Call("GET", f"/api/runs/{run}/events", None, headers | ({"last-event-id": last} if last else {}))

        pid = site.server.popen.pid
        yield Target(site.port, pid, native, ask, resume, database_of(pid), keeps=True)


@contextmanager
def relay(model: str) -> Iterator[Target]:
    """The floor: a bare relay."""
    with _upstream(model) as upstream:
        port = free_port()
        arguments = ["-m", "uvicorn", "benchmarks.relay:app", "--port", str(port), "--log-level", "warning"]
        with started(arguments, f"http://127.0.0.1:{port}/", UPSTREAM=f"http://127.0.0.1:{upstream}") as server:
            yield _openai_target(port, server.popen.pid, "/v1/chat/completions", model, {})


@contextmanager
def litellm(model: str) -> Iterator[Target]:
    """`litellm --config …` with one worker, out of the environment LITELLM_ENV (benchmarks/peers/install.sh)."""
    with _upstream(model) as upstream, tempfile.TemporaryDirectory() as folder:
        port, config = free_port(), Path(folder) / "config.yaml"
        config.write_text(_LITELLM.format(model=model, upstream=upstream))
        command = [f"{_environment('LITELLM_ENV')}/bin/litellm", "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HOME": folder}
        with _peer([*command, "--num_workers", "1"], f"http://127.0.0.1:{port}/health/liveliness", folder, env) as server:
            yield _openai_target(port, server, "/v1/chat/completions", "mock", {"authorization": "Bearer sk-bench"})


@contextmanager
def openwebui(model: str) -> Iterator[Target]:
    """`open-webui serve`, asked at the API that passes on and stores nothing, out of the environment OPENWEBUI_ENV."""
    with _upstream(model) as upstream, tempfile.TemporaryDirectory() as folder:
        port = free_port()
        env = {
            "DATA_DIR": folder, "HOME": folder, "OPENAI_API_BASE_URL": f"http://127.0.0.1:{upstream}/v1", "OPENAI_API_KEY": "x",
            "ENABLE_OLLAMA_API": "false", "HF_HUB_OFFLINE": "1", "OFFLINE_MODE": "true", "BYPASS_EMBEDDING_AND_RETRIEVAL": "true",
            "RAG_EMBEDDING_MODEL_AUTO_UPDATE": "false", "WEBUI_SECRET_KEY": "benchmark",
        }  # fmt: skip
        command = [f"{_environment('OPENWEBUI_ENV')}/bin/open-webui", "serve", "--host", "127.0.0.1", "--port", str(port)]
        with _peer(command, f"http://127.0.0.1:{port}/health", folder, env) as server:
            person = {"name": "bench", "email": "bench@example.org", "password": _PASSWORD}
            made = httpx2.post(f"http://127.0.0.1:{port}/api/v1/auths/signup", json=person, timeout=60)
            headers = {"authorization": f"Bearer {made.json()['token']}"}
            httpx2.get(f"http://127.0.0.1:{port}/api/models", headers=headers, timeout=60)  # it knows a model once it listed them
            yield _openai_target(port, server, "/api/chat/completions", model, headers)


TARGETS: dict[str, Callable[[str], AbstractContextManager[Target]]] = {
    "aliquot": aliquot, "relay": relay, "litellm": litellm, "openwebui": openwebui,
}  # fmt: skip


def _openai_target(port: int, server: int, path: str, model: str, headers: dict[str, str]) -> Target:
    def ask(conversation: str, key: str, messages: Messages) -> Call:
        del conversation, key
        return Call("POST", path, {"model": model, "stream": True, "messages": messages}, headers)

    return Target(port, server, openai, ask)


@contextmanager
def _upstream(model: str) -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.upstream", str(port), model], cwd=ROOT)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@contextmanager
def _peer(command: list[str], health: str, folder: str, env: dict[str, str]) -> Iterator[int]:
    """A peer's own command in its own environment, with nothing of ours in it; its first process."""
    clean: dict[str, Any] = {"PATH": f"{Path(command[0]).parent}:{os.environ['PATH']}", **env}
    with Path(folder, "log").open("wb") as log:
        process = Process(subprocess.Popen(command, cwd=folder, env=clean, stdout=log, stderr=log))
    try:
        _ready(process, health)
        yield process.popen.pid
    finally:
        process.popen.terminate()
        try:
            process.popen.wait(20)
        except subprocess.TimeoutExpired:
            process.popen.kill()
            process.popen.wait()


def _ready(process: Process, health: str) -> None:
    """As `streams.started` waits, but until the answer is 200: peers answer before they are ready."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.popen.poll() is None:
        try:
            if httpx2.get(health, timeout=2).status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"{process.popen.args!r} did not become ready")


def _environment(variable: str) -> str:
    folder = os.environ.get(variable)
    if folder is None:
        raise SystemExit(f"{variable} must name the peer's virtual environment: see benchmarks/peers/README.md")
    return folder
