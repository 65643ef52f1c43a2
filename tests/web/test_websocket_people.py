"""Several people in one shared conversation, and what ends a connection while it stands."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import websockets

from aliquot.chat.live.outbox import Outbox
from aliquot.platform.settings import Limits
from tests.chat.conftest import model_host, model_server, model_site  # noqa: F401 - fixtures
from tests.conftest import PATIENCE, Urls
from tests.peers.models_server import ModelServer, Turn
from tests.site import Seeded, Site, running_site, seeded, seeded_urls, site  # noqa: F401 - fixtures
from tests.web.sockets import connected, share, token, unshare


async def test_everybody_in_a_conversation_sees_the_same(model_site: Site, model_server: ModelServer) -> None:  # noqa: F811
    model_server.script(Turn(text="one two three", itl=0.01), Turn(text="four five six", itl=0.01))
    scientist, reviewer = await model_site.client("scientist"), await model_site.client("reviewer")
    made = (await scientist.post("/api/conversations", json={"title": "Together"})).json()["id"]
    await share(model_site, made, "reviewer")
    async with connected(model_site, token(scientist), made) as mine, connected(model_site, token(reviewer), made) as theirs:
        await theirs.until("presence")
        while len(mine.heard[-1]["users"] if mine.of("presence") else ()) < 2:
            await mine.until("presence")
        assert [u["id"] for u in mine.heard[-1]["users"]] == [u["id"] for u in theirs.of("presence")[-1]["users"]]
        await mine.send("typing")
        assert (await theirs.until("typing"))["user"]["id"] == str(model_site.people["scientist"])
        await mine.send("typing", active=False)
        assert (await theirs.until("typing"))["active"] is False
        for asker in (mine, theirs):  # each asks once, both hear both
            await asker.send("message", content=f"Question of {id(asker)}")
            await mine.until("message_complete")
            await theirs.until("message_complete")
        told = [[f for f in ws.heard if "run_id" in f] for ws in (mine, theirs)]
        assert told[0] == told[1]
        assert [f["user"]["id"] for f in mine.of("message")] == [str(model_site.people[r]) for r in ("scientist", "reviewer")]
        assert not mine.of("typing")
        await theirs.raw.close()
        assert [u["id"] for u in (await mine.until("presence"))["users"]] == [str(model_site.people["scientist"])]


async def test_two_tabs_of_a_conversation_that_does_not_exist_yet(model_site: Site, model_server: ModelServer) -> None:  # noqa: F811
    model_server.script(Turn(text="Hello."))
    client = await model_site.client("scientist")
    async with connected(model_site, token(client), "new") as first, connected(model_site, token(client), "new") as second:
        assert (await second.next())["conversation_id"] is None
        await first.send("message", content="Hi")
        done = await first.until("message_complete")
        await model_site.services.live.recheck()  # the loop that runs every few seconds
        again = await second.until("message_complete")
        assert again == done
        assert second.seqs(done["run_id"]) == first.seqs(done["run_id"])


async def test_readers_may_not_write_and_say_nothing_to_those_who_left(site: Site) -> None:  # noqa: F811
    scientist, viewer, clinician = [await site.client(role) for role in ("scientist", "viewer", "clinician")]
    made = (await scientist.post("/api/conversations", json={"title": "Look"})).json()["id"]
    await share(site, made, "viewer", write=False)
    async with connected(site, token(viewer), made) as ws:
        await ws.send("message", content="May I?")
        refused = await ws.until("error")
        assert (refused["of"], refused["retryable"]) == ("message", False)
        assert "run_id" not in refused
        await ws.send("cancel")
        assert (await ws.until("error"))["of"] == "cancel"
    with pytest.raises(Exception, match="404"):
        async with connected(site, token(clinician), made):
            pass


@pytest.fixture
async def strict(seeded_urls: Urls, seeded: Seeded, tmp_path: Path):  # noqa: F811
    """A site that looks at its connections all the time."""
    limits = Limits(live_recheck_seconds=0.05)
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, limits=limits) as running:
        yield running


async def test_what_ends_a_standing_connection(strict: Site) -> None:
    """Log-out, a share that is taken back, a disabled person, an API key that is revoked: each within moments, with its code."""
    scientist, reviewer, admin = [await strict.client(role) for role in ("scientist", "reviewer", "admin")]
    made = (await scientist.post("/api/conversations", json={"title": "Ends"})).json()["id"]
    shared = await share(strict, made, "reviewer")
    key = (await reviewer.post("/api/auth/keys", json={"name": "program"})).json()
    viewer = await strict.client("viewer")
    async with (
        connected(strict, token(scientist), made) as out,
        connected(strict, token(reviewer), made) as unshared,
        connected(strict, None, "prog", additional_headers={"Authorization": f"Bearer {key['secret']}"}) as program,
        connected(strict, token(viewer), "mine") as disabled,
    ):
        await unshare(strict, shared)
        assert await asyncio.wait_for(unshared.closed(), PATIENCE) == 4404
        await reviewer.delete(f"/api/auth/keys/{key['key']['id']}")
        assert await asyncio.wait_for(program.closed(), PATIENCE) == 4401
        await scientist.post("/api/auth/logout")
        assert await asyncio.wait_for(out.closed(), PATIENCE) == 4401
        person = strict.people["viewer"]
        changed = await admin.patch(f"/api/admin/users/{person}", json={"active": False})
        assert changed.status_code == 200, changed.text
        assert await asyncio.wait_for(disabled.closed(), PATIENCE) == 4401


@pytest.fixture
async def unlooked(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> AsyncIterator[Site]:  # noqa: F811
    """A site whose next regular look at its sockets is far away."""
    limits = Limits(live_recheck_seconds=600)
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, limits=limits) as running:
        yield running


async def test_nothing_said_after_a_withdrawal_reaches_who_lost_the_conversation(unlooked: Site) -> None:
    """Fails when only the next regular look, here far away, ends the connection, or when the others miss something by it."""
    owner, reviewer, viewer = [await unlooked.client(role) for role in ("scientist", "reviewer", "viewer")]
    made = (await owner.post("/api/conversations", json={"title": "Taken back"})).json()["id"]
    people = {"users": ["reviewer@demo.lab", "viewer@demo.lab"], "live": True}
    assert (await owner.post(f"/api/conversations/{made}/share", json=people)).status_code == 201

    async def said(text: str) -> str:
        answer = await owner.post(f"/api/conversations/{made}/messages", json={"content": text})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run_id"])

    async with connected(unlooked, token(reviewer), made) as lost, connected(unlooked, token(viewer), made) as left:
        await lost.until("presence")
        await left.until("presence")
        taken = await owner.delete(f"/api/conversations/{made}/share", params={"user": "reviewer@demo.lab"})
        assert taken.status_code == 204, taken.text
        run = await said("Not for the reviewer")
        with pytest.raises(websockets.ConnectionClosed) as end:
            await lost.until(lambda frame: "run_id" in frame or frame["type"] == "message_complete")
        assert end.value.rcvd is not None
        assert end.value.rcvd.code == 4404
        done = await left.until("message_complete")
        assert left.seqs(run) == list(range(done["seq"] + 1))
        assert (await owner.delete(f"/api/conversations/{made}")).status_code == 204
        assert await asyncio.wait_for(left.closed(), PATIENCE) == 4404


async def test_the_end_of_a_tool_call_does_not_reach_who_lacks_its_permission(unlooked: Site) -> None:
    """Fails when only the next regular look, here far away, shuts a reader out of a conversation that came to need a permission."""
    owner, viewer = [await unlooked.client(role) for role in ("scientist", "viewer")]
    made = (await owner.post("/api/conversations", json={"title": "Before"})).json()["id"]
    share = {"users": ["viewer@demo.lab"], "live": True}
    assert (await owner.post(f"/api/conversations/{made}/share", json=share)).status_code == 201
    async with connected(unlooked, token(owner), made) as mine, connected(unlooked, token(viewer), made) as theirs:
        await mine.until("presence")
        await theirs.until("presence")
        asked = await owner.post(f"/api/conversations/{made}/messages", json={"content": "Start PCR-STD-35 on PCR-02"})
        assert asked.status_code == 202, asked.text
        with pytest.raises(websockets.ConnectionClosed) as end:
            await theirs.until(lambda frame: frame["type"] in ("tool_call_end", "approval_required", "message_complete"))
        assert end.value.rcvd is not None
        assert end.value.rcvd.code == 4404
        done = await mine.until("message_complete")
        assert mine.seqs(asked.json()["run_id"]) == list(range(done["seq"] + 1))


async def test_nor_when_its_reader_is_alone_there(unlooked: Site) -> None:
    """The owner asks over HTTP, or is connected to another server."""
    owner, viewer = [await unlooked.client(role) for role in ("scientist", "viewer")]
    made = (await owner.post("/api/conversations", json={"title": "Before"})).json()["id"]
    await share(unlooked, made, "viewer")
    async with connected(unlooked, token(viewer), made) as theirs:
        await theirs.until("presence")
        await owner.post(f"/api/conversations/{made}/messages", json={"content": "Start PCR-STD-35 on PCR-02"})
        with pytest.raises(websockets.ConnectionClosed):
            await theirs.until(lambda frame: frame["type"] in ("tool_call_end", "approval_required", "message_complete"))


async def test_what_is_held_waits_for_a_look_that_began_after_the_last_doubt() -> None:
    """Fails when a look-up that was under way at a withdrawal lets frames go."""
    outbox = Outbox(10, 1000)
    outbox.hold()
    before = outbox.doubts
    outbox.hold()
    outbox.put("secret")
    taking = asyncio.create_task(outbox.take())
    outbox.release(before)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not taking.done()
    outbox.release(outbox.doubts)
    assert await asyncio.wait_for(taking, PATIENCE) == ["secret"]
