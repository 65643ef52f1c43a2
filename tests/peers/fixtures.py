"""Pytest fixtures of the peers. Use: `pytest_plugins = ["tests.peers.fixtures"]`, or import the fixture."""

from collections.abc import Iterator

import pytest

from tests.peers.models_server import ModelServer


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    """A fake language-model provider on a loopback port."""
    server = ModelServer().start()
    yield server
    server.stop()
