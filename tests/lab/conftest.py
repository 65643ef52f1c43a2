from collections.abc import Callable

import pytest

from aliquot.platform.db import Database
from aliquot.platform.vault import Vault
from tests.conftest import ManualClock
from tests.lab.bench import Bench


@pytest.fixture
async def bench(database: Database, vault: Vault, clock: ManualClock) -> Bench:
    made = Bench(database, clock, vault)
    await made.furnish()
    return made


@pytest.fixture
def make_bench(database: Database, vault: Vault, clock: ManualClock) -> Callable[..., Bench]:
    return lambda **options: Bench(database, clock, vault, **options)
