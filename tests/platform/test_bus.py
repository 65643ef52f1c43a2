"""Live fan-out: in process by itself, and between processes over a real Valkey that goes away and comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aliquot.platform.bus import Bus
from aliquot.platform.link import ValkeyLink
from aliquot.platform.settings import SettingsError
from tests.conftest import PATIENCE
from tests.peers.valkey import ValkeyProcess, valkey  # noqa: F401 - fixture


@asynccontextmanager
async def linked(url: str, site: str = "site") -> AsyncIterator[ValkeyLink]:
    """A link that works, as one process has it."""
    link = ValkeyLink(url, site)
    working = asyncio.create_task(link.work())
    try:
        yield link
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something another process brings about."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - it happens elsewhere
            await asyncio.sleep(0.01)


def bus(link: ValkeyLink, name: str = "b:") -> Bus[str]:
    return Bus(name, link, lambda _, data: data.decode())


async def test_without_a_link_a_message_reaches_every_listener_of_its_channel_and_a_slow_one_is_told() -> None:
    alone: Bus[int] = Bus()
    called: list[int] = []
    end = alone.on("a", called.append)
    with alone.subscribe("a") as quick, alone.subscribe("a") as slow, alone.subscribe("b") as other:
        for n in range(300):
            alone.publish("a", n)
            assert await quick.wait(0)
            assert quick.drain() == [n]
        assert slow.lagging
        assert not await other.wait(0.001)
    assert called == list(range(300))
    end()
    assert alone.listeners == 0
    alone.carry("a", b"nothing happens")


async def test_messages_travel_between_processes_in_order_and_not_back(valkey: ValkeyProcess) -> None:  # noqa: F811
    async with linked(valkey.url) as one, linked(valkey.url) as two, linked(valkey.url, "another site") as stranger:
        here, there, strange, other = bus(one), bus(two), bus(stranger), bus(two, "c:")
        heard: dict[str, list[str]] = {"here": [], "there": [], "strange": [], "other": []}
        ends = [
            here.on("x", heard["here"].append), there.on("x", heard["there"].append), strange.on("x", heard["strange"].append),
            other.on("x", heard["other"].append),
        ]  # fmt: skip
        await until(lambda: one.up and two.up and stranger.up)
        await _settled(here, heard["there"])
        for n in range(500):
            here.carry("x", str(n).encode())
        await until(lambda: bool(heard["there"]) and heard["there"][-1] == "499")
        assert [m for m in heard["there"] if m != "?"] == [str(n) for n in range(500)]
        assert heard["here"] == heard["strange"] == heard["other"] == []
        late: list[str] = []
        ends.append(there.on("y", late.append))  # subscribed while the link stands
        await _settled(here, late, "y")
        for end in ends:
            end()
        assert there.listeners == 0


async def test_a_valkey_that_dies_holds_nobody_up_and_is_found_again(valkey: ValkeyProcess) -> None:  # noqa: F811
    async with linked(valkey.url) as one, linked(valkey.url) as two:
        here, there = bus(one), bus(two)
        heard: list[str] = []
        there.on("x", heard.append)
        await until(lambda: one.up and two.up)
        await _settled(here, heard)
        valkey.kill()
        await until(lambda: not (one.up or two.up))
        later: list[str] = []
        there.on("y", later.append)  # listened to while it is away
        for _ in range(20_000):
            here.carry("x", b"lost")
        here.publish("x", "in process it goes on")
        valkey.start()
        await until(lambda: one.up and two.up)
        await _settled(here, heard)
        await _settled(here, later, "y")
        assert "lost" not in heard


async def test_a_link_to_nowhere_keeps_trying_quietly(tmp_path: Path) -> None:
    nowhere = ValkeyProcess(tmp_path)
    async with linked(nowhere.url) as link:
        lonely = bus(link)
        heard: list[str] = []
        end = lonely.on("x", heard.append)
        lonely.publish("x", "here")
        lonely.carry("x", b"nowhere")
        await asyncio.sleep(0)
        assert (heard, link.up) == (["here"], False)
        end()


async def _settled(sender: Bus[str], heard: list[str], channel: str = "x") -> None:
    """Subscribing takes a moment: until a probe arrives."""
    before = len(heard)
    async with asyncio.timeout(PATIENCE):
        while len(heard) == before:
            sender.carry(channel, b"?")
            await asyncio.sleep(0.01)


def test_a_url_of_no_use_is_refused_without_showing_its_password() -> None:
    for url in ("http://user:secret@host", "nonsense", "valkey://host:secret/x"):
        with pytest.raises(SettingsError, match="VALKEY_URL") as refused:
            ValkeyLink(url, "site")
        assert "secret" not in str(refused.value)
