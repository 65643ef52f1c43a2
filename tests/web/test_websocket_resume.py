"""Drops, reconnects and slow readers: nothing lost, nothing doubled, nobody else slowed."""

import asyncio
import random
from typing import Any

from aliquot.platform.settings import Limits
from tests.chat.conftest import MODELS, model_host, model_server, model_site  # noqa: F401 - fixtures
from tests.conftest import Urls
from tests.peers.models_server import ModelServer, Turn
from tests.site import Seeded, Site, running_site, seeded, seeded_urls, site  # noqa: F401 - fixtures
from tests.web.sockets import Frame, connected, share, token

WORDS = " ".join(f"word{n}" for n in range(60))


def numbered(frames: list[Frame]) -> list[tuple[str, int]]:
    return [(frame["run_id"], frame["seq"]) for frame in frames if "seq" in frame]


async def test_dropped_in_the_middle_and_resumed_again_and_again(model_site: Site, model_server: ModelServer) -> None:  # noqa: F811
    model_server.script(Turn(text=WORDS, itl=0.005), Turn(text="Second.", itl=0.01))
    scientist, reviewer = await model_site.client("scientist"), await model_site.client("reviewer")
    made = (await scientist.post("/api/conversations", json={"title": "Drops"})).json()["id"]
    await share(model_site, made, "reviewer")
    heard: list[Frame] = []
    after: dict[str, int] = {}
    chance = random.Random(7)
    async with connected(model_site, token(scientist), made) as asker:
        await asker.until("connection")
        async with connected(model_site, token(reviewer), made) as watcher:
            after = (await watcher.until("connection"))["after"]
        await asker.send("message", content="Go on")
        ended = 0
        while ended < 2:
            async with connected(model_site, token(reviewer), made) as watcher:
                await watcher.until("connection")
                await watcher.send("resume", after=after)
                for _ in range(chance.randrange(1, 12)):
                    frame = await watcher.next()
                    if "seq" in frame:
                        heard.append(frame)
                        after[frame["run_id"]] = frame["seq"]
                        ended += frame["type"] == "message_complete"
                        if frame["type"] == "message_complete" and ended == 1:
                            await asker.send("message", content="And now?")
                        if ended == 2:
                            break
        while len(asker.of("message_complete")) < 2:
            await asker.next()
    assert len(numbered(heard)) == len(set(numbered(heard)))
    assert [f for f in asker.heard if "seq" in f] == heard
    assert "".join(f["text"] for f in heard if f["type"] == "text_delta") == WORDS + "Second."


async def test_what_goes_on_is_sent_after_a_plain_resume_and_its_end_in_any_case(
    model_site: Site,  # noqa: F811
    model_server: ModelServer,  # noqa: F811
) -> None:
    model_server.script(Turn(text=WORDS, itl=0.02))
    client = await model_site.client("scientist")
    async with connected(model_site, token(client), "late") as asker:
        await asker.send("message", content="Count")
        run = (await asker.until("text_delta"))["run_id"]
        async with connected(model_site, token(client), "late") as refreshed, connected(model_site, token(client), "late") as silent:
            assert (await refreshed.until("connection"))["after"] == {run: -1}
            await silent.until("presence")
            await refreshed.send("resume")
            await refreshed.send("resume")  # again: nothing twice
            last = await refreshed.until("message_complete")
            assert refreshed.seqs(run) == list(range(last["seq"] + 1))
            alone = await silent.until("message_complete")
            assert alone == {key: value for key, value in last.items() if key not in ("run_id", "seq")}
    async with connected(model_site, token(client), "late") as later:
        assert (await later.until("connection"))["after"] == {run: last["seq"]}
        await later.send("resume", after={run: last["seq"] - 2})
        assert [(await later.until("done"))["seq"], (await later.until("message_complete"))["seq"]] == [last["seq"] - 1, last["seq"]]
        await later.send("resume", after={run: -1})  # one connection hears nothing twice
        await later.send("ping", id=1)
        await later.until("pong")
        assert later.seqs(run) == [last["seq"] - 1, last["seq"]]


async def test_a_message_with_a_client_id_is_accepted_once(model_site: Site, model_server: ModelServer) -> None:  # noqa: F811
    model_server.script(Turn(text="Once."), Turn(text="never"))
    client = await model_site.client("scientist")
    async with connected(model_site, token(client), "queue") as ws:
        await ws.send("message", content="Do it", client_id="c-1")
        first = await ws.until("accepted")
        await ws.until("message_complete")
    async with connected(model_site, token(client), "queue") as ws:
        after = (await ws.until("connection"))["after"]
        await ws.send("resume", after=after)
        await ws.send("message", content="Do it", clientId="c-1")  # the offline queue plays it again
        again = await ws.until("accepted")
        assert (again["run_id"], again["client_id"]) == (first["run_id"], "c-1")
        await ws.send("message", content="Do something else", client_id="c-1")
        refused = await ws.until("error")
        assert (refused["code"], refused["client_id"]) == ("idempotency_mismatch", "c-1")
        await ws.send("ping")
        await ws.until("pong")
        assert numbered(ws.heard) == []
    assert len(model_server.requests) == 1
    posted = await client.post("/api/conversations/queue/messages", json={"content": "Do it"}, headers={"Idempotency-Key": "c-1"})
    assert posted.json()["run_id"] == first["run_id"]  # the same over HTTP


def held(running: Site, role: str) -> asyncio.Event:
    """Until the event is set, the network takes nothing more for the connection of this person: nobody reads at the other end."""
    (connection,) = [c for c in running.services.live._connections if c.principal.id == running.people[role]]
    reading, take = asyncio.Event(), connection.outbox.take

    async def when_read() -> list[str]:
        await reading.wait()
        return await take()

    connection.outbox.take = when_read  # type: ignore[method-assign]
    return reading


async def test_a_slow_reader_is_told_to_resume_and_slows_nobody(
    seeded_urls: Urls,  # noqa: F811
    seeded: Seeded,  # noqa: F811
    tmp_path: Any,
    model_server: ModelServer,  # noqa: F811
) -> None:
    path = tmp_path / "models.toml"
    path.write_text(MODELS.format(url=model_server.openai_url))
    limits = Limits(live_queue_frames=10)
    model_server.script(*[Turn(text=WORDS, itl=0.005) for _ in range(4)])
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, models=path, limits=limits) as running:
        client = await running.client("scientist")
        reviewer = await running.client("reviewer")
        made = (await client.post("/api/conversations", json={"title": "Slow"})).json()["id"]
        await share(running, made, "reviewer")
        async with connected(running, token(client), made) as quick, connected(running, token(reviewer), made) as slow:
            await slow.until("presence")
            await quick.until("presence")
            reading = held(running, "reviewer")
            for _ in range(2):
                await quick.send("message", content="Much")
                await quick.until("message_complete")
            reading.set()
            told = await slow.until("error")
            assert (told["code"], told["retryable"]) == ("resume", True)
            for question in ("more", "and more"):  # going on while it resumes
                await quick.send("message", content=question)
            await slow.send("resume", after=slow.after)
            for ws in (slow, quick):
                while len(ws.of("message_complete")) < 4:
                    await ws.next()
            for run in {frame["run_id"] for frame in quick.of("message")}:
                told = [[f for f in ws.heard if f.get("run_id") == run] for ws in (slow, quick)]
                assert told[0] == told[1]


async def test_a_storm_of_reconnects_loses_and_doubles_nothing(model_site: Site, model_server: ModelServer) -> None:  # noqa: F811
    model_server.script(*[Turn(text=WORDS, itl=0.002) for _ in range(3)])
    client = await model_site.client("scientist")
    made = (await client.post("/api/conversations", json={"title": "Storm"})).json()["id"]
    asked = asyncio.Event()

    async def one(seed: int) -> list[Frame]:
        chance, heard, after, ended = random.Random(seed), [], {}, 0
        while ended < 3:
            async with connected(model_site, token(client), made) as ws:
                greeting = await ws.until("connection")
                after = after or greeting["after"]
                await ws.send("resume", after=after)
                if seed == 0 and not asked.is_set():
                    for _ in range(3):
                        await ws.send("message", content="All at once")
                    asked.set()
                for _ in range(chance.randrange(5, 60)):
                    frame = await ws.next()
                    if "seq" in frame:
                        heard.append(frame)
                        after[frame["run_id"]] = frame["seq"]
                        ended += frame["type"] == "message_complete"
                        if ended == 3:
                            break
        return heard

    told = await asyncio.gather(*[one(seed) for seed in range(8)])
    for heard in told:
        runs = {frame["run_id"] for frame in heard}
        assert len(runs) == 3
        for run in runs:
            seqs = [frame["seq"] for frame in heard if frame["run_id"] == run]
            assert seqs == list(range(len(seqs)))
            assert "".join(f["text"] for f in heard if f["type"] == "text_delta" and f["run_id"] == run) == WORDS
