"""The model layer on a real database, in front of the fake provider, with time that passes when somebody waits."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aliquot.ledger.api import LedgerApi
from aliquot.models.api import ModelsApi
from aliquot.models.config import ModelConfig
from aliquot.models.lanes import Waiting
from aliquot.platform.db import Database
from aliquot.platform.settings import Limits, Settings
from aliquot.platform.vault import Vault
from tests.peers.fixtures import model_host, model_server  # noqa: F401 - fixtures
from tests.peers.models_server import ModelServer


@dataclass
class Time:
    """Monotonic time that moves only by the waits of the retry machinery."""

    at: float = 1_000.0
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.at += seconds

    @property
    def waiting(self) -> Waiting:
        return Waiting(monotonic=lambda: self.at, sleep=self.sleep, jitter=lambda: 0.5)


@dataclass
class Bench:
    """Makes ModelsApi objects: several stand for several processes."""

    database: Database
    vault: Vault
    clock: Any
    server: ModelServer
    folder: Path
    time: Time = field(default_factory=Time)
    made: list[ModelsApi] = field(default_factory=list)

    def model(self, name: str = "fake", provider: str = "openai-compatible", **values: Any) -> ModelConfig:
        url = self.server.openai_url if provider.startswith("openai") else self.server.url
        defaults: dict[str, Any] = {"name": name, "provider": provider, "model": "fake", "base_url": url, "tools": True, "idle_seconds": 5}
        if provider == "bedrock":
            defaults["aws_region"] = "eu-central-1"
        return ModelConfig(**{**defaults, **values})

    def api(self, *models: ModelConfig, **limits: Any) -> ModelsApi:
        settings = Settings(data_dir=self.folder, limits=Limits(**limits))
        ledger = LedgerApi(self.vault, self.clock)
        api = ModelsApi(settings, self.database, ledger, self.clock, models=models or (self.model(),), waiting=self.time.waiting)
        self.made.append(api)
        return api


@pytest.fixture
async def bench(
    database: Database,
    vault: Vault,
    clock: Any,
    model_server: ModelServer,  # noqa: F811 - the fixture imported above
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Bench]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bench = Bench(database, vault, clock, model_server, tmp_path)
    yield bench
    for api in bench.made:
        await api.close()


Ask = Callable[..., Any]
