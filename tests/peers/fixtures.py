"""Pytest fixtures of the peers. A conftest that wants them imports them: `from tests.peers.fixtures import model_host, model_server`."""

from collections.abc import Iterator

import pytest

from tests.peers.models_server import ModelHost, ModelServer


@pytest.fixture(scope="session")
def model_host() -> Iterator[ModelHost]:
    """The thread the fake providers of this test process live in."""
    with ModelHost() as host:
        yield host


@pytest.fixture
def model_server(model_host: ModelHost) -> ModelServer:
    """A fake language-model provider of one test, on a loopback port."""
    return model_host.server()
