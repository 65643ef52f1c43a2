"""What a request used is freed at its end: a server whose requests wait for the garbage collector grows between its rare looks."""

import asyncio
import gc

from tests.chat.conftest import ask, model_host, model_server, model_site  # noqa: F401 - fixtures
from tests.peers.models_server import ModelServer, Turn
from tests.site import Site, seeded, seeded_urls, site  # noqa: F401 - fixtures

_REQUESTS = 20
_PER_REQUEST = 5
"""Objects in cycles; a request that holds itself leaves thirty."""


_SOCKETS = 20
"""Of these, what asyncio itself leaves of the two ends of a connection that is cut."""


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


async def test_streams_that_are_cut_leave_none_either(model_site: Site, model_server: ModelServer) -> None:  # noqa: F811
    model_server.script(Turn(text=" ".join(f"w{i}" for i in range(2_000)), itl=0.02))
    scientist = await model_site.client("scientist")
    run = (await scientist.post("/api/conversations/long/messages", json={"content": "Count"})).json()["run_id"]

    async def cut() -> None:
        async with scientist.stream("GET", f"/api/runs/{run}/events") as response:
            await anext(response.aiter_raw())

    async def served() -> None:
        while any("run_asgi" in repr(task) for task in asyncio.all_tasks()):  # noqa: ASYNC110 - the server's own tasks: only looking tells
            await asyncio.sleep(0)

    await cut()
    await served()
    gc.collect()
    gc.disable()
    try:
        for _ in range(_REQUESTS):
            await cut()
        await served()
        left = gc.collect()
    finally:
        gc.enable()
    assert left < _REQUESTS * (_PER_REQUEST + _SOCKETS), left
