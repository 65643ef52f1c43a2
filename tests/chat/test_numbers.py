"""Run events are numbered without gaps, also when the commit of some of them fails."""

import uuid

import pytest

from aliquot.chat.contracts import NoticeGiven
from aliquot.chat.emitter import RunEmitter
from tests.chat.conftest import ask, hear
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
            await emitter.commit_with(tx, runs._owner, [NoticeGiven(code="lost", text="a"), NoticeGiven(code="lost", text="b")])
            raise _Lost

    with pytest.raises(_Lost):
        await lost()
    with pytest.raises(UnicodeEncodeError):
        emitter.emit(NoticeGiven(code="bad", text="\ud800"))
    async with site.services.db.begin() as tx:
        await emitter.commit_with(tx, runs._owner, [NoticeGiven(code="kept", text="c")])
    emitter.emit(NoticeGiven(code="kept", text="d"))
    await emitter.settle()
    page = await scientist.get(f"/api/runs/{run_id}/events", headers={"Accept": "application/json"})
    events = page.json()["events"]
    assert [int(event["seq"]) for event in events] == list(range(1, len(events) + 1))
    assert [event.get("code") for event in events[-2:]] == ["kept", "kept"]
    assert (await hear(scientist, str(run_id), after=1)).events  # still a log that can be followed
