"""The door to documents: opens a file in a process of its own and says what is in it."""

import asyncio
import base64
import contextlib
import json
import sys
from dataclasses import asdict
from typing import Any

import structlog

from aliquot.documents.contracts import Bounds, Contents, Kind, Shown
from aliquot.documents.errors import REFUSALS, BrokenFile, ReaderUnavailable, TooHardToRead
from aliquot.documents.names import clean_name, content_disposition, kind_of_name

__all__ = ["DocumentsApi", "clean_name", "content_disposition", "kind_of_name"]

log = structlog.get_logger(__name__)

_GRACE_SECONDS = 4.0
"""Start of the process and answer, beyond the time the reading itself may take."""


class DocumentsApi:
    """Opens files; at most `at_once` processes run, others wait."""

    def __init__(self, bounds: Bounds, *, at_once: int = 2) -> None:
        self._bounds = bounds
        self._slots = asyncio.Semaphore(at_once)
        # Text as JSON escapes to six bytes a character at worst; an image of SHOWN_EDGE² pixels in base64.
        self._answer_bytes = bounds.text_chars * 6 + 16_000_000

    async def read(self, file: int, promised: Kind | None) -> Contents:
        """What is in the file behind the descriptor `file`, whose name promises `promised`. The descriptor's position is not kept.

        Raises a FileRefused for what is not to be kept, ReaderUnavailable when no process can be started.
        """
        question = json.dumps({"promised": promised, "bounds": asdict(self._bounds)})
        async with self._slots:
            answer = await self._ask(file, question)
        if "refused" in answer:
            raise REFUSALS.get(str(answer["refused"]), BrokenFile)(answer.get("detail"))
        shown = answer.get("image")
        image = None if shown is None else Shown(**{**shown, "data": base64.b64decode(shown["data"])})
        return Contents(
            kind=answer["kind"], reading=answer["reading"], text=str(answer.get("text", "")), pages=answer.get("pages"),
            width=answer.get("width"), height=answer.get("height"), image=image,
        )  # fmt: skip

    async def _ask(self, file: int, question: str) -> dict[str, Any]:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-m", "aliquot.documents.extract", question,
                stdin=file, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env={}, cwd="/", start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            log.warning("reader_not_started", error=type(error).__name__)
            raise ReaderUnavailable from error
        try:
            async with asyncio.timeout(self._bounds.seconds + _GRACE_SECONDS):
                data = await self._output(process)
                await process.wait()
        except TimeoutError:
            raise TooHardToRead from None
        finally:
            await _end(process)
        try:
            answer = json.loads(data)
        except ValueError:  # it died: out of memory, out of time, or worse
            log.info("reader_died", code=process.returncode)
            raise TooHardToRead from None
        return answer if isinstance(answer, dict) else {"refused": "broken_file"}

    async def _output(self, process: asyncio.subprocess.Process) -> bytes:
        if process.stdout is None:
            raise ReaderUnavailable
        data = bytearray()
        while piece := await process.stdout.read(1 << 16):
            data += piece
            if len(data) > self._answer_bytes:
                raise TooHardToRead
        return bytes(data)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
