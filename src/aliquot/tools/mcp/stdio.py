"""A program that speaks MCP on its standard input and output, as a transport of the SDK, with lines of bounded length."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from aliquot.tools.mcp import confine

_GRACE_SECONDS = 2.0

Received = MemoryObjectReceiveStream[SessionMessage | Exception]
Sent = MemoryObjectSendStream[SessionMessage]


@asynccontextmanager
async def program(
    command: Sequence[str], env: Mapping[str, str], folder: Path, *, memory_bytes: int, line_bytes: int
) -> AsyncIterator[tuple[Received, Sent]]:
    """Start `command` in `folder` with `env` and nothing else, in a process group of its own, which is ended with the connection."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", confine.__file__, str(memory_bytes), *command, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, cwd=folder, env=dict(env), limit=line_bytes,
        start_new_session=True,
    )  # fmt: skip
    to_session, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    sent, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_read, process, to_session)
            group.start_soon(_write, process, from_session)
            try:
                yield received, sent
            finally:
                group.cancel_scope.cancel()
    finally:
        for stream in (received, sent, to_session, from_session):
            stream.close()
        await asyncio.shield(_end(process))


async def _read(process: asyncio.subprocess.Process, to_session: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
    """Lines until the end; a line that is too long ends the connection, one that is no message is passed as the error it is."""
    lines: Any = process.stdout
    async with to_session:
        with contextlib.suppress(ValueError, OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while line := await lines.readline():
                try:
                    message: SessionMessage | Exception = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
                except ValueError as error:
                    message = error
                await to_session.send(message)


async def _write(process: asyncio.subprocess.Process, from_session: MemoryObjectReceiveStream[SessionMessage]) -> None:
    pipe: Any = process.stdin
    with contextlib.suppress(OSError):
        async for message in from_session:
            pipe.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await pipe.drain()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close its input, give it a moment, end it and all it started."""
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):  # something that left the group may hold the pipe
        await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
