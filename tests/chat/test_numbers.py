"""Run events are numbered without gaps, also when the commit of some of them fails."""

import asyncio
import uuid

import pytest
from sqlalchemy import text

from aliquot.chat.contracts import NoticeGiven
from aliquot.chat.emitter import RunEmitter
from aliquot.kernel.ids import new_id
from tests.chat.conftest import ask, hear
from tests.peers.models_server import ModelServer, Turn
from tests.site import Site


class _Lost(Exception):
    """Stands for a connection lost, or a cancellation, before the commit."""


async def test_events_of_a_rolled_back_end_leave_no_gap(site: Site) -> None:
    scientist = await site.client("scientist")
    heard = await ask(scientist, "Is PCR-02 ready?")
    runs, run_id = site.services.chat.runs, uuid.UUID(heard.run_id)
    emitter = RunEmitter(runs._writer, runs._runs, runs._clock, run_id, site.people["scientist"], len(heard.events))

    async def lost() -> None:
        async with site.services.db.begin() as tx:
            await emitter.commit_with(tx, [NoticeGiven(code="lost", text="a"), NoticeGiven(code="lost", text="b")])
            raise _Lost

    with pytest.raises(_Lost):
        await lost()
    with pytest.raises(UnicodeEncodeError):
        emitter.emit(NoticeGiven(code="bad", text="\ud800"))
    async with site.services.db.begin() as tx:
        await emitter.commit_with(tx, [NoticeGiven(code="kept", text="c")])
    emitter.emit(NoticeGiven(code="kept", text="d"))
    await emitter.settle()
    page = await scientist.get(f"/api/runs/{run_id}/events", headers={"Accept": "application/json"})
    events = page.json()["events"]
    assert [int(event["seq"]) for event in events] == list(range(1, len(events) + 1))
    assert [event.get("code") for event in events[-2:]] == ["kept", "kept"]
    assert (await hear(scientist, str(run_id), after=1)).events  # still a log that can be followed


async def test_a_process_that_lost_a_run_writes_no_end_of_it(
    model_site: Site, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process took the run over when this one's model had said everything: one run must never have two ends."""
    model_server.script(Turn(text="a b c d e f", itl=0.05))
    scientist = await model_site.client("scientist")
    settled = RunEmitter.settle

    async def taken_over(emitter: RunEmitter) -> None:
        await settled(emitter)
        async with model_site.services.db.begin() as tx:
            await tx.execute(text("UPDATE run SET lease_owner = :other WHERE id = :id"), {"other": new_id(), "id": emitter.run_id})

    monkeypatch.setattr(RunEmitter, "settle", taken_over)
    started = (await scientist.post("/api/conversations/lost/messages", json={"content": "Count"})).json()
    await asyncio.wait([model_site.services.chat.runs._executor._tasks[uuid.UUID(started["run_id"])]])
    path = f"/api/runs/{started['run_id']}"
    events = (await scientist.get(f"{path}/events", headers={"Accept": "application/json"})).json()["events"]
    assert "".join(event.get("text", "") for event in events) == "a b c d e f"
    assert {event["type"] for event in events} == {"run_started", "text_delta"}
    assert (await scientist.get(path)).json()["state"] == "running"
    messages = (await scientist.get("/api/conversations/lost/messages")).json()["items"]
    assert [message["role"] for message in messages] == ["user"]
