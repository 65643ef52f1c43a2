"""The message tree: branches, what the model sees of them, asking again, what is shown, deletion and undo."""

import asyncio
import uuid
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import insert, update

from aliquot.chat.tables import conversation, message
from aliquot.kernel.clock import SystemClock
from aliquot.kernel.ids import new_id
from tests.chat.conftest import MODELS, ask, hear
from tests.conftest import PATIENCE, Urls
from tests.peers.models_server import ModelServer, Turn
from tests.site import Seeded, Site, running_site


async def post(client: httpx2.AsyncClient, conversation: str, content: str, **fields: Any) -> dict[str, str]:
    """Write a message and hear its answer to the end."""
    answer = await client.post(f"/api/conversations/{conversation}/messages", json={"content": content} | fields)
    assert answer.status_code == 202, answer.text
    await hear(client, answer.json()["run_id"])
    return answer.json()


async def again(client: httpx2.AsyncClient, message_id: str, **headers: str) -> dict[str, Any]:
    answer = await client.post(f"/api/messages/{message_id}/regenerate", headers=headers)
    assert answer.status_code == 202, answer.text
    await hear(client, answer.json()["run_id"])
    return answer.json()


async def shown(client: httpx2.AsyncClient, conversation: str, branch: str = "shown") -> list[dict[str, Any]]:
    """The branch, oldest first."""
    answer = await client.get(f"/api/conversations/{conversation}/messages", params={"branch": branch})
    assert answer.status_code == 200, answer.text
    return list(reversed(answer.json()["items"]))


def told(model_server: ModelServer, n: int) -> list[str]:
    """What the model was told in request `n`, without the system prompt."""
    return [m["content"] for m in model_server.requests[n].body["messages"] if m["role"] != "system"]


async def test_the_model_sees_exactly_the_branch(model_site: Site, model_server: ModelServer) -> None:
    """Fails when history mixes branches, when an edit or another answer lands in the wrong place, or when siblings are miscounted."""
    model_server.script(*(Turn(text=f"a{n}") for n in range(1, 7)))
    client = await model_site.client("scientist")
    first = await post(client, "t", "q1")
    await post(client, "t", "q2")
    q1, a1, q2, a2 = await shown(client, "t")
    await post(client, "t", "q2 edited", edit_of=q2["id"])
    assert told(model_server, 2) == ["q1", "a1", "q2 edited"]
    await post(client, "t", "q1 edited", edit_of=q1["id"])
    assert told(model_server, 3) == ["q1 edited"]
    await post(client, "t", "q3", parent_id=a2["id"])
    assert told(model_server, 4) == ["q1", "a1", "q2", "a2", "q3"]
    await again(client, a1["id"])
    assert told(model_server, 5) == ["q1"]
    branch = await shown(client, "t")
    assert [(m["content"], m["sibling_index"], m["sibling_count"]) for m in branch] == [("q1", 1, 2), ("a6", 2, 2)]
    assert branch[0]["author"]
    everything = (await client.get("/api/conversations/t/messages")).json()["items"]
    assert [m["content"] for m in everything] == ["a6", "a5", "q3", "a4", "q1 edited", "a3", "q2 edited", "a2", "q2", "a1", "q1"]
    assert {m["content"]: (m["sibling_index"], m["sibling_count"]) for m in everything}["q2 edited"] == (2, 2)

    tree = (await client.get("/api/conversations/t/tree")).json()
    assert [n["id"] for n in reversed(tree["items"])] == [m["id"] for m in everything]
    assert "content" not in tree["items"][0]
    assert tree["head_id"] == branch[-1]["id"]
    paged, after = [], None
    while True:
        page = (await client.get("/api/conversations/t/tree", params={"limit": 4} | ({"after": after} if after else {}))).json()
        paged += page["items"]
        if (after := page["next"]) is None:
            break
    assert paged == tree["items"]

    head = (await client.put("/api/conversations/t/head", json={"message_id": a1["id"]})).json()
    assert head["head_id"] == (await shown(client, "t"))[-1]["id"]
    assert [m["content"] for m in await shown(client, "t")] == ["q1", "a1", "q2", "a2", "q3", "a5"]
    assert [m["content"] for m in await shown(client, "t", a2["id"])] == ["q1", "a1", "q2", "a2"]
    page = (await client.get("/api/conversations/t/messages", params={"branch": "shown", "limit": 4})).json()
    rest = (await client.get("/api/conversations/t/messages", params={"branch": "shown", "limit": 4, "before": page["next"]})).json()
    assert [m["content"] for m in page["items"] + rest["items"]] == ["a5", "q3", "a2", "q2", "a1", "q1"]
    assert rest["next"] is None
    assert first["conversation_id"] == head["id"]


async def test_places_that_are_not_there_are_refused(model_site: Site, model_server: ModelServer) -> None:
    """Fails when a message of another conversation or person can be a parent, a head, or be answered again."""
    model_server.script(*(Turn(text="yes") for _ in range(4)))
    client, other = await model_site.client("scientist"), await model_site.client("reviewer")
    await post(client, "mine", "hello")
    await post(client, "second", "hello")
    theirs = (await ask(other, "secret")).of("run_started")[0]
    second = (await shown(client, "second"))[0]["id"]
    for foreign in (theirs["user_message_id"], theirs["message_id"], second, str(uuid.uuid4())):
        refused = await client.post("/api/conversations/mine/messages", json={"content": "x", "parent_id": foreign})
        assert (refused.status_code, refused.json()["code"]) == (422, "unknown_parent")
        refused = await client.post("/api/conversations/mine/messages", json={"content": "x", "edit_of": foreign})
        assert refused.json()["code"] == "unknown_message"
        refused = await client.put("/api/conversations/mine/head", json={"message_id": foreign})
        assert (refused.status_code, refused.json()["code"]) == (404, "unknown_message")
        refused = await client.get("/api/conversations/mine/messages", params={"branch": foreign})
        assert refused.json()["code"] == "unknown_message"
    for foreign in (theirs["user_message_id"], theirs["message_id"], str(uuid.uuid4()), "x"):
        assert (await client.post(f"/api/messages/{foreign}/regenerate")).json()["code"] == "unknown_message"
    conversation = theirs["conversation_id"]
    for method, path in (("GET", "tree"), ("PUT", "head"), ("POST", "restore"), ("GET", "messages"), ("POST", "messages")):
        body = None if method == "GET" else {"message_id": theirs["message_id"]} if path == "head" else {"content": "x"}
        refused = await client.request(method, f"/api/conversations/{conversation}/{path}", json=body if path != "restore" else None)
        assert (refused.status_code, refused.json()["code"]) == (404, "unknown_conversation"), path
    q, a = await shown(client, "mine")
    answer_edited = await client.post("/api/conversations/mine/messages", json={"content": "x", "edit_of": a["id"]})
    assert answer_edited.json()["code"] == "unknown_message"
    both = await client.post("/api/conversations/mine/messages", json={"content": "x", "edit_of": q["id"], "parent_id": a["id"]})
    assert both.status_code == 422
    assert len((await client.get("/api/conversations/mine/messages")).json()["items"]) == 2


async def test_asking_again(model_site: Site, model_server: ModelServer) -> None:
    """Fails when an incomplete answer cannot be replaced, a key makes two answers, or a question is answered twice at once."""
    slow = Turn(text="slow " * 40, itl=0.02)
    model_server.script(Turn(text="one two three four", break_after=2), Turn(text="whole"), slow, Turn(text="x"))
    client = await model_site.client("scientist")
    await post(client, "t", "q")
    broken = (await shown(client, "t"))[-1]
    assert broken["incomplete"]
    key = {"Idempotency-Key": "k1"}
    made = await again(client, broken["id"], **key)
    assert (await client.post(f"/api/messages/{broken['id']}/regenerate", headers=key)).json() == made
    q, a = await shown(client, "t")
    assert (a["content"], a["incomplete"], a["sibling_index"], a["sibling_count"], a["parent_id"]) == ("whole", False, 2, 2, q["id"])
    going = (await client.post(f"/api/messages/{q['id']}/regenerate", json={})).json()
    refused = await client.post(f"/api/messages/{a['id']}/regenerate")
    assert (refused.status_code, refused.json()["code"]) == (409, "answer_in_progress")
    # another branch is chosen while the answer comes: it stays chosen
    assert (await client.put("/api/conversations/t/head", json={"message_id": a["id"]})).status_code == 200
    await hear(client, going["run_id"])
    assert (await shown(client, "t"))[-1]["id"] == a["id"]
    assert len((await client.get("/api/conversations/t/messages")).json()["items"]) == 4
    mismatch = await client.post(f"/api/messages/{broken['id']}/regenerate", json={"model": "other"}, headers=key)
    assert mismatch.json()["code"] == "idempotency_mismatch"


async def test_many_at_once_lose_nothing(model_site: Site, model_server: ModelServer) -> None:
    """Fails when two posts at once become siblings that hide each other, or an answer takes the head from a newer question."""
    model_server.script(Turn(text="first"), *(Turn(text="ok") for _ in range(6)))
    client = await model_site.client("scientist")
    await post(client, "t", "start")
    await asyncio.gather(*(post(client, "t", f"q{n}") for n in range(6)))
    branch = await shown(client, "t")
    assert [m["content"] for m in branch[:2]] == ["start", "first"]
    assert {f"q{n}" for n in range(6)} <= {m["content"] for m in branch}
    everything = (await client.get("/api/conversations/t/messages", params={"limit": 200})).json()["items"]
    assert len(everything) == 14
    assert sorted(m["content"] for m in everything if m["role"] == "assistant") == ["first"] + ["ok"] * 6


class LaterClock(SystemClock):
    """The real clock, moved forward."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


async def test_deletion_while_streaming_and_its_undo(seeded_urls: Urls, seeded: Seeded, tmp_path: Path, model_server: ModelServer) -> None:
    """Fails when a deleted conversation goes on being answered or shown, when undo loses a word, or when it works for ever."""
    model_server.script(Turn(text="word " * 200, itl=0.02), Turn(text="new"), Turn(text="more"))
    models = tmp_path / "models.toml"
    models.write_text(MODELS.format(url=model_server.openai_url))
    clock = LaterClock()
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(
            running_site(seeded_urls, tmp_path / "data", seeded, clock=clock, shutdown_seconds=0.2, models=models)
        )
        client = await site.client("scientist")
        made = (await client.post("/api/conversations/t/messages", json={"content": "q"})).json()
        watching = asyncio.create_task(hear(client, made["run_id"]))
        async with asyncio.timeout(PATIENCE):
            while "text_delta" not in (await client.get(f"/api/runs/{made['run_id']}/events", headers={"Accept": "application/json"})).text:
                pass
        assert (await client.delete("/api/conversations/t")).status_code == 204
        heard = await watching
        assert heard.events[-1].data.get("state") == "cancelled"
        conversation = made["conversation_id"]
        assert (await client.get(f"/api/conversations/{conversation}")).status_code == 404
        assert (await client.post(f"/api/conversations/{conversation}/messages", json={"content": "x"})).status_code == 404
        await post(client, "t", "the id is free")
        restored = await client.post(f"/api/conversations/{conversation}/restore")
        assert (restored.status_code, restored.json()["client_id"]) == (200, None)
        assert (await client.post(f"/api/conversations/{conversation}/restore")).json()["id"] == conversation
        _, a = await shown(client, conversation)
        assert (a["content"], a["incomplete"]) == (heard.text, True)
        assert (await client.delete(f"/api/conversations/{conversation}")).status_code == 204
        clock.ahead = timedelta(days=30, minutes=1)
        client = await site.client("scientist")
        late = await client.post(f"/api/conversations/{conversation}/restore")
        assert (late.status_code, late.json()["code"]) == (410, "restore_expired")
        assert (await client.post(f"/api/conversations/{uuid.uuid4()}/restore")).status_code == 404


async def test_a_closed_session_takes_no_messages_by_the_other_door(site: Site) -> None:
    """Fails when a message to a closed session silently begins another conversation."""
    client = await site.client("scientist")
    assert (await client.post("/chat", json={"message": "hello", "sessionId": "s"})).status_code == 200
    conversation = (await client.get("/api/conversations")).json()["items"][0]["id"]
    assert (await client.delete("/chat/sessions/s")).status_code == 204
    refused = await client.post(f"/api/conversations/{conversation}/messages", json={"content": "x"})
    assert (refused.status_code, refused.json()["code"]) == (409, "conversation_closed")
    assert (await client.post("/chat", json={"message": "hello", "sessionId": "s"})).status_code == 200


async def test_a_long_conversation(site: Site) -> None:
    """Fails when a page skips, repeats or reorders messages, changes while messages arrive, or a branch is cut off. The speed with
    10,000 messages is measured by hand (docs/conversations.md)."""
    client = await site.client("scientist")
    made = (await client.post("/api/conversations", json={"clientId": "long"})).json()
    chats, owner, parent = site.services.chat._chats, site.people["scientist"], None
    at = datetime.now(UTC) - timedelta(days=1)
    rows, ids = [], [new_id() for _ in range(1_200)]
    for n, message_id in enumerate(ids):
        body = chats._vault.seal(owner, f"m{n}".encode(), aad=f"message.body:{message_id}")
        rows.append({
            "id": message_id, "conversation_id": uuid.UUID(made["id"]), "parent_id": parent, "role": "user" if n % 2 == 0 else "assistant",
            "author_id": owner if n % 2 == 0 else None, "run_id": None, "body": body, "meta": None, "incomplete": False,
            "patient_class": "none", "created_at": at + timedelta(milliseconds=n // 3),
        })  # fmt: skip
        parent = message_id
    async with site.services.db.begin() as tx:
        for start in range(0, len(rows), 400):
            await tx.execute(insert(message).values(rows[start : start + 400]))
        await tx.execute(update(conversation).where(conversation.c.id == uuid.UUID(made["id"])).values(head_id=ids[-1]))
    for branch in ("all", "shown"):
        seen, before = [], None
        while True:
            params = {"limit": 200, "branch": branch} | ({"before": before} if before else {})
            page = (await client.get("/api/conversations/long/messages", params=params)).json()
            if before is None and branch == "all":
                await post(client, "long", "new while paging")
            seen += page["items"]
            if (before := page["next"]) is None:
                break
        assert [m["content"] for m in seen if m["id"] in set(map(str, ids))] == [f"m{n}" for n in reversed(range(1_200))]
    tree = (await client.get("/api/conversations/long/tree")).json()
    assert [n["id"] for n in tree["items"]] == [str(message_id) for message_id in ids[:1_000]]
    rest = (await client.get("/api/conversations/long/tree", params={"after": tree["next"]})).json()
    assert (len(rest["items"]), rest["next"]) == (202, None)
    head = (await client.put("/api/conversations/long/head", json={"message_id": str(ids[0])})).json()
    assert head["head_id"] == rest["items"][-1]["id"] == seen[0]["id"]
