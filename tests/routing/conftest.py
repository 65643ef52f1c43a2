import pytest
from router_world import Asked, asked


@pytest.fixture
def ask() -> Asked:
    return asked()
