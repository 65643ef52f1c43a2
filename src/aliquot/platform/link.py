"""The link between the processes of a site: Valkey (or Redis) publish/subscribe. It carries sealed bytes and keeps nothing.

One connection subscribes for the whole process, another publishes in batches. While the server is away nothing waits for it: what
should have been sent is dropped, the connections are tried again with growing pauses, and channels are subscribed anew.
"""

import asyncio
import contextlib
import random
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog
from valkey.asyncio import Valkey
from valkey.asyncio.client import PubSub
from valkey.exceptions import ValkeyError

from aliquot.platform.settings import SettingsError

log = structlog.get_logger(__name__)

_WAITING_MAX = 10_000
_PAUSE_SECONDS_MIN, _PAUSE_SECONDS_MAX = 0.1, 5.0
_PING_SECONDS = 5.0
_SILENT_SECONDS_MAX = 15.0
_CONNECT_SECONDS = 3.0
_ORIGIN_BYTES = 8
_AWAY = (ValkeyError, OSError, asyncio.TimeoutError)


class ValkeyLink:
    """See `platform.bus.Link`. `work` runs for as long as the process serves."""

    def __init__(self, url: str, site: str) -> None:
        """`site` sets this site's channels apart from those of others on the same server. Raises SettingsError for a URL of no use."""
        try:
            Valkey.from_url(url)
        except ValueError as error:
            raise SettingsError("VALKEY_URL: a URL like valkey://user:password@host:6379/0 (or redis://, rediss://, unix://)") from error
        self._url, self._prefix = url, f"aliquot:{site}:"
        self._origin = secrets.token_bytes(_ORIGIN_BYTES)
        self._receivers: dict[str, Callable[[bytes], None]] = {}
        self._changes: deque[tuple[bool, str]] = deque()
        self._changed = asyncio.Event()
        self._outgoing: deque[tuple[str, bytes]] = deque(maxlen=_WAITING_MAX)
        self._waiting = asyncio.Event()
        self._heard_at = 0.0
        self.up = False
        """Whether the subscribing connection stands."""

    def send(self, channel: str, data: bytes) -> None:
        if self.up:
            self._outgoing.append((channel, data))
            self._waiting.set()

    def listen(self, channel: str, receive: Callable[[bytes], None]) -> None:
        self._receivers[channel] = receive
        self._change(True, channel)

    def forget(self, channel: str) -> None:
        self._receivers.pop(channel, None)
        self._change(False, channel)

    async def work(self) -> None:
        """Keep both connections until cancelled."""
        await asyncio.gather(self._forever(self._subscribed), self._forever(self._publishing))

    def _change(self, wanted: bool, channel: str) -> None:
        if self.up:  # otherwise everything wanted is subscribed when the connection stands again
            self._changes.append((wanted, channel))
            self._changed.set()

    def _client(self) -> Valkey:
        client: Valkey = Valkey.from_url(self._url, socket_connect_timeout=_CONNECT_SECONDS, socket_keepalive=True, client_name="aliquot")
        return client

    async def _forever(self, part: Callable[[], Any]) -> None:
        pause = _PAUSE_SECONDS_MIN
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await part()
            except Exception as error:  # noqa: BLE001 - whatever it is, the link must come back
                lasted = asyncio.get_running_loop().time() - started > _PAUSE_SECONDS_MAX
                if lasted or pause == _PAUSE_SECONDS_MIN:  # said once, not at every try
                    log.warning("link_down", error=type(error).__name__)
                pause = _PAUSE_SECONDS_MIN if lasted else pause
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - so that processes do not come back in step
            pause = min(pause * 2, _PAUSE_SECONDS_MAX)

    async def _subscribed(self) -> None:
        client = self._client()
        pubsub = client.pubsub()
        try:
            self._changes.clear()
            # A channel of our own keeps the connection in subscriber mode while nobody listens to anything.
            await pubsub.subscribe(f"{self._prefix}alive", *(self._prefix + channel for channel in self._receivers))
            self.up, self._heard_at = True, asyncio.get_running_loop().time()
            log.info("link_up")
            tasks = [asyncio.create_task(self._read(pubsub)), asyncio.create_task(self._follow_changes(pubsub))]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self.up = False
            await _closed(pubsub, client)

    async def _read(self, pubsub: PubSub) -> None:
        loop = asyncio.get_running_loop()
        while True:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=None)
            self._heard_at = loop.time()
            if message is None or message["type"] != "message":
                continue
            data: bytes = message["data"]
            receive = self._receivers.get(message["channel"].decode().removeprefix(self._prefix))
            if receive is not None and data[:_ORIGIN_BYTES] != self._origin:
                receive(data[_ORIGIN_BYTES:])

    async def _follow_changes(self, pubsub: PubSub) -> None:
        """Subscribe and unsubscribe as listeners come and go; ask for a sign of life when it was quiet."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await asyncio.wait_for(self._changed.wait(), _PING_SECONDS)
            except TimeoutError:
                if loop.time() - self._heard_at > _SILENT_SECONDS_MAX:
                    raise ConnectionError("the server is silent") from None
                await pubsub.ping()
            self._changed.clear()
            latest = {channel: wanted for wanted, channel in self._changes}
            self._changes.clear()
            if added := [self._prefix + channel for channel, wanted in latest.items() if wanted]:
                await pubsub.subscribe(*added)
            if dropped := [self._prefix + channel for channel, wanted in latest.items() if not wanted]:
                await pubsub.unsubscribe(*dropped)

    async def _publishing(self) -> None:
        client = self._client()
        try:
            while True:
                await self._waiting.wait()
                self._waiting.clear()
                batch, self._outgoing = self._outgoing, deque(maxlen=_WAITING_MAX)
                pipeline = client.pipeline(transaction=False)
                for channel, data in batch:
                    pipeline.publish(self._prefix + channel, self._origin + data)
                await asyncio.wait_for(pipeline.execute(), _CONNECT_SECONDS)
        finally:
            await _closed(client)


async def _closed(*parts: Any) -> None:
    for part in parts:
        with contextlib.suppress(*_AWAY):
            await part.aclose()
