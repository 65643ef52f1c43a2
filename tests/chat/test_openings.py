"""Every opening of somebody else's conversation is on the record, by whatever door; files come through a share only with its messages."""

import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from sqlalchemy import text, update

from aliquot.chat.attachments.tables import attachment
from aliquot.chat.tables import message
from tests.chat.conftest import MODELS, hear
from tests.chat.test_attachments import upload
from tests.chat.test_sharing import START, begun, code, said, share
from tests.conftest import Urls
from tests.peers.clamd import Clamd, clamd
from tests.peers.models_server import ModelServer, Turn
from tests.site import Seeded, Site, running_site
from tests.web.sockets import connected, token

VIEWER = "viewer@demo.lab"


@pytest.fixture
async def peer() -> AsyncIterator[Clamd]:
    scanner = Clamd()
    async with clamd(scanner):
        yield scanner


@pytest.fixture
async def model_site(
    seeded_urls: Urls,
    seeded: Seeded,
    tmp_path: Path,
    model_server: ModelServer,
    peer: Clamd,
) -> AsyncIterator[Site]:
    """A site with a language model and a scanner."""
    path = tmp_path / "models.toml"
    path.write_text(MODELS.format(url=model_server.openai_url))
    settings: dict[str, Any] = {"models": path, "CLAMAV_HOST": "127.0.0.1", "CLAMAV_PORT": peer.port}
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, **settings) as running:
        yield running


async def openings(site: Site, action: str, conversation: str) -> Counter[tuple[str, str, str]]:
    """(actor, outcome, reason) of the events so far."""
    async with site.services.db.begin() as tx:
        rows = await tx.rows(
            text(
                "WITH found AS (SELECT convert_from(body, 'UTF8')::jsonb AS e FROM audit_event "
                "WHERE action = :action AND record_id = :record) "
                "SELECT e->>'actor' AS actor, e->>'outcome' AS outcome, e->>'reason' AS reason FROM found"
            ),
            {"action": action, "record": conversation},
        )  # fmt: skip
    return Counter((row.actor, row.outcome, row.reason) for row in rows)


async def test_every_door_to_a_shared_conversation_is_recorded_but_the_owners(model_site: Site, model_server: ModelServer) -> None:
    """Fails when a member can read something of another's conversation and the log does not say so, or says so of its owner."""
    model_server.script(Turn(text="answer"))
    owner, viewer, stranger = [await model_site.client(role) for role in ("scientist", "viewer", "reviewer")]
    conversation = await begun(owner, "what I know of zymolyase")
    run = (await owner.get(f"/api/conversations/{conversation}/messages")).json()["items"][0]["run_id"]
    await share(owner, conversation, users=[VIEWER], live=True)
    question = (await owner.get(f"/api/conversations/{conversation}/tree")).json()["items"][0]["id"]
    me, them = str(model_site.people["viewer"]), str(model_site.people["reviewer"])
    doors = {
        "conversation": f"/api/conversations/{conversation}",
        "messages": f"/api/conversations/{conversation}/messages?limit=1",
        "tree": f"/api/conversations/{conversation}/tree",
        "files": f"/api/messages/{question}/attachments",
        "run": f"/api/runs/{run}",
        "events": f"/api/runs/{run}/events",
        "search": "/api/conversations?q=zymolyase",
    }
    expected: Counter[tuple[str, str, str]] = Counter()
    for door, path in doors.items():
        for person in (owner, viewer):
            assert (await person.get(path)).status_code == 200, door
        expected[me, "ok", door] += 1
        assert await openings(model_site, "conversation.opened", conversation) == expected, door
        refused = await stranger.get(path)
        if door != "search":
            assert refused.status_code == 404, door
            expected[them, "denied", f"{door},unknown_conversation"] += 1
    assert (await viewer.get(f"/api/conversations/{conversation}/messages?branch=shown")).status_code == 200
    poll = await viewer.get(f"/api/runs/{run}/events", headers={"Accept": "application/json"})
    assert poll.json()["events"]
    assert (await viewer.post(f"/api/conversations/{conversation}/export", json={"format": "json"})).status_code == 200
    for person in (owner, viewer):
        async with connected(model_site, token(person), conversation) as ws:
            await ws.until("presence")
    with pytest.raises(websockets.InvalidStatus):
        async with connected(model_site, token(stranger), conversation):
            pass
    expected += Counter({(me, "ok", door): 1 for door in ("messages", "events", "export", "socket")})
    expected[them, "denied", "socket,unknown_conversation"] += 1
    assert await openings(model_site, "conversation.opened", conversation) == expected
    # who comes to lack a permission is refused, and that is on the record too
    model_server.script(Turn(tool_calls=(START,)))
    await hear(owner, await said(owner, conversation, "start it"))
    assert await code(viewer, "GET", f"/api/conversations/{conversation}/messages") == (403, "shared_permission_missing")
    expected[me, "denied", "messages,shared_permission_missing"] += 1
    assert await openings(model_site, "conversation.opened", conversation) == expected


async def test_a_conversation_of_ones_own_called_like_anothers_id_opens_nothing(model_site: Site, model_server: ModelServer) -> None:
    """Fails when whoever lost a share comes back by giving a conversation of their own the other one's id as its name."""
    model_server.script(Turn(text="noted"))
    owner, former = await model_site.client("scientist"), await model_site.client("viewer")
    file = (await upload(owner, "a.txt", b"the recipe")).json()
    asked = await owner.post("/api/chat/completion", json={"message": "see the file", "attachments": [file["id"]]})
    conversation = asked.json()["conversation_id"]
    await share(owner, conversation, users=[VIEWER], live=True)
    question = (await former.get(f"/api/conversations/{conversation}/tree")).json()["items"][0]["id"]
    assert (await former.get(f"/api/attachments/{file['id']}/download")).content == b"the recipe"
    async with connected(model_site, token(former), conversation) as ws:
        await ws.until("presence")
        assert (await former.post("/api/conversations", json={"client_id": conversation})).status_code == 201
        assert (await owner.delete(f"/api/conversations/{conversation}/share")).status_code == 204
        await model_site.services.live.recheck()
        assert await ws.closed() == 4404
    for method, path in (
        ("GET", f"/api/attachments/{file['id']}"),
        ("GET", f"/api/attachments/{file['id']}/download"),
        ("POST", f"/api/attachments/{file['id']}/link"),
        ("GET", f"/api/messages/{question}/attachments"),
        ("POST", f"/api/messages/{question}/regenerate"),
    ):
        assert (await code(former, method, path))[0] == 404, path


async def test_files_come_through_a_share_with_its_messages_alone(model_site: Site, model_server: ModelServer, peer: Clamd) -> None:
    """Fails when a link gives a file of another message, a later one, an unscanned one to everybody, or anything once it has ended."""
    model_server.script(*(Turn(text="noted") for _ in range(4)))
    owner, viewer, anonymous = await model_site.client("scientist"), await model_site.client("viewer"), await model_site.anonymous()
    shown, later, loose = [(await upload(owner, f"{name}.txt", name.encode())).json()["id"] for name in ("shown", "later", "loose")]
    asked = await owner.post("/api/chat/completion", json={"message": "see the file", "attachments": [shown]})
    conversation = asked.json()["conversation_id"]
    named = await share(owner, conversation, users=[VIEWER])
    for door in (named["token"], named["share"]["id"]):
        first = (await viewer.get(f"/api/shared/{door}")).json()["items"][0]
        (file,) = first["attachments"]
        assert (file["id"], file["file_name"], file["file_url"]) == (shown, "shown.txt", f"/api/shared/{door}/attachments/{shown}")
        given = await viewer.get(file["file_url"])
        assert (given.status_code, given.content) == (200, b"shown")
        assert given.headers["content-disposition"].startswith("attachment")
        assert given.headers["x-content-type-options"] == "nosniff"
    assert await code(viewer, "GET", f"/api/attachments/{shown}/download") == (404, "unknown_attachment")
    body = {"content": "and this", "attachment_ids": [later]}
    await hear(owner, (await owner.post(f"/api/conversations/{conversation}/messages", json=body)).json()["run_id"])
    path = f"/api/shared/{named['token']}/attachments/"
    for other in (later, loose, str(uuid.uuid4()), first["id"], "x", conversation):
        assert await code(viewer, "GET", path + other) == (404, "unknown_attachment"), other
    assert await code(anonymous, "GET", path + shown) == (401, "unauthenticated")
    assert await code(await model_site.client("reviewer"), "GET", path + shown) == (404, "unknown_share")

    paper = await owner.post(f"/api/conversations/{conversation}/export", json={"format": "markdown"})
    assert [line for line in paper.text.splitlines() if line.startswith("Files: ")] == ["Files: shown.txt", "Files: later.txt"]
    # nothing looks for patients in files yet, so no link for everybody is made; one that stands gives what its messages have
    assert (await share(owner, conversation, 409, public=True))["code"] == "may_hold_patient_data"
    await classify(model_site, conversation, "none")
    public = (await share(owner, conversation, public=True))["token"]
    (file,) = (await anonymous.get(f"/api/shared/{public}")).json()["items"][0]["attachments"]
    assert (await anonymous.get(file["file_url"])).content == b"shown"
    assert await code(anonymous, "GET", f"/api/shared/{public}/attachments/{loose}") == (404, "unknown_attachment")
    await set_state(model_site, shown, "not_scanned")
    assert await code(anonymous, "GET", file["file_url"]) == (409, "file_not_scanned")
    assert (await viewer.get(path + shown)).status_code == 200
    await set_state(model_site, shown, "quarantined")
    assert await code(viewer, "GET", path + shown) == (409, "file_waiting")
    await set_state(model_site, shown, "clean")
    await classify(model_site, conversation, "undecided")
    assert await code(anonymous, "GET", file["file_url"]) == (403, "share_suspended")
    await classify(model_site, conversation, "none")
    assert (await owner.delete(f"/api/attachments/{shown}")).status_code == 204
    assert await code(anonymous, "GET", file["file_url"]) == (410, "file_gone")
    assert (await anonymous.get(f"/api/shared/{public}")).json()["items"][0]["attachments"] == []
    assert (await owner.delete(f"/api/conversations/{conversation}/share")).status_code == 204
    assert await code(anonymous, "GET", f"/api/shared/{public}/attachments/{later}") == (410, "share_ended")
    assert await code(viewer, "GET", path + later) == (410, "share_ended")
    told = await openings(model_site, "share.file_downloaded", conversation)
    me = str(model_site.people["viewer"])
    assert told[me, "ok", f"share:{named['share']['id']},attachment:{shown}"] == 3
    assert sum(n for (actor, outcome, _), n in told.items() if (actor, outcome) == ("anonymous", "ok")) == 1
    assert sum(n for (_, outcome, reason), n in told.items() if outcome == "denied" and "unknown_attachment" in reason) == 7


async def classify(site: Site, conversation: str, patient_class: str) -> None:
    async with site.services.db.begin() as tx:
        mine = message.c.conversation_id == uuid.UUID(conversation)
        await tx.execute(update(message).where(mine).values(patient_class=patient_class))


async def set_state(site: Site, attachment_id: str, state: str) -> None:
    async with site.services.db.begin() as tx:
        await tx.execute(update(attachment).where(attachment.c.id == uuid.UUID(attachment_id)).values(state=state))
