"""What a request used is freed at its end: a server whose requests wait for the garbage collector grows between its rare looks."""

import gc

from tests.chat.conftest import ask
from tests.site import Site, seeded, seeded_urls, site  # noqa: F401 - fixtures

_REQUESTS = 20
_PER_REQUEST = 5
"""Objects in cycles; a request that holds itself leaves thirty."""


async def test_requests_leave_no_work_to_the_garbage_collector(site: Site) -> None:  # noqa: F811
    scientist = await site.client("scientist")
    await scientist.get("/api/instruments")
    run = (await ask(scientist, "Is PCR-02 ready?")).run_id
    for path in ("/api/instruments", f"/api/runs/{run}/events", "/api/instruments/NOPE-9/status"):
        await scientist.get(path)  # what is imported or kept at the first time
        gc.collect()
        gc.disable()
        try:
            for _ in range(_REQUESTS):
                await scientist.get(path)
            left = gc.collect()
        finally:
            gc.enable()
        assert left < _REQUESTS * _PER_REQUEST, (path, left)
