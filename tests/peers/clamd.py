"""A peer that speaks clamd's INSTREAM over TCP: finds EICAR, has a StreamMaxLength, and can be away, mute or talk nonsense."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@dataclass
class Clamd:
    """`mode`: `works`, `mute` (reads and never answers), `nonsense`, `drops` (closes at once)."""

    port: int = 0
    mode: Literal["works", "mute", "nonsense", "drops"] = "works"
    stream_max: int = 25_000_000
    scanned: list[int] = field(default_factory=list)
    """Sizes of what was scanned."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            if self.mode != "drops":
                await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(10) == b"zINSTREAM\0"
        data = bytearray()
        while size := int.from_bytes(await reader.readexactly(4), "big"):
            if len(data) + size > self.stream_max:
                writer.write(b"INSTREAM size limit exceeded. ERROR\0")
                await writer.drain()
                return
            data += await reader.readexactly(size)
        if self.mode == "mute":
            await reader.read()
            return
        self.scanned.append(len(data))
        answer = b"stream: Eicar-Test-Signature FOUND\0" if EICAR in data else b"stream: OK\0"
        writer.write(b"220 smtp.example ready\r\n" if self.mode == "nonsense" else answer)
        await writer.drain()


@asynccontextmanager
async def clamd(peer: Clamd) -> AsyncIterator[Clamd]:
    """The peer while it listens; a port it had before is taken again."""
    server = await asyncio.start_server(peer.handle, "127.0.0.1", peer.port)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
