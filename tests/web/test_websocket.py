"""`/ws/chat/{id}`: the documented examples, frames both ways, several people, resume, refusals."""

import json

import websockets

from tests.chat.conftest import model_host, model_server, model_site  # noqa: F401 - fixtures
from tests.peers.models_server import ModelServer, Turn
from tests.site import Seeded, Site, seeded, seeded_urls, site  # noqa: F401 - fixtures
from tests.web.sockets import GREETING, connected, token


async def test_the_documented_python_example(site: Site) -> None:  # noqa: F811
    """tracseq-chatbot.txt, "Test WebSocket connection": as written, given a token and skipping `connection` and `presence`."""
    jwt_token = token(await site.client("scientist"))
    async with websockets.connect(f"{site.url.replace('http', 'ws')}/ws/chat/test?token={jwt_token}") as ws:
        await ws.send(json.dumps({"type": "message", "content": "Test"}))
        response = await ws.recv()
        while json.loads(response)["type"] in GREETING:
            response = await ws.recv()
        assert json.loads(response)["type"] == "message"


async def test_a_question_is_heard_from_the_message_to_the_whole_answer(model_site: Site, model_server: ModelServer) -> None:  # noqa: F811
    model_server.script(Turn(text="PCR-02 is ready.", itl=0.01))
    client = await model_site.client("scientist")
    async with connected(model_site, token(client), "conv_1") as ws:
        hello = await ws.next()
        assert hello["type"] == "connection"
        assert hello["user"]["email"] == "scientist@demo.lab"
        assert (
            (await ws.next())["users"] == [{"id": hello["user"]["id"], "name": hello["user"]["name"]}] if hello["conversation_id"] else True
        )
        await ws.send("message", content="Is PCR-02 ready?")
        done = await ws.until("message_complete")
        message = ws.of("message")[0]
        assert message["content"] == "Is PCR-02 ready?"
        assert message["user"]["name"]
        run = message["run_id"]
        assert ws.seqs(run) == list(range(done["seq"] + 1))
        assert done["content"] == "".join(f["text"] for f in ws.of("text_delta")) == "PCR-02 is ready."
        assert done["citations"] == []
        kinds = [f["type"] for f in ws.heard if f.get("run_id") == run]
        assert kinds[:2] == ["message", "run_started"]
        assert kinds[-2:] == ["done", "message_complete"]
    stored = (await client.get("/api/conversations/conv_1/messages")).json()["items"]
    assert [m["content"] for m in stored] == ["PCR-02 is ready.", "Is PCR-02 ready?"]
    assert stored[0]["id"] == done["message_id"]


async def test_a_message_brings_files_of_its_author_only(site: Site) -> None:  # noqa: F811
    client, other = await site.client("scientist"), await site.client("viewer")
    mine, theirs = [
        (await person.post("/api/attachments", files={"file": ("a.txt", b"hello", "text/plain")})).json()["id"]
        for person in (client, other)
    ]
    async with connected(site, token(client), "files") as ws:
        await ws.send("message", content="Read this", attachmentIds=[theirs])
        assert (await ws.until("error"))["code"] == "unknown_attachment"
        await ws.send("message", content="Read this", attachment_ids=[mine])
        message = await ws.until("message")
    listed = (await client.get(f"/api/messages/{message['id']}/attachments")).json()
    assert [item["id"] for item in listed.get("items", listed.get("attachments", []))] == [mine]
