"""A WebSocket client for tests: the `websockets` library, given a token, with frames as dictionaries."""

import asyncio
import json
import secrets
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import websockets

from aliquot.chat.sharing.tables import conversation_share, conversation_share_person
from aliquot.kernel.ids import new_id
from tests.conftest import PATIENCE
from tests.site import Site

Frame = dict[str, Any]
GREETING = ("connection", "presence")


def token(client: httpx2.AsyncClient) -> str:
    return client.headers["Authorization"].removeprefix("Bearer ")


class Socket:
    """One connection; everything heard is kept."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.heard: list[Frame] = []

    async def send(self, kind: str, **fields: Any) -> None:
        await self.raw.send(json.dumps({"type": kind, **fields}))

    async def next(self, *skip: str) -> Frame:
        """The next frame that is none of `skip`."""
        while True:
            frame: Frame = json.loads(await asyncio.wait_for(self.raw.recv(), PATIENCE))
            self.heard.append(frame)
            if frame["type"] not in skip:
                return frame

    async def until(self, wanted: str | Callable[[Frame], bool]) -> Frame:
        """Read up to the first frame of this type, or for which this holds."""
        while True:
            frame = await self.next()
            if frame["type"] == wanted if isinstance(wanted, str) else wanted(frame):
                return frame

    def of(self, kind: str) -> list[Frame]:
        return [frame for frame in self.heard if frame["type"] == kind]

    def seqs(self, run_id: str) -> list[int]:
        return [frame["seq"] for frame in self.heard if frame.get("run_id") == run_id and "seq" in frame]

    @property
    def after(self) -> dict[str, int]:
        """What a client sends with `resume`, as docs/streams.md says."""
        seen: dict[str, int] = {}
        for frame in self.heard:
            if frame["type"] == "connection":
                seen |= frame["after"]
            elif "seq" in frame:
                seen[frame["run_id"]] = frame["seq"]
        return seen

    async def closed(self) -> int:
        """Read to the end; the close code."""
        try:
            while True:
                await self.next()
        except websockets.ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else 1006


@asynccontextmanager
async def connected(site: Site, credential: str | None, conversation: str, **options: Any) -> AsyncIterator[Socket]:
    """A socket to `conversation`; `credential` goes into the URL as documented."""
    path = f"/ws/chat/{conversation}" if conversation != "/debug" else "/ws/debug"
    url = f"{site.url.replace('http', 'ws')}{path}" + (f"?token={credential}" if credential is not None else "")
    # Without a bound on unread frames: with one, a client that closes while frames wait does not see the server's answer to it.
    async with websockets.connect(url, max_queue=None, **options) as raw:
        yield Socket(raw)


async def share(site: Site, conversation_id: str, *roles: str, write: bool = True) -> uuid.UUID:
    """Share a conversation of the scientist with the demo people of these roles; the share."""
    made = new_id()
    values = {
        "id": made, "conversation_id": uuid.UUID(conversation_id), "made_by": site.people["scientist"], "public": False, "may_write": write,
        "token_hash": secrets.token_bytes(32), "created_at": site.services.clock.now(),
    }  # fmt: skip
    async with site.services.db.begin() as tx:
        await tx.execute(conversation_share.insert().values(**values))
        for role in roles:
            await tx.execute(conversation_share_person.insert().values(share_id=made, person_id=site.people[role]))
    return made


async def unshare(site: Site, made: uuid.UUID) -> None:
    async with site.services.db.begin() as tx:
        await tx.execute(conversation_share.update().where(conversation_share.c.id == made).values(revoked_at=site.services.clock.now()))
