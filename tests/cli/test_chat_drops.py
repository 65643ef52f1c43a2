"""The connection is cut at random points: nothing lost, nothing doubled, nothing asked twice."""

import asyncio
import io
import random
from collections.abc import Callable

import pytest

from aliquot.cli.chat import connection
from aliquot.cli.chat.approvals import Approvals
from aliquot.cli.chat.failures import Unreachable
from aliquot.cli.chat.person import Person
from aliquot.cli.chat.screen import PlainScreen
from tests.cli.conftest import Client, dropping, runs_of, stop_runs, token_of
from tests.peers.models_server import ModelServer, ToolCall, Turn
from tests.site import Site

Clients = Callable[[str], Client]
WORDS = " ".join(f"word{n}" for n in range(120))
STATUS = ToolCall(name="get_instrument_status", arguments={"instrument": "PCR-02"})
START = ToolCall(name="start_run", arguments={"instrument": "PCR-02", "protocol": "PCR-STD-35"}, id="call_s")


@pytest.mark.parametrize("seed", range(3))
async def test_an_answer_survives_cut_connections(model_site: Site, model_server: ModelServer, client: Clients, seed: int) -> None:
    model_server.script(Turn(text="Let me look.", tool_calls=(STATUS,)), Turn(text=WORDS, itl=0.005))
    token = await token_of(model_site)
    cuts = random.Random(seed).choices([0, 1, 120, 250, 700, 1_500, 4_000], k=9)
    # The first connection is the greeting: a server that was never there is not waited for.
    async with dropping(model_site.url, seed, [100_000, *cuts]) as proxy:
        here = client(proxy.url)
        ended = await here.run("Is PCR-02 ready?", ALIQUOT_TOKEN=token)
        assert ended.code == 0, ended.err
        assert proxy.cut >= 3
    assert ended.out.strip() == f"Let me look.\n\n{WORDS}"
    assert ended.err.count("get_instrument_status ok after") == 1
    assert len(model_server.requests) == 2
    scientist = await model_site.client("scientist")
    messages = (await scientist.get(f"/api/conversations/{here.remembered['conversation']}/messages")).json()["items"]
    assert [message["role"] for message in messages] == ["assistant", "user"]


async def test_the_question_is_asked_once_although_its_answer_was_lost(
    model_site: Site, model_server: ModelServer, client: Clients
) -> None:
    """The second connection dies after the server took the question and before a byte came back; then two more do."""
    token = await token_of(model_site)
    async with dropping(model_site.url, 1, [100_000, 0, 0, 0]) as proxy:
        here = client(proxy.url)
        ended = await here.run("hello", "--json", ALIQUOT_TOKEN=token)
    assert ended.code == 0, ended.out
    assert len(model_server.requests) == 1
    scientist = await model_site.client("scientist")
    messages = (await scientist.get(f"/api/conversations/{ended.document['conversation_id']}/messages")).json()["items"]
    assert [message["role"] for message in messages] == ["assistant", "user"]


@pytest.mark.parametrize("seed", range(2))
async def test_a_confirmed_action_happens_once(model_site: Site, model_server: ModelServer, client: Clients, seed: int) -> None:
    model_server.script(Turn(tool_calls=(START,)), Turn(text="The run has been started."))
    token = await token_of(model_site)
    cuts = random.Random(seed).choices([0, 1, 300, 900, 2_000], k=8)
    async with dropping(model_site.url, seed, [100_000, *cuts]) as proxy:
        ended = await client(proxy.url).run("Start the PCR", "--yes", "--json", ALIQUOT_TOKEN=token)
    assert ended.code == 0, ended.out
    assert [(call["name"], call["outcome"]) for call in ended.document["tool_calls"]] == [("start_run", None), ("start_run", "ok")]
    assert len(await runs_of(model_site, "PCR-02")) == 1
    await stop_runs(model_site, "PCR-02")


async def test_a_lost_connection_is_mentioned_once_and_discreetly(model_site: Site, model_server: ModelServer, client: Clients) -> None:
    model_server.script(Turn(text=WORDS, itl=0.01))
    token = await token_of(model_site)
    async with dropping(model_site.url, 2, [100_000, 100_000, 2_500]) as proxy:
        ended = await client(proxy.url).run("hello", ALIQUOT_TOKEN=token)
    assert ended.code == 0, ended.err
    assert ended.out.strip() == WORDS
    assert ended.err.count("The connection was lost; reconnecting …") == 1
    assert ended.err.count("Connected again; going on where it stopped.") == 1


async def test_a_decision_whose_fate_is_unknown_is_said_to_be(
    model_site: Site, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes the decision and the line is dead from there on: the client must not sound as if nothing had been decided."""
    monkeypatch.setattr(connection, "_PATIENCE_SECONDS", 0.3)
    model_server.script(Turn(tool_calls=(START,)), Turn(text="The run has been started."))
    scientist = await model_site.client("scientist")
    asked = await scientist.post("/api/chat/completion", json={"message": "Start the PCR"})
    approval = asked.json()["approval"]["id"]
    async with dropping(model_site.url, 1, [100_000, *[0] * 20]) as proxy:
        line = connection.Connection(proxy.url, await token_of(model_site))
        nowhere = io.StringIO()
        mine = Approvals(line, Person(present=False, prompts=nowhere), PlainScreen(nowhere, nowhere), stance="approve")
        with pytest.raises(Unreachable, match="Whether your decision arrived is not known"):
            await asyncio.to_thread(mine.settle, approval)
        line.close()
    decided = (await scientist.get(f"/api/approvals/{approval}")).json()
    await scientist.get(f"/api/runs/{decided['next_run_id']}/events")
    assert len(await runs_of(model_site, "PCR-02")) == 1  # sent several times, counted once
    await stop_runs(model_site, "PCR-02")
