import pytest

from tests.routing.router_world import Asked, asked


@pytest.fixture
def ask() -> Asked:
    return asked()
