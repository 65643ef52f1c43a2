"""One conversation over two servers on one database: with Valkey at once, without it, or while it is away, by looking into the log."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from valkey.asyncio import Valkey

from aliquot.chat.contracts import StoredEvent
from aliquot.chat.emitter import conversation_channel
from tests.chat.conftest import MODELS, model_host, model_server  # noqa: F401 - fixtures
from tests.conftest import Urls
from tests.peers.models_server import ModelServer, Turn
from tests.peers.valkey import ValkeyProcess, valkey  # noqa: F401 - fixture
from tests.platform.test_bus import until
from tests.site import Seeded, Site, running_site, seeded, seeded_urls  # noqa: F401 - fixtures
from tests.web.sockets import Socket, connected, share, token

WORDS = " ".join(f"word{n}" for n in range(40))


@asynccontextmanager
async def two_sites(urls: Urls, seeded: Seeded, folder: Path, models: ModelServer, **environment: str) -> AsyncIterator[tuple[Site, Site]]:  # noqa: F811
    path = folder / "models.toml"
    path.write_text(MODELS.format(url=models.openai_url))
    async with AsyncExitStack() as stack:
        sites = [
            await stack.enter_async_context(
                running_site(urls, folder / name, seeded, shutdown_seconds=0.2, models=path, **environment)  # type: ignore[arg-type]
            )
            for name in ("one", "two")
        ]
        yield sites[0], sites[1]


@asynccontextmanager
async def eavesdropping(url: str) -> AsyncIterator[list[bytes]]:
    """Everything that passes through Valkey."""
    overheard: list[bytes] = []

    async def listen() -> None:
        async for message in pubsub.listen():
            overheard.append(b"".join(part for part in message.values() if isinstance(part, bytes)))  # noqa: PERF401 - as they come

    client = Valkey.from_url(url)
    pubsub = client.pubsub()
    await pubsub.psubscribe("*")
    listening = asyncio.create_task(listen())
    try:
        yield overheard
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await pubsub.aclose()
        await client.aclose()


def answers(ws: Socket) -> list[tuple[str, int, str]]:
    return [(frame["run_id"], frame["seq"], frame["type"]) for frame in ws.heard if "seq" in frame]


async def test_with_valkey_two_servers_are_one_and_its_death_only_slows_them(
    seeded_urls: Urls,  # noqa: F811
    seeded: Seeded,  # noqa: F811
    tmp_path: Path,
    model_server: ModelServer,  # noqa: F811
    valkey: ValkeyProcess,  # noqa: F811
) -> None:
    model_server.script(*[Turn(text=WORDS, itl=0.01) for _ in range(3)])
    async with two_sites(seeded_urls, seeded, tmp_path, model_server, VALKEY_URL=valkey.url) as (one, two):
        links = [site.services.link for site in (one, two)]
        await until(lambda: all(link is not None and link.up for link in links))
        scientist, reviewer = await one.client("scientist"), await two.client("reviewer")
        made = (await scientist.post("/api/conversations", json={"title": "Two"})).json()["id"]
        await share(one, made, "reviewer")
        announced: list[StoredEvent] = []
        two.services.chat.events.on(conversation_channel(made), announced.append)
        async with (
            eavesdropping(valkey.url) as overheard,
            connected(one, token(scientist), made) as mine,
            connected(two, token(reviewer), made) as theirs,
        ):
            for ws in (mine, theirs):  # each server knows of the people of the other
                while not ws.of("presence") or len(ws.of("presence")[-1]["users"]) < 2:
                    await ws.until("presence")
            await mine.send("typing")
            assert (await theirs.until("typing"))["user"]["id"] == str(one.people["scientist"])
            await mine.send("message", content="Everything well?")
            last = await theirs.until("message_complete")
            await mine.until("message_complete")
            assert last["content"] == WORDS
            assert [event.kind for event in announced] == ["run_started"], "it came over the link, not out of the log"
            assert len(overheard) > 10
            for secret in (b"word1", b"Everything well", mine.heard[0]["user"]["name"].encode(), mine.heard[0]["user"]["id"].encode()):
                assert secret not in b"".join(overheard)
            await theirs.send("message", content="And while it dies?")
            await mine.until("text_delta")
            valkey.kill()
            for ws in (mine, theirs):
                assert (await ws.until("message_complete"))["content"] == WORDS
            valkey.start()
            await until(lambda: all(link is not None and link.up for link in links))
            await mine.send("message", content="And now?")
            for ws in (mine, theirs):
                await ws.until("message_complete")
            assert answers(mine) == answers(theirs)
            assert len(mine.of("message")) == 3
            await theirs.raw.close()
            assert [u["id"] for u in (await mine.until("presence"))["users"]] == [str(one.people["scientist"])]


async def test_without_valkey_the_log_is_looked_into(
    seeded_urls: Urls,  # noqa: F811
    seeded: Seeded,  # noqa: F811
    tmp_path: Path,
    model_server: ModelServer,  # noqa: F811
) -> None:
    model_server.script(Turn(text=WORDS, itl=0.002))
    async with two_sites(seeded_urls, seeded, tmp_path, model_server) as (one, two):
        client = await one.client("scientist")
        made = (await client.post("/api/conversations", json={"title": "Log"})).json()["id"]
        async with connected(one, token(client), made) as here, connected(two, token(client), made) as there:
            await there.until("presence")
            await here.send("message", content="Do you hear me?")
            for ws in (here, there):
                assert (await ws.until("message_complete"))["content"] == WORDS
            assert answers(here) == answers(there)
