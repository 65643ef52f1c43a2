"""What the log tells about a period: counts, silences, clocks that were set."""

from datetime import UTC, datetime, timedelta

import pytest

from aliquot.ledger.api import LedgerApi
from aliquot.ledger.sequencer import Sequencer
from aliquot.platform.db import Database
from aliquot.platform.vault import Vault
from tests.conftest import ManualClock
from tests.ledger.conftest import an_event

_EVERY = 300


async def at(database: Database, ledger: LedgerApi, clock: ManualClock, *seconds: float, action: str = "run.started") -> None:
    """One event at each of these distances from the event before."""
    for step in seconds:
        clock.advance(step)
        async with database.begin() as tx:
            await ledger.append(tx, an_event(action=action))


@pytest.mark.rule("11.10(e)", "ALCOA contemporaneous")
async def test_silences_and_clocks_set_back_are_told_with_their_edges(
    database: Database, vault: Vault, clock: ManualClock, sequencer: Sequencer
) -> None:
    """Fails when a silence at an edge of the period is missed, an honest pause is told, or one that lies outside the period is."""
    ledger, start = LedgerApi(vault, clock), clock.now()
    await at(database, ledger, clock, 0, 300, 900, 901, 300)  # 901 s are longer than three heartbeats, 900 s are not
    await at(database, ledger, clock, -400, action="login.failed")  # the clock was set back by more than the tolerance
    await at(database, ledger, clock, 100, 301)
    await sequencer.run_once()
    end = clock.now()
    async with database.begin() as tx:
        found = await ledger.evidence.oddities(tx, start, end + timedelta(seconds=1), _EVERY, 10)
        assert (found.silences, found.silent_seconds, found.set_back) == (1, 901.0, 1)
        assert (found.longest[0].since, found.longest[0].until) == (start + timedelta(seconds=1_200), start + timedelta(seconds=2_101))
        assert (found.first_set_back[0].seq, found.first_set_back[0].latest - found.first_set_back[0].at) == (5, timedelta(seconds=400))
        late = await ledger.evidence.oddities(tx, start, end + timedelta(seconds=5_000), _EVERY, 1)
        assert (late.silences, late.silent_seconds, len(late.longest)) == (2, 901.0 + 5_000.0, 1)
        within = await ledger.evidence.oddities(tx, start + timedelta(seconds=1_500), end, _EVERY, 10)
        assert within.longest[0].since == start + timedelta(seconds=1_500)  # the part of it that lies in the period
        before = await ledger.evidence.oddities(tx, start - timedelta(days=9), start - timedelta(days=8), _EVERY, 10)
        assert (before.silences, before.set_back) == (0, 0)
        counted = {found.action: found.count for found in await ledger.evidence.tally(tx, start, end)}
        assert counted == {"run.started": 6, "login.failed": 1}  # the event at `end` is not in the period
        newest = await ledger.evidence.example(tx, "login.failed", start, end)
        assert newest is not None
        assert newest.seq == 5
        assert await ledger.evidence.example(tx, "login.locked", start, end) is None


async def test_only_what_a_checkpoint_covers_is_an_example(
    database: Database, vault: Vault, clock: ManualClock, sequencer: Sequencer
) -> None:
    ledger, ever = LedgerApi(vault, clock), datetime(2000, 1, 1, tzinfo=UTC)
    await at(database, ledger, clock, 1)
    await sequencer.run_once()
    await at(database, ledger, clock, 1)
    clock.advance(1)
    async with database.begin() as tx:
        newest = await ledger.evidence.example(tx, "run.started", ever, clock.now())
        assert newest is not None
        assert newest.seq == 0
        assert await ledger.evidence.pending(tx, ["run.started"]) == 1
        assert await ledger.evidence.pending(tx, ["login.failed"]) == 0
        bodies = await ledger.evidence.bodies(tx, ["run.started"], ever, clock.now(), 1)
        assert [body["action"] for body in bodies] == ["run.started"]
