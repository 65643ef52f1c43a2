"""kill -9 of the server: nothing committed is lost, nothing is done twice (DESIGN §4, crash rule)."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import PATIENCE
from tests.faults.conftest import ServerProcess
from tests.peers.models_server import ModelServer, ToolCall, Turn

MODELS = """
[[models]]
name = "fake"
provider = "openai-compatible"
base_url = "{url}"
model = "fake"
context_tokens = 32768
tools = true
"""


@pytest.fixture
def with_model(server: ServerProcess, tmp_path: Path, model_server: ModelServer) -> ServerProcess:
    path = tmp_path / "models.toml"
    path.write_text(MODELS.format(url=model_server.openai_url))
    server.env["ALIQUOT_MODELS"] = str(path)
    return server.start()


def events(client: httpx2.Client, run_id: str, until: Any) -> list[dict[str, Any]]:
    """Poll a run's log until `until(events)`."""
    deadline = time.monotonic() + PATIENCE
    heard: list[dict[str, Any]] = []
    while time.monotonic() < deadline:
        page = client.get(f"/api/runs/{run_id}/events", params={"after": len(heard), "wait": 1}, headers={"accept": "application/json"})
        heard += page.json()["events"]
        if until(heard):
            assert [e["seq"] for e in heard] == list(range(1, len(heard) + 1))
            return heard
    raise AssertionError(f"never came: {[e['type'] for e in heard]}")


def ended(heard: list[dict[str, Any]]) -> bool:
    return bool(heard) and heard[-1]["type"] in ("done", "error")


@pytest.mark.rule("ALCOA complete")
def test_killed_after_the_first_text_the_partial_answer_is_kept(with_model: ServerProcess, model_server: ModelServer) -> None:
    model_server.script(Turn(text=" ".join(f"w{i}" for i in range(400)), itl=0.02), Turn(text="never"))
    client = with_model.client()
    run = client.post("/api/conversations/killed/messages", json={"content": "Count to 400"}).json()["run_id"]
    before = events(client, run, lambda heard: any(e["type"] == "text_delta" for e in heard))
    with_model.kill()
    with_model.start()
    after = events(client, run, ended)
    assert after[: len(before)] == before
    resumed = client.get(f"/api/runs/{run}/events", headers={"Last-Event-ID": str(len(before))}).text  # from a server started since
    assert [line for line in resumed.split("\n") if line.startswith("id: ")] == [f"id: {e['seq']}" for e in after[len(before) :]]
    assert (after[-1]["type"], after[-1]["code"]) == ("error", "interrupted")
    assert client.get(f"/api/runs/{run}").json()["state"] == "failed"
    question, answer = reversed(client.get("/api/conversations/killed/messages").json()["items"])
    assert question["content"] == "Count to 400"
    assert answer["incomplete"] is True
    assert answer["content"] == "".join(e["text"] for e in after if e["type"] == "text_delta")
    assert len(model_server.requests) == 1


def test_killed_before_the_first_text_the_step_is_repeated_once(with_model: ServerProcess, model_server: ModelServer) -> None:
    model_server.script(Turn(text="never heard", ttft=60), Turn(text="Second time."))
    client = with_model.client()
    run = client.post("/api/conversations/early/messages", json={"content": "Hello"}).json()["run_id"]
    deadline = time.monotonic() + PATIENCE
    while not model_server.requests and time.monotonic() < deadline:
        time.sleep(0.02)  # polling the peer
    with_model.kill()
    with_model.start()
    heard = events(client, run, ended)
    assert "resumed" in [e["code"] for e in heard if e["type"] == "notice"]
    assert "".join(e["text"] for e in heard if e["type"] == "text_delta") == "Second time."
    assert heard[-1]["state"] == "done"


def test_killed_while_waiting_for_a_person_the_approval_still_stands_and_acts_once(
    with_model: ServerProcess, model_server: ModelServer
) -> None:
    start = ToolCall(name="start_run", arguments={"instrument": "PCR-02", "protocol": "PCR-STD-35"})
    model_server.script(Turn(tool_calls=(start,)), Turn(text="Started."))
    client = with_model.client()
    run = client.post("/api/conversations/approve/messages", json={"content": "Start it"}).json()["run_id"]
    heard = events(client, run, ended)
    approval = next(e["approval_id"] for e in heard if e["type"] == "approval_required")
    with_model.kill()
    with_model.start()
    decided = client.post(f"/api/approvals/{approval}/decision", json={"decision": "approve"})
    assert decided.status_code == 202
    with_model.kill()  # at an arbitrary point of the continuing run
    with_model.start()
    followed = events(client, decided.json()["run_id"], ended)
    assert followed[-1]["type"] == "done"
    runs = client.get("/api/instruments/PCR-02/runs").json()["items"]
    started = [r for r in runs if r["state"] in ("warming_up", "running")]
    outcomes = {e["outcome"] for e in followed if e["type"] == "tool_call_end"}
    assert len(started) == (1 if "ok" in outcomes else len(started))
    assert len(started) <= 1
    again = client.post(f"/api/approvals/{approval}/decision", json={"decision": "approve"})
    assert again.status_code == 409


@pytest.mark.rule("11.10(a)", "11.10(b)")
def test_the_main_job_from_an_empty_folder_to_a_verified_export(first_server: ServerProcess, tmp_path: Path) -> None:
    """No model: ask, act with confirmation, kill, restart, export, verify, tamper, verify."""
    server = first_server.start()
    client = server.client()
    answer = client.post("/api/chat/completion", json={"message": "Is PCR-02 ready?"}).json()
    assert "PCR-02" in answer["message"]["content"]
    asked = client.post("/api/chat/completion", json={"message": "Start PCR-STD-35 on PCR-02"}).json()
    client.post(f"/api/approvals/{asked['approval']['id']}/decision", json={"decision": "approve"})
    server.kill()
    server.start()
    deadline = time.monotonic() + PATIENCE
    while client.get("/api/instruments/PCR-02/status").json()["state"] == "idle" and time.monotonic() < deadline:
        time.sleep(0.05)  # the continuing run was taken over by the second server
    assert client.get("/api/instruments/PCR-02/status").json()["state"] in ("warming_up", "running")
    reviewer = server.client("reviewer")
    bundle = tmp_path / "bundle.zip"
    exported = reviewer.post("/api/audit/export", json={})
    assert exported.status_code == 200, exported.text
    bundle.write_bytes(exported.content)
    assert verify(bundle) == 0
    tampered = tmp_path / "tampered.zip"
    tamper(bundle, tampered)
    assert verify(tampered) != 0
    assert server.stop() == 0
    status = server.run("doctor")
    assert "not running" in status.stdout


def test_a_refused_second_server_leaves_the_first_one_and_its_database_alone(server: ServerProcess) -> None:
    server.start()
    client = server.client()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        other = free.getsockname()[1]
    second = server.run("serve", "--port", str(other))
    assert second.returncode == 2
    assert "is using the data folder" in second.stderr
    taken = server.run("serve")
    assert taken.returncode == 2
    assert "cannot be used" in taken.stderr
    assert client.get("/api/health").json()["status"] == "ok"
    assert client.get("/api/instruments").status_code == 200
    assert "running, version" in server.run("doctor").stdout


def test_sigterm_stops_the_server_and_its_database(server: ServerProcess) -> None:
    server.start()
    assert server.process is not None
    server.process.terminate()
    assert server.process.wait(PATIENCE) == 0
    assert not (server.folder / "pg" / "postmaster.pid").exists()
    server.start()


def test_a_database_that_goes_away_is_said_and_comes_back(server: ServerProcess) -> None:
    server.start()
    client = server.client()
    postmaster = int((server.folder / "pg" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGQUIT)
    deadline = time.monotonic() + PATIENCE
    while (answer := client.get("/api/health")).status_code != 503 and time.monotonic() < deadline:
        time.sleep(0.05)  # polling a process that is going
    assert answer.json()["parts"]["database"]["status"] == "down"
    refused = client.post("/api/chat/completion", json={"message": "Is PCR-02 ready?"})
    assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
    assert server.stop() == 0
    server.start()
    assert server.client().post("/api/chat/completion", json={"message": "Is PCR-02 ready?"}).status_code == 200


def verify(path: Path) -> int:
    return subprocess.run([sys.executable, "-m", "aliquot_verify", str(path)], capture_output=True, check=False).returncode


def tamper(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "events.jsonl":
                lines = data.split(b"\n")
                event = json.loads(lines[2])
                event["actor"] = "somebody else"
                lines[2] = json.dumps(event).encode()
                data = b"\n".join(lines)
            new.writestr(name, data)
