from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aliquot.platform.db import Database
from aliquot.platform.vault import Vault
from tests.tools.tool_world import FakeTool, World, make_world


@pytest.fixture
def world(database: Database, vault: Vault, clock: Any, tmp_path: Path) -> Callable[..., World]:
    """Makes a World of the given tools; limits as keyword arguments."""

    def make(*tools: FakeTool, **limits: Any) -> World:
        return make_world(database, vault, clock, tmp_path, *tools, **limits)

    return make
