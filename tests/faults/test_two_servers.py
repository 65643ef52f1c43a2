"""Two `aliquot serve` processes on one database, with a real Valkey; one of them is killed while an answer is written."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.conftest import PATIENCE, Urls
from tests.faults.conftest import ServerProcess
from tests.peers.models_server import ModelServer, Turn
from tests.peers.valkey import ValkeyProcess, valkey  # noqa: F401 - fixture
from tests.site import Seeded, seeded, seeded_urls  # noqa: F401 - fixtures

MODELS = '[[models]]\nname = "fake"\nprovider = "openai-compatible"\nbase_url = "{url}"\nmodel = "fake"\ncontext_tokens = 32768\n'


@pytest.fixture
def servers(
    seeded_urls: Urls,  # noqa: F811
    seeded: Seeded,  # noqa: F811
    valkey: ValkeyProcess,  # noqa: F811
    model_server: ModelServer,
    tmp_path: Path,
) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    models = tmp_path / "models.toml"
    models.write_text(MODELS.format(url=model_server.openai_url))
    with tempfile.TemporaryDirectory(prefix="aliquot-servers-") as folder:
        made = []
        for name in ("one", "two"):
            data = Path(folder) / name / "data"
            shutil.copytree(seeded.keys, data / "keys")
            environment = {
                "DATABASE_URL_APP": seeded_urls.app, "DATABASE_URL_SEQUENCER": seeded_urls.sequencer,
                "DATABASE_URL_READER": seeded_urls.reader, "VALKEY_URL": valkey.url, "ALIQUOT_MODELS": str(models),
            }  # fmt: skip
            made.append(ServerProcess(data, **environment))
        with ThreadPoolExecutor() as both:
            list(both.map(ServerProcess.start, made))
        yield made[0], made[1]
        for server in made:
            if server.process is not None and server.process.poll() is None:
                server.stop()


def opened(server: ServerProcess, token: str, conversation: str) -> ClientConnection:
    return connect(f"{server.url.replace('http', 'ws')}/ws/chat/{conversation}?token={token}")


def read(ws: ClientConnection, until: str, heard: list[dict[str, Any]]) -> None:
    while not heard or heard[-1]["type"] != until:
        heard.append(json.loads(ws.recv(timeout=PATIENCE)))


def numbers(heard: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(frame["run_id"], frame["seq"]) for frame in heard if "seq" in frame]


def test_a_client_of_a_killed_server_goes_on_at_the_other(servers: tuple[ServerProcess, ServerProcess], model_server: ModelServer) -> None:
    one, two = servers
    words = " ".join(f"w{n}" for n in range(200))
    model_server.script(Turn(text=words, itl=0.01))
    client = two.client()
    token = client.headers["Authorization"].removeprefix("Bearer ")
    made = client.post("/api/conversations", json={"title": "Two"}).json()["id"]
    here: list[dict[str, Any]] = []
    there: list[dict[str, Any]] = []
    with opened(two, token, made) as asker:
        with opened(one, token, made) as watcher:
            read(watcher, "presence", there)
            asker.send(json.dumps({"type": "message", "content": "Count"}))
            read(watcher, "text_delta", there)
            one.kill()
        after = {frame["run_id"]: frame["seq"] for frame in there if "seq" in frame}
        with opened(two, token, made) as again:
            again.send(json.dumps({"type": "resume", "after": after}))
            read(again, "message_complete", there)
        read(asker, "message_complete", here)
    assert numbers(there) == numbers(here)
    assert here[-1]["content"] == words == "".join(frame["text"] for frame in there if frame["type"] == "text_delta")
