"""A site in front of the fake provider, and a reader of run events."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import Urls
from tests.peers.fixtures import model_host, model_server  # noqa: F401 - fixtures
from tests.peers.models_server import ModelServer
from tests.site import Seeded, Site, running_site, seeded, seeded_urls, site  # noqa: F401 - fixtures


@dataclass
class Event:
    kind: str
    seq: int
    data: dict[str, Any]


@dataclass
class Heard:
    """What a client heard of one run."""

    events: list[Event] = field(default_factory=list)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.kind == kind]

    @property
    def text(self) -> str:
        return "".join(data["text"] for data in self.of("text_delta"))

    @property
    def run_id(self) -> str:
        return str(self.events[0].data["run_id"])


def parse(text: str) -> list[Event]:
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "data" in fields:
            events.append(Event(fields.get("event", ""), int(fields.get("id", 0)), json.loads(fields["data"])))
    return events


async def hear(client: httpx2.AsyncClient, run_id: str, after: int = 0, **headers: str) -> Heard:
    """Follow a run to its end."""
    answer = await client.get(f"/api/runs/{run_id}/events", params={"after": after}, headers=headers)
    assert answer.status_code == 200, answer.text
    return Heard(parse(answer.text))


async def ask(client: httpx2.AsyncClient, message: str, conversation: str | None = None, **headers: str) -> Heard:
    """Ask over the native stream and hear the whole answer."""
    body = {"message": message} | ({"conversation_id": conversation} if conversation else {})
    answer = await client.post("/api/chat/stream", params={"format": "events"}, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    heard = Heard(parse(answer.text))
    assert [event.seq for event in heard.events] == list(range(1, len(heard.events) + 1))
    return heard


MODELS = """
[[models]]
name = "fake"
provider = "openai-compatible"
base_url = "{url}"
model = "fake"
context_tokens = 32768
tools = true
patient_data = true
price_per_million_tokens = {{ input = 1.0, output = 2.0, currency = "USD" }}
"""


@pytest.fixture
async def model_site(seeded_urls: Urls, seeded: Seeded, tmp_path: Path, model_server: ModelServer) -> AsyncIterator[Site]:  # noqa: F811
    """A site whose only model is the fake provider."""
    path = tmp_path / "models.toml"
    path.write_text(MODELS.format(url=model_server.openai_url))
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, models=path))
